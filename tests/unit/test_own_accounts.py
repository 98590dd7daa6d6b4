"""MLflow's own accounts: what its server, its database and nginx get, and what is done through its API."""

from __future__ import annotations

import ast
import configparser
import http.server
import json
import re
import shlex
import threading
from base64 import b64decode, b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import model
import pytest
from hypothesis import given
from hypothesis import strategies as st
from systemd_env import read_env_file
from test_commands_converge import A, Silent, World
from test_step_mlflow_proxy import SECRETS, content, context

from provisioner import vault
from provisioner.commands.apply import apply
from provisioner.commands.options import Options
from provisioner.commands.rotate import rotate
from provisioner.engine.probe import Seen
from provisioner.engine.resource import Change
from provisioner.errors import Exit, ProvisionError
from provisioner.resources.file import File, NoFile
from provisioner.resources.mlflow_users import Users, UsersLook, UsersState, hashed
from provisioner.resources.paths import PathProbe, PathState
from provisioner.resources.postgresql.database import Database as Made
from provisioner.resources.unit import UnitProbe, UnitState
from provisioner.secrets import Secret
from provisioner.steps import database, mlflow, mlflow_environment, own_accounts, postgres_access, proxy
from provisioner.transport.base import Result
from provisioner.transport.forward import forwarded

OWN = {"access__auth": "mlflow"}
HASH = "scrypt:32768:8:1$"


def test_the_server_is_started_with_its_accounts_and_the_file_says_where_they_are() -> None:
    unit = content(mlflow.STEP, context(**OWN), mlflow.UNIT_FILE)
    assert "ExecStart=/opt/mlflow/current/bin/mlflow server --app-name basic-auth\n" in unit
    assert f"LoadCredential=basic_auth.ini:{own_accounts.INI}\n" in unit
    assert f"EnvironmentFile={own_accounts.FIRST}\n" in unit
    parsed = configparser.ConfigParser()
    parsed.read_string(content(mlflow.STEP, context(**OWN, database__name="ml"), own_accounts.INI))
    assert parsed["mlflow"]["database_uri"] == "postgresql+psycopg2://mlflow@127.0.0.1:5432/ml_auth"
    found = read_env_file(mlflow_environment.text(context(**OWN)))
    assert found["PGPASSWORD"] == SECRETS["database.password"].reveal()
    assert "MLFLOW_AUTH_ADMIN_PASSWORD" not in found
    first = read_env_file(content(mlflow.STEP, context(**OWN), own_accounts.FIRST))
    assert first["MLFLOW_AUTH_ADMIN_PASSWORD"] == SECRETS["login"].reveal()


def test_no_password_is_in_the_accounts_file_and_every_file_is_roots() -> None:
    files = [r for step in (mlflow.STEP, proxy.STEP) for r in step.resources(context(**OWN)) if isinstance(r, File)]
    mine = {f.path: f for f in files if f.path in (own_accounts.INI, own_accounts.FIRST, own_accounts.NGINX_LOGIN)}
    assert {(f.mode, f.owner, f.group) for f in mine.values()} == {(0o600, "root", "root")}
    assert len(mine) == 3
    for secret in SECRETS.values():
        assert secret.reveal().encode() not in mine[own_accounts.INI].content
    assert b64decode(mine[own_accounts.NGINX_LOGIN].content.split(b"Basic ")[1].split(b'"')[0]).decode() == (
        f"mlflow:{SECRETS['login'].reveal()}"
    )


def test_without_them_nothing_of_theirs_stays() -> None:
    gone = {
        r.path
        for step in (mlflow.STEP, proxy.STEP)
        for r in step.resources(context())
        if isinstance(r, NoFile) and "tls" not in r.path
    }  # fmt: skip
    assert gone == {own_accounts.INI, own_accounts.FIRST, own_accounts.NGINX_LOGIN}
    assert "PGPASSWORD" not in read_env_file(mlflow_environment.text(context()))


