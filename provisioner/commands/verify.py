"""`verify`: log a test run the way a client does, on the stack or on any MLflow server."""

from __future__ import annotations

import os
import time

from provisioner.commands.access import ways
from provisioner.commands.converge import fill, take
from provisioner.commands.host import run as run_on_hosts
from provisioner.commands.options import Options, select
from provisioner.commands.view import look_at_record
from provisioner.engine.check import Check
from provisioner.errors import Exit, ProvisionError
from provisioner.inventory import StackRequest
from provisioner.report.model import HostResult, Reporter
from provisioner.transport.base import Session
from provisioner.verify.run import verify as run_checks
from provisioner.verify.target import target_from


def verify(options: Options, reporter: Reporter, tracking_uri: str = "") -> Exit:
    """All checks; exit 5 when one fails."""
    if tracking_uri:
        return _foreign(reporter, tracking_uri)

    def work(session: Session, request: StackRequest, result: HostResult) -> None:
        view = look_at_record(session, request)
        fill(result, view)
        result.total, result.changes = 0, []

        def on_check(check: Check) -> None:
            reporter.check(result, check)

        reporter.connected(result)
        view.named()
        with ways(session, view, select(request)) as access:
            outcome = run_checks(access.target, database=access.database, store=access.store, on_check=on_check)
        take(result, outcome, reporter)

    return run_on_hosts("verify", options, reporter, work)[0]


def _foreign(reporter: Reporter, url: str) -> Exit:
    target = target_from(url, os.environ)
    result = HostResult(target.url, url=target.url)
    begun = time.monotonic()
    reporter.connected(result)
    outcome = run_checks(target, on_check=lambda check: reporter.check(result, check))
    try:
        take(result, outcome, reporter)
    except ProvisionError as error:
        result.error, result.exit = error, error.exit
    result.seconds = time.monotonic() - begun
    reporter.finished("verify", [result], result.seconds)
    return result.exit
