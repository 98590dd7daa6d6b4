"""Look at paths: one `stat` for all of them, and the content of those that are small files."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Self

from provisioner.engine.probe import Probe
from provisioner.engine.quoting import word, words
from provisioner.engine.resource import UNKNOWN, HostResource, Unknown
from provisioner.values import dataclass

READ_LIMIT = 256 * 1024
"""Bytes of a file that a probe brings home; more counts as `too large to read`."""

_KINDS = {0x8000: "file", 0x4000: "directory", 0xA000: "link"}


@dataclass(frozen=True)
class PathState:
    """What stands at a path."""

    kind: str
    """absent, file, directory, link, other"""
    mode: int = 0
    owner: str = ""
    group: str = ""
    content: bytes | Unknown | None = None
    """None: not a file, not asked for, or larger than READ_LIMIT."""
    target: str = ""
    identity: str = ""
    """`device:inode:size:mtime` of what the path leads to; empty when absent."""
    age: float = 0.0
    """Seconds since its last modification, by the host's clock."""

    @property
    def sha256(self) -> str | Unknown | None:
        if isinstance(self.content, bytes):
            return hashlib.sha256(self.content).hexdigest()
        return self.content


ABSENT = PathState("absent")


@dataclass(frozen=True)
class PathProbe(Probe[PathState]):
    """Looks at one path; `read`: brings a small file's content home."""

    path: str
    read: bool = True

    kind: ClassVar[str] = "paths"

    @classmethod
    def fragment(cls, probes: Sequence[Self]) -> str:
        paths = list(dict.fromkeys(p.path for p in probes))
        reads = list(dict.fromkeys(p.path for p in probes if p.read))
        lines = [
            "date '+now %s'",
            f"stat -c 's|%f|%U|%G|%s|%Y|%d|%i|%n' -- {words(*paths)} 2>/dev/null || :",
            f"for p in {words(*paths)}; do",
            '  if [ -L "$p" ]; then',
            '    printf "l|%s|%s\\n" "$(readlink -- "$p" | base64 | tr -d "\\n")" "$p"',
            '    stat -L -c "t|%d:%i:%s:%Y|%n" -- "$p" 2>/dev/null || :',
            "  fi",
            "done",
        ]
        if reads:
            # One process for each file; a shell's loop took four, and half of the time of all looks together.
            lines.append(
                f"find {words(*reads)} -maxdepth 0 -type f -size -{READ_LIMIT + 1}c -printf 'c|' "
                "'(' -exec base64 -w 0 -- '{}' ';' -o -true ')' -printf '|%p\\n' 2>/dev/null || :"
            )
        return "\n".join([*lines, ":"])

    @classmethod
    def parse(cls, probes: Sequence[Self], output: bytes) -> Iterable[PathState]:
        now = 0
        stats: dict[str, list[str]] = {}
        links: dict[str, str] = {}
        through: dict[str, str] = {}
        contents: dict[str, bytes] = {}
        for line in output.decode("utf-8", "surrogateescape").split("\n"):
            if line.startswith("now "):
                now = int(line[4:])
            elif line.startswith("s|"):
                fields = line.split("|", 8)
                stats[fields[8]] = fields
            elif line.startswith("l|"):
                _, target, path = line.split("|", 2)
                links[path] = base64.b64decode(target, validate=True).decode("utf-8", "surrogateescape").rstrip("\n")
            elif line.startswith("t|"):
                _, identity, path = line.split("|", 2)
                through[path] = identity
            elif line.startswith("c|"):
                _, data, path = line.split("|", 2)
                contents[path] = base64.b64decode(data, validate=True)
        for probe in probes:
            if probe.path not in stats:
                yield ABSENT
                continue
            _, raw, owner, group, size, mtime, device, inode, _ = stats[probe.path]
            mode = int(raw, 16)
            kind = _KINDS.get(mode & 0xF000, "other")
            content = contents.get(probe.path)
            if content is not None and len(content) > READ_LIMIT:  # it has just grown
                content = None
            yield PathState(
                kind=kind,
                mode=mode & 0o7777,
                owner=owner,
                group=group,
                content=content if probe.read else None,
                target=links.get(probe.path, ""),
                identity=through.get(probe.path, "") if kind == "link" else f"{device}:{inode}:{size}:{mtime}",
                age=float(max(0, now - int(mtime))),
            )


def checked(path: str) -> str:
    """`path` when it is absolute, normal and safe to list line by line; ValueError otherwise."""
    if not path.startswith("/") or "|" in path or any(ord(c) < 32 or ord(c) == 127 for c in path):
        raise ValueError(f"not a usable path: {path!r}")
    if any(part in {".", ".."} for part in path.split("/")):
        raise ValueError(f"not a normal path: {path!r}")
    return path


def ago(seconds: float) -> str:
    """`2 h ago`."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit} ago"
    return "just now"


def rights_differ(state: PathState, owner: str, group: str, mode: int) -> list[str]:
    """In words, how `state` is not `owner`'s with `mode`; empty when it is."""
    found = []
    if state.mode != mode:
        found.append(f"mode {state.mode:04o}, wanted {mode:04o}")
    if (state.owner, state.group) != (owner, group):
        found.append(f"owner {state.owner}:{state.group}, wanted {owner}:{group}")
    return found


def owner_and_mode(path: str, owner: str, group: str, mode: int) -> str:
    """Commands that give `path` its owner and mode."""
    return f"chown -h {word(owner)}:{word(group)} -- {word(path)}\nchmod {mode:04o} -- {word(path)}"


def directory_rights(path: str, owner: str, group: str, mode: int) -> str:
    """The same for a directory that may stand in a folder of its service's own user, who could put a link in its
    place at any moment: what is changed is the directory that was entered, once it is seen to be no other."""
    return (
        f"(\n  cd -P -- {word(path)} || exit 1\n"
        f'  if [ "$(stat -c %d:%i .)" != "$(stat -c %d:%i -- {word(path)})" ]; then\n'
        f"    echo {word(path + ' is being replaced while it is worked on')} >&2; exit 1\n  fi\n"
        f"  chown {word(owner)}:{word(group)} .\n  chmod {mode:04o} .\n)"
    )


@dataclass(frozen=True, kw_only=True)
class PathResource(HostResource):
    """What is told by one look at one path."""

    path: str

    def __post_init__(self) -> None:
        checked(self.path)

    @property
    def probe(self) -> PathProbe:
        return PathProbe(self.path)

    def probes(self) -> tuple[Probe[Any], ...]:
        return (self.probe,)


__all__ = [
    "ABSENT",
    "READ_LIMIT",
    "UNKNOWN",
    "PathProbe",
    "PathResource",
    "PathState",
    "ago",
    "checked",
    "directory_rights",
    "owner_and_mode",
    "rights_differ",
]
