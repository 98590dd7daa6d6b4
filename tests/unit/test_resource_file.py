"""Files, directories and links: decided from any state, and really made in a directory of the test."""

from __future__ import annotations

import contextlib
import getpass
import grp
import os
import pwd
import socket
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from shells import SHELLS, lint
from shells import run as run_shell

from provisioner.engine import batch, plan, probe, script
from provisioner.engine.events import Event, Kept
from provisioner.engine.probe import Seen
from provisioner.engine.quoting import encode
from provisioner.engine.resource import UNKNOWN, Change, HostResource
from provisioner.errors import ProtocolError, ProvisionError
from provisioner.resources.binary import Binary, Sent
from provisioner.resources.blob import BlobProbe, BlobState
from provisioner.resources.file import Directory, File, Link, NoFile
from provisioner.resources.paths import READ_LIMIT, PathProbe, PathState, directory_rights
from provisioner.resources.unit import Service, UnitState
from provisioner.transport.fake import FakeSession

ME = getpass.getuser()
GROUP = grp.getgrgid(os.getgid()).gr_name

states = st.builds(
    PathState,
    kind=st.sampled_from(["absent", "file", "directory", "link", "other"]),
    mode=st.integers(0, 0o7777),
    owner=st.text(max_size=8),
    group=st.text(max_size=8),
    content=st.one_of(st.none(), st.just(UNKNOWN), st.binary(max_size=40)),
    target=st.text(max_size=20),
    identity=st.text(max_size=20),
    age=st.floats(0, 1e9),
)
names = st.text(
    st.characters(blacklist_categories=("Cc", "Cs"), blacklist_characters="/|"), min_size=1, max_size=30
).filter(lambda n: n not in {".", ".."} and len(n.encode()) < 200)


@given(states, st.binary(max_size=60), st.integers(0, 0o777), st.sampled_from([(), ("a",), ("*",)]))
def test_a_file_is_as_wanted_once_it_was_applied(
    state: PathState, content: bytes, mode: int, hide: tuple[str, ...]
) -> None:
    file = File(id="file:x", path="/x", content=content, mode=mode, hide=hide)
    seen = Seen({file.probe: state})
    file.diff(seen)
    assert file.diff(file.after(seen)) is None


def reason(old: bytes, wanted: bytes, **more: object) -> str:
    """What is said of a file that holds something else; without its age."""
    made = File(id="file:x", path="/x", content=wanted, **more)  # type: ignore[arg-type]
    change = made.diff(Seen({made.probe: PathState("file", 0o644, "root", "root", content=old)}))
    assert change is not None
    return change.reason.rpartition("; ")[0]


lines = st.builds(lambda run, rest: "a" * run + rest, st.integers(0, 90), st.text("ab ;=", max_size=90))


@given(lines, lines)
def test_of_two_lines_that_differ_what_is_shown_differs_too(old: str, wanted: str) -> None:
    assume(old != wanted)
    told = reason(old.encode(), wanted.encode())
    shown, comma, other = told.partition(", wanted ")
    assert not comma or shown != other
    assert comma or not (old and wanted)
    assert max(len(shown), len(other)) <= 80


@given(st.binary(max_size=60), st.binary(max_size=60), st.sampled_from([(), ("a",), ("*",)]))
def test_of_any_other_content_something_is_told(old: bytes, wanted: bytes, hide: tuple[str, ...]) -> None:
    assume(old != wanted)
    shown, comma, other = reason(old, wanted, hide=hide).partition(", wanted ")
    assert shown
    assert not comma or shown != other


@pytest.mark.parametrize(
    ("old", "wanted", "told"),
    [
        ("x = 1\n", "x = 2\n", "x = 1, wanted x = 2"),
        (f"x = {'a' * 80}1", f"x = {'a' * 80}2", f"…{'a' * 20}1, wanted …{'a' * 20}2"),
        (f"x = {'a' * 80}", f"x = {'a' * 80}{'b' * 80}", f"…{'a' * 20}, wanted …{'a' * 20}{'b' * 39}"),
        ("x;\n", "x\n", "x;, wanted x"),
        ("x\n", "x\n\n", "an empty line is missing"),
        ("x\n", "x", "only line breaks differ"),
        ("x\r\n", "x\n", "only line breaks differ"),
        ("x\0\n", "x\1\n", "only what cannot be shown differs"),
        ("x\ny\n", "y\nx\n", "the order of its lines differs"),
        ("x\n", "x\nx\n", "lines are there more than once"),
        ("KEY=old\n", "KEY=new\n", "KEY=(secret, differs)"),
    ],
)
def test_what_differs_is_told_in_a_few_words(old: str, wanted: str, told: str) -> None:
    assert reason(old.encode(), wanted.encode(), hide=("KEY",)) == told


