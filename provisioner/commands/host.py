"""One command on one host, from the connection to the result; several hosts side by side."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from provisioner.commands.options import Options, open_session, select
from provisioner.errors import Exit, ProvisionError
from provisioner.inventory import Inventory, StackRequest
from provisioner.report.model import HostResult, Reporter
from provisioner.transport.base import Session

Work = Callable[[Session, StackRequest, HostResult], None]
"""Does a command's work on a connected host and fills the result; raises ProvisionError."""

HOSTS_AT_ONCE = 32


def on_each(inventory: Inventory, options: Options, work: Work) -> list[HostResult]:
    """`work` on every stack's host, each by its own connection; failures stay with their host."""
    stacks = inventory.stacks
    if len(stacks) == 1:
        return [_one(stacks[0], options, work)]
    with ThreadPoolExecutor(min(HOSTS_AT_ONCE, len(stacks))) as pool:
        return list(pool.map(lambda request: _one(request, options, work), stacks))


def _one(request: StackRequest, options: Options, work: Work) -> HostResult:
    result = HostResult(request.host.name, request.id, select=select(request))
    begun = time.monotonic()
    session: Session | None = None
    try:
        session = open_session(request, options)
        result.fingerprint, result.new_host_key = session.fingerprint, session.new_host_key
        work(session, request, result)
    except ProvisionError as error:
        result.error, result.exit = error, error.exit
    finally:
        if session is not None:
            result.connections, result.channels = session.connections, session.channels
            session.close()
        result.seconds = time.monotonic() - begun
    return result


def run(command: str, options: Options, reporter: Reporter, work: Work) -> tuple[Exit, Sequence[HostResult]]:
    """A whole command: load the inventory, work, report. Returns the exit code for the process."""
    from provisioner.errors import combined

    begun = time.monotonic()
    results = on_each(options.stacks(), options, work)
    reporter.finished(command, results, time.monotonic() - begun)
    return combined([result.exit for result in results]), results
