"""What a result looks like: which stream, which words, and the document that programs read."""

from __future__ import annotations

import io
import json
import re
from dataclasses import dataclass
from typing import Any

import pytest

from provisioner.engine.check import Check
from provisioner.engine.events import Failed
from provisioner.engine.resource import Change, Planned
from provisioner.errors import Exit, Refused
from provisioner.report import choose
from provisioner.report.changes import change_lines
from provisioner.report.live import Live
from provisioner.report.model import HostResult, document
from provisioner.report.plain import Plain
from provisioner.secrets import Secret


@dataclass(frozen=True)
class Thing:
    id: str = "unit:minio.service"
    step: str = "minio"


def planned(seconds: float | None = None, **change: Any) -> Planned:
    resource: Any = Thing()
    return Planned(resource, Change("create", "absent", **change), seconds=seconds)


def shown(result: HostResult, command: str = "apply") -> tuple[str, str]:
    out, err = io.StringIO(), io.StringIO()
    Plain(out=out, progress=err).finished(command, [result], 1.0)
    return out.getvalue(), err.getvalue()


def test_a_result_goes_to_stdout_and_an_error_to_stderr() -> None:
    out, err = shown(HostResult("h", total=3))
    assert "nothing to change: 3 of 3 as wanted" in out
    assert err == ""
    out, err = shown(HostResult("h", error=Refused("no", why="because", next="provision x"), exit=Exit.REFUSED))
    assert out == ""
    assert [line[:4] for line in err.splitlines() if line] == ["what", "why ", "next"]


def test_a_loss_is_told_even_when_the_run_failed_after_it() -> None:
    lost = planned(0.1, loss="database mlflow is created empty")
    for error in (None, Refused("no")):
        assert "LOST: database mlflow" in "".join(shown(HostResult("h", changes=[lost], error=error)))


def test_a_plan_that_a_run_would_refuse_shows_its_changes_and_why_not() -> None:
    refused = Refused("another schema", why="made by another version", next="keep that version")
    failed = Check("port", "port 5000", "fail", detail="in use by docker-proxy", fix="stop it")
    result = HostResult("h", total=3, changes=[planned()], refused=[refused], checks=[failed], exit=Exit.REFUSED)
    out, err = shown(result, "plan")
    assert err == ""
    for words in ("1 of 3 differs", "unit:minio.service", "another schema", "FAIL  port 5000", "Nothing was changed"):
        assert words in out
    assert "Do it" not in out
    assert document("plan", [result], 0)["hosts"][0]["error"]["what"] == "another schema"
    for checks in ([], [Check("port", "port 5000", "ok")]):
        out, _ = shown(HostResult("h", total=3, checks=checks), "plan")
        assert "nothing to change: 3 of 3 as wanted" in out


def of(step: str, name: str, action: str, reason: str, **more: Any) -> Planned:
    thing: Any = Thing(name, step)
    return Planned(thing, Change(action, reason, title=name, **more), seconds=0.1)


def test_a_plan_says_once_what_will_be_done_to_a_service_and_at_which_price() -> None:
    cost = "restart mlflow-server.service, clients wait about 10 s"
    changes = [
        of("mlflow", "mlflow-server.service", "restart", "it runs with an earlier mlflow.env", interrupts=cost),
        of("proxy", "nginx.service", "reload", "not read", interrupts="reload, no connection is dropped"),
        of("proxy", "minio.service", "start", "absent"),
        of("proxy", "tables of database mlflow", "run", "no tables yet"),
    ]
    lines = [line.rstrip() for line in change_lines(changes, 80, diff=False, planned=True)]
    assert lines == [
        "mlflow     > restart mlflow-server.service, clients wait about 10 s",
        "               it runs with an earlier mlflow.env",
        "proxy      > reload nginx.service, no connection is dropped",
        "               not read",
        "           > start minio.service",
        "           > tables of database mlflow",
        "               no tables yet",
    ]
    done = [line.rstrip() for line in change_lines(changes[2:], 80, diff=False, planned=False)]
    assert done[0].startswith("proxy      > minio.service started, absent")
    assert done[1].startswith("           > tables of database mlflow: no tables yet")


