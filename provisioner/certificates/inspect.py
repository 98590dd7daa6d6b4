"""What a PEM file with a key and certificates holds, and what is wrong with it for its place."""

from __future__ import annotations

import contextlib
from dataclasses import field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from provisioner.certificates.authority import constraints
from provisioner.certificates.material import Material, blocks
from provisioner.values import dataclass

if TYPE_CHECKING:
    from cryptography import x509


@dataclass(frozen=True)
class Bundle:
    """A parsed file: certificates in their order; `fits`: the key is the first one's."""

    certificates: tuple[Any, ...] = field(repr=False)
    fits: bool

    @property
    def first(self) -> x509.Certificate:
        found: x509.Certificate = self.certificates[0]
        return found

    @property
    def until(self) -> datetime:
        """When the first of them ends that clients look at."""
        ends: list[datetime] = [each.not_valid_after_utc for each in self.certificates]
        return min(ends)

    @property
    def days(self) -> int:
        """Whole days left; negative when it is over."""
        return (self.until - datetime.now(UTC)).days


def bundle(text: bytes) -> Bundle | None:
    """A key and at least one certificate, in any order; None for anything else."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    key: Any = None
    found: list[x509.Certificate] = []
    # Hostile until parsed: whatever the library says of it, the file is not one of ours.
    with contextlib.suppress(Exception):
        for label, block in blocks(text):
            if label == "CERTIFICATE":
                found.append(x509.load_pem_x509_certificate(block))
            elif label.endswith("PRIVATE KEY"):
                key = load_pem_private_key(block, None)
        if key is not None and found:
            return Bundle(tuple(found), bool(key.public_key() == found[0].public_key()))
    return None


def names(certificate: x509.Certificate) -> frozenset[str]:
    """The DNS names (lower case) and addresses that it is for."""
    from cryptography import x509

    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return frozenset()
    return frozenset(
        [*(name.lower() for name in found.get_values_for_type(x509.DNSName))]
        + [str(address) for address in found.get_values_for_type(x509.IPAddress)]
    )


def issued(certificate: x509.Certificate, by: x509.Certificate) -> bool:
    """Whether `by` signed it."""
    try:
        certificate.verify_directly_issued_by(by)
    except Exception:
        return False
    return True


def issuer_fault(found: Bundle, root: Material, wanted: tuple[str, ...], least_days: int) -> str:
    """Why an issuer must be replaced; empty when it is good."""
    from cryptography import x509

    certificate = found.first
    if not found.fits:
        return "its key is another one's"
    if not issued(certificate, x509.load_der_x509_certificate(root.chain[0])):
        return "the stack's root did not sign it"
    try:
        basic = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
        limits = certificate.extensions.get_extension_for_class(x509.NameConstraints)
    except (x509.ExtensionNotFound, ValueError):
        return "it may certify more than this host"
    if basic.value.path_length != 0 or not (basic.critical and limits.critical):
        return "it may certify more than this host"
    if limits.value != constraints(wanted):
        return "the names are others now"
    return f"it ends in {found.days} days" if found.days < least_days else ""


def leaf_fault(found: Bundle, by: Bundle, wanted: tuple[str, ...], least_days: int) -> str:
    """Why a service's certificate must be replaced; empty when it is good."""
    if not found.fits:
        return "its key is another one's"
    if not issued(found.first, by.first):
        return "today's issuer did not sign it"
    if len(found.certificates) != 2 or found.certificates[1] != by.first:
        return "what follows it is not its issuer"
    if names(found.first) != frozenset(wanted):
        return "the names are others now"
    if found.days < least_days:
        return f"it ends in {found.days} days" if found.days >= 0 else "it is over"
    return ""
