"""MySQL on another host than MLflow: what goes between them is encrypted and verified, and nobody else gets in.

Two disposable hosts of Debian 12 (so it is MariaDB): the database on one, everything else on the other. One first
run; then what an operator, a stranger and bad luck do to it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pymysql
import pytest

from provisioner.lab import hosts
from provisioner.lab.host import LabHost
from provisioner.lab.identity import PRIVATE_KEY

from .conftest import FIRST_RUN, LANE, VERBOSE, Operator, Ran

ADDRESSES = {"d": f"10.151.0.{int(LANE) + 2}", "m": f"10.151.0.{int(LANE) + 3}"}
CERTIFICATE = "/etc/mysql/provision/server.pem"
SHOWN = (
    "openssl s_client -starttls mysql -unix /run/mysqld/mysqld.sock </dev/null 2>/dev/null "
    "| openssl x509 -noout -serial"
)
"""What the server shows, and no file says."""

INSIDE = """
import json, re, sys
import pymysql, sqlalchemy
text = open("/etc/mlflow/mlflow.env").read()
url = sqlalchemy.engine.make_url(re.search(r'^MLFLOW_BACKEND_STORE_URI="?([^"\\n]*)', text, re.M)[1])
found = {"query": dict(url.query), "host": url.host}
with sqlalchemy.create_engine(url).connect() as connection:
    told = connection.exec_driver_sql("SHOW STATUS WHERE Variable_name REGEXP '^Ssl_'")
    found["session"] = {name: value for name, value in told}

def tried(**more):
    wanted = {"host": url.host, "user": url.username, "password": url.password, "database": url.database, **more}
    try:
        pymysql.connect(connect_timeout=5, **wanted).close()
    except pymysql.err.MySQLError as error:
        return str(error)
    return "in"

ca = url.query["ssl_ca"]
found["verified"] = tried(ssl_ca=ca, ssl_verify_identity=True)
found["plain"] = tried(ssl_disabled=True)
found["public roots"] = tried(ssl_ca="/etc/ssl/certs/ca-certificates.crt", ssl_verify_identity=True)
found["another name"] = tried(ssl_ca=ca, ssl_verify_identity=True, host="other.example")
print(json.dumps(found))
"""


@dataclass
class Stack:
    """Two hosts, the inventory that makes a stack of them, and who made it."""

    d: LabHost
    m: LabHost
    operator: Operator
    inventory: Path
    first: Ran

    def run(self, *arguments: str, **options: Any) -> Ran:
        return self.operator.run(*arguments, "--inventory", str(self.inventory), "--json", **options)

    def sql(self, statements: str) -> str:
        """As the server's administrator, by hand."""
        return self.d.check(f"mariadb -N <<'EOF'\n{statements}\nEOF").strip()

    def password(self) -> str:
        kept = json.loads((self.m.root / "etc/provision/secrets.json").read_text())
        return str(kept["secrets"]["database.password"]["value"])


def each(ran: Ran) -> dict[str, dict[str, Any]]:
    """Host -> its part of the document."""
    return {host["host"]: host for host in ran.json["hosts"]}


def changed(ran: Ran) -> dict[str, dict[str, str]]:
    """Host -> what was changed on it -> why."""
    return {name: {c["resource"]: c["reason"] for c in host["changes"]} for name, host in each(ran).items()}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("mysql-topology")
    lines = ["[roles]", 'database = ["d"]', *(f'{role} = ["m"]' for role in ("store", "mlflow", "proxy"))]
    for name, address in ADDRESSES.items():
        lines += [f"[hosts.{name}]", f'address = "root@{address}"', f'identity = "{PRIVATE_KEY}"']
    file = folder / "inventory.toml"
    file.write_text("\n".join([*lines, "[store]", 'engine = "seaweedfs"', "[database]", 'engine = "mysql"', ""]))
    operator = Operator(folder / "state")
    with ExitStack() as running, ThreadPoolExecutor(2) as pool:

        def start(name: str) -> LabHost:
            host = hosts.running(f"t-my-{name}-{LANE}", ADDRESSES[name], cache=True, sshd=VERBOSE)
            return running.enter_context(host)

        d, m = pool.map(start, ADDRESSES)
        first = operator.run("--inventory", str(file), "--json", timeout=FIRST_RUN)
        assert first.code == 0, first.why
        yield Stack(d, m, operator, file, first)


