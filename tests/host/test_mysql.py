"""The tutorial "MLflow with MySQL and an object store behind nginx": accounts, large bodies, and a database that is
kept as it shall be. On MariaDB, which is what Debian has; with PROVISION_TEST_MYSQL=sid on MySQL, from Debian's
development suite on Debian 13."""

from __future__ import annotations

import base64
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from provisioner.lab.host import LabHost

from .conftest import LANE, Stack, make_stack

ADDRESS = f"10.151.0.{int(LANE) + 4}"
GB = float(os.environ.get("PROVISION_TEST_LARGE_GB", "0.5"))
"""Size of one body; the tutorial's is 5. From 500 MB on MLflow's clients send parts: this is a client that does not."""

SUITE = os.environ.get("PROVISION_TEST_MYSQL", "")
UNIT = "mysql.service" if SUITE else "mariadb.service"
CONF = f"/etc/mysql/{'mysql.conf.d/z90' if SUITE else 'mariadb.conf.d/90'}-provision.cnf"
CLIENT = "mysql" if SUITE else "mariadb"
LIBRARIES = "libgoogle-perftools* libtcmalloc* libstdc++6 gcc-*-base libgcc-s1 libc6 libc-bin libunwind8 libprotobuf*"
PINS = f"""Package: *
Pin: release n={SUITE}
Pin-Priority: 100

Package: mysql-* libmysql* {LIBRARIES}
Pin: release n={SUITE}
Pin-Priority: 900
"""


@pytest.fixture(scope="module")
def mysql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A fresh Debian 12, with an account for anna from the first run on."""
    more = ("--set", "database.engine=mysql", "--set", 'access.users=["anna"]')
    host: dict[str, Any] = {"suite": "trixie", "prepare": offer_mysql} if SUITE else {}
    yield from make_stack("seaweedfs", f"t-mysql-{LANE}", ADDRESS, tmp_path_factory.mktemp("mysql"), *more, **host)


def offer_mysql(host: LabHost) -> None:
    """SUITE's MySQL with the libraries it is linked with, and nothing else of it, before Debian's own MariaDB."""
    host.check(
        f"sed 's/trixie main/{SUITE} main/; /{SUITE} main/!d' /etc/apt/sources.list "
        f">/etc/apt/sources.list.d/other.list\ncat >/etc/apt/preferences.d/other <<'EOF'\n{PINS}EOF\napt-get update -q",
        seconds=300,
    )


def sql(stack: Stack, statements: str) -> str:
    """As the server's administrator, by hand."""
    return stack.on(f"{CLIENT} -N <<'EOF'\n{statements}\nEOF").strip()


