"""Which pools a MinIO store over several hosts has, and whether a run adds one."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from provisioner.commands.holdings import Had
from provisioner.errors import Refused
from provisioner.pools import Pool, grown, ordinal
from provisioner.settings import Recorded, Settings
from provisioner.topology import addresses

COST = "all servers of the store restart together, about 20 s without it"


def pooled(
    settings: Settings, recorded: Recorded | None, seen: Mapping[str, Had], chosen: Collection[str]
) -> tuple[Settings, tuple[str, ...]]:
    """`settings` with the store's pools, and what is to be said of one that is added. `seen`: by host.

    None are kept where it is one of all drives in the order of the topology. Refused (exit 4) where a pool cannot be
    made, or not by those who take part.
    """
    members = settings.topology.of("store")
    before = _before(recorded)
    if settings.store.engine != "minio" or len(members) < 2 or not before or not _holds(before, seen):
        return replace(settings, pools=()), ()
    drives = settings.store.drives or ()
    found = grown(before, addresses(members), drives)
    if found is None:
        return replace(settings, pools=before), ()  # Refused as a switch, which says the way out.
    if found == (Pool(addresses(members), drives),):
        return replace(settings, pools=()), ()
    settings = replace(settings, pools=found)
    if len(found) == len(before):
        return settings, ()
    what = f"a {ordinal(len(found))} pool of {found[-1].count} drives"
    missing = [member.name for member in members if member.name not in seen]
    if missing:
        raise Refused(
            f"{what} cannot be added without {', '.join(missing)}",
            why="MinIO starts with it only where all of its servers know it",
            next="run this when all of the store's hosts answer, for all of them",
        )
    if chosen:
        raise Refused(
            f"{what} is added by a run of all steps", why=COST, next="the same command without names of steps"
        )
    return settings, (f"{what}: {COST}",)


def _before(recorded: Recorded | None) -> tuple[Pool, ...]:
    if recorded is None or recorded.pools or not recorded.topology.spread("store"):
        return recorded.pools if recorded is not None else ()
    drives = tuple(recorded.values.get("store.drives") or ())
    return (Pool(addresses(recorded.topology.of("store")), drives),) if drives else ()


def _holds(before: tuple[Pool, ...], seen: Mapping[str, Had]) -> bool:
    """Whether there may be objects: what was never brought to its end is still made as one pool."""
    for host in {host for pool in before for host in pool.hosts}:
        found = [had for had in seen.values() if host in had.addresses]
        if not found or any(mark.startswith("bucket-") for had in found for mark in had.marks):
            return True
    return False
