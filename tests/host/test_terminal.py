"""What a user sees on a terminal of 80 and of 120 columns."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from . import terminal as terminals
from .conftest import Stack
from .terminal import Terminal

pytestmark = [
    pytest.mark.skipif(not terminals.available(), reason="tmux is not installed"),
    pytest.mark.parametrize("made", ["seaweedfs"], indirect=True, scope="session"),
]
WIDTHS = (80, 120)
Open = Callable[..., AbstractContextManager[Terminal]]


@pytest.fixture
def home(stack: Stack, tmp_path: Path) -> Path:
    """A user whose own key opens the server: nothing but the host is named on the command line."""
    (tmp_path / ".ssh").mkdir(mode=0o700)
    shutil.copy(stack.reach()[-1], tmp_path / ".ssh" / "id_ed25519")
    (tmp_path / ".ssh" / "id_ed25519").chmod(0o600)
    return tmp_path


@pytest.fixture
def run(stack: Stack, home: Path) -> Open:
    """`provision ARGUMENTS` in a window of that width."""

    def opened(width: int, *arguments: str) -> AbstractContextManager[Terminal]:
        state = str(stack.operator.state)
        return terminals.terminal(width, "provision", *arguments, home=home, XDG_STATE_HOME=state)

    return opened


def too_long(window: Terminal) -> list[str]:
    """Lines beyond the width. Commands, addresses and paths are there to be pasted, and are never broken."""
    return [
        line
        for line in window.lines()
        if len(line) > window.width and not re.search(r"\bprovision \S|https?://\S+$|^ *\S+$", line)
    ]


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_to_change_is_one_line_with_its_time_at_the_edge(stack: Stack, run: Open, width: int) -> None:
    with run(width, "--host", stack.address) as window:
        assert window.ends() == 0
        (line, _) = window.lines()
    assert re.fullmatch(
        rf"{stack.address} +nothing to change: (\d+) of \1 as wanted, answers in \d+ ms +\d+\.\d s", line
    )
    assert len(line) in (width - 1, width)


@pytest.mark.parametrize("width", WIDTHS)
def test_a_plan_says_what_why_and_what_it_costs(stack: Stack, run: Open, width: int) -> None:
    settings = ("--set", "mlflow.workers=3")
    with run(width, "plan", "--diff", "--host", stack.address, *settings) as window:
        assert window.ends() == 0
        lines = window.lines()
        assert not too_long(window)
    text = "\n".join(lines)
    assert re.match(rf"{stack.address} +\d+ of \d+ differ", lines[0])
    assert "mlflow     ~ /etc/mlflow/mlflow.env" in lines
    assert "               -MLFLOW_WORKERS=2" in lines
    assert "               +MLFLOW_WORKERS=3" in lines
    assert "           > restart mlflow-server.service, clients wait about" in text
    assert "no download. Nothing was changed." in text
    assert lines[-2] == f"Do it:  provision --host {stack.address} --set mlflow.workers=3"
    for name in ("login", "database.password", "store.user.secret"):
        assert stack.secret(name) not in text


@pytest.mark.parametrize("width", WIDTHS)
def test_a_failure_says_what_why_and_what_to_do(stack: Stack, run: Open, width: int) -> None:
    with run(width, "--host", "10.151.0.98") as window:
        assert window.ends() == 3
        lines = window.lines()
        assert not too_long(window)
    assert [line[:7] for line in lines if line[:7].strip() in {"what", "why", "next"}] == [
        "what   ",
        "why    ",
        "next   ",
    ]
    assert any("10.151.0.98" in line for line in lines)


@pytest.mark.parametrize("width", WIDTHS)
def test_status_is_one_screen(stack: Stack, run: Open, width: int) -> None:
    with run(width, "status", "--host", stack.address) as window:
        assert window.ends() == 0
        lines = window.lines()
        assert not too_long(window)
    assert len(lines) < 30
    for words in (stack.url, "drift        none", " objects, ", " experiments"):
        assert words in "\n".join(lines)
    for service in ("mlflow-server", "seaweedfs", "nginx", "postgresql@"):
        assert any(re.match(rf"{service}\S* +\d[\d.]+ +active ", line) for line in lines), service


def test_a_repair_is_shown_while_it_runs_and_told_when_it_is_done(stack: Stack, run: Open) -> None:
    unit = "/etc/systemd/system/mlflow-server.service"
    runs = "systemctl daemon-reload && systemctl restart mlflow-server.service"
    stack.on(f"sed -i 's/^MemoryMax=.*/MemoryMax=2500M/' {unit} && {runs}")
    with run(80, "--host", stack.address) as window:
        assert window.ends(400) == 0
        lines = window.lines()
        assert not too_long(window)
        seen = window.seen
    text = "\n".join(lines)
    assert re.match(rf"{stack.address} +\d of \d+ differs?$", lines[0])
    # Redrawn in place: on the screen while it works, gone from what stays.
    live = re.compile(r"^(mlflow|verify) .+ \d+\.\d s$", re.MULTILINE)
    assert any(live.search(screen) for screen in seen[:-1])
    assert f"mlflow     ~ {unit}" in text
    assert "MemoryMax=2500M, wanted MemoryMax=3" in text
    assert re.search(r"^Repaired in \d+\.\d s: \d changes?, 1 restart", text, re.MULTILINE)
    assert "/var/backups/provision/" in text
    assert 'To keep such a change, say it in the inventory:\n  [mlflow] memory = "2500M"' in text
    assert re.search(r"^verify +\d+ checks, from this machine +\d+\.\d s$", text, re.MULTILINE)


def test_ctrl_c_ends_cleanly_and_says_how_to_go_on(stack: Stack, run: Open) -> None:
    with run(80, "verify", "--host", stack.address) as window:
        until(window, lambda: "verify " in window.screen())
        window.press("C-c")
        assert window.ends(60) == 130
        text = "\n".join(window.lines())
        assert not too_long(window)
    assert "interrupted" in text
    assert "run the same command again" in text
    assert "Traceback" not in text


def test_bash_completes_a_step_at_the_prompt(home: Path, stack: Stack) -> None:
    # At a real prompt: the shell asks the program when <TAB> is pressed.
    start = 'eval "$(_PROVISION_COMPLETE=source_bash provision)"; PS1="> "; echo ready'
    (home / "rc").write_text(start + "\n")
    with terminals.terminal(80, "bash", "--noprofile", "--rcfile", "rc", "-i", home=home) as window:
        until(window, lambda: "ready" in window.screen())
        window.press("provision postg")
        window.press("Tab")
        until(window, lambda: "> provision postgres" in window.screen())


def until(window: Terminal, condition: Callable[[], bool], seconds: float = 60) -> None:
    import time

    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, window.screen()
        time.sleep(0.1)
