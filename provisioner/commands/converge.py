"""Make one connected host what it should be, then prove it."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from provisioner import controller, record, vault
from provisioner.commands import safety
from provisioner.commands.access import target, ways
from provisioner.commands.agreement import Company
from provisioner.commands.ahead import QuickAhead
from provisioner.commands.kept import RECORD_STEP
from provisioner.commands.ledger import Ledger, hold, stamp
from provisioner.commands.meeting import Team
from provisioner.commands.options import Options, again, select
from provisioner.commands.stages import split, wording
from provisioner.commands.telling import fill, keep, take
from provisioner.commands.view import View, look
from provisioner.engine import plan
from provisioner.engine.apply import Run
from provisioner.engine.check import Check
from provisioner.engine.events import Done, Event, Failed, Kept, Unneeded
from provisioner.engine.plan import Plan
from provisioner.errors import Exit, Refused
from provisioner.inventory import StackRequest
from provisioner.report.model import HostResult, Reporter
from provisioner.resources.unit import UnitProbe
from provisioner.steps import ordered
from provisioner.transport.base import Session

LOCKED = "lock"
PROVEN = "proof"
STARTING = 120.0
"""Seconds after its start in which MLflow may not answer yet: 10 to 20, 120 without its database."""


class _Held(Refused):
    """Refused for the sake of another host of the stack, which says why."""


class Converge:
    """One run on one connected host."""

    atomic = False
    """A change that fails takes back those before it."""
    patience = 0.0
    """Seconds for which the verification waits until MLflow answers: who took a change back did not."""

    def __init__(
        self,
        session: Session,
        request: StackRequest,
        result: HostResult,
        options: Options,
        reporter: Reporter,
        steps: Sequence[str],
        team: Team,
    ):
        self.session = session
        self.request = request
        self.result = result
        self.options = options
        self.reporter = reporter
        self.steps = tuple(steps)
        self.team = team
        self.company = Company(team.meeting, team.name)
        self.stamp = stamp()
        self.command = " ".join(("provision", *self.steps))
        self.taking: Callable[[View], None] | None = None
        """Brings values of the operator's own in the place of those that the stack has."""
        self._warned: list[str] = []

    def all(self) -> None:
        ahead = None
        if not self.steps and not self.options.verify and self.team.leads:
            ahead = QuickAhead(self.session, self.request, select(self.request))
        view = self._look()
        if view.exists and view.secrets.replaced and not self.steps and view.settings.topology.single:
            assert self.taking is not None
            self.taking(view)
            return
        self._refuse(view)
        checks = self._judged(view) if view.plan or view.unnamed else None
        self._willing()
        if checks is not None:
            view = self._change(view, checks)
        else:
            self._keep(view)
            controller.remember_record(self.request.id, record.dump_recorded(view.settings, self.request.id))
            self.team.tell(LOCKED, *(step.name for step in view.all_steps))
        changed = self.team.meeting.agree(self.team.name, "worked", bool(view.plan), dict)
        if self.steps or not (self.team.leads and self._proves(view)):
            # The leader may need this host's connection.
            self.team.wait_for_leader(PROVEN)
        elif any(changed.values()) or ahead is None:
            self._verify(view)
        else:
            self._quick(view, ahead)

    def _willing(self) -> None:
        """Nothing is changed on any host of a stack of which one refuses. One that cannot be reached keeps nobody."""
        self.team.meeting.agree(self.team.name, "willing", True, dict)
        gone = self.team.meeting.gone().items()
        refused = [name for name, error in gone if error.exit is Exit.REFUSED and not isinstance(error, _Held)]
        if refused:
            verb = "refuses" if len(refused) == 1 else "refuse"
            raise _Held("nothing was changed here", why=f"{', '.join(refused)} of the same stack {verb}: see there")

    def _proves(self, view: View) -> bool:
        """Whether all of the stack is here to be asked; what is not is told."""
        missing = self.team.missing(view.settings.topology)
        if missing:
            check = f"provision verify {select(self.request.whole)}".rstrip()
            self.result.told.append(f"not verified as a whole: {', '.join(missing)} took no part\n  {check}")
        return not missing

    def _refuse(self, view: View) -> None:
        safety.refuse(view, self.options, safety.terminal(self.result.host) if self.options.interactive else None)

    def _view(self) -> View:
        return look(self.session, self.request, self.steps, deep=self.options.deep, company=self.company)

    def _ordered(self, plan: Plan) -> Plan:
        return plan

    def _look(self) -> View:
        view = self._view()
        fill(self.result, view)
        # What a run reports as changes it has made, so that a refusal reports none.
        self.result.changes = []
        self.reporter.connected(self.result)
        return view

    def _judged(self, view: View) -> list[Check]:
        """The checks before a change; Refused (exit 4) when one fails."""
        from provisioner.commands import preflight

        checks = preflight.checks(self.session, view)
        self.result.checks = list(checks)
        preflight.refuse(checks, again(self.request, self.options))
        # What is only warned of is said and kept apart: the checks that follow are the verification's.
        self.result.checks = []
        return checks

    def _change(self, view: View, checks: Sequence[Check] | None = None) -> View:
        gc.enable()
        begun = time.monotonic()
        checks = self._judged(view) if checks is None else checks
        for check in (check for check in checks if check.status == "warn"):
            warning = f"{check.title}: {check.detail}"
            if warning not in self._warned:
                self._warned.append(warning)
                self.reporter.warned(self.result, check)
        self.result.warnings += [each for each in self._warned if each not in self.result.warnings]
        if self.result.fresh:
            headline = f"{len(checks)} checks"
            self.reporter.step_done(self.result, "preflight", headline, time.monotonic() - begun)
        self.team.turn(LOCKED)
        with hold(self.session, view, self.command, lambda text: self.reporter.waiting(self.result, text)) as holding:
            self.team.tell(LOCKED)
            if holding.moved:
                view = self._view()
                self._refuse(view)
                fill(self.result, view)
                self.result.changes = []
            # Before the host gets them: a killed run must not lose what it generated. Not before the lock:
            # of two first runs at once only one's secrets come to be.
            self._keep(view)
            view = self._staged(view, holding.owner)
        controller.remember_record(self.request.id, record.dump_recorded(view.settings, self.request.id))
        return view

    def _keep(self, view: View) -> None:
        """This machine's copy of the secrets, where it is another one."""
        if view.secrets.to_controller:
            vault.write_controller(view.secrets.vault)

    def _staged(self, view: View, owner: str) -> View:
        """Every change, those that need another host once it is ready. Gives the view that was agreed on."""
        changing = {planned.id for planned in view.plan.changes}
        every = {step.name: step for step in ordered(view.settings)}
        stages = split([r for r in view.resources if r.id in changing], every, view.context.here)
        now = plan.make(stages.first, view.seen) if stages.later else view.plan
        self.result.changes = []
        if now:
            self._run(view, now, owner)
        late = {r.step for r in stages.later}
        self.team.tell(*(step.name for step in view.all_steps if step.name not in late))
        if not stages.later:
            return view
        self.reporter.waiting(self.result, f"waits for {wording(stages.needs)}")
        self.team.meeting.wait(stages.needs)
        after = self._view()
        self._refuse(after)
        if after.plan:
            self._run(after, after.plan, owner)
        self.team.tell(*late)
        return view

    def _run(self, view: View, wanted: Plan, owner: str) -> None:
        collector = Collector(self, view, wanted)
        self.reporter.starting(self.result, list(dict.fromkeys(p.step for p in wanted.changes)))
        run = Run(
            self.session,
            self._ordered(wanted),
            stamp=self.stamp,
            emit=collector.event,
            journal=collector.ledger.journal,
            owner=owner,
            atomic=self.atomic,
        )
        try:
            run.all()
            self.result.keep = keep(self.result.changes)
        finally:
            collector.ledger.close()

    def _verify(self, view: View) -> None:
        from provisioner.verify.quick import quick
        from provisioner.verify.run import verify

        end = time.monotonic() + self.patience
        with ways(self.team.by_role(view.settings.topology, self.session), view, select(self.request)) as access:
            while time.monotonic() < end and quick(access.target).unanswered:
                time.sleep(1)
            outcome = verify(
                access.target,
                database=access.database,
                store=access.store,
                on_check=lambda check: self.reporter.check(self.result, check),
            )
        take(self.result, outcome, self.reporter)

    def _quick(self, view: View, ahead: QuickAhead) -> None:
        asked = target(view, select(self.request))
        found = ahead.answer(asked)
        end = time.monotonic() + _still_starting(view)
        if found.unanswered and time.monotonic() < end:
            self.reporter.waiting(self.result, "its services have just been started: waiting until they answer")
            while found.unanswered and time.monotonic() < end:
                time.sleep(1)
                found = ahead.again(asked)
        if not found.ok and self.session.jumped:
            # The address may be one that only the jump host's side reaches.
            with ways(self.team.by_role(view.settings.topology, self.session), view, select(self.request)) as access:
                if access.target.connect is not None:
                    found, self.result.vantage = ahead.again(access.target), access.target.vantage
        if found.ok:
            self.result.quick_ms = found.milliseconds
            return
        # Something is wrong (or never was verified): only the full verification can say what.
        self._verify(view)


