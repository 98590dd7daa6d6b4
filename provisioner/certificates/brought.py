"""A certificate that the operator brings along: read, and judged the way that clients will, before it is used."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from provisioner.certificates import handshake
from provisioner.certificates.inspect import issued
from provisioner.certificates.material import LIMIT, Material, blocks
from provisioner.errors import Refused, UsageError

if TYPE_CHECKING:
    from cryptography import x509

_LEAST_RSA = 2048
_CURVES = ("secp256r1", "secp384r1", "secp521r1")
_WEAK = ("md5", "sha1")


def read(files: Mapping[str, str]) -> Material:
    """The files `cert`, `key` and perhaps `ca`. UsageError (64) for one that cannot be read or is not PEM,
    Refused (4) for what clients or nginx would refuse, each saying which file and how to go on."""
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = _key(files["key"])
    chain = _certificates(files["cert"])
    roots = _certificates(files["ca"]) if "ca" in files else []
    _belong(key, chain, files)
    _strong(key, chain[0], files)
    chain, own = _ordered(chain, files["cert"])
    private = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    found = Material(private, _ders(chain), _ders([*roots, *own]))
    # A public root at the end of the file is no reason to trust it alone: clients know it.
    return Material(found.key, found.chain) if own and not roots and _public(found) else found


def certificates_in(path: str, setting: str) -> tuple[bytes, ...]:
    """The certificates (DER) of a PEM file of this machine that `setting` names. UsageError (64) for any other."""
    return _ders(_certificates(path, setting))


def judge(material: Material, names: Sequence[str], where: str) -> None:
    """Refused (4) unless clients accept it today under every one of `names`. `where`: what it comes from."""
    from cryptography import x509

    leaf = x509.load_der_x509_certificate(material.chain[0])
    now = datetime.now(UTC)
    if leaf.not_valid_after_utc <= now:
        raise Refused(
            f"the certificate in {where} is over since {leaf.not_valid_after_utc:%Y-%m-%d}",
            why="every client would refuse it",
            next="renew it where it comes from, then run the same command again",
        )
    if leaf.not_valid_before_utc > now:
        raise Refused(
            f"the certificate in {where} is not valid before {leaf.not_valid_before_utc:%Y-%m-%d %H:%M} UTC",
            why="every client would refuse it until then",
            next="wait until then, or correct this machine's clock",
        )
    for name in names or ("",):
        fault = handshake.fault(material, name)
        if fault is not None:
            raise _refusal(fault, name, where, bool(material.roots))


def uncovered(material: Material, names: Sequence[str]) -> list[str]:
    """Those of `names` that the certificate is not for."""
    return [name for name in names if (fault := handshake.fault(material, name)) is not None and fault.name]


def days(material: Material) -> int:
    """Whole days until the first of its certificates ends; negative when one is over."""
    from cryptography import x509

    ends = [x509.load_der_x509_certificate(der).not_valid_after_utc for der in material.chain]
    return (min(ends) - datetime.now(UTC)).days


def older(material: Material, than: Material) -> bool:
    """Whether it was made before `than`, by the same issuer for the same names, under the same roots."""
    from cryptography import x509

    from provisioner.certificates.inspect import names

    mine, theirs = (x509.load_der_x509_certificate(each.chain[0]) for each in (material, than))
    same = (mine.issuer, names(mine), material.roots) == (theirs.issuer, names(theirs), than.roots)
    return same and mine.not_valid_before_utc < theirs.not_valid_before_utc


def _refusal(fault: handshake.Fault, name: str, where: str, private: bool) -> Refused:
    if fault.name:
        return Refused(
            f"the certificate in {where} is not for {name}",
            why="clients that use this name would refuse it",
            next="get one for every name of access.names, or set access.names to what it is for",
        )
    if fault.chain:
        return Refused(
            f"the certificate in {where} does not lead to a root that clients know",
            why=fault.text,
            next=(
                "put the certificates between it and that root behind it in the file"
                if private
                else "put the certificates between it and its root behind it in the file;\n"
                'with a private root:  tls = { cert = "…", key = "…", ca = "ROOT.pem" }'
            ),
        )
    return Refused(
        f"clients would refuse the certificate in {where}",
        why=fault.text,
        next=f"look at it: openssl x509 -noout -text -in {where}",
    )


def _public(material: Material) -> bool:
    return handshake.fault(Material(material.key, material.chain), "") is None


def _content(path: str, setting: str = "access.tls") -> bytes:
    try:
        handle = os.open(Path(path).expanduser(), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise UsageError(f"{path} is not a file", next=f"{setting} names files on this machine")
            content = file.read(LIMIT + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a path"
        raise UsageError(
            f"{path} cannot be read: {reason}",
            why=f"{setting} names it as a file on this machine",
            next=f"correct the path; where the stack has its certificate already:  --set {setting}=own",
        ) from None
    if len(content) > LIMIT:
        raise UsageError(f"{path} is larger than {LIMIT} bytes", why="a certificate with its chain is a few thousand")
    return content


def _not_pem(path: str, content: bytes, what: str, command: str) -> UsageError:
    der = content[:1] == b"\x30"
    label = what.upper().partition(" ")[2]
    return UsageError(
        f"{path} is not {what} in PEM",
        why="it is binary (DER or PKCS 12)" if der else "it has no such block in it",
        next=f"openssl {command}" if der else f"name the file that has the block: BEGIN {label}",
    )


def _certificates(path: str, setting: str = "access.tls") -> list[x509.Certificate]:
    from cryptography import x509

    content = _content(path, setting)
    found = [block for label, block in blocks(content) if label == "CERTIFICATE"]
    if not found:
        raise _not_pem(path, content, "a certificate", f"x509 -inform DER -in {path} -out {path}.pem")
    try:
        return [x509.load_pem_x509_certificate(block) for block in found]
    except Exception:
        raise UsageError(f"{path} has a damaged certificate in it", next="get it again where it comes from") from None


def _key(path: str) -> Any:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    content = _content(path)
    found = [(label, block) for label, block in blocks(content) if label.endswith("PRIVATE KEY")]
    if not found:
        raise _not_pem(path, content, "a private key", f"pkey -inform DER -in {path} -out {path}.pem")
    label, block = found[0]
    if len(found) > 1:
        raise UsageError(f"{path} has {len(found)} private keys in it", next="leave only the certificate's")
    if label == "ENCRYPTED PRIVATE KEY" or b"Proc-Type: 4,ENCRYPTED" in block:
        raise Refused(
            f"the private key {path} is encrypted",
            why="nginx starts at boot with nobody there to type its passphrase",
            next=f"(umask 077; openssl pkey -in {path} -out {path}.plain)   and name that file",
        )
    try:
        return load_pem_private_key(block, None)
    except Exception:
        raise UsageError(f"{path} has a damaged private key in it", next="get it again where it comes from") from None


def _belong(key: Any, chain: list[x509.Certificate], files: Mapping[str, str]) -> None:
    fitting = [number for number, each in enumerate(chain, 1) if each.public_key() == key.public_key()]
    if not fitting:
        raise Refused(
            f"the private key {files['key']} is not the one of the certificate in {files['cert']}",
            why="they were made for each other or not at all",
            next="name the key with which the certificate was requested",
        )
    if fitting[0] != 1:
        raise Refused(
            f"{files['cert']} begins with another certificate than the server's",
            why=f"the one that belongs to the key is number {fitting[0]}",
            next="put it first, behind it the one that issued it, and so on",
        )


def _strong(key: Any, leaf: x509.Certificate, files: Mapping[str, str]) -> None:
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    weak = "it is neither RSA nor an elliptic curve's that browsers know"
    if isinstance(key, rsa.RSAPrivateKey):
        weak = f"RSA with {key.key_size} bits" if key.key_size < _LEAST_RSA else ""
    elif isinstance(key, ec.EllipticCurvePrivateKey):
        weak = "" if key.curve.name in _CURVES else f"the curve {key.curve.name}"
    if weak:
        raise Refused(
            f"the private key {files['key']} is not one that clients accept",
            why=weak,
            next=f"request a certificate for an RSA key of {_LEAST_RSA} bits or more, or for P-256",
        )
    algorithm = leaf.signature_hash_algorithm
    if algorithm is not None and algorithm.name in _WEAK:
        raise Refused(
            f"the certificate in {files['cert']} is signed with {algorithm.name.upper()}",
            why="clients refuse it",
            next="get one that is signed with SHA-256",
        )


def _ordered(chain: list[x509.Certificate], path: str) -> tuple[list[x509.Certificate], list[x509.Certificate]]:
    """The chain without a root at its end, and that root."""
    for number, (below, above) in enumerate(pairwise(chain), 1):
        if not issued(below, above):
            raise Refused(
                f"certificate {number + 1} in {path} did not issue the one before it",
                why="clients follow them in their order",
                next="the server's first, behind each the one that issued it; leave out what does not belong",
            )
    last = chain[-1]
    if not issued(last, last):
        return chain, []
    return (chain[:-1] if len(chain) > 1 else chain), [last]


def _ders(certificates: Sequence[x509.Certificate]) -> tuple[bytes, ...]:
    from cryptography.hazmat.primitives.serialization import Encoding

    return tuple(each.public_bytes(Encoding.DER) for each in certificates)
