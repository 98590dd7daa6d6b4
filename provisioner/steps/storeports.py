"""Whether the ports a store needs are free, or its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from provisioner.engine.check import Check
from provisioner.resources.unit import UnitProbe
from provisioner.steps import Context


def store_ports(context: Context, unit: str, ports: Mapping[int, str]) -> Iterable[Check]:
    """One check a port that somebody else listens on; `unit` is the service that may."""
    state = context.seen.get(UnitProbe(unit))
    if state is not None and state.active in {"active", "activating", "reloading", "deactivating"}:
        return
    for port, what in ports.items():
        for listener in context.facts.listeners:
            if listener.port == port and listener.address in {"127.0.0.1", "0.0.0.0", "::", "*", "::ffff:127.0.0.1"}:  # noqa: S104
                yield Check(
                    f"port-{port}",
                    f"port {port}",
                    "fail",
                    detail=f"{what} needs it, in use by {listener.process or 'somebody else'}",
                    fix="stop that program",
                )
                break
