"""What was killed, rebooted or lost its disk: it is back by itself, or it says no and writes nothing."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from provisioner.lab import hosts

from .conftest import Stack

AGAIN = {"store": 15.0, "database": 15.0, "proxy": 15.0, "mlflow": 30.0}
"""Seconds in which a killed service must answer again, on a machine that does nothing else."""
SEARCH = (
    "curl -fsS -m 5 -o /dev/null -X POST -H 'Content-Type: application/json' -d '{\"max_results\":1}' "
    "http://127.0.0.1:5500/api/2.0/mlflow/experiments/search"
)
ANSWERS = {
    # Anything but a refused connection or a 5xx: without a key both stores say 403.
    "store": "[ \"$(curl -sS -m 5 -o /dev/null -w '%{http_code}' http://127.0.0.1:9000/mlflow)\" = 403 ]",
    "database": "cd / && runuser -u postgres -- psql -qXAt -c 'select 1'",
    "proxy": "[ \"$(curl -sS -m 5 -o /dev/null -w '%{http_code}' http://127.0.0.1:5000/.provision)\" = 200 ]",
    "mlflow": SEARCH,
}


def unit(stack: Stack, role: str) -> str:
    return dict(zip(("store", "database", "mlflow", "proxy"), stack.units, strict=True))[role]


def seconds_until(stack: Stack, command: str, limit: float) -> float:
    begun = time.monotonic()
    # What starts is busy computing: beside other tests it gets only its share.
    limit *= max(2.0, os.getloadavg()[0] / (os.cpu_count() or 1))
    while stack.host.exec(command).rc != 0:
        assert time.monotonic() - begun < limit, f"no answer within {limit} s: {command}"
        time.sleep(0.1)
    return time.monotonic() - begun


@pytest.mark.parametrize("role", list(AGAIN))
def test_a_killed_service_is_back_by_itself_and_the_stack_is_verified(
    stack: Stack, role: str, record_property: pytest.RecordProperty
) -> None:
    name = unit(stack, role)
    before = stack.on(f"systemctl show -p InvocationID --value {name}")
    stack.on(f"systemctl kill -s KILL {name}")
    seconds_until(stack, f'[ "$(systemctl show -p InvocationID --value {name})" != {before.strip()} ]', 30)
    took = seconds_until(stack, ANSWERS[role], AGAIN[role])
    record_property("seconds", round(took, 1))
    print(f"{stack.engine} {role}: answers again after {took:.1f} s, load {os.getloadavg()[0]:.0f}")
    # What stood behind it finds it again by itself, too.
    seconds_until(stack, SEARCH, AGAIN["mlflow"])
    verified = stack.run("verify", "--json")
    assert verified.code == 0, verified.why
    plan = stack.run("plan", "--json", "--exit-code")
    assert plan.code == 0, plan.out


def test_a_server_that_was_switched_off_and_on_is_verified_without_a_run(stack: Stack) -> None:
    stack.host = hosts.reboot(stack.host.name)
    stack.wait()
    verified = stack.run("verify", "--json")
    assert verified.code == 0, verified.why
    plan = stack.run("plan", "--json", "--exit-code")
    assert plan.code == 0, plan.out


@contextmanager
def another_disk(stack: Stack, path: str) -> Iterator[None]:
    """An empty disk over `path`: what is seen where the right one is not mounted."""
    stack.on(f"mount -t tmpfs -o size=8m,mode=0755 none {path}")
    try:
        yield
    finally:
        stack.on(f"umount {path}")


def test_a_store_never_starts_on_the_empty_mount_point(stack: Stack) -> None:
    data, name = f"/opt/{stack.engine}/data", stack.store_unit
    kept = stack.on(f"ls -A {data}")
    with another_disk(stack, data):
        stack.on(f"systemctl kill -s KILL {name}")
        seconds_until(stack, f'[ "$(systemctl show -p ActiveState --value {name})" = inactive ]', 30)
        assert stack.host.exec(f"systemctl restart {name}").rc != 0
        assert stack.host.exec(f"systemctl is-active {name}").rc != 0
        ran = stack.run("--json")
        assert ran.code == 4, ran.why
        assert "is its disk mounted?" in ran.out
        looked = stack.run("status")
        assert (looked.code, f"{data}" in looked.out) == (1, True), "what is wrong can still be looked at"
        alone = stack.run(stack.engine, "--yes")
        assert alone.code == 4, alone.why
        assert stack.on(f"find {data} -mindepth 1") == "", "nothing was written to the wrong disk"
    assert stack.on(f"ls -A {data}") == kept
    ran = stack.run("--json")
    assert ran.code == 0, ran.why
    assert ran.changed() == [f"unit:{name}"]
    assert set(ran.checks.values()) <= {"ok", "warn", "skip"}, ran.checks


def test_a_mark_that_was_removed_is_made_again_beside_the_data(stack: Stack) -> None:
    data = f"/opt/{stack.engine}/data"
    life = stack.lives()[stack.store_unit]
    stack.on(f"rm {data}/.provision-data")
    ran = stack.run("--json")
    assert ran.code == 0, ran.why
    assert ran.changed() == [f"directory:{stack.engine}-data"]
    assert stack.lives()[stack.store_unit] == life
    stack.on(f"test -f {data}/.provision-data")


def test_postgresql_never_starts_on_the_empty_mount_point(stack: Stack) -> None:
    name = unit(stack, "database")
    data = f"/var/lib/postgresql/{stack.on('ls /etc/postgresql').strip()}/main"
    with another_disk(stack, data):
        stack.on(f"systemctl kill -s KILL {name}")
        seconds_until(stack, f'[ "$(systemctl show -p NRestarts --value {name})" -ge 2 ]', 60)
        assert stack.host.exec(ANSWERS["database"]).rc != 0
        ran = stack.run("--json")
        assert ran.code == 4, ran.why
        assert "mount or restore" in ran.out
        assert stack.on(f"find {data} -mindepth 1") == ""
    # It tries again and again: with its disk it comes back by itself.
    seconds_until(stack, ANSWERS["database"], 30)
    seconds_until(stack, SEARCH, 60)
    verified = stack.run("verify", "--json")
    assert verified.code == 0, verified.why