def as_wanted(stack: Stack) -> None:
    """A run finds nothing to do, with one connection and one or two channels to each host."""
    again = stack.run()
    assert again.code == 0, again.why
    for name, host in each(again).items():
        assert (name, host["changes"], host["connections"]) == (name, [], 1)
        assert host["channels"] <= 2


def test_one_run_makes_it_over_two_hosts_and_proves_it(stack: Stack) -> None:
    found = each(stack.first)
    assert {check["status"] for check in found["m"]["checks"]} <= {"ok", "skip"}
    assert "role:mlflow" in changed(stack.first)["d"]
    assert "schema:mlflow" in changed(stack.first)["m"]
    assert stack.sql("SELECT COUNT(*) FROM mlflow.runs") == "1"
    assert stack.m.exec("systemctl is-active mariadb").rc != 0


def test_a_second_run_changes_nothing(stack: Stack) -> None:
    as_wanted(stack)


def test_mlflow_speaks_tls_with_the_stacks_own_server_and_nothing_else_gets_in(stack: Stack) -> None:
    stack.m.check(f"echo '{ADDRESSES['d']} other.example' >>/etc/hosts")
    (stack.m.root / "root/inside.py").write_text(INSIDE)
    told = stack.m.exec("/opt/mlflow/current/bin/python /root/inside.py", seconds=60)
    assert told.rc == 0, told.stderr
    found = json.loads(told.stdout)
    assert found["host"] == ADDRESSES["d"]
    assert found["session"]["Ssl_cipher"]
    assert found["session"]["Ssl_version"] in {"TLSv1.2", "TLSv1.3"}
    assert found["verified"] == "in"
    assert "Access denied" in found["plain"]
    assert "certificate verify failed" in found["public roots"]
    assert "ertificate" in found["another name"]
    assert "other.example" in found["another name"]


def test_only_the_host_with_mlflow_may_log_in(stack: Stack) -> None:
    users = stack.sql("SELECT Host, JSON_VALUE(Priv, '$.ssl_type') FROM mysql.global_priv WHERE User = 'mlflow'")
    kept = dict(line.split("\t") for line in users.splitlines())
    assert set(kept) == {"127.0.0.1", "localhost", ADDRESSES["m"]}
    assert kept[ADDRESSES["m"]] == "1", "REQUIRE SSL"
    # This machine is another host too.
    with pytest.raises(pymysql.err.OperationalError) as refused:
        pymysql.connect(host=ADDRESSES["d"], user="mlflow", password=stack.password(), connect_timeout=5)
    assert "not allowed to connect" in str(refused.value) or "timed out" in str(refused.value)
    for host in (stack.d, stack.m):
        assert stack.password() not in host.check("cat /proc/[0-9]*/cmdline | tr '\\0' ' '")


def test_a_renewed_certificate_is_shown_without_a_restart(stack: Stack) -> None:
    life = "systemctl show -P InvocationID mariadb.service"
    before, lived = stack.d.check(SHOWN), stack.d.check(life)
    assert before.startswith("serial=")
    # As if it were for another name: the timer's service makes a new one.
    stack.d.check(f"sed -i 's/^# names: .*/# names: x/' {CERTIFICATE}; systemctl start provision-tls.service")
    assert stack.d.check(SHOWN).startswith("serial=")
    assert stack.d.check(SHOWN) != before
    assert stack.d.check(life) == lived
    as_wanted(stack)


