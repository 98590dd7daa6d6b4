from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shells import SHELLS, lint, run

from provisioner.engine.probe import Seen
from provisioner.engine.resource import Change
from provisioner.errors import Refused, UsageError
from provisioner.resources import elf
from provisioner.resources.binary import _TOOLS, Binary, Fetched, FromWheel, Sent, reachability
from provisioner.resources.blob import FUNCTIONS, BlobProbe, BlobState
from provisioner.resources.paths import PathProbe, PathState
from provisioner.resources.reach import ListedProbe
from provisioner.runtime.pins import WEED

SHA = hashlib.sha256(b"program").hexdigest()
OTHER = hashlib.sha256(b"another").hexdigest()
PATH = "/opt/thing/bin/thing-1"
AMD64 = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\x3e\x00" + bytes(44)
ARM64 = AMD64[:18] + b"\xb7\x00" + AMD64[20:]


def binary(**values: Any) -> Binary:
    return Binary(**{"id": "binary:thing", "path": PATH, "source": Sent("/x", SHA), "sha256": SHA, **values})


STATES = st.builds(
    BlobState,
    kind=st.sampled_from(["absent", "file", "directory", "link", "other"]),
    mode=st.sampled_from([0o755, 0o644]),
    owner=st.sampled_from(["root", "www-data"]),
    group=st.just("root"),
    sha256=st.sampled_from(["", SHA, OTHER]),
    noted=st.sampled_from(["", SHA, OTHER]),
)


@given(STATES, st.sampled_from([SHA, None]))
def test_nothing_is_left_to_do_after_it_was_applied(state: BlobState, wanted: str | None) -> None:
    resource = binary(sha256=wanted)
    seen = Seen({resource.probe: state})
    assert resource.diff(resource.after(seen)) is None


def test_an_altered_program_is_replaced_and_told_by_both_hashes() -> None:
    resource = binary()
    change = resource.diff(Seen({resource.probe: BlobState("file", 0o755, "root", "root", sha256=OTHER, noted=SHA)}))
    assert change is not None
    assert change.payload is True
    assert OTHER[:12] in change.reason
    assert SHA[:12] in change.reason


def test_a_wrong_mode_needs_no_transfer() -> None:
    resource = binary()
    change = resource.diff(Seen({resource.probe: BlobState("file", 0o777, "root", "root", sha256=SHA, noted=SHA)}))
    assert change is not None
    assert change.payload is None


def test_without_a_wanted_hash_the_noted_one_holds() -> None:
    resource = binary(sha256=None)
    whole = BlobState("file", 0o755, "root", "root", sha256=SHA, noted=SHA)
    assert resource.diff(Seen({resource.probe: whole})) is None
    unknown = BlobState("file", 0o755, "root", "root", sha256=SHA)
    assert resource.diff(Seen({resource.probe: unknown})) is not None


def test_what_runs_through_a_link_to_it_is_stale_once_it_is_replaced() -> None:
    resource = binary(links=("/usr/local/bin/thing",))
    link = PathProbe("/usr/local/bin/thing", read=False)
    seen = Seen({resource.probe: BlobState("absent"), link: PathState("link", target=PATH, identity="1:2:3:4")})
    assert resource.after(seen)[link].identity == ""


@pytest.mark.parametrize(
    "source",
    [
        Sent("/x", SHA),
        Fetched("https://mirror.example.com/it's.tar.gz", SHA),
        FromWheel(WEED),
    ],
)
def test_every_fragment_is_clean_posix_sh(source: Sent | Fetched | FromWheel) -> None:
    resource = binary(source=source, ways_out=("a file: --set x=y", "or 'that'"))
    change = Change("create", "absent", payload="/var/tmp/it's/blob" if isinstance(source, Sent) else True)
    text = Binary.apply([(resource, change), (resource, Change("change", "mode"))])
    assert lint(f"T=/tmp\nsay() {{ :; }}\nkeep() {{ :; }}\nset -eu\n{text}") == ""
    for shell in SHELLS:
        assert subprocess.run([*shell, "-n"], input=text.encode(), capture_output=True, check=False).stderr == b""


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_of_older_builds_the_newest_stays_and_what_is_used_or_not_ours(shell: list[str], tmp_path: Path) -> None:
    def build(name: str, age: int, noted: bool = True) -> Path:
        path = tmp_path / name
        path.write_text("#!/bin/sh\n")
        if noted:
            (tmp_path / f"{name}.sha256").write_text("x")
        os.utime(path, (1_000_000 - age, 1_000_000 - age))
        return path

    now = build("it-now", 0)
    stay = [build("it-before", 1), build("it-linked", 5), build("it-theirs", 9, noted=False), build("other-1", 9)]
    running = tmp_path / "it-running"
    shutil.copy("/bin/sleep", running)
    (tmp_path / "it-running.sha256").write_text("x")
    os.utime(running, (900_000, 900_000))
    gone = [build("it-old", 2), build("it-older", 7)]
    link, spare = tmp_path / "link", tmp_path / "spare"
    link.symlink_to(stay[1])
    with subprocess.Popen([str(running), "60"]) as process:
        names = " ".join(map(str, (now, link, spare)))
        done = run(shell, f"set -eu\n{FUNCTIONS}\n{_TOOLS}\nclear_builds {names}\n".encode())
        process.kill()
    assert (done.returncode, done.stderr) == (0, b"")
    assert all(path.exists() for path in (now, running, *stay))
    assert not any(path.exists() or Path(f"{path}.sha256").exists() for path in gone)


