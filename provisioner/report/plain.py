"""Lines for a pipe or a log: one when something ends, none that is redrawn."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TextIO

from provisioner.engine.check import Check
from provisioner.engine.events import Event, Failed
from provisioner.report import summary
from provisioner.report.model import HostResult
from provisioner.report.text import clean


class Plain:
    """Progress and errors on `progress` (stderr), results on `out` (stdout)."""

    def __init__(
        self,
        *,
        out: TextIO | None = None,
        progress: TextIO | None = None,
        width: int = 80,
        verbose: int = 0,
        quiet: bool = False,
    ):
        self._out = out or sys.stdout
        self._progress = progress or sys.stderr
        self._width = width
        self._verbose = verbose
        self._quiet = quiet
        self._said: set[tuple[str, str]] = set()

    def _say(self, result: HostResult, text: str) -> None:
        if self._quiet:
            return
        print(clean(summary.named(result, text)), file=self._progress, flush=True)

    def connected(self, result: HostResult) -> None:
        for line in summary.unsaid(self._said, result, summary.greeting(result)):
            self._say(result, line)

    def starting(self, result: HostResult, steps: Sequence[str]) -> None:
        if not result.fresh:
            count = len(result.planned)
            self._say(result, f"{result.host:<12} {count} of {result.total} differ{'s' if count == 1 else ''}")

    def event(self, result: HostResult, event: Event) -> None:
        if isinstance(event, Failed):
            self._say(result, f"{event.planned.step:<12} failed: {event.planned.change.title or event.planned.id}")

    def warned(self, result: HostResult, check: Check) -> None:
        for line in summary.check_of(result, check, self._width):
            self._say(result, line)

    def waiting(self, result: HostResult, text: str) -> None:
        self._say(result, text)

    def step_done(self, result: HostResult, step: str, headline: str, seconds: float) -> None:
        self._say(result, summary.step_line(result, step, headline, seconds, self._width))

    def check(self, result: HostResult, check: Check) -> None:
        if check.status in {"fail", "warn"} or self._verbose:
            for line in summary.check_of(result, check, self._width):
                self._say(result, line)

    def verified(self, result: HostResult, seconds: float) -> None:
        self._say(result, summary.step_line(result, "verify", summary.verify_headline(result), seconds, self._width))

    def finished(self, command: str, results: Sequence[HostResult], seconds: float) -> None:
        for failed, lines in summary.closings(command, results, self._width, self._verbose):
            for line in lines:
                print(clean(line), file=self._progress if failed else self._out)
        self._out.flush()
        self._progress.flush()
