"""Which host's record of the settings counts, where the hosts of a stack do not all have the same one.

A host that was down, or left out, when a setting was chosen still has what was before. So a record of a stack over
several hosts says how many times its settings were changed, and the latest one counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from provisioner import schema
from provisioner.errors import Refused
from provisioner.inventory import StackRequest
from provisioner.record import dump_recorded
from provisioner.settings import RECORD, Recorded, Settings, effective

_MANY = 6
"""More settings than this are not listed one by one."""


def latest(records: Mapping[str, Recorded], copy: Recorded | None, request: StackRequest) -> Recorded | None:
    """The record that counts. `records`: of the hosts that were seen, `copy`: this machine's.

    Refused (exit 4) where two hosts were changed independently of each other and the call does not say what counts.
    """
    if not records:
        return copy
    newest = max(found.edition for found in records.values())
    if copy is not None and copy.edition > newest and any(p.host.name not in records for p in request.parts):
        # What was changed last was changed on a host that is not here.
        return copy
    at = [name for name, found in records.items() if found.edition == newest]
    first = records[at[0]]
    for name in at[1:]:
        if records[name] != first and (differing := _differing(first, records[name], request)):
            raise _contradiction(at[0], name, differing)
    return first


def numbered(settings: Settings, recorded: Recorded | None) -> Settings:
    """`settings` with the number under which they are recorded: the next one where they are others than before."""
    if settings.topology.single:
        return replace(settings, edition=0)
    before = recorded.edition if recorded is not None else 0
    same = (
        recorded is not None
        and before > 0
        and _written(settings, before) == _written(effective({}, {}, recorded), before)
    )
    return replace(settings, edition=before if same else before + 1)


def _written(settings: Settings, edition: int) -> str:
    """What a host records of `settings`: not the operator's own files, which an inventory names at every run."""
    return dump_recorded(replace(settings, edition=edition), "")


def _differing(one: Recorded, other: Recorded, request: StackRequest) -> dict[str, tuple[object, object]]:
    """What the call would make of the two, where it is not the same."""
    ours, theirs = (effective(request.flags, request.inventory or {}, each) for each in (one, other))
    return {
        dotted: (ours.get(dotted), theirs.get(dotted))
        for dotted in schema.known()
        if ours.get(dotted) != theirs.get(dotted)
    }


def _contradiction(one: str, other: str, differing: Mapping[str, tuple[object, object]]) -> Refused:
    shown = [
        f"{key}: {_shown(ours)} on {one}, {_shown(theirs)} on {other}" for key, (ours, theirs) in differing.items()
    ]
    more = [f"and {len(shown) - _MANY} more"] if len(shown) > _MANY else []
    return Refused(
        f"{one} and {other} disagree about the stack's settings",
        why="\n".join([*shown[:_MANY], *more]),
        next="say which are right, in the inventory or with  --set KEY=VALUE\n"
        f"or move the wrong file away on its host:  mv {RECORD} {RECORD}.old",
    )


def _shown(value: object) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
