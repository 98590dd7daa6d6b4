"""The whole verification, from the first packet to the kept run."""

from __future__ import annotations

import time
from collections.abc import Callable

from provisioner.engine.check import Check
from provisioner.values import dataclass
from provisioner.verify import artifacts, behind, door, registry, tidy, tracking
from provisioner.verify.api import Api
from provisioner.verify.context import Context, Database, Step, perform
from provisioner.verify.deadline import Deadline
from provisioner.verify.s3 import StoreAccess
from provisioner.verify.target import Target

_RESERVE = 7.0
"""Seconds kept for taking the run away again after a failure."""


@dataclass(frozen=True)
class Outcome:
    """What a verification found. `what`, `why`, `next` speak of the first fault (`fault` is its
    stable kind) and are empty without one; `run_url` is the kept run, None when it failed."""

    checks: tuple[Check, ...]
    vantage: str
    seconds: float
    run_url: str | None = None
    experiment_id: str = ""
    run_id: str = ""
    version: str = ""
    fault: str = ""
    what: str = ""
    why: str = ""
    next: str = ""

    @property
    def ok(self) -> bool:
        return not any(check.status == "fail" for check in self.checks)


def verify(
    target: Target,
    *,
    database: Database | None = None,
    store: StoreAccess | None = None,
    on_check: Callable[[Check], None] | None = None,
    budget_seconds: float = 60.0,
) -> Outcome:
    """Log a test run the way a client does and read everything back; raises nothing of the server's.

    `database` is the stack's database as MLflow's login sees it, `store` the object store as MLflow's
    user; each adds a check. `on_check` is called as each check ends. Ends within `budget_seconds`
    whatever the server does.
    """
    begun = time.monotonic()
    deadline = Deadline(max(1.0, budget_seconds - _RESERVE))
    api = Api(target, deadline)
    context = Context(target, api, deadline, database, store)

    def check(step: Step) -> None:
        done = perform(step, context)
        context.checks[done.id] = done
        if on_check is not None:
            on_check(done)

    try:
        if not target.tracks:
            _artifacts_only(context, check)
        else:
            for step in _steps(database is not None, store, target.exposed is not None):
                check(step)
            if context.fault is None:
                check(tidy.KEEP)
                check(tidy.TIDY)
            if context.fault is not None:
                tidy.discard(context)
    finally:
        api.close()
    fault = context.fault
    kept = fault is None and bool(context.run_id) and target.tracks
    page = f"{target.url}/#/experiments/{context.experiment_id}/runs/{context.run_id}"
    return Outcome(
        checks=tuple(context.checks.values()),
        vantage=target.vantage,
        seconds=time.monotonic() - begun,
        run_url=page if kept else None,
        experiment_id=context.experiment_id,
        run_id=context.run_id if kept else "",
        version=context.version,
        fault=fault.id if fault else "",
        what=fault.what if fault else "",
        why=fault.why if fault else "",
        next=fault.next(target) if fault else "",
    )


def _artifacts_only(context: Context, check: Callable[[Step], None]) -> None:
    from provisioner.verify import only

    for step in [*only.STEPS, *_behind(context.store, context.target.exposed is not None)]:
        check(step)
    if context.fault is None:
        check(only.KEEP)
        check(only.TIDY)
    if context.fault is not None:
        only.discard(context)


def _steps(database: bool, store: StoreAccess | None, exposed: bool) -> list[Step]:
    steps = [*door.STEPS, *tracking.STEPS, *artifacts.STEPS, *registry.STEPS]
    if database:
        steps.append(behind.DATABASE)
    return [*steps, *_behind(store, exposed)]


def _behind(store: StoreAccess | None, exposed: bool) -> list[Step]:
    if store is None:
        return []
    # The key of a store that is somebody else's may open more; that is its owner's decision.
    steps = list(behind.STORE if store.own else behind.STORE[:1])
    if store.clients is not None:
        steps.append(behind.CLIENTS)
    if exposed:
        from provisioner.verify.exposed import STEP

        steps.append(STEP)
    return steps
