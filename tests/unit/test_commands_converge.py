"""What a run does with a host in memory: when it looks again, what it writes, how it is proven, how it ends."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import model
import pytest
from model import FACTS, ModelHost

from provisioner import audit, state
from provisioner.commands import converge, preflight
from provisioner.commands import host as commands_host
from provisioner.commands.apply import apply
from provisioner.commands.options import Options
from provisioner.commands.plan import plan
from provisioner.commands.status import status
from provisioner.engine.check import Check
from provisioner.errors import Exit, Refused
from provisioner.report.model import HostResult, document
from provisioner.resources.facts import FactsProbe, Listener
from provisioner.resources.postgresql.server import ServerState
from provisioner.resources.unit import UnitProbe, UnitState
from provisioner.verify import quick as quick_module
from provisioner.verify import run as verify_module
from provisioner.verify.quick import Quick
from provisioner.verify.run import Outcome

A, B, C = "192.0.2.10", "192.0.2.11", "192.0.2.12"


class Silent:
    """A reporter that only keeps the results."""

    def __init__(self) -> None:
        self.results: dict[str, HostResult] = {}
        self.document: dict[str, Any] = {}
        self.told: list[str] = []

    def waiting(self, result: HostResult, text: str) -> None:
        self.told.append(text)

    def finished(self, command: str, results: Any, seconds: float) -> None:
        self.results = {result.host: result for result in results}
        for result in results:  # a fault of the tool is never what a test is about
            assert result.error is None or "fault of this tool" not in result.error.what, result.error.why
        self.document = document(command, results, seconds)

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_: None


class World:
    """Hosts in memory, and what their doors answer: `quick` and `verified` by URL, good by default.

    That a real server gives these answers is confirmed by tests/host/test_first_run.py and
    tests/host/test_verify_faults.py.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *names: str):
        self.hosts = {name: ModelHost(name) for name in names}
        model.install(monkeypatch, *self.hosts.values())
        self.quick: Callable[[], Quick] = lambda: Quick(True, 1.0, "")
        self.green = True
        self.asked: list[str] = []
        monkeypatch.setattr(quick_module, "quick", self._quick)
        monkeypatch.setattr(verify_module, "verify", self._verify)
        monkeypatch.setattr(converge, "ways", self._ways)
        monkeypatch.setattr("provisioner.commands.ahead.warm", lambda: None)

    @contextmanager
    def _ways(self, session: ModelHost, view: Any, repair: str) -> Any:
        yield SimpleNamespace(
            target=SimpleNamespace(connect=None, url=view.context.door.url), database=None, store=None
        )

    def _quick(self, target: Any, **_: Any) -> Quick:
        self.asked.append("quick")
        return self.quick()

    def _verify(self, target: Any, **_: Any) -> Outcome:
        self.asked.append("full")
        check = Check("login", "login", "ok" if self.green else "fail")
        return Outcome((check,), "direct", 0.1, "http://x/run" if self.green else None, what="" if self.green else "no")

    def run(self, *steps: str, **options: Any) -> tuple[Exit, Silent]:
        reporter = Silent()
        made = Options(hosts=tuple(self.hosts), sets=("store.engine=seaweedfs",), default_inventory=False, **options)
        return apply(made, reporter, steps), reporter  # type: ignore[arg-type]

    def ask(self, command: Callable[..., Exit], **options: Any) -> tuple[Exit, Silent]:
        reporter = Silent()
        return command(Options(hosts=tuple(self.hosts), default_inventory=False), reporter, **options), reporter


@pytest.fixture
def one(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch, A)


def lines(stack: str) -> list[dict[str, Any]]:
    path = audit.path(stack)
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_a_first_run_does_what_was_planned_under_the_lock_and_verifies_in_full(one: World) -> None:
    planned = one.ask(plan)[1].results[A].changes
    code, ended = one.run()
    result, host = ended.results[A], one.hosts[A]
    assert code == Exit.OK
    assert sorted(c.id for c in result.changes) == sorted(c.id for c in result.planned)
    assert len(host.held) == 1
    assert (one.asked, result.verification) == (["full"], "full")
    assert [line["resource"] for line in lines(A)] == [c.id for c in result.changes]
    assert len(planned) > 35  # of the other engine, as `plan` was not told which


