"""A stack over two hosts in memory: MLflow with the URL and the store on one, the database on the other."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from model import ModelHost
from test_commands_converge import Silent, World

from provisioner import vault
from provisioner.commands import host as commands_host
from provisioner.commands.apply import apply
from provisioner.commands.options import Options
from provisioner.commands.plan import plan
from provisioner.errors import Exit, Unreachable
from provisioner.settings import RECORD

APP, DATABASE, OTHER = "192.0.2.10", "192.0.2.11", "192.0.2.12"


class Two(World):
    """Two hosts and the inventory that makes a stack of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path):
        super().__init__(monkeypatch, APP, DATABASE, OTHER)
        self.app.far = self.database
        self.folder = folder
        opened = commands_host.open_session

        def open_session(request: Any, *rest: Any) -> Any:
            if self.hosts[request.host.name].off:
                raise Unreachable(f"{request.host.name} does not answer")
            return opened(request, *rest)

        monkeypatch.setattr(commands_host, "open_session", open_session)

    @property
    def app(self) -> ModelHost:
        return self.hosts[APP]

    @property
    def database(self) -> ModelHost:
        return self.hosts[DATABASE]

    def call(
        self, command: Callable[..., Exit] = apply, *sets: str, database: str = DATABASE, hosts: tuple[str, ...] = ()
    ) -> tuple[Exit, Silent]:
        file = self.folder / "inventory.toml"
        roles = {"store": APP, "database": database, "mlflow": APP, "proxy": APP}
        lines = ["[roles]", *(f'{role} = ["{name}"]' for role, name in roles.items())]
        file.write_text("\n".join([*lines, "[store]", 'engine = "seaweedfs"', ""]))
        reporter = Silent()
        return command(Options(hosts=hosts, inventory=str(file), sets=sets), reporter), reporter


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Two:
    return Two(monkeypatch, tmp_path)


def ids(told: Silent) -> dict[str, list[str]]:
    return {name: [planned.id for planned in result.changes] for name, result in told.results.items()}


def names(host: ModelHost) -> set[str]:
    return set(json.loads(host.content(vault.HOST_FILE))["secrets"])


def test_a_first_run_makes_both_and_a_second_changes_nothing(two: Two) -> None:
    planned, told = two.call(plan)
    assert planned is Exit.OK
    wanted = ids(told)
    assert two.app.applied == two.database.applied == []

    code, told = two.call()
    assert code is Exit.OK, [result.error for result in told.results.values()]
    assert set(ids(told)[DATABASE]) == set(wanted[DATABASE])
    # Which database it is nobody knows before there is one.
    assert set(ids(told)[APP]) - set(wanted[APP]) == {"file:database.identity"}
    assert set(wanted[APP]) < set(ids(told)[APP])
    assert "unit:mlflow-server.service" in two.app.applied
    assert not [each for each in two.database.applied if "mlflow-server" in each or "nginx" in each]
    assert names(two.database) == {"database.password"}
    assert {"database.password", "login", "store.user.secret"} <= names(two.app)
    assert two.asked == ["full"], "proven once, not by each host"

    before = list(two.app.applied), list(two.database.applied)
    channels = two.app.channels, two.database.channels
    code, told = two.call()
    assert (code, ids(told)) == (Exit.OK, {APP: [], DATABASE: []})
    assert (list(two.app.applied), list(two.database.applied)) == before
    assert (two.app.channels - channels[0], two.database.channels - channels[1]) == (1, 1)
    assert two.asked == ["full", "quick"]


def test_tables_are_made_once_the_database_s_host_has_one(two: Two) -> None:
    order: list[str] = []
    for host in two.hosts.values():
        made = host.make

        def make(changes: Any, made: Any = made) -> None:
            changes = list(changes)
            made(changes)
            order.extend(planned.id for planned in changes)

        host.make = make  # type: ignore[method-assign]
    assert two.call()[0] is Exit.OK
    schema = next(n for n, each in enumerate(order) if each.startswith("schema"))
    assert order.index("database:mlflow") < schema < order.index("unit:mlflow-server.service")


def test_one_that_is_down_fails_alone_and_what_needs_it_says_so(two: Two) -> None:
    two.database.off = True
    code, told = two.call()
    assert code is Exit.UNREACHABLE
    error = told.results[APP].error
    assert error is not None
    assert f"database on {DATABASE}" in error.what
    assert "unit:seaweedfs.service" in two.app.applied, "what does not need it is made"
    assert "unit:mlflow-server.service" not in two.app.applied
    two.database.off = False
    assert two.call()[0] is Exit.OK
    assert two.asked == ["full"]


def test_a_change_reaches_the_host_that_is_there(two: Two) -> None:
    two.call()
    two.app.off = True
    two.asked.clear()
    code, told = two.call(apply, 'database.allow=["192.0.2.77/32"]')
    assert code is Exit.UNREACHABLE
    assert told.results[DATABASE].error is None
    assert "unit:postgresql@15-main.service" in ids(told)[DATABASE]
    assert two.asked == [], "without the URL's host nothing is proven, and nobody waits for it"
    two.app.off = False
    code, told = two.call()
    assert (code, ids(told)[DATABASE]) == (Exit.OK, []), "the other host's record is what stays"


