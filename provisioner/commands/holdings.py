"""Whether something hangs on a setting that changes: what the marks of a stack's hosts say of its data."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from provisioner.switches import Switch
from provisioner.topology import Member, Topology
from provisioner.values import dataclass

_MARKS = {"store": ("bucket-",), "database": ("database.", "role.")}
"""Role -> beginnings of the marks that say that there is data."""
_ROLES = {"store": "store", "artifacts": "store", "database": "database", "mlflow": "database"}
"""Table of a switched setting -> the role that has what would be left behind."""


@dataclass(frozen=True)
class Had:
    """What one host that was seen ever had."""

    addresses: Collection[str]
    marks: frozenset[str]
    recorded: bool
    """A stack was made there."""


def data(switch: Switch, marks: frozenset[str]) -> bool:
    """Whether a host with these marks ever had what `switch` would leave behind."""
    wanted = ("database.",) if switch.key.startswith("mlflow.") else _MARKS[_role(switch)]
    return any(mark.startswith(wanted) for mark in marks)


def left_behind(switch: Switch, before: Topology, seen: Mapping[str, Had]) -> bool:
    """Whether `switch` would leave data behind on the hosts of `before`. One that is not seen may have some."""
    if before.single:
        return any(data(switch, had.marks) for had in seen.values() if had.recorded) or not any(
            had.recorded for had in seen.values()
        )
    # What is somebody else's has no host of the stack: the marks of it are where MLflow used it.
    had = before.of(_role(switch)) or before.of("mlflow")
    return any(_may_have(switch, member, seen) for member in had)


def _may_have(switch: Switch, member: Member, seen: Mapping[str, Had]) -> bool:
    found = [had for had in seen.values() if member.address in had.addresses]
    return not found or any(data(switch, had.marks) for had in found)


def _role(switch: Switch) -> str:
    table, _, name = switch.key.partition(".")
    return name if table == "roles" else _ROLES[table]
