from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.door import Door
from provisioner.resources.facts import Facts
from provisioner.settings import effective
from provisioner.steps import Context
from provisioner.steps.sizes import Sizes, egress, nominal, sizes

GIB = 2**30
MEMORY = st.integers(GIB * 9 // 10, 4096 * GIB)
CORES = st.integers(1, 256)


def of(memory: int, cores: int = 2, **flags: object) -> Sizes:
    return sizes(memory, cores, effective({name.replace("__", "."): value for name, value in flags.items()}, {}))


def total(found: Sizes) -> int:
    return sum(size or 0 for size in (found.mlflow, found.store, found.database, found.proxy))


@given(MEMORY, CORES, st.integers(1, 64), st.sampled_from(["256M", "3G", "12G", "4096G"]))
def test_all_limits_together_leave_the_system_room_or_the_host_is_called_too_small(
    memory: int, cores: int, workers: int, wanted: str
) -> None:
    found = of(memory, cores, mlflow__workers=workers, mlflow__memory=wanted)
    assert not found.fits or total(found) <= nominal(memory) * 9 // 10
    assert found.mlflow is not None
    assert found.mlflow <= int(wanted[:-1]) * (1 if wanted.endswith("M") else 1024)


@given(MEMORY)
def test_two_workers_fit_on_two_gigabytes_and_one_on_one(memory: int) -> None:
    assert of(memory, mlflow__workers=1).fits == (nominal(memory) >= 1024)
    assert of(memory).fits == (nominal(memory) >= 1280)


@given(MEMORY, CORES)
def test_a_larger_host_never_gives_a_service_less(memory: int, cores: int) -> None:
    before, after = of(memory, cores), of(memory * 2, cores)
    for name in ("mlflow", "store", "database", "proxy"):
        assert getattr(before, name) <= getattr(after, name)


@pytest.mark.parametrize("gigabytes", [1, 2, 4, 8, 16, 64])
@given(st.integers(0, 60 * 2**20), st.integers(0, 60 * 2**20))
def test_another_kernel_that_reports_some_megabytes_less_changes_nothing(gigabytes: int, one: int, other: int) -> None:
    assert of(gigabytes * GIB - one) == of(gigabytes * GIB - other)


@pytest.mark.parametrize(
    ("reported", "mlflow", "store", "database", "proxy"),
    [
        (0.96, 512, 192, 160, 48),
        (1.92, 912, 416, 416, 64),
        (3.84, 1840, 848, 848, 128),
        (7.75, 3072, 2016, 2016, 256),
        (15.6, 3072, 5568, 5568, 512),
        (62.8, 3072, 27696, 27696, 512),
    ],
)
def test_the_sizes_of_common_hosts(reported: float, mlflow: int, store: int, database: int, proxy: int) -> None:
    found = of(int(reported * GIB), mlflow__workers=1 if reported < 1 else 2)
    assert (found.mlflow, found.store, found.database, found.proxy) == (mlflow, store, database, proxy)
    assert found.store_heap is not None
    assert found.store_heap < store


def test_a_server_of_one_gigabyte_is_too_small_for_two_workers() -> None:
    assert not of(GIB).fits


@pytest.mark.parametrize(("text", "least"), [("4GB", 4096), ("1.5GB", 1536), ("131072", 1024), ("2 GB", 128)])
def test_postgresql_has_room_for_the_buffers_it_was_given(text: str, least: int) -> None:
    found = of(4 * GIB, database__settings={"shared_buffers": text})
    assert found.database is not None
    assert found.database >= least


def test_every_connection_that_was_asked_for_may_be_a_process() -> None:
    assert of(GIB, database__settings={"max_connections": "900"}).database_tasks > 900
    assert of(GIB, mlflow__workers=64).database_tasks > 64 * 30


def test_without_a_known_memory_there_are_no_limits() -> None:
    assert of(0) == replace(of(0), mlflow=None, store=None, store_heap=None, database=None, proxy=None, fits=True)


def test_a_closed_server_reaches_the_address_of_the_clients_or_of_its_name() -> None:
    settings = effective({"mlflow.egress": "stack"}, {})
    facts = Facts(addresses=("127.0.0.1", "::1", "10.0.0.7", "192.0.2.10"))
    by_address = Context(settings, facts, {}, Door("http", "10.0.0.7", 5000, ("10.0.0.7",)))
    assert egress(by_address) == ("localhost", "10.0.0.7")
    by_name = Context(settings, facts, {}, Door("http", "ml.example.com", 5000, ("ml.example.com",)))
    assert egress(by_name) == ("localhost", "10.0.0.7", "192.0.2.10")
    assert egress(replace(by_name, settings=effective({}, {}))) == ()
