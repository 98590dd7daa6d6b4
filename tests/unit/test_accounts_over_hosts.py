"""MLflow's own accounts on a stack of several hosts, in memory: what each of them gets, and `provision user`."""

from __future__ import annotations

import configparser
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import model
import pytest
from model import ModelHost
from test_commands_converge import Silent, World
from test_step_mlflow_proxy import SECRETS, content, context

from provisioner import vault
from provisioner.commands import logins, options, user
from provisioner.commands.apply import apply
from provisioner.commands.options import Options
from provisioner.commands.rotate import rotate
from provisioner.engine.probe import Seen
from provisioner.engine.resource import Resource
from provisioner.errors import Exit, ProvisionError, Refused
from provisioner.resources.file import File
from provisioner.resources.mlflow_users import Users, UsersLook, UsersState
from provisioner.resources.mysql.account import Account
from provisioner.resources.postgresql.database import Database
from provisioner.resources.remote_database import RemoteDatabase, RemoteState, RemoteTables
from provisioner.resources.schema import Schema
from provisioner.secrets import Secret
from provisioner.steps import Context, database, mlflow, own_accounts, postgres_access
from provisioner.topology import Member, Topology

DATA, FIRST, SECOND, DOOR = "192.0.2.11", "192.0.2.12", "192.0.2.13", "192.0.2.10"
SERVER = "unit:mlflow-server.service"
MEMBERS = (
    Member("d", DATA, ("store", "database")),
    Member("m1", FIRST, ("mlflow",)),
    Member("m2", SECOND, ("mlflow",)),
    Member("p", DOOR, ("proxy",)),
)


def at(name: str, **settings: Any) -> Context:
    made = context(access__auth="mlflow", **settings)
    return replace(made, settings=replace(made.settings, topology=Topology(MEMBERS)), name=name)


def of(step: Any, where: Context) -> dict[str, Resource]:
    return {resource.id: resource for resource in step.resources(where)}


def test_the_accounts_are_reached_as_the_runs_are() -> None:
    parsed = configparser.ConfigParser()
    parsed.read_string(content(mlflow.STEP, at("m2"), own_accounts.INI))
    assert parsed["mlflow"]["database_uri"] == (
        f"postgresql+psycopg2://mlflow@{DATA}:5432/mlflow_auth"
        "?sslmode=verify-full&sslrootcert=/etc/mlflow/database-ca.crt"
    )
    mysql = configparser.ConfigParser()
    mysql.read_string(content(mlflow.STEP, at("m2", database__engine="mysql"), own_accounts.INI))
    assert mysql["mlflow"]["database_uri"] == (
        f"mysql+pymysql://mlflow:{quote(SECRETS['database.password'].reveal(), safe='')}@{DATA}:3306/mlflow_auth"
        "?charset=utf8mb4&ssl_ca=/etc/mlflow/database-ca.crt&ssl_check_hostname=true"
    )


def test_their_tables_are_looked_at_from_mlflow_and_made_on_one_server_after_the_other() -> None:
    tables = [of(mlflow.STEP, at(name))["schema:accounts"] for name in ("m1", "m2")]
    for each, before in zip(tables, ((), ("after:mlflow@m1",)), strict=True):
        assert isinstance(each, Schema)
        look = RemoteDatabase("/opt/mlflow/3.17.2", "/etc/mlflow/mlflow.env", "mlflow_auth", "alembic_version_auth")
        assert each.server == look
        assert each.unit == "mlflow-server.service"
        assert each.needs == ("venv:mlflow", "step:database", *before)
        assert look in mlflow.STEP.looks(at("m1"))


def test_the_file_that_names_them_is_written_once_they_are_seen() -> None:
    look = RemoteDatabase("/opt/mlflow/3.17.2", "/etc/mlflow/mlflow.env", "mlflow_auth", "alembic_version_auth")
    assert "file:accounts.identity" not in of(mlflow.STEP, at("m2"))
    seen = replace(at("m2"), seen=Seen({look: RemoteState(RemoteTables(0, "", "7/16386"))}))
    file = of(mlflow.STEP, seen)["file:accounts.identity"]
    assert isinstance(file, File)
    assert (file.path, b"7/16386" in file.content) == (own_accounts.IDENTITY, True)
    assert own_accounts.IDENTITY in mlflow.inputs(at("m2"))


def test_one_server_of_several_is_asked_for_the_accounts() -> None:
    assert [("accounts:mlflow" in of(mlflow.STEP, at(name))) for name in ("m1", "m2")] == [True, False]


def test_the_database_s_host_lets_every_server_in_and_has_room_for_what_each_may_open() -> None:
    found = of(database.STEP, at("d"))
    made = found["database:mlflow_auth"]
    assert isinstance(made, Database)
    assert (made.owner, made.limit) == ("mlflow", 2 * (2 * 45 + 15))
    lines = postgres_access.access(at("d"), encrypted=True).lines
    far = [line.split() for line in lines if line.startswith("hostssl")]
    assert [(each[1], each[3]) for each in far] == [
        ("mlflow,mlflow_auth", f"{FIRST}/32"),
        ("mlflow,mlflow_auth", f"{SECOND}/32"),
    ]
    login = of(database.STEP, at("d", database__engine="mysql"))["role:mlflow"]
    assert isinstance(login, Account)
    assert (login.databases, login.encrypted) == (("mlflow", "mlflow_auth"), (FIRST, SECOND))
    assert login.limit == 2 * 45 + 15


