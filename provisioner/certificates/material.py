"""A private key with its certificates, as PEM and as one line that a secret can be."""

from __future__ import annotations

import base64
import binascii
import re
import textwrap
from collections.abc import Mapping
from dataclasses import field

from provisioner.secrets import Secret
from provisioner.values import dataclass

ROOT = "tls.root"
"""The secret that holds the stack's own root."""
OWN = "tls.own"
"""The secret that holds a certificate which was brought along."""
LIMIT = 64 * 1024
"""Characters of such a secret, and bytes of a PEM file."""

_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]{1,40})-----\r?\n(.{0,65536}?)-----END \1-----", re.DOTALL)


@dataclass(frozen=True)
class Material:
    """A key (DER, PKCS 8), its certificate followed by those that lead to a root (DER), and the roots that
    clients must trust besides the public ones (DER, may be none)."""

    key: bytes = field(repr=False)
    chain: tuple[bytes, ...]
    roots: tuple[bytes, ...] = ()

    def pack(self) -> Secret:
        """One printable line: `KEY:CERTIFICATE,CERTIFICATE:ROOT`, each in base64."""
        parts = [_line(self.key), ",".join(map(_line, self.chain)), ",".join(map(_line, self.roots))]
        return Secret(":".join(parts))

    def pem(self) -> str:
        """The key and its chain, as nginx reads both from one file."""
        return pem("PRIVATE KEY", self.key) + certificates(self.chain)


def unpack(secret: Secret) -> Material:
    """What `pack` made; ValueError, without any of the content, for anything else."""
    parts = secret.reveal().split(":")
    if len(parts) != 3 or not parts[0] or not parts[1]:
        raise ValueError("not a key with its certificates")
    try:
        key = _bytes(parts[0])
        chain, roots = (tuple(_bytes(each) for each in part.split(",") if each) for part in parts[1:])
    except binascii.Error:
        raise ValueError("not base64") from None
    return Material(key, chain, roots)


def trusted(encryption: str, secrets: Mapping[str, Secret]) -> str | None:
    """PEM of the roots that clients of a stack must trust; None where the public ones do, "" where a secret
    is not there or not usable. `encryption`: off, internal or own."""
    name = {"internal": ROOT, "own": OWN}.get(encryption)
    if name is None:
        return None
    secret = secrets.get(name)
    if secret is None:
        return ""
    try:
        material = unpack(secret)
    except ValueError:
        return ""
    if encryption == "internal":
        return certificates(material.chain)
    return certificates(material.roots) or None


def pem(label: str, der: bytes) -> str:
    """One PEM block (RFC 7468: lines of 64 characters)."""
    lines = "\n".join(textwrap.wrap(_line(der), 64))
    return f"-----BEGIN {label}-----\n{lines}\n-----END {label}-----\n"


def certificates(ders: tuple[bytes, ...]) -> str:
    """PEM of certificates, in their order."""
    return "".join(pem("CERTIFICATE", der) for der in ders)


def blocks(text: bytes) -> list[tuple[str, bytes]]:
    """(label, the block as it stands) of a PEM text; what is between blocks is skipped."""
    return [(match[1].decode(), match[0] + b"\n") for match in _BLOCK.finditer(text[:READ])]


READ = 4 * LIMIT
"""Bytes of a text in which blocks are looked for."""


def _line(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _bytes(text: str) -> bytes:
    return base64.b64decode(text.encode("ascii", "replace"), validate=True)