@given(states, st.integers(0, 0o7777))
def test_a_directory_is_as_wanted_once_it_was_applied(state: PathState, mode: int) -> None:
    directory = Directory(id="directory:x", path="/x", mode=mode)
    seen = Seen({directory.probe: state})
    directory.diff(seen)
    assert directory.diff(directory.after(seen)) is None


@given(states, st.text(min_size=1, max_size=20))
def test_a_link_is_as_wanted_once_it_was_applied(state: PathState, target: str) -> None:
    link = Link(id="link:x", path="/x", target=target)
    seen = Seen({link.probe: state})
    link.diff(seen)
    assert link.diff(link.after(seen)) is None


@given(states)
def test_a_file_that_is_not_needed_is_gone_once_that_was_applied(state: PathState) -> None:
    gone = NoFile(id="file:x", path="/x", ours=b"", reason="not needed")
    seen = Seen({gone.probe: state})
    assert gone.diff(gone.after(seen)) is None


@pytest.fixture
def places(tmp_path, monkeypatch):
    monkeypatch.setattr(batch, "RUN", str(tmp_path / "run"))
    monkeypatch.setattr(batch, "BACKUPS", str(tmp_path / "backups"))
    monkeypatch.setattr(batch, "LOG", str(tmp_path / "log" / "audit.jsonl"))
    return tmp_path


def converge(resources: list[HostResource], stamp: str = "T") -> list[Event]:
    """One look, one batch; what is left to do afterwards is an error."""
    session = FakeSession()
    events: list[Event] = []
    changes = plan.make(resources, probe.look(session, plan.probes_of(resources))).changes
    after = batch.run(session, changes, stamp=stamp, emit=events.append)
    assert [p.resource.diff(after) for p in changes] == [None] * len(changes)
    assert not plan.make(resources, probe.look(session, plan.probes_of(resources)))
    return events


def file(path: Path, content: bytes, **more: object) -> File:
    return File(id=f"file:{path.name}", path=str(path), content=content, owner=ME, group=GROUP, **more).of("s")  # type: ignore[arg-type]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names, st.binary(max_size=200), names)
def test_a_file_with_any_name_and_any_bytes_is_really_made(places, name: str, content: bytes, folder: str) -> None:
    path = places / "d" / folder / name
    converge([file(path, content, mode=0o640)])
    assert path.read_bytes() == content


def test_only_a_file_of_ours_is_removed_and_no_copy_of_it_kept(places) -> None:
    for name, content in (("ours", "# Written by us: x\nsecret\n"), ("theirs", "# mine\nsecret\n")):
        (places / name).write_text(content)
    (places / "link").symlink_to(places / "ours")
    resources: list[HostResource] = [
        NoFile(id=f"file:{n}", path=str(places / n), ours=b"# Written by us", reason="not needed").of("s")
        for n in ("link", "ours", "theirs", "absent")
    ]
    converge(resources)
    assert sorted(p.name for p in places.iterdir() if p.is_file() or p.is_symlink()) == ["link", "theirs"]
    assert not list((places / "backups").rglob("ours"))


def test_whatever_stands_in_the_place_of_a_file_is_kept(places) -> None:
    def link(p: Path) -> None:
        p.symlink_to("/dev/null")

    def full(p: Path) -> None:
        p.mkdir()
        (p / "inside").write_text("precious")

    def fifo(p: Path) -> None:
        os.mkfifo(p)

    for make in (link, full, fifo):
        path = places / make.__name__
        make(path)
        events = converge([file(path, b"wanted\n")], stamp=make.__name__)
        assert path.read_bytes() == b"wanted\n"
        kept = [Path(p) for e in events if isinstance(e, Kept) for p in e.paths]
        assert len(kept) == 1
        assert kept[0].is_symlink() or kept[0].exists()
    assert (places / "backups" / "full" / str(places / "full").lstrip("/") / "inside").read_text() == "precious"


