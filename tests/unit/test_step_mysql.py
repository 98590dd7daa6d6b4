"""The step `mysql`, and what other steps get from it."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from provisioner import checks
from provisioner.door import Door
from provisioner.engine.check import Check
from provisioner.engine.probe import Seen
from provisioner.resources.facts import Facts, Listener
from provisioner.resources.file import File, NoFile
from provisioner.resources.mysql import DATA, PORT
from provisioner.resources.mysql.account import Account
from provisioner.resources.mysql.server import DatabaseState, ServerState
from provisioner.resources.mysql.servers import MARIADB, Installed, InstalledProbe
from provisioner.resources.unit import Service, UnitProbe, UnitState
from provisioner.secrets import Secret
from provisioner.settings import effective
from provisioner.steps import Context, certificates, dbms, mlflow_environment
from provisioner.steps.database import STEP as DATABASE
from provisioner.steps.mysql import STEP as MYSQL
from provisioner.steps.mysqld.server import CERTIFICATE, settings_file
from provisioner.topology import Member, Topology

DOOR = Door("http", "10.151.0.1", 5000, ("10.151.0.1",))
SECRETS = {"database.password": Secret("correct/horse@battery")}


def context(seen: Seen | None = None, facts: Facts | None = None, **flags: Any) -> Context:
    flags = {"database__engine": "mysql", **flags}
    settings = effective({name.replace("__", "."): value for name, value in flags.items()}, {})
    return Context(settings, facts or Facts(), SECRETS, DOOR, seen or Seen())


def there(*, ours: bool = True, initialised: bool = True, **state: Any) -> Seen:
    found = {InstalledProbe(): Installed("MariaDB", ours=ours, initialised=initialised)}
    server = ServerState(running=True, port=3306, version="10.11.19", **state)
    return Seen({**found, MYSQL.server(context()): server, UnitProbe(MARIADB.unit): UnitState("loaded", "active")})


def account(of: Context) -> Account:
    (found,) = (resource for resource in DATABASE.resources(of) if isinstance(resource, Account))
    return found


def found(of: Context) -> dict[str, Check]:
    return {check.id: check for check in MYSQL.preflight(of)}


def test_the_settings_decide_which_engine_the_other_steps_ask() -> None:
    assert dbms.of(effective({}, {})).name == "postgres"
    assert dbms.of(context().settings) is MYSQL
    assert dbms.of(context().settings).unit(context()) == "mariadb.service"
    assert dbms.of(context().settings).unit(context(facts=Facts(distribution="ubuntu"))) == "mysql.service"


def test_the_address_names_the_driver_and_the_password_is_quoted() -> None:
    uri = mlflow_environment.database_uri(context())
    assert uri.reveal() == "mysql+pymysql://mlflow:correct%2Fhorse%40battery@127.0.0.1:3306/mlflow?charset=utf8mb4"
    assert "correct" not in repr(uri)


def test_mlflow_logs_in_from_this_host_and_from_what_is_allowed() -> None:
    assert account(context()).hosts == ("127.0.0.1", "localhost")
    more = account(context(database__allow=("10.151.0.0/24", "192.0.2.7/32", "2001:db8::7/128")))
    assert more.encrypted == ("10.151.0.0/255.255.255.0", "192.0.2.7", "2001:db8::7")
    assert more.hosts == ("127.0.0.1", "localhost", *more.encrypted)


TWO = Topology(
    (
        Member("d", "10.151.0.3", ("database",)),
        Member("m1", "10.151.0.4", ("store", "mlflow", "proxy")),
        Member("m2", "10.151.0.5", ("mlflow",)),
    )
)


def member(name: str, **flags: Any) -> Context:
    """One of three hosts, of which two have MLflow."""
    found = context(**flags)
    facts = Facts(addresses=("127.0.0.1", "10.151.0.3"))
    return replace(found, settings=replace(found.settings, topology=TWO), name=name, facts=facts)


def test_each_host_with_mlflow_logs_in_by_tls_and_has_its_connections() -> None:
    found = account(member("d", mlflow__workers=3))
    assert found.encrypted == ("10.151.0.4", "10.151.0.5")
    assert found.limit == 105
    text = settings_file(member("d", mlflow__workers=3))
    assert "max_connections = 230\n" in text
    assert "bind_address = *\n" in text
    assert f"ssl_cert = {CERTIFICATE}\nssl_key = {CERTIFICATE}\n" in text


def test_the_server_shows_others_a_certificate_that_a_renewal_makes_it_read() -> None:
    of = member("d")
    shown = MYSQL.certificate(of)
    assert shown is not None
    assert (shown.names, shown.unit) == (("10.151.0.3",), "mariadb.service")
    assert MYSQL.certificate(member("m1")) is None
    assert MYSQL.certificate(context()) is None
    made = {resource.id: resource for resource in MYSQL.resources(of)}
    drop_in, unit = made["file:mysql-service"], made["unit:mariadb.service"]
    assert isinstance(drop_in, File)
    assert b"FLUSH LOCAL SSL" in drop_in.content
    assert CERTIFICATE.encode() in drop_in.content
    assert isinstance(unit, Service)
    assert CERTIFICATE in unit.reloads
    renewal = next(r for r in certificates.STEP.resources(of) if r.id == "file:provision-tls.service")
    assert isinstance(renewal, File)
    assert b"ReadWritePaths=-/etc/mysql/provision\n" in renewal.content
    alone = {resource.id: resource for resource in MYSQL.resources(context())}
    assert isinstance(alone["file:mysql-service"], File)
    assert b"ExecReload" not in alone["file:mysql-service"].content
    assert isinstance(alone["file:tls-mysql"], NoFile)


def test_a_reload_is_noted_for_the_certificate_and_not_for_settings_that_wait_for_a_restart(tmp_path: Path) -> None:
    made = {resource.id: resource for resource in MYSQL.resources(member("d"))}
    drop_in, unit = made["file:mysql-service"], made["unit:mariadb.service"]
    assert isinstance(drop_in, File)
    assert isinstance(unit, Service)
    text = drop_in.content.decode()

    def run(directive: str) -> dict[str, str]:
        """What the record says after what systemd would run."""
        (line,) = re.findall(rf'^{directive}=\+-/bin/sh -c "(umask .*)"$', text, re.MULTILINE)
        line = line.replace("$$", "$").replace("%n", "m.service").replace("/run/provision", str(tmp_path / "run"))
        for path in unit.inputs:
            line = line.replace(path, str(tmp_path / path.rpartition("/")[2]))
        subprocess.run(["sh", "-c", line], check=True, env={"INVOCATION_ID": "abc", "PATH": "/usr/bin:/bin"})
        first, *lines = (tmp_path / "run" / "m.service").read_text().splitlines()
        assert first == "abc"
        assert len(lines) == len(unit.inputs)
        return {path.rpartition("/")[2]: digest for digest, _, path in (each.partition("  ") for each in lines)}

    files = [tmp_path / path.rpartition("/")[2] for path in unit.inputs]
    for file in files:
        file.write_text("before")
    started = run("ExecStartPre")
    for file in files:
        file.write_text("after")
    reloaded = run("ExecReload")
    read = {path.rpartition("/")[2] for path in unit.reloads}
    assert {name for name in started if reloaded[name] != started[name]} == read
    assert CERTIFICATE.rpartition("/")[2] in read
    assert files[0].name not in read


def test_the_address_of_a_far_server_makes_the_driver_verify_its_root_and_its_name() -> None:
    """As SQLAlchemy's dialect reads it: `ssl_verify_identity` beside would replace what it makes of the others."""
    uri = mlflow_environment.database_uri(member("m1")).reveal()
    assert uri.partition("@")[2] == (
        "10.151.0.3:3306/mlflow?charset=utf8mb4&ssl_ca=/etc/mlflow/database-ca.crt&ssl_check_hostname=true"
    )
    assert mlflow_environment.database_uri(member("d")).reveal().endswith("@127.0.0.1:3306/mlflow?charset=utf8mb4")