def _still_starting(view: View) -> float:
    """Seconds for which an unanswered request may mean no more than a server that has just booted."""
    states = [view.seen[look] for look in view.seen if isinstance(look, UnitProbe)]
    return max([STARTING - state.since for state in states if state.active == "active"], default=0.0)


class Collector:
    """Turns a run's events into the result, the audit log and the reporter's lines."""

    def __init__(self, run: Converge, view: View, wanted: Plan):
        self._run = run
        self._left: dict[str, int] = {}
        for planned in wanted.changes:
            self._left[planned.step] = self._left.get(planned.step, 0) + 1
        self._headlines = {step.name: step.headline(view.context) for step in view.steps}
        self._headlines[RECORD_STEP] = "kept in /etc/provision, with the secrets"
        self.ledger = Ledger(run.request, run.command)

    def event(self, event: Event) -> None:
        result, reporter = self._run.result, self._run.reporter
        self.ledger.note(event)
        if isinstance(event, Done | Failed):
            # One that failed stays planned: what its parts had done was put back.
            planned = replace(event.planned, seconds=event.seconds if isinstance(event, Done) else None)
            result.changes.append(planned)
            result.step_seconds[planned.step] = result.step_seconds.get(planned.step, 0.0) + event.seconds
        if isinstance(event, Kept):
            result.kept.extend(event.paths)
        reporter.event(result, event)
        if isinstance(event, Done | Unneeded):
            step = event.planned.step
            self._left[step] -= 1
            if self._left[step] == 0:
                reporter.step_done(result, step, self._headlines.get(step, ""), result.step_seconds.get(step, 0.0))
