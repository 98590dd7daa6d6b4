"""A terminal of a given width, as tmux keeps one: what a user has on the screen."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

HEIGHT = 60
_ENDED = "[exit "


def available() -> bool:
    return shutil.which("tmux") is not None


@dataclass
class Terminal:
    """One shell command in a window. Lines are as written: those that the window wrapped are joined again."""

    socket: str
    width: int
    seen: list[str] = field(default_factory=list)
    """Every different screen there was, while `ends` waited."""

    def screen(self) -> str:
        """What the window shows now, without what has left it."""
        return self._tmux("capture-pane", "-p")

    def lines(self) -> list[str]:
        """All that was printed, and is not redrawn."""
        whole = self._tmux("capture-pane", "-p", "-J", "-S", "-")
        return [line.rstrip() for line in whole.rstrip().splitlines()]

    def ends(self, seconds: float = 300) -> int:
        """Wait for the command; its exit code."""
        end = time.monotonic() + seconds
        while True:
            screen = self.screen()
            if not self.seen or self.seen[-1] != screen:
                self.seen.append(screen)
            last = [line for line in self.lines() if line.startswith(_ENDED)]
            if last:
                return int(last[0].removeprefix(_ENDED).rstrip("]"))
            assert time.monotonic() < end, f"it goes on after {seconds:.0f} s:\n{screen}"
            time.sleep(0.1)

    def shows(self, words: str, seconds: float = 60) -> None:
        """Wait until `words` are on the screen."""
        end = time.monotonic() + seconds
        while words not in (screen := self.screen()):
            assert time.monotonic() < end, f"no {words!r} within {seconds:.0f} s:\n{screen}"
            time.sleep(0.1)

    def type(self, text: str) -> None:
        """`text` and Enter."""
        self._tmux("send-keys", "-l", text)
        self.press("Enter")

    def press(self, key: str) -> None:
        """A key by tmux's name: `C-c`, `Enter`."""
        self._tmux("send-keys", key)

    def _tmux(self, *arguments: str) -> str:
        argv = ["tmux", "-L", self.socket, *arguments]
        return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=60).stdout


@contextmanager
def terminal(width: int, *command: str, home: Path, **env: str) -> Iterator[Terminal]:
    """Run `command` in `home`, in a window of `width` columns."""
    socket = f"provision-{uuid.uuid4().hex[:8]}"
    # With a handler of its own the shell outlives Ctrl-C; the command does not inherit it.
    line = f"trap : INT; cd {shlex.quote(str(home))}; {shlex.join(command)}; printf '{_ENDED}%s]\\n' $?; exec sleep 900"
    path = f"{Path(sys.executable).parent}:{os.environ.get('PATH', '/usr/bin:/bin')}"
    inherited = {name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "TMUX", "COLUMNS"}}
    environment = {**inherited, "PATH": path, "HOME": str(home), "LC_ALL": "C.UTF-8", **env}
    argv = ["tmux", "-L", socket, "-f", "/dev/null", "new-session", "-d", "-x", str(width), "-y", str(HEIGHT), line]
    subprocess.run(argv, check=True, env=environment, timeout=60)
    try:
        yield Terminal(socket, width)
    finally:
        subprocess.run(["tmux", "-L", socket, "kill-server"], check=False, capture_output=True, timeout=60)
