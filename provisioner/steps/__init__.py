"""What the product is made of: one page per step. A step knows no transport.

A module of this package that has a `STEP` is a step: adding one adds a file and edits none.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import field, replace
from typing import Any, Protocol

from provisioner.door import Door
from provisioner.engine.check import Check
from provisioner.engine.probe import Look, Seen, T
from provisioner.engine.resource import Resource
from provisioner.errors import UsageError
from provisioner.resources.facts import Facts
from provisioner.secrets import Secret
from provisioner.settings import Settings
from provisioner.topology import Here
from provisioner.values import dataclass


@dataclass(frozen=True)
class Context:
    """All that a step may decide on. Built twice a run: as a guess before the host was seen (to
    know what to look at), then for real; `resources` must not fail on the guess."""

    settings: Settings
    facts: Facts
    secrets: Mapping[str, Secret]
    """By vault name: `database.password`, `store.root.password` …"""
    door: Door
    seen: Seen = field(default_factory=Seen)
    """What `looks` of the steps gave; empty in the guess."""
    store_hint: str | None = None
    """Path of the store's binary on the operator's machine, when one was given or is remembered."""
    stack: str = ""
    """Id of the stack's folder on the operator's machine."""
    ended: tuple[str, ...] = ()
    """Accounts that were removed, and stay so."""
    renewed: tuple[str, ...] = ()
    """Accounts whose password the host does not have yet."""
    deep: bool = False
    """Hash large files again instead of trusting their stamps."""
    generations: Mapping[str, int] = field(default_factory=dict)
    """How often each secret was made, by vault name."""
    name: str = ""
    """What the inventory calls this host."""
    served: bool = True
    """Every MLflow server of the stack takes part in this run, with its step: after it none has an earlier value."""

    def known(self, look: Look[T], default: T) -> T:
        """What was seen, or `default` in the guess."""
        value = self.seen.get(look)
        return default if value is None else value

    @property
    def here(self) -> Here:
        """The stack's hosts, seen from this one."""
        return Here(self.settings.topology, self.name)

    @property
    def store_step(self) -> str:
        return self.settings.store.engine


class Step(Protocol):
    name: str
    """What the user types: `minio`."""
    summary: str
    """One line for --help."""
    needs: tuple[str, ...]
    """Names or `provides` of the steps that must be in place."""
    provides: str
    """The part it plays (`store`, `dbms`) or its own name."""
    roles: tuple[str, ...]
    """The hosts that have it: those with one of these roles."""

    def applies(self, settings: Settings) -> bool:
        """Whether this stack has this step."""

    def looks(self, context: Context) -> Sequence[Look[Any]]:
        """What must be seen before the resources can be named (what a distribution installed)."""

    def resources(self, context: Context) -> Sequence[Resource]:
        """In the order in which one would do it by hand."""

    def preflight(self, context: Context) -> Iterable[Check]:
        """What would go wrong on this host, all at once, before anything is changed."""

    def headline(self, context: Context) -> str:
        """What the summary says of it: `16.10 from apt, local socket only`."""


def registry() -> dict[str, Step]:
    """Every step of this package by name."""
    found: dict[str, Step] = {}
    for module in pkgutil.iter_modules(__path__):
        step: Step | None = getattr(importlib.import_module(f"{__name__}.{module.name}"), "STEP", None)
        if step is not None:
            found[step.name] = step
    return found


def ordered(settings: Settings, steps: Mapping[str, Step] | None = None) -> list[Step]:
    """The steps of this stack, each after its needs. A need of a step by name that this stack has not is none."""
    every = (steps or registry()).values()
    mine = [s for s in every if s.applies(settings)]
    absent = {s.name for s in every} - {s.name for s in mine}
    done: list[Step] = []
    names: set[str] = set()
    while len(done) < len(mine):
        ready = sorted(
            (s for s in mine if s not in done and set(s.needs) - absent <= names),
            key=lambda s: (len(set(s.needs) - absent), s.provides not in {"store"}, s.name),
        )
        if not ready:
            raise ValueError("steps need each other in a circle")
        done.append(ready[0])
        names |= {ready[0].name, ready[0].provides}
    return done


def placed(context: Context) -> list[Step]:
    """The steps of this stack that this host has, in order."""
    return [step for step in ordered(context.settings) if context.here.holds(*step.roles)]


def settled(context: Context, steps: Iterable[Step]) -> Settings:
    """The settings as the host shall record them: a step with a `settle(context)` fills in what its
    choice means (the build behind `store.binary`), so that a plain re-run keeps it."""
    settings = context.settings
    for step in steps:
        settle: Callable[[Context], Settings] | None = getattr(step, "settle", None)
        if settle is not None:
            settings = settle(replace(context, settings=settings))
    return settings


def version(step: Step, context: Context) -> str:
    """The version of what a step's service runs, as it was seen; empty for a step without a service."""
    told: Callable[[Context], str] | None = getattr(step, "version", None)
    return told(context) if told is not None else ""


def needed(step: Step, steps: Sequence[Step]) -> list[Step]:
    """The steps that `step` needs, directly or not, in order."""
    wanted = set(step.needs)
    for other in reversed(steps):
        if other.name in wanted or other.provides in wanted:
            wanted |= set(other.needs)
    return [s for s in steps if (s.name in wanted or s.provides in wanted) and s is not step]


def named(name: str, settings: Settings, select: str = "", *, new: bool = False) -> Step:
    """The step `name` of this stack; UsageError says which engine the stack has instead.

    `select`: the arguments that choose the stack; `new`: its engine can still be chosen.
    """
    steps = registry()
    step = steps.get(name)
    if step is None:
        raise UsageError(f"no step is called {name}", next=f"steps: {', '.join(steps)}")
    if not step.applies(settings):
        instead = next((s.name for s in ordered(settings, steps) if s.provides == step.provides), None)
        following = [f"provision {instead} {select}".rstrip()] if instead else []
        if new and step.provides == "store":
            following.append(f"provision {name} --set store.engine={name} {select}".rstrip())
        raise UsageError(
            f"this stack has no {name}",
            why=f"its {step.provides} is {instead}" if instead else "",
            next="\n".join(following),
        )
    return step
