"""The words of a result, as lines; who prints them decides where and in which colour."""

from __future__ import annotations

from provisioner.engine.check import Check
from provisioner.errors import ProvisionError
from provisioner.report.model import HostResult


def flush_right(left: str, right: str, width: int) -> str:
    room = width - len(right) - 1
    return f"{left[:room]:<{room}} {right}"


def gigabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size < 10e9 else f"{size / 1e9:.0f} GB"


def greeting(result: HostResult) -> list[str]:
    facts = result.facts
    lines = []
    if facts is not None:
        free = facts.free.get("/opt", 0)
        lines.append(
            f"{result.host:<12} {facts.pretty}, {facts.architecture}, {facts.cores} cores, "
            f"{gigabytes(facts.memory)} memory, {gigabytes(free)} free"
        )
    if result.new_host_key:
        lines.append(f"{'host key':<12} {result.fingerprint} (new, saved)")
    return lines


def check_lines(check: Check, width: int) -> list[str]:
    mark = {"ok": "ok   ", "fail": "FAIL ", "warn": "warn ", "skip": "skip "}[check.status]
    detail, *more = check.detail.splitlines() or [""]
    lines = [flush_right(f"{mark} {check.title:<10} {detail}", f"{check.seconds * 1000:.0f} ms", width)]
    lines += [" " * 17 + line for line in more]
    if check.fix and check.status != "ok":
        lines += [" " * 17 + line for line in check.fix.splitlines()]
    return lines


def closing(command: str, result: HostResult, width: int, verbose: int) -> list[str]:
    lines: list[str] = []
    if result.error is not None:
        lines += failure(result.host, result.error)
    elif not result.changes and result.quick_ms is not None:
        lines.append(
            flush_right(
                f"{result.host:<12} nothing to change: {result.total} of {result.total} as wanted, "
                f"answers in {result.quick_ms:.0f} ms",
                f"{result.seconds:.1f} s",
                width,
            )
        )
    else:
        lines.append(f"{result.host:<12} {len(result.changes)} changes in {result.seconds:.1f} s  {result.url}")
        for planned in result.changes if verbose else ():
            lines.append(f"  {planned.step} {planned.change.action} {planned.id}: {planned.change.reason}")
    return lines


def failure(host: str, error: ProvisionError) -> list[str]:
    lines = [f"{host}: {error.what}"]
    if error.why:
        lines += [f"why    {line}" if n == 0 else f"       {line}" for n, line in enumerate(error.why.splitlines())]
    if error.detail:
        lines += [f"       {line}" for line in error.detail.splitlines()[-20:]]
    if error.next:
        lines += [f"next   {line}" if n == 0 else f"       {line}" for n, line in enumerate(error.next.splitlines())]
    return lines