def test_a_repair_tells_each_step_once_and_how_to_keep_what_was_edited() -> None:
    edited = of("mlflow", "/etc/mlflow/mlflow.env", "change", "edited", keep="[mlflow] workers = 4")
    foreign, restarted = of("proxy", "/etc/site", "change", "edited"), of("mlflow", "x.service", "restart", "earlier")
    plan = [edited, restarted, foreign]
    result = HostResult("h", changes=[edited, foreign, restarted], planned=plan, keep=["[mlflow] workers = 4"])
    out, _ = shown(result)
    assert out.count("mlflow     ") == 1
    assert "Repaired in" in out
    assert "To keep such a change, say it in the inventory:\n  [mlflow] workers = 4\n" in out
    result.changes.append(of("settings", "file:stack.toml", "change", "workers = 2, wanted workers = 4"))
    assert "Done in" in shown(result)[0]


def test_drift_names_whole_things_and_counts_the_rest() -> None:
    changes = [of("s", f"/etc/some/where/file-{n}.conf", "change", "edited") for n in range(5)]
    out, _ = shown(HostResult("h", total=9, changes=changes, exit=Exit.FAILED), "status")
    (line,) = (line for line in out.splitlines() if line.startswith("drift"))
    assert line.endswith("/etc/some/where/file-0.conf and 4 more")
    assert len(line) <= 80


def service(unit: str, **more: Any) -> dict[str, Any]:
    usual = {"active": "active", "enabled": "enabled", "seconds": 86400 * 19, "restarts": 0, "memory": None}
    return {"unit": unit, "version": None, "memory_max": None, **usual, **more}


def test_status_has_one_table_of_services_and_says_what_is_held() -> None:
    services = [
        service("postgresql@16-main.service", version="16.10", enabled="enabled-runtime", memory=188_000_000),
        service("postgresql.service"),
        service("mlflow-server.service", version="3.17.2", memory=641_000_000, memory_max=3_000_000_000),
        service("nginx.service", active="failed", enabled="disabled"),
    ]
    data = [
        {"what": "store", "path": "/opt/minio/data", "used": 184 * 10**9, "free": 61 * 10**9}
        | {"objects": 10_000, "objects_bytes": 10**9, "more_objects": True},
        {"what": "database", "path": "/var/lib/postgresql", "used": None, "free": None}
        | {"runs": 12_480, "experiments": 1, "more_runs": False},
    ]
    extra = {"answer": {"ok": True, "milliseconds": 14.0}, "services": services, "data": data}
    out, _ = shown(HostResult("h", total=3, url="http://h:5000", extra=extra), "status")
    lines = out.splitlines()
    assert max(len(line) for line in lines) <= 80
    (head,) = (line for line in lines if line.startswith("service"))
    (database,) = (line for line in lines if line.startswith("postgresql"))
    assert database.split() == ["postgresql@16-main", "16.10", "active", "19", "d", "0", "188", "MB"]
    assert head.index("version") == database.index("16.10")
    (mlflow,) = (line for line in lines if line.startswith("mlflow-server"))
    assert mlflow.endswith("641 MB   of 3.0 GB")
    assert any(line.startswith("nginx") and "failed, disabled" in line for line in lines)
    assert any("10,000+ objects, 1.0 GB+" in line and "61 GB at /opt/minio/data" in line for line in lines)
    assert any("not counted" in line and "12,480 runs, 1 experiment" in line for line in lines)


def test_a_status_says_of_each_certificate_whose_it_is() -> None:
    row = {"days": 40, "until": "2027-01-01T00:00:00+00:00", "names": ["h"], "renewal": "inactive"}
    both = [{**row, "of": "the URL"}, {**row, "of": "PostgreSQL", "days": 3}]

    def said(rows: list[dict[str, Any]]) -> list[str]:
        extra = {"answer": {"ok": True, "milliseconds": 14.0}, "certificates": rows}
        out, _ = shown(HostResult("h", total=3, url="http://h:5000", extra=extra), "status")
        return [line for line in out.splitlines() if "left, until" in line]

    url, database = said(both)
    assert url.split()[:3] == ["certificate", "the", "URL:"]
    assert database.split()[0] == "PostgreSQL:"
    assert "NOT HAPPENED" in database
    assert said([]) == []


