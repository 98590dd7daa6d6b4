"""One command on one host, from the connection to the result; several hosts side by side."""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait

from provisioner.commands.options import Options, open_session, select
from provisioner.errors import Exit, ProvisionError, combined
from provisioner.inventory import Inventory, StackRequest
from provisioner.report.model import HostResult, Reporter
from provisioner.secrets import masked
from provisioner.transport.base import Session

Work = Callable[[Session, StackRequest, HostResult], None]
"""Does a command's work on a connected host and fills the result; raises ProvisionError."""

HOSTS_AT_ONCE = 32
_PARTING = 10.0
"""Seconds that an interrupted command waits for its threads."""


class _Hosts:
    """The hosts of one command. An interrupt ends all of them by closing their connections."""

    def __init__(self, options: Options, work: Work):
        self._options = options
        self._work = work
        self._lock = threading.Lock()
        self._open: list[Session] = []
        self._interrupted = threading.Event()

    def each(self, stacks: Sequence[StackRequest]) -> list[HostResult]:
        results = [HostResult(request.host.name, request.id, select(request)) for request in stacks]
        if len(stacks) == 1:
            try:
                self._one(stacks[0], results[0])
            except KeyboardInterrupt:
                self.interrupt(results)
            return results
        with ThreadPoolExecutor(min(HOSTS_AT_ONCE, len(stacks))) as pool:
            futures = [pool.submit(self._one, *pair) for pair in zip(stacks, results, strict=True)]
            try:
                for future in futures:
                    future.result()
            except KeyboardInterrupt:
                self.interrupt([r for r, future in zip(results, futures, strict=True) if not future.done()])
                wait(futures, _PARTING)
                pool.shutdown(wait=False, cancel_futures=True)
        return results

    def interrupt(self, results: Sequence[HostResult]) -> None:
        self._interrupted.set()
        with self._lock:
            sessions = list(self._open)
        for session in sessions:
            session.close()
        for result in results:
            _fail(result, _interruption())

    def _one(self, request: StackRequest, result: HostResult) -> None:
        begun = time.monotonic()
        session: Session | None = None
        try:
            if not self._interrupted.is_set():
                session = open_session(request, self._options, lambda *key: result.new_keys.append(key))
                with self._lock:
                    self._open.append(session)
                result.fingerprint = session.fingerprint
                self._work(session, request, result)
        except Exception as error:
            if self._options.verbose > 1:
                print(masked(traceback.format_exc()), file=sys.stderr)
            _fail(result, error if isinstance(error, ProvisionError) else _fault(error))
        finally:
            if self._interrupted.is_set():
                _fail(result, _interruption())
            if session is not None:
                result.connections, result.channels = session.connections, session.channels
                session.close()
            result.seconds = time.monotonic() - begun


def _fail(result: HostResult, error: ProvisionError) -> None:
    result.error, result.exit = error, error.exit


def _interruption() -> ProvisionError:
    return ProvisionError(
        "interrupted",
        why="a command under way on the host goes on to its end; no file is half-written",
        next="run the same command again: it continues from what is there",
        exit=Exit.INTERRUPTED,
    )


def _fault(error: Exception) -> ProvisionError:
    return ProvisionError(
        "a fault of this tool",
        why=f"{type(error).__name__}: {error}"[:600],
        next="run the same command with -vv, which shows where, and report it; what is done stays",
    )


def on_each(inventory: Inventory, options: Options, work: Work) -> list[HostResult]:
    """`work` on every stack's host, each by its own connection; failures stay with their host, an
    interrupt becomes the error (exit 130) of those that were not done."""
    return _Hosts(options, work).each(inventory.stacks)


def run(
    command: str,
    options: Options,
    reporter: Reporter,
    work: Work,
    prepared: Callable[[Inventory], Inventory] = lambda found: found,
) -> tuple[Exit, Sequence[HostResult]]:
    """A whole command: load the inventory, work, report. Returns the exit code for the process. `prepared`: what is
    to be known besides before any host is asked."""
    begun = time.monotonic()
    results = on_each(prepared(options.stacks()), options, work)
    reporter.finished(command, results, time.monotonic() - begun)
    return combined([result.exit for result in results]), results
