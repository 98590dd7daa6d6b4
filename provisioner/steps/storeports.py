"""What would keep a service from being installed: ports, a unit of somebody else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from provisioner.engine.check import Check
from provisioner.engine.quoting import printable
from provisioner.resources.paths import PathProbe
from provisioner.resources.unit import UnitProbe
from provisioner.steps import Context


def store_ports(context: Context, units: Iterable[str], ports: Mapping[int, str]) -> Iterable[Check]:
    """One check a port: free, or listened on by one of `units`, or by somebody else."""
    states = [context.seen.get(UnitProbe(unit)) for unit in units]
    ours = any(s is not None and s.active in {"active", "activating", "reloading", "deactivating"} for s in states)
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