def test_a_run_with_nothing_to_change_looks_once_and_writes_nothing(one: World) -> None:
    one.run()
    host = one.hosts[A]
    before, log, kept = dict(host.files), len(lines(A)), len(host.applied)
    host.channels, one.asked = 0, []
    code, ended = one.run()
    assert (code, ended.results[A].changes, ended.results[A].verification) == (Exit.OK, [], "read-only")
    assert (host.channels, one.asked) == (1, ["quick"])
    assert (dict(host.files), len(lines(A)), len(host.applied), len(host.held)) == (before, log, kept, 1)


def test_a_plan_takes_no_lock_and_changes_nothing_here_or_there(one: World) -> None:
    code, ended = one.ask(plan, exit_code=True)
    host = one.hosts[A]
    assert code == Exit.PENDING
    assert ended.results[A].changes
    assert (host.held, host.applied, host.files) == ([], [], {})
    assert {path.name for path in state.stack_dir(A).iterdir()} <= {"facts.json"}


@pytest.mark.parametrize(("green", "wanted"), [(True, Exit.OK), (False, Exit.VERIFY)])
def test_when_the_quick_check_fails_only_the_full_verification_decides(one: World, green: bool, wanted: Exit) -> None:
    one.run()
    one.asked, one.green = [], green
    one.quick = lambda: Quick(False, 1.0, "no verified test run yet")
    code, ended = one.run()
    assert (code, one.asked) == (wanted, ["quick", "full"])
    assert ended.results[A].verified is green


def test_services_that_have_just_been_started_are_waited_for(one: World, monkeypatch: pytest.MonkeyPatch) -> None:
    one.run()
    unit = UnitProbe("mlflow-server.service")
    one.hosts[A].put(unit, UnitState(**{**vars(one.hosts[A].value(unit)), "since": 3.0}))
    answers = iter([Quick(False, 0.0, "503", True), Quick(False, 0.0, "503", True), Quick(True, 1.0, "")])
    one.quick = lambda: next(answers)
    slept: list[float] = []
    monkeypatch.setattr(converge.time, "sleep", slept.append)
    one.asked = []
    code, ended = one.run()
    assert (code, one.asked, len(slept)) == (Exit.OK, ["quick"] * 3, 2)
    assert "waiting" in ended.told[0]


def test_a_server_that_runs_for_long_and_does_not_answer_is_not_waited_for(one: World) -> None:
    one.run()
    one.asked, one.quick = [], lambda: Quick(False, 0.0, "503", True)
    for unit in [look for look in one.hosts[A].values if isinstance(look, UnitProbe)]:
        one.hosts[A].put(unit, UnitState(**{**vars(one.hosts[A].value(unit)), "since": 4000.0}))
    one.run()
    assert one.asked == ["quick", "full"]


def test_what_preflight_finds_is_refused_all_at_once_before_anything_is_changed(monkeypatch) -> None:
    world = World(monkeypatch, A)
    facts = replace(FACTS, release="10", systemd=240, listeners=(Listener("0.0.0.0", 5000, "grafana, pid 7"),))
    world.hosts[A].values[FactsProbe()] = facts
    code, ended = world.run()
    error, host = ended.results[A].error, world.hosts[A]
    assert code == Exit.REFUSED
    assert error is not None
    assert all(word in error.why for word in ("not supported", "systemd 240", "grafana, pid 7"))
    assert "nothing was changed" in error.what
    assert "--host 192.0.2.10 --set store.engine=seaweedfs" in error.next
    assert (host.applied, host.held, world.asked) == ([], [], [])
    assert not (state.stack_dir(A) / "secrets.json").exists()
    assert ended.document["hosts"][0]["changes"] == []


