"""A root of the stack's own, and the issuer below it that a host gets: good for this one address only.

Whoever takes the issuer's key from a host can make certificates for the address that this host has anyway, and
for no other: its name constraints are critical, and clients refuse what they do not permit (RFC 5280, 4.2.1.10).
"""

from __future__ import annotations

import ipaddress
import secrets as _random
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from provisioner.certificates.material import Material
from provisioner.secrets import Secret

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

ROOT_DAYS = 3650
ISSUER_DAYS = 5 * 365
REMADE_DAYS = 180
"""An issuer with less time left is replaced: longer than what it issues."""
LEAF_DAYS = 90
_BACK = timedelta(days=1)
"""Clocks differ: what is made now is good for the one who lives a little earlier."""


def new_root() -> Secret:
    """A new root's key and certificate, as the secret `tls.root`."""
    from cryptography import x509

    key = _key()
    mark = _random.token_hex(3)
    name = _name(f"provision root {mark}")
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACK)
        .not_valid_after(now + timedelta(days=ROOT_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=1), critical=True)
        .add_extension(_usage(), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return _signed(builder, key, key).pack()


def issuer(root: Material, names: tuple[str, ...]) -> Material:
    """A new issuer that may certify `names` (DNS names, addresses) and nothing else, no issuer either."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import load_der_private_key
    from cryptography.x509.oid import ExtendedKeyUsageOID

    above = x509.load_der_x509_certificate(root.chain[0])
    above_key: EllipticCurvePrivateKey = load_der_private_key(root.key, None)  # type: ignore[assignment]
    key = _key()
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(f"provision issuer {_random.token_hex(3)}"))
        .issuer_name(above.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACK)
        .not_valid_after(min(now + timedelta(days=ISSUER_DAYS), above.not_valid_after_utc))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(), critical=True)
        # What an issuer is not for, nothing below it is for: hosts of a stack know each other's nginx by both.
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        .add_extension(constraints(names), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(above_key.public_key()), critical=False)
    )
    return _signed(builder, key, above_key)


def constraints(names: tuple[str, ...]) -> x509.NameConstraints:
    """What an issuer for `names` may certify. A kind of name that has no permitted one would be free: of
    DNS names and addresses that kind is excluded as a whole."""
    from cryptography import x509

    permitted: list[x509.GeneralName] = []
    excluded: list[x509.GeneralName] = []
    addresses = [address for name in names if (address := _address(name)) is not None]
    permitted += [x509.DNSName(name) for name in names if _address(name) is None]
    if not permitted:
        excluded.append(x509.DNSName(""))
    permitted += [x509.IPAddress(ipaddress.ip_network(address)) for address in addresses]
    if not addresses:
        excluded += [x509.IPAddress(ipaddress.ip_network(every)) for every in ("0.0.0.0/0", "::/0")]
    return x509.NameConstraints(permitted, excluded or None)


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def _key() -> EllipticCurvePrivateKey:
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.generate_private_key(ec.SECP256R1())


def _name(common: str) -> x509.Name:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _usage() -> x509.KeyUsage:
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )


def _signed(builder: x509.CertificateBuilder, key: EllipticCurvePrivateKey, by: EllipticCurvePrivateKey) -> Material:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    certificate = builder.sign(by, hashes.SHA256())
    private = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return Material(private, (certificate.public_bytes(Encoding.DER),))
