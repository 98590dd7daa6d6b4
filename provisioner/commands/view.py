"""Look at a host and decide: settings, secrets, resources and the plan. Changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from provisioner import accounts, controller, record, secret_kinds, vault
from provisioner.commands.certificate import taken
from provisioner.commands.former import with_former
from provisioner.commands.kept import SECRETS_FILE, STACK_FILE, record_resources, recorded_in, vault_in
from provisioner.commands.options import select
from provisioner.commands.sources import to_make, with_sources
from provisioner.door import UNKNOWN, Door, decide
from provisioner.engine import plan, probe
from provisioner.engine.apply import observe
from provisioner.engine.plan import Plan
from provisioner.engine.probe import Seen
from provisioner.engine.resource import Resource
from provisioner.errors import ProtocolError, Refused
from provisioner.inventory import StackRequest
from provisioner.lock import OWNER
from provisioner.resources.facts import Facts, FactsProbe
from provisioner.resources.mark import MarksProbe
from provisioner.resources.paths import PathProbe
from provisioner.secrets import Secret
from provisioner.settings import RECORD, Recorded, Settings, Switch, effective, switches
from provisioner.steps import Context, Step, named, needed, ordered, settled
from provisioner.transport.base import Session
from provisioner.values import dataclass

FACTS = FactsProbe()
FOLDER = PathProbe("/etc/provision", read=False)
MARKS = MarksProbe()
BASE = (FACTS, STACK_FILE, SECRETS_FILE, FOLDER, MARKS, OWNER)
_PATIENCE, _DEEP_PATIENCE = 60.0, 600.0
"""Seconds a look may stay silent; reading programs and packages whole, 1 GB, takes its time on a slow disk."""


Renew = Callable[[vault.Vault], vault.Vault]


class NoStack(Refused):
    """The host has no record: nothing was ever made there, or it was rebuilt."""


@dataclass(frozen=True)
class View:
    """Everything that is known and decided of one host's stack."""

    request: StackRequest
    settings: Settings
    recorded: Recorded | None
    secrets: vault.Decision
    context: Context
    steps: tuple[Step, ...]
    """The chosen ones."""
    all_steps: tuple[Step, ...]
    resources: tuple[Resource, ...]
    """Of the chosen steps, the record first."""
    seen: Seen
    plan: Plan
    needs: Plan
    """Changes of the steps that the chosen ones need; a single step refuses to run on them."""
    switches: tuple[Switch, ...] = ()
    unnamed: Refused | None = None
    """Why it is not known which address clients will use; the context's door then only stands in for it."""
    warnings: tuple[str, ...] = ()
    looks: int = 1
    """Execs it took."""

    @property
    def facts(self) -> Facts:
        return self.context.facts

    @property
    def exists(self) -> bool:
        """The host has a record: a stack was made there."""
        return self.seen[STACK_FILE].kind == "file"

    def named(self) -> Door:
        """What clients are told; Refused (exit 4) where the address is not known."""
        if self.unnamed is not None:
            raise self.unnamed
        return self.context.door


def look(
    session: Session,
    request: StackRequest,
    chosen: Sequence[str] = (),
    *,
    deep: bool = False,
    clients: bool = True,
    renew: Renew | None = None,
    renewal: str = "a new value",
) -> View:
    """One exec when the host is as it was remembered, two otherwise.

    `chosen`: names of steps, all when empty. `clients`: also read what only client libraries see.
    `renew`: gives the secrets that the stack shall have from those that it has; `renewal`: what is said of them.
    """
    copy = controller.recall_record(request.id)
    guess = effective(request.flags, request.inventory or {}, copy)
    local, warning = vault.read_controller(request.id)
    warnings = [warning] if warning else []
    facts = controller.recall_facts(request.id) or Facts()
    context = Context(
        settings=guess,
        facts=facts,
        secrets=_Guessed(),
        door=_door(guess, request, session, Facts())[0],
        store_hint=controller.binary_hint(request.id),
        stack=request.id,
        deep=deep,
    )
    wanted: list[probe.Probe[Any]] = [*BASE, *_probes(context, _built(context, chosen))]
    patience = _DEEP_PATIENCE if deep else _PATIENCE
    seen = probe.look(session, wanted, timeout=patience)
    looks = 1
    recorded = recorded_in(seen[STACK_FILE], copy, session.host)
    settings = effective(request.flags, request.inventory or {}, recorded)
    facts = seen[FACTS]
    host = vault_in(seen[SECRETS_FILE], session.host)
    decision = vault.reconcile(
        host,
        local,
        request.id,
        to_make(names := secret_kinds.wanted(settings), request),
        hostname=request.host.name,
        select=select(request),
    )
    decision, warned = with_sources(decision, request, names, tuple(chosen))
    warnings += warned
    if renew is not None:
        decision = decision.renewed(renew(decision.vault))
    door, unnamed = _door(settings, request, session, facts)
    needed_names = tuple(settings.access.names) or (() if unnamed else (door.name,))
    decision, more = taken(decision, settings, recorded, needed_names, select(request))
    warnings += more
    if recorded is not None and seen[STACK_FILE].kind == "file" and unnamed is None:
        before, unknown = _door(effective({}, {}, recorded), request, session, facts)
        if unknown is None and before.url != door.url:
            warnings.append(f"clients must use another URL: {door.url}, until now {before.url}")
    while True:
        context = Context(
            settings=settings,
            facts=facts,
            secrets=decision.vault.secrets(),
            generations=decision.vault.generations(),
            door=door,
            seen=seen,
            store_hint=context.store_hint,
            stack=request.id,
            ended=decision.vault.ended,
            renewed=tuple(name for each in decision.to_host if (name := accounts.account_of(each)) is not None),
            deep=deep,
        )
        context = replace(context, settings=settled(context, ordered(settings)))
        built = _built(context, chosen)
        missing = [p for p in _probes(context, built) if p not in seen]
        if not missing:
            break
        if looks == 4:
            raise ProtocolError("the host keeps changing while it is looked at")
        seen = seen.merge(probe.look(session, missing, timeout=patience))
        looks += 1
    settings = context.settings
    for name in chosen:
        named(name, settings, select(request), new=recorded is None)
    all_steps = ordered(settings)
    steps = [s for s in all_steps if not chosen or s.name in chosen]
    under = [s for s in all_steps if s not in steps and any(s in needed(step, all_steps) for step in steps)]
    because = decision.because or (renewal if renew is not None else "")
    files = record_resources(settings, decision.vault, request.id, because)
    mine = with_former(
        [*files, *(r for s in steps for r in built[s.name])],
        context,
        recorded,
        host,
        lambda was: _door(was, request, session, facts)[0],
        renewal,
    )
    theirs = [r for s in under for r in built[s.name]]
    if clients:
        seen = observe(session, [*mine, *theirs], seen)
    context = replace(context, seen=seen)
    controller.remember_facts(request.id, facts)
    return View(
        request=request,
        settings=settings,
        recorded=recorded,
        secrets=decision,
        context=context,
        steps=tuple(steps),
        all_steps=tuple(all_steps),
        resources=tuple(mine),
        seen=seen,
        plan=plan.make(mine, seen),
        needs=plan.make(theirs, seen),
        switches=switches(recorded, settings),
        unnamed=unnamed,
        warnings=tuple(warnings),
        looks=looks,
    )


