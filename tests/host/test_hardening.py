"""Services are confined and limited, and everything an administrator does to them still works."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest

from .conftest import LANE, Stack, make_stack

SQL = "cd / && runuser -u postgres -- psql -qXAt -v ON_ERROR_STOP=1"
MOST = {"postgresql": 2.5, "nginx": 2.5}
"""systemd-analyze security's score that a unit may have; 1.5 for all others."""


def version(stack: Stack) -> str:
    return stack.on("ls /etc/postgresql").strip()


def cluster(stack: Stack) -> str:
    return f"postgresql@{version(stack)}-main.service"


def wait_for(stack: Stack, command: str) -> None:
    stack.on(f"n=0; until {command}; do n=$((n+1)); [ $n -lt 200 ] || exit 1; sleep 0.1; done")


def units_are_confined(stack: Stack) -> None:
    more = ("seaweedfs-s3.service",) if stack.engine == "seaweedfs" else ()
    scores = {}
    for unit in (*stack.units, *more):
        said = stack.host.exec(f"systemd-analyze security --no-pager {unit}").stdout
        match = re.search(r"Overall exposure level for \S+: ([0-9.]+)", said)
        assert match, said[-300:]
        scores[unit] = float(match[1])
    print(stack.engine, version(stack), scores)
    assert {u: s for u, s in scores.items() if s > MOST.get(re.split("[@.]", u)[0], 1.5)} == {}, scores


def postgresql_obeys_its_own_commands(stack: Stack) -> None:
    number, unit = version(stack), cluster(stack)
    ctl = f"pg_ctlcluster {number} main"

    def state() -> str:
        return stack.on(f"systemctl show -p ActiveState --value {unit}").strip()

    def served() -> bool:
        return stack.host.exec(f"{SQL} -c 'select 1'").rc == 0

    for command, active in (("reload", True), ("restart", True), ("stop", False), ("start", True)):
        stack.on(f"{ctl} {command}")
        assert (served(), state()) == ((True, "active") if active else (False, "inactive")), f"root: {command}"
    stack.on(f"runuser -u postgres -- {ctl} reload")
    # A stop past systemd stays a stop: after a crash it would be auto-restart, never dead.
    begun = stack.on(f"systemctl show -p NRestarts --value {unit}")
    stack.on(f"runuser -u postgres -- {ctl} stop")
    wait_for(stack, f'[ "$(systemctl show -p SubState --value {unit})" = dead ]')
    assert (served(), state()) == (False, "inactive")
    assert stack.on(f"systemctl show -p NRestarts --value {unit}") == begun
    stack.on(f"runuser -u postgres -- {ctl} start")
    assert served()
    stack.on(f"runuser -u postgres -- {ctl} stop && systemctl start {unit}")
    assert (served(), state()) == (True, "active")


def postgresql_does_its_work(stack: Stack) -> None:
    compiled = stack.on(
        f'{SQL} -c "set jit_above_cost = 0" -c "explain (analyze) select sum(x * 2) from generate_series(1, 1000) x"'
    )
    assert "JIT:" in compiled or "Execution Time" in compiled
    on = stack.on(f'{SQL} -c "select pg_jit_available()"').strip()
    assert ("JIT:" in compiled) == (on == "t"), compiled
    stack.on(f"{SQL} -c 'create database scratch'")
    stack.on(f"{SQL} -d scratch -c 'create extension pgcrypto' -c \"select gen_salt('bf')\"")
    stack.on(f"{SQL} -c 'drop database scratch'")
    for dump in ("runuser -u postgres -- pg_dump -Fc mlflow", "su postgres -c 'pg_dumpall -g'"):
        assert int(stack.on(f"cd / && {dump} | wc -c")) > 500
    # Its log goes on after a rotation as the distribution does it, and is made anew when it is gone.
    log = f"/var/log/postgresql/postgresql-{version(stack)}-main.log"
    stack.on(f"cp {log} {log}.1 && truncate -s 0 {log}")
    stack.host.exec(f"{SQL} -c 'select rotated'")
    assert "rotated" in stack.on(f"cat {log}")
    stack.on(f"rm {log} && systemctl restart {cluster(stack)}")
    assert stack.on(f"stat -c '%U %a' {log}").split() == ["postgres", "640"]


def nginx_obeys_its_own_commands(stack: Stack) -> None:
    ask = "curl -sS -o /dev/null -w '%{http_code}' http://127.0.0.1:5000/.provision"
    for command in ("systemctl reload nginx", "nginx -s reload", "nginx -t -q", "systemctl restart nginx"):
        stack.on(command)
        assert stack.on(f"{ask} --retry 5 --retry-connrefused") == "200", command
    log = "/var/log/nginx/provision-mlflow.access.log"
    stack.on(f"mv {log} {log}.1 && install -o www-data -g adm -m 640 /dev/null {log} && nginx -s reopen")
    wait_for(stack, f"curl -sS -o /dev/null http://127.0.0.1:5000/ && [ -s {log} ]")


EVERYTHING: tuple[Callable[[Stack], None], ...] = (
    units_are_confined,
    postgresql_obeys_its_own_commands,
    postgresql_does_its_work,
    nginx_obeys_its_own_commands,
)


