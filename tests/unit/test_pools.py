"""A MinIO store that grows by a pool: what makes one, what stays, and what its servers are told."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from provisioner.commands.growth import pooled
from provisioner.commands.holdings import Had
from provisioner.door import Door
from provisioner.engine.probe import Seen
from provisioner.errors import Refused
from provisioner.pools import Pool, grown
from provisioner.record import dump_recorded, parse_recorded
from provisioner.resources.facts import Facts
from provisioner.resources.file import File
from provisioner.resources.unit import Service, UnitProbe, UnitState
from provisioner.settings import Recorded, Settings, effective, with_topology
from provisioner.steps import Context, minio_cluster, minio_pools
from provisioner.steps.cluster import STEP as CLUSTER
from provisioner.steps.minio import ENVIRONMENT
from provisioner.steps.minio import STEP as MINIO
from provisioner.switches import moved
from provisioner.topology import Member, Topology

FOUR = ("10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4")
FIRST = Pool(FOUR, ("/mnt/d1",))


def topology(addresses: Sequence[str] = FOUR) -> Topology:
    roles = ("store", "database", "mlflow", "proxy")
    return Topology(tuple(Member(f"s{a[-1]}", a, roles if a == FOUR[0] else ("store",)) for a in addresses))


def wanted(drives: Sequence[str], addresses: Sequence[str] = FOUR) -> Settings:
    return with_topology(effective({"store.drives": tuple(drives)}, {}), topology(addresses))


RECORDED = Recorded("s", {"store.engine": "minio", "store.drives": ("/mnt/d1",)}, topology=topology(), edition=1)


def seen(addresses: Sequence[str] = FOUR, marks: Sequence[str] = ("bucket-mlflow",)) -> Mapping[str, Had]:
    return {f"s{address[-1]}": Had((address,), frozenset(marks), True) for address in addresses}


def context(settings: Settings, name: str = "s2") -> Context:
    return Context(settings, Facts(), {}, Door("http", FOUR[0], 5000, (FOUR[0],)), stack="test", name=name)


def files(where: Context) -> dict[str, str]:
    return {r.path: r.content.decode() for r in MINIO.resources(where) if isinstance(r, File)}


def test_drives_that_are_added_make_a_pool_of_their_own_on_every_host() -> None:
    assert grown([FIRST], FOUR, ("/mnt/d1", "/mnt/d2")) == (FIRST, Pool(FOUR, ("/mnt/d2",)))
    second = (FIRST, Pool(FOUR, ("/mnt/d2",)))
    assert grown(second, FOUR, ("/mnt/d1", "/mnt/d2")) == second
    assert grown(second, FOUR, ("/mnt/d1", "/mnt/d2", "/mnt/d3")) == (*second, Pool(FOUR, ("/mnt/d3",)))


@pytest.mark.parametrize(
    ("hosts", "drives"),
    [
        (FOUR, ("/mnt/d2",)),
        (FOUR, ("/mnt/d2", "/mnt/d1")),
        (FOUR[:3], ("/mnt/d1",)),
        ((*FOUR, "10.0.0.5"), ("/mnt/d1", "/mnt/d2")),
    ],
)
def test_what_is_there_neither_goes_nor_changes_its_place(hosts: tuple[str, ...], drives: tuple[str, ...]) -> None:
    assert grown([FIRST], hosts, drives) is None


@pytest.mark.parametrize(
    ("hosts", "first", "more", "fits"),
    [(4, 1, 1, True), (2, 2, 1, False), (2, 2, 2, True), (4, 2, 1, False), (4, 2, 2, True), (8, 1, 3, True)],
)
def test_a_pool_whose_sets_cannot_have_the_parity_of_the_first_is_refused(
    hosts: int, first: int, more: int, fits: bool
) -> None:
    names = tuple(f"10.0.1.{number}" for number in range(hosts))
    drives = tuple(f"/mnt/d{number}" for number in range(first + more))
    before = Pool(names, drives[:first])
    if fits:
        assert grown([before], names, drives) == (before, Pool(names, drives[first:]))
    else:
        with pytest.raises(Refused, match="make no second pool"):
            grown([before], names, drives)


def test_a_store_without_objects_is_made_anew_as_one_pool() -> None:
    settings, told = pooled(wanted(("/mnt/d1", "/mnt/d2")), RECORDED, seen(marks=()), ())
    assert settings.pools == ()
    assert told == ()


def test_a_pool_is_told_and_kept_in_the_record() -> None:
    settings, told = pooled(wanted(("/mnt/d1", "/mnt/d2")), RECORDED, seen(), ())
    assert settings.pools == (FIRST, Pool(FOUR, ("/mnt/d2",)))
    assert told == ("a second pool of 4 drives: all servers of the store restart together, about 20 s without it",)
    recorded = parse_recorded(dump_recorded(settings, "s"), "s1")
    again, told = pooled(replace(settings, pools=()), recorded, seen(), ())
    assert again.pools == settings.pools
    assert told == ()


def test_a_pool_needs_all_hosts_of_the_store_and_all_steps() -> None:
    more = wanted(("/mnt/d1", "/mnt/d2"))
    with pytest.raises(Refused, match="without s4"):
        pooled(more, RECORDED, seen(FOUR[:3]), ())
    with pytest.raises(Refused, match="all steps"):
        pooled(more, RECORDED, seen(), ("proxy",))


def test_hosts_named_in_another_order_leave_the_drives_in_theirs() -> None:
    settings, told = pooled(wanted(("/mnt/d1",), FOUR[::-1]), RECORDED, seen(), ())
    assert told == ()
    assert minio_pools.urls(minio_pools.pools(context(settings))[0]) == [f"https://{a}:9000/mnt/d1" for a in FOUR]
    assert pooled(wanted(("/mnt/d1",)), RECORDED, seen(), ())[0].pools == (), "the topology says it"


def test_further_hosts_of_a_store_are_refused_with_what_goes_instead() -> None:
    (switch,) = moved(topology(), topology((*FOUR, "10.0.0.5")), "x")
    assert switch.key == "roles.store"
    assert "more drives on the hosts that it has" in switch.why


def test_several_pools_are_named_in_a_file_and_one_by_arguments() -> None:
    one = files(context(wanted(("/mnt/d1",))))
    assert minio_pools.CONFIG not in one
    assert "MINIO_VOLUMES=" in one[ENVIRONMENT]
    settings, _ = pooled(wanted(("/mnt/d1", "/mnt/d2")), RECORDED, seen(), ())
    two = files(context(settings))
    assert "MINIO_VOLUMES=" not in two[ENVIRONMENT]
    assert f"--config {minio_pools.CONFIG}" in two[ENVIRONMENT]
    listed = [line.strip("- ") for line in two[minio_pools.CONFIG].splitlines() if "https://" in line]
    assert listed == [f'"https://{a}:9000/mnt/d{n}"' for n in (1, 2) for a in FOUR]
    starts = [line for line in two[minio_pools.CONFIG].splitlines() if line.startswith("  - - ")]
    assert starts == [f'  - - "https://{FOUR[0]}:9000/mnt/d{n}"' for n in (1, 2)]


def test_the_drives_of_a_pool_are_missed_only_once_the_store_had_them() -> None:
    settings, _ = pooled(wanted(("/mnt/d1", "/mnt/d2")), RECORDED, seen(), ())
    where = context(settings)
    assert [each.had for each in minio_cluster.directories(where)] == ["bucket-mlflow", "pool-2"]
    (mark,) = (r for r in CLUSTER.resources(where) if isinstance(r, File))
    assert mark.path == "/etc/provision/had/pool-2"
    assert mark.needs == ("cluster:minio",)


def test_servers_that_do_not_know_a_pool_restart_at_once() -> None:
    settings, _ = pooled(wanted(("/mnt/d1", "/mnt/d2")), RECORDED, seen(), ())
    texts = files(context(settings))
    digests = {path: hashlib.sha256(text.encode()).hexdigest() for path, text in texts.items()}
    for record, once in (({**digests, minio_pools.CONFIG: "other"}, True), (digests, False)):
        state = UnitState("loaded", "active", "running", "enabled", invocation="1", record=record)
        where = replace(context(settings), seen=Seen({UnitProbe(minio_cluster.UNIT): state}))
        (service,) = (r for step in (MINIO, CLUSTER) for r in step.resources(where) if isinstance(r, Service))
        assert ("all of the store's servers at once" in service.cost) is once
        assert any(need.startswith("after:cluster") for need in service.needs) is not once
        assert ENVIRONMENT in service.inputs
        assert minio_pools.CONFIG in service.inputs
