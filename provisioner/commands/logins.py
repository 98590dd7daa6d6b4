"""Who gets in, changed at once: the secrets and what is rendered from them for logins, here and on the host, and
nothing else there; then the proof through the URL."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import replace

from provisioner import accounts, vault
from provisioner.commands.access import way
from provisioner.commands.kept import record_resources
from provisioner.commands.ledger import Ledger, hold, stamp
from provisioner.commands.options import Options, one_stack, select, session
from provisioner.commands.view import NoStack, View, look
from provisioner.engine import plan
from provisioner.engine.apply import Run, observe
from provisioner.engine.plan import Plan
from provisioner.engine.resource import Change, Planned
from provisioner.errors import Exit, ProvisionError, Refused
from provisioner.resources.mlflow_users import Users
from provisioner.secrets import Secret
from provisioner.steps import mlflow_accounts, own_accounts
from provisioner.transport.base import Session
from provisioner.values import dataclass

STEP = "proxy"
_RENDERED = frozenset(
    {"file:secrets.json", "file:nginx-accounts", "file:nginx-health", "file:mlflow-admin", "accounts:mlflow"}
)
"""The resources that an account's change is allowed to change."""


@dataclass(frozen=True)
class Wanted:
    """The secrets as they shall be, and the passwords that then must and must not open the door."""

    vault: vault.Vault
    opens: Secret | None = None
    refused: Secret | None = None


Decide = Callable[[View], Wanted]


def change(command: str, options: Options, account: str, decide: Decide) -> View:
    """Under the host's lock: the secrets here, then there with what is rendered from them; then the proof."""
    command = f"provision {command}"
    with session(one_stack(options), options) as connection:
        view = looked_at(connection, options)
        decide(view)  # what is refused is refused before the lock is waited for
        with hold(connection, view, command, options.say or (lambda _: None)) as holding:
            if holding.moved:
                view = looked_at(connection, options)
            wanted = decide(view)
            # Here first, as in every run: a killed one must not lose what it made.
            vault.write_controller(wanted.vault)
            _run(connection, view, command, _final(view, wanted, account), holding.owner)
        _prove(connection, view, account, wanted)
    return view


def looked_at(connection: Session, options: Options) -> View:
    """The stack as its host records it, with the steps that render accounts. Refused (exit 4) where
    there is none, where it has no accounts, and where it is not whole."""
    request = one_stack(options)
    view = look(connection, request.as_recorded(), (STEP,), clients=False)
    run = f"provision {select(request)}"
    if not view.exists:
        raise NoStack(f"{connection.host} carries no stack of this tool", next=run)
    if view.settings.access.auth == "none":
        raise Refused(
            "this stack has no accounts: whoever reaches it is in",
            next=f"provision --set access.auth=password {select(request)}",
        )
    if request.parts and own(view):
        raise Refused(
            "MLflow keeps the accounts, and this stack has several hosts",
            why="this version of provision changes them on one server only",
            next="MLflow's own pages do it: /account and /admin at the stack's URL",
        )
    unmet = [p for p in view.plan.unmet if p.step == STEP and p.id not in _RENDERED]
    if view.secrets.generated or unmet:
        lacks = [*view.secrets.generated, *(p.change.title or p.id for p in unmet)]
        raise Refused("the stack is not whole", why=f"it lacks {', '.join(lacks[:4])}", next=run)
    if not own(view):
        return view
    users = mlflow_accounts.users(view.context)
    seen = observe(connection, [users], view.seen)
    state = seen.get(users.key)
    if state is None or state.unseen:
        why = state.unseen if state is not None else ""
        raise Refused("MLflow keeps the accounts, and it does not tell them", why=why, next=run)
    return replace(view, seen=seen)


def changes_of(view: View, document: vault.Vault, account: str) -> Plan:
    """What `document` changes on the host as it was seen, in what says who gets in."""
    context = replace(view.context, secrets=document.secrets(), ended=document.ended)
    part = vault.part(document, view.context.name, view.settings)
    rendered = record_resources(view.settings, part, view.request.id, first=("accounts:mlflow",))
    for step in view.all_steps:
        if step.name in {STEP, "mlflow"}:
            rendered += step.resources(context)
    # nginx itself asks MLflow with the operator's login, in a file that it reads when it is reloaded.
    reloaded = {"unit:nginx.service"} if own(view) and account == accounts.OPERATOR else frozenset[str]()
    return plan.make([each for each in rendered if each.id in _RENDERED | reloaded], view.seen)


def own(view: View) -> bool:
    """MLflow keeps the accounts."""
    return own_accounts.chosen(view.settings)


def in_mlflow(view: View) -> frozenset[str]:
    """The accounts that MLflow keeps; none where nginx asks for the login."""
    state = view.seen.get(mlflow_accounts.users(view.context).key) if own(view) else None
    return state.names if state is not None else frozenset()


def _final(view: View, wanted: Wanted, account: str) -> Plan:
    """`changes_of`, and where MLflow keeps the accounts another look at them: the login is tried there."""
    changes = changes_of(view, wanted.vault, account)
    if not own(view):
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