def test_a_link_put_back_to_the_program_that_runs_starts_nothing_again() -> None:
    link = Link(id="link:x", path="/usr/local/bin/x", target="/opt/x/x-1")
    service = Service(id="unit:x.service", unit="x.service", links=("/usr/local/bin/x",), enabled=False)
    through, there = PathProbe("/usr/local/bin/x", read=False), PathProbe("/opt/x/x-1", read=False)
    away = PathState("link", target="/bin/true", identity="1:2:3:4")
    seen = Seen({link.probe: away, through: away, there: PathState("file", identity="1:9:9:9")})
    for recorded, action in (("1:9:9:9", None), ("1:2:3:4", "restart")):
        unit = UnitState("loaded", "active", "running", record={"/usr/local/bin/x": recorded})
        change = service.diff(link.after(seen.put(service.probe, unit)))
        assert (change.action if change else None) == action
    # A program that this plan replaces first is another one when the link leads there again.
    altered = seen.put(BlobProbe("/opt/x/x-1"), BlobState("file", 0o755, "root", "root", sha256="a", noted="b"))
    binary = Binary(id="binary:x", path="/opt/x/x-1", source=Sent(None, "b"), sha256="b", links=("/usr/local/bin/x",))
    after = link.after(binary.after(altered))
    unit = UnitState("loaded", "active", "running", record={"/usr/local/bin/x": "1:9:9:9"})
    change = service.diff(after.put(service.probe, unit))
    assert change is not None
    assert change.action == "restart"


def test_what_is_nobody_knows_whose_is_replaced_by_a_link_after_a_yes_only() -> None:
    link = Link(id="link:x", path="/usr/local/bin/x", target="/opt/x/bin/x-1", guest=True)
    for state, asks in (
        (PathState("file"), True),
        (PathState("link", target="/opt/theirs/x"), True),
        (PathState("directory"), True),
        (PathState("link", target="/opt/x/bin/x-0"), False),
        (PathState("absent"), False),
    ):
        change = link.diff(Seen({link.probe: state}))
        assert change is not None
        assert bool(change.asks) is asks, state
        mine = replace(link, guest=False).diff(Seen({link.probe: state}))
        assert mine is not None
        assert bool(mine.asks) is (state.kind == "directory")


def test_directories_and_links_are_really_made_over_what_was_there(places) -> None:
    (places / "was-file").write_text("x")
    (places / "was-link").symlink_to("/etc")
    (places / "full").mkdir()
    (places / "full" / "inside").write_text("precious")
    wanted: list[HostResource] = [
        Directory(id="directory:a", path=str(places / "was-file"), owner=ME, group=GROUP, mode=0o2750).of("s"),
        Directory(id="directory:b", path=str(places / "new" / "deep"), owner=ME, group=GROUP).of("s"),
        Link(id="link:a", path=str(places / "was-link"), target="/opt/a 'b").of("s"),
        Link(id="link:b", path=str(places / "full"), target="was-link").of("s"),
    ]
    converge(wanted)
    assert (places / "was-link").readlink() == Path("/opt/a 'b")
    assert (places / "backups" / "T" / str(places / "full").lstrip("/") / "inside").read_text() == "precious"


def test_files_that_fail_their_check_in_place_go_back_together(places) -> None:
    (places / "a").write_text("old a\n")
    files = [
        file(places / "a", b"new a\n"),
        file(places / "b", b"new b\n", check_in_place=f"echo 'line 3 is bad' >&2; grep -q nothing {places}/a"),
    ]
    with pytest.raises(ProvisionError) as caught:
        converge(list(files))
    assert caught.value.why == "line 3 is bad"
    assert (places / "a").read_text() == "old a\n"
    assert not (places / "b").exists()


def test_a_staged_file_that_fails_its_check_changes_nothing(places) -> None:
    with pytest.raises(ProvisionError):
        converge([file(places / "a", b"x"), file(places / "b", b"bad", check='! grep -q bad "$f"')])
    assert not (places / "a").exists()
    assert not (places / "b").exists()


def test_files_that_cannot_be_placed_leave_nothing_half_done(places) -> None:
    nobody = File(id="file:b", path=str(places / "b"), content=b"x", owner="no-such-user").of("s")
    with pytest.raises(ProvisionError):
        converge([file(places / "a", b"x"), nobody])
    assert [p.name for p in places.iterdir() if p.is_file()] == []


