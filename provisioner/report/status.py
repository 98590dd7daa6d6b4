"""The screen of `status`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from provisioner.report.model import HostResult
from provisioner.report.text import size


def lines(result: HostResult, width: int) -> list[str]:
    """Services, data, drift; at most a screenful."""
    answer, roles = result.extra.get("answer"), result.extra.get("roles", ["proxy"])
    if "proxy" not in roles:
        said = ", ".join(roles)
    elif answer is None:
        said = "the address that clients use is not known"
    elif answer.get("ok"):
        said = f"answers in {answer['milliseconds']:.0f} ms"
    else:
        said = f"DOES NOT ANSWER: {answer.get('detail', '')}"
    now = time.strftime("%d %b %H:%M UTC", time.gmtime())
    head = "   ".join(part for part in (f"{result.host:<12} {result.url}".rstrip(), said) if part)
    found = [f"{head:<{max(len(head), width - len(now) - 1)}} {now}", ""]
    if (store := result.extra.get("store")) is not None:
        state = "answers who has a key" if store["ok"] else f"DOES NOT ANSWER: {store['detail']}"
        found[1:1] = [f"{'store':<12} {store['url']}   {state}"]
    services = [row for row in result.extra.get("services", []) if _telling(row)]
    name = max([len("service"), *(len(_short(row)) for row in services)]) + 2
    found.append(f"{'service':<{name}}{'version':<12} {'state':<8} {'since':>7} {'restarts':>9} {'memory':>8}")
    found += [_service(row, name) for row in services]
    if result.extra.get("data"):
        found += ["", f"{'data':<10} {'used':<10} {'holds':<28} free"]
    for row in result.extra.get("data", []):
        used = "not counted" if row["used"] is None else size(row["used"])
        free = "" if row["free"] is None else f"{size(row['free'])} at {row['path']}"
        found.append(f"{row['what']:<10} {used:<10} {_holds(row):<28} {free}".rstrip())
    for number, row in enumerate(result.extra.get("drives", [])):
        found += [] if number else [""]
        found.append(f"{'' if number else 'drives':<12} {row['host']} {row['path']}: {row['state']}")
    certificates = result.extra.get("certificates", [])
    found += [""] if certificates else []
    for number, row in enumerate(certificates):
        found.append(f"{'' if number else 'certificate':<12} {row['of']}: {_certificate(row)}")
    if result.changes:
        head = f"{'drift':<12} {len(result.changes)} of {result.total}:  "
        found += ["", head + _some([p.change.title or p.id for p in result.changes], width - len(head))]
        found += [f"             provision plan --diff {result.select}".rstrip()]
    elif result.total and not result.refused:
        found += ["", f"{'drift':<12} none, {result.total} of {result.total} as wanted"]
    elif result.total:
        found += ["", f"{'drift':<12} nothing besides what a run refuses:"]
    else:
        found += ["", f"{'drift':<12} not known without that address"]
    return found


def _certificate(row: dict[str, Any]) -> str:
    days, until = row["days"], row["until"][:10]
    said = f"{_number(days, 'day')} left, until {until}" if days >= 0 else f"OVER since {until}"
    if row["renewal"] == "failed":
        return f"{said}; its RENEWAL FAILED: journalctl -u provision-tls on the server"
    if row["renewal"] is None:
        return f"{said}, yours to renew" + (": do it soon" if days < 14 else "")
    return f"{said}, renewed by the server" + (", which has NOT HAPPENED" if days < 14 else "")


def _telling(row: dict[str, Any]) -> bool:
    """Not the wrapper that starts PostgreSQL's clusters at boot, while it is as it should be."""
    return row["unit"] != "postgresql.service" or _state(row) != "active"


def _short(row: dict[str, Any]) -> str:
    return str(row["unit"]).removesuffix(".service")


def _state(row: dict[str, Any]) -> str:
    # A cluster of Debian's PostgreSQL is enabled-runtime: its wrapper starts it.
    usual = {"enabled", "enabled-runtime", "static", "alias", "generated", "indirect"}
    return row["active"] if row["enabled"] in usual else f"{row['active']}, {row['enabled']}"


def _service(row: dict[str, Any], name: int) -> str:
    memory = "" if row["memory"] is None else size(row["memory"])
    most = "" if row["memory_max"] is None else f"   of {size(row['memory_max'])}"
    since = _span(row["seconds"]) if row["active"] == "active" else ""
    line = f"{_short(row):<{name}}{row.get('version') or '':<12} {_state(row):<8} {since:>7} {row['restarts']:>9}"
    return f"{line} {memory:>8}{most}".rstrip()


def _holds(row: dict[str, Any]) -> str:
    if row.get("objects") is not None:
        more = row["more_objects"]
        return f"{_number(row['objects'], 'object', more)}, {size(row['objects_bytes'])}{'+' if more else ''}"
    if row.get("runs") is not None:
        return f"{_number(row['runs'], 'run', row['more_runs'])}, {_number(row['experiments'], 'experiment')}"
    return ""


def _number(count: int, word: str, more: bool = False) -> str:
    """`1 run`, `12,480 runs`, `10,000+ objects`."""
    return f"{count:,}{'+' if more else ''} {word}{'' if count == 1 else 's'}"


def _some(names: Sequence[str], room: int) -> str:
    """As many as there is room for, whole, and how many more there are; always the first."""
    for count in range(len(names), 0, -1):
        left = len(names) - count
        text = ", ".join(names[:count]) + (f" and {left} more" if left else "")
        if len(text) <= room or count == 1:
            return text
    return ""


def _span(seconds: int) -> str:
    for length, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"
