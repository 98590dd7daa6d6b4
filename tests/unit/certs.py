"""Certificate authorities for tests: whatever a real one would, or would never, issue."""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import NameOID

from provisioner.certificates.material import blocks, pem

DAY = timedelta(days=1)


def ec_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def rsa_key(bits: int) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, bits)


def der(key: Any) -> bytes:
    return bytes(key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()))


def _san(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


@dataclass
class Authority:
    """One that issues whatever it is asked."""

    key: Any
    certificate: x509.Certificate

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    @classmethod
    def new(cls, under: Authority | None = None, name: str = "A root of somebody's") -> Authority:
        key = ec_key()
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        issuer = under.certificate.subject if under else subject
        by = under.key if under else key
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 900 * DAY)
            .not_valid_after(now + 900 * DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(x509.KeyUsage(False, False, False, False, False, True, True, False, False), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(by.public_key()), critical=False)
        )
        return cls(key, builder.sign(by, hashes.SHA256()))

    @classmethod
    def of(cls, text: bytes) -> Authority:
        """One whose key and certificate somebody has got hold of."""
        found = dict(reversed(blocks(text)))
        return cls(
            load_pem_private_key(found["PRIVATE KEY"], None), x509.load_pem_x509_certificate(found["CERTIFICATE"])
        )

    @staticmethod
    def ders(text: str) -> list[bytes]:
        return [ssl.PEM_cert_to_DER_cert(block.decode()) for _, block in blocks(text.encode())]

    @staticmethod
    def key_pem(key: bytes) -> str:
        return pem("PRIVATE KEY", key)

    def leaf(
        self,
        names: Sequence[str],
        *,
        until: datetime | None = None,
        since: datetime | None = None,
        key: Any = None,
        subject: x509.Name | None = None,
    ) -> tuple[bytes, bytes]:
        """Key and certificate (DER) for `names`."""
        key = key or ec_key()
        end = until or datetime.now(UTC) + 90 * DAY
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject or x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "somebody")]))
            .issuer_name(self.certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(since or min(end, datetime.now(UTC)) - DAY)
            .not_valid_after(end)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([_san(name) for name in names]), critical=False)
            .add_extension(x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
        )
        certificate = builder.sign(self.key, hashes.SHA256())
        return der(key), certificate.public_bytes(Encoding.DER)


def written(folder: Path, key: bytes, *certificates: bytes) -> str:
    """Files of a certificate, as the setting that names them; `ca.pem` is the caller's."""
    folder.mkdir(exist_ok=True)
    (folder / "key.pem").write_text(Authority.key_pem(key))
    (folder / "cert.pem").write_text("".join(map(ssl.DER_cert_to_PEM_cert, certificates)))
    return f'access.tls={{cert = "{folder}/cert.pem", key = "{folder}/key.pem", ca = "{folder}/ca.pem"}}'
