"""System users that services run as."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Self

from provisioner.engine.probe import Probe, Seen
from provisioner.engine.quoting import word, words
from provisioner.engine.resource import Change, HostResource
from provisioner.values import dataclass


@dataclass(frozen=True)
class UserState:
    """Whether a user and its group exist."""

    exists: bool
    group_exists: bool = False
    uid: int = -1


@dataclass(frozen=True)
class UserProbe(Probe[UserState]):
    """Asks for one user and its group."""

    name: str

    kind: ClassVar[str] = "users"

    @classmethod
    def fragment(cls, probes: Sequence[Self]) -> str:
        names = words(*(p.name for p in probes))
        return f"getent passwd {names} | sed 's/^/u:/' || :\ngetent group {names} | sed 's/^/g:/' || :"

    @classmethod
    def parse(cls, probes: Sequence[Self], output: bytes) -> Iterable[UserState]:
        users: dict[str, int] = {}
        groups = set()
        for line in output.decode("utf-8", "replace").splitlines():
            fields = line.split(":")
            if fields[0] == "u":
                users[fields[1]] = int(fields[3])
            elif fields[0] == "g":
                groups.add(fields[1])
        return [UserState(p.name in users, p.name in groups, users.get(p.name, -1)) for p in probes]


@dataclass(frozen=True, kw_only=True)
class SystemUser(HostResource):
    """A user without login or password and a group of the same name. One that exists is used as
    it is: its id owns data."""

    name: str
    home: str

    @property
    def probe(self) -> UserProbe:
        return UserProbe(self.name)

    def probes(self) -> tuple[Probe[Any], ...]:
        return (self.probe,)

    def diff(self, seen: Seen) -> Change | None:
        state = seen[self.probe]
        if state.exists and state.uid == 0:
            return Change("change", "it is root under another name", title=f"user {self.name}", asks="refused")
        if state.exists and state.group_exists:
            return None
        return Change("create", "absent" if not state.exists else "its group is absent", title=f"user {self.name}")

    def after(self, seen: Seen) -> Seen:
        return seen.put(self.probe, UserState(True, True, 999))

    @classmethod
    def apply(cls, items: Sequence[tuple[Self, Change]]) -> str:
        lines = []
        for user, _ in items:
            name = word(user.name)
            lines += [
                f"getent group {name} >/dev/null || groupadd --system {name}",
                f"getent passwd {name} >/dev/null || useradd --system --gid {name} --no-create-home "
                f"--home-dir {word(user.home)} --shell /usr/sbin/nologin {name}",
            ]
        return "\n".join(lines)
