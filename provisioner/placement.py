"""Which hosts [roles] name, and what each of them does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from provisioner.errors import UsageError
from provisioner.topology import ROLES
from provisioner.values import dataclass

_ONE = {
    "store": "a store over several hosts comes with a later version",
    "database": "one server holds the database",
    "proxy": "clients use one address",
}
_WITHOUT = {"store": "store.engine", "database": "database.engine"}
"""Roles that need no host of the stack where this setting is `external`."""


@dataclass(frozen=True)
class Placed:
    """One host as [roles] write it first, and its roles in their order."""

    spec: str
    roles: tuple[str, ...]


def placed(roles: Mapping[str, Sequence[str]], identity: Callable[[str], str]) -> dict[str, Placed]:
    """The hosts of `roles`, by what `identity` says makes two ways of writing a host the same one."""
    found: dict[str, Placed] = {}
    for role in ROLES:
        for spec in roles.get(role, ()):
            known = found.get(identity(spec), Placed(spec, ()))
            found[identity(spec)] = Placed(known.spec, tuple(dict.fromkeys((*known.roles, role))))
    return found


def one_port_each(
    roles: Mapping[str, Sequence[str]], identity: Callable[[str], str], port_of: Callable[[str], int | None]
) -> None:
    """UsageError (64) where one address is meant to be two hosts: they would silently become one."""
    ports: dict[str, int] = {}
    for spec in (each for specs in roles.values() for each in specs):
        address, port = identity(spec), port_of(spec)
        if port is not None and ports.setdefault(address, port) != port:
            raise UsageError(
                f"[roles] name {address} with the ports {ports[address]} and {port}",
                why="a host is known by its address, whatever the port",
                next="two hosts behind one address: an alias of ~/.ssh/config for each, and its own address as\n"
                '[hosts."ALIAS"] internal = "ADDRESS"',
            )


def judge(hosts: Mapping[str, Placed], values: Mapping[str, Any]) -> None:
    """UsageError (64) where several hosts do not make a stack. `values`: settings by dotted key."""
    for role in ROLES:
        having = [each.spec for each in hosts.values() if role in each.roles]
        outside = values.get(_WITHOUT.get(role, "")) == "external"
        if outside and having:
            raise UsageError(
                f"[roles] {role} names {having[0]}, and {_WITHOUT[role]} is external",
                next=f"leave {role} out of [roles]",
            )
        if not having and not outside:
            raise UsageError(
                f"[roles] names no host for {role}", next=f'add the one that shall do it: {role} = ["HOST"]'
            )
        if len(having) > 1 and role in _ONE:
            raise UsageError(f"[roles] {role} names {len(having)} hosts", why=_ONE[role], next="name one of them")
