"""known_hosts: which keys a host may show. Reading and judging only; `keystore` writes our own file."""

from __future__ import annotations

import base64
import binascii
import fnmatch
import hashlib
import hmac
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from provisioner.errors import UsageError
from provisioner.values import dataclass

_LARGEST = 16 * 2**20
PIN = re.compile(r"SHA256:[A-Za-z0-9+/]{43}=?")

Verdict = Literal["known", "new", "changed", "revoked"]


@dataclass(frozen=True)
class Entry:
    """One line of a known_hosts file. `names` is its first field (a pattern list or one hash);
    `blob` is the public key in wire format; `source` names file and line for messages."""

    names: str
    kind: str
    blob: bytes
    source: str
    revoked: bool = False
    authority: bool = False

    def covers(self, name: str) -> bool:
        """Does this line speak about `name` (lower case, `[name]:port` off port 22)?"""
        if self.names.startswith("|1|"):
            return _hash_matches(self.names, name)
        found = False
        for pattern in self.names.lower().split(","):
            negated = pattern.startswith("!")
            pattern = pattern.removeprefix("!")
            # Brackets are literal in known_hosts ([name]:port) and sets in fnmatch.
            literal = pattern.replace("[", "[[]")
            if fnmatch.fnmatchcase(name, literal):
                if negated:
                    return False
                found = True
        return found


def fingerprint(blob: bytes) -> str:
    """`SHA256:...` without padding, as ssh-keygen -l prints it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def checked_pin(text: str) -> str:
    """A fingerprint from an inventory, normalised; UsageError when it is none."""
    if not PIN.fullmatch(text):
        raise UsageError(
            f"not a host key's fingerprint: {text[:80]!r}",
            why="a pin is SHA256: and 43 characters",
            next="ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub  on the host prints it",
        )
    return text.rstrip("=")


def read(path: Path) -> list[Entry]:
    """The usable lines of a known_hosts file; nothing when there is no such file.

    Lines that cannot be read are skipped, as ssh does. Markers are kept as what they are: a
    `@revoked` key must be refused, a `@cert-authority` key is never a host's own key.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST + 1)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return []
    if len(data) > _LARGEST:
        raise UsageError(f"{path} is larger than {_LARGEST // 2**20} MiB", why="that is no known_hosts file")
    entries = []
    for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
        entry = parse_line(line, f"{path} line {number}")
        if entry is not None:
            entries.append(entry)
    return entries


def parse_line(line: str, source: str) -> Entry | None:
    fields = line.split()
    if not fields or fields[0].startswith("#"):
        return None
    marker = fields.pop(0) if fields[0].startswith("@") else ""
    if len(fields) < 3 or marker not in ("", "@revoked", "@cert-authority"):
        return None
    try:
        blob = base64.b64decode(fields[2], validate=True)
    except (binascii.Error, ValueError):
        return None
    return Entry(fields[0], fields[1], blob, source, marker == "@revoked", marker == "@cert-authority")


def about(entries: Iterable[Entry], name: str) -> list[Entry]:
    """The lines that speak about `name`, without certificate authorities."""
    name = name.lower()
    return [entry for entry in entries if not entry.authority and entry.covers(name)]


def judge(entries: Iterable[Entry], blob: bytes) -> Verdict:
    """What the lines about a host say of the key it showed.

    Another key, even of a type that was never seen, is "changed" as soon as any key is known: who
    stands in the middle would otherwise only have to offer a type that is not on record.
    """
    entries = list(entries)
    if any(entry.revoked and entry.blob == blob for entry in entries):
        return "revoked"
    valid = [entry for entry in entries if not entry.revoked]
    if any(entry.blob == blob for entry in valid):
        return "known"
    return "changed" if valid else "new"


def preferred(entries: Iterable[Entry], offered: Iterable[str]) -> list[str]:
    """`offered` host key algorithms with those of the known keys first: a server that has more types
    than we know would otherwise look changed."""
    kinds = {entry.kind for entry in entries if not entry.revoked}
    if "ssh-rsa" in kinds:
        kinds |= {"rsa-sha2-512", "rsa-sha2-256"}
    offered = list(offered)
    return [kind for kind in offered if kind in kinds] + [kind for kind in offered if kind not in kinds]


def _hash_matches(field: str, name: str) -> bool:
    try:
        salt, digest = (base64.b64decode(part, validate=True) for part in field[3:].split("|"))
    except (binascii.Error, ValueError):
        return False
    # SHA-1 is known_hosts' format, not our choice.
    return hmac.compare_digest(hmac.new(salt, name.encode(), "sha1").digest(), digest)
