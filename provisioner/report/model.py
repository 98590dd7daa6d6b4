"""What a command found and did, host by host: the one record that every kind of output draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from typing import Any, Protocol

from provisioner.engine.check import Check
from provisioner.engine.events import Event
from provisioner.engine.resource import Planned
from provisioner.errors import Exit, ProvisionError, combined
from provisioner.resources.facts import Facts
from provisioner.secrets import masked
from provisioner.values import dataclass


@dataclass
class HostResult:
    """One host's part of a command's result; filled while the command runs."""

    host: str
    stack: str = ""
    select: str = ""
    """The arguments that choose this stack again: `--host 10.151.0.1`."""
    exit: Exit = Exit.OK
    done: bool = False
    """Nothing more happens on it."""
    several: bool = False
    """The command works on other hosts too: what is said of this one names it."""
    leads: bool = True
    """What is said once of a stack is said with this host."""
    seconds: float = 0.0
    connections: int = 0
    channels: int = 0
    vantage: str = "direct"
    fingerprint: str = ""
    new_keys: list[tuple[str, str]] = field(default_factory=list)
    """Name and fingerprint of each host on the way whose key was recorded by this call."""
    facts: Facts | None = None
    total: int = 0
    """Resources looked at."""
    changes: list[Planned] = field(default_factory=list)
    """Planned, or done (`seconds` is set)."""
    planned: list[Planned] = field(default_factory=list)
    """What the run set out to do."""
    fresh: bool = False
    """The host carried no stack when it was looked at."""
    unseen: bool = False
    """No run of this machine has come to its end there before: its URL was never told here."""
    steps: dict[str, str] = field(default_factory=dict)
    """Step -> its headline (`16.10 from apt, local socket only`)."""
    step_seconds: dict[str, float] = field(default_factory=dict)
    checks: list[Check] = field(default_factory=list)
    show_diff: bool = False
    """A plan that was asked to show lines."""
    kept: list[str] = field(default_factory=list)
    """Paths on the host where what was replaced is kept."""
    keep: list[str] = field(default_factory=list)
    """What to say in the inventory to have what was edited on the host: `[mlflow] memory = "512M"`."""
    notes: list[str] = field(default_factory=list)
    """Sentences a user should know of: a kept setting, a foreign file that was left alone."""
    told: list[str] = field(default_factory=list)
    """What a user has to do now, said at the end."""
    warnings: list[str] = field(default_factory=list)
    url: str = ""
    store_url: str = ""
    """Where the store answers on a port of its own; empty where it does not."""
    run_url: str = ""
    login: bool = False
    version: str = ""
    quick_ms: float | None = None
    """Answer time of the read-only check that ends a run with nothing to change."""
    verified: bool = False
    error: ProvisionError | None = None
    refused: list[ProvisionError] = field(default_factory=list)
    """Why a run would not begin, where a command that only looks tells everything else as well."""
    extra: dict[str, Any] = field(default_factory=dict)
    """Further members of the host's JSON object (`services` of status, say)."""

    @property
    def verification(self) -> str | None:
        """How it was proven: `full`, `read-only` (a run that changed nothing), or not at all."""
        return "full" if self.verified else "read-only" if self.quick_ms is not None else None

    @property
    def losses(self) -> list[str]:
        return [p.change.loss for p in self.changes if p.change.loss]


def document(command: str, results: Sequence[HostResult], seconds: float) -> dict[str, Any]:
    """The versioned JSON document; the same for plan and apply."""
    return {
        "schema": 1,
        "command": command,
        "exit": int(combined([r.exit for r in results])),
        "seconds": round(seconds, 3),
        "hosts": [_host(r) for r in results],
    }


def _host(result: HostResult) -> dict[str, Any]:
    return {
        "host": result.host,
        "connections": result.connections,
        "channels": result.channels,
        "vantage": result.vantage,
        "changes": [_change(p) for p in result.changes],
        "checks": [check.as_json() for check in result.checks],
        "error": error_object(result.error or next(iter(result.refused), None)),
        "host_key": result.fingerprint or None,
        "new_host_keys": [{"host": name, "fingerprint": shown} for name, shown in result.new_keys],
        "url": result.url or None,
        "store_url": (result.url and result.store_url) or None,
        "run": result.run_url or None,
        "verification": result.verification,
        "resources": result.total,
        "kept": result.kept,
        "notes": [*result.notes, *result.told],
        "warnings": result.warnings,
        **result.extra,
    }


def _change(planned: Planned) -> dict[str, Any]:
    change = planned.change
    return {
        "step": planned.step,
        "resource": planned.id,
        "action": change.action,
        "reason": masked(change.reason),
        "interrupts": change.interrupts,
        "loss": change.loss,
        "keep": change.keep or None,
        "seconds": None if planned.seconds is None else round(planned.seconds, 3),
        "diff": [masked(line) for line in change.diff] or None,
    }


def error_object(error: ProvisionError | None) -> dict[str, Any] | None:
    if error is None:
        return None
    return {
        "what": masked(error.what),
        "why": masked(error.why),
        "next": masked(error.next),
        "detail": masked(error.detail),
    }


class Reporter(Protocol):
    """Draws a command's progress and result. Calls for one host come from one thread at a time;
    those of several hosts may interleave."""

    def connected(self, result: HostResult) -> None:
        """The host was reached and looked at: its facts and host key are known."""

    def starting(self, result: HostResult, steps: Sequence[str]) -> None:
        """Changes begin; `steps` have some."""

    def event(self, result: HostResult, event: Event) -> None: ...

    def warned(self, result: HostResult, check: Check) -> None:
        """Preflight warns of something; the run goes on."""

    def waiting(self, result: HostResult, text: str) -> None:
        """Something outside holds it up (`waits for anna@laptop …`)."""

    def step_done(self, result: HostResult, step: str, headline: str, seconds: float) -> None: ...

    def check(self, result: HostResult, check: Check) -> None:
        """One check of a verification has ended."""

    def verified(self, result: HostResult, seconds: float) -> None:
        """The verification has ended, well or not."""

    def finished(self, command: str, results: Sequence[HostResult], seconds: float) -> None:
        """All hosts are done: the summary, errors, the next command."""
