"""`plan`: what a run would change, from the same records that a run uses."""

from __future__ import annotations

from provisioner.commands import preflight, safety
from provisioner.commands.agreement import Company
from provisioner.commands.host import run as run_on_hosts
from provisioner.commands.meeting import Team
from provisioner.commands.options import Options, again
from provisioner.commands.sources import bring
from provisioner.commands.telling import fill
from provisioner.commands.view import look
from provisioner.errors import Exit
from provisioner.inventory import StackRequest
from provisioner.report.model import HostResult, Reporter
from provisioner.transport.base import Session


def plan(options: Options, reporter: Reporter, *, diff: bool = False, exit_code: bool = False) -> Exit:
    """Look and tell. Exit 4 where a run would be refused, 2 with `exit_code` when something would change."""

    def work(session: Session, request: StackRequest, result: HostResult, team: Team) -> None:
        view = look(session, request, deep=options.deep, company=Company(team.meeting, team.name))
        safety.refuse_switches(view)
        fill(result, view)
        result.notes += [f"the run asks first, or wants --yes: {line}" for line in safety.asking(view)]
        if view.plan or view.unnamed:
            # Those that ask nothing more of the host: whether it reaches its downloads the run asks.
            result.checks = preflight.seen(view)
        result.show_diff = diff
        result.select = again(request, options)
        reporter.connected(result)
        if result.refused or any(check.status == "fail" for check in result.checks):
            result.exit = Exit.REFUSED
        elif exit_code and view.plan:
            result.exit = Exit.PENDING

    return run_on_hosts("plan", options, reporter, work, bring)[0]