def test_the_accounts_have_a_database_of_their_own_and_room_for_its_connections() -> None:
    names = {r.name: r for r in database.STEP.resources(context(**OWN)) if isinstance(r, Made)}
    assert set(names) == {"mlflow", "mlflow_auth"}
    assert names["mlflow_auth"].owner == "mlflow"
    assert names["mlflow"].limit == 2 * 45 + 15
    (line, _) = postgres_access.access(context(**OWN), encrypted=True).lines
    assert line.split()[:3] == ["host", "mlflow,mlflow_auth", "mlflow"]
    assert [r.name for r in database.STEP.resources(context()) if isinstance(r, Made)] == ["mlflow"]
    long = context(**OWN, database__name="d" * 63)
    assert own_accounts.database(long) == "d" * 58 + "_auth"


def test_only_one_of_nginx_and_mlflow_asks_for_the_login() -> None:
    own = content(proxy.STEP, context(**OWN), proxy.SITE)
    assert "auth_basic" not in own
    assert 'Authorization ""' not in own
    assert own.count(f"include {own_accounts.NGINX_LOGIN};") == 2
    nginx = content(proxy.STEP, context(), proxy.SITE)
    assert nginx.count("auth_basic_user_file") == nginx.count('proxy_set_header Authorization ""') > 0
    assert own.count("proxy_set_header Authorization $provision_login;") == nginx.count("auth_basic_user_file")
    assert "$provision_login" not in nginx


@given(st.binary(max_size=60))
def test_nginx_passes_on_every_login_but_one_with_a_zero_in_it(login: bytes) -> None:
    """MLflow fails on others instead of refusing them."""
    own = content(proxy.STEP, context(**OWN), proxy.SITE)
    (table,) = re.findall(r"map \$http_authorization \$provision_login {\n(.*?)\n}", own, re.DOTALL)
    zero, fit = re.findall(r'"~(.*?)"', table)
    for kind in ("Basic", "basic"):
        header = f"{kind} {b64encode(login).decode()}"
        assert (re.search(zero, header) is not None) == (b"\0" in login)
        assert (re.search(fit, header) is not None) == bool(login)
    for other in ("Bearer x", "Digest username=x", "Basic ~~~~", "Basic", "Basic eA== eA==", "Basic e A=="):
        assert re.search(fit, other) is None


def test_nginx_passes_logins_on_only_after_mlflow_asks_for_them_and_is_checked_for_it() -> None:
    resources = {r.id: r for r in proxy.STEP.resources(context(**OWN))}
    for name in ("file:nginx-site", "unit:nginx.service"):
        assert "unit:mlflow-server.service" in resources[name].needs
    site = resources["file:nginx-site"]
    assert isinstance(site, File)
    assert "(401,)" in site.check_in_place


def test_mlflow_ceases_to_ask_only_after_nginx_does() -> None:
    was = content(mlflow.STEP, context(**OWN), mlflow.UNIT_FILE).encode()
    leaving = replace(context(), seen=Seen({PathProbe(mlflow.UNIT_FILE): PathState("file", content=was)}))
    resources = {r.id: r for r in mlflow.STEP.resources(leaving)}
    for name in ("file:mlflow-server.service", "unit:mlflow-server.service"):
        assert "unit:nginx.service" in resources[name].needs
    assert "unit:nginx.service" not in {n for r in mlflow.STEP.resources(context()) for n in r.needs}


def test_a_password_that_mlflow_would_not_start_with_is_told_ahead() -> None:
    short = replace(context(**OWN), secrets={**SECRETS, "login": Secret("eight ch")})
    (found,) = (check for check in mlflow.STEP.preflight(short) if check.id == "login")
    assert found.status == "fail"
    assert "eight ch" not in found.detail
    assert not [check for check in mlflow.STEP.preflight(context(**OWN)) if check.id == "login"]


# --- through the API --------------------------------------------------------------------------------


