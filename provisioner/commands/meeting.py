"""Where hosts of one stack, each worked on by a thread of its own, wait for each other.

A host comes, stays, and leaves: well when its work is done, with an error when it failed. Nobody waits for one that
has left, and what needed it learns why it is missing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import field
from typing import Any, TypeVar

from provisioner.errors import Exit, ProvisionError
from provisioner.topology import Topology
from provisioner.transport.base import Session
from provisioner.values import dataclass

T = TypeVar("T")
Roles = Callable[[str], Session]
"""The connection to a role's host."""
_TICK = 0.5
"""Seconds after which a waiting thread looks whether the command was interrupted."""


@dataclass
class _Round:
    """What every host brings to one question, and its answer."""

    brought: dict[str, Any] = field(default_factory=dict)
    answer: Any = None
    error: Exception | None = None
    over: bool = False


class Meeting:
    """The hosts of one stack in one command, by name."""

    def __init__(self, names: Iterable[str], order: Iterable[str] = (), around: Meeting | None = None):
        """`around`: the one that this is a part of; an interrupt of it ends both."""
        self.names = tuple(names)
        self._around = around
        self._order = tuple(order) or self.names
        """In which they take turns."""
        self._here = set(self.names)
        self._left: dict[str, ProvisionError | None] = {}
        self._told: set[str] = set()
        self._rounds: dict[str, _Round] = {}
        self._interrupted = False
        self._changed = threading.Condition()

    @property
    def alone(self) -> bool:
        """Whether there is nobody to wait for."""
        return len(self.names) == 1

    def apart(self, names: Iterable[str]) -> Meeting:
        """A meeting of its own for a part of the work of `names`: who leaves it is still here."""
        here = set(names)
        return Meeting(
            (each for each in self.names if each in here), (each for each in self._order if each in here), self
        )

    def agree(self, name: str, question: str, brought: T, decide: Callable[[Mapping[str, T]], Any]) -> Any:
        """`decide` of what every host that is still here brought: asked once, the same answer or error for all."""
        with self._changed:
            one = self._rounds.setdefault(question, _Round())
            one.brought[name] = brought
            self._changed.notify_all()
            self._until(lambda: one.over or self._here <= one.brought.keys())
            if not one.over:
                one.over = True
                try:
                    one.answer = decide({each: one.brought[each] for each in self.names if each in one.brought})
                except Exception as error:
                    one.error = error
        if one.error is not None:
            raise one.error
        return one.answer

    def tell(self, name: str, *what: str) -> None:
        """`name` has done `what`: `database`."""
        with self._changed:
            self._told.update(f"step:{each}@{name}" for each in what)
            self._changed.notify_all()

    def wait(self, needs: Iterable[str]) -> None:
        """Until `needs` (`step:database@db-1`) are done; ProvisionError when one never will be, but not for those
        that begin with `after:`. Hosts that take no part in this command count as done."""
        for need in needs:
            kind, _, rest = need.partition(":")
            what, _, name = rest.rpartition("@")
            if name not in self.names:
                continue
            if self._met(f"step:{rest}", name) or kind == "after":
                continue
            error = self._left[name]
            raise ProvisionError(
                f"waits for {what} on {name}, which did not get there",
                why=error.what if error is not None else "",
                next="mend that host first, then run the same command again: it goes on from here",
                exit=Exit.FAILED if error is None else error.exit,
            )

    def _met(self, told: str, name: str) -> bool:
        with self._changed:
            self._until(lambda: told in self._told or name in self._left)
            return told in self._told

    def turn(self, name: str, before: str) -> None:
        """Until every host that is before this one has told `before` or has left."""
        earlier = self._order[: self._order.index(name)]
        with self._changed:
            self._until(lambda: all(f"step:{before}@{each}" in self._told or each in self._left for each in earlier))

    def leave(self, name: str, error: ProvisionError | None) -> None:
        """`name` takes no further part."""
        with self._changed:
            self._here.discard(name)
            self._left.setdefault(name, error)
            self._changed.notify_all()

    def gone(self) -> dict[str, ProvisionError]:
        """The hosts that have failed so far, and why."""
        with self._changed:
            return {name: error for name, error in self._left.items() if error is not None}

    def interrupt(self) -> None:
        """Nobody waits any longer."""
        with self._changed:
            self._interrupted = True
            self._changed.notify_all()

    def _until(self, done: Callable[[], bool]) -> None:
        while not done():
            if self._interrupted or (self._around is not None and self._around._interrupted):
                raise ProvisionError("interrupted", exit=Exit.INTERRUPTED)
            self._changed.wait(_TICK)


@dataclass(frozen=True)
class Team:
    """The hosts of a stack, as the thread that works on one of them has them."""

    meeting: Meeting
    name: str
    sessions: dict[str, Session]
    """Connections by host, of those that were reached so far."""

    @property
    def leads(self) -> bool:
        """Whether this host's thread does what is done once for the stack."""
        return self.meeting.names[0] == self.name

    def tell(self, *what: str) -> None:
        """This host has done `what`."""
        self.meeting.tell(self.name, *what)

    def turn(self, what: str) -> None:
        """Until every host before this one has done `what`; the same order for everybody who works on the stack."""
        self.meeting.turn(self.name, what)

    def wait_for_leader(self, what: str) -> None:
        """Until the leader has done `what` or has failed: it may need this host's connection."""
        if not self.leads:
            self.meeting.wait([f"after:{what}@{self.meeting.names[0]}"])

    def missing(self, topology: Topology) -> list[str]:
        """The stack's hosts that take no part in this command, or no longer."""
        absent = [m.name for m in topology.members if m.name not in self.sessions]
        return list(dict.fromkeys([*absent, *self.meeting.gone()]))

    def by_role(self, topology: Topology, own: Session) -> Roles:
        """A connection to the first host of each role; `own` where one host does everything."""

        def of(role: str) -> Session:
            members = topology.of(role)
            return self.sessions[members[0].name] if members and not topology.single else own

        return of
