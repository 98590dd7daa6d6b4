"""Which hosts [roles] name, and what each of them does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from provisioner.errors import UsageError
from provisioner.topology import ROLES
from provisioner.values import dataclass

_ONE = {
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
        if having:
            superfluous({role: having[0]}, values)
        elif role == "database" and values.get("mlflow.serve") == "artifacts":
            continue
        elif values.get(_WITHOUT.get(role, "")) != "external":
            # What was chosen by --set once is in the record, which no host was asked for yet.
            ways = [f'add the one that shall do it: {role} = ["HOST"]', *_ways(role)]
            raise UsageError(f"[roles] names no host for {role}", next="\n".join(ways))
        if len(having) > 1 and role in _ONE:
            raise UsageError(f"[roles] {role} names {len(having)} hosts", why=_ONE[role], next="name one of them")
        if role == "store":
            spread_store(len(having), values.get("store.engine", "minio"), values.get("store.drives") or ())


def _ways(role: str) -> list[str]:
    """How [roles] do without a role."""
    if role not in _WITHOUT:
        return []
    table, _, key = _WITHOUT[role].partition(".")
    lines = [f'  [{table}] {key} = "external"']
    lines += ['  [mlflow] serve = "artifacts"'] if role == "database" else []
    return ["or, where the stack has none of its own, say so in the inventory:", *lines]


def superfluous(named: Mapping[str, str], values: Mapping[str, Any]) -> None:
    """UsageError (64) where a role that the stack does without has a host. `named`: role -> its first host."""
    for role, host in named.items():
        if role == "database" and values.get("mlflow.serve") == "artifacts":
            raise UsageError(
                f'[roles] database names {host}, and mlflow.serve is "artifacts"',
                why="a server that passes artifacts on has no database",
                next="leave database out of [roles]",
            )
        if values.get(_WITHOUT.get(role, "")) == "external":
            raise UsageError(
                f"[roles] {role} names {host}, and {_WITHOUT[role]} is external",
                next=f"leave {role} out of [roles]",
            )


_SETS = range(2, 17)
"""Drives in one of MinIO's erasure sets; as many sets of one size as it takes make up all drives."""
LEAST = 4
"""Drives in all: MinIO's own least for several hosts that shall lose one and go on writing."""


def spread_store(hosts: int, engine: str, drives: Sequence[str]) -> None:
    """UsageError (64) where so many store hosts with these drives on each do not make one store."""
    if hosts < 2:
        if drives:
            raise UsageError(
                "store.drives is for several store hosts, and this stack has one",
                why="one server keeps its data in one directory",
                next="leave store.drives out and name the directory: store.data; or name more hosts: [roles] store",
            )
        return
    if engine != "minio":
        raise UsageError(
            f"[roles] store names {hosts} hosts, and store.engine is {engine}",
            why="only MinIO spreads one store over several hosts here: SeaweedFS would keep each object on one of "
            "them, and lose it with that host",
            next='name one of them, or: store.engine = "minio" with store.drives',
        )
    if not drives:
        raise UsageError(
            f"[roles] store names {hosts} hosts, and not where their drives are",
            why="a store over several hosts keeps its data on disks of its own, not in the system's",
            next='name the directories where they are mounted: [store] drives = ["/mnt/d1"]; or name one host',
        )
    every = hosts * len(drives)
    if every < LEAST:
        raise UsageError(
            f"{hosts} store hosts with {len(drives)} {'drive' if len(drives) == 1 else 'drives'} each have {every}",
            why=f"MinIO needs {LEAST} in all to go on writing without one of them",
            next="name more hosts in [roles] store, or more directories in store.drives",
        )
    if not any(every % size == 0 for size in _SETS):
        raise UsageError(
            f"{every} drives in all cannot be shared out evenly",
            why="MinIO puts them into sets of one size, of 2 to 16 drives",
            next="name another number of hosts or of drives",
        )
