"""The pools of a MinIO store over several hosts, as its servers are told of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from provisioner.pools import Pool, ordinal
from provisioner.resources.file import File
from provisioner.steps import Context, inner
from provisioner.steps.bucket import MARKS
from provisioner.topology import addresses

CONFIG = "/etc/default/minio-pools.yaml"


def pools(context: Context) -> tuple[Pool, ...]:
    """The store's pools, in their order."""
    settings = context.settings
    return settings.pools or (Pool(addresses(settings.topology.of("store")), settings.store.drives or ()),)


def urls(pool: Pool) -> list[str]:
    """Every drive of every host, the same everywhere. Host after host, as neighbours make a set where there are
    more than 16: each set then has as many of each host's."""
    return [url(host, drive) for drive in pool.drives for host in pool.hosts]


def url(address: str, drive: str) -> str:
    """What MinIO calls a drive."""
    return f"https://{inner.bracketed(address)}:{inner.STORE_PORT}{drive}"


def config(context: Context) -> str:
    """The file that names several pools; empty for one. By arguments there could be several only where addresses and
    directories are numbered in a row (mergeDisksLayoutFromArgs). MinIO makes the first one's sets of it as it did of
    the arguments: of the first drive of each host, then of the second (buildDisksLayoutFromConfFile)."""
    if len(context.settings.pools) < 2:
        return ""
    lines = [
        "# Written by provision: the drives of each of the store's pools. MinIO finds the objects only while they stay",
        "# as they are and in this order. An edit here is put back.",
        "version: v1",
        "pools:",
    ]
    for pool in context.settings.pools:
        first, *others = (json.dumps(each) for each in urls(pool))
        lines += [f"  - - {first}", *(f"    - {each}" for each in others)]
    return "\n".join([*lines, ""])


def numbers(context: Context) -> Mapping[str, int]:
    """The number of its pool for each of this host's drives."""
    member = context.here.member
    found = enumerate(pools(context), 1)
    return {
        drive: n for n, pool in found if member is not None and member.address in pool.hosts for drive in pool.drives
    }


def mark(number: int) -> str:
    """The name of the mark that the store has had a further pool."""
    return f"pool-{number}"


def marks(context: Context) -> Iterable[File]:
    """The marks of the further pools that have drives on this host: written once the store is there with them, as
    their drives are rightly empty before that."""
    for number in sorted(set(numbers(context).values()) - {1}):
        yield File(
            id=f"mark:{mark(number)}",
            path=f"{MARKS}/{mark(number)}",
            content=(
                f"# Written by provision when the store had taken its {ordinal(number)} pool. While this file is\n"
                "# here, an empty drive of that pool is reported as a loss.\n"
            ).encode(),
            needs=("cluster:minio",),
        )
