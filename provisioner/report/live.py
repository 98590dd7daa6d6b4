"""A terminal: steps that run are redrawn in place, what has ended stays above them."""

from __future__ import annotations

import sys
import textwrap
import threading
import time
from collections.abc import Sequence

from rich.console import Console
from rich.live import Live as RichLive
from rich.text import Text

from provisioner.engine.check import Check
from provisioner.engine.events import Begun, Event, Failed, Said
from provisioner.report import summary
from provisioner.report.changes import STEP
from provisioner.report.model import HostResult
from provisioner.report.text import clean, flush_right

_STYLES = (
    ("FAIL", "bold red"),
    ("LOST", "bold red"),
    ("what ", "bold red"),
    ("warn", "yellow"),
    ("ok  ", "green"),
    ("next ", "bold"),
)


class Live:
    """Colour only repeats what the words say. Progress and errors go to stderr, results to stdout."""

    def __init__(self, *, verbose: int = 0, color: bool = True):
        self._err = Console(stderr=True, no_color=not color, highlight=False, soft_wrap=True)
        self._out = Console(no_color=not color, highlight=False, soft_wrap=True)
        self._verbose = verbose
        self._lock = threading.Lock()
        self._running: dict[tuple[str, str], tuple[float, str]] = {}
        self._live: RichLive | None = None
        self._hosts: set[str] = set()
        self._said: set[tuple[str, str]] = set()

    @property
    def _width(self) -> int:
        return max(60, min(self._err.width, 120))

    def _draw(self) -> Text:
        lines = []
        with self._lock:
            for (host, step), (begun, text) in self._running.items():
                left = f"{host:<12} {step:<{STEP}}  {text}" if len(self._hosts) > 1 else f"{step:<{STEP}}  {text}"
                lines.append(flush_right(left, f"{time.monotonic() - begun:.1f} s", self._width))
        return Text(clean("\n".join(lines)), style="dim")

    def _start(self) -> None:
        if self._live is None and sys.stderr.isatty():
            self._live = RichLive(console=self._err, get_renderable=self._draw, refresh_per_second=8, transient=True)
            self._live.start()

    def _stop(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _say(self, line: str, console: Console | None = None) -> None:
        name, _, rest = line.partition(" ")
        said = rest.lstrip() if name in self._hosts else line.lstrip()
        style = next((style for mark, style in _STYLES if said.startswith(mark)), "")
        (console or self._err).print(Text(clean(line), style=style))

    def _of(self, result: HostResult, line: str) -> None:
        """A line that is said of one host: it names it, where there are several."""
        self._say(summary.named(result, line))

    def connected(self, result: HostResult) -> None:
        self._hosts.add(result.host)
        indent = " " * len(summary.named(result, f"{'note':<12} "))
        for line in summary.unsaid(self._said, result, summary.greeting(result)):
            wrapped = textwrap.wrap(clean(summary.named(result, line)), self._width, subsequent_indent=indent)
            for part in wrapped if line.startswith(("note", "warning")) else [summary.named(result, line)]:
                self._say(part)

    def starting(self, result: HostResult, steps: Sequence[str]) -> None:
        if not result.fresh:
            count = len(result.planned)
            self._say(f"{result.host:<12} {count} of {result.total} differ{'s' if count == 1 else ''}")
        self._start()

    def event(self, result: HostResult, event: Event) -> None:
        if isinstance(event, Begun):
            self._update(result.host, event.planned.step, event.planned.change.title or event.planned.id)
        elif isinstance(event, Said):
            self._update(result.host, event.step, event.text)
        elif isinstance(event, Failed):
            self._end(result.host, event.planned.step)
            self._of(result, f"{event.planned.step:<{STEP}}  failed: {event.planned.change.title or event.planned.id}")

    def _update(self, host: str, step: str, text: str) -> None:
        with self._lock:
            begun, _ = self._running.get((host, step), (time.monotonic(), ""))
            self._running[(host, step)] = (begun, text.splitlines()[0] if text else "")

    def _end(self, host: str, step: str) -> None:
        with self._lock:
            self._running.pop((host, step), None)

    def waiting(self, result: HostResult, text: str) -> None:
        self._say(f"{result.host:<12} {text}")

    def step_done(self, result: HostResult, step: str, headline: str, seconds: float) -> None:
        self._end(result.host, step)
        if result.fresh or self._verbose:
            self._say(summary.step_line(result, step, headline, seconds, self._width))

    def warned(self, result: HostResult, check: Check) -> None:
        for line in summary.check_of(result, check, self._width):
            self._say(line)

    def check(self, result: HostResult, check: Check) -> None:
        self._start()
        self._update(result.host, "verify", check.title)
        if check.status in {"fail", "warn"} or self._verbose:
            for line in summary.check_of(result, check, self._width):
                self._say(line)

    def verified(self, result: HostResult, seconds: float) -> None:
        self._end(result.host, "verify")
        self._say(summary.step_line(result, "verify", summary.verify_headline(result), seconds, self._width))

    def finished(self, command: str, results: Sequence[HostResult], seconds: float) -> None:
        self._stop()
        for failed, lines in summary.closings(command, results, self._width, self._verbose):
            for line in lines:
                self._say(line, self._err if failed else self._out)
