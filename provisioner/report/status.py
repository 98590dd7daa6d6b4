"""The screen of `status`."""

from __future__ import annotations

import time
from typing import Any

from provisioner.report.model import HostResult
from provisioner.report.text import size


def lines(result: HostResult, width: int) -> list[str]:
    """Services, data, drift; at most a screenful."""
    answer = result.extra.get("answer")
    if answer is None:
        said = "the address that clients use is not known"
    elif answer.get("ok"):
        said = f"answers in {answer['milliseconds']:.0f} ms"
    else:
        said = f"DOES NOT ANSWER: {answer.get('detail', '')}"
    now = time.strftime("%d %b %H:%M UTC", time.gmtime())
    head = "   ".join(part for part in (f"{result.host:<12} {result.url}".rstrip(), said) if part)
    found = [f"{head:<{max(len(head), width - len(now) - 1)}} {now}", ""]
    found.append(f"{'service':<28} {'state':<9} {'since':>7} {'restarts':>9} {'memory':>9}")
    for row in result.extra.get("services", []):
        found.append(_service(row))
    found += ["", f"{'version':<12} what runs"]
    found += [f"{step:<12} {headline}"[:width] for step, headline in result.steps.items() if headline]
    found += ["", f"{'data':<12} {'used':<12} free"]
    for row in result.extra.get("data", []):
        used = "not counted" if row["used"] is None else size(row["used"])
        free = "" if row["free"] is None else f"{size(row['free'])} at {row['path']}"
        found.append(f"{row['what']:<12} {used:<12} {free}")
    names = ", ".join(p.change.title or p.id for p in result.changes[:4])
    if result.changes:
        found += ["", f"{'drift':<12} {len(result.changes)} of {result.total}:  {names}"[:width]]
        found += [f"             provision plan --diff {result.select}".rstrip()]
    elif result.total and not result.refused:
        found += ["", f"{'drift':<12} none, {result.total} of {result.total} as wanted"]
    elif result.total:
        found += ["", f"{'drift':<12} nothing besides what a run refuses:"]
    else:
        found += ["", f"{'drift':<12} not known without that address"]
    return found


def _service(row: dict[str, Any]) -> str:
    memory = "" if row["memory"] is None else size(row["memory"])
    most = "" if row["memory_max"] is None else f"   of {size(row['memory_max'])}"
    # A cluster of Debian's PostgreSQL is enabled-runtime: its wrapper starts it.
    usual = {"enabled", "enabled-runtime", "static", "alias", "generated", "indirect"}
    state = row["active"] if row["enabled"] in usual else f"{row['active']}, {row['enabled']}"
    since = _span(row["seconds"]) if row["active"] == "active" else ""
    return f"{row['unit']:<28} {state:<9} {since:>7} {row['restarts']:>9} {memory:>9}{most}".rstrip()


def _span(seconds: int) -> str:
    for length, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"