@pytest.mark.parametrize("holds", EVERYTHING, ids=lambda holds: holds.__name__)
def test_on_debian_12(stack: Stack, holds: Callable[[Stack], None]) -> None:
    holds(stack)


@pytest.fixture(scope="module")
def trixie(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    address = f"10.151.0.{int(LANE) + 2}"
    yield from make_stack("seaweedfs", f"t-trixie-{LANE}", address, tmp_path_factory.mktemp("trixie"), suite="trixie")


@pytest.mark.parametrize("holds", EVERYTHING, ids=lambda holds: holds.__name__)
def test_on_debian_13(trixie: Stack, holds: Callable[[Stack], None]) -> None:
    holds(trixie)


def test_after_all_that_the_stack_is_as_it_should_be(stack: Stack) -> None:
    plan = stack.run("plan", "--json", "--exit-code")
    assert plan.code == 0, plan.out
    assert stack.run("verify").code == 0


def test_no_service_does_its_work_as_root(stack: Stack) -> None:
    users: dict[str, set[str]] = {}
    for line in stack.on("ps -eo user:32,unit:64,args --no-headers").splitlines():
        user, unit, *argv = line.split()
        if unit in {*stack.units, "seaweedfs-s3.service"}:
            users.setdefault(unit, set()).add("root: master" if user == "root" and "master" in argv else user)
    store = {"minio": "minio-user", "seaweedfs": "seaweedfs"}[stack.engine]
    users.pop("seaweedfs-s3.service", None)
    assert users == {
        stack.store_unit: {store},
        cluster(stack): {"postgres"},
        "mlflow-server.service": {"mlflow"},
        "nginx.service": {"root: master", "www-data"},
    }


def test_every_service_has_limits_and_knows_who_may_reach_it(stack: Stack) -> None:
    def shown(unit: str, name: str) -> str:
        return stack.on(f"systemctl show -p {name} --value {unit}").strip()

    limits = {unit: int(shown(unit, "MemoryMax")) for unit in stack.units if unit != cluster(stack)}
    limits[cluster(stack)] = int(shown(cluster(stack), "MemoryHigh"))
    assert shown(cluster(stack), "MemoryMax") == "infinity", "slow is better than killed"
    memory = int(stack.on("sed -n 's/^MemTotal: *\\([0-9]*\\).*/\\1/p' /proc/meminfo")) * 1024
    assert sum(limits.values()) < memory * 0.95
    assert all(int(shown(unit, "TasksMax")) < 10_000 for unit in stack.units)
    # That the kernel keeps to these lists is not shown here: in a container they have no effect.
    for unit in (stack.store_unit, cluster(stack)):
        assert shown(unit, "IPAddressDeny") in {"::/0 0.0.0.0/0", "0.0.0.0/0 ::/0"}
        assert sorted(shown(unit, "IPAddressAllow").split()) == ["127.0.0.0/8", "::1/128"]
    assert shown("mlflow-server.service", "IPAddressDeny") == ""


def test_another_sandbox_of_postgresql_is_planned_as_the_restart_that_it_is(stack: Stack) -> None:
    unit = cluster(stack)
    stack.on(f"sed -i s/^ProtectSystem=full/ProtectSystem=no/ /etc/systemd/system/{unit}.d/50-provision.conf")
    planned = {change["resource"]: change for change in stack.run("plan", "--json").host["changes"]}
    # What runs was started with the file as it is wanted.
    assert {name: change["interrupts"] for name, change in planned.items() if change["interrupts"]} == {}
    assert "file:postgresql-service" in planned
    stack.on(f"systemctl daemon-reload && systemctl restart {unit}")
    planned = {change["resource"]: change for change in stack.run("plan", "--json").host["changes"]}
    assert planned[f"unit:{unit}"]["interrupts"].startswith(f"restart {unit}")
    ran = stack.run("--json")
    assert ran.code == 0, ran.why
    assert sorted(ran.changed()) == ["file:postgresql-service", f"unit:{unit}"]


def test_a_network_more_is_let_in_without_a_restart(stack: Stack) -> None:
    unit = cluster(stack)
    first = stack.run("--json", "--set", 'database.allow=["10.151.0.0/24"]')
    assert first.code == 0, first.why
    life = stack.lives()[unit]
    second = stack.run("--json", "--set", 'database.allow=["10.151.0.0/24", "10.152.0.0/24"]')
    assert second.code == 0, second.why
    assert second.change(f"unit:{unit}")["action"] == "reload"
    assert stack.lives()[unit] == life
    allowed = stack.on(f"systemctl show -p IPAddressAllow --value {unit}").split()
    assert {"10.151.0.0/24", "10.152.0.0/24"} <= set(allowed)
    assert stack.run("--json", "--set", "database.allow=[]").code == 0


def test_a_server_that_stays_in_its_stack_still_works(stack: Stack) -> None:
    closed = stack.run("--json", "--set", "mlflow.egress=stack")
    assert closed.code == 0, closed.why
    allowed = stack.on("systemctl show -p IPAddressAllow --value mlflow-server").split()
    assert sorted(allowed) == sorted(["127.0.0.0/8", "::1/128", f"{stack.address}/32"])
    assert stack.run("verify").code == 0
    assert stack.run("--json", "--set", "mlflow.egress=any").code == 0
