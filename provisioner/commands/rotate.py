"""`secrets rotate`: by one exec where a stack is one host, by an order of them where it is several."""

from __future__ import annotations

from provisioner.commands.host import run as run_on_hosts
from provisioner.commands.meeting import Team
from provisioner.commands.options import Options
from provisioner.commands.rotation import Rotation, chosen, generated
from provisioner.errors import Exit
from provisioner.inventory import StackRequest
from provisioner.report.model import HostResult, Reporter
from provisioner.transport.base import Session


def rotate(options: Options, reporter: Reporter, name: str) -> Exit:
    """New values for the secret `name` or for all; UsageError (64) for a name that is none."""
    turns = chosen(name)

    def work(session: Session, request: StackRequest, result: HostResult, team: Team) -> None:
        if len(request.parts) > 1:
            from provisioner.commands.rotate_hosts import Together

            rotation: Rotation = Together(session, request, result, options, reporter, (), team)
        else:
            rotation = Rotation(session, request, result, options, reporter, (), team)
        rotation.command = f"provision secrets rotate {name}"
        wanted = generated(turns, request, result)
        if not team.leads:
            result.told.clear()  # it is the stack's, and told once
        rotation.of(wanted)

    # Once more it would be refused until what the first one left is done.
    return run_on_hosts("secrets rotate", options, reporter, work, finisher="provision")[0]
