"""Changes of settings that a stack with data refuses: what would be left behind, and how it is done by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from provisioner.settings import Recorded, Settings
from provisioner.topology import Topology
from provisioner.values import dataclass


@dataclass(frozen=True)
class Switch:
    """A change that a stack with data refuses (exit 4)."""

    key: str
    recorded: Any
    wanted: Any
    why: str
    next: str


def switches(recorded: Recorded | None, wanted: Settings) -> tuple[Switch, ...]:
    """The changes that must not happen by a setting on a stack that holds data; the caller knows if it does."""
    if recorded is None:
        return ()
    found: list[Switch] = []
    for key, (why, following) in _SWITCHES.items():
        before, after = recorded.values.get(key), wanted.get(key)
        if key == "mlflow.serve":
            if after != "artifacts":
                continue  # The other half is added; what one of them is to pass on is artifacts.mode's matter.
            before = before or "all"  # Records from before there was a choice.
        if before == after or (before is None and key not in _MAY_BE_NONE):
            continue
        if key == "store.drives" and before and after and tuple(after[: len(before)]) == tuple(before):
            continue  # Further ones are a pool of their own (commands/growth.py).
        if any(each.key == f"{key.partition('.')[0]}.engine" for each in found):
            continue
        keep = f"keep it: --set {key}={before}, and {key} out of the inventory"
        if key.startswith(("store.", "artifacts.")):
            from provisioner.artifact_moves import by_hand

            why, following = by_hand(key, recorded, wanted)
        elif key == "database.engine":
            from provisioner.database_moves import by_hand as dump_by_hand

            why, following = dump_by_hand(recorded, wanted)
        found.append(Switch(key, before, after, why, following or keep))
    return tuple(found)


def moved(before: Topology, after: Topology, alone: str) -> tuple[Switch, ...]:
    """The roles with data that other hosts shall have. `alone`: the address of the host that had them all, where
    `before` is one host."""
    found: list[Switch] = []
    for role, what in (("store", "artifacts"), ("database", "experiments and runs")):
        if any(not topology.single and not topology.of(role) for topology in (before, after)):
            continue  # It was, or becomes, somebody else's, or nobody's: that another setting says.
        was = tuple(m.address for m in before.of(role)) or (alone,)
        wanted = tuple(m.address for m in after.of(role)) or (alone,)
        if set(was) != set(wanted):
            shown = (", ".join(m.name for m in topology.of(role)) or alone for topology in (before, after))
            old, new = (name or at for name, at in zip(shown, (was[0], wanted[0]), strict=True))
            why = f"the {what} are on the old host, and the new one would start empty"
            if role == "store" and len(before.of(role)) > 1 and set(was) < set(wanted):
                why = (
                    "this release adds no hosts to a store over several: it gets more room by more drives on the hosts "
                    "that it has (docs/distributed-store.md)"
                )
            found.append(
                Switch(
                    f"roles.{role}",
                    f"{old} ({was[0]})" if old != was[0] else old,
                    f"{new} ({wanted[0]})" if new != wanted[0] else new,
                    why,
                    f'keep the role where it is: [roles] {role} = ["{old}"]\n'
                    f"to move: a stack of its own on the new host, its data copied over by hand, then clients to it",
                )
            )
    return tuple(found)


_MAY_BE_NONE = ("artifacts.prefix", "store.endpoint", "store.drives")
"""Settings of which "none" is a place too."""
_EMPTY = "the server would start on an empty database beside the one that holds the runs"
_SWITCHES: Mapping[str, tuple[str, str]] = {
    # What artifacts and runs move with is told by artifact_moves.py and database_moves.py. database.url is none of
    # these: one database may have several addresses, and whether it is the same is seen (steps/external_findings.py).
    "store.engine": ("", ""),
    "store.data": ("", ""),
    "store.drives": ("", ""),
    "store.bucket": ("", ""),
    "store.endpoint": ("", ""),
    "database.engine": ("", ""),
    "database.name": (_EMPTY, ""),
    "database.user": ("the tables belong to the recorded role, another one may not read them", ""),
    "artifacts.mode": ("", ""),
    "artifacts.prefix": ("", ""),
    "mlflow.serve": (
        "experiments and runs would stay in the database, and nobody would be shown them; clients would need another "
        "tracking server",
        "",
    ),
    "mlflow.version": (
        "the schema was made by the recorded version and there is no way back from a newer one",
        "keep the recorded version: this release of provision cannot move a database to another one",
    ),
}
