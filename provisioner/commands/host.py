"""One command on one host, from the connection to the result; several hosts and stacks side by side."""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait

from provisioner.commands.meeting import Meeting, Team
from provisioner.commands.options import Options, open_session, select
from provisioner.errors import Exit, ProvisionError, combined
from provisioner.inventory import Inventory, StackRequest
from provisioner.report.model import HostResult, Reporter
from provisioner.secrets import masked
from provisioner.transport.base import Session

Work = Callable[[Session, StackRequest, HostResult, Team], None]
"""Does a command's work on a connected host and fills the result; raises ProvisionError."""

HOSTS_AT_ONCE = 32
_PARTING = 10.0
"""Seconds that an interrupted command waits for its threads."""


class _Hosts:
    """The hosts of one command. An interrupt ends all of them by closing their connections."""

    def __init__(self, options: Options, work: Work, finisher: str = ""):
        """`finisher`: the command that goes on after an interrupt; empty for the same one again."""
        self._options = options
        self._finisher = finisher
        self._work = work
        self._lock = threading.Lock()
        self._open: list[Session] = []
        self._interrupted = threading.Event()
        self._teams: list[_Joined] = []

    def each(self, stacks: Sequence[StackRequest]) -> list[HostResult]:
        teams = [_Joined(request) for request in stacks]
        self._teams = teams
        for team in teams if len(teams) > 1 else ():
            for result in team.results:
                result.several = True
        if len(teams) == 1 and len(teams[0].results) == 1:
            try:
                self._one(teams[0], 0)
            except KeyboardInterrupt:
                self.interrupt(teams[0].results)
            return teams[0].results
        # The hosts of one stack wait for each other: each has a thread of its own, or none would go on.
        with ThreadPoolExecutor(min(HOSTS_AT_ONCE, len(teams))) as pool:
            futures: list[Future[None]] = []
            try:
                for team in teams:
                    futures.append(pool.submit(self._team, team))
                for future in futures:
                    future.result()
            except KeyboardInterrupt:
                self.interrupt([result for team in teams for result in team.results if not result.done])
                wait(futures, _PARTING)
                pool.shutdown(wait=False, cancel_futures=True)
        return [result for team in teams for result in team.results]

    def _team(self, team: _Joined) -> None:
        if len(team.results) == 1:
            self._one(team, 0)
            return
        with ThreadPoolExecutor(len(team.results)) as pool:
            for future in [pool.submit(self._one, team, number) for number in range(len(team.results))]:
                future.result()

    def interrupt(self, results: Sequence[HostResult]) -> None:
        self._interrupted.set()
        with self._lock:
            sessions = list(self._open)
        for team in self._teams:
            team.meeting.interrupt()
        for session in sessions:
            session.close()
        for result in results:
            _fail(result, self._interruption(result))

    def _interruption(self, result: HostResult) -> ProvisionError:
        following = "run the same command again: it continues from what is there"
        if self._finisher:
            following = f"{self._finisher} {result.select}   (continues from what is there)"
        return ProvisionError(
            "interrupted",
            why="a command under way on the host goes on to its end; no file is half-written",
            next=following,
            exit=Exit.INTERRUPTED,
        )

    def _one(self, joined: _Joined, number: int) -> None:
        request, result = joined.requests[number], joined.results[number]
        team = Team(joined.meeting, request.host.name, joined.sessions)
        begun = time.monotonic()
        session: Session | None = None
        try:
            if not self._interrupted.is_set():
                session = open_session(request, self._options, lambda *key: result.new_keys.append(key))
                with self._lock:
                    self._open.append(session)
                if self._interrupted.is_set():
                    return  # while it connected: nobody else closes this connection, and no work begins on it
                result.fingerprint = session.fingerprint
                team.sessions[team.name] = session
                self._work(session, request, result, team)
        except Exception as error:
            if self._options.verbose > 1:
                print(masked(traceback.format_exc()), file=sys.stderr)
            _fail(result, error if isinstance(error, ProvisionError) else _fault(error))
        finally:
            if self._interrupted.is_set():
                _fail(result, self._interruption(result))
            if session is not None:
                result.connections, result.channels = session.connections, session.channels
                session.close()
            result.seconds, result.done = time.monotonic() - begun, True
            team.meeting.leave(team.name, result.error)


class _Joined:
    """The hosts of one stack in one command."""

    def __init__(self, stack: StackRequest):
        self.requests = stack.each()
        self.results = [
            HostResult(r.host.name, r.id, select(r), several=len(self.requests) > 1, leads=number == 0)
            for number, r in enumerate(self.requests)
        ]
        # Two operators may name the hosts differently, and in another order: both lock them in this one.
        by_address = sorted(self.requests, key=lambda each: (each.host.address, each.host.port or 0))
        self.meeting = Meeting((r.host.name for r in self.requests), (r.host.name for r in by_address))
        self.sessions: dict[str, Session] = {}


def _fail(result: HostResult, error: ProvisionError) -> None:
    result.error, result.exit = error, error.exit


def _fault(error: Exception) -> ProvisionError:
    return ProvisionError(
        "a fault of this tool",
        why=f"{type(error).__name__}: {error}"[:600],
        next="run the same command with -vv, which shows where, and report it; what is done stays",
    )


def on_each(inventory: Inventory, options: Options, work: Work, finisher: str = "") -> list[HostResult]:
    """`work` on every stack's host, each by its own connection; failures stay with their host, an
    interrupt becomes the error (exit 130) of those that were not done."""
    return _Hosts(options, work, finisher).each(inventory.stacks)


def run(
    command: str,
    options: Options,
    reporter: Reporter,
    work: Work,
    prepared: Callable[[Inventory], Inventory] = lambda found: found,
    finisher: str = "",
) -> tuple[Exit, Sequence[HostResult]]:
    """A whole command: load the inventory, work, report. Returns the exit code for the process. `prepared`: what is
    to be known besides before any host is asked. `finisher`: the command that goes on after an interrupt, where it is
    not the same one again."""
    begun = time.monotonic()
    results = on_each(prepared(options.stacks()), options, work, finisher)
    reporter.finished(command, results, time.monotonic() - begun)
    return combined([result.exit for result in results]), results
