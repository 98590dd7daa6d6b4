"""`secrets rotate` over hosts in memory: store and database on one, MLflow and the URL on another, or more of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import model
import pytest
from model import ModelHost
from test_commands_converge import Silent, World

from provisioner import vault
from provisioner.commands.apply import apply
from provisioner.commands.options import Options
from provisioner.commands.rotate import rotate
from provisioner.errors import Exit, Locked, ProvisionError, Unreachable
from provisioner.resources.paths import ABSENT, PathProbe
from provisioner.resources.s3user import FormerLook, UserState
from provisioner.secrets import Secret
from provisioner.verify.quick import Quick

APP, DATA, MORE = "192.0.2.10", "192.0.2.11", "192.0.2.12"
STORE, SERVER = "unit:seaweedfs.service", "unit:mlflow-server.service"
ENVIRONMENT = "/etc/mlflow/mlflow.env"


class Marked(list[str]):
    """What is put into it goes into another list, marked."""

    def __init__(self, other: list[str]):
        super().__init__()
        self.other = other

    def append(self, name: str) -> None:
        self.other.append(f"second {name}")


class Two(World):
    """Two hosts and the inventory that makes a stack of them."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, folder: Path, *servers: str, engine: str = "seaweedfs", store: str = DATA
    ):
        super().__init__(monkeypatch, APP, DATA, *servers)
        for name in (APP, *servers):
            self.hosts[name].far = self.data
        roles = {"store": [store], "database": [DATA], "mlflow": [APP, *servers], "proxy": [APP]}
        self.file = folder / "inventory.toml"
        lines = ["[roles]", *(f"{role} = {json.dumps(names)}" for role, names in roles.items())]
        self.file.write_text("\n".join([*lines, "[store]", f'engine = "{engine}"', ""]))

    @property
    def app(self) -> ModelHost:
        return self.hosts[APP]

    @property
    def data(self) -> ModelHost:
        return self.hosts[DATA]

    def options(self, *hosts: str) -> Options:
        return Options(inventory=str(self.file), hosts=hosts)

    def again(self, *steps: str, hosts: tuple[str, ...] = ()) -> tuple[Exit, Silent]:
        reporter = Silent()
        return apply(self.options(*hosts), reporter, steps), reporter  # type: ignore[arg-type]

    def rotate(self, name: str, *hosts: str) -> tuple[Exit, Silent]:
        reporter = Silent()
        return rotate(self.options(*hosts), reporter, name), reporter  # type: ignore[arg-type]


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Two:
    made = Two(monkeypatch, tmp_path)
    code, ended = made.again()
    assert code is Exit.OK, [result.error for result in ended.results.values()]
    made.asked = []
    return made


