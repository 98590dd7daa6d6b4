"""A command on several hosts: failures, faults and interrupts stay with their host and are told."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest

from provisioner.commands import host
from provisioner.commands.options import Options
from provisioner.ending import code_of, tracing
from provisioner.errors import Exit, ProvisionError, Refused, UsageError
from provisioner.inventory import HostRequest, StackRequest


class Session:
    """Nothing but a connection that can be closed."""

    fingerprint, connections, channels = "", 1, 1

    def __init__(self) -> None:
        self.closed = threading.Event()

    def close(self) -> None:
        self.closed.set()


def on_hosts(names: list[str], work: Any, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setattr(host, "open_session", lambda request, options, on_new_key: Session())
    stacks = tuple(StackRequest(name, HostRequest(name, name)) for name in names)
    results = host.on_each(SimpleNamespace(stacks=stacks), Options(), work)  # type: ignore[arg-type]
    return {result.host: result for result in results}


def test_a_failure_and_a_fault_stay_with_their_hosts(monkeypatch) -> None:
    def work(session: Any, request: Any, result: Any, team: Any) -> None:
        if request.host.name == "b":
            raise Refused("no")
        if request.host.name == "c":
            raise RuntimeError("boom")

    results = on_hosts(["a", "b", "c"], work, monkeypatch)
    assert [results[n].exit for n in "abc"] == [Exit.OK, Exit.REFUSED, Exit.FAILED]
    assert results["c"].error.why == "RuntimeError: boom"


@pytest.mark.parametrize("names", [["a"], ["a", "b", "c"]])
def test_an_interrupt_closes_the_connections_and_is_told_of_each_host(names: list[str], monkeypatch) -> None:
    def work(session: Any, request: Any, result: Any, team: Any) -> None:
        if len(names) == 1:
            raise KeyboardInterrupt
        if request.host.name == "a":
            time.sleep(0.3)
            os.kill(os.getpid(), signal.SIGINT)
        if not session.closed.wait(8):
            pytest.fail("the connection was not closed")
        raise ProvisionError("the connection was lost")

    results = on_hosts(names, work, monkeypatch)
    assert [results[n].exit for n in names] == [Exit.INTERRUPTED] * len(names)


def test_a_host_that_connects_after_an_interrupt_is_left_as_it_is(monkeypatch) -> None:
    worked: list[Any] = []
    hosts = host._Hosts(Options(), lambda *all_of_it: worked.append(all_of_it))
    joined, session = host._Joined(StackRequest("a", HostRequest("a", "a"))), Session()

    def connect(request: StackRequest, options: Options, on_new_key: Any) -> Session:
        hosts.interrupt(())
        return session

    monkeypatch.setattr(host, "open_session", connect)
    hosts._one(joined, 0)
    assert not worked
    assert session.closed.is_set()
    assert joined.results[0].exit is Exit.INTERRUPTED


@pytest.mark.parametrize(("finisher", "words"), [("", "run the same command"), ("provision", "provision --host a ")])
def test_an_interrupt_tells_the_command_that_goes_on(finisher: str, words: str) -> None:
    hosts = host._Hosts(Options(), lambda *_: None, finisher)
    joined = host._Joined(StackRequest("a", HostRequest("a", "a")))
    hosts.interrupt(joined.results)
    assert joined.results[0].error is not None
    assert joined.results[0].error.next.startswith(words)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("a"), 64),
        (KeyboardInterrupt(), 130),
        (RuntimeError("x"), 1),
        (Refused("x"), 4),
    ],
)
def test_with_json_an_ending_is_one_document_on_stdout(error: BaseException, code: int, capsys) -> None:
    assert code_of(error, ["--json", "plan"]) == code
    document = json.loads(capsys.readouterr().out)
    assert (document["schema"], document["command"], document["exit"], document["hosts"]) == (1, "plan", code, [])
    assert document["error"]["what"]


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [([], False), (["-v"], False), (["-vv"], True), (["-v", "-v"], True), (["-v", "--verbose"], True)],
)
def test_tracebacks_are_for_those_who_ask_twice(arguments: list[str], wanted: bool) -> None:
    assert tracing(arguments) is wanted