def test_a_status_tells_what_a_run_refuses_beside_everything_else() -> None:
    refused = Refused("another schema", why="made by another version", next="keep that version")
    result = HostResult("h", total=3, refused=[refused], exit=Exit.FAILED, extra={"answer": {"ok": False}})
    out, _ = shown(result, "status")
    assert "DOES NOT ANSWER" in out
    assert "as wanted" not in out
    assert out.index("drift") < out.index("what   another schema") < out.index("next   keep that version")


def test_a_check_through_ssh_is_not_called_proven() -> None:
    out, _ = shown(HostResult("h", quick_ms=14.2, vantage="ssh"))
    assert "answers in 14 ms" in out
    assert "not proven from a client's network" in out


def test_the_document_of_a_plan_and_of_a_run_has_the_promised_members() -> None:
    results = [
        HostResult("10.151.0.1", connections=1, channels=2, changes=[planned(seconds)], checks=[CHECK])
        for seconds in (None, 0.4)
    ]
    plan, run = (document(name, [result], 31.2) for name, result in zip(("plan", "apply"), results, strict=True))
    for whole in (plan, run):
        assert list(whole) == ["schema", "command", "exit", "seconds", "hosts"]
        (host,) = whole["hosts"]
        assert list(host)[:7] == ["host", "connections", "channels", "vantage", "changes", "checks", "error"]
        assert set(host["changes"][0]) >= {"step", "resource", "action", "reason", "interrupts", "seconds", "diff"}
        assert host["checks"] == [
            {"id": "artifact-download", "status": "ok", "seconds": 0.12, "detail": "", "fix": None}
        ]
        assert host["error"] is None
    assert (plan["hosts"][0]["changes"][0]["seconds"], run["hosts"][0]["changes"][0]["seconds"]) == (None, 0.4)
    assert plan["hosts"][0].keys() == run["hosts"][0].keys()


CHECK = Check("artifact-download", "download", "ok", 0.12)


@pytest.mark.parametrize(
    ("result", "verification"),
    [(HostResult("h"), None), (HostResult("h", quick_ms=1.0), "read-only"), (HostResult("h", verified=True), "full")],
)
def test_the_document_says_how_it_was_proven(result: HostResult, verification: str | None) -> None:
    assert document("apply", [result], 0)["hosts"][0]["verification"] == verification


def test_an_error_is_an_object_without_secrets() -> None:
    secret = Secret("hunter2hunter2")
    error = Refused(f"what {secret.reveal()}", why=secret.reveal(), next=secret.reveal(), detail=secret.reveal())
    whole = document("apply", [HostResult("h", error=error, exit=Exit.REFUSED)], 0)
    assert whole["exit"] == 4
    assert set(whole["hosts"][0]["error"]) == {"what", "why", "next", "detail"}
    assert "hunter2" not in json.dumps(whole)


def test_json_has_one_document_on_stdout_and_with_quiet_nothing_on_stderr(capsys) -> None:
    for quiet in (False, True):
        reporter = choose(json=True, quiet=quiet)
        result = HostResult("h", warnings=["look out"])
        reporter.connected(result)
        reporter.finished("plan", [result], 0.1)
        told = capsys.readouterr()
        assert json.loads(told.out)["command"] == "plan"
        assert ("look out" in told.err) is not quiet


def test_a_new_host_key_is_shown_even_when_nothing_else_worked() -> None:
    keys = [("bastion", "SHA256:a"), ("h", "SHA256:b")]
    _, err = shown(HostResult("h", new_keys=keys, error=Refused("no"), exit=Exit.REFUSED))
    assert "SHA256:a of bastion (new, saved)" in err
    assert "SHA256:b (new, saved)" in err
    host = document("plan", [HostResult("h", new_keys=keys, fingerprint="SHA256:b")], 0)["hosts"][0]
    assert host["host_key"] == "SHA256:b"
    assert host["new_host_keys"][0] == {"host": "bastion", "fingerprint": "SHA256:a"}


def several(*names: str) -> list[HostResult]:
    return [HostResult(name, "u", several=True, leads=name == names[0]) for name in names]


