"""Who gets in, changed at once: the secrets and what is rendered from them for logins, here and on the stack's hosts,
and nothing else there; then the proof through the URL."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace

from provisioner import vault
from provisioner.commands.access import way
from provisioner.commands.account_hosts import Seats, changes_of, connected, looked_at, own
from provisioner.commands.ledger import Ledger, hold, stamp
from provisioner.commands.options import Options, select
from provisioner.commands.view import View
from provisioner.engine.apply import Run
from provisioner.engine.plan import Plan
from provisioner.engine.resource import Change, Planned
from provisioner.errors import Exit, ProvisionError
from provisioner.resources.mlflow_users import Users
from provisioner.secrets import Secret
from provisioner.steps import mlflow_accounts, own_accounts
from provisioner.transport.base import Session
from provisioner.values import dataclass


@dataclass(frozen=True)
class Wanted:
    """The secrets as they shall be, and the passwords that then must and must not open the door."""

    vault: vault.Vault
    opens: Secret | None = None
    refused: Secret | None = None


Decide = Callable[[Seats], Wanted]


def change(command: str, options: Options, account: str, decide: Decide) -> View:
    """Under the hosts' locks: the secrets here, then there with what is rendered from them; then the proof."""
    command = f"provision {command}"
    with connected(options) as places:
        seats = looked_at(places)
        decide(seats)  # what is refused is refused before a lock is waited for
        with ExitStack() as held:
            holding = {}
            # In the order in which every command locks the hosts of a stack.
            for place in sorted(places, key=lambda each: (each.request.host.address, each.request.host.port or 0)):
                seat = next(seat for seat in seats.all if seat.connection is place.connection)
                lock = hold(seat.connection, seat.view, command, options.say or (lambda _: None))
                holding[seat.view.context.name] = held.enter_context(lock)
            if any(each.moved for each in holding.values()):
                seats = looked_at(places)
            wanted = decide(seats)
            # Here first, as in every run: a killed one must not lose what it made.
            vault.write_controller(wanted.vault)
            for seat in seats.all:
                owner = holding[seat.view.context.name].owner
                _run(seat.connection, seat.view, command, _final(seat.view, wanted, account), owner)
        _prove(seats.door.connection, seats.view, account, wanted)
    return seats.view


def _final(view: View, wanted: Wanted, account: str) -> Plan:
    """`changes_of`, and where MLflow is given the accounts another look at them: the login is tried there."""
    changes = changes_of(view, wanted.vault, account)
    if not own(view) or not view.context.here.first("mlflow"):
        return changes
    context = replace(view.context, secrets=wanted.vault.secrets(), ended=wanted.vault.ended)
    kept = tuple(planned for planned in changes.changes if not isinstance(planned.resource, Users))
    tried = mlflow_accounts.users(context, frozenset({account})).of("mlflow")
    return replace(changes, changes=(*kept, Planned(tried, Change("check", "the login is tried", title="accounts"))))


def _run(connection: Session, view: View, command: str, changes: Plan, owner: str) -> None:
    ledger = Ledger(view.request, command)
    run = Run(connection, changes, stamp=stamp(), emit=ledger.note, journal=ledger.journal, owner=owner)
    try:
        run.all()
    finally:
        ledger.close()


def _prove(connection: Session, view: View, account: str, wanted: Wanted) -> None:
    """The login opens, the former one does not; ProvisionError (exit 5) where that is not so."""
    from provisioner.verify.api import Api
    from provisioner.verify.deadline import Deadline
    from provisioner.verify.http import HttpError

    with way(connection, view, select(view.request)) as target:

        def status(password: Secret) -> int:
            api = Api(replace(target, username=account, password=password), Deadline(20))
            try:
                return api.raw("GET", "/version", limit=65536).status
            finally:
                api.close()

        try:
            opens = status(wanted.opens) if wanted.opens is not None else None
            refused = status(wanted.refused) if wanted.refused is not None else None
            end = time.monotonic() + (own_accounts.KEPT + 5 if own(view) else 0)
            while refused not in (None, 401) and wanted.refused is not None and time.monotonic() < end:
                time.sleep(0.5)  # a server process takes a login that it has checked for good for a while
                refused = status(wanted.refused)
        except HttpError as error:
            raise _unproven(view, str(error)) from None
    if opens == 401:
        raise _unproven(view, f"the login of {account} is refused")
    if refused not in (None, 401):
        raise _unproven(view, f"the former login of {account} still opens (HTTP {refused})")
    if opens not in (None, 200):
        print(f"the login of {account} is let in, but MLflow answers {opens}: provision verify", file=sys.stderr)


def _unproven(view: View, why: str) -> ProvisionError:
    return ProvisionError(
        f"the accounts were changed, and {view.named().url} does not show it",
        why=why,
        next=f"provision {select(view.request)}",
        exit=Exit.VERIFY,
    )