def test_the_looks_are_clean_posix_sh() -> None:
    assert lint(BlobProbe.fragment([BlobProbe("/a b"), BlobProbe("/c", deep=True)])) == ""
    assert lint("T=/tmp\n" + ListedProbe.fragment([ListedProbe("thing", "/opt/it's")])) == ""
    assert lint(reachability(["https://example.com/a?b=c&d"])) == ""


@pytest.mark.parametrize("shell", SHELLS, ids=lambda s: s[0])
def test_a_look_sees_an_altered_file_although_its_size_and_mtime_are_kept(
    shell: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    big = tmp_path / "it's big"
    big.write_bytes(bytes(9 * 2**20))
    stamp = big.stat()

    def look() -> BlobState:
        text = BlobProbe.fragment([BlobProbe(str(big)), BlobProbe(str(tmp_path / "none"))])
        text = text.replace("/run/provision", str(tmp_path / "run"))
        done = run(shell, text.encode())
        first, second = BlobProbe.parse([BlobProbe(str(big)), BlobProbe(str(tmp_path / "none"))], done.stdout)
        assert second.kind == "absent"
        return first

    assert look().sha256 == hashlib.sha256(bytes(9 * 2**20)).hexdigest()
    records = list((tmp_path / "run/proved").iterdir())
    assert len(records) == 1
    assert look().sha256 == hashlib.sha256(bytes(9 * 2**20)).hexdigest()
    with big.open("r+b") as file:
        file.write(b"x")
    os.utime(big, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert look().sha256 == hashlib.sha256(b"x" + bytes(9 * 2**20 - 1)).hexdigest()


@given(st.binary(max_size=400))
def test_whatever_a_host_answers_a_look_gives_one_state_or_says_so(answer: bytes) -> None:
    try:
        states = list(BlobProbe.parse([BlobProbe(PATH)], answer))
    except (ValueError, IndexError, KeyError):
        return
    assert len(states) == 1


def test_the_machine_of_a_program_is_read_from_its_header() -> None:
    assert elf.machine(AMD64) == "amd64"
    assert elf.machine(ARM64) == "arm64"
    assert elf.machine(b"#!/bin/sh\n" + bytes(60)) == ""
    assert elf.machine(b"\x7fELF") == ""


def archive(path: Path, name: str, data: bytes) -> None:
    with tarfile.open(path, "w:gz") as file:
        for each, content in (("LICENSE", b"free"), (name, data)):
            info = tarfile.TarInfo(each)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))


def test_a_program_inside_an_archive_is_found_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "thing.tar.gz"
    archive(path, "folder/thing", AMD64)
    program = elf.open_program(path, ("thing",))
    assert program.machine == "amd64"
    assert program.sha256 == hashlib.sha256(AMD64).hexdigest()
    assert program.download == hashlib.sha256(path.read_bytes()).hexdigest()
    assert program.read() == AMD64


def test_an_archive_without_the_program_and_a_missing_file_are_usage_errors(tmp_path: Path) -> None:
    archive(tmp_path / "a.tar.gz", "README", b"x")
    (tmp_path / "b.tar.gz").write_bytes((tmp_path / "a.tar.gz").read_bytes()[:40])
    for name in ("a.tar.gz", "b.tar.gz", "none"):
        with pytest.raises(UsageError):
            elf.open_program(tmp_path / name, ("thing",))


@pytest.mark.parametrize("content", [ARM64, b"<html>Gone</html>", b"#!/bin/sh\n"])
def test_what_is_no_program_for_the_host_is_refused_before_anything_is_sent(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "thing"
    path.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    with pytest.raises(Refused):
        binary(source=Sent(str(path), digest), sha256=digest).local()


def test_another_file_than_the_recorded_one_is_refused_and_an_unknown_one_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "thing"
    path.write_bytes(AMD64)
    with pytest.raises(Refused, match="not the file"):
        binary(source=Sent(str(path), SHA)).local()
    with pytest.raises(UsageError, match="installed again"):
        binary(source=Sent(None, SHA)).local()