def closed(results: list[HostResult]) -> tuple[str, str]:
    out, err = io.StringIO(), io.StringIO()
    Plain(out=out, progress=err).finished("apply", results, 1.0)
    return out.getvalue(), err.getvalue()


def test_what_stands_against_several_hosts_alike_is_said_once() -> None:
    results = several("u", "s", "d", "m1")
    results[1].changes = [planned(1.0), planned(1.0)]
    results[1].kept = ["/var/backups/provision/x/etc/y"]
    for result in results:
        result.error = Refused("the database cannot move", why="it holds data", next="provision plan")
    results[2].error = Refused("the disk is full", next="free some")
    _, err = closed(results)
    assert err.count("the database cannot move") == 1
    assert "what   u, s, m1: the database cannot move\nwhy    it holds data\nnext   provision plan\n" in err
    assert "it stays: 2 changes on s. The same command" in err
    assert "kept on the hosts:\n  s            /var/backups/provision/x/etc/y\n" in err
    assert "what   d: the disk is full" in err


def test_a_host_on_which_only_the_stacks_settings_were_noted_takes_a_line() -> None:
    results = several("u", "s")
    for result in results:
        result.changes = [of("settings", "file:stack.toml", "change", "a setting was changed")]
        result.kept = ["/var/backups/x"]
    out, _ = closed(results)
    assert [line.split()[:5] for line in out.splitlines()] == [[n, "the", "stack's", "settings", "are"] for n in "us"]
    results[0].told = ["Clients need the store's new key:\n  provision env"]
    assert "\nClients need the store's new key:\n  provision env\n" in closed(results)[0]


@pytest.mark.parametrize("live", [False, True])
def test_a_note_on_a_stack_s_settings_is_said_once_and_one_on_another_stack_too(live: bool, capsys: Any) -> None:
    results = [*several("u", "s", "d"), HostResult("x", "x", several=True)]
    reporter = Live(color=False) if live else Plain()
    for result in results:
        result.notes = ["kept mlflow.workers = 3"]
        reporter.connected(result)
    told = capsys.readouterr().err.splitlines()
    assert [line.split()[0] for line in told] == ["u", "x"]


@pytest.mark.parametrize("live", [False, True])
def test_a_line_that_is_said_of_one_of_several_hosts_names_it(live: bool, capsys) -> None:
    one, other = several("u", "10.151.0.114")
    reporter = Live(color=False) if live else Plain()
    for result in (one, other):
        reporter.connected(result)
        reporter.warned(result, Check("disk", "disk", "warn", detail="9 GB free " * 12, fix="free some", seconds=1.5))
        reporter.waiting(result, "waits for database on d")
        reporter.event(result, Failed(planned(title="a file"), 0.1, "no"))
        result.checks = [Check("login", "login", "ok")]
        reporter.verified(result, 1.0)
    told = capsys.readouterr().err.splitlines()
    assert told
    assert [line for line in told if not line.startswith(("u            ", "10.151.0.114 "))] == []
    assert all(len(line) <= 80 for line in told)


def test_a_run_that_ends_what_an_earlier_one_began_tells_the_url_what_it_did_and_what_was_kept() -> None:
    result = HostResult(
        "h", stack="h", url="http://h:5000", unseen=True, changes=[planned(0.1)], kept=["/var/backups/x"]
    )
    out, _ = shown(result)
    for words in ("unit:minio.service", "Ready in", "http://h:5000", "/var/backups/x", "pip install mlflow"):
        assert words in out
    edited, restarted = of("mlflow", "/etc/mlflow/mlflow.env", "change", "x"), of("mlflow", "x", "restart", "y")
    foreign = of("proxy", "/etc/site", "change", "edited")
    result.planned, result.changes = [edited, restarted, foreign], [edited, foreign, restarted]
    assert re.findall(r"^mlflow +(.)", shown(result)[0], re.M) == ["~"], "each step once"


def test_the_document_names_the_store_s_port_where_it_names_the_url() -> None:
    result = HostResult("h", url="http://h:5000", store_url="http://h:9002")
    assert document("status", [result], 0.1)["hosts"][0]["store_url"] == "http://h:9002"
    result.url = ""  # another host of the stack has it
    assert document("status", [result], 0.1)["hosts"][0]["store_url"] is None
