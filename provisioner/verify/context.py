"""What the checks of one verification share, and how one check is run."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import field
from typing import Any

from provisioner.engine.check import Check, Status
from provisioner.values import dataclass
from provisioner.verify.api import Answer, Api
from provisioner.verify.deadline import Deadline
from provisioner.verify.faults import Fault, clean
from provisioner.verify.http import Response
from provisioner.verify.s3 import StoreAccess
from provisioner.verify.target import Target

NAME = "provision-verify"
"""The one experiment, and the one registered model, that verifications use again and again."""
MARK = "provision.verify"
"""The tag of every run and model version made here; nothing without it is ever removed."""
KEPT = "provision.kept"
"""The experiment's tag that holds the artifact path of the kept run's small object."""

PAYLOAD_BYTES = 5_000_000


@dataclass(frozen=True)
class Finding:
    """A check's result where it is more than "ok"."""

    detail: str = ""
    status: Status = "ok"
    fix: str | None = None


@dataclass(frozen=True)
class Database:
    """The stack's database as MLflow's login sees it."""

    connect: Callable[[], Any]
    """A factory of DB-API connections."""
    step: str
    """The step that repairs its server; empty: all steps, of one that is not the stack's own."""
    login: str
    """The step that repairs the login's role and database."""


@dataclass
class Context:
    """What is known so far; later checks read what earlier ones found."""

    target: Target
    api: Api
    deadline: Deadline
    database: Database | None = None
    store: StoreAccess | None = None
    anonymous: Response | None = None
    answer: Answer | None = None
    version: str = ""
    name: str = NAME
    """Of the experiment and the model; another one where the login may not write to the common ones."""
    presigned: bool = False
    experiment_id: str = ""
    run_id: str = ""
    artifact_uri: str = ""
    model_version: str = ""
    started: int = field(default_factory=lambda: int(time.time() * 1000))
    nonce: str = field(default_factory=lambda: os.urandom(8).hex())
    payload: bytes = field(default_factory=lambda: os.urandom(PAYLOAD_BYTES))
    checks: dict[str, Check] = field(default_factory=dict)
    fault: Fault | None = None
    """The first one; what the summary speaks of."""


@dataclass(frozen=True)
class Step:
    """One check: `run` gives a Finding or a detail, or raises `Fault`. `needs` are ids of checks
    that must have passed; `group` joins checks into one line for a reader."""

    id: str
    title: str
    group: str
    run: Callable[[Context], Finding | str]
    needs: tuple[str, ...] = ()


def perform(step: Step, context: Context) -> Check:
    """Run one check, or skip it for what it needs; remembers the first fault. Raises nothing."""
    missing = [need for need in step.needs if not _passed(context, need)]
    if missing:
        return Check(step.id, step.title, "skip", 0.0, f"needs {missing[0]}", None, step.group)
    if context.fault is not None and context.deadline.over:
        return Check(step.id, step.title, "skip", 0.0, "no time left", None, step.group)
    begun = time.monotonic()
    fix: str | None = None
    status: Status = "ok"
    try:
        found = step.run(context)
        finding = found if isinstance(found, Finding) else Finding(found)
        status, detail, fix = finding.status, finding.detail, finding.fix
    except Exception as error:
        fault = error if isinstance(error, Fault) else _unexpected(step, error)
        status, detail, fix = "fail", fault.detail, fault.next(context.target) or None
        context.fault = context.fault or fault
    return Check(step.id, step.title, status, time.monotonic() - begun, detail, fix, step.group)


def _passed(context: Context, id: str) -> bool:
    check = context.checks.get(id)
    return check is not None and check.status in ("ok", "warn")


def _unexpected(step: Step, error: Exception) -> Fault:
    if isinstance(error, TimeoutError):
        what = "The verification ran out of time."
        return Fault("time", "no time left", what=what, why="The server answers too slowly.", step="mlflow")
    return Fault(
        "unexpected",
        clean(f"{type(error).__name__}: {error}"),
        what=f"The check {step.id} could not be finished.",
        why="The server answered in a way this check does not know.",
        owner="report this with -v",
    )
