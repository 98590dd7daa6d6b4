"""Every file that lands on a host, as it was read by somebody and kept."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from kept import HERE, same
from model import ModelHost, vault
from stacks import EXAMPLES, made

from provisioner.commands.view import View


def listing(host: ModelHost, given: set[str]) -> str:
    """What the stack made at which path; contents are in the files beside this list."""
    lines = []
    for path, state in host.files.items():
        if path in given:
            continue
        shown = f" -> {state.target}" if state.kind == "link" else ""
        lines.append(f"{state.kind:<9} {state.mode:04o} {state.owner}:{state.group:<12} {path}{shown}")
    return "\n".join(lines) + "\n"


def steps(view: View) -> str:
    """The plan of the first run."""
    return "".join(
        f"{planned.step:<10} {planned.change.action:<7} {planned.id:<40} {planned.change.reason}\n"
        for planned in view.plan.changes
    )


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_files_of_a_stack_are_those_that_were_kept(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    host, first, last = made(name, monkeypatch, tmp_path)
    assert [f"{p.id}: {p.change.reason}" for p in last.plan.changes] == []
    before = ModelHost()
    EXAMPLES[name].before(before)
    untouched = {path for path, state in before.files.items() if host.files[path] == state}
    texts = {"plan.txt": steps(first), "paths.txt": listing(host, untouched)}
    for path, state in host.files.items():
        if state.kind == "file" and path not in untouched and isinstance(state.content, bytes) and state.content:
            texts[f"files{path}"] = state.content.decode()
    same(name, texts)


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_secret_stands_only_in_files_that_not_everybody_may_read(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    host, *_ = made(name, monkeypatch, tmp_path)
    fakes = [secret.reveal().encode() for secret in vault().secrets().values()]
    assert all(fake.startswith(b"fake") for fake in fakes)
    holders = {
        path: state.mode
        for path, state in host.files.items()
        if isinstance(state.content, bytes) and any(fake in state.content for fake in fakes)
    }
    # The record, MLflow's environment, and the store's own settings where it is this server's.
    assert len(holders) >= (2 if name == "external" else 3)
    assert {path: mode for path, mode in holders.items() if mode & 0o077} == {}


UNITS = sorted(HERE.glob("*/files/etc/systemd/system/*.service"))


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
@pytest.mark.parametrize(
    "path", sorted(HERE.glob("*/files/etc/systemd/system/*.service")), ids=lambda p: f"{p.parts[-6]}-{p.name}"
)
def test_systemd_accepts_the_kept_units(path: Path, tmp_path: Path) -> None:
    """Their programs are not on this machine: another stands in for each."""
    unit = tmp_path / path.name
    unit.write_text(
        re.sub(r"^(ExecStart(?:Post)?=\+?)\S+", r"\1/bin/true", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    )
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", str(unit)], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
