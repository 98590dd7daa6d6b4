"""What every command that changes a host does around its changes: hold the host's lock, and write down each one."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime

from provisioner import audit, lock
from provisioner.commands.view import View
from provisioner.engine.events import Done, Event, Failed
from provisioner.engine.resource import Planned
from provisioner.inventory import StackRequest
from provisioner.transport.base import Session


def stamp() -> str:
    """Names the backups of a run: `2026-11-21T184513Z`."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H%M%SZ")


def hold(
    session: Session, view: View, command: str, say: Callable[[str], None]
) -> AbstractContextManager[lock.Holding]:
    """The lock of the host that `view` was looked at; `say` gets a sentence while it is waited for."""
    owner = view.seen[lock.OWNER].content
    return lock.hold(session, command=command, seen_owner=owner if isinstance(owner, bytes) else b"", say=say)


class Ledger:
    """The audit lines of one command on one host: there with each change, here when it is over."""

    def __init__(self, request: StackRequest, command: str):
        """`command`: its words, without options."""
        self._request = request
        self._command = command
        self._events: list[audit.Event] = []

    def journal(self, planned: Planned, result: str) -> str:
        """The host's own line for a change that was made, or that did not take."""
        return audit.host_lines([self._line(planned, result, 0.0)])

    def note(self, event: Event) -> None:
        """Keep what an event of the run says for this machine's log."""
        if isinstance(event, Done | Failed):
            result = "ok" if isinstance(event, Done) else "failed"
            self._events.append(self._line(event.planned, result, event.seconds))

    def close(self) -> None:
        """Append what was kept to this machine's log."""
        audit.append(self._request.id, self._events)
        self._events = []

    def _line(self, planned: Planned, result: str, seconds: float) -> audit.Event:
        return audit.Event(
            time=datetime.now(UTC),
            stack=self._request.id,
            host=self._request.host.name,
            command=self._command,
            step=planned.step,
            resource=planned.id,
            action=planned.change.action,
            reason=planned.change.reason,
            result=result,
            seconds=seconds,
            operator=lock.operator(),
        )
