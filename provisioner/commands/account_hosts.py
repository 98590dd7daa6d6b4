"""The hosts of a stack that say who gets in, connected and looked at: the URL's, and where MLflow keeps the accounts
every one that it runs on. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from provisioner import accounts, vault
from provisioner.commands.agreement import Company
from provisioner.commands.kept import record_resources
from provisioner.commands.meeting import Meeting
from provisioner.commands.options import Options, one_stack, select, session
from provisioner.commands.view import NoStack, View, look, look_at_record
from provisioner.engine import plan
from provisioner.engine.apply import observe
from provisioner.engine.plan import Plan
from provisioner.errors import ProvisionError, Refused
from provisioner.inventory import StackRequest
from provisioner.steps import mlflow_accounts, own_accounts
from provisioner.transport.base import Session
from provisioner.values import dataclass

STEP = "proxy"
_STEPS = ("mlflow", STEP)
"""The steps that render accounts."""
_RENDERED = frozenset(
    {"file:secrets.json", "file:nginx-accounts", "file:nginx-health", "file:mlflow-admin", "accounts:mlflow"}
)
"""The resources that an account's change is allowed to change."""


@dataclass(frozen=True)
class Place:
    """A host that was connected to."""

    request: StackRequest
    connection: Session


@dataclass(frozen=True)
class Seat:
    """A host as it was seen."""

    connection: Session
    view: View


@dataclass(frozen=True)
class Seats:
    """In the order in which an account is changed on them: first the host that gives it to MLflow, then its
    other servers, the URL's host last where it is none of them."""

    all: tuple[Seat, ...]

    @property
    def door(self) -> Seat:
        """The host that carries the URL."""
        return next(seat for seat in self.all if seat.view.context.here.holds(STEP))

    @property
    def view(self) -> View:
        """The stack, as its URL's host has it."""
        return self.door.view

    @property
    def in_mlflow(self) -> frozenset[str]:
        """The accounts that MLflow keeps; none where nginx asks for the login. Refused (exit 4) where it lets the
        operator not in: what it has then, nobody tells, and an account of somebody else's would get a password."""
        first = self.all[0].view
        state = first.seen.get(mlflow_accounts.users(first.context).key) if own(first) else None
        if state is not None and accounts.OPERATOR in state.refused:
            raise Refused(
                "MLflow keeps the accounts, and it does not tell them",
                why=f"it refuses the login of {accounts.OPERATOR}",
                next=f"provision {select(first.request.whole)}".rstrip(),
            )
        return state.names if state is not None else frozenset()

    def lacks(self, document: vault.Vault, account: str) -> bool:
        """Whether a host does not have an account as `document` says."""
        return any(changes_of(seat.view, document, account) for seat in self.all)


@contextmanager
def connected(options: Options) -> Iterator[Sequence[Place]]:
    """The URL's host first."""
    request = one_stack(options).at(STEP)
    with ExitStack() as stack:

        def opened(wanted: StackRequest) -> Place:
            return Place(wanted, stack.enter_context(session(wanted, options)))

        places = [opened(request)]
        others = [p.host for p in request.parts if "mlflow" in p.roles and p.host.name != request.host.name]
        if others and own(look_at_record(places[0].connection, request)):
            places += [opened(replace(request, host=host)) for host in others]
        yield places


def looked_at(places: Sequence[Place]) -> Seats:
    """The stack as its hosts record it. Refused (exit 4) where there is none, where it has no accounts, and where it is
    not whole."""
    meeting = Meeting([place.request.host.name for place in places])
    with ThreadPoolExecutor(len(places)) as pool:
        try:
            # Side by side: they wait for each other to agree on what is the stack's.
            views = [future.result() for future in [pool.submit(_look, place, meeting) for place in places]]
        except BaseException:
            meeting.interrupt()
            raise
    seats = [Seat(place.connection, _whole(view)) for place, view in zip(places, views, strict=True)]
    if own(seats[0].view):
        seats.sort(key=lambda seat: (not seat.view.context.here.first("mlflow"), seat.view.context.here.holds(STEP)))
        seats[0] = _told(seats[0])
    return Seats(tuple(seats))


def _look(place: Place, meeting: Meeting) -> View:
    name = place.request.host.name
    # Hosts that look together agree on what all of them have; one alone is looked at as ever.
    chosen = (STEP,) if meeting.alone else _STEPS
    try:
        request = place.request.as_recorded()
        return look(place.connection, request, chosen, clients=False, company=Company(meeting, name))
    except Exception as error:
        meeting.leave(name, error if isinstance(error, ProvisionError) else ProvisionError("a fault"))
        raise


def _whole(view: View) -> View:
    """Refused (exit 4) where accounts cannot be changed there."""
    run = f"provision {select(view.request.whole)}".rstrip()
    host = view.request.host.name
    if not view.exists:
        raise NoStack(f"{host} carries no stack of this tool", next=run)
    if view.settings.access.auth == "none":
        raise Refused(
            "this stack has no accounts: whoever reaches it is in",
            next=f"provision --set access.auth=password {select(view.request)}",
        )
    unmet = [p for p in view.plan.unmet if p.step in _STEPS and p.id not in _RENDERED]
    if view.secrets.generated or unmet:
        lacks = [*view.secrets.generated, *(p.change.title or p.id for p in unmet)]
        raise Refused("the stack is not whole", why=f"{host} lacks {', '.join(lacks[:4])}", next=run)
    return view


def _told(seat: Seat) -> Seat:
    """With the accounts as MLflow tells them."""
    users, view = mlflow_accounts.users(seat.view.context), seat.view
    seen = observe(seat.connection, [users], view.seen)
    state = seen.get(users.key)
    if state is None or state.unseen:
        why = state.unseen if state is not None else ""
        run = f"provision {select(view.request.whole)}".rstrip()
        raise Refused("MLflow keeps the accounts, and it does not tell them", why=why, next=run)
    return replace(seat, view=replace(view, seen=seen))


def changes_of(view: View, document: vault.Vault, account: str) -> Plan:
    """What `document` changes on the host as it was seen, in what says who gets in."""
    context = replace(view.context, secrets=document.secrets(), ended=document.ended)
    part = vault.part(document, view.context.name, view.settings)
    rendered = record_resources(view.settings, part, view.request.id, first=("accounts:mlflow",))
    for step in view.all_steps:
        if step.name in _STEPS:
            rendered += step.resources(context)
    # nginx itself asks MLflow with the operator's login, in a file that it reads when it is reloaded.
    reloaded = {"unit:nginx.service"} if own(view) and account == accounts.OPERATOR else frozenset[str]()
    return plan.make([each for each in rendered if each.id in _RENDERED | reloaded], view.seen)


def own(view: View) -> bool:
    """MLflow keeps the accounts."""
    return own_accounts.chosen(view.settings)
