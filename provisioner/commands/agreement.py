"""What the hosts of one stack agree on once each was looked at: settings, secrets, and the address clients use.

A stack of one host agrees with itself. Pure but for new secrets: nothing is asked of a host, nothing is written.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from provisioner import secret_kinds, vault
from provisioner.commands import outside_keys
from provisioner.commands.certificate import taken
from provisioner.commands.editions import latest, numbered
from provisioner.commands.growth import pooled
from provisioner.commands.holdings import Had, left_behind
from provisioner.commands.meeting import Meeting
from provisioner.commands.one_sided import refuse_one_sided
from provisioner.commands.options import select
from provisioner.commands.sources import to_make, with_sources
from provisioner.door import UNKNOWN, Door, decide
from provisioner.errors import Locked, Refused
from provisioner.inventory import Part, StackRequest
from provisioner.placement import spread_store, superfluous
from provisioner.record import dump_recorded, parse_recorded
from provisioner.resources.facts import Facts
from provisioner.settings import Recorded, Settings, effective, with_topology
from provisioner.steps import Context, ordered, settled
from provisioner.switches import Switch, moved, switches
from provisioner.topology import ROLES, Member, Topology
from provisioner.values import dataclass

Renew = Callable[[vault.Vault], vault.Vault]


@dataclass(frozen=True)
class Glance:
    """One host as it was first seen."""

    request: StackRequest
    address: str
    """The one that the connection goes to."""
    facts: Facts
    record: Recorded | None
    """Of the host itself."""
    kept: vault.Vault | None
    """Its secrets; None where it has no file of them."""
    marks: frozenset[str] = frozenset()
    """What it ever had of the stack's data."""


@dataclass(frozen=True)
class Agreed:
    """The same for every host of the stack."""

    glances: Mapping[str, Glance]
    settings: Settings
    recorded: Recorded | None
    secrets: vault.Decision
    door: Door
    unnamed: Refused | None
    """Why it is not known which address clients will use; `door` then only stands in for it."""
    switches: tuple[Switch, ...]
    warnings: tuple[str, ...]
    door_of: Callable[[Settings], Door]
    """The address that other settings would give."""


@dataclass(frozen=True)
class Known:
    """What is there before any host is asked."""

    copy: Recorded | None
    """This machine's copy of the settings that a host has recorded."""
    local: vault.Vault | None
    store_hint: str | None = None
    chosen: tuple[str, ...] = ()
    """Names of steps, none for all."""
    renew: Renew | None = None


class Company:
    """The other hosts, as the look at one of them knows them."""

    def __init__(self, meeting: Meeting, name: str):
        self.meeting = meeting
        self._name = name
        self._agreed: Agreed | None = None

    def agreed(self, glance: Glance, known: Known) -> Agreed:
        """What all agree on. A host that is looked at once more cannot change it: the others work with it already."""
        if self.meeting.alone:
            return agree({self._name: glance}, known)
        if self._agreed is None:
            self._agreed = self.meeting.agree(self._name, "look", glance, lambda glances: agree(glances, known))
            return self._agreed
        if glance.record not in (self._agreed.glances[self._name].record, _written(self._agreed, glance)):
            raise self._moved("settings")
        # What was to be renewed is, by now.
        known = replace(known, local=self._agreed.secrets.vault, renew=None)
        now = agree({**self._agreed.glances, self._name: glance}, known)
        if now.secrets.vault != self._agreed.secrets.vault:
            raise self._moved("secrets")
        return now

    def _moved(self, what: str) -> Locked:
        return Locked(
            f"the stack's {what} were changed while this run worked",
            why="another run, or somebody by hand, was there in between",
            next="run the same command again",
        )


def _written(agreed: Agreed, glance: Glance) -> Recorded:
    """The record of a host that has the settings which were agreed on."""
    return parse_recorded(dump_recorded(agreed.settings, glance.request.id), glance.request.host.name)


