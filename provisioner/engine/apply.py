"""Run a plan: lanes side by side, each change after its needs, proof after each batch."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace

from provisioner.engine import batch
from provisioner.engine.claim import claimed
from provisioner.engine.events import Applied, Begun, Done, Event, Failed, OnEvent, Said, Unneeded
from provisioner.engine.plan import Plan
from provisioner.engine.probe import Seen, look
from provisioner.engine.resource import ClientResource, HostResource, Planned
from provisioner.errors import ProvisionError
from provisioner.transport.base import Session

CHANNELS = 8
"""Execs at once; sshd's MaxSessions is 10."""


class Run:
    """The state of one run of one plan."""

    def __init__(
        self,
        session: Session,
        plan: Plan,
        *,
        stamp: str,
        emit: OnEvent,
        journal: batch.Journal = batch.no_journal,
        owner: str = "",
        atomic: bool = False,
    ):
        """`atomic`: consecutive changes of the host are one exec that takes all of them back when one fails."""
        self._session = session
        self._stamp = stamp
        self._sink = emit
        self._journal = journal
        self._owner = owner
        self._atomic = atomic
        self._lock = threading.Condition()
        self._done: set[str] = set()
        self._planned = {p.id for p in plan.changes}
        self._by_step: dict[str, list[str]] = {}
        for planned in plan.changes:
            self._by_step.setdefault(planned.step, []).append(planned.id)
        self._lanes: dict[str, list[Planned]] = {}
        for planned in plan.changes:
            lane = "" if atomic else planned.resource.lane or planned.step
            self._lanes.setdefault(lane, []).append(planned)
        self._busy: dict[str, Future[Seen]] = {}
        self.failed: list[Exception] = []
        self._through_clients = ""
        """Lines for the host's log of changes that only a client library made."""

    def emit(self, event: Event) -> None:
        with self._lock:
            if isinstance(event, Applied | Done | Unneeded):
                # What waits for a change need not wait for the proof of the batch around it.
                self._done.add(event.planned.id)
                self._lock.notify_all()
            if not isinstance(event, Applied):
                self._sink(event)

    def _ready(self, planned: Planned, batch_ids: set[str]) -> bool:
        return all(self._met(need, batch_ids) for need in planned.resource.needs)

    def _met(self, need: str, batch_ids: set[str]) -> bool:
        """`need` is a resource's id, or `step:NAME` for all changes of a step."""
        if need.startswith("step:"):
            return all(i in self._done or i in batch_ids for i in self._by_step.get(need[5:], ()))
        return need in self._done or need in batch_ids or need not in self._planned

    def _next(self, lane: str) -> list[Planned]:
        """The longest run of changes at the head of a lane that one exec can take now."""
        chosen: list[Planned] = []
        ids: set[str] = set()
        for planned in self._lanes[lane]:
            if not self._ready(planned, ids):
                break
            if chosen and (isinstance(planned.resource, ClientResource) or _unseen(planned) != _unseen(chosen[0])):
                break
            chosen.append(planned)
            ids.add(planned.id)
            if isinstance(planned.resource, ClientResource):
                break
        return chosen

    def _work(self, changes: list[Planned]) -> Seen:
        first = changes[0]
        if isinstance(first.resource, ClientResource):
            return self._client(first, first.resource)
        known = Seen()
        if _unseen(first):
            known, changes = self._seen_now(changes)
            if not changes:
                return known
        changes = [self._prepared(planned) for planned in changes]
        after = batch.run(
            self._session,
            changes,
            stamp=self._stamp,
            emit=self.emit,
            journal=self._journal,
            owner=self._owner,
            atomic=self._atomic,
        )
        return known.merge(after)

    def _seen_now(self, changes: list[Planned]) -> tuple[Seen, list[Planned]]:
        """Changes of what could not be seen when the plan was made: those that are needed after all."""
        seen = look(self._session, (probe for planned in changes for probe in planned.resource.probes()))
        needed = []
        for planned in changes:
            change = planned.resource.diff(seen)
            if change is None:
                self.emit(Unneeded(planned))
            elif change.action == "check":
                raise ProvisionError(
                    f"{planned.step}: {change.title or planned.id} cannot be seen",
                    why=change.reason,
                    next="run the same command again",
                )
            else:
                needed.append(replace(planned, change=change))
        return seen, needed

    def _prepared(self, planned: Planned) -> Planned:
        assert isinstance(planned.resource, HostResource)

        def say(text: str) -> None:
            self.emit(Said(planned.step, text))

        if not planned.resource.elsewhere:
            return replace(planned, change=planned.resource.prepare(self._session, planned.change, say))
        started = time.monotonic()
        self.emit(Begun(planned))
        try:
            with claimed(self._session, self._owner) if self._owner else nullcontext():
                return replace(planned, change=planned.resource.prepare(self._session, planned.change, say))
        except Exception as error:
            # A part of it may be there: it is a change that failed, not one that never began.
            self.emit(Failed(planned, time.monotonic() - started, getattr(error, "why", str(error))))
            raise

    def _client(self, planned: Planned, resource: ClientResource) -> Seen:
        started = time.monotonic()
        self.emit(Begun(planned))
        try:
            if planned.change.action == "check":
                resource.arrive(self._session)
            seen = resource.look(self._session)
            change = resource.diff(seen)
            if change is None:
                self.emit(Unneeded(planned))
                return seen
            planned = replace(planned, change=change)
            with claimed(self._session, self._owner) if self._owner else nullcontext():
                resource.perform(self._session, change)
            seen = resource.look(self._session)
            left = resource.diff(seen)
            if left is not None:
                raise ProvisionError(f"{planned.step}: {change.title or planned.id} did not take", why=left.reason)
        except Exception as error:
            self.emit(Failed(planned, time.monotonic() - started, getattr(error, "why", str(error))))
            raise
        self.emit(Done(planned, time.monotonic() - started))
        with self._lock:
            self._through_clients += self._journal(planned, "ok")
        return seen

    def _start(self, pool: ThreadPoolExecutor) -> None:
        for lane, pending in self._lanes.items():
            if lane in self._busy or not pending or self.failed:
                continue
            changes = self._next(lane)
            if changes:
                del pending[: len(changes)]
                future = pool.submit(self._work, changes)
                future.add_done_callback(self._wake)
                self._busy[lane] = future

    def _wake(self, _: Future[Seen]) -> None:
        with self._lock:
            self._lock.notify_all()

    def all(self) -> Seen:
        """Everything, or ProvisionError with the first failure once what ran beside it has ended."""
        seen = Seen()
        with ThreadPoolExecutor(CHANNELS) as pool:
            try:
                while True:
                    with self._lock:
                        self._start(pool)
                        if not self._busy:
                            break
                        if not any(f.done() for f in self._busy.values()):
                            self._lock.wait(0.5)
                    for lane, future in list(self._busy.items()):
                        if future.done():
                            del self._busy[lane]
                            try:
                                seen = seen.merge(future.result())
                            except Exception as error:  # a fault too is raised once the others have ended
                                self.failed.append(error)
            except BaseException:
                # An interrupt: without their connection the execs under way end at once, here; on the
                # host each goes on to its end, and the work lock says so to the next run.
                self._session.close()
                raise
        if self._through_clients:
            try:
                batch.log(self._session, self._through_clients)
            except ProvisionError:
                # Of a run that failed, the failure is what counts and not a line that its log lacks.
                if not self.failed:
                    raise
        if self.failed:
            raise next((e for e in self.failed if not isinstance(e, ProvisionError)), self.failed[0])
        stuck = [p.id for pending in self._lanes.values() for p in pending]
        if stuck:
            raise ProvisionError(f"these changes wait for each other: {', '.join(stuck)}")
        return seen


def _unseen(planned: Planned) -> bool:
    """A host resource that is looked at again when its turn comes."""
    return planned.change.action == "check" and not isinstance(planned.resource, ClientResource)


def observe(session: Session, resources: Iterable[object], seen: Seen) -> Seen:
    """Add what only client libraries see, for services that answered."""
    looks: list[Callable[[Session], Seen]] = [
        r.look for r in resources if isinstance(r, ClientResource) and r.ready(seen)
    ]
    if not looks:
        return seen
    with ThreadPoolExecutor(min(CHANNELS, len(looks))) as pool:
        for result in pool.map(lambda look: look(session), looks):
            seen = seen.merge(result)
    return seen
