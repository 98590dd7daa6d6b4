"""What is cleared away, and above all what is not."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from shells import SHELLS, lint
from shells import run as run_shell

from provisioner import lock
from provisioner.engine import batch
from provisioner.prune import DAYS, KEPT, tidy


def stamp(days: float) -> str:
    return (datetime.now(UTC) - timedelta(days=days)).strftime("%Y-%m-%dT%H%M%SZ")


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(batch, "BACKUPS", str(tmp_path / "backups"))
    monkeypatch.setenv("SUDO_UID", str(os.getuid()))
    (tmp_path / "tmp").mkdir()
    (tmp_path / "backups").mkdir()
    return tmp_path


def kept(places: Path, days: float, path: str) -> Path:
    copy = places / "backups" / stamp(days) / path
    copy.parent.mkdir(parents=True, exist_ok=True)
    copy.write_text(path)
    return copy


def run(places: Path, shell: list[str]) -> None:
    done = run_shell(shell, tidy([str(places / "tmp"), str(places / "nowhere")]).encode())
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_folders_of_killed_runs_go_after_a_day_and_nothing_else_does(places: Path, shell: list[str]) -> None:
    old, other = time.time() - 2 * 86400, ("provision.notours", "provision", "mine", "provision.aaaa/bbbbbb")
    names = ("provision.aB3dE6", "provision.aB3dE6gH9k", *other)
    for name in names:
        folder = places / "tmp" / name
        folder.mkdir(parents=True)
        (folder / "blob").write_text("x")
        os.utime(folder, (old, old))
    (places / "tmp" / "provision.young0").mkdir()
    (places / "tmp" / "provision.afile0").write_text("x")
    (places / "tmp" / "provision.alink0").symlink_to(places / "tmp" / "mine")
    os.utime(places / "tmp" / "provision.afile0", (old, old))
    run(places, shell)
    assert {path.name for path in (places / "tmp").iterdir()} == {
        *(name.split("/")[0] for name in other),
        *("provision.young0", "provision.afile0", "provision.alink0"),
    }
    assert (places / "tmp" / "mine" / "blob").exists()


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_the_first_the_newest_and_the_young_copies_of_each_path_stay(places: Path, shell: list[str]) -> None:
    often = [kept(places, DAYS + 100 - n, "etc/a file") for n in range(KEPT + 5)]
    once = kept(places, DAYS + 1000, "etc/nginx/theirs")
    few = [kept(places, DAYS + 500 - n, "etc/few") for n in range(KEPT)]
    young = [kept(places, n + 1, "etc/young") for n in range(KEPT + 5)]
    strange = kept(places, DAYS + 98, "etc/two\nlines")
    dump = places / "backups" / "mlflow-before-upgrade.dump"
    dump.write_text("x")
    os.utime(dump, (0, 0))
    run(places, shell)
    assert [copy for copy in often if not copy.exists()] == often[1:5]
    assert all(copy.exists() for copy in (once, *few, *young, strange, dump))
    assert not often[1].parent.parent.exists()  # an empty folder of a run is not kept


def test_without_backups_nothing_is_said(places: Path) -> None:
    (places / "backups").rmdir()
    run(places, ["sh"])


def test_the_script_passes_shellcheck() -> None:
    assert lint(tidy()) == ""


def test_it_is_done_while_both_locks_are_held() -> None:
    class Asked(Exception):
        """Carries what would have been sent."""

    class Session:
        """Goes no further than what it is asked to hold."""

        def hold(self, script: bytes) -> None:
            raise Asked(script.decode())

    with pytest.raises(Asked) as asked, lock.hold(Session(), command="x", seen_owner=b"", say=print):  # type: ignore[arg-type]
        pass
    text = str(asked.value)
    assert text.index("take 8 && take 9") < text.index(tidy()) < text.index("flock -u 9")
    assert "@TIDY@" not in text
    assert lint(text) == ""