def agree(glances: Mapping[str, Glance], known: Known) -> Agreed:
    """Settings of the hosts' record, secrets of all of them and of this machine. Raises what stands against it."""
    first = next(iter(glances.values()))
    request = first.request
    proxy = _proxy(glances, request)
    records = {name: each.record for name, each in glances.items() if each.record is not None}
    recorded = latest(records, known.copy, request)
    settings = effective(request.flags, request.inventory or {}, recorded)
    settings = with_topology(settings, _topology(glances, request, recorded))
    # The record has its say too, and one host without [roles].
    named = {role: members[0].name for role in ROLES if (members := settings.topology.of(role))}
    superfluous(named, {key: settings.get(key) for key in ("store.engine", "database.engine", "mlflow.serve")})
    spread_store(len(settings.topology.of("store")), settings.store.engine, settings.store.drives or ())
    settings = settled(
        Context(
            settings=settings,
            facts=_store_facts(glances, settings) or first.facts,
            secrets={},
            door=Door("http", UNKNOWN, 0, ()),
            store_hint=known.store_hint,
            stack=request.id,
        ),
        ordered(settings),
    )
    seen = {n: Had((g.address, *g.facts.addresses), g.marks, g.record is not None) for n, g in glances.items()}
    settings, growth = pooled(settings, recorded, seen, known.chosen)
    settings = numbered(settings, recorded)
    decision, warnings = _secrets(glances, known, settings, recorded)
    warnings += growth

    def door_of(wanted: Settings) -> tuple[Door, Refused | None]:
        return door_for(wanted, request, proxy)

    door, unnamed = door_of(settings)
    names = tuple(settings.access.names) or (() if unnamed else (door.name,))
    decision, more = taken(decision, settings, recorded, names, select(request))
    warnings += more
    if recorded is not None and proxy is not None and proxy.record is not None and unnamed is None:
        before, unknown = door_of(effective({}, {}, recorded))
        if unknown is None and before.url != door.url:
            warnings.append(f"clients must use another URL: {door.url}, until now {before.url}")
    found = switches(recorded, settings)
    if recorded is not None:
        found += _moves(glances, recorded, settings, door)
        if not settings.topology.single:
            found = tuple(switch for switch in found if left_behind(switch, recorded.topology, seen))
    return Agreed(
        glances=glances,
        settings=settings,
        recorded=recorded,
        secrets=decision,
        door=door,
        unnamed=unnamed,
        switches=found,
        warnings=tuple(warnings),
        door_of=lambda wanted: door_of(wanted)[0],
    )


def door_for(settings: Settings, request: StackRequest, glance: Glance | None) -> tuple[Door, Refused | None]:
    """The address that clients use, and why it cannot be told. `glance`: of the host that carries it, where it was
    seen."""
    access = settings.access
    target = glance.request.host.address if glance is not None else request.host.address
    address, addresses = (glance.address, glance.facts.addresses) if glance is not None else ("", ())
    if glance is None:
        proxies = settings.topology.of("proxy")
        address = proxies[0].address if proxies else ""
        target = proxies[0].name if proxies else target
    try:
        door = decide(
            scheme=access.scheme,
            port=access.door_port,
            names=tuple(access.names),
            target=target,
            address=address,
            addresses=addresses,
        )
    except Refused as error:
        return Door(access.scheme, UNKNOWN, access.door_port, (UNKNOWN,)), error
    return door, None


def guessed(request: StackRequest, copy: Recorded | None) -> Topology:
    """The stack's hosts as far as they are known before one is asked."""
    if not request.parts:
        return copy.topology if copy is not None else Topology()
    return Topology(tuple(Member(p.host.name, _inner(p, None, copy), p.roles) for p in request.parts))


def _proxy(glances: Mapping[str, Glance], request: StackRequest) -> Glance | None:
    """The host that carries the clients' address; None where it was not seen."""
    if not request.parts:
        return next(iter(glances.values()))
    return next((glances.get(part.host.name) for part in request.parts if "proxy" in part.roles), None)


def _store_facts(glances: Mapping[str, Glance], settings: Settings) -> Facts | None:
    """Of the host that stores: what its program is made for."""
    stores = settings.topology.of("store")
    found = glances.get(stores[0].name) if stores else None
    return found.facts if found is not None else None


def _topology(glances: Mapping[str, Glance], request: StackRequest, recorded: Recorded | None) -> Topology:
    if not request.parts:
        if recorded is not None and not recorded.topology.single:
            others = ", ".join(f"{m.name} ({', '.join(m.roles)})" for m in recorded.topology.members)
            raise Refused(
                f"{request.host.name} is one of {len(recorded.topology.members)} hosts of a stack",
                why=f"it has {others}; one of them cannot be made the whole of it",
                next="use the inventory whose [roles] name them: provision --inventory FILE",
            )
        return Topology()
    members = []
    for part in request.parts:
        glance = glances.get(part.host.name)
        address = _inner(part, glance, recorded)
        if not address:
            reached = f"it is reached at {glance.address}, which it does not carry" if glance else "it was not reached"
            raise Refused(
                f"how the stack's other hosts reach {part.host.name} is not known",
                why=reached,
                next=f'name it in the inventory:  [hosts."{part.host.name}"] internal = "ADDRESS"',
            )
        members.append(Member(part.host.name, address, part.roles))
    same = {m.address for m in members}
    if len(same) != len(members):
        raise Refused(
            "two of the stack's hosts have the same address",
            why=", ".join(f"{m.name}: {m.address}" for m in members),
            next='name the right ones:  [hosts."NAME"] internal = "ADDRESS"',
        )
    return Topology(tuple(members))


