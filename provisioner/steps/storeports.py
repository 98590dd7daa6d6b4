"""What would keep a store from being installed: ports, a unit of somebody else, the other engine's unit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from provisioner.engine.check import Check
from provisioner.engine.probe import Probe
from provisioner.engine.quoting import printable
from provisioner.resources.mark import HAD
from provisioner.resources.paths import PathProbe
from provisioner.resources.tree import DataDirectory
from provisioner.resources.unit import UnitProbe
from provisioner.steps import Context, registry

RUNS = frozenset({"active", "activating", "reloading", "deactivating"})


def data_check(context: Context, directory: DataDirectory) -> Iterable[Check]:
    """Whether the directory of a store that was in use still holds its data: a store never starts empty by itself."""
    known = all(probe in context.seen for probe in directory.probes())
    if known and directory.lost(context.seen):
        yield Check(
            "store-data",
            "the store's data",
            "fail",
            detail=f"{directory.path} is empty, and this stack has artifacts there: is its disk mounted?",
            fix=f"mount it, or restore what was in it; to give the artifacts up: rm {HAD}/{directory.had}",
        )


def store_ports(context: Context, units: Iterable[str], ports: Mapping[int, str]) -> Iterable[Check]:
    """One check a port: free, or listened on by one of `units`, or by somebody else."""
    states = [context.seen.get(UnitProbe(unit)) for unit in units]
    ours = any(s is not None and s.active in RUNS for s in states)
    taken = {listener.port: listener for listener in context.facts.listeners}
    for port, what in ports.items():
        listener = None if ours else taken.get(port)
        if listener is None:
            yield Check(f"port-{port}", f"port {port}", "ok")
            continue
        yield Check(
            f"port-{port}",
            f"port {port}",
            "fail",
            detail=f"{what} needs it, in use by {listener.process or 'another program'}",
            fix="stop that program, or move it to another port",
        )


def _others(name: str) -> list[str]:
    return [f"{step.name}.service" for step in registry().values() if step.provides == "store" and step.name != name]


def rival_probes(name: str) -> Sequence[Probe[Any]]:
    """What `other_stores` looks at."""
    return [probe for unit in _others(name) for probe in (UnitProbe(unit), PathProbe(_file(unit)))]


def rivals(context: Context, name: str) -> list[str]:
    """The units of other stores that an earlier run began."""
    return [unit for unit in _others(name) if written(context, _file(unit))]


def other_stores(context: Context, name: str) -> Iterable[Check]:
    """Whether an earlier run began another store, which keeps the port: it may hold what somebody put there,
    so that a person decides."""
    for unit in rivals(context, name):
        state = context.seen.get(UnitProbe(unit))
        if state is None or (state.active not in RUNS and state.enabled != "enabled"):
            continue
        engine = unit.removesuffix(".service")
        yield Check(
            "other-store",
            unit,
            "fail",
            detail=f"an earlier run installed {engine} as the store, and it has the store's port",
            fix=f"stay with it: --set store.engine={engine}; or put it away, its data stays: "
            f"systemctl disable --now {unit}",
        )


def _file(unit: str) -> str:
    return f"/etc/systemd/system/{unit}"


def foreign_unit(context: Context, unit: str, path: str, product: str, environment: str = "") -> Iterable[Check]:
    """Whether a unit of this name belongs to another installation: a package's, or one that somebody wrote
    by hand at `path`, as the well-known recipes do. `environment` is this stack's file of settings: where it
    is there, a unit without this tool's line was edited and is repaired."""
    state = context.seen.get(UnitProbe(unit))
    place = state.fragment_path if state is not None else ""
    if place not in ("", path, "/dev/null"):
        yield Check(
            f"foreign-{unit}",
            unit,
            "fail",
            detail=f"{printable(place)} belongs to another installation of {product}",
            fix="remove that package first (its data stays), or use another server",
        )
    elif _by_hand(context, path) and not (environment and written(context, environment)):
        yield Check(
            f"foreign-{unit}",
            unit,
            "fail",
            detail=f"{path} was not written by this tool: another installation of {product}, with data of its own",
            fix=f"stop it and move it away: systemctl disable --now {unit}; mv {path} {path}.before; or use another "
            "server",
        )
    else:
        yield Check(f"foreign-{unit}", unit, "ok")


def _by_hand(context: Context, path: str) -> bool:
    state = context.seen.get(PathProbe(path))
    return state is not None and state.kind == "file" and not written(context, path)


def written(context: Context, path: str) -> bool:
    """Whether a file carries the line that every file of this tool has."""
    state = context.seen.get(PathProbe(path))
    return state is not None and isinstance(state.content, bytes) and b"Written by provision" in state.content
