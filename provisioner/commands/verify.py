"""`verify`: log a test run the way a client does, on the stack or on any MLflow server."""

from __future__ import annotations

import os
import re
import shlex
import time
from collections.abc import Callable

from provisioner.commands.access import ways
from provisioner.commands.host import run as run_on_hosts
from provisioner.commands.meeting import Team
from provisioner.commands.options import Options, select
from provisioner.commands.telling import fill, take
from provisioner.commands.view import View, look_at_record, together
from provisioner.engine.check import Check
from provisioner.errors import Exit, ProvisionError, Refused, UsageError
from provisioner.inventory import StackRequest
from provisioner.report.model import HostResult, Reporter
from provisioner.transport.base import Session
from provisioner.verify.run import Outcome
from provisioner.verify.run import verify as run_checks


def verify(
    options: Options, reporter: Reporter, tracking_uri: str = "", client: str = "", experiment: str = ""
) -> Exit:
    """All checks; exit 5 when one fails. `client` is a Python whose MLflow makes them, in `experiment`."""
    if tracking_uri and options.hosts:
        raise UsageError("--tracking-uri and --host name two servers.", next="give one of them")
    if tracking_uri:
        return _foreign(reporter, tracking_uri, client, experiment)
    if client or experiment:
        raise UsageError(
            "--client and --experiment go with --tracking-uri.",
            next='eval "$(provision env)" and add --tracking-uri "$MLFLOW_TRACKING_URI"',
        )

    def work(session: Session, request: StackRequest, result: HostResult, team: Team) -> None:
        view = look_at_record(session, request)
        fill(result, view)
        result.total, result.changes = 0, []

        def on_check(check: Check) -> None:
            reporter.check(result, check)

        reporter.connected(result)
        views = team.meeting.agree(team.name, "record", view, dict)
        if not team.leads:
            # Its connection leads to what this host holds.
            result.url = ""
            team.wait_for_leader("proof")
            return
        whole(team, view)
        view = together(view, views.values())
        view.named()
        with ways(team.by_role(view.settings.topology, session), view, select(request)) as access:
            outcome = run_checks(access.target, database=access.database, store=access.store, on_check=on_check)
        take(result, outcome, reporter)

    return run_on_hosts("verify", options, reporter, work)[0]


def whole(team: Team, view: View) -> None:
    """Refused (exit 4) where a host of the stack takes no part: a proof of the rest proves little."""
    missing = team.missing(view.settings.topology)
    if missing:
        raise Refused(
            f"the stack cannot be verified without {', '.join(missing)}",
            why="it was not reached, or --host left it out",
            next=f"provision verify {select(view.request.whole)}".rstrip(),
        )


def _foreign(reporter: Reporter, uri: str, client: str, experiment: str) -> Exit:
    if client:
        name, checks = _by_client(uri, client, experiment)
    else:
        name, checks = _by_http(uri, experiment)
    result = HostResult(name, url=name)
    if re.match(r"[^/]*//[^/@:]*:[^/@]+@", uri):
        result.warnings.append("everybody on this machine sees a password in the address: it is an argument")
    begun = time.monotonic()
    reporter.connected(result)
    try:
        take(result, checks(lambda check: reporter.check(result, check)), reporter)
    except ProvisionError as error:
        result.error, result.exit = error, error.exit
    result.seconds = time.monotonic() - begun
    reporter.finished("verify", [result], result.seconds)
    return result.exit


Checks = Callable[[Callable[[Check], None]], Outcome]


def _by_http(uri: str, experiment: str) -> tuple[str, Checks]:
    from provisioner.verify.environment import is_host, scheme_of, target_from

    if scheme_of(uri) not in ("http", "https") and not is_host(uri):
        from provisioner.verify.client import shown

        raise UsageError(
            f"{shown(uri) or 'An empty address'} is understood by MLflow's own client only.",
            why="This tool itself speaks to tracking servers at http:// and https:// addresses.",
            next=f"provision verify --tracking-uri {shlex.quote(shown(uri))} --client PYTHON\n"
            "PYTHON is an interpreter or a virtual environment with MLflow in it, and what MLflow needs for it",
        )
    target = target_from(uri, os.environ)
    if experiment:
        raise UsageError("--experiment goes with --client.", next="leave it out, or add --client PYTHON")
    return target.url, lambda on_check: run_checks(target, on_check=on_check)


def _by_client(uri: str, client: str, experiment: str) -> tuple[str, Checks]:
    from provisioner.verify.client import interpreter, shown, verify
    from provisioner.verify.clientfaults import scheme_known
    from provisioner.verify.context import NAME

    if any(ord(c) < 32 or ord(c) == 127 for c in uri + experiment):
        raise UsageError("The address or the experiment's name contains a control character.")
    if scheme_known(uri) == "databricks" and not experiment:
        raise UsageError(
            "Databricks names experiments by a path in the workspace.",
            next="add --experiment /Users/YOU@EXAMPLE.COM/provision-verify",
        )
    python = interpreter(client)
    return shown(uri), lambda on_check: verify(uri, python, experiment or NAME, os.environ, on_check=on_check)