@pytest.fixture
def three(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Two:
    """With a second MLflow server."""
    made = Two(monkeypatch, tmp_path, MORE)
    code, ended = made.again()
    assert code is Exit.OK, [result.error for result in ended.results.values()]
    return made


def here() -> dict[str, Any]:
    """This machine's copy: secret -> value and generation."""
    kept, _ = vault.read_controller(APP)
    assert kept is not None
    return {name: (entry.value.reveal(), entry.generation) for name, entry in kept.entries.items()}


def there(host: ModelHost) -> dict[str, Any]:
    document = json.loads(host.content(vault.HOST_FILE))["secrets"]
    return {name: (entry["value"], entry["generation"]) for name, entry in document.items()}


def errors(ended: Silent) -> dict[str, Any]:
    return {name: result.error for name, result in ended.results.items()}


def settled(two: Two) -> None:
    """All hosts have what this machine has, and a run finds nothing to do."""
    known = here()
    for host in two.hosts.values():
        assert there(host) == {name: known[name] for name in there(host)}
    code, ended = two.again()
    assert (code, [r.changes for r in ended.results.values() if r.changes]) == (Exit.OK, [])


@pytest.mark.parametrize(
    ("group", "on"),
    [
        ("database.password", {APP, DATA}),
        ("store.user", {APP, DATA}),
        ("store.root", {DATA}),
        ("mlflow.flask-key", {APP}),
        ("login", {APP}),
    ],
)
def test_a_secret_becomes_new_on_the_hosts_that_have_it_and_is_proven_once(two: Two, group: str, on: set[str]) -> None:
    before = here()
    code, ended = two.rotate(group)
    assert code is Exit.OK, errors(ended)
    new = {name for name, entry in here().items() if entry != before.get(name)} - {"store.user.before"}
    assert new
    assert all(name.startswith(group) for name in new)
    assert {name for name, result in ended.results.items() if result.changes} == on
    assert two.asked == ["full"]
    settled(two)


def test_what_gives_is_changed_before_what_takes_and_each_host_notes_it_after_its_own(two: Two) -> None:
    two.app.applied = two.data.applied = []
    code, ended = two.rotate("store.user")
    assert code is Exit.OK, errors(ended)
    note = "file:secrets.json"
    assert two.data.applied == ["file:s3.json", STORE, note, "file:mlflow.env", SERVER, note]


def test_all_makes_everything_new_but_the_root_which_is_told(two: Two) -> None:
    before = here()
    code, ended = two.rotate("all")
    assert code is Exit.OK, errors(ended)
    same = {name for name, entry in here().items() if entry == before.get(name)}
    assert same == {"store.root.user", "tls.root"}
    told = "\n".join(ended.results[APP].told)
    assert "tls.root stays" in told
    assert "The account mlflow has a new password" in told
    assert ended.results[DATA].told == []
    settled(two)


def test_the_root_alone_is_refused_and_nothing_changes(two: Two) -> None:
    before = here()
    code, ended = two.rotate("tls.root")
    assert code is Exit.REFUSED
    assert "not rotated on a stack of several hosts yet" in errors(ended)[APP].what
    assert here() == before


def test_one_host_of_several_is_refused(two: Two) -> None:
    before = here()
    code, ended = two.rotate("login", APP)
    assert code is Exit.REFUSED
    assert DATA in errors(ended)[APP].what
    assert here() == before


def test_a_host_that_is_not_as_wanted_keeps_both_from_being_changed(two: Two) -> None:
    two.data.put(PathProbe("/etc/seaweedfs/s3.json"), ABSENT)
    before = here()
    code, ended = two.rotate("database.password")
    assert code is Exit.REFUSED
    assert "come first" in errors(ended)[DATA].what
    assert "refuses" in errors(ended)[APP].why
    assert (here(), two.asked) == (before, [])


@pytest.mark.parametrize("name", [APP, DATA])
def test_after_a_failure_on_one_host_both_have_the_earlier_value(two: Two, name: str) -> None:
    before = here()
    two.hosts[name].failing_once = {{APP: SERVER, DATA: STORE}[name]}
    code, ended = two.rotate("store.user")
    assert code is Exit.FAILED
    assert all("the earlier value is back" in error.what for error in errors(ended).values()), errors(ended)
    for secret in ("store.user.key", "store.user.secret"):
        assert here()[secret][0] == before[secret][0]
        assert before[secret][0].encode() in two.app.content(ENVIRONMENT)
    settled(two)


def test_after_a_red_verification_both_have_the_earlier_value(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    before, answers, verify = here(), iter([False, True]), two._verify

    def once_red(target: Any, **options: Any) -> Any:
        two.green = next(answers)
        return verify(target, **options)

    monkeypatch.setattr("provisioner.verify.run.verify", once_red)
    code, ended = two.rotate("store.user")
    assert code is Exit.VERIFY, errors(ended)
    assert here()["store.user.key"][0] == before["store.user.key"][0]
    settled(two)


def test_what_was_taken_back_is_proven_once_mlflow_answers_again(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    two.app.failing_once = {SERVER}
    starting = iter([Quick(False, 0.0, "502", unanswered=True)] * 2)
    two.quick = lambda: next(starting, Quick(True, 1.0, ""))
    monkeypatch.setattr("provisioner.commands.converge.time.sleep", lambda seconds: None)
    two.rotate("database.password")
    assert two.asked[-4:] == ["quick", "quick", "quick", "full"], two.asked


def rotated_but_for(two: Two, host: ModelHost, group: str) -> tuple[Exit, Silent]:
    """`host` is lost when its MLflow was to get the new value."""
    run = host.run

    def lost(script: bytes, **options: Any) -> Any:
        changes = [p.id for mark, batch in host._batches.items() if mark.encode() in script for p in batch]
        if "file:mlflow.env" in changes:
            host._batches.clear()
            raise Unreachable("the connection broke")
        return run(script, **options)

    host.run = lost  # type: ignore[method-assign]
    found = two.rotate(group)
    host.run = run  # type: ignore[method-assign]
    return found


def test_a_host_that_is_lost_in_the_middle_gets_the_new_value_with_the_next_run(two: Two) -> None:
    before = here()
    code, ended = rotated_but_for(two, two.app, "store.user")
    assert code is Exit.UNREACHABLE
    assert "not finished on every host" in errors(ended)[DATA].what
    new = here()["store.user.key"]
    assert new == there(two.data)["store.user.key"] != before["store.user.key"]
    assert there(two.app)["store.user.key"] == before["store.user.key"]
    code, ended = two.again()
    assert code is Exit.OK, errors(ended)
    assert here()["store.user.key"] == new
    settled(two)


@pytest.mark.parametrize("error", [Locked("somebody else is working on it"), Unreachable("the connection broke")])
def test_one_that_could_not_begin_leaves_this_machine_as_it_was(two: Two, error: ProvisionError) -> None:
    before = here()

    def fail() -> None:
        raise error

    two.app.on_hold = fail
    code, ended = two.rotate("store.user")
    two.app.on_hold = lambda: None
    assert code is error.exit, errors(ended)
    assert here() == before
    assert "nothing was changed here" in errors(ended)[DATA].what
    settled(two)


def test_what_another_command_noted_here_meanwhile_stays_where_nothing_began(two: Two) -> None:
    before, _ = vault.read_controller(APP)
    assert before is not None
    noted = vault.changed(before, "account.anna", Secret("a" * 24))

    def meanwhile() -> None:
        vault.write_controller(noted)
        raise Locked("somebody else is working on it")

    two.data.on_hold = meanwhile
    assert two.rotate("store.user")[0] is Exit.LOCKED
    two.data.on_hold = lambda: None
    assert vault.read_controller(APP)[0] == noted


def test_the_server_after_one_that_was_lost_tells_the_command_that_goes_on(three: Two) -> None:
    code, ended = rotated_but_for(three, three.app, "store.user")
    assert code is Exit.UNREACHABLE
    error = errors(ended)[MORE]
    assert "not finished on every host" in error.what
    assert error.next == f"provision --inventory {three.file}"


def test_a_change_that_was_taken_back_is_counted_both_ways(two: Two) -> None:
    two.app.failing_once = {SERVER}
    two.data.applied = []
    code, ended = two.rotate("store.user")
    assert code is Exit.FAILED
    assert two.data.applied.count("file:s3.json") == 2
    assert [planned.id for planned in ended.results[DATA].changes] == two.data.applied


def test_a_key_that_was_taken_back_is_gone_from_the_store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    two = Two(monkeypatch, tmp_path, engine="minio")
    code, ended = two.again()
    assert code is Exit.OK, errors(ended)
    before = here()
    monkeypatch.setitem(model.BLANK, FormerLook, UserState(True))  # type: ignore[index]
    two.app.failing_once = {SERVER}
    two.data.applied = []
    code, ended = two.rotate("store.user")
    assert code is Exit.FAILED, errors(ended)
    assert here()["store.user.key"][0] == before["store.user.key"][0] != here()["store.user.before"][0]
    assert two.data.applied[-1] == "store-user-before:mlflow"
    settled(two)


def test_all_of_a_stack_whose_store_is_somebody_elses(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of it has an administrator here, whose turn would be the first."""
    made = Two(monkeypatch, two.file.parent)
    monkeypatch.setenv("KEY", "k" * 20)
    monkeypatch.setenv("SECRET", "s" * 40)
    lines = [line for line in made.file.read_text().splitlines() if not line.startswith(("store =", "engine ="))]
    lines += ['engine = "external"', 'endpoint = "https://s3.example.com"', "[secrets]"]
    lines += ['"store.user.key" = { env = "KEY" }', '"store.user.secret" = { env = "SECRET" }', ""]
    made.file.write_text("\n".join(lines))
    vault.controller_file(APP).unlink()
    code, ended = made.again()
    assert code is Exit.OK, errors(ended)
    before = here()
    code, ended = made.rotate("all")
    assert code is Exit.OK, errors(ended)
    same = {name for name, entry in here().items() if entry == before.get(name)}
    assert same == {"store.user.key", "store.user.secret", "tls.root"}


def test_of_several_servers_one_takes_the_new_value_after_the_other(three: Two) -> None:
    shared: list[str] = []
    more = three.hosts[MORE]
    three.app.applied, more.applied = shared, Marked(shared)
    code, ended = three.rotate("mlflow.flask-key")
    assert code is Exit.OK, errors(ended)
    note = "file:secrets.json"
    # What nginx reads of accounts is salted with this key.
    first = ["file:mlflow.env", SERVER, "file:nginx-accounts", note]
    assert shared == [*first, "second file:mlflow.env", f"second {SERVER}", f"second {note}"]
    settled(three)


def test_where_the_first_server_fails_the_second_is_left_as_it_was(three: Two) -> None:
    before, more = here(), three.hosts[MORE]
    three.app.failing_once = {SERVER}
    more.applied = []
    code, ended = three.rotate("store.user")
    assert code is Exit.FAILED
    assert all("the earlier value is back" in error.what for error in errors(ended).values()), errors(ended)
    assert more.applied == ["file:secrets.json"], "only how often the value was made"
    assert here()["store.user.key"][0] == before["store.user.key"][0]
    settled(three)
