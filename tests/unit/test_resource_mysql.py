"""MySQL and MariaDB: what is read of them, what is decided, and the words that are sent."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from typing import Any

import pytest
import shells
from hypothesis import given
from hypothesis import strategies as st

from provisioner.engine.probe import Seen
from provisioner.engine.resource import UNKNOWN, Change
from provisioner.errors import Exit, Refused
from provisioner.resources.mysql import client, conf, passwords
from provisioner.resources.mysql.account import PRIVILEGES, Account
from provisioner.resources.mysql.database import MysqlDatabase, MysqlIdentity
from provisioner.resources.mysql.server import DOWN, AccountState, DatabaseState, ServerProbe, ServerState
from provisioner.resources.mysql.servers import MARIADB, MYSQL, Installed, InstalledProbe, chosen
from provisioner.resources.mysql.service import ServerService
from provisioner.resources.paths import PathState
from provisioner.resources.schema import Schema
from provisioner.secrets import Secret

PASSWORD = Secret("correct horse battery")
SERVER = ServerProbe("ml_flow", "ml_flow")
ACCOUNT = Account(
    id="role:ml_flow",
    name="ml_flow",
    hosts=("127.0.0.1", "localhost"),
    databases=("ml_flow",),
    password=PASSWORD,
    limit=75,
    mariadb=True,
    server=SERVER,
)
DATABASE = MysqlDatabase(id="database:ml_flow", name="ml_flow", server=SERVER)
IDENTITY = MysqlIdentity(id="file:identity", path="/etc/mlflow/database.identity", server=SERVER)


def kept(plugin: str = passwords.NATIVE, password: Secret = PASSWORD) -> Secret:
    return Secret(passwords.stored(plugin, password).reveal().encode().hex())


GOOD = AccountState(passwords.NATIVE, kept(), limit=75, grants={"ml\\_flow": PRIVILEGES})


def running(**state: Any) -> ServerState:
    accounts = dict.fromkeys(ACCOUNT.hosts, GOOD)
    known = {"accounts": accounts, "database": DatabaseState(tables=65, used=True, identity="1.5")}
    return ServerState(running=True, version="10.11.19", port=3306, **{**known, **state})


def change(state: ServerState, *, marked: bool = True, of: Any = ACCOUNT) -> Change | None:
    found: Change | None = of.diff(Seen({SERVER: state, of.mark: marked}))
    return found


# Passwords.


@pytest.mark.parametrize(
    ("password", "salt", "crypted"),
    [
        # Of `openssl passwd -5`.
        ("Hello world!", "saltstring", "5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5"),
        ("hello", "saltstring", "4mLzDd7PmpYGnmV6HHYAR6tJydOUyhkrRSQDy8q2eK8"),
        ("a long pässword of more than thirty-two bytes!!", "0123456789abcdef", None),
    ],
)
def test_sha256_crypt_is_the_one_that_everybody_has(password: str, salt: str, crypted: str | None) -> None:
    found = passwords.sha256_crypt(password.encode(), salt.encode())
    assert crypted in (None, found)
    assert len(found) == 43


def test_mariadb_keeps_what_its_password_function_gives() -> None:
    stored = passwords.stored(passwords.NATIVE, Secret("mypass")).reveal()
    assert stored == "*6C8989366EAF75BB670AD8EA7A7FC1176A95CEF4"


@given(st.text(min_size=1, max_size=40), st.sampled_from((passwords.NATIVE, passwords.SHA2)))
def test_a_stored_password_is_known_again_and_no_other_is(password: str, plugin: str) -> None:
    # With words in front that nothing else says: a Secret's text is masked in all that is printed from then on.
    right, wrong = (Secret(f"fake-password-{password}{more}") for more in ("", "x"))
    stored = passwords.stored(plugin, right).reveal().encode()
    assert passwords.matches(plugin, right, stored)
    assert not passwords.matches(plugin, wrong, stored)


def test_what_is_no_stored_password_matches_nothing() -> None:
    for text in (b"", b"$A$005$", b"\xff" * 70, b"*"):
        assert not passwords.matches(passwords.SHA2, PASSWORD, text)
        assert not passwords.matches(passwords.NATIVE, PASSWORD, text)


# Statements.


def test_values_stand_quoted_in_a_statement() -> None:
    text = client.statements(
        "GRANT x ON :pattern\"d\".* TO :'u'@:'h' LIMIT :n:", {"d": "a_b", "u": "o'x", "h": "%", "n": "5"}
    )
    assert text == "GRANT x ON `a\\_b`.* TO 'o''x'@'%' LIMIT 5"
    for bad in ("a`b", "A", "", "a-b"):
        with pytest.raises(ValueError, match="not a name"):
            client.statements(':"d"', {"d": bad})
    for bad in ("a\\", "a\nb", "a\0"):
        with pytest.raises(ValueError, match="not text"):
            client.literal(bad)


def test_no_password_is_in_what_is_sent() -> None:
    made = change(ServerState(running=True), marked=False)
    assert made is not None
    text = Account.apply([(ACCOUNT, made)])
    assert PASSWORD.reveal() not in text
    assert kept().reveal() not in text.replace(passwords.stored(passwords.NATIVE, PASSWORD).reveal(), "")
    assert shells.lint(text) == ""


# What is seen. The lines are those of MariaDB 11.8 on Debian 13; the words of MySQL 8 follow its documentation.

_MARIADB: tuple[dict[str, Any] | str, ...] = (
    {"version": "11.8.6-MariaDB-0+deb13u1 from Debian", "datadir": "/var/lib/mysql/", "port": 3306}
    | {"log_bin": 0, "read_only": 0},
    {"grants": ["'ml_flow'@'localhost'", "ml\\_flow", ",".join(PRIVILEGES), "NO"]},
    {"database": {"charset": "utf8mb4", "collation": "utf8mb4_bin"}},
    {"tables": 65, "size": 3000000.0},
    {"columns": 0},
    {"revision": "dc11669786a5"},
    {
        "account": {"host": "localhost", "plugin": "mysql_native_password", "password": kept().reveal(), "locked": 0}
        | {"expired": 0, "others": 0, "tls": 0, "limit": 75, "roles": 0}
    },
    "used 1",
    "max_connections\t151",
    "bind_address\t127.0.0.1",
    "identity 1795301260.293244927",
)
_MYSQL: tuple[dict[str, Any] | str, ...] = (
    {"port": 3306, "datadir": "/var/lib/mysql/", "log_bin": 1, "version": "8.0.36-0ubuntu0.24.04.1", "read_only": 0},
    {"global": ["'ml_flow'@'%'", "SELECT"]},
    {"database": {"charset": "latin1", "collation": "latin1_swedish_ci"}},
    {"size": 0, "tables": 40},
    {"columns": 12},
    {
        "account": {"tls": 0, "host": "%", "limit": 0, "roles": 1, "locked": 1, "others": 0, "expired": 1}
        | {"plugin": "caching_sha2_password", "password": kept(passwords.SHA2).reveal()}
    },
    "used 0",
    "log_bin_trust_function_creators\tOFF",
    "identity 11519175.1795299600",
)


def lines(of: tuple[dict[str, Any] | str, ...]) -> str:
    return "\n".join(["server 0", *(each if isinstance(each, str) else json.dumps(each) for each in of), ""])


def parsed(text: str) -> ServerState:
    (state,) = ServerProbe.parse([SERVER], text.encode())
    return state


def test_what_mariadb_says_is_read() -> None:
    state = parsed(lines(_MARIADB))
    assert (state.running, state.version, state.log_bin) == (True, "11.8.6", False)
    assert state.accounts["localhost"] == replace(GOOD, grants={"ml\\_flow": PRIVILEGES})
    assert state.accounts["localhost"].grants == {"ml\\_flow": PRIVILEGES}
    assert state.variables["max_connections"] == "151"
    assert state.database == DatabaseState(
        tables=65, size=3000000, used=True, revision="dc11669786a5", identity="1795301260.293244927"
    )
    assert not state.database.unused


def test_what_mysql_says_is_read() -> None:
    state = parsed(lines(_MYSQL))
    assert (state.version, state.log_bin) == ("8.0.36", True)
    account = state.accounts["%"]
    assert (account.locked, account.expired, account.roles, account.privileges) == (True, True, 1, {"SELECT"})
    assert state.database is not None
    assert (state.database.columns, state.database.unused) == (12, True)
    mine = replace(ACCOUNT, hosts=("%",), mariadb=False)
    assert "password differs" not in ", ".join(mine._reasons(account, "%"))


def test_a_server_that_does_not_let_its_administrator_in_does_not_run_for_us() -> None:
    state = parsed("server 0\nerror ERROR 1698 (28000): Access denied for user 'root'@'localhost'\n")
    assert not state.running
    assert "1698" in state.error
    assert parsed("") == DOWN


@given(st.binary(max_size=200))
def test_an_answer_of_any_bytes_is_read_or_refused(noise: bytes) -> None:
    try:
        (state,) = ServerProbe.parse([SERVER], b"server 0\n" + noise)
    except (ValueError, LookupError, ArithmeticError, TypeError, AttributeError):
        return
    assert not state.running


def test_which_server_a_host_has_or_would_get() -> None:
    (found,) = InstalledProbe.parse([InstalledProbe()], b"here=MariaDB\nours\ninitialised\n")
    assert found == Installed("MariaDB", ours=True, initialised=True)
    assert not found.guest
    assert chosen(found, "ubuntu") is MARIADB
    (offered,) = InstalledProbe.parse([InstalledProbe()], b"candidate=MySQL\n")
    assert chosen(offered, "debian") is MYSQL
    assert chosen(Installed(), "ubuntu") is MYSQL
    assert chosen(Installed(), "debian") is MARIADB


# The login.


def test_a_login_as_it_shall_be_needs_nothing() -> None:
    assert change(running()) is None


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"password": kept(password=Secret("fake-other-one"))}, "its password differs"),
        ({"plugin": "unix_socket"}, "its password differs"),
        ({"others": True}, "its password differs"),
        ({"locked": True}, "it is locked"),
        ({"expired": True}, "its password is expired"),
        ({"tls": 1}, "it must use TLS from localhost"),
        ({"tls": 2}, "it must show a certificate"),
        ({"limit": 3}, "connection limit 3, wanted 75"),
        ({"grants": {}}, "it lacks everything in ml_flow"),
        ({"grants": {"ml\\_flow": PRIVILEGES - {"TRIGGER", "INDEX"}}}, "it lacks INDEX, TRIGGER in ml_flow"),
        # Without the backslash it is a pattern, which other databases fit too.
        ({"grants": {"ml_flow": PRIVILEGES}}, "it lacks everything in ml_flow, it has rights beyond its databases"),
        ({"privileges": frozenset({"SUPER"})}, "it has rights beyond its databases"),
        ({"roles": 1}, "it has rights beyond its databases"),
        ({"more": True}, "it has rights beyond its databases"),
    ],
)
def test_what_is_wrong_with_a_login_is_told(changed: dict[str, Any], words: str) -> None:
    found = change(running(accounts={"127.0.0.1": GOOD, "localhost": replace(GOOD, **changed)}))
    assert found is not None
    assert found.reason == words
    assert found.payload[0] == ["localhost"]


def test_a_login_of_another_host_is_let_in_by_tls_only() -> None:
    far = replace(ACCOUNT, hosts=(*ACCOUNT.hosts, "192.0.2.7"), encrypted=("192.0.2.7",))
    encrypted = {**dict.fromkeys(ACCOUNT.hosts, GOOD), "192.0.2.7": replace(GOOD, tls=1)}
    assert change(running(accounts=encrypted), of=far) is None
    plain = change(running(accounts={**encrypted, "192.0.2.7": GOOD}), of=far)
    assert plain is not None
    assert plain.reason == "it may log in without TLS from 192.0.2.7"
    assert "REQUIRE SSL" in Account.apply([(far, plain)])
    absent = change(running(), of=far)
    assert absent is not None
    assert absent.reason == "absent from 192.0.2.7"
    seen = Seen({SERVER: running(), far.mark: True})
    assert far.diff(far.after(seen)) is None
    assert "REQUIRE SSL" not in Account.apply([(ACCOUNT, Change("check", "because"))])


def test_a_login_from_where_nothing_of_the_stack_comes_goes() -> None:
    found = change(running(accounts={**dict.fromkeys(ACCOUNT.hosts, GOOD), "%": GOOD}))
    assert found is not None
    assert found.reason == "it may log in from %"
    assert "DROP USER IF EXISTS" in Account.apply([(ACCOUNT, found)])


def test_a_failed_rotation_puts_the_catalogues_own_form_back() -> None:
    former = kept(password=Secret("fake-earlier-one"))
    found = change(running(accounts=dict.fromkeys(ACCOUNT.hosts, replace(GOOD, password=former))))
    assert found is not None
    text = Account.apply([(ACCOUNT, found)])
    assert text.count("| revert") == 2
    assert passwords.stored(passwords.NATIVE, Secret("fake-earlier-one")).reveal() in text


def test_a_login_of_a_server_that_was_there_before_takes_a_yes() -> None:
    found = change(running(), marked=False, of=replace(ACCOUNT, guest=True))
    assert found is not None
    assert found.asks is not None
    assert change(running(accounts={}), marked=False, of=replace(ACCOUNT, guest=True)).asks is None  # type: ignore[union-attr]


STATES = st.sampled_from(
    [
        running(),
        running(accounts={}),
        running(accounts={"%": replace(GOOD, locked=True)}),
        running(accounts={"localhost": replace(GOOD, grants={})}),
        running(database=None),
        running(database=DatabaseState(collation="utf8mb4_general_ci", tables=0, identity="1.5")),
        running(database=DatabaseState(columns=5, tables=9, identity="1.5")),
        DOWN,
    ]
)


@given(STATES, st.booleans(), st.booleans())
def test_after_the_change_nothing_is_left_to_do(state: ServerState, marked: bool, fresh: bool) -> None:
    for thing in (replace(ACCOUNT, fresh=fresh), replace(DATABASE, fresh=fresh)):
        seen = Seen({SERVER: state, thing.mark: marked})
        after = thing.after(seen)
        if after[SERVER].running or fresh:
            assert thing.diff(after) is None
    file = PathState("absent") if marked else PathState("file", 0o644, "root", "root", b"an earlier one")
    seen = Seen({SERVER: state, IDENTITY.file: file})
    if state.running or fresh:
        assert replace(IDENTITY, fresh=fresh).diff(replace(IDENTITY, fresh=fresh).after(seen)) is None


# The database.


def test_a_database_that_was_here_and_is_gone_is_a_loss() -> None:
    made = change(running(database=None), of=DATABASE)
    assert made is not None
    assert made.loss is not None
    assert change(running(database=None), marked=False, of=DATABASE).loss is None  # type: ignore[union-attr]


def test_another_default_collation_is_put_back_and_the_tables_stay() -> None:
    state = running(database=DatabaseState(collation="utf8mb4_general_ci", tables=65, used=True, identity="1.5"))
    found = change(state, of=DATABASE)
    assert found is not None
    text = MysqlDatabase.apply([(DATABASE, found)])
    assert "ALTER DATABASE" in text
    assert "DROP" not in text
    # Its file db.opt is another one then: whoever knows the database by it must look again.
    assert DATABASE.after(Seen({SERVER: state, DATABASE.mark: True}))[SERVER].database.identity is UNKNOWN


def test_empty_tables_of_another_collation_are_made_anew_and_full_ones_refused() -> None:
    found = change(running(database=DatabaseState(columns=5, tables=9)), of=DATABASE)
    assert found is not None
    text = MysqlDatabase.apply([(DATABASE, found)])
    assert text.index("is used meanwhile") < text.index("DROP DATABASE")
    assert shells.lint(text) == ""
    with pytest.raises(Refused) as refused:
        change(running(database=DatabaseState(columns=5, tables=9, used=True)), of=DATABASE)
    assert refused.value.exit == Exit.REFUSED
    assert "CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_bin" in refused.value.next


def test_a_part_of_a_migration_without_a_row_is_begun_anew_and_with_rows_refused() -> None:
    schema = Schema(id="schema:x", environment="/opt/mlflow/3.17.2", env_file="/etc/mlflow/mlflow.env", server=SERVER)
    state = running(database=DatabaseState(tables=40, revision="bf29a5ff90ea"))
    found = schema.diff(Seen({SERVER: state}))
    assert found is not None
    assert found.action == "run"
    assert schema.diff(schema.after(Seen({SERVER: state}))) is None
    with pytest.raises(Refused):
        schema.diff(Seen({SERVER: running(database=DatabaseState(tables=40, used=True, revision="bf29a5ff90ea"))}))


# Settings.


def test_a_server_that_was_there_before_is_only_widened() -> None:
    state = running(variables={"max_connections": "500", "bind_address": "127.0.0.1"})
    assert conf.guest(state, None, needed=75, extra={}) == {}
    narrow = replace(state, log_bin=True, variables={"max_connections": "60", "log_bin_trust_function_creators": "OFF"})
    added = conf.guest(narrow, None, needed=75, extra={})
    assert added == {"max_connections": "95", "log_bin_trust_function_creators": "ON"}
    # What our file says stays, although fewer connections would do now.
    file = b"[mysqld]\nmax_connections = 300\n"
    wide = replace(state, variables={"max_connections": "300"})
    assert conf.guest(wide, file, needed=45, extra={}) == {"max_connections": "300"}


def test_functions_are_trusted_only_where_there_is_a_binary_log() -> None:
    for log in (True, False):
        settings = conf.owned(certificate="", needed=75, binary_log=log, extra={})
        assert ("log_bin_trust_function_creators" in settings) is log


@given(st.text(st.characters(min_codepoint=32, blacklist_characters="\x7f", codec="utf-8"), max_size=60))
def test_a_value_is_read_back_as_it_was_written(value: str) -> None:
    written = f"[mysqld]\nname = {conf.text(value)}\n"
    if "\x85" not in value and len(written.splitlines()) == 2:
        assert conf.parsed(written.encode()) == {"name": value}


def test_a_running_value_in_other_words_is_the_same() -> None:
    assert not conf.differs("ON", "1")
    assert not conf.differs("1G", "1073741824")
    assert conf.differs("151", "999")


def test_a_new_limit_is_noted_without_a_restart() -> None:
    inputs = ("/etc/mysql/x.cnf", "/etc/systemd/system/mariadb.service.d/55-provision-limits.conf")
    service = ServerService(id="unit:x", unit="mariadb.service", inputs=inputs, reloads=inputs[1:], health="true")
    text = ServerService.apply([(service, Change("reload", "because"))])
    assert "systemctl restart" not in text
    assert "daemon-reload" in text
    assert "/run/provision/mariadb.service" in text


def test_a_new_certificate_is_read_by_a_reload_and_seen_before_it_counts() -> None:
    shown = "/etc/mysql/provision/server.pem"
    service = ServerService(
        id="unit:x",
        unit="mariadb.service",
        inputs=(shown,),
        reloads=(shown,),
        health=client.shows(shown),
        certificate=shown,
    )
    text = ServerService.apply([(service, Change("reload", "because"))])
    assert "systemctl reload-or-restart mariadb.service" in text
    assert "s_client -starttls mysql" in text
    assert shells.lint(f"until {client.shows(shown)}; do sleep 1; done") == ""


@pytest.mark.parametrize("shell", shells.SHELLS, ids=lambda each: each[0])
def test_a_host_without_a_server_is_looked_at_in_every_shell(shell: list[str]) -> None:
    text = f"set -eu\nT=$(mktemp -d)\n( {ServerProbe.fragment([SERVER])}\n)\nrm -r $T\n"
    done = shells.run(shell, text.encode())
    assert done.returncode == 0, done.stderr
    assert shells.lint(ServerProbe.fragment([SERVER])) == ""


def test_the_look_says_no_secret_and_only_reads() -> None:
    text = ServerProbe.fragment([SERVER])
    for word in ("INSERT ", "UPDATE ", "DELETE ", "DROP ", "ALTER ", "GRANT "):
        assert word not in text
    assert json.dumps(PASSWORD.reveal()) not in text
    assert subprocess.run(["sh", "-n"], input=text.encode(), check=False).returncode == 0
