"""Plans and runs, on resources made of nothing but a dictionary and a temp file."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Self

import pytest
from shells import lint

from provisioner.engine import batch, plan, probe
from provisioner.engine.apply import Run
from provisioner.engine.events import Begun, Done, Event, Failed, Kept
from provisioner.engine.probe import Probe, Seen
from provisioner.engine.quoting import word
from provisioner.engine.resource import Change, ClientResource, HostResource, Planned
from provisioner.errors import Locked, ProtocolError, ProvisionError, Refused
from provisioner.transport.fake import FakeSession
from provisioner.values import dataclass


@dataclass(frozen=True)
class Line(Probe[str]):
    path: str
    kind: ClassVar[str] = "line"

    @classmethod
    def fragment(cls, probes: Sequence[Self]) -> str:
        return "\n".join(f"cat {word(p.path)} 2>/dev/null || echo absent" for p in probes)

    @classmethod
    def parse(cls, probes: Sequence[Self], output: bytes) -> Iterable[str]:
        return output.decode().splitlines()


@dataclass(frozen=True, kw_only=True)
class Note(HostResource):
    path: str
    text: str
    command: str = ""

    def probes(self) -> tuple[Probe[Any], ...]:
        return (Line(self.path),)

    def diff(self, seen: Seen) -> Change | None:
        now = seen[Line(self.path)]
        return None if now == self.text else Change("create" if now == "absent" else "change", now, title=self.path)

    def after(self, seen: Seen) -> Seen:
        return seen.put(Line(self.path), self.text)

    @classmethod
    def apply(cls, items: Sequence[tuple[Self, Change]]) -> str:
        return "\n".join(
            n.command or f"keep {word(n.path)}; say writing; echo {word(n.text)} >{word(n.path)}" for n, _ in items
        )


@pytest.fixture
def places(tmp_path, monkeypatch):
    monkeypatch.setattr(batch, "RUN", str(tmp_path / "run"))
    monkeypatch.setattr(batch, "BACKUPS", str(tmp_path / "backups"))
    monkeypatch.setattr(batch, "LOG", str(tmp_path / "log" / "audit.jsonl"))
    return tmp_path


def run(session: FakeSession, resources: Sequence[Note], **options: Any) -> tuple[Seen, list[Event]]:
    events: list[Event] = []
    seen = probe.look(session, plan.probes_of(resources))
    made = plan.make(resources, seen)
    after = Run(session, made, stamp="T", emit=events.append, **options).all()
    return after, events


def note(places, name: str, text: str = "x", **more: Any) -> Note:
    return Note(id=f"note:{name}", path=str(places / name), text=text, **more).of(more.pop("step", "s"))


def test_a_plan_is_empty_once_it_was_applied(places) -> None:
    session = FakeSession()
    resources = [note(places, "a"), note(places, "b", "two words")]
    run(session, resources)
    seen = probe.look(session, plan.probes_of(resources))
    assert not plan.make(resources, seen)


@dataclass(frozen=True, kw_only=True)
class Stubborn(Note):
    def diff(self, seen: Seen) -> Change | None:
        raise Refused(f"not {self.text}")


def test_what_a_resource_refuses_stands_beside_all_other_changes(places) -> None:
    resources = [note(places, "a"), Stubborn(id="note:no", path=str(places / "no"), text="this"), note(places, "b")]
    made = plan.make(resources, probe.look(FakeSession(), plan.probes_of(resources)))
    assert [planned.id for planned in made.changes] == ["note:a", "note:b"]
    assert [error.what for error in made.refused] == ["not this"]
    assert made.total == 3


def test_all_changes_of_a_lane_share_one_exec(places) -> None:
    session = FakeSession()
    run(session, [note(places, str(n)) for n in range(5)])
    assert session.channels == 2  # one to look, one to apply and prove


def test_a_change_waits_for_what_it_needs_in_another_lane(places) -> None:
    first = Note(id="note:first", path=str(places / "first"), text="1").of("one")
    slow = Note(id="note:slow", path=str(places / "slow"), text="1", command=f"sleep 0.3; echo 1 >{places}/slow").of(
        "one"
    )
    second = Note(id="note:second", path=str(places / "second"), text="1", needs=("note:slow",)).of("two")
    third = Note(id="note:third", path=str(places / "third"), text="1", needs=("step:one",)).of("three")
    _, events = run(FakeSession(), [first, slow, second, third])
    order = [e.planned.id for e in events if isinstance(e, Done)]
    begun = [e.planned.id for e in events if isinstance(e, Begun)]
    assert order.index("note:slow") < begun.index("note:second") + order.index("note:slow") + 1
    assert set(order) == {"note:first", "note:slow", "note:second", "note:third"}
    assert order.index("note:slow") < order.index("note:second")
    assert order.index("note:slow") < order.index("note:third")


def test_lanes_run_side_by_side(places) -> None:
    def meets(mine: str, other: str) -> Note:
        # Each waits for the other's file: in sequence neither would end.
        wait = f"n=0; until [ -e {places}/{other} ] || [ $n -gt 80 ]; do sleep 0.1; n=$((n+1)); done"
        command = f"echo {mine} >{places}/{mine}; {wait}; [ -e {places}/{other} ]"
        return Note(id=f"note:{mine}", path=str(places / mine), text=mine, command=command).of(mine)

    run(FakeSession(), [meets("left", "right"), meets("right", "left")])


def ended(session: FakeSession, resources: Sequence[Any], **options: Any) -> tuple[Exception, list[Event]]:
    """The error of a run that fails, and its events."""
    events: list[Event] = []
    made = plan.make(resources, probe.look(session, plan.probes_of(resources)))
    with pytest.raises(ProvisionError) as caught:
        Run(session, made, stamp="T", emit=events.append, **options).all()
    return caught.value, events


def told(events: list[Event], kind: type) -> list[str]:
    return [event.planned.id for event in events if isinstance(event, kind)]  # type: ignore[attr-defined]


def test_a_change_that_does_not_take_is_an_error_there_and_then_and_never_told_as_done(places) -> None:
    resources = [note(places, "a"), note(places, "b", "wanted", command=f"echo other >{places}/b"), note(places, "c")]
    error, events = ended(FakeSession(), resources, journal=lambda p, result: f"{p.id} {result}\n")
    assert "did not take" in str(error)
    assert (told(events, Done), told(events, Failed)) == (["note:a", "note:c"], ["note:b"])
    log = (places / "log" / "audit.jsonl").read_text().split("\n")
    assert log == ["note:a ok", "note:b ok", "note:c ok", "note:b failed", ""]


def test_what_was_made_before_a_failure_is_told_as_done_where_it_is_still_there(places) -> None:
    class Other(Note):
        """Another kind: a fragment of its own."""

    bad = Other(id="note:bad", path=str(places / "bad"), text="x", command=f"rm {places}/b; exit 4").of("s")
    _, events = ended(FakeSession(), [note(places, "a"), note(places, "b"), bad])
    assert told(events, Done) == ["note:a"]
    assert sorted(told(events, Failed)) == ["note:b", "note:bad"]


def test_what_waits_for_a_change_does_not_wait_for_the_rest_of_its_batch(places) -> None:
    wait = f"n=0; until [ -e {places}/other ] || [ $n -gt 80 ]; do sleep 0.1; n=$((n+1)); done; [ -e {places}/other ]"

    class Second(Note):
        """Another kind: a fragment of its own, in the same exec."""

    first = note(places, "first")
    slow = Second(id="note:slow", path=str(places / "slow"), text="x", command=f"{wait}; echo x >{places}/slow").of("s")
    other = Note(id="note:other", path=str(places / "other"), text="x", needs=("note:first",)).of("elsewhere")
    run(FakeSession(), [first, slow, other])


def test_a_failure_says_what_failed_and_the_rest_is_not_begun(places) -> None:
    events: list[Event] = []
    resources = [note(places, "a", command="echo the reason >&2; exit 4"), note(places, "b")]
    session = FakeSession()
    seen = probe.look(session, plan.probes_of(resources))
    with pytest.raises(ProvisionError) as caught:
        Run(session, plan.make(resources, seen), stamp="T", emit=events.append).all()
    assert caught.value.why == "the reason"
    assert [e for e in events if isinstance(e, Failed)]
    assert not (places / "b").exists()


def test_a_failure_in_a_fragments_own_words_says_them_once_and_one_without_words_its_status(places) -> None:
    def why(command: str) -> ProvisionError:
        with pytest.raises(ProvisionError) as caught:
            run(FakeSession(), [note(places, "a", command=command)])
        return caught.value

    error = why("echo 'what it broke'; echo 'a log line'; echo 'why of rust'; echo 'next oil it'; exit 3")
    assert (error.why, error.next, error.detail.strip()) == ("it broke: of rust", "oil it", "a log line")
    assert why("exit 37").why == "it ended with status 37 and said nothing"


def test_a_command_that_fails_in_the_middle_stops_its_fragment(places) -> None:
    with pytest.raises(ProvisionError):
        run(FakeSession(), [note(places, "a", command=f"false; echo x >{places}/a")])
    assert not (places / "a").exists()


def test_what_is_replaced_is_kept_and_named(places) -> None:
    (places / "a").write_text("mine\n")
    _, events = run(FakeSession(), [note(places, "a", "ours")])
    kept = [path for e in events if isinstance(e, Kept) for path in e.paths]
    assert len(kept) == 1
    assert open(kept[0]).read() == "mine\n"  # noqa: SIM115


def test_the_host_gets_a_line_for_each_change_that_is_done(places) -> None:
    run(FakeSession(), [note(places, "a"), note(places, "b")], journal=lambda p, result: f"{p.id} {result}\n")
    assert (places / "log" / "audit.jsonl").read_text() == "note:a ok\nnote:b ok\n"


@dataclass(frozen=True, kw_only=True)
class Remote(ClientResource):
    """Something that only a client library sees: here a file that Python writes."""

    path: str

    def probes(self) -> tuple[Probe[Any], ...]:
        return ()

    def ready(self, seen: Seen) -> bool:
        return True

    def diff(self, seen: Seen) -> Change | None:
        return None if seen.get(Line(self.path)) else Change("create", "absent", title=self.path)

    def after(self, seen: Seen) -> Seen:
        return seen.put(Line(self.path), "there")

    def look(self, session: Any) -> Seen:
        return Seen({Line(self.path): "there" if os.path.exists(self.path) else ""})  # noqa: PTH110

    def perform(self, session: Any, change: Change) -> None:
        open(self.path, "w").close()


def test_the_host_gets_a_line_for_what_only_a_client_library_changed(places) -> None:
    remotes: list[Any] = [Remote(id=f"remote:{n}", path=str(places / f"r{n}")).of("s") for n in range(2)]
    session = FakeSession()
    run(session, remotes, journal=lambda p, result: f"{p.id} {result}\n")
    assert (places / "log" / "audit.jsonl").read_text() == "remote:0 ok\nremote:1 ok\n"
    assert session.channels == 1, "one for both lines: there is nothing to look at on the host"
    run(session, remotes, journal=lambda p, result: f"{p.id} {result}\n")
    assert (places / "log" / "audit.jsonl").read_text().count("remote:0") == 1


@dataclass(frozen=True, kw_only=True)
class Starting(Remote):
    """What is there once it was waited for."""

    def arrive(self, session: Any) -> None:
        open(self.path, "w").close()

    def perform(self, session: Any, change: Change) -> None:
        raise ProvisionError("it was not waited for")


def test_what_could_not_be_seen_is_waited_for_when_its_turn_comes_and_what_was_absent_is_not(places) -> None:
    late = Starting(id="starting:x", path=str(places / "x"))
    unseen, absent = (plan.Plan((Planned(late, Change(action, "")),), 1) for action in ("check", "create"))
    with pytest.raises(ProvisionError, match="not waited for"):
        Run(FakeSession(), absent, stamp="x", emit=lambda _: None).all()
    Run(FakeSession(), unseen, stamp="x", emit=lambda _: None).all()


def test_changes_that_wait_for_each_other_are_named_instead_of_hanging(places) -> None:
    a = Note(id="note:a", path=str(places / "a"), text="1", needs=("note:b",)).of("one")
    b = Note(id="note:b", path=str(places / "b"), text="1", needs=("note:a",)).of("two")
    with pytest.raises(ProvisionError, match="wait for each other"):
        run(FakeSession(), [a, b])


def test_a_later_resource_is_planned_on_top_of_the_changes_before_it(places) -> None:
    first, again = note(places, "a", "1"), note(places, "a", "1")
    seen = probe.look(FakeSession(), plan.probes_of([first]))
    assert len(plan.make([first, again], seen).changes) == 1


def test_the_script_of_a_batch_passes_shellcheck(places) -> None:
    resources = [note(places, "a"), note(places, "b")]
    seen = probe.look(FakeSession(), plan.probes_of(resources))
    assert lint(batch.compose(plan.make(resources, seen).changes, "mark", "T")) == ""


@dataclass(frozen=True, kw_only=True)
class Far(ClientResource):
    """Seen by a client library that has a fault."""

    def probes(self) -> tuple[Probe[Any], ...]:
        return ()

    def ready(self, seen: Seen) -> bool:
        return False

    def look(self, session: Any) -> Seen:
        raise RuntimeError("a fault")

    def diff(self, seen: Seen) -> Change | None:
        return Change("create", "absent")

    def after(self, seen: Seen) -> Seen:
        return seen

    def perform(self, session: Any, change: Change) -> None: ...


@pytest.mark.parametrize("first", ["failure", "fault"])
def test_a_failing_lane_lets_the_others_end_what_they_do_and_begin_nothing_more(places, first: str) -> None:
    slow = note(places, "slow", command=f"sleep 0.5; echo x >{places}/slow")
    later = Note(id="note:later", path=str(places / "later"), text="x", needs=("note:slow",)).of("third")
    if first == "failure":
        bad: Any = Note(id="note:bad", path=str(places / "bad"), text="x", command="exit 3").of("other")
    else:
        bad = Far(id="far:bad").of("other")
    session, events = FakeSession(), []
    seen = probe.look(session, plan.probes_of([slow, bad, later]))
    with pytest.raises(ProvisionError if first == "failure" else RuntimeError):
        Run(session, plan.make([slow, bad, later], seen), stamp="T", emit=events.append).all()
    assert (places / "slow").exists()
    assert not (places / "later").exists()
    assert [e.planned.id for e in events if isinstance(e, Failed)] == [bad.id]


def test_an_interrupt_gives_up_the_connection_and_ends_at_once(places, monkeypatch) -> None:
    closed = threading.Event()
    session = FakeSession()
    monkeypatch.setattr(session, "close", closed.set)
    resource = note(places, "a", command=f"n=0; until [ -e {places}/go ]; do sleep 0.1; done; echo x >{places}/a")
    made = plan.make([resource], probe.look(session, plan.probes_of([resource])))
    run = Run(session, made, stamp="T", emit=lambda event: None)

    def interrupt() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        closed.wait(5)
        (places / "go").touch()  # what a closed connection does to the exec, a file does here

    timer = threading.Timer(1.0, interrupt)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        run.all()
    timer.join()
    assert closed.is_set()


def test_another_run_that_took_the_host_is_an_error_before_anything_is_written(places) -> None:
    (places / "run").mkdir(mode=0o700)
    (places / "run" / "owner").write_text("theirs\nanna@laptop\n")
    with pytest.raises(Locked):
        run(FakeSession(), [note(places, "a")], owner="mine")
    assert not (places / "a").exists()
    (places / "run" / "owner").write_text("mine\nme\n")
    run(FakeSession(), [note(places, "a")], owner="mine")


def test_a_client_writes_nothing_on_a_host_that_another_run_has_taken(places) -> None:
    (places / "run").mkdir(mode=0o700)
    owner = places / "run" / "owner"
    owner.write_text("theirs\nanna@laptop\n")
    remote = Remote(id="remote:a", path=str(places / "a")).of("s")
    error, events = ended(FakeSession(), [remote], owner="mine")
    assert isinstance(error, Locked)
    assert told(events, Failed) == ["remote:a"]
    assert not (places / "a").exists()
    owner.write_text("mine\nme\n")
    run(FakeSession(), [remote], owner="mine")  # type: ignore[list-item]
    assert (places / "a").exists()


def test_a_client_holds_the_work_lock_while_it_writes(places) -> None:
    tried: list[int] = []

    @dataclass(frozen=True, kw_only=True)
    class Slow(Remote):
        """Looks, while it writes, whether another run could take the host."""

        def perform(self, session: Any, change: Change) -> None:
            tried.append(subprocess.run(["flock", "-n", str(places / "run" / "work"), "true"]).returncode)
            super().perform(session, change)

    (places / "run").mkdir(mode=0o700)
    (places / "run" / "owner").write_text("mine\nme\n")
    run(FakeSession(), [Slow(id="remote:a", path=str(places / "a")).of("s")], owner="mine")  # type: ignore[list-item]
    assert tried == [1]
    # Its end is told through its stdin: it may live on for a moment.
    assert subprocess.run(["flock", "-w", "10", str(places / "run" / "work"), "true"]).returncode == 0


def test_what_is_made_elsewhere_is_made_under_the_work_lock_and_is_told_when_it_fails(places) -> None:
    tried: list[int] = []

    @dataclass(frozen=True, kw_only=True)
    class Far(Note):
        """Made on another server, but for a note of it."""

        elsewhere: ClassVar[bool] = True

        def prepare(self, session: Any, change: Change, say: Any) -> Change:
            tried.append(subprocess.run(["flock", "-n", str(places / "run" / "work"), "true"]).returncode)
            if self.text == "never":
                raise ProvisionError("it is half made", why="the other server is gone")
            return change

    (places / "run").mkdir(mode=0o700)
    (places / "run" / "owner").write_text("mine\nme\n")
    far = Far(id="far:a", path=str(places / "a"), text="there").of("s")
    _, events = run(FakeSession(), [far], owner="mine")  # type: ignore[list-item]
    assert tried == [1]
    assert told(events, Done) == ["far:a"]
    half = Far(id="far:b", path=str(places / "b"), text="never").of("s")
    error, events = ended(FakeSession(), [half], owner="mine")
    assert isinstance(error, ProvisionError)
    assert [(event.planned.id, event.detail) for event in events if isinstance(event, Failed)] == [
        ("far:b", "the other server is gone")
    ]
    (places / "run" / "owner").write_text("theirs\nanna@laptop\n")
    error, events = ended(FakeSession(), [half], owner="mine")
    assert isinstance(error, Locked)
    assert len(tried) == 2, "nothing is made elsewhere on a host that another run has taken"


def test_a_part_that_was_never_sent_is_refused() -> None:
    for key in ("g7", "gx", "g-1", "g" + "9" * 5000, "g\u00b2"):
        with pytest.raises(ProtocolError):
            batch._group([], key)
