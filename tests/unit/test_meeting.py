"""Hosts of one stack wait for each other, and for nobody who has left."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from provisioner.commands.meeting import Meeting
from provisioner.errors import Exit, ProvisionError, Refused, Unreachable


def together(meeting: Meeting, work: dict[str, Callable[[], Any]]) -> dict[str, Any]:
    """What each host's thread gives or raises; none may still wait after 10 s."""
    found: dict[str, Any] = {}

    def one(name: str) -> None:
        try:
            found[name] = work[name]()
            meeting.leave(name, None)
        except ProvisionError as error:
            found[name] = error
            meeting.leave(name, error)

    threads = [threading.Thread(target=one, args=(name,), daemon=True) for name in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive(), "a host waits for ever"
    return found


def test_all_get_the_one_answer_to_what_each_of_them_brought() -> None:
    meeting, asked = Meeting("abc"), []

    def decide(brought: Any) -> dict[str, int]:
        asked.append(1)
        return dict(brought)

    found = together(meeting, {name: lambda name=name: meeting.agree(name, "n", ord(name), decide) for name in "cba"})
    assert [found[name] for name in "abc"] == [{"a": 97, "b": 98, "c": 99}] * 3
    assert asked == [1]


def test_an_agreement_that_fails_fails_for_all() -> None:
    meeting = Meeting("ab")

    def decide(_: Any) -> None:
        raise Refused("no")

    found = together(meeting, {name: lambda name=name: meeting.agree(name, "n", 0, decide) for name in "ab"})
    assert [str(found[name].what) for name in "ab"] == ["no", "no"]


def test_who_is_down_keeps_nobody() -> None:
    meeting = Meeting("abc")

    def down() -> None:
        time.sleep(0.2)
        raise Unreachable("b is down")

    work: dict[str, Callable[[], Any]] = {n: lambda n=n: meeting.agree(n, "n", n, sorted) for n in "ac"}
    found = together(meeting, {**work, "b": down})
    assert found["a"] == found["c"] == ["a", "c"]
    assert set(meeting.gone()) == {"b"}


def test_a_need_of_another_host_is_waited_for_until_it_is_told() -> None:
    meeting, order = Meeting("ab"), []

    def first() -> None:
        time.sleep(0.2)
        order.append("database")
        meeting.tell("a", "database")

    def second() -> None:
        meeting.wait(["step:database@a"])
        order.append("mlflow")

    together(meeting, {"a": first, "b": second})
    assert order == ["database", "mlflow"]


def test_a_need_that_will_never_be_met_says_whose_and_why() -> None:
    meeting = Meeting("ab")

    def fails() -> None:
        raise Unreachable("a does not answer")

    found = together(meeting, {"a": fails, "b": lambda: meeting.wait(["step:database@a"])})
    error = found["b"]
    assert (error.what, error.why) == ("waits for database on a, which did not get there", "a does not answer")
    assert error.exit is Exit.UNREACHABLE


def test_what_only_comes_after_another_host_does_not_fail_with_it() -> None:
    meeting = Meeting("ab")

    def fails() -> None:
        raise Unreachable("a does not answer")

    found = together(meeting, {"a": fails, "b": lambda: meeting.wait(["after:mlflow@a"])})
    assert found["b"] is None


def test_a_host_that_takes_no_part_counts_as_ready() -> None:
    Meeting("a").wait(["step:database@elsewhere"])


@pytest.mark.parametrize("names", ["abc", "cba", "bca"])
def test_locks_are_taken_in_one_order_whoever_is_quick_and_however_they_are_listed(names: str) -> None:
    meeting, order = Meeting(names, "abc"), []

    def take(name: str, seconds: float) -> None:
        time.sleep(seconds)
        meeting.turn(name, "lock")
        order.append(name)
        meeting.tell(name, "lock")

    together(meeting, {n: lambda n=n, s=s: take(n, s) for n, s in (("a", 0.3), ("b", 0.1), ("c", 0.0))})
    assert order == ["a", "b", "c"]


def test_an_interrupt_ends_all_waiting() -> None:
    meeting = Meeting("ab")

    def interrupts() -> None:
        time.sleep(0.2)
        meeting.interrupt()
        time.sleep(1)

    found = together(meeting, {"a": interrupts, "b": lambda: meeting.wait(["step:x@a"])})
    assert found["b"].exit is Exit.INTERRUPTED


@pytest.mark.parametrize("names", ["a", "ab"])
def test_a_meeting_of_one_waits_for_nobody(names: str) -> None:
    assert Meeting(names).alone is (names == "a")


def test_who_leaves_a_meeting_for_a_part_of_the_work_is_still_in_the_one_around_it() -> None:
    around = Meeting("abc", "cba")

    def fails(part: Meeting) -> Any:
        part.leave("a", Refused("no"))
        return around.agree("a", "end", 1, dict)

    def goes_on(part: Meeting) -> Any:
        with pytest.raises(ProvisionError, match="did not get there"):
            part.wait(["step:x@a"])
        return around.agree("b", "end", 2, dict)

    def each(name: str, work: Callable[[Meeting], Any]) -> Any:
        return lambda: work(around.agree(name, "apart", None, around.apart))

    around.leave("c", None)
    found = together(around, {"a": each("a", fails), "b": each("b", goes_on)})
    assert found == {"a": {"a": 1, "b": 2}, "b": {"a": 1, "b": 2}}


def test_an_interrupt_ends_the_part_with_the_whole() -> None:
    around = Meeting("ab")
    part = around.apart("ab")
    found: list[ProvisionError] = []

    def waits() -> None:
        with pytest.raises(ProvisionError) as caught:
            part.wait(["step:x@b"])
        found.append(caught.value)

    thread = threading.Thread(target=waits, daemon=True)
    thread.start()
    around.interrupt()
    thread.join(10)
    assert [error.exit for error in found] == [Exit.INTERRUPTED]
