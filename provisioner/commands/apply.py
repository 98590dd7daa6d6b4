"""`provision`, `provision STEP`: every step or one, on every stack of the call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from provisioner.commands import ahead
from provisioner.commands.host import run as run_on_hosts
from provisioner.commands.meeting import Team
from provisioner.commands.options import Options
from provisioner.commands.sources import bring
from provisioner.errors import Exit
from provisioner.inventory import StackRequest
from provisioner.report.model import HostResult, Reporter
from provisioner.transport.base import Session

if TYPE_CHECKING:
    from provisioner.commands.view import View


def apply(options: Options, reporter: Reporter, steps: Sequence[str] = ()) -> Exit:
    """Make each host what it should be and prove it; the exit code of the whole call."""
    ahead.warm()
    command = "apply" if not steps else " ".join(steps)

    def work(session: Session, request: StackRequest, result: HostResult, team: Team) -> None:
        # Imported while the connection was made (see ahead.py): half of a run's start is imports.
        from provisioner.commands.converge import Converge

        def take(view: View) -> None:
            from provisioner.commands.rotation import Taking

            Taking(session, request, result, options, reporter, (), team).of_sources(view)

        run = Converge(session, request, result, options, reporter, steps, team)
        run.taking = take
        run.all()

    return run_on_hosts(command, options, reporter, work, bring)[0]
