"""Which hosts a stack has, and what each of them does: data, the same for every host of the stack."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import field

from provisioner.values import dataclass

ROLES = ("store", "database", "mlflow", "proxy")
DOMAIN = "provision.internal"
"""Names of hosts in certificates that only the stack's own hosts look at; nobody resolves them."""


@dataclass(frozen=True)
class Member:
    """One host of a stack of several."""

    name: str
    """What the inventory calls it."""
    address: str
    """Literal IP address under which the stack's other hosts reach it; empty while it is not known."""
    roles: tuple[str, ...]
    """In the order of ROLES."""

    @property
    def dns(self) -> str:
        """Its name in certificates, besides its address: nginx compares names only
        (proxy_ssl_name; https://trac.nginx.org/nginx/ticket/1467)."""
        return f"{self.address.replace('.', '-').replace(':', '-') or 'unknown'}.{DOMAIN}"

    @property
    def names(self) -> tuple[str, ...]:
        """All by which the stack's other hosts may call it, the address first where it is known."""
        shared = (shared_name(role) for role in self.roles)
        return (*filter(None, [self.address]), self.dns, *shared)


def shared_name(role: str) -> str:
    """What every host of a role is called besides: nginx compares one name, whichever of them it has chosen."""
    return f"{role}.{DOMAIN}"


@dataclass(frozen=True)
class Topology:
    """The hosts of a stack, in the order in which the inventory names them. Without members: one host
    that does everything, reached as its operator reaches it."""

    members: tuple[Member, ...] = field(default=())

    @property
    def single(self) -> bool:
        """Whether one host does everything."""
        return len(self.members) < 2

    def spread(self, role: str) -> bool:
        """Whether several hosts share a role."""
        return len(self.of(role)) > 1

    def of(self, role: str) -> tuple[Member, ...]:
        """The hosts of a role, the first one first; none where one host does everything."""
        return tuple(member for member in self.members if role in member.roles)

    def count(self, role: str) -> int:
        """How many hosts do `role`."""
        return max(1, len(self.of(role)))

    def member(self, name: str) -> Member | None:
        """The host that the inventory calls `name`."""
        return next((member for member in self.members if member.name == name), None)


@dataclass(frozen=True)
class Here:
    """A topology, seen from one of its hosts."""

    topology: Topology = field(default_factory=Topology)
    name: str = ""

    @property
    def member(self) -> Member | None:
        """This host; None where one host does everything."""
        return None if self.topology.single else self.topology.member(self.name)

    def holds(self, *roles: str) -> bool:
        """Whether this host does one of `roles`."""
        return self.topology.single or any(role in (self.member.roles if self.member else ()) for role in roles)

    def first(self, role: str) -> bool:
        """Whether this host is the one of a role's hosts that does what must be done once."""
        return self.topology.single or [m.name for m in self.topology.of(role)][:1] == [self.name]

    def others(self, *roles: str) -> tuple[Member, ...]:
        """The other hosts that do one of `roles`."""
        found = (member for role in roles for member in self.topology.of(role))
        return () if self.topology.single else tuple(dict.fromkeys(m for m in found if m.name != self.name))


def addresses(members: Iterable[Member]) -> tuple[str, ...]:
    """Their known addresses."""
    return tuple(member.address for member in members if member.address)