def test_it_listens_beyond_loopback_only_when_somebody_is_let_in() -> None:
    assert "bind_address = 127.0.0.1\n" in settings_file(context())
    assert "bind_address = *\n" in settings_file(context(database__allow=("10.151.0.0/24",)))


def test_mysql_with_its_binary_log_trusts_functions_and_mariadb_without_does_not() -> None:
    assert "log_bin_trust" in settings_file(context(facts=Facts(distribution="ubuntu")))
    assert "log_bin_trust" not in settings_file(context())
    assert "log_bin_trust" in settings_file(context(there(log_bin=True)))


def test_the_login_has_room_for_every_connection_of_mlflow() -> None:
    assert account(context(mlflow__workers=6)).limit == 195
    assert "max_connections = 215\n" in settings_file(context(mlflow__workers=6))


def test_with_accounts_of_mlflows_own_there_are_two_databases() -> None:
    of = context(access__auth="mlflow")
    names = {r.id for r in DATABASE.resources(of)}
    assert names >= {"database:mlflow", "database:mlflow_auth", "file:accounts.identity"}
    assert account(of).databases == ("mlflow", "mlflow_auth")


def test_a_guest_gets_no_package_no_hardening_and_no_file_that_says_nothing() -> None:
    of = context(there(ours=False, variables={"max_connections": "500"}))
    assert [r.id for r in MYSQL.resources(of)] == ["unit:mariadb.service"]
    short = context(there(ours=False, variables={"max_connections": "60"}))
    (file,) = (r for r in MYSQL.resources(short) if isinstance(r, File))
    assert b"max_connections = 95" in file.content
    assert b"bind_address" not in file.content


