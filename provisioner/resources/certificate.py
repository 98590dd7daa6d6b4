"""Certificates on a host: the issuer that the operator's side makes for it, and the one that the host makes itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import field, replace
from typing import Any, Self

from provisioner.certificates import inspect
from provisioner.certificates.authority import REMADE_DAYS, issuer
from provisioner.certificates.material import Material
from provisioner.engine.probe import Probe, Seen
from provisioner.engine.quoting import word
from provisioner.engine.resource import UNKNOWN, Change
from provisioner.resources.file import File
from provisioner.resources.paths import PathProbe, PathResource, PathState
from provisioner.secrets import Secret
from provisioner.transport.base import Session
from provisioner.values import dataclass

HEAD = b"# Written by provision: "
"""How every file of this kind begins: PEM allows words outside its blocks."""
LEAF_LEAST = 25
"""Days: the host renews with 30 left, and is given 5 days for it before this tool does."""
_ALL = 36_500
"""Days that no certificate has left: one is made whatever is there."""


def _unlike(state: PathState, mode: int = 0o600, group: str = "root") -> str:
    """Why a file of a private key of root's is not as it must be, apart from its content; empty when it is."""
    if state.kind != "file" or state.content is None:
        return f"a {state.kind} is in its place" if state.kind != "file" else "it is too large"
    if state.mode != mode:
        return f"mode {state.mode:04o}, wanted {mode:04o}"
    return "" if (state.owner, state.group) == ("root", group) else f"owner {state.owner}:{state.group}"


def _found(state: PathState) -> inspect.Bundle | None:
    return inspect.bundle(state.content) if isinstance(state.content, bytes) else None


@dataclass(frozen=True, kw_only=True)
class Issuer(PathResource):
    """Key and certificate, in one file, with which a host certifies `names` and nothing else."""

    root: Material | None = field(repr=False)
    """None in the guess."""
    names: tuple[str, ...]

    def diff(self, seen: Seen) -> Change | None:
        state = seen[self.probe]
        if state.kind == "absent":
            return Change("create", "absent", title=self.path)
        fault = _unlike(state)
        if not fault and state.content is not UNKNOWN:
            found = _found(state)
            if found is None or self.root is None:
                fault = "not a key with its certificate"
            else:
                fault = inspect.issuer_fault(found, self.root, self.names, REMADE_DAYS)
        asks = "the directory is moved aside" if state.kind == "directory" else None
        return Change("change", fault, title=self.path, asks=asks) if fault else None

    def after(self, seen: Seen) -> Seen:
        return seen.put(self.probe, PathState("file", 0o600, "root", "root", content=UNKNOWN))

    def prepare(self, session: Session, change: Change, say: Callable[[str], None]) -> Change:
        """The key is made here, where the root's is, and goes over the connection's stdin only."""
        assert self.root is not None
        return replace(change, payload=Secret(issuer(self.root, self.names).pem()))

    @classmethod
    def apply(cls, items: Sequence[tuple[Self, Change]]) -> str:
        files = []
        for item, change in items:
            made = change.payload.reveal().encode() if isinstance(change.payload, Secret) else b""
            head = HEAD + b"what renews the certificates of this host, and can certify no other name.\n"
            files.append((File(id=item.id, path=item.path, content=head + made, mode=0o600, hide=("*",)), change))
        return File.apply(files)


@dataclass(frozen=True, kw_only=True)
class Leaf(PathResource):
    """The certificate of a service, in one file with its key and its issuer's certificate. The host makes it
    by `script`, now and whenever it nears its end, with the owner and mode that the script was told."""

    issuer: str
    """Path of the issuer's file."""
    script: str
    names: tuple[str, ...]
    group: str = "root"
    mode: int = 0o600

    def probes(self) -> tuple[Probe[Any], ...]:
        return self.probe, PathProbe(self.issuer)

    def diff(self, seen: Seen) -> Change | None:
        state, above = seen[self.probe], seen[PathProbe(self.issuer)]
        if state.kind == "absent":
            return Change("create", "absent", title=self.path)
        fault = _unlike(state, self.mode, self.group)
        if not fault and state.content is not UNKNOWN:
            found, by = _found(state), _found(above)
            if found is None:
                fault = "not a key with its certificate"
            elif above.content is UNKNOWN or by is None:
                fault = "its issuer is a new one"
            else:
                fault = inspect.leaf_fault(found, by, self.names, LEAF_LEAST)
        asks = "the directory is moved aside" if state.kind == "directory" else None
        return Change("change", fault, title=self.path, asks=asks) if fault else None

    def after(self, seen: Seen) -> Seen:
        return seen.put(self.probe, PathState("file", self.mode, "root", self.group, content=UNKNOWN))

    @classmethod
    def apply(cls, items: Sequence[tuple[Self, Change]]) -> str:
        lines = []
        for leaf, _ in items:
            path = word(leaf.path)
            # `mv` would put the new file into what is a directory, and follow nothing else that is not ours.
            lines.append(f"keep {path}\nif [ -L {path} ] || ! [ -f {path} ]; then rm -f -- {path}; fi")
            lines.append(f"{word(leaf.script)} {_ALL} {path}")
        return "\n".join(lines)


def days_left(state: PathState) -> tuple[int, str, tuple[str, ...]] | None:
    """Days left, the end (ISO 8601) and the names of the certificate in a file that was seen; None for none."""
    found = _found(state)
    if found is None:
        return None
    return found.days, found.until.isoformat(), tuple(sorted(inspect.names(found.first)))
