"""What would keep a store from being installed: ports, a unit of somebody else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from provisioner.engine.check import Check
from provisioner.resources.unit import UnitProbe
from provisioner.steps import Context


def store_ports(context: Context, unit: str, ports: Mapping[int, str]) -> Iterable[Check]:
    """One check a port: free, or listened on by `unit`, or by somebody else."""
    state = context.seen.get(UnitProbe(unit))
    ours = state is not None and state.active in {"active", "activating", "reloading", "deactivating"}
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


def foreign_unit(context: Context, unit: str, path: str, product: str) -> Iterable[Check]:
    """Whether a unit of this name belongs to another installation."""
    state = context.seen.get(UnitProbe(unit))
    if state is not None and state.fragment_path not in ("", path, "/dev/null"):
        yield Check(
            f"foreign-{unit}",
            unit,
            "fail",
            detail=f"{state.fragment_path} belongs to another installation of {product}",
            fix="remove that package first (its data stays), or use another server",
        )
    else:
        yield Check(f"foreign-{unit}", unit, "ok")
