"""The tutorials' "managed PostgreSQL": a database server that somebody else runs, here one set up by hand on another
host, with TLS by a root of its own."""

from __future__ import annotations

import shlex
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from certs import Authority, written

from provisioner.lab import hosts
from provisioner.lab.host import LabHost
from provisioner.lab.identity import PRIVATE_KEY

from .conftest import FIRST_RUN, LANE, VERBOSE, Operator, Ran

DATABASE, SERVER = f"10.151.0.{int(LANE) + 3}", f"10.151.0.{int(LANE) + 4}"
NOBODY = f"{DATABASE}:5999"
URL = f"postgresql://{NOBODY},{DATABASE}:5432/runs?target_session_attrs=read-write"
ADMIN, PASSWORD = "keeper", 'administers\' "it" $x'
INVENTORY = f"""
[store]
engine = "seaweedfs"
[database]
engine = "external"
url = "{URL}"
user = "tracker"
ca = "database-ca.pem"
"""
GIVEN = """
[secrets]
"database.admin.user" = { env = "DATABASE_ADMIN" }
"database.admin.password" = { env = "DATABASE_ADMIN_PASSWORD" }
"""
BY_HAND = """
export DEBIAN_FRONTEND=noninteractive
apt-get -qq update && apt-get -qq install -y postgresql >&2
cd /etc/postgresql/*/main
install -o postgres -g postgres -m 0600 /root/server.key /root/server.crt .
cat >conf.d/theirs.conf <<end
listen_addresses = '*'
ssl_cert_file = '$PWD/server.crt'
ssl_key_file = '$PWD/server.key'
end
echo 'hostssl all all 10.151.0.0/16 scram-sha-256' >>pg_hba.conf
systemctl restart postgresql
"""


def reach() -> tuple[str, ...]:
    return ("--host", f"root@{SERVER}", "-i", str(PRIVATE_KEY))


def psql(host: LabHost, statement: str, database: str = "postgres") -> str:
    return host.check(
        f"cd / && runuser -u postgres -- psql -XAtq -v ON_ERROR_STOP=1 {database}", stdin=statement
    ).strip()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("external-database")


@pytest.fixture(scope="module")
def theirs(folder: Path) -> Iterator[LabHost]:
    """Another team's server; its administrator makes roles and databases and is no superuser."""
    root = Authority.new()
    written(folder / "certificate", *root.leaf([DATABASE]))
    (folder / "database-ca.pem").write_text(ssl.DER_cert_to_PEM_cert(root.der))
    with hosts.running(f"t-theirs-{LANE}", DATABASE, cache=True) as host:
        for name, file in (("key", "key.pem"), ("crt", "cert.pem")):
            (host.root / "root" / f"server.{name}").write_text((folder / "certificate" / file).read_text())
        host.check(BY_HAND, seconds=240)
        quoted = PASSWORD.replace("'", "''")
        psql(host, f"CREATE ROLE {ADMIN} LOGIN CREATEROLE CREATEDB PASSWORD '{quoted}'")
        yield host


@pytest.fixture(scope="module")
def server() -> Iterator[LabHost]:
    with hosts.running(f"t-external-db-{LANE}", SERVER, cache=True, sshd=VERBOSE) as host:
        yield host


@pytest.fixture(scope="module")
def operator(folder: Path, theirs: LabHost) -> Operator:
    (folder / "inventory.toml").write_text(INVENTORY + GIVEN, encoding="utf-8")
    return Operator(folder / "state", {"DATABASE_ADMIN": ADMIN, "DATABASE_ADMIN_PASSWORD": PASSWORD}, folder)


def provision(operator: Operator, *arguments: str, **options: Any) -> Ran:
    return operator.run(*arguments, *reach(), **options)


def refused(run: Ran, server: LabHost, words: str) -> dict[str, Any]:
    """The one finding of a run that changed nothing."""
    assert run.code == 4, run.why
    (failed,) = (check for check in run.host["checks"] if check["status"] == "fail")
    assert words in failed["detail"], failed
    assert failed["fix"]
    assert run.changed() == []
    assert PASSWORD not in run.out + run.err
    return dict(failed)