def test_one_that_refuses_keeps_every_host_as_it_was(two: Two) -> None:
    two.call()
    two.database.write("/etc/provision/stack.toml", b"this is no record\n")
    before = [host.files for host in two.hosts.values()]
    code, told = two.call(apply, "mlflow.workers=3")
    assert code is Exit.REFUSED
    assert ids(told) == {APP: [], DATABASE: []}
    assert [host.files for host in two.hosts.values()] == before


@pytest.mark.parametrize("name", [APP, OTHER])
def test_a_database_that_moves_to_another_host_is_refused_by_all(two: Two, name: str) -> None:
    two.call()
    before = [host.files for host in two.hosts.values()]
    code, told = two.call(apply, "mlflow.workers=3", database=name)
    assert code is Exit.REFUSED
    assert two.call(plan, database=name)[0] is Exit.REFUSED
    assert [host.files for host in two.hosts.values()] == before
    for result in told.results.values():
        assert result.error is not None
        assert ("roles.database cannot change" if name == OTHER else "one of 2 hosts") in result.error.what


def test_a_first_run_that_made_no_database_may_still_choose_another_name_for_it(two: Two) -> None:
    two.database.failing = {"role:mlflow", "database:mlflow"}
    assert two.call()[0] is Exit.FAILED
    two.database.failing = set()
    assert two.call(apply, "database.name=other")[0] is Exit.OK
    assert two.call(apply, "database.name=mlflow")[0] is Exit.REFUSED


@pytest.mark.parametrize("setting", ["database.name=other", "store.bucket=other"])
def test_one_host_alone_does_not_switch_what_is_on_another(two: Two, setting: str) -> None:
    two.call()
    before = [host.files for host in two.hosts.values()]
    for name in (APP, DATABASE):
        assert two.call(apply, setting, hosts=(name,))[0] is Exit.REFUSED
    two.database.off = True
    assert two.call(apply, setting)[0] is Exit.UNREACHABLE
    assert [host.files for host in two.hosts.values()] == before


def test_a_host_that_was_rebuilt_becomes_the_same_again(two: Two) -> None:
    two.call()
    secrets = two.database.content(vault.HOST_FILE)
    for path in two.database.files:
        two.database.remove(path)
    two.database.values = ModelHost(DATABASE).values
    code, told = two.call()
    assert code is Exit.OK, [result.error for result in told.results.values()]
    assert two.database.content(vault.HOST_FILE) == secrets


def test_a_setting_that_only_one_host_was_told_of_is_everybody_s_with_the_next_run(two: Two) -> None:
    two.call()
    code, told = two.call(apply, "mlflow.workers=3", hosts=(APP,))
    assert code is Exit.OK
    assert list(told.results) == [APP]
    code, told = two.call()
    assert code is Exit.OK
    assert ids(told)[APP] == []
    assert "file:stack.toml" in ids(told)[DATABASE]
    assert b"workers = 3" in two.database.content(RECORD)
    # And where the host that was told is away, this machine knows.
    two.call(apply, "mlflow.workers=4", hosts=(APP,))
    two.app.off = True
    two.call()
    assert b"workers = 4" in two.database.content(RECORD)


def test_hosts_that_were_changed_independently_want_a_word_of_their_operator(two: Two) -> None:
    two.call()
    two.app.write(RECORD, two.app.content(RECORD).replace(b"workers = 2", b"workers = 3"))
    before = [host.files for host in two.hosts.values()]
    code, told = two.call()
    assert code is Exit.REFUSED
    for result in told.results.values():
        assert result.error is not None
        assert result.error.why == f"mlflow.workers: 3 on {APP}, 2 on {DATABASE}"
    assert [host.files for host in two.hosts.values()] == before
    code, told = two.call(apply, "mlflow.workers=2")
    assert code is Exit.OK, told.results[APP].error
    assert two.call(plan)[1].results[APP].changes == []
    assert two.app.content(RECORD) == two.database.content(RECORD)


def test_hosts_that_disagree_about_secrets_are_refused_and_named(two: Two) -> None:
    two.call()
    document = json.loads(two.database.content(vault.HOST_FILE))
    document["secrets"]["database.password"]["value"] = "another-password-altogether"
    two.database.write(vault.HOST_FILE, json.dumps(document).encode(), 0o600)
    for path in vault.controller_file(APP).parent.glob("*"):
        if path.is_file():
            path.unlink()  # an operator who has never met the stack
    before = [host.files for host in two.hosts.values()]
    code, told = two.call()
    assert code is Exit.REFUSED
    error = told.results[APP].error
    assert error is not None
    assert "disagree about secrets" in error.what
    assert error.why == "database.password"
    assert "another-password" not in f"{error.what}{error.why}{error.next}"
    assert [host.files for host in two.hosts.values()] == before


def test_another_operator_gets_the_stack_s_secrets_from_its_hosts(two: Two) -> None:
    two.call()
    own = vault.controller_file(APP).read_bytes()
    vault.controller_file(APP).unlink()
    code, told = two.call()
    assert (code, ids(told)) == (Exit.OK, {APP: [], DATABASE: []})
    assert vault.controller_file(APP).read_bytes() == own