def test_what_is_kept_is_what_was_there_before_the_run(places) -> None:
    (places / "a").write_text("before\n")
    converge([file(places / "a", b"first\n")])
    converge([file(places / "a", b"second\n")])  # the same stamp: another exec of the same run
    assert (places / "backups" / "T" / str(places / "a").lstrip("/")).read_text() == "before\n"


def test_a_fifo_a_device_and_a_socket_are_looked_at_without_waiting_for_them(places) -> None:
    os.mkfifo(places / "fifo")
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(places / "s"))
    probes = [PathProbe(str(places / "fifo")), PathProbe(str(places / "s")), PathProbe("/dev/zero")]
    seen = probe.look(FakeSession(), probes, timeout=10)
    assert [seen[p].kind for p in probes] == ["other"] * 3
    sock.close()


def test_a_large_file_is_not_brought_home(places) -> None:
    (places / "large").write_bytes(b"x" * (READ_LIMIT + 1))
    (places / "fits").write_bytes(b"\xff" * READ_LIMIT)
    large, fits = PathProbe(str(places / "large")), PathProbe(str(places / "fits"))
    seen = probe.look(FakeSession(), [large, fits])
    assert seen[large].content is None
    assert seen[fits].content == b"\xff" * READ_LIMIT


@given(st.binary(max_size=400))
def test_an_answer_that_makes_no_sense_is_an_error_and_no_crash(data: bytes) -> None:
    frame = script.Frame("probe", "paths", 0, data)
    groups = probe.by_kind([PathProbe("/x")])
    with contextlib.suppress(ProtocolError):
        probe.read(groups, [frame])


@pytest.mark.parametrize(
    "line", [b"now inf", b"now nan", b"s|zz|a|b|1|2|3|4|/x", b"s|81a4|r|r|1|9e999|1|1|/x", b"s|1", b"c|%%|/x", b"l|a"]
)
def test_a_forged_line_about_a_path_is_refused(line: bytes) -> None:
    with pytest.raises(ProtocolError):
        probe.read(probe.by_kind([PathProbe("/x")]), [script.Frame("probe", "paths", 0, b"now 5\n" + line + b"\n")])


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_the_scripts_run_in_every_shell_a_host_may_have(places, shell: list[str]) -> None:
    wanted: list[HostResource] = [
        file(places / "a b'c", bytes(range(256)), check="true", check_in_place="true"),
        Directory(id="directory:d", path=str(places / "d"), owner=ME, group=GROUP).of("s"),
        Link(id="link:l", path=str(places / "l"), target="d").of("s"),
    ]
    seen = probe.look(FakeSession(), plan.probes_of(wanted))
    changes = plan.make(wanted, seen).changes
    text = batch.compose(changes, "0" * 32, "T")
    assert lint(text) == ""
    done = run_shell(shell, encode(text))
    assert done.returncode == 0, done.stderr
    assert (places / "a b'c").read_bytes() == bytes(range(256))
    assert not list(places.glob("*.provision-*"))


def test_the_rights_of_a_directory_never_follow_a_link_that_was_put_in_its_place(tmp_path: Path) -> None:
    victim, place = tmp_path / "victim", tmp_path / "place"
    victim.mkdir(mode=0o755)
    me, group = pwd.getpwuid(os.getuid()).pw_name, grp.getgrgid(os.getgid()).gr_name
    place.symlink_to(victim)
    fragment = directory_rights(str(place), me, group, 0o700)
    ran = subprocess.run(["sh", "-eu"], input=fragment, text=True, capture_output=True, check=False)
    assert ran.returncode != 0
    assert "is being replaced" in ran.stderr
    assert victim.stat().st_mode & 0o777 == 0o755
    place.unlink()
    place.mkdir(mode=0o755)
    subprocess.run(["sh", "-eu"], input=fragment, text=True, check=True)
    assert place.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("path", "action", "read"),
    [
        ("/etc/systemd/system/a.service", "change", True),
        ("/etc/systemd/system/a.service.d/50.conf", "change", True),
        ("/etc/systemd/system/a.service", "create", False),  # its unit's start does that
        ("/etc/a.service", "change", False),
    ],
)
def test_systemd_reads_a_file_again_that_was_put_back_beneath_a_unit_that_needs_no_start(
    path: str, action: str, read: bool
) -> None:
    file = File(id="file:a", path=path, content=b"x")
    assert ("systemctl daemon-reload" in File.apply([(file, Change(action, "it differs"))])) is read
