"""Which drop-ins beside a unit of ours stay and which go."""

from __future__ import annotations

from pathlib import Path

import pytest
import shells
from hypothesis import given
from hypothesis import strategies as st

from provisioner.engine.probe import Seen
from provisioner.resources import drop_ins
from provisioner.resources.drop_ins import DropIn, DropInProbe, DropIns, offences
from provisioner.resources.unit import UnitProbe, UnitState

UNIT = b"[Unit]\nDescription=x\n[Service]\nUser=mlflow\nProtectSystem=strict\nExecStart=/opt/x\n"
VARIABLES = frozenset({"MLFLOW_PORT", "LD_[A-Z_]*", "PATH"})
PATHS = st.sampled_from([f"/etc/systemd/system/a-b.service.d/{n}.conf" for n in "abcde"])


def wanted() -> DropIns:
    return DropIns(id="drop-ins:x", unit="a-b.service", content=UNIT, variables=("MLFLOW_PORT",))


@pytest.mark.parametrize(
    "text",
    [
        "[Service]\nUser=root",
        "[Service]\nGroup=root",
        "[Service]\nExecStart=",
        "[Service]\nExecStartPre=/bin/true",
        "[Service]\n ExecStart = \\\n /bin/sh",
        "[Service]\nEnvironmentFile=/tmp/e",
        "[Service]\nEnvironment=A=1 MLFLOW_PORT=1",
        '[Service]\nEnvironment="LD_PRELOAD=/tmp/x.so"',
        "[Service]\nEnvironment=",
        "[Service]\nUnsetEnvironment=MLFLOW_PORT",
        "[Service]\nWorkingDirectory=/tmp",
        "[Service]\nProtectSystem=no",
        "[Service]\nMemoryDenyWriteExecute=no",
        "[Service]\nCapabilityBoundingSet=~",
        "[Service]\nSomethingNewer=yes",
        "[Service]\nStandardOutput=truncate:/etc/passwd",
        "[Unit]\nConditionPathExists=/nowhere",
    ],
)
def test_what_changes_the_program_its_user_its_files_or_its_confinement_is_an_offence(text: str) -> None:
    assert offences(text.encode(), UNIT, VARIABLES)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# User=root\n; ExecStart=\n",
        "[Service]\nNice=5\nCPUQuota=50%\nMemoryHigh=1G\nLimitNOFILE=9\nTimeoutStopSec=5\nRestartSec=9",
        "[Service]\nUser=mlflow\nProtectSystem=strict",
        "[Service]\nEnvironment=OTHER=1 XMLFLOW_PORT=2",
        "[Unit]\nAfter=x.service\nOnFailure=mail.service\n[Install]\nWantedBy=x.target",
    ],
)
def test_what_only_tunes_or_repeats_stays(text: str) -> None:
    assert offences(text.encode(), UNIT, VARIABLES) == ()


def test_a_drop_in_too_large_to_read_is_an_offence() -> None:
    assert offences(None, UNIT, VARIABLES)


@given(st.lists(st.builds(DropIn, PATHS, st.sampled_from([b"[Service]\nNice=1", b"[Service]\nUser=root", None]))))
def test_after_the_change_nothing_is_left_to_do_and_the_unit_restarts(found: list[DropIn]) -> None:
    unit = UnitProbe("a-b.service")
    seen = Seen({wanted().probe: tuple(found), unit: UnitState("loaded", "active", record={"/x": "1"})})
    change = wanted().diff(seen)
    assert wanted().diff(wanted().after(seen)) is None
    assert (change is None) == (wanted().after(seen)[unit].record == {"/x": "1"})


def test_the_directories_of_shortened_names_count_too() -> None:
    text = DropInProbe.fragment([DropInProbe("a-b.service")])
    assert "/etc/systemd/system/a-b.service.d" in text
    assert "/run/systemd/system/a-.service.d" in text
    assert "/etc/systemd/system/service.d" not in text


@pytest.mark.parametrize("shell", shells.SHELLS, ids=" ".join)
def test_drop_ins_with_any_name_and_content_are_read(
    shell: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "a-b.service.d"
    folder.mkdir()
    (folder / "sp ace|'\n.conf").write_bytes(b"[Service]\nUser=root\n\x00\xff")
    (folder / "large.conf").write_bytes(b"#" * 70_000)
    (folder / "not-one.txt").write_bytes(b"x")
    monkeypatch.setattr(drop_ins, "_ROOTS", (str(tmp_path), str(tmp_path / "none")))
    probe = DropInProbe("a-b.service")
    text = DropInProbe.fragment([probe])
    assert shells.lint(text) == ""
    done = shells.run(shell, b"set -eu\n" + text.encode())
    assert done.returncode == 0, done.stderr
    (found,) = DropInProbe.parse([probe], done.stdout)
    assert {Path(d.path).name: d.content and d.content[:9] for d in found} == {
        "sp ace|'\n.conf": b"[Service]",
        "large.conf": None,
    }


def test_the_fragment_keeps_what_it_removes_and_forgets_what_the_unit_was_started_with() -> None:
    hostile = (DropIn("/etc/systemd/system/a-b.service.d/it's.conf", b"[Service]\nUser=root"),)
    change = wanted().diff(Seen({wanted().probe: hostile}))
    assert change is not None
    assert "User=root" in change.reason
    text = DropIns.apply([(wanted(), change)])
    assert text.index("keep ") < text.index("rm -f")
    assert "rm -f -- /run/provision/a-b.service" in text
    assert shells.lint("keep() { :; }\n" + text) == ""


def test_the_unit_behind_which_another_stands_is_started_again_for_its_drop_in() -> None:
    helper = DropIns(id="drop-ins:h", unit="helper.service", content=UNIT, restarts="main.service")
    bad = DropIn("/etc/systemd/system/helper.service.d/x.conf", b"[Service]\nUser=root\n")
    running = UnitState("loaded", "active", record={"/etc/x": "1"})
    seen = Seen({helper.probe: (bad,), UnitProbe("main.service"): running})
    change = helper.diff(seen)
    assert change is not None
    assert helper.after(seen)[UnitProbe("main.service")].record == {}
    assert "rm -f -- /run/provision/main.service" in DropIns.apply([(helper, change)])
