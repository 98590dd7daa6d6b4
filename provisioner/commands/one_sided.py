"""Refuses to bring a secret that was made new to one side of it: the service on the other one would not take it."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from provisioner import vault
from provisioner.commands.options import select
from provisioner.errors import Refused
from provisioner.inventory import StackRequest
from provisioner.secret_kinds import BEFORE, kept_by, roles_of, to_bring
from provisioner.settings import Settings
from provisioner.steps import ordered


def refuse_one_sided(
    seen: Mapping[str, vault.Vault],
    wanted: vault.Vault,
    settings: Settings,
    request: StackRequest,
    chosen: Collection[str],
) -> None:
    """Refused (exit 4) where hosts that use one secret would no longer agree after this run. `seen`: what the hosts
    that take part keep; `chosen`: names of steps, none for all.

    Where one of them has the newest value already they do not agree now, and everybody who gets it mends that.
    """
    older = {name for kept in seen.values() for name, entry in kept.entries.items() if _older(entry, wanted, name)}
    # What somebody else's server asks for it decides: each host that gets it mends its own way there.
    older -= {*to_bring(settings), *BEFORE.values(), "store.ca", "database.ca"}
    if settings.topology.single or not older:
        return
    aside = {role for step in ordered(settings) if chosen and step.name not in chosen for role in step.roles}
    aside -= {role for step in ordered(settings) if step.name in chosen for role in step.roles}
    # Several hosts of one store are told by one of them.
    told = {"store"} if any(member.name in seen for member in settings.topology.of("store")) else set()
    for name in sorted(older):
        uses = {
            member.name: set(member.roles) & set(roles_of(name, settings))
            for member in settings.topology.members
            if kept_by(name, settings, member.name)
        }
        had = [seen[host].entries[name].generation for host in uses if host in seen and name in seen[host].entries]
        left = [h for h, roles in uses.items() if roles & aside or (h not in seen and roles - told)]
        if not had or max(had) >= wanted.entries[name].generation or not left:
            continue
        if sum(len(roles) for roles in uses.values()) < 2:
            continue
        raise Refused(
            f"{name} was made new, and this run would bring it to one side only",
            why=f"{', '.join(left)} would go on with the earlier one",
            next=f"provision {select(request.whole)}".rstrip(),
        )


def _older(entry: vault.Entry, wanted: vault.Vault, name: str) -> bool:
    return name in wanted.entries and entry.generation < wanted.entries[name].generation