class Server(http.server.BaseHTTPRequestHandler):
    """MLflow's calls for accounts, as 3.17.2 answers them."""

    users: dict[str, str]
    broken = 0

    def log_message(self, *_: Any) -> None:
        pass

    def _answer(self, status: int, document: object) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _any(self) -> None:
        size = int(self.headers.get("Content-Length") or 0)
        fields = json.loads(self.rfile.read(size)) if size else {}
        name, _, password = b64decode(self.headers["Authorization"].split()[1]).decode().partition(":")
        call = self.path.removeprefix("/api/2.0/mlflow/users/")
        if self.broken:
            return self._answer(self.broken, {})
        if self.users.get(name) != password:
            return self._answer(401, "You are not authenticated.")
        if call == "list":
            return self._answer(200, {"users": [{"username": each} for each in self.users]})
        if call in {"create", "update-password"}:
            self.users[fields["username"]] = fields["password"]
        elif call == "delete":
            del self.users[fields["username"]]
        return self._answer(200, {})

    do_GET = do_POST = do_PATCH = do_DELETE = _any


class Session:
    """A connection that leads to that server."""

    def __init__(self, port: int):
        self._port = port

    @contextmanager
    def forward(self, port: int, host: str = "") -> Iterator[Path]:
        import socket

        def open_() -> Any:
            near = socket.create_connection(("127.0.0.1", self._port), 5)
            return near, near.close

        with forwarded(open_, port) as path:
            yield path


@pytest.fixture
def served() -> Iterator[tuple[Any, dict[str, str]]]:
    users = {"mlflow": "the operator's own"}
    handler = type("Own", (Server,), {"users": users})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    session: Any = Session(server.server_address[1])
    session.handler = handler
    yield session, users
    server.shutdown()
    server.server_close()


def users(**more: Any) -> Users:
    passwords = {"mlflow": Secret("the operator's own"), "anna": Secret("anna's password")}
    return Users(
        id="accounts:mlflow",
        operator="mlflow",
        port=5500,
        unit="mlflow-server.service",
        environment="/opt/mlflow/3.17.2",
        env_file="/etc/mlflow/mlflow.env",
        database="mlflow_auth",
        **{"passwords": passwords, **more},
    )


def bring(session: Any, wanted: Users) -> str:
    """Look, change, look again; the reason of the change."""
    change = wanted.diff(wanted.look(session))
    if change is None:
        return ""
    wanted.perform(session, change)
    assert wanted.diff(wanted.look(session)) is None
    return change.reason


def test_accounts_are_made_and_ended_and_those_of_others_stay(served: Any) -> None:
    session, there = served
    there |= {"made in mlflow": "x", "ben": "y"}
    assert bring(session, users(ended=frozenset({"ben", "never"}))) == "anna is absent, ben was removed"
    assert set(there) == {"mlflow", "made in mlflow", "anna"}
    assert there["anna"] == "anna's password"
    assert bring(session, users(ended=frozenset({"ben"}))) == ""


def test_a_password_changed_in_mlflow_stays_unless_that_account_is_meant(served: Any) -> None:
    session, there = served
    there["anna"] = "another one, of her own"
    assert bring(session, users()) == ""
    assert bring(session, users(tried=frozenset({"anna"}))) == "anna has another password"
    assert there["anna"] == "anna's password"


