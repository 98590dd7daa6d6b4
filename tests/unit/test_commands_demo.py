"""The demo's last words: what they name can be pasted into the shell that it was called from."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from provisioner.commands.demo import _path_line


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The programs of a virtual environment that is on nobody's PATH."""
    programs = tmp_path / "it's $HOME" / "bin"
    programs.mkdir(parents=True)
    (programs / "provision").write_text("#!/bin/sh\necho found\n")
    (programs / "provision").chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(programs / "python"))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    return programs


def test_where_the_shell_does_not_find_provision_a_line_to_paste_mends_it(environment: Path) -> None:
    line = _path_line()
    pasted = subprocess.run(["sh", "-c", f"{line}\nprovision"], capture_output=True, text=True, check=False)
    assert (pasted.stdout, pasted.stderr) == ("found\n", "")


def test_where_the_shell_finds_another_provision_the_line_puts_this_one_first(
    environment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "provision"
    other.write_text("#!/bin/sh\necho other\n")
    other.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    pasted = subprocess.run(["sh", "-c", f"{_path_line()}\nprovision"], capture_output=True, text=True, check=False)
    assert pasted.stdout == "found\n"


def test_where_the_shell_finds_it_nothing_is_said(environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{environment}:/usr/bin:/bin")
    assert _path_line() == ""


def test_where_it_was_not_installed_nothing_is_said(environment: Path) -> None:
    (environment / "provision").unlink()
    assert _path_line() == ""
