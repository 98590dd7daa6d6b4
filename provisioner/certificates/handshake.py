"""What a client says of a certificate: a whole TLS handshake in memory, with the library that MLflow's clients use."""

from __future__ import annotations

import ssl
import tempfile
from pathlib import Path

from provisioner.certificates.material import Material, certificates
from provisioner.values import dataclass

_NAME = {62, 63, 64}
"""X509_V_ERR_HOSTNAME_MISMATCH, _EMAIL_, _IP_ADDRESS_ (OpenSSL, x509_vfy.h)."""
_CHAIN = {2, 18, 19, 20, 21}
"""Issuer not found, self-signed, no leaf signature to verify."""


@dataclass(frozen=True)
class Fault:
    """Why a client refuses: the name, what leads to a root, or something else."""

    text: str
    name: bool = False
    chain: bool = False


def fault(material: Material, name: str) -> Fault | None:
    """What a client that uses `name` (any, where it is empty) would say; None when it is content. It trusts the
    material's roots, or the public ones where there are none."""
    try:
        with tempfile.TemporaryDirectory(prefix="provision-") as folder:  # 0700, and gone at once
            file = Path(folder) / "pem"
            file.touch(0o600)
            file.write_text(material.pem())
            server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            server.load_cert_chain(file)
        client = ssl.create_default_context(cadata=certificates(material.roots) or None)
        client.check_hostname = bool(name)
        _shake(client, server, name)
    except ssl.SSLCertVerificationError as error:
        code = error.verify_code
        return Fault(error.verify_message, name=code in _NAME, chain=code in _CHAIN)
    except (ssl.SSLError, ValueError) as error:
        return Fault(getattr(error, "reason", None) or str(error))
    return None


def _shake(client: ssl.SSLContext, server: ssl.SSLContext, name: str) -> None:
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    asking = client.wrap_bio(back, there, server_hostname=name or None)
    answering = server.wrap_bio(there, back, server_side=True)
    for _ in range(10):
        done = 0
        for side in (asking, answering):
            try:
                side.do_handshake()
                done += 1
            except ssl.SSLWantReadError:
                continue
        if done == 2:
            return
    raise ValueError("the handshake does not end")