@pytest.mark.parametrize(
    ("setting", "environment", "words"),
    [
        (f"postgresql://{NOBODY}/runs", {}, "Connection refused"),
        ("postgresql://nobody.invalid/runs", {}, "does not resolve"),
        (f"postgresql://{DATABASE}:22/runs", {}, "no PostgreSQL"),
        (
            f"postgresql://localhost:1,{DATABASE}/runs",
            {"DATABASE_ADMIN_PASSWORD": "not it"},
            "the administrator's login",
        ),
    ],
)
def test_what_is_in_the_way_is_one_error_with_its_fix_before_anything_changes(
    operator: Operator, server: LabHost, setting: str, environment: dict[str, str], words: str
) -> None:
    run = provision(operator, "--set", f"database.url={setting}", "--json", **environment)
    refused(run, server, words)
    assert server.exec("ls /etc/provision").rc != 0


def test_a_certificate_of_another_root_is_refused(operator: Operator, folder: Path, server: LabHost) -> None:
    (folder / "another.pem").write_text(ssl.DER_cert_to_PEM_cert(Authority.new().der))
    run = provision(operator, "--set", f"database.ca={folder / 'another.pem'}", "--json")
    failed = refused(run, server, "does not trust its certificate")
    assert "database.ca" in failed["fix"]


def test_without_an_administrator_a_missing_role_is_refused_with_the_statements_that_make_it(
    tmp_path: Path, folder: Path, server: LabHost, theirs: LabHost
) -> None:
    (tmp_path / "database-ca.pem").write_text((folder / "database-ca.pem").read_text())
    (tmp_path / "inventory.toml").write_text(INVENTORY, encoding="utf-8")
    alone = Operator(tmp_path / "state", {}, tmp_path)
    run = provision(alone, "--json")
    assert run.code == 4, run.why
    assert "database.password" in run.host["error"]["what"]
    assert "[secrets]" in run.host["error"]["next"]
    given = '\n[secrets]\n"database.password" = { env = "THEIRS" }\n'
    (tmp_path / "inventory.toml").write_text(INVENTORY + given, encoding="utf-8")
    run = provision(alone, "--json", THEIRS="what they told us")
    failed = refused(run, server, "the role tracker is not there")
    assert "CREATE ROLE tracker LOGIN" in failed["fix"]
    assert "CREATE DATABASE runs OWNER tracker" in failed["fix"]
    assert server.exec("ls /etc/provision").rc != 0


@pytest.fixture(scope="module")
def stack(operator: Operator, server: LabHost, theirs: LabHost) -> Ran:
    """The first run, by two addresses of which the first is dead; it is verified."""
    planned = provision(operator, "plan", "--json")
    assert planned.change("database:runs")["reason"] == "absent"
    assert psql(theirs, "SELECT count(*) FROM pg_roles WHERE rolname = 'tracker'") == "0", "a plan makes nothing"
    first = provision(operator, "--json", timeout=FIRST_RUN)
    assert first.code == 0, first.why
    return first


def test_role_and_database_are_made_with_no_more_rights_than_they_need(
    stack: Ran, theirs: LabHost, server: LabHost
) -> None:
    assert stack.checks["database-row"] == "ok"
    assert any(NOBODY in warning for warning in stack.host["warnings"]), stack.host["warnings"]
    rights = "rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls, rolcanlogin"
    assert psql(theirs, f"SELECT {rights} FROM pg_roles WHERE rolname = 'tracker'") == "f|f|f|f|f|t"
    assert psql(theirs, "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'runs'") == "tracker"
    assert psql(theirs, "SELECT left(rolpassword, 13) FROM pg_authid WHERE rolname = 'tracker'") == "SCRAM-SHA-256"
    assert psql(theirs, "SELECT count(*) FROM runs", "runs") == "1"
    encrypted = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = 'tracker'"
    assert psql(theirs, encrypted) == "t"
    # The administrator's login stays nowhere.
    for where in ("/etc", "/opt/mlflow", "/var/lib/provision", "/var/backups", "/var/log"):
        assert server.exec(f"grep -rlF {shlex.quote(PASSWORD)} {where}").stdout == ""
    assert server.exec("systemctl list-units --all --no-legend 'postgresql*' | wc -l").stdout.strip() == "0"


def test_a_second_run_changes_nothing_and_needs_no_administrator(stack: Ran, operator: Operator, folder: Path) -> None:
    again = provision(operator, "--json")
    assert (again.code, again.changed()) == (0, []), again.why
    assert again.host["channels"] <= 2
    (folder / "inventory.toml").rename(folder / "away.toml")
    try:
        alone = provision(operator, "--json")
        assert (alone.code, alone.changed()) == (0, []), alone.why
        status = provision(operator, "status", "--json")
        assert status.code == 0, status.why
        (row,) = (row for row in status.host["data"] if row["what"] == "database")
        assert row["runs"] == 1
        assert provision(operator, "verify", "--json").code == 0
    finally:
        (folder / "away.toml").rename(folder / "inventory.toml")