class Spread:
    """Such a stack: `there`, the passwords as MLflow has them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path):
        self.there: dict[str, Secret] = {}
        self.asked_of: set[str] = set()
        self.world = World(monkeypatch, DOOR, DATA, FIRST, SECOND)
        for name in (FIRST, SECOND):
            self.hosts[name].far = self.hosts[DATA]
        self.file = folder / "inventory.toml"
        roles = {"store": [DATA], "database": [DATA], "mlflow": [FIRST, SECOND], "proxy": [DOOR]}
        lines = ["[roles]", *(f"{role} = {json.dumps(names)}" for role, names in roles.items())]
        more = ["[store]", 'engine = "seaweedfs"', "[access]", 'auth = "mlflow"', 'users = ["anna"]', ""]
        self.file.write_text("\n".join([*lines, *more]))
        monkeypatch.setitem(model.BLANK, UsersLook, UsersState(unseen="not yet"))  # type: ignore[arg-type]
        monkeypatch.setattr(Users, "look", lambda users, session: Seen({users.key: self._look(users)}))
        monkeypatch.setattr(Users, "perform", lambda users, session, change: self._perform(users, session))
        monkeypatch.setattr(options, "open_session", lambda request, *_: self._open(request.host.name))
        monkeypatch.setattr(logins, "_prove", lambda *_: None)
        self.down: set[str] = set()

    @property
    def hosts(self) -> dict[str, ModelHost]:
        return self.world.hosts

    def _open(self, name: str) -> ModelHost:
        if name in self.down:
            raise ProvisionError(f"{name} does not answer", exit=Exit.UNREACHABLE)
        return self.hosts[name]

    def _look(self, users: Users) -> UsersState:
        tried = {users.operator, *users.tried} & set(self.there) & set(users.passwords)
        refused = frozenset(name for name in tried if self.there[name] != users.passwords[name])
        # Whom it does not let in it tells nothing.
        return UsersState(frozenset() if users.operator in refused else frozenset(self.there), refused)

    def _perform(self, users: Users, session: Any) -> None:
        if users.operator in self._look(users).refused:
            self.there[users.operator] = users.passwords[users.operator]
        state = self._look(users)
        absent = set(users.passwords) - set(self.there)
        self.there |= {name: users.passwords[name] for name in absent | state.refused}
        self.there = {name: value for name, value in self.there.items() if name not in users.ended}
        self.asked_of.add(session.host)
        session.applied.append(users.id)

    def options(self) -> Options:
        return Options(inventory=str(self.file))

    def run(self) -> tuple[Exit, dict[str, list[str]]]:
        reporter = Silent()
        code = apply(self.options(), reporter)  # type: ignore[arg-type]
        errors = [result.error for result in reporter.results.values() if result.error]
        assert code is Exit.OK, errors
        return code, {name: [p.id for p in result.changes] for name, result in reporter.results.items()}

    def here(self) -> vault.Vault:
        kept, _ = vault.read_controller(DOOR)
        assert kept is not None
        return kept

    def noted(self, host: str) -> vault.Vault:
        return vault.parse(self.hosts[host].content(vault.HOST_FILE), host)

    def settled(self) -> None:
        """Every host has what is its own, MLflow too, and a run finds nothing to do."""
        known = self.here()
        for name in (FIRST, SECOND, DOOR):
            noted = self.noted(name).entries
            assert noted == {each: known.entries[each] for each in noted}
            assert {each for each in known.entries if each.startswith("account.")} <= set(noted)
        assert self.there["mlflow"] == known["login"]
        assert self.run()[1] == {name: [] for name in self.hosts}


@pytest.fixture
def spread(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Spread:
    made = Spread(monkeypatch, tmp_path)
    made.run()
    for host in made.hosts.values():
        host.applied = []
    return made


def test_a_first_run_makes_them_once_and_the_next_one_finds_nothing_to_do(spread: Spread) -> None:
    assert set(spread.there) == {"mlflow", "anna"}
    assert spread.asked_of == {FIRST}
    spread.settled()


def given(spread: Spread, work: Callable[..., Exit], *arguments: Any) -> None:
    assert work(spread.options(), *arguments) is Exit.OK


def test_an_account_is_made_changed_and_ended_on_every_host_that_knows_accounts(spread: Spread) -> None:
    given(spread, user.add, "ben", user.Password())
    assert spread.there["ben"] == spread.here()["account.ben"]
    applied = {name: host.applied for name, host in spread.hosts.items()}
    assert applied[FIRST].index("accounts:mlflow") < applied[FIRST].index("file:secrets.json")
    assert (applied[SECOND], applied[DOOR], applied[DATA]) == (["file:secrets.json"], ["file:secrets.json"], [])
    spread.settled()
    before = spread.there["ben"]
    given(spread, user.passwd, "ben", user.Password())
    assert spread.there["ben"] == spread.here()["account.ben"] != before
    spread.settled()
    given(spread, user.remove, "ben")
    assert "ben" not in spread.there
    spread.settled()
    with pytest.raises(Refused, match="is there already"):
        user.add(spread.options(), "anna", user.Password())


def test_the_operator_s_password_goes_to_mlflow_to_its_servers_and_to_nginx(spread: Spread) -> None:
    given(spread, user.passwd, "mlflow", user.Password())
    assert spread.asked_of == {FIRST}
    assert "file:mlflow-admin" in spread.hosts[SECOND].applied
    assert {"file:nginx-health", "unit:nginx.service"} <= set(spread.hosts[DOOR].applied)
    assert SERVER not in spread.hosts[FIRST].applied + spread.hosts[SECOND].applied
    spread.settled()


def test_an_account_of_somebody_else_gets_no_password_while_mlflow_tells_no_accounts(spread: Spread) -> None:
    before = spread.here()
    spread.there |= {"zoe": Secret("her own"), "mlflow": Secret("lost")}
    for work, arguments in (
        (user.add, ("zoe", user.Password())),
        (user.passwd, ("zoe", user.Password())),
        (user.remove, ("zoe",)),
        (user.list_users, ()),
    ):
        with pytest.raises(Refused, match="does not tell them") as caught:
            work(spread.options(), *arguments)  # type: ignore[operator]
        assert caught.value.next.startswith("provision")
    assert spread.there["zoe"] == Secret("her own")
    assert spread.here() == before
    spread.run()
    assert spread.there["mlflow"] == before["login"]
    with pytest.raises(Refused, match="is there already"):
        user.add(spread.options(), "zoe", user.Password())
    given(spread, user.passwd, "mlflow", user.Password())
    spread.there["mlflow"] = Secret("lost again")
    given(spread, user.passwd, "mlflow", user.Password())
    assert spread.there["zoe"] == Secret("her own")
    spread.settled()


def test_what_a_killed_command_left_a_run_finishes(spread: Spread, monkeypatch: pytest.MonkeyPatch) -> None:
    run = logins._run

    def killed(connection: Any, *rest: Any) -> None:
        if connection.host == SECOND:
            raise KeyboardInterrupt
        run(connection, *rest)

    before = spread.there["anna"]
    monkeypatch.setattr(logins, "_run", killed)
    with pytest.raises(KeyboardInterrupt):
        user.passwd(spread.options(), "anna", user.Password())
    assert spread.there["anna"] == spread.noted(FIRST)["account.anna"] != before
    assert spread.noted(SECOND)["account.anna"] == spread.noted(DOOR)["account.anna"] == before
    monkeypatch.setattr(logins, "_run", run)
    assert sorted(spread.run()[1][SECOND]) == ["file:secrets.json"]
    spread.settled()


def test_a_server_that_does_not_answer_keeps_all_as_it_was(spread: Spread) -> None:
    before = spread.here()
    spread.down = {SECOND}
    with pytest.raises(ProvisionError, match="does not answer"):
        user.passwd(spread.options(), "anna", user.Password())
    assert spread.here() == before
    assert not any(host.applied for host in spread.hosts.values())


def test_a_host_that_is_not_whole_keeps_all_as_it_was(spread: Spread) -> None:
    before = spread.here()
    spread.hosts[SECOND].remove("/etc/mlflow/mlflow.env")
    with pytest.raises(Refused, match="not whole") as caught:
        user.passwd(spread.options(), "anna", user.Password())
    assert SECOND in caught.value.why
    assert spread.here() == before


@pytest.mark.parametrize("group", ["login", "accounts", "database.password"])
def test_their_secrets_are_rotated_on_all_hosts(spread: Spread, group: str) -> None:
    before = spread.here()
    reporter = Silent()
    code = rotate(spread.options(), reporter, group)  # type: ignore[arg-type]
    assert code is Exit.OK, [result.error for result in reporter.results.values()]
    new = {name for name, entry in spread.here().entries.items() if entry != before.entries[name]}
    assert new == {{"accounts": "account.anna"}.get(group, group)}
    assert spread.there == {"mlflow": spread.here()["login"], "anna": spread.here()["account.anna"]}
    spread.settled()


def test_after_a_failure_on_another_host_mlflow_has_the_earlier_password_again(spread: Spread) -> None:
    before = dict(spread.there)
    spread.hosts[DOOR].failing_once = {"file:nginx-health"}
    reporter = Silent()
    assert rotate(spread.options(), reporter, "login") is Exit.FAILED  # type: ignore[arg-type]
    assert spread.there == before
    spread.settled()


def test_the_tables_of_the_accounts_are_made_by_one_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made = Spread(monkeypatch, tmp_path)
    made.run()
    tried = [name for name, host in made.hosts.items() if "schema:accounts" in host.applied]
    assert tried == [FIRST]
    restarted = made.hosts[FIRST].applied
    assert restarted.index("schema:accounts") < restarted.index(SERVER) < restarted.index("accounts:mlflow")