def _inner(part: Part, glance: Glance | None, recorded: Recorded | None) -> str:
    """Where the stack's other hosts reach this one; empty where it cannot be told."""
    if part.host.internal:
        return part.host.internal
    if glance is not None:
        return _usable(glance.address) if glance.address in glance.facts.addresses else ""
    was = recorded.topology.member(part.host.name) if recorded is not None else None
    return _usable(part.host.address) or (was.address if was is not None else "")


def _usable(text: str) -> str:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return ""
    return "" if address.is_loopback else str(address)


def _secrets(
    glances: Mapping[str, Glance], known: Known, settings: Settings, recorded: Recorded | None
) -> tuple[vault.Decision, list[str]]:
    first = next(iter(glances.values()))
    request = first.request
    hosts: vault.Vault | None = None
    before = [effective({}, {}, recorded)] if recorded is not None else []
    for name, glance in glances.items():
        if glance.kept is None:
            continue
        # Of what is none of its business a host decides nothing: one that was broken into keeps to its own.
        kept = vault.part(glance.kept, name, settings, *before)
        # Each against this machine's first: who disagrees with whom is said as it is.
        vault.reconcile(kept, known.local, request.id, (), hostname=name, select=select(request))
        hosts = kept if hosts is None else _merged(hosts, kept, name, request)
    names = secret_kinds.wanted(settings)
    given = outside_keys.not_made(settings, request.brought)
    made = [each for each in to_make(names, request) if each not in given]
    decision = vault.reconcile(hosts, known.local, request.id, made, hostname=request.host.name, select=select(request))
    missing = [part.host.name for part in request.parts if part.host.name not in glances]
    if missing and decision.generated and recorded is not None:
        raise Refused(
            f"{', '.join(missing)} may have secrets that neither the other hosts nor this machine have",
            why=f"missing here: {', '.join(decision.generated)}",
            next="run it with every host of the stack, or on the machine that made it",
        )
    taken_in = replace(request, brought=outside_keys.kept(settings, request.brought))
    straight = () if secret_kinds.own_database(settings) else ("database.password",)
    decision, warnings = with_sources(decision, taken_in, names, known.chosen, straight)
    decision = outside_keys.brought(decision, settings, select(request), request.brought)
    seen = {name: glance.kept or vault.Vault(request.id) for name, glance in glances.items()}
    refuse_one_sided(seen, decision.vault, settings, request, known.chosen)
    if known.renew is not None:
        decision = decision.renewed(known.renew(decision.vault))
    return decision, warnings


def _merged(one: vault.Vault, other: vault.Vault, name: str, request: StackRequest) -> vault.Vault:
    try:
        return vault.reconcile(one, other, request.id, ()).vault
    except vault.Conflict as error:
        raise Refused(
            f"{name} and another host of the stack disagree about secrets",
            why=error.what.partition(": ")[2] or error.what,
            next=f"decide which are right: look at {vault.HOST_FILE} on both, and move the wrong one away",
        ) from None


def _moves(glances: Mapping[str, Glance], recorded: Recorded, settings: Settings, door: Door) -> tuple[Switch, ...]:
    """Roles that change their hosts on a stack that is there."""
    if recorded.topology == settings.topology:
        return ()
    alone = door.name
    if recorded.topology.single:
        had = next((name for name, glance in glances.items() if glance.record is not None), "")
        member = settings.topology.member(had)
        alone = member.address if member is not None else alone
    return moved(recorded.topology, settings.topology, alone)


def kept_on(agreed: Agreed, name: str) -> vault.Vault | None:
    """The secrets that a host had when it was seen."""
    glance = agreed.glances.get(name)
    return glance.kept if glance is not None else None


def lacking(part: vault.Vault, kept: vault.Vault | None) -> Sequence[str]:
    """Names of secrets that a host does not have as it shall."""
    had = kept.entries if kept is not None else {}
    return tuple(name for name, entry in part.entries.items() if had.get(name) != entry)
