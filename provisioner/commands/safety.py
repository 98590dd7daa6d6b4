"""What a run refuses to do to a host as it was seen, or asks about first."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable

from provisioner.commands.holdings import data
from provisioner.commands.options import Options, again, select
from provisioner.commands.view import MARKS, View
from provisioner.errors import Refused
from provisioner.switches import Switch

Ask = Callable[[str], bool]
"""Shows a list and a question; whether the answer was yes."""


def refuse(view: View, options: Options, ask: Ask | None = None) -> None:
    """Switches that would lose data, what a resource refuses, unmet needs, and what needs a yes; Refused (exit 4)."""
    refuse_switches(view)
    _refuse_half(view, options)
    for error in (*view.needs.refused, *view.plan.refused):
        raise error
    if view.needs.unmet:
        steps = list(dict.fromkeys(p.step for p in view.needs.unmet))
        first = view.needs.unmet[0]
        raise Refused(
            f"{', '.join(s.name for s in view.steps)} needs {', '.join(steps)} first",
            why=f"{first.change.title or first.id}: {first.change.reason}",
            next="\n".join(f"provision {step} {select(view.request)}" for step in steps),
        )
    listed = asking(view)
    if listed and not options.yes and not (ask is not None and ask("\n".join(listed))):
        step = f"{view.steps[0].name} " if len(view.steps) == 1 else ""
        raise Refused(
            "what was not made by this tool would be replaced",
            why="\n".join(listed),
            next=f"look at it; when it may go:  provision {step}{again(view.request, options)} --yes",
        )


def _refuse_half(view: View, options: Options) -> None:
    """Who asks for the login is two services' work: changed in one alone, neither might."""
    before = view.recorded.values.get("access.auth") if view.recorded else None
    if before not in (None, view.settings.access.auth) and len(view.steps) < len(view.all_steps):
        raise Refused(
            f"access.auth changes from {before} to {view.settings.access.auth} with every step at once",
            why="nginx and MLflow must agree at every moment on who asks for the login",
            next=f"provision {again(view.request, options)}",
        )


def refuse_switches(view: View) -> None:
    """Refused (exit 4) for a setting whose change would leave the stack's data behind."""
    found = [switch for switch in view.switches if holds_data(view, switch)]
    if found:
        first = found[0]
        listed = "\n".join(f"{s.key}: {s.recorded} -> {s.wanted}: {s.why}" for s in found)
        raise Refused(
            f"{first.key} cannot change from {first.recorded} to {first.wanted} on a stack that holds data",
            why=first.why,
            next=first.next,
            detail=listed if len(found) > 1 else "",
        )


def holds_data(view: View, switch: Switch) -> bool:
    """Whether the host ever had what `switch` would leave behind. A stack whose first run failed before
    it made a bucket or a database may still change its mind; so may one whose server was rebuilt."""
    # Of several hosts it was asked where the data is: on another one than this, perhaps.
    return not view.settings.topology.single or data(switch, view.seen[MARKS])


def asking(view: View) -> list[str]:
    """One line for each change that a run makes only after a yes."""
    return [f"{p.change.title or p.id}: {p.change.reason}; {p.change.asks}" for p in view.plan.changes if p.change.asks]


def terminal(host: str) -> Ask | None:
    """Asks on the terminal; None where several hosts are worked on, each on a thread of its own: their
    questions would mix."""
    if threading.current_thread() is not threading.main_thread():
        return None

    def ask(listed: str) -> bool:
        from provisioner.report.text import clean

        print(f"On {host} this was not made by this tool and would be replaced:", file=sys.stderr)
        for line in clean(listed).splitlines():
            print(f"  {line}", file=sys.stderr)
        print("Replace it? [y/N] ", end="", file=sys.stderr, flush=True)
        return sys.stdin.readline().strip().lower() in {"y", "yes"}

    return ask