def look_at_record(session: Session, request: StackRequest) -> View:
    """Only the host's record, secrets and facts: what a client's settings are made of. One exec.
    Flags and inventory decide nothing here, nor is a secret made up that neither side has.

    Refused (exit 4) where the host carries no stack.
    """
    seen = probe.look(session, BASE)
    state = seen[STACK_FILE]
    if state.kind != "file" or not isinstance(state.content, bytes):
        raise NoStack(
            f"{session.host} carries no stack of this tool",
            why=f"it has no {RECORD}",
            next=f"provision {select(request)}",
        )
    recorded = record.parse_recorded(state.content, session.host)
    request = request.as_recorded()
    settings = effective({}, {}, recorded)
    local, warning = vault.read_controller(request.id)
    host = vault_in(seen[SECRETS_FILE], session.host)
    decision = vault.reconcile(
        host,
        local,
        request.id,
        (),
        hostname=request.host.name,
        select=select(request),
    )
    # What its services run with: a newer value of this machine's gets there with the next run.
    working = {**decision.vault.secrets(), **(host.secrets() if host else {})}
    facts = seen[FACTS]
    door, unnamed = _door(settings, request, session, facts)
    context = Context(
        settings=settings,
        facts=facts,
        secrets=_Kept(working, session.host, f"provision {select(request)}"),
        door=door,
        seen=seen,
        stack=request.id,
    )
    return View(
        request=request,
        settings=settings,
        recorded=recorded,
        secrets=decision,
        context=context,
        steps=(),
        all_steps=tuple(ordered(settings)),
        resources=(),
        seen=seen,
        plan=plan.make((), seen),
        needs=plan.make((), seen),
        unnamed=unnamed,
        warnings=(warning,) if warning else (),
    )


class _Kept(dict[str, Secret]):
    """The secrets that there are; one that is missing is told as what it is."""

    def __init__(self, values: Mapping[str, Secret], host: str, repair: str):
        super().__init__(values)
        self._host = host
        self._repair = repair

    def __missing__(self, name: str) -> Secret:
        raise Refused(
            f"the secret {name} is neither on {self._host} nor on this machine",
            why=f"{vault.HOST_FILE} there is gone or not complete",
            next=f"{self._repair}   (makes a new one)",
        )


class _Guessed(dict[str, Secret]):
    """Any secret, for a guess: probes never depend on one's value."""

    def __missing__(self, name: str) -> Secret:
        return Secret("guessed0")


def _built(context: Context, chosen: Sequence[str]) -> dict[str, Sequence[Resource]]:
    """The resources of the chosen steps and of those they need, by step."""
    steps = ordered(context.settings)
    return {
        s.name: s.resources(context)
        for s in steps
        if not chosen or s.name in chosen or any(s in needed(t, steps) for t in steps if t.name in chosen)
    }


def _probes(context: Context, built: Mapping[str, Sequence[Resource]]) -> list[probe.Probe[Any]]:
    """What the steps of `built` look at, to be named and to be compared."""
    looks = [look for step in ordered(context.settings) if step.name in built for look in step.looks(context)]
    return [*looks, *plan.probes_of(r for resources in built.values() for r in resources)]


def _door(settings: Settings, request: StackRequest, session: Session, facts: Facts) -> tuple[Door, Refused | None]:
    """The address that clients use; a stand-in, and why, where it cannot be told."""
    access = settings.access
    try:
        door = decide(
            scheme=access.scheme,
            port=access.door_port,
            names=tuple(access.names),
            target=request.host.address,
            address=session.address,
            addresses=facts.addresses,
        )
    except Refused as error:
        return Door(access.scheme, UNKNOWN, access.door_port, (UNKNOWN,)), error
    return door, None