def test_a_clock_that_is_away_and_a_public_address_are_refused(one: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from provisioner.commands.view import look

    view = look(one.hosts[A], model.request({"store.engine": "seaweedfs"}))  # type: ignore[arg-type]
    door = replace(view.context.door, name="8.8.8.8", names=("8.8.8.8",))
    facts = replace(FACTS, now=1e9, apt_lock="unattended-upgr, pid 812")
    view = replace(view, context=replace(view.context, facts=facts, door=door))
    found = {check.id: check.status for check in preflight.checks(one.hosts[A], view)}  # type: ignore[arg-type]
    assert (found["clock"], found["address"], found["apt"], found["system"]) == ("fail", "fail", "warn", "ok")
    with pytest.raises(Refused):
        preflight.refuse([Check("clock", "clock", "fail", detail="d")], "--host h")
    preflight.refuse([Check("apt", "apt", "warn")], "--host h")


def test_a_host_that_another_run_has_changed_meanwhile_is_looked_at_again(one: World) -> None:
    """Its lock was taken in between: what that run did is not done again."""
    host = one.hosts[A]
    done = host.applied

    def another() -> None:
        from provisioner.commands.view import look
        from provisioner.vault import serialise, write_controller

        view = look(host, model.request({"store.engine": "seaweedfs"}))  # type: ignore[arg-type]
        write_controller(view.secrets.vault)
        host.make(view.plan.changes)
        host.owner = "0123456789abcdef"
        assert serialise(view.secrets.vault).encode() == host.content("/etc/provision/secrets.json")

    host.on_hold = another
    code, ended = one.run()
    assert code == Exit.OK
    assert ended.results[A].changes == []
    assert len(done) == len(set(done))


def test_a_failed_change_ends_the_run_with_what_was_done_and_keeps_the_secrets_it_made(one: World) -> None:
    host = one.hosts[A]
    host.failing = {"user:mlflow"}
    code, ended = one.run()
    result = ended.results[A]
    assert code == Exit.FAILED
    assert result.error is not None
    assert [c.seconds for c in result.changes if c.id == "user:mlflow"] == [None], "it was not done"
    assert "unit:mlflow-server.service" not in host.applied
    results = {line["resource"]: line["result"] for line in lines(A)}
    assert results["user:mlflow"] == "failed"
    assert set(results.values()) == {"ok", "failed"}
    assert (state.stack_dir(A) / "secrets.json").exists()
    assert not (state.stack_dir(A) / "stack.toml").exists()
    assert one.asked == []
    host.failing = set()
    code, ended = one.run()
    assert (code, ended.results[A].fresh, ended.results[A].unseen) == (Exit.OK, False, True), (
        "its URL is yet to be told"
    )
    assert len(host.applied) == len(set(host.applied))
    assert not one.run()[1].results[A].unseen


def test_one_step_that_lacks_its_needs_is_refused_with_the_commands_that_meet_them(one: World) -> None:
    code, ended = one.run("mlflow")
    error = ended.results[A].error
    assert code == Exit.REFUSED
    assert error is not None
    assert "provision seaweedfs --host 192.0.2.10" in error.next
    assert one.hosts[A].applied == []


def test_one_step_alone_is_not_verified(one: World) -> None:
    code, ended = one.run("seaweedfs")
    assert code == Exit.OK
    assert {c.step for c in ended.results[A].changes} == {"settings", "seaweedfs"}
    assert one.asked == []


def test_several_hosts_each_end_with_their_own_code_and_the_first_of_the_order_is_the_commands(monkeypatch) -> None:
    world = World(monkeypatch, A, B, C)
    world.hosts[B].failing = {"user:mlflow"}
    world.hosts[C].values[FactsProbe()] = replace(FACTS, release="10")
    code, ended = world.run()
    assert code == Exit.REFUSED
    assert {name: result.exit for name, result in ended.results.items()} == {
        A: Exit.OK,
        B: Exit.FAILED,
        C: Exit.REFUSED,
    }
    assert [host["host"] for host in ended.document["hosts"]] == [A, B, C]
    assert world.hosts[A].applied
    assert not world.hosts[C].applied


def test_a_host_that_cannot_be_reached_leaves_the_others_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from provisioner.errors import Unreachable

    world = World(monkeypatch, A, B)
    connect = commands_host.open_session

    def open_session(request: Any, *rest: Any) -> Any:
        if request.host.name == B:
            raise Unreachable("no route")
        return connect(request, *rest)

    monkeypatch.setattr(commands_host, "open_session", open_session)
    code, ended = world.run()
    assert code == Exit.UNREACHABLE
    assert ended.results[A].exit == Exit.OK


def test_status_is_0_while_all_is_well_and_1_with_drift_or_without_an_answer(one: World) -> None:
    assert one.ask(status)[0] == Exit.REFUSED  # no stack here
    one.run()
    code, ended = one.ask(status)
    shown = ended.document["hosts"][0]
    assert (code, shown["changes"], shown["answer"]["ok"]) == (Exit.OK, [], True)
    assert {"seaweedfs.service", "mlflow-server.service", "nginx.service"} <= {s["unit"] for s in shown["services"]}
    assert [row["what"] for row in shown["data"]] == ["store", "database"]
    one.quick = lambda: Quick(False, 0.0, "502")
    assert one.ask(status)[0] == Exit.FAILED
    one.quick = lambda: Quick(True, 1.0, "")
    one.hosts[A].remove("/etc/mlflow/mlflow.env")
    code, ended = one.ask(status)
    assert code == Exit.FAILED
    assert "file:mlflow.env" in [c["resource"] for c in ended.document["hosts"][0]["changes"]]
    assert one.hosts[A].held == [one.hosts[A].owner]


def test_status_describes_the_recorded_stack_and_not_the_options_of_the_call(one: World) -> None:
    one.run()
    reporter = Silent()
    options = Options(hosts=(A,), sets=("mlflow.workers=7",), default_inventory=False)
    assert status(options, reporter) == Exit.OK  # type: ignore[arg-type]
    assert reporter.results[A].changes == []


def test_an_address_that_the_server_does_not_carry_is_told_with_everything_else(one: World) -> None:
    host = one.hosts[A]
    taken = Listener("0.0.0.0", 5000, "docker-proxy, pid 7")
    host.values[FactsProbe()] = replace(FACTS, addresses=("127.0.0.1", "10.9.9.9"), listeners=(taken,))
    for command in (one.run, lambda: one.ask(plan)):
        code, ended = command()
        shown = ended.document["hosts"][0]
        assert code == Exit.REFUSED
        failed = {check["id"]: check for check in shown["checks"] if check["status"] == "fail"}
        assert failed.keys() == {"address", "port"}
        assert "access.names" in failed["address"]["fix"]
        assert shown["url"] is None
    assert "file:mlflow.env" in [change["resource"] for change in shown["changes"]], "a plan shows what it can"
    assert host.applied == []


def test_a_stack_that_is_reached_by_another_address_shows_its_status_and_no_drift(one: World) -> None:
    one.run()
    one.hosts[A].values[FactsProbe()] = replace(FACTS, addresses=("127.0.0.1", "10.9.9.9"))
    code, ended = one.ask(status)
    shown = ended.document["hosts"][0]
    assert code == Exit.FAILED
    assert "address that clients will use" in shown["error"]["what"]
    assert shown["changes"] == []
    assert shown["services"]
    assert "answer" not in shown
    assert one.run()[0] == Exit.REFUSED


def test_another_versions_tables_are_refused_and_everything_else_is_still_told(one: World) -> None:
    one.run()
    host = one.hosts[A]
    look, server = next((look, value) for look, value in host.values.items() if isinstance(value, ServerState))
    assert server.database is not None
    host.values[look] = replace(server, database=replace(server.database, revision="deadbeef"))
    host.write("/etc/mlflow/mlflow.env", b"MLFLOW_WORKERS=4\n", 0o600)
    before = list(host.applied)
    for command, wanted in ((plan, Exit.REFUSED), (status, Exit.FAILED)):
        code, ended = one.ask(command)
        shown = ended.document["hosts"][0]
        assert code == wanted
        assert "deadbeef" in shown["error"]["what"]
        assert "file:mlflow.env" in [change["resource"] for change in shown["changes"]]
    code, ended = one.run()
    assert code == Exit.REFUSED
    assert "deadbeef" in ended.document["hosts"][0]["error"]["what"]
    assert host.applied == before


def test_a_repair_says_how_to_keep_what_was_edited_and_a_chosen_change_does_not(one: World) -> None:
    one.run()
    text = one.hosts[A].content("/etc/mlflow/mlflow.env").replace(b"MLFLOW_WORKERS=2", b"MLFLOW_WORKERS=4")
    one.hosts[A].write("/etc/mlflow/mlflow.env", text, 0o600)
    assert one.run()[1].results[A].keep == ["[mlflow] workers = 4"]
    reporter = Silent()
    settings = ("store.engine=seaweedfs", "mlflow.workers=3")
    apply(Options(hosts=(A,), sets=settings, default_inventory=False), reporter)  # type: ignore[arg-type]
    assert "file:mlflow.env" in [planned.id for planned in reporter.results[A].changes]
    assert reporter.results[A].keep == []


def test_the_accounts_go_with_the_login_and_come_back_with_it(one: World) -> None:
    accounts = "/etc/nginx/provision-mlflow.htpasswd"
    one.run()
    assert accounts in one.hosts[A].files
    one.hosts[A].applied = []
    one.run(no_auth=True)
    assert accounts not in one.hosts[A].files
    applied = one.hosts[A].applied  # the record's lane beside it may end later
    assert applied.index("unit:nginx.service") < applied.index("file:nginx-accounts"), "it is read until the reload"
    assert one.run(no_auth=True)[1].results[A].changes == []
