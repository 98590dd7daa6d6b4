"""A service's data directory: its owner, down to what is in it; never its content."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Self

from provisioner.engine.probe import Probe, Seen
from provisioner.engine.quoting import word
from provisioner.engine.resource import Change, HostResource
from provisioner.resources.mark import HAD, MarkProbe
from provisioner.resources.paths import PathProbe, PathState, checked, directory_rights, rights_differ
from provisioner.values import dataclass

MARK = ".provision-data"
"""The file that tells a data directory from the empty mount point below it: its service starts only beside it."""
_MARK_TEXT = "Written by provision: without this file the service does not start, as its disk is not mounted then."


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

    `had`: the mark of what this stack keeps in it. Where that is there and the directory is empty, its disk is
    not mounted (or its data is gone): then it is neither made nor marked. `lost` tells, apply refuses.
    """

    patience: ClassVar[float] = 900.0

    path: str
    owner: str
    group: str
    mode: int = 0o750
    sentinels: tuple[str, ...] = ()
    had: str = ""

    def __post_init__(self) -> None:
        checked(self.path)

    @property
    def probe(self) -> PathProbe:
        return PathProbe(self.path, read=False)

    @property
    def tree(self) -> TreeProbe:
        return TreeProbe(self.path, self.sentinels)

    @property
    def mark(self) -> PathProbe:
        return PathProbe(f"{self.path}/{MARK}", read=False)

    def probes(self) -> tuple[Probe[Any], ...]:
        return (self.probe, self.tree, self.mark, *((MarkProbe(self.had),) if self.had else ()))

    def lost(self, seen: Seen) -> bool:
        """It was in use, and now there is nothing in it."""
        return bool(
            self.had and seen[MarkProbe(self.had)] and seen[self.mark].kind == "absent" and not seen[self.tree].owners
        )

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
        if seen[self.mark].kind != "file":
            reasons.append("it bears no mark yet" if not self.lost(seen) else "it is empty: its disk is not mounted?")
        return Change("change", ", ".join(reasons), title=self.path) if reasons else None

    def after(self, seen: Seen) -> Seen:
        state = PathState("directory", self.mode, self.owner, self.group)
        seen = seen.put(self.mark, PathState("file", 0o640, self.owner, self.group))
        return seen.put(self.probe, state).put(self.tree, TreeState((self.owner,) if seen[self.tree].owners else ()))

    @classmethod
    def apply(cls, items: Sequence[tuple[Self, Change]]) -> str:
        lines = []
        for directory, change in items:
            path, mark = word(directory.path), word(directory.mark.path)
            if directory.had:
                there = " || ".join(f"[ -e {word(f'{directory.path}/{n}')} ]" for n in (MARK, *directory.sentinels))
                lines.append(
                    f"if [ -e {word(f'{HAD}/{directory.had}')} ] && ! {{ {there}; }}; then\n"
                    "  echo 'it is empty: is its disk mounted?' >&2; exit 1\nfi"
                )
            lines += [
                f"if [ -L {path} ]; then echo 'a link is in its place: name the directory itself' >&2; exit 1; fi",
                f"if [ -e {path} ] && ! [ -d {path} ]; then keep {path}; rm -f -- {path}; fi",
                f"[ -d {path} ] || ( umask 022 && mkdir -p {path} )",
            ]
            if change.payload:
                lines.append(f"chown -hR {word(directory.owner)}:{word(directory.group)} -- {path}")
            lines.append(directory_rights(directory.path, directory.owner, directory.group, directory.mode))
            lines.append(
                # As its owner: what that user could put in the way leads nowhere that it may not write.
                f"[ -e {mark} ] || setpriv --reuid={word(directory.owner)} --regid={word(directory.group)} "
                f'--clear-groups sh -c \'umask 027; echo "$1" >"$2"\' mark {word(_MARK_TEXT)} {mark}'
            )
        return "\n".join(lines)
