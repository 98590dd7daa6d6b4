"""The words of changes: what, why, and what it costs."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from provisioner.engine.resource import Change, Planned
from provisioner.report.text import clean, cut, flush_right, hanging, plural, size

STEP = 11
"""Columns of a step's name."""
_MARKS = {"create": "+", "remove": "-", "start": ">", "restart": ">", "reload": ">", "run": ">", "check": "?"}


def change_lines(changes: Sequence[Planned], width: int, *, diff: bool, planned: bool) -> list[str]:
    """One block a change: mark, what, why, cost; its step named once."""
    lines: list[str] = []
    last = ""
    for each in changes:
        change = each.change
        mark = _MARKS.get(change.action, "~")
        name = each.step if each.step != last else ""
        last = each.step
        seconds = f"{each.seconds:.1f} s" if each.seconds is not None and each.seconds >= 0.05 else ""
        head = f"{name:<{STEP}}{mark} {change.title or each.id}"
        if mark == ">" and planned:
            first, *more = hanging(_cost(change, change.title or each.id), STEP, 2, width)
            lines += [f"{name:<{STEP}}{first[STEP:]}", *more]
            lines += _wrapped(change.reason, width) if change.reason != "absent" else []
        elif mark == ">":
            done = _PAST.get(change.action, "")
            head, comma = (f"{head} {done}", ",") if done else (head, ":")
            short = len(head) + len(change.reason) + len(seconds) + 3 <= width
            lines.append(flush_right(f"{head}{comma} {change.reason}" if short else head, seconds, width))
            lines += [] if short else _wrapped(change.reason, width)
        else:
            lines.append(flush_right(head, seconds, width))
            if change.reason != "absent":
                lines += _wrapped(change.reason, width)
        if diff:
            lines += [" " * (STEP + 4) + cut(line, width - STEP - 4) for line in change.diff]
        if change.interrupts and mark != ">":
            lines += hanging(f"> {change.interrupts}", STEP, 2, width)
        if change.loss:
            lines += [" " * STEP + f"LOST  {line}" for line in textwrap.wrap(change.loss, width - STEP - 6)]
    return lines


def in_order(changes: Sequence[Planned], plan: Sequence[Planned]) -> list[Planned]:
    """As planned, not as they happened to end side by side: each step once."""
    order = {planned.id: number for number, planned in enumerate(plan)}
    return sorted(changes, key=lambda planned: order.get(planned.id, len(order)))


_PAST = {"start": "started", "restart": "restarted", "reload": "reloaded"}


def _cost(change: Change, title: str) -> str:
    """`> restart mlflow-server.service, clients wait about 10 s`: what will be done, to what, at which price."""
    if change.action not in _PAST:
        return f"> {title}"
    price = (change.interrupts or "").removeprefix(change.action).removeprefix(f" {title}")
    return f"> {change.action} {title}{price}"


def _wrapped(text: str, width: int) -> list[str]:
    return [" " * (STEP + 4) + line for line in textwrap.wrap(clean(text), width - STEP - 4)]


def counts(changes: Sequence[Planned]) -> str:
    """`3 changes, 1 reload, 1 restart`."""
    parts = [plural(len(changes), "change")]
    for action in ("reload", "restart"):
        number = sum(1 for p in changes if p.change.action == action)
        if number:
            parts.append(plural(number, action))
    return ", ".join(parts)


def downloads(changes: Sequence[Planned]) -> str:
    total = sum(p.change.download for p in changes)
    return f", {size(total)} downloaded" if total else ""
