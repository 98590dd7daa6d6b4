"""Diff every resource against what was seen, each on top of the changes before it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from provisioner.engine.probe import Probe, Seen
from provisioner.engine.resource import Change, ClientResource, Planned, Resource
from provisioner.errors import Refused
from provisioner.values import dataclass


@dataclass(frozen=True)
class Plan:
    """The ordered changes of one look."""

    changes: tuple[Planned, ...]
    total: int
    """Resources looked at."""
    refused: tuple[Refused, ...] = ()
    """Why some resources may not be changed as they were seen: no run begins, everything else is still told."""

    def __bool__(self) -> bool:
        return bool(self.changes)

    @property
    def unmet(self) -> tuple[Planned, ...]:
        """Changes that make something exist or run: what stands between a host and a need."""
        return tuple(p for p in self.changes if p.change.action in {"create", "start", "run"})


def probes_of(resources: Iterable[Resource]) -> list[Probe[Any]]:
    """Every host probe the resources need; a client resource's own look is not among them."""
    return [probe for resource in resources for probe in resource.probes()]


def make(resources: Sequence[Resource], seen: Seen) -> Plan:
    """The ordered changes. A later resource sees the host as the earlier changes leave it, so a
    service whose file will change is planned to restart by the same rule that a run uses."""
    changes: list[Planned] = []
    refused: list[Refused] = []
    for resource in resources:
        if isinstance(resource, ClientResource) and not resource.ready(seen):
            change: Change | None = Change("check", "seen only when its service answers", title=resource.id)
        else:
            try:
                change = resource.diff(seen)
            except Refused as error:
                refused.append(error)
                continue
        if change is not None:
            changes.append(Planned(resource, change))
            seen = resource.after(seen)
    return Plan(tuple(changes), len(resources), tuple(refused))
