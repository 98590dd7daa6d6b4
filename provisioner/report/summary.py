"""The words of a result, as lines; who prints them decides where and in which colour.

Marks: `+` created, `~` changed, `-` removed, `>` a consequence. Times stand flush right.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

from provisioner import state
from provisioner.engine.check import Check
from provisioner.errors import ProvisionError
from provisioner.report import status
from provisioner.report.changes import STEP, change_lines, counts, downloads, in_order
from provisioner.report.model import HostResult
from provisioner.report.text import clean, flush_right, plural, size

_THROUGH_SSH = "Seen through the SSH connection: not proven from a client's network."
_NOTED = "settings"
"""The step that notes them on each host."""
_MANY = 14
"""More changes than this are told by step, not one by one (all with -v)."""


def greeting(result: HostResult) -> list[str]:
    """Who the host is; shown before anything is changed."""
    facts = result.facts
    lines = []
    if facts is not None and result.fresh:
        free = f", {size(facts.free['/opt'])} free" if "/opt" in facts.free else ""
        lines.append(
            f"{result.host:<12} {_release(facts.pretty)}, {facts.architecture}, {plural(facts.cores, 'core')}, "
            f"{size(facts.memory)} memory{free}"
        )
    lines += _new_keys(result)
    lines += [f"{'warning':<12} {warning}" for warning in result.warnings]
    lines += [f"{'note':<12} {note}" for note in result.notes]
    return lines


def unsaid(said: set[tuple[str, str]], result: HostResult, lines: Sequence[str]) -> list[str]:
    """Those of `lines` that were not said of the same stack yet: a note on its settings is one on all its hosts."""
    fresh = [line for line in lines if (result.stack, line) not in said]
    said.update((result.stack, line) for line in lines)
    return fresh


def _new_keys(result: HostResult) -> list[str]:
    return [
        f"{'host key':<12} {shown} {'' if name == result.host else f'of {name} '}(new, saved)"
        for name, shown in result.new_keys
    ]


def _release(pretty: str) -> str:
    return pretty.replace("GNU/Linux ", "").split(" (")[0] or "unknown system"


def named(result: HostResult, line: str) -> str:
    """`line` with its host in front, where there are several: greetings and counts begin with it by themselves."""
    own = not result.several or line.startswith(f"{result.host} ")
    return line if own else f"{result.host:<12} {line}"


def check_of(result: HostResult, check: Check, width: int) -> list[str]:
    """`check_lines`, with the host where there are several."""
    room = width - len(named(result, ""))
    return [named(result, line) for line in check_lines(check, room)]


def step_line(result: HostResult, step: str, headline: str, seconds: float, width: int) -> str:
    return flush_right(named(result, f"{step:<{STEP}}  {headline}"), f"{seconds:.1f} s", width)


# --- checks ----------------------------------------------------------------------------------


def check_lines(check: Check, width: int) -> list[str]:
    mark = {"ok": "ok  ", "fail": "FAIL", "warn": "warn", "skip": "skip"}[check.status]
    head = f"{mark}  {check.title:<15} "
    detail, *more = clean(check.detail).splitlines() or [""]
    wrapped = textwrap.wrap(detail, width - len(head) - 9) or [""]
    took = f"{check.seconds * 1000:.0f} ms" if check.seconds < 1 else f"{check.seconds:.1f} s"
    right = took if check.seconds >= 0.0005 else ""
    lines = [flush_right(head + wrapped[0], right, width)]
    indent = " " * len(head)
    lines += [indent + line for line in wrapped[1:]]
    lines += [indent + line for text in more for line in textwrap.wrap(text, width - len(head))]
    if check.fix and check.status != "ok":
        lines += [indent + line for line in check.fix.splitlines()]
    return lines


def tally(checks: Sequence[Check]) -> str:
    """`12 of 18 checks passed, 1 failed, 5 skipped`."""
    number = {s: sum(1 for c in checks if c.status == s) for s in ("ok", "fail", "warn", "skip")}
    parts = [f"{number['ok']} of {plural(len(checks), 'check')} passed"]
    if number["fail"]:
        parts.append(f"{number['fail']} failed")
    if number["skip"]:
        parts.append(f"{number['skip']} skipped")
    if number["warn"]:
        parts.append(plural(number["warn"], "warning"))
    return ", ".join(parts)


def verify_headline(result: HostResult) -> str:
    """`18 checks, from this machine`."""
    found = [check for check in result.checks if check.status != "skip"]
    bad = [check for check in found if check.status == "fail"]
    where = "through SSH, not proven from a client's network" if result.vantage == "ssh" else "from this machine"
    return f"{plural(len(found), 'check')}, {where}" if not bad else tally(result.checks)


# --- results ---------------------------------------------------------------------------------


def closings(command: str, results: Sequence[HostResult], width: int, verbose: int) -> Iterator[tuple[bool, list[str]]]:
    """All that is said at the end, host by host, and whether it is of a failure. What stands against several hosts
    alike is said once."""
    told: set[int] = set()
    for number, result in enumerate(results):
        if number in told:
            continue
        alike = [n for n, other in enumerate(results) if _same_failure(result, other)]
        told |= {*alike}
        if len(alike) > 1:
            yield True, _alike([results[n] for n in alike], width)
        else:
            yield result.error is not None, closing(command, result, width, verbose)


def _same_failure(one: HostResult, other: HostResult) -> bool:
    """Whether both failed for the same reason, which is not told by their checks."""
    if one.error is None or other.error is None or one.checks or other.checks:
        return False
    words = [(e.what, e.why, e.next, e.detail, e.exit) for e in (one.error, other.error)]
    return words[0] == words[1]


def _alike(results: Sequence[HostResult], width: int) -> list[str]:
    """One failure of several hosts, and what each of them had done before."""
    lines = [line for result in results if result.facts is None for line in _new_keys(result)]
    error = results[0].error
    assert error is not None
    lines += ["", *failure(", ".join(result.host for result in results), error, width)]
    done = [(r.host, sum(1 for p in r.changes if p.seconds is not None)) for r in results]
    if told := ", ".join(f"{plural(count, 'change')} on {host}" for host, count in done if count):
        lines += [
            "",
            *textwrap.wrap(f"Done before that, and it stays: {told}. The same command goes on from here.", width),
        ]
    if any(result.kept for result in results):
        lines += ["What was replaced is kept on the hosts:"]
        lines += [f"  {result.host:<12} {path}" for result in results for path in result.kept]
    return [*lines, *(line for result in results for line in _lost(result, width))]


def closing(command: str, result: HostResult, width: int, verbose: int) -> list[str]:
    """All that is said of a host when it is done."""
    if result.error is not None:
        return _failed(result, width, verbose)
    if command == "status":
        apart = [] if result.leads else [""]
        return [*apart, *status.lines(result, width), *_refused(result, width)]
    if command == "plan":
        return _planned(result, width, verbose)
    if command == "verify":
        return _verified(result, width) if result.leads else []
    if not result.changes:
        return _unchanged(command, result, width)
    if (result.fresh or result.unseen) and command == "apply" and result.leads:
        return _ready(result, width, verbose)
    return _repaired(command, result, width, verbose)


def _unchanged(command: str, result: HostResult, width: int) -> list[str]:
    tail = ""
    if result.quick_ms is not None:
        tail = f", answers in {result.quick_ms:.0f} ms"
    elif result.verified:
        tail = ", verified"
    what = f"nothing to change: {result.total} of {result.total} as wanted{tail}"
    lines = [flush_right(f"{result.host:<12} {what}", f"{result.seconds:.1f} s", width)]
    return [*lines, _THROUGH_SSH] if result.vantage == "ssh" else lines


def _ready(result: HostResult, width: int, verbose: int) -> list[str]:
    done = counts(result.changes)
    # A run that goes on after one that was broken off, or another operator's: what it did is worth a line each.
    listed = verbose or (not result.fresh and len(result.changes) <= _MANY)
    lines = change_lines(in_order(result.changes, result.planned), width, diff=False, planned=False) if listed else []
    where = f"{result.host}: ready" if result.several else "Ready"
    lines += ["", f"{where} in {result.seconds:.1f} s (steps overlap): {done}{downloads(result.changes)}.", ""]
    lines += _row("MLflow", result.url, width)
    if result.store_url:
        lines += _row("store", f"{result.store_url} (S3, with a key of the bucket)", width)
    if result.run_url:
        lines += _row("test run", result.run_url, width)
    if result.login:
        lines += _row("login", "mlflow", width)
        lines += _row("password", f"provision secrets show login {result.select}", width)
    else:
        lines += _row("login", "none: whoever reaches the port is in", width)
    lines += _row("secrets", f"{_home(state.stack_dir(result.stack))} (a rebuild needs them)", width)
    if aftermath := _aftermath(result, width):
        lines += ["", *aftermath]
    lines += ["", "In a client's shell:", f"  pip install mlflow=={result.version}"]
    lines.append(f'  eval "$(provision env {result.select})"')
    lines += ["", f"Keep these settings in a file:  provision init {result.select}"]
    return lines


def _row(label: str, value: str, width: int) -> list[str]:
    """Addresses and commands stay whole, to be clicked and pasted: one that is too long gets its own line."""
    line = f"  {label:<{STEP}}{value}"
    return [line] if len(line) <= width else [f"  {label}", f"    {value}"]


def _home(path: Path) -> str:
    home = Path.home()
    return f"~/{path.relative_to(home)}" if path.is_relative_to(home) else str(path)


def _repaired(command: str, result: HostResult, width: int, verbose: int) -> list[str]:
    lines: list[str] = []
    if result.several and not verbose and all(planned.step == _NOTED for planned in result.changes):
        said = f"{result.host:<12} the stack's settings are noted; the rest was as wanted"
        return [flush_right(said, f"{result.seconds:.1f} s", width), *_told(result, width)]
    if len(result.changes) <= _MANY or verbose:
        lines += ["", *change_lines(in_order(result.changes, result.planned), width, diff=verbose > 0, planned=False)]
    chosen = any(planned.id == "file:stack.toml" for planned in result.changes)
    word = "Done" if chosen or command != "apply" else "Repaired"
    word = f"{result.host}: {word[0].lower()}{word[1:]}" if result.several else word
    away = sum(p.seconds or 0.0 for p in result.changes if p.change.action == "restart")
    cost = f", services away for {away:.1f} s" if away >= 0.05 else ""
    lines += ["", f"{word} in {result.seconds:.1f} s: {counts(result.changes)}{downloads(result.changes)}{cost}."]
    return [*lines, *_aftermath(result, width)]


def _aftermath(result: HostResult, width: int) -> list[str]:
    """What changes leave behind: the earlier files, edits that went, what clients must do, what is lost."""
    lines: list[str] = []
    if result.kept:
        lines.append("What was replaced is kept on the host:")
        lines += [f"  {path}" for path in result.kept]
    if result.keep:
        lines.append("To keep such a change, say it in the inventory:")
        lines += [f"  {line}" for line in result.keep]
    return [*lines, *_told(result, width), *_lost(result, width)]


def _told(result: HostResult, width: int) -> list[str]:
    """What a user has to do now: sentences wrapped, commands whole."""
    lines: list[str] = []
    for told in result.told:
        text, *commands = told.splitlines()
        lines += [*textwrap.wrap(text, width), *commands]
    return lines


def _lost(result: HostResult, width: int) -> list[str]:
    """What a run could not mend, however it ended."""
    return [line for loss in result.losses for line in ("", *textwrap.wrap(f"LOST: {loss}", width))]


def _planned(result: HostResult, width: int, verbose: int) -> list[str]:
    if not (result.changes or result.exit == 4):
        return [f"{result.host:<12} nothing to change: {result.total} of {result.total} as wanted"]
    count = len(result.changes)
    lines = [f"{result.host:<12} {count} of {result.total} differ{'s' if count == 1 else ''}", ""]
    lines += change_lines(result.changes, width, diff=result.show_diff or verbose > 0, planned=True)
    fetched = sum(p.change.download for p in result.changes)
    asked = f"{counts(result.changes)}, {size(fetched) + ' to download' if fetched else 'no download'}."
    if result.exit != 4:
        return [*lines, "", f"{asked} Nothing was changed.", f"Do it:  provision {result.select}"]
    lines += ["", f"{asked} A run would be refused:"]
    lines += _refused(result, width)
    if any(check.status == "fail" for check in result.checks):
        return [*lines, "", *_unfit(result, width), f"Then:  provision {result.select}"]
    return [*lines, "", "Nothing was changed."]


def _verified(result: HostResult, width: int) -> list[str]:
    # What was left out because an earlier check was says nothing new.
    left = [check for check in result.checks if check.status == "skip" and not check.detail.startswith("needs ")]
    lines = [line for check in left for line in check_lines(check, width)]
    lines += ["", f"Verified in {result.seconds:.1f} s: {tally(result.checks)}."]
    if result.vantage == "ssh":
        lines.append(_THROUGH_SSH)
    if result.run_url:
        lines += ["", *_row("test run", result.run_url, width)]
    return lines


def _failed(result: HostResult, width: int, verbose: int) -> list[str]:
    assert result.error is not None
    # Without facts nothing was said yet: not even that a key was recorded.
    lines = _new_keys(result) if result.facts is None else []
    # Warnings alone: something later refused, and its own words must not be lost.
    if result.error.exit == 4 and any(check.status == "fail" for check in result.checks):
        return [*lines, *_unfit(result, width), f"Then again:  {result.error.next}"]
    if result.error.exit == 5:
        lines += ["", f"Verify failed after {result.step_seconds.get('verify', 0):.1f} s: {tally(result.checks)}."]
    done = [p for p in result.changes if p.seconds is not None]
    lines += ["", *failure(result.host, result.error, width)]
    if done and result.error.exit != 5:
        lines += ["", f"{plural(len(done), 'change')} done before that stay; the same command goes on from here."]
    if result.kept:
        lines += ["What was replaced is kept on the host:", *(f"  {path}" for path in result.kept)]
    return [*lines, *_lost(result, width)]


def _unfit(result: HostResult, width: int) -> list[str]:
    """What stands between a host and a run, each with what helps."""
    wrong = [check for check in result.checks if check.status in {"fail", "warn"}]
    lines = [line for check in wrong for line in check_lines(check, width)]
    return [*lines, "", f"Nothing was changed. {tally(result.checks)}."]


def _refused(result: HostResult, width: int) -> list[str]:
    return [line for error in result.refused for line in ("", *failure("", error, width))]


def failure(host: str, error: ProvisionError, width: int = 80) -> list[str]:
    """what, why, next: the form of every error; `host` is said once."""
    named = not host or error.what.startswith(host)
    lines = _labelled("what", error.what if named else f"{host}: {error.what}", width)
    if error.why:
        lines += _labelled("why", error.why, width)
    if error.detail:
        lines += [f"       {line}" for line in clean(error.detail).splitlines()[-20:]]
    if error.next:
        told = [part for line in error.next.splitlines() for part in _next(line, width - 7)]
        lines += [f"{'next' if n == 0 else '':<7}{line}" for n, line in enumerate(told)]
    return lines


def _next(line: str, room: int) -> list[str]:
    """Commands are never wrapped: they are there to be pasted. Sentences are."""
    if any(sign in line for sign in ("provision ", " -", "=", "sudo ", "|")):
        return [line]
    return textwrap.wrap(clean(line), max(40, room), break_long_words=False, break_on_hyphens=False) or [line]


def _labelled(label: str, text: str, width: int) -> list[str]:
    lines: list[str] = []
    for part in clean(text).splitlines():
        lines += textwrap.wrap(part, max(40, width - 7), break_long_words=False, break_on_hyphens=False) or [""]
    return [f"{label:<7}{lines[0]}", *(f"       {line}" for line in lines[1:])] if lines else []
