"""What a host of several can do at once, and what waits for another one of its stack.

A resource waits that needs `step:NAME` of a step which other hosts have (or `step:NAME@HOST`), and whatever comes
after it: by its needs, or in its lane. `after:NAME@HOST` waits as well, but not for a host that has failed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from provisioner.engine.resource import Resource
from provisioner.steps import Step
from provisioner.topology import Here
from provisioner.values import dataclass


@dataclass(frozen=True)
class Stages:
    """A host's resources, each in one of two parts; both keep the order."""

    first: tuple[Resource, ...]
    later: tuple[Resource, ...]
    needs: tuple[str, ...]
    """What `later` waits for, as Meeting.wait takes it: `step:database@db-1`."""


def split(resources: Sequence[Resource], steps: Mapping[str, Step], here: Here) -> Stages:
    """`steps`: all of the stack by name, wherever they are."""
    if here.topology.single:
        return Stages(tuple(resources), (), ())
    first: list[Resource] = []
    later: list[Resource] = []
    needs: dict[str, None] = {}
    ids: set[str] = set()
    lanes: set[str] = set()
    late: set[str] = set()
    for resource in resources:
        outside = [each for need in resource.needs for each in _elsewhere(need, steps, here)]
        needs |= dict.fromkeys(outside)
        waits = any(need in ids or (need.startswith("step:") and need[5:] in late) for need in resource.needs)
        if outside or waits or resource.lane in lanes:
            later.append(resource)
            ids.add(resource.id)
            lanes.add(resource.lane)
            late.add(resource.step)
        else:
            first.append(resource)
    return Stages(tuple(first), tuple(later), tuple(needs))


def _elsewhere(need: str, steps: Mapping[str, Step], here: Here) -> list[str]:
    """`need` on the hosts that it means, where this is none of them."""
    kind, _, rest = need.partition(":")
    name, _, host = rest.partition("@")
    if kind not in {"step", "after"}:
        return []
    if host:
        return [need] if host != here.name else []
    step = steps.get(name)
    if step is None or here.holds(*step.roles):
        return []
    return [f"{kind}:{name}@{member.name}" for member in here.others(*step.roles)]


def wording(needs: Sequence[str]) -> str:
    """`database on db-1, mlflow on m-1`."""
    return ", ".join(need.partition(":")[2].replace("@", " on ") for need in needs)
