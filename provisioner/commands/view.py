"""Look at a host and decide: settings, secrets, resources and the plan. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from provisioner import accounts, controller, record, vault
from provisioner.commands import outside_keys
from provisioner.commands.agreement import Company, Glance, Known, Renew, door_for, guessed, lacking
from provisioner.commands.former import with_former
from provisioner.commands.kept import SECRETS_FILE, STACK_FILE, record_resources, recorded_in, vault_in
from provisioner.commands.meeting import Meeting
from provisioner.commands.options import select
from provisioner.door import Door
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
from provisioner.settings import RECORD, Recorded, Settings, effective, with_topology
from provisioner.steps import Context, Step, named, needed, placed
from provisioner.steps.bucket import staying
from provisioner.switches import Switch
from provisioner.topology import Here, Topology
from provisioner.transport.base import Session
from provisioner.values import dataclass

FACTS = FactsProbe()
FOLDER = PathProbe("/etc/provision", read=False)
MARKS = MarksProbe()
BASE = (FACTS, STACK_FILE, SECRETS_FILE, FOLDER, MARKS, OWNER)
_PATIENCE, _DEEP_PATIENCE = 60.0, 600.0
"""Seconds a look may stay silent; reading programs and packages whole, 1 GB, takes its time on a slow disk."""


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
    company: Company | None = None,
) -> View:
    """One exec when the host is as it was remembered, two otherwise.

    `chosen`: names of steps, all when empty. `clients`: also read what only client libraries see.
    `renew`: gives the secrets that the stack shall have from those that it has; `renewal`: what is said of them.
    `company`: the stack's other hosts.
    """
    name = request.host.name
    copy = controller.recall_record(request.id)
    guess = effective(request.flags, request.inventory or {}, copy)
    guess = with_topology(guess, guessed(request, copy))
    local, warning = vault.read_controller(request.id)
    hint = controller.binary_hint(request.id)
    context = Context(
        settings=guess,
        facts=controller.recall_facts(request.id, request.place) or Facts(),
        secrets=_Guessed(),
        door=_door_guessed(guess, request, session),
        store_hint=hint,
        stack=request.id,
        deep=deep,
        name=name,
    )
    wanted: list[probe.Look[Any]] = [*BASE, *_probes(context, _built(context, chosen))]
    patience = _DEEP_PATIENCE if deep else _PATIENCE
    seen = probe.look(session, wanted, timeout=patience)
    looks = 1
    glance = Glance(
        request,
        session.address,
        seen[FACTS],
        recorded_in(seen[STACK_FILE], None, session.host),
        vault_in(seen[SECRETS_FILE], session.host),
        seen[MARKS],
    )
    agreed = (company or Company(Meeting((name,)), name)).agreed(glance, Known(copy, local, hint, tuple(chosen), renew))
    settings, decision = agreed.settings, agreed.secrets
    part = vault.part(decision.vault, name, settings)
    lacks = decision.to_host if settings.topology.single else lacking(part, glance.kept)
    servers = {member.name for member in settings.topology.of("mlflow")}
    served = settings.topology.single or (servers <= agreed.glances.keys() and (not chosen or "mlflow" in chosen))
    while True:
        context = Context(
            settings=settings,
            facts=glance.facts,
            secrets={**decision.vault.secrets(), **outside_keys.passing(settings, request.brought)},
            generations=decision.vault.generations(),
            door=agreed.door,
            seen=seen,
            store_hint=hint,
            stack=request.id,
            ended=decision.vault.ended,
            renewed=tuple(account for each in lacks if (account := accounts.account_of(each)) is not None),
            deep=deep,
            name=name,
            served=served,
        )
        built = _built(context, chosen)
        missing = [p for p in _probes(context, built) if p not in seen]
        if not missing:
            break
        if looks == 4:
            raise ProtocolError("the host keeps changing while it is looked at")
        seen = seen.merge(probe.look(session, missing, timeout=patience))
        looks += 1
    for step in chosen:
        named(step, settings, select(request), new=agreed.recorded is None)
    all_steps = placed(context)
    steps = [s for s in all_steps if not chosen or s.name in chosen]
    under = [s for s in all_steps if s not in steps and any(s in needed(step, all_steps) for step in steps)]
    because = decision.because or (renewal if renew is not None else "")
    # Accounts that MLflow keeps get a password before it is noted there: a killed run's is given again.
    first = ("accounts:mlflow",) if context.renewed and seen[SECRETS_FILE].kind == "file" else ()
    # A single step that this host does not have leaves it as it is.
    files = record_resources(settings, part, request.id, because, first) if steps else []
    mine = with_former(
        [*files, *(r for s in steps for r in built[s.name])],
        context,
        glance.record or agreed.recorded,
        glance.kept if lacks else None,
        agreed.door_of,
        renewal,
    )
    theirs = [r for s in under for r in built[s.name]]
    if clients:
        seen = observe(session, [*mine, *theirs], seen)
    context = replace(context, seen=seen)
    whole = f"provision {select(request.whole)}".rstrip()
    controller.remember_facts(request.id, glance.facts, request.place)
    return View(
        request=request,
        settings=settings,
        recorded=agreed.recorded,
        secrets=decision,
        context=context,
        steps=tuple(steps),
        all_steps=tuple(all_steps),
        resources=tuple(mine),
        seen=seen,
        plan=plan.make(mine, seen),
        needs=plan.make(theirs, seen),
        switches=agreed.switches,
        unnamed=agreed.unnamed,
        warnings=(*((warning,) if warning else ()), *agreed.warnings, *staying(mine, seen, whole)),
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
    name = _called(settings.topology, request, facts)
    glance = Glance(request, session.address, facts, recorded, host)
    at_door = Here(settings.topology, name).holds("proxy")
    door, unnamed = door_for(settings, request, glance if at_door else None)
    context = Context(
        settings=settings,
        facts=facts,
        secrets=_Kept(working, session.host, f"provision {select(request)}"),
        door=door,
        seen=seen,
        stack=request.id,
        name=name,
    )
    return View(
        request=request,
        settings=settings,
        recorded=recorded,
        secrets=decision,
        context=context,
        steps=(),
        all_steps=tuple(placed(context)),
        resources=(),
        seen=seen,
        plan=plan.make((), seen),
        needs=plan.make((), seen),
        unnamed=unnamed,
        warnings=(warning,) if warning else (),
    )


def together(view: View, others: Iterable[View]) -> View:
    """`view`, which `look_at_record` gave, with the secrets of every host of the stack."""
    secrets = view.context.secrets
    assert isinstance(secrets, _Kept)
    for other in others:
        secrets = secrets.with_more(other.context.secrets)
    return replace(view, context=replace(view.context, secrets=secrets))


class _Kept(dict[str, Secret]):
    """The secrets that there are; one that is missing is told as what it is."""

    def __init__(self, values: Mapping[str, Secret], host: str, repair: str):
        super().__init__(values)
        self._host = host
        self._repair = repair

    def with_more(self, others: Mapping[str, Secret]) -> _Kept:
        """With those of `others` that are not here."""
        return _Kept({**others, **self}, self._host, self._repair)

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


def _called(topology: Topology, request: StackRequest, facts: Facts) -> str:
    """What the stack calls this host: its operator may have come without the inventory that says so."""
    if topology.single or topology.member(request.host.name) is not None:
        return request.host.name
    return next((m.name for m in topology.members if m.address in facts.addresses), request.host.name)


def _built(context: Context, chosen: Sequence[str]) -> dict[str, Sequence[Resource]]:
    """The resources of the chosen steps and of those they need, by step."""
    steps = placed(context)
    return {
        s.name: s.resources(context)
        for s in steps
        if not chosen or s.name in chosen or any(s in needed(t, steps) for t in steps if t.name in chosen)
    }


def _probes(context: Context, built: Mapping[str, Sequence[Resource]]) -> list[probe.Look[Any]]:
    """What the steps of `built` look at, to be named and to be compared."""
    looks = [look for step in placed(context) if step.name in built for look in step.looks(context)]
    return [*looks, *plan.probes_of(r for resources in built.values() for r in resources)]


def _door_guessed(settings: Settings, request: StackRequest, session: Session) -> Door:
    """The address that clients use, before the host was seen."""
    here = Here(settings.topology, request.host.name)
    glance = Glance(request, session.address, Facts(), None, None) if here.holds("proxy") else None
    return door_for(settings, request, glance)[0]
