"""Look at large files: by hash, and by what proves that the hash still holds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import ClassVar, Self

from provisioner.engine.probe import Probe
from provisioner.engine.quoting import words
from provisioner.values import dataclass

PROVED = "/run/provision/proved"
"""Root-only records, one a file: `SHA256 DEVICE:INODE:SIZE:MTIME:CTIME` of when the hash was last computed.

Times have nanoseconds; nobody can set a ctime without setting the clock. In /run: after a reboot, when a
disk may have been changed elsewhere, everything is hashed once."""
SMALL = 8 * 2**20
"""Bytes up to which a file is hashed at every look."""
NOTE = ".sha256"
"""Beside each program: the hash it had when installed (in the form of sha256sum) and its version."""

_KINDS = {0x8000: "file", 0x4000: "directory", 0xA000: "link"}

# identity PATH / proved_name PATH / prove PATH SHA256 IDENTITY
FUNCTIONS = f"""\
identity() {{ stat -c '%d:%i:%s:%y:%z' -- "$1"; }}
record_of() {{ printf '%s/%s' {PROVED} "$(printf %s "$1" | tr / _)"; }}
prove() {{
  r=$(record_of "$1")
  mkdir -p -m 0700 /run/provision {PROVED} && printf '%s %s\\n' "$2" "$3" >"$r.$$" && mv -f -- "$r.$$" "$r"
}}
"""


@dataclass(frozen=True)
class BlobState:
    """A large file as it was seen."""

    kind: str
    """absent, file, directory, link, other"""
    mode: int = 0
    owner: str = ""
    group: str = ""
    size: int = 0
    sha256: str = ""
    noted: str = ""
    """The hash it had when this tool installed it."""
    version: str = ""
    """What it said of itself then."""


@dataclass(frozen=True)
class BlobProbe(Probe[BlobState]):
    """`deep`: hash it even when nothing about it has changed since it was last proved."""

    path: str
    deep: bool = False

    kind: ClassVar[str] = "blobs"

    @classmethod
    def fragment(cls, probes: Sequence[Self]) -> str:
        # The record is a cache in /run that this look may renew: without it a reboot would cost every later look.
        trust = ": ||" if any(p.deep for p in probes) else ""
        return f"""{FUNCTIONS}
for p in {words(*dict.fromkeys(p.path for p in probes))}; do
  h=
  if [ -f "$p" ] && ! [ -L "$p" ]; then
    i=$(identity "$p")
    r=$(record_of "$p")
    l=
    {trust} [ -L "$r" ] || ! [ -f "$r" ] || IFS= read -r l <"$r" || :
    if [ -n "$l" ] && [ "${{l#* }}" = "$i" ]; then
      h=${{l%% *}}
    else
      h=$(sha256sum <"$p")
      h=${{h%% *}}
      if [ "$(stat -c %s -- "$p")" -gt {SMALL} ] && [ "$(identity "$p")" = "$i" ]; then prove "$p" "$h" "$i" || :; fi
    fi
  fi
  stat -c "s|%f|%U|%G|%s|$h|%n" -- "$p" 2>/dev/null || continue
  if [ -f "$p{NOTE}" ]; then head -c 2048 -- "$p{NOTE}" | tr -d '|\\000' | sed "s|^|n\\||"; fi
done"""

    @classmethod
    def parse(cls, probes: Sequence[Self], output: bytes) -> Iterable[BlobState]:
        found: dict[str, BlobState] = {}
        path = ""
        notes: dict[str, tuple[str, str]] = {}
        for line in output.decode("utf-8", "surrogateescape").split("\n"):
            if line.startswith("s|"):
                _, raw, owner, group, size, sha256, path = line.split("|", 6)
                mode = int(raw, 16)
                kind = _KINDS.get(mode & 0xF000, "other")
                found[path] = BlobState(kind, mode & 0o7777, owner, group, int(size), sha256)
            elif line.startswith("n|# version ") and path:
                notes[path] = (notes.get(path, ("", ""))[0], "".join(c for c in line[12:92] if c.isprintable()))
            elif line.startswith("n|") and path and not line.startswith("n|#"):
                digest = line[2:].split(" ", 1)[0]
                if len(digest) == 64 and all(c in "0123456789abcdef" for c in digest):
                    notes[path] = (digest, notes.get(path, ("", ""))[1])
        for probe in probes:
            state = found.get(probe.path)
            noted, version = notes.get(probe.path, ("", ""))
            yield BlobState("absent") if state is None else replace(state, noted=noted, version=version)