def test_an_operator_who_is_not_let_in_gets_the_password_in_the_database(
    served: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, there = served
    there["mlflow"] = "an earlier one"

    def reset(self: Users, _: Any) -> None:
        there["mlflow"] = self.passwords["mlflow"].reveal()

    monkeypatch.setattr(Users, "_reset", reset)
    assert bring(session, users()) == "mlflow has another password"
    assert "anna" in there, "what was not seen for that is made as well"


class Reset:
    """A connection that answers one script."""

    def __init__(self, stdout: bytes, stderr: bytes = b""):
        self.result = Result(stdout, stderr, 0)
        self.script = b""

    def run(self, script: bytes, **_: Any) -> Result:
        self.script = script
        return self.result


def test_the_operator_s_password_goes_to_the_database_as_its_hash_and_on_stdin() -> None:
    session: Any = Reset(b"set 1\n")
    users()._reset(session)
    text = session.script.decode()
    assert "the operator" not in text
    command = text.rpartition(" | ")[2]
    assert command.startswith("systemd-run ")
    assert HASH not in command
    program = shlex.split(text)[2]
    found = re.search(r"^ACCOUNT[^=]*= (.*)$", program, re.MULTILINE)
    assert found is not None
    name, digest = ast.literal_eval(found[1])
    assert name == "mlflow"
    assert digest.startswith(HASH)
    assert re.search(r"^DATABASE = 'mlflow_auth'$", program, re.MULTILINE)
    compile(program, "account_password", "exec")


@pytest.mark.parametrize(
    ("stdout", "stderr", "why", "next"),
    [
        (b"", b"connection refused\n", "connection refused", "provision database"),
        (b"set 0\n", b"", "there is no account mlflow", "systemctl restart mlflow-server"),
        (b"", b"", "no answer", "provision database"),
    ],
)
def test_a_password_that_the_database_did_not_take_is_one_error(
    stdout: bytes, stderr: bytes, why: str, next: str
) -> None:
    session: Any = Reset(stdout, stderr)
    with pytest.raises(ProvisionError) as caught:
        users()._reset(session)
    assert (caught.value.why, next in str(caught.value.next)) == (why, True)


def test_a_server_without_accounts_is_looked_at_again_when_its_turn_comes(served: Any) -> None:
    session, _ = served
    session.handler.broken = 404
    wanted = users()
    change = wanted.diff(wanted.look(session))
    assert change is not None
    assert change.action == "check"
    with pytest.raises(ProvisionError):
        wanted.perform(session, change)
    assert not wanted.ready(Seen({UnitProbe(wanted.unit): UnitState()}))


def test_in_a_run_one_that_still_starts_is_waited_for_and_one_that_refuses_is_not(
    served: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, there = served
    naps: list[float] = []
    monkeypatch.setattr("provisioner.resources.mlflow_users.time.sleep", naps.append)
    answers = iter([UsersState(unseen="no answer", away=True)] * 2 + [UsersState(frozenset(there))])
    monkeypatch.setattr(Users, "_state", lambda *_: next(answers))
    users().arrive(session)
    assert len(naps) == 2
    monkeypatch.setattr(Users, "_state", lambda *_: UsersState(unseen="MLflow answers HTTP 404"))
    users().arrive(session)
    assert len(naps) == 2


def test_a_server_that_is_not_there_is_told_apart_from_one_without_accounts(served: Any) -> None:
    session, _ = served
    gone: Any = Session(1)
    assert users().look(gone)[users().key].away
    session.handler.broken = 404
    assert not users().look(session)[users().key].away


def test_the_law_of_diff_holds() -> None:
    wanted = users(ended=frozenset({"ben"}))
    for state in (UsersState(), UsersState(frozenset({"ben"})), UsersState(refused=frozenset({"mlflow"}))):
        assert wanted.diff(wanted.after(Seen({wanted.key: state}))) is None
    assert isinstance(wanted.diff(Seen()), Change)


def test_no_password_is_in_what_is_printed_of_it() -> None:
    assert "password" not in repr(users()).replace("anna's password", "!")
    digest = hashed(Secret("the operator's own"))
    assert digest.startswith(HASH)
    assert len(digest.split("$")[2]) == 128


def test_a_password_that_the_host_does_not_have_yet_is_given_to_mlflow_too() -> None:
    (found,) = (r for r in mlflow.STEP.resources(replace(context(**OWN), renewed=("anna",))) if isinstance(r, Users))
    assert found.tried == {"anna"}
    (plain,) = (r for r in mlflow.STEP.resources(context(**OWN)) if isinstance(r, Users))
    assert plain.tried == frozenset()


class Own:
    """A stack in memory whose MLflow keeps the accounts: `there`, their passwords."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self.there: dict[str, Secret] = {}
        self.world = World(monkeypatch, A)
        self.host = self.world.hosts[A]
        self.broken = False
        monkeypatch.setitem(model.BLANK, UsersLook, UsersState(unseen="not yet"))  # type: ignore[arg-type]
        monkeypatch.setattr(Users, "look", lambda users, session: Seen({users.key: self._look(users)}))
        monkeypatch.setattr(Users, "perform", lambda users, session, change: self._perform(users))

    def _look(self, users: Users) -> UsersState:
        tried = {users.operator, *users.tried} & set(self.there)
        refused = frozenset(name for name in tried if self.there[name] != users.passwords[name])
        return UsersState(frozenset(self.there), refused)

    def _perform(self, users: Users) -> None:
        if self.broken:
            raise ProvisionError("MLflow does not answer")
        state = self._look(users)
        absent = set(users.passwords) - set(self.there)
        self.there |= {name: users.passwords[name] for name in absent | state.refused}
        self.host.applied.append(users.id)

    def run(self, *rotated: str) -> Exit:
        if rotated:
            return rotate(Options(hosts=(A,), default_inventory=False), Silent(), *rotated)  # type: ignore[arg-type]
        sets = ("store.engine=seaweedfs", "access.auth=mlflow", 'access.users=["anna"]')
        return apply(Options(hosts=(A,), sets=sets, default_inventory=False), Silent())  # type: ignore[arg-type]

    def noted(self) -> vault.Vault:
        return vault.parse(self.host.content(vault.HOST_FILE), "there")

    def here(self) -> vault.Vault:
        kept, _ = vault.read_controller(A)
        assert kept is not None
        return kept


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> Own:
    made = Own(monkeypatch)
    assert made.run() == Exit.OK
    made.host.applied = []
    return made


def test_an_account_s_password_is_noted_on_the_host_once_mlflow_has_it_and_a_run_finishes_what_a_kill_left(
    kept: Own,
) -> None:
    before = kept.there["anna"]
    # What a killed `user passwd` leaves: the new password on the operator's machine only, or in MLflow besides.
    vault.write_controller(vault.changed(kept.here(), "account.anna", Secret("another password")))
    kept.broken = True
    assert kept.run() == Exit.FAILED
    assert kept.noted()["account.anna"] == before, "the next run gives it again"
    kept.broken, kept.host.applied = False, []
    assert kept.run() == Exit.OK
    assert kept.there["anna"] == kept.noted()["account.anna"] == Secret("another password")
    assert kept.host.applied.index("accounts:mlflow") < kept.host.applied.index("file:secrets.json")


def test_all_secrets_are_rotated_with_the_logins_in_a_turn_of_their_own(kept: Own) -> None:
    before = kept.here()
    assert kept.run("all") == Exit.OK
    after = kept.here()
    assert after.entries == kept.noted().entries
    for name in ("login", "account.anna", "database.password", "mlflow.kek", "store.root.password"):
        assert after[name] != before[name]
    assert kept.there == {"mlflow": after["login"], "anna": after["account.anna"]}
    applied = kept.host.applied
    turns = [number for number, made in enumerate(applied) if made == "file:secrets.json"]
    given = applied.index("accounts:mlflow")
    assert max(n for n, made in enumerate(applied) if made == "unit:mlflow-server.service") < given
    assert turns[1] < given < turns[2] == len(applied) - 1
    kept.host.applied = []
    assert kept.run() == Exit.OK
    assert kept.host.applied == []


def test_an_account_whose_rotation_failed_on_the_host_gets_its_earlier_password_back_with_the_next_run(
    kept: Own,
) -> None:
    before = kept.there["anna"]
    kept.host.failing = {"file:secrets.json"}
    assert kept.run("account.anna") == Exit.FAILED
    assert kept.there["anna"] != before
    kept.host.failing = set()
    assert kept.run() == Exit.OK
    assert kept.there["anna"] == kept.noted()["account.anna"] == kept.here()["account.anna"] == before
