"""A service's data directory: its owner, down to what is in it; never its content."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Self

from provisioner.engine.probe import Probe, Seen
from provisioner.engine.quoting import word
from provisioner.engine.resource import Change, HostResource
from provisioner.resources.paths import PathProbe, PathState, checked, owner_and_mode, rights_differ
from provisioner.values import dataclass


@dataclass(frozen=True)
class TreeState:
    """`owners`: of the sentinels that exist, `user` or `#uid` where no user has that id."""

    owners: tuple[str, ...] = ()


@dataclass(frozen=True)
class TreeProbe(Probe[TreeState]):
    """Looks at a data directory and whose it is."""

    path: str
    sentinels: tuple[str, ...]

    kind: ClassVar[str] = "trees"

    @classmethod
    def fragment(cls, probes: Sequence[Self]) -> str:
        lines = []
        for number, probe in enumerate(probes):
            for name in probe.sentinels:
                # stat writes UNKNOWN for an id without a user.
                lines.append(f"stat -c '{number}|%U|%u' -- {word(f'{probe.path}/{name}')} 2>/dev/null || :")
        return "\n".join([*lines, ":"])

    @classmethod
    def parse(cls, probes: Sequence[Self], output: bytes) -> Iterable[TreeState]:
        owners: list[list[str]] = [[] for _ in probes]
        for line in output.decode("utf-8", "replace").splitlines():
            number, name, uid = line.split("|")
            owners[int(number)].append(f"#{int(uid)}" if name == "UNKNOWN" else name[:40])
        return [TreeState(tuple(sorted(set(found)))) for found in owners]


@dataclass(frozen=True, kw_only=True)
class DataDirectory(HostResource):
    """A directory whose data belongs to one service user.

    After a server was rebuilt, data on a kept disk belongs to an id that no user or another one has:
    `sentinels` (names the service itself makes) tell. An id without a user is taken back by itself, data
    of a named user only with consent. Nothing is ever removed.
    """

    patience: ClassVar[float] = 900.0

    path: str
    owner: str
    group: str
    mode: int = 0o750
    sentinels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        checked(self.path)

    @property
    def probe(self) -> PathProbe:
        return PathProbe(self.path, read=False)

    @property
    def tree(self) -> TreeProbe:
        return TreeProbe(self.path, self.sentinels)

    def probes(self) -> tuple[Probe[Any], ...]:
        return self.probe, self.tree

    def diff(self, seen: Seen) -> Change | None:
        state = seen[self.probe]
        if state.kind == "absent":
            return Change("create", "absent", title=self.path)
        if state.kind == "link":
            return Change("change", f"a link to {state.target[:80]} is in its place", title=self.path, asks="refused")
        if state.kind != "directory":
            return Change("change", f"a {state.kind} is in its place", title=self.path, asks="it is moved aside")
        foreign = [owner for owner in seen[self.tree].owners if owner != self.owner]
        if foreign:
            named = [owner for owner in foreign if not owner.startswith("#")]
            asks = f"everything in it is given to {self.owner}" if named else None
            who = ", ".join(named) or "a user that this server does not have (it was rebuilt?)"
            return Change("change", f"its data belongs to {who}", title=self.path, asks=asks, payload=True)
        reasons = rights_differ(state, self.owner, self.group, self.mode)
        return Change("change", ", ".join(reasons), title=self.path) if reasons else None

    def after(self, seen: Seen) -> Seen:
        state = PathState("directory", self.mode, self.owner, self.group)
        return seen.put(self.probe, state).put(self.tree, TreeState((self.owner,) if seen[self.tree].owners else ()))

    @classmethod
    def apply(cls, items: Sequence[tuple[Self, Change]]) -> str:
        lines = []
        for directory, change in items:
            path = word(directory.path)
            lines += [
                f"if [ -L {path} ]; then echo 'a link is in its place: name the directory itself' >&2; exit 1; fi",
                f"if [ -e {path} ] && ! [ -d {path} ]; then keep {path}; rm -f -- {path}; fi",
                f"[ -d {path} ] || ( umask 022 && mkdir -p {path} )",
            ]
            if change.payload:
                lines.append(f"chown -hR {word(directory.owner)}:{word(directory.group)} -- {path}")
            lines.append(owner_and_mode(directory.path, directory.owner, directory.group, directory.mode))
        return "\n".join(lines)