@pytest.mark.parametrize(
    ("flags", "id"),
    [
        ({"database__name": "mysql"}, "mysql-names"),
        ({"database__user": "root"}, "mysql-names"),
        ({"database__user": "u" * 33}, "mysql-names"),
        ({"database__allow": ("fd00::/64",)}, "mysql-networks"),
    ],
)
def test_what_mysql_cannot_take_is_refused_before_anything_is_changed(flags: dict[str, Any], id: str) -> None:
    assert found(context(**flags))[id].status == "fail"


def test_a_server_that_was_here_before_is_not_reached_from_other_hosts() -> None:
    seen = there(ours=False)
    assert "mysql-clients" not in found(context(seen))
    assert found(context(seen, database__allow=("10.151.0.0/24",)))["mysql-clients"].status == "fail"


def test_a_port_that_somebody_else_has_is_refused() -> None:
    taken = Facts(listeners=(Listener("127.0.0.1", 3306, "docker-proxy"),))
    assert found(context(facts=taken))["mysql-port"].status == "fail"
    own = Facts(listeners=(Listener("127.0.0.1", 3306, "mariadbd"),))
    assert found(context(there(), facts=own))["mysql-port"].status == "ok"


def test_data_that_is_gone_is_not_begun_anew() -> None:
    assert "mount or restore" in (found(context(there(initialised=False)))["mysql-data"].fix or "")


def test_an_administrator_with_a_password_is_told_what_to_do() -> None:
    seen = there().put(MYSQL.server(context()), ServerState(error="Access denied for user 'root'@'localhost'"))
    check = found(context(seen))["mysql-admin"]
    assert "Access denied" in check.detail
    assert "unix_socket" in (check.fix or "")


def test_full_tables_that_tell_no_case_apart_are_refused() -> None:
    seen = there(database=DatabaseState(columns=3, used=True))
    assert found(context(seen))["database-collation"].status == "fail"


def test_a_running_server_that_was_told_something_else_is_reported() -> None:
    assert found(context(there(variables={"max_connections": "999"})))["mysql-override"].status == "warn"
    same = {"max_connections": "151", "skip_name_resolve": "1"}
    assert "mysql-override" not in found(context(there(variables=same)))


@pytest.mark.parametrize(("text", "size"), [("1G", 1024), ("268435456", 256), ("8M", 128), ("", 128), ("x", 128)])
def test_the_buffer_pool_counts_for_the_memory_it_may_use(text: str, size: int) -> None:
    assert MYSQL.buffers(context(database__settings={"innodb_buffer_pool_size": text}).settings) == size


def test_settings_that_decide_what_the_server_is_are_not_the_operators() -> None:
    for name in ("datadir", "init_file", "skip_grant_tables", "loose_x", "bind_address", "collation_server"):
        with pytest.raises(ValueError, match=f"{name} is not free"):
            checks.server_setting(name, "1")
    assert checks.server_setting("innodb_buffer_pool_size", "1G") == "1G"


def test_a_stack_with_postgresql_imports_nothing_of_it() -> None:
    program = (
        "import sys; from provisioner.steps import registry, dbms; from provisioner.settings import effective; "
        "registry(); dbms.of(effective({}, {})); "
        "print([m for m in sys.modules if 'pymysql' in m or 'resources.mysql' in m or 'steps.mysqld.' in m])"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert said == "[]\n"
    assert (MYSQL.port, MYSQL.data) == (PORT, DATA), "what the step says without it"