FAULTS = """
REVOKE TRIGGER ON mlflow.* FROM mlflow@'{m}';
ALTER USER mlflow@'{m}' REQUIRE NONE;
CREATE USER mlflow@'192.0.2.9' IDENTIFIED BY 'left';
"""


def test_what_somebody_took_away_or_opened_is_put_back(stack: Stack) -> None:
    stack.sql(FAULTS.format(m=ADDRESSES["m"]))
    stack.d.check(f"rm {CERTIFICATE}")
    ran = stack.run()
    assert ran.code == 0, ran.why
    assert set(changed(ran)["d"]) == {"role:mlflow", "certificate:mysql", "unit:mariadb.service"}
    assert changed(ran)["m"] == {}
    why = changed(ran)["d"]["role:mlflow"]
    for part in ("it lacks TRIGGER", f"it may log in without TLS from {ADDRESSES['m']}", "may log in from 192.0.2.9"):
        assert part in why
    as_wanted(stack)


def test_a_login_that_is_gone_is_told_and_made_again(stack: Stack) -> None:
    stack.sql(f"DROP USER mlflow@'{ADDRESSES['m']}'")
    stop = "SELECT CONCAT('KILL ', ID, ';') FROM information_schema.PROCESSLIST WHERE USER = 'mlflow'"
    stack.sql(stack.sql(stop))
    told = stack.run("verify")
    assert told.code == 5, told.why
    assert "it lets nobody in from MLflow's host" in told.out
    ran = stack.run()
    assert ran.code == 0, ran.why
    assert changed(ran) == {"d": {"role:mlflow": f"absent from {ADDRESSES['m']}"}, "m": {}}
    as_wanted(stack)


def test_a_migration_that_ended_half_way_is_begun_anew_over_the_network(stack: Stack) -> None:
    """MySQL undoes none of its tables; MLflow's server, which ran all the while, makes its first experiment again."""
    anew = "DROP DATABASE mlflow; CREATE DATABASE mlflow CHARACTER SET utf8mb4 COLLATE utf8mb4_bin; "
    half = (
        "CREATE TABLE mlflow.alembic_version (version_num VARCHAR(32) PRIMARY KEY); CREATE TABLE mlflow.runs (x INT);"
    )
    stack.sql(f"{anew}{half} INSERT INTO mlflow.alembic_version VALUES ('451aebb31d03')")
    ran = stack.run()
    assert ran.code == 0, ran.why
    assert {"schema:mlflow", "unit:mlflow-server.service"} <= set(changed(ran)["m"])
    assert "Default" in stack.sql("SELECT name FROM mlflow.experiments").splitlines()
    as_wanted(stack)


def test_mlflow_keeps_accounts_in_a_database_beside_that_of_the_runs(stack: Stack) -> None:
    assert stack.run("user", "add", "anna").code == 0
    ran = stack.run("--set", "access.auth=mlflow")
    assert ran.code == 0, ran.why
    assert {"role:mlflow", "database:mlflow_auth"} <= set(changed(ran)["d"])
    assert {"schema:accounts", "file:accounts.identity", "accounts:mlflow"} <= set(changed(ran)["m"])
    assert stack.sql("SELECT username, is_admin FROM mlflow_auth.users ORDER BY 1") == "anna\t0\nmlflow\t1"
    grants = stack.sql(f"SHOW GRANTS FOR mlflow@'{ADDRESSES['m']}'")
    assert "_auth`.* TO" in grants
    assert "REQUIRE SSL" in grants
    as_wanted(stack)
    # Nobody knows the operator's password any more: it is set where MLflow keeps it, by MLflow's way there.
    stack.sql("UPDATE mlflow_auth.users SET password_hash = 'x' WHERE username = 'mlflow'")
    stack.m.check("systemctl restart mlflow-server")
    mended = stack.run()
    assert mended.code == 0, mended.why
    assert changed(mended) == {"d": {}, "m": {"accounts:mlflow": "mlflow has another password"}}
    as_wanted(stack)