def call(stack: Stack, path: str, fields: dict[str, Any] | None = None, user: str = "mlflow") -> Any:
    """One request to MLflow's API through the URL; its answer, or the status of a refusal."""
    password = stack.secret("login" if user == "mlflow" else f"account.{user}")
    pair = base64.b64encode(f"{user}:{password}".encode()).decode()
    headers = {"Authorization": f"Basic {pair}", "Content-Type": "application/json"}
    data = json.dumps(fields).encode() if fields is not None else None
    request = urllib.request.Request(f"{stack.url}/api/2.0/mlflow/{path}", data, headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code


def as_wanted(stack: Stack) -> None:
    """A run finds nothing to do."""
    ran = stack.run("--json")
    assert ran.code == 0, ran.why
    assert ran.changed() == []


def test_one_command_makes_it_and_the_test_run_is_in_its_database(mysql: Stack) -> None:
    assert set(mysql.first.checks.values()) <= {"ok", "warn"}, mysql.first.checks
    assert mysql.first.checks["database-row"] == "ok"
    assert mysql.planned.code == 2
    assert {change["step"] for change in mysql.first.host["changes"]} >= {"mysql", "database"}
    shown = mysql.run("status", "--json").host["data"][1]
    assert (shown["path"], shown["runs"]) == ("/var/lib/mysql", 1)


def test_a_second_run_changes_nothing_with_one_connection_and_two_channels(mysql: Stack) -> None:
    lives = mysql.lives()
    ran = mysql.run("--json")
    assert ran.code == 0, ran.why
    assert (ran.changed(), ran.host["connections"]) == ([], 1)
    assert ran.host["channels"] <= 2
    assert mysql.lives() == lives


def test_the_server_listens_on_loopback_only_and_its_login_may_nothing_else(mysql: Stack) -> None:
    listening = mysql.on("ss -Htln sport = :3306 | awk '{print $4}'").split()
    assert listening == ["127.0.0.1:3306"]
    assert sql(mysql, "SELECT Host FROM mysql.user WHERE User = 'mlflow' ORDER BY 1").split() == [
        "127.0.0.1",
        "localhost",
    ]
    assert "ALL PRIVILEGES" not in sql(mysql, "SHOW GRANTS FOR mlflow@localhost")
    password = mysql.secret("database.password")
    denied = mysql.host.exec(
        f"MYSQL_PWD={password} {CLIENT} -h 127.0.0.1 -u mlflow -e 'CREATE DATABASE other; SELECT 1 FROM mysql.user'"
    )
    assert denied.rc != 0
    assert "Access denied" in denied.stderr
    assert password not in mysql.on("cat /proc/[0-9]*/cmdline | tr '\\0' ' '")


def test_upper_and_lower_case_and_every_letter_are_kept_apart(mysql: Stack) -> None:
    """Packaged default collations answer 400, RESOURCE_ALREADY_EXISTS and 500 here."""
    names = ["CaseX", "casex", "ünïcode 🚀"]
    made = [call(mysql, "experiments/create", {"name": name})["experiment_id"] for name in names]
    assert len(set(made)) == 3
    run = call(mysql, "runs/create", {"experiment_id": made[2], "start_time": 1})["run"]["info"]["run_id"]
    batch = {
        "run_id": run,
        "params": [{"key": "Case", "value": "A"}, {"key": "case", "value": "🚀"}],
        "metrics": [{"key": key, "value": 1.5, "timestamp": 1, "step": 0} for key in ("Loss", "loss")],
        "tags": [{"key": "X", "value": "ß"}, {"key": "x", "value": "SS"}],
    }
    assert call(mysql, "runs/log-batch", batch) == {}
    data = call(mysql, f"runs/get?run_id={run}")["run"]["data"]
    assert {p["key"]: p["value"] for p in data["params"]} == {"Case": "A", "case": "🚀"}
    assert {m["key"] for m in data["metrics"]} == {"Loss", "loss"}
    assert {t["key"]: t["value"] for t in data["tags"]}.items() >= {("X", "ß"), ("x", "SS")}
    found = call(mysql, "runs/search", {"experiment_ids": made, "filter": "params.`case` = '🚀'"})
    assert [r["info"]["run_id"] for r in found["runs"]] == [run]
    assert (
        call(mysql, "experiments/search", {"max_results": 10, "filter": "name = 'casex'"})["experiments"][0][
            "experiment_id"
        ]
        == made[1]
    )


def test_accounts_log_in_and_others_do_not(mysql: Stack) -> None:
    assert isinstance(call(mysql, "experiments/search", {"max_results": 1}, user="anna"), dict)
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{mysql.url}/api/2.0/mlflow/experiments/search?max_results=1", timeout=20)
    assert refused.value.code == 401


def test_a_large_body_of_an_account_goes_through_the_url_and_comes_back_whole(mysql: Stack) -> None:
    """512 MB in one request; PROVISION_TEST_LARGE_GB=5 for the tutorial's size."""
    run = call(mysql, "runs/create", {"experiment_id": "0", "start_time": 1}, user="anna")["run"]["info"]
    path = run["artifact_uri"].removeprefix("mlflow-artifacts:/")
    url = f"{mysql.url}/api/2.0/mlflow-artifacts/artifacts/{path}/large.bin"
    login = f"printf 'user = \"anna:{mysql.secret('account.anna')}\"' | curl -fsS -K -"
    patience = 300 * max(1.0, GB)
    mysql.on(f"head -c {int(GB * 2**30)} /dev/urandom >/var/tmp/large.bin", seconds=patience)
    stranger = mysql.host.exec(f"curl -sS -T /var/tmp/large.bin -o /dev/null -w '%{{http_code}}' {url}")
    assert stranger.stdout == "401"
    mysql.on(f"{login} -T /var/tmp/large.bin -o /dev/null {url}", seconds=patience)
    mysql.on(f"{login} {url} | cmp - /var/tmp/large.bin", seconds=patience)
    mysql.on("rm /var/tmp/large.bin")


DRIFT = """
ALTER DATABASE mlflow COLLATE utf8mb4_general_ci;
GRANT SELECT ON *.* TO mlflow@localhost;
REVOKE TRIGGER ON mlflow.* FROM mlflow@'127.0.0.1';
ALTER USER mlflow@'127.0.0.1' IDENTIFIED BY 'another';
CREATE USER mlflow@'%' IDENTIFIED BY 'open';
"""


def test_what_somebody_edited_is_put_back_and_told(mysql: Stack) -> None:
    sql(mysql, DRIFT)
    mysql.on(f"echo 'max_connections = 999' >>{CONF}")
    assert "database" in mysql.run("verify").err + mysql.run("verify").out
    ran = mysql.run("--json")
    assert ran.code == 0, ran.why
    assert {"file:mysql-settings", "role:mlflow", "database:mlflow"} <= set(ran.changed())
    why = ran.change("role:mlflow")["reason"]
    for part in ("it may log in from %", "its password differs", "it lacks TRIGGER", "rights beyond"):
        assert part in why
    assert "utf8mb4_general_ci" in ran.change("database:mlflow")["reason"]
    assert 'max_connections = "999"' in ran.change("file:mysql-settings")["keep"]
    as_wanted(mysql)


def test_a_stopped_and_masked_server_is_started_again(mysql: Stack) -> None:
    mysql.on(f"systemctl mask -q --now {UNIT}")
    told = mysql.run("verify")
    assert told.code == 5
    assert "provision mysql" in told.out + told.err
    ran = mysql.run("--json")
    assert ran.code == 0, ran.why
    assert f"unit:{UNIT}" in ran.changed()
    as_wanted(mysql)


def test_a_setting_that_the_server_would_not_start_with_changes_nothing(mysql: Stack) -> None:
    lives = mysql.lives()
    ran = mysql.run("--json", "--set", 'database.settings={ no_such_setting = "1" }')
    assert ran.code == 1, ran.out
    assert "no_such_setting" in json.dumps(ran.host["error"])
    assert "no_such_setting" not in mysql.on(f"cat {CONF}")
    assert mysql.lives()[UNIT] == lives[UNIT]
    ran = mysql.run("--json", "--set", "database.settings={}")
    assert ran.code == 0, ran.why
    as_wanted(mysql)


def test_tables_that_tell_no_case_apart_are_refused_when_they_hold_something(mysql: Stack) -> None:
    change = "ALTER TABLE mlflow.runs MODIFY name VARCHAR(250) CHARACTER SET utf8mb4 COLLATE utf8mb4_{}"
    sql(mysql, change.format("general_ci"))
    ran = mysql.run("--json")
    assert ran.code == 4, ran.out
    assert "1 columns of another collation" in json.dumps(ran.host)
    sql(mysql, change.format("bin"))
    as_wanted(mysql)


def test_another_engine_is_refused_on_a_stack_that_holds_data(mysql: Stack) -> None:
    ran = mysql.run("--json", "--set", "database.engine=postgresql")
    assert ran.code == 4
    assert "database.engine cannot change" in ran.host["error"]["what"]


def test_data_that_is_gone_is_not_begun_anew(mysql: Stack) -> None:
    mysql.on(f"systemctl stop {UNIT}; mv /var/lib/mysql /var/lib/mysql.away; mkdir /var/lib/mysql")
    try:
        ran = mysql.run("--json")
        assert ran.code == 4, ran.out
        assert "is gone" in json.dumps(ran.host)
    finally:
        mysql.on(f"rmdir /var/lib/mysql; mv /var/lib/mysql.away /var/lib/mysql; systemctl start {UNIT}")
    mysql.wait()
    as_wanted(mysql)


def test_a_new_password_is_on_both_sides_and_the_old_one_opens_nothing(mysql: Stack) -> None:
    before = mysql.secret("database.password")
    ran = mysql.run("secrets", "rotate", "database.password", "--json", timeout=400)
    assert ran.code == 0, ran.why
    assert mysql.secret("database.password") != before
    for host in ("127.0.0.1", "localhost"):
        assert mysql.host.exec(f"MYSQL_PWD={before} {CLIENT} -h {host} -u mlflow -e 'SELECT 1'").rc != 0
    after = mysql.secret("database.password")
    assert mysql.host.exec(f"MYSQL_PWD={after} {CLIENT} -h 127.0.0.1 -u mlflow -e 'SELECT 1'").rc == 0
    as_wanted(mysql)


def test_a_rotation_that_fails_on_the_host_brings_the_earlier_password_back(mysql: Stack) -> None:
    before = mysql.secret("database.password")
    # What comes after the password fails: the unit cannot start.
    mysql.on("mkdir -p /run/systemd/system/mlflow-server.service.d")
    mysql.on(
        "printf '[Service]\\nExecStartPre=/bin/sh -c \"! grep -q ROTATED /run/provision-test\"\\n' "
        ">/run/systemd/system/mlflow-server.service.d/zz.conf; echo ROTATED >/run/provision-test"
    )
    try:
        ran = mysql.run("secrets", "rotate", "database.password", "--json", timeout=400)
        assert ran.code != 0
    finally:
        mysql.on("rm -r /run/systemd/system/mlflow-server.service.d /run/provision-test; systemctl daemon-reload")
    mysql.on("systemctl restart mlflow-server")
    mysql.wait()
    assert mysql.host.exec(f"MYSQL_PWD={before} {CLIENT} -h 127.0.0.1 -u mlflow -e 'SELECT 1'").rc == 0
    ran = mysql.run("--json")
    assert ran.code == 0, ran.why
    as_wanted(mysql)


def test_a_migration_killed_half_way_is_begun_anew(mysql: Stack) -> None:
    """The tables that it left have no row: MySQL undoes none of them."""
    sql(mysql, "DROP DATABASE mlflow")
    process = mysql.operator.start(*mysql.reach())
    end = time.monotonic() + 300
    while int(sql(mysql, "SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'mlflow'")) < 12:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "no tables are made"
    process.kill()
    process.communicate()
    mysql.on("systemctl kill -s KILL provision-db-upgrade")
    left = int(sql(mysql, "SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'mlflow'"))
    assert 12 <= left < 65
    ran = mysql.run("--json", timeout=600)
    assert ran.code == 0, ran.why
    assert "schema:mlflow" in ran.changed()
    assert set(ran.checks.values()) <= {"ok", "warn"}, ran.checks
    as_wanted(mysql)


def test_mlflow_keeps_the_accounts_itself(mysql: Stack) -> None:
    """Its own migrations give two keys one name, which MySQL refuses."""
    ran = mysql.run("--json", "--set", "access.auth=mlflow", timeout=600)
    assert ran.code == 0, ran.why
    assert set(ran.checks.values()) <= {"ok", "warn"}, ran.checks
    assert isinstance(call(mysql, "experiments/search", {"max_results": 1}, user="anna"), dict)
    as_wanted(mysql)
    sql(mysql, "UPDATE mlflow_auth.users SET password_hash = 'x' WHERE username = 'mlflow'")
    end = time.monotonic() + 60
    while call(mysql, "experiments/search", {"max_results": 1}) != 401:  # remembered for 5 s in each process
        assert time.monotonic() < end
        time.sleep(1)
    ran = mysql.run("--json")
    assert ran.code == 0, ran.why
    assert "accounts:mlflow" in ran.changed()
    assert isinstance(call(mysql, "experiments/search", {"max_results": 1}), dict)
    assert mysql.secret("database.password") not in mysql.on("cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