def test_its_password_is_not_rotated_here(stack: Ran, operator: Operator) -> None:
    run = provision(operator, "secrets", "rotate", "database.password")
    assert run.code == 64, run.why
    assert "ALTER ROLE" in run.err


def test_a_password_that_its_administrator_changed_is_taken_from_its_source_once_it_is_the_right_one(
    stack: Ran, operator: Operator, theirs: LabHost, folder: Path, server: LabHost
) -> None:
    inventory = folder / "inventory.toml"
    inventory.write_text(INVENTORY + '\n[secrets]\n"database.password" = { env = "THEIRS" }\n', encoding="utf-8")
    try:
        before = server.check("cat /etc/mlflow/mlflow.env /etc/provision/secrets.json")
        run = provision(operator, "--json", THEIRS="not the right one")
        refused(run, server, "has another password")
        assert server.check("cat /etc/mlflow/mlflow.env /etc/provision/secrets.json") == before
        psql(theirs, "ALTER ROLE tracker PASSWORD 'chosen by them'")
        run = provision(operator, "--json", THEIRS="chosen by them")
        assert run.code == 0, run.why
        assert run.checks["database-row"] == "ok"
        assert provision(operator, "--json", THEIRS="chosen by them").changed() == []
    finally:
        inventory.write_text(INVENTORY + GIVEN, encoding="utf-8")


def test_another_engine_and_another_database_are_refused(
    stack: Ran, operator: Operator, theirs: LabHost, folder: Path, server: LabHost
) -> None:
    (folder / "inventory.toml").rename(folder / "away.toml")
    try:
        run = provision(operator, "--set", "database.engine=postgresql", "--json")
        assert run.code == 4, run.why
        assert "every table would have to move" in run.host["error"]["why"]
        assert "docs/switching.md" in run.host["error"]["next"]
        # The same name on a server that was set up anew.
        psql(theirs, "ALTER DATABASE runs WITH ALLOW_CONNECTIONS false")
        ended = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = 'runs'"
        psql(theirs, ended)
        psql(theirs, "ALTER DATABASE runs RENAME TO before")
        psql(theirs, "CREATE DATABASE runs OWNER tracker")
        try:
            for url in (URL, f"postgresql://{DATABASE}/runs"):
                refused(provision(operator, "--set", f"database.url={url}", "--json"), server, "another database than")
        finally:
            psql(theirs, "DROP DATABASE runs WITH (FORCE)")
            psql(theirs, "ALTER DATABASE before RENAME TO runs")
            psql(theirs, "ALTER DATABASE runs WITH ALLOW_CONNECTIONS true")
    finally:
        (folder / "away.toml").rename(folder / "inventory.toml")


def test_a_database_that_is_only_read_or_away_is_told_as_such(
    stack: Ran, operator: Operator, theirs: LabHost, server: LabHost
) -> None:
    psql(theirs, "ALTER DATABASE runs SET default_transaction_read_only = on")
    try:
        url = f"postgresql://{DATABASE}/runs"
        refused(provision(operator, "--set", f"database.url={url}", "--json"), server, "can only be read")
    finally:
        psql(theirs, "ALTER DATABASE runs RESET default_transaction_read_only")
    theirs.check("systemctl stop postgresql@*")
    try:
        refused(provision(operator, "--json"), server, NOBODY)
    finally:
        theirs.check("systemctl start postgresql")
    after = provision(operator, "--json")
    assert after.code == 0, after.why


def test_mlflows_own_accounts_are_one_more_database_of_the_role(
    stack: Ran, operator: Operator, theirs: LabHost, folder: Path, server: LabHost
) -> None:
    (folder / "inventory.toml").write_text(INVENTORY, encoding="utf-8")
    failed = refused(provision(operator, "--set", "access.auth=mlflow", "--json"), server, "no database runs_auth")
    assert "CREATE DATABASE runs_auth OWNER tracker" in failed["fix"]
    (folder / "inventory.toml").write_text(INVENTORY + GIVEN, encoding="utf-8")
    run = provision(operator, "--set", "access.auth=mlflow", "--json")
    assert run.code == 0, run.why
    assert {"database:runs_auth", "schema:accounts"} <= set(run.changed())
    assert psql(theirs, "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'runs_auth'") == "tracker"
    assert provision(operator, "user", "add", "anna").code == 0
    assert psql(theirs, "SELECT string_agg(username, ',' ORDER BY username) FROM users", "runs_auth") == "anna,mlflow"
    assert provision(operator, "--json").changed() == []
