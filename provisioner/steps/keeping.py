"""How the inventory says what somebody edited on a host: told when the edit is put back.

From what stood in a file and is not wanted there; only what the inventory would take.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable

from provisioner import addresses, checks
from provisioner.resources.postgresql import conf

_UNIT_MEMORY = re.compile(r"MemoryMax=(\S+)")
_MOST = 3
"""Entries that one hint names."""


def of_unit(wanted: bytes) -> Callable[[bytes], str]:
    """For mlflow-server.service: its memory is a setting, its other limits are a drop-in's."""

    def said(old: bytes) -> str:
        own = _lines(wanted)
        for line in _lines(old):
            match = _UNIT_MEMORY.fullmatch(line)
            if match and line not in own and (size := _taken(checks.memory, match[1])):
                return f"[mlflow] memory = {json.dumps(size)}"
        return ""

    return said


def of_environment(wanted: bytes) -> Callable[[bytes], str]:
    """For mlflow.env: the workers, and whatever [mlflow] env takes."""

    def said(old: bytes) -> str:
        own, found, workers = _lines(wanted), [], ""
        for line in _lines(old):
            name, equals, value = line.partition("=")
            if not equals or line in own:
                continue
            if name == "MLFLOW_WORKERS" and value.isdigit() and len(value) < 4:
                workers = f"[mlflow] workers = {int(value)}"
            else:
                found.append((name, value.strip("\"'")))
        return "\n".join(line for line in (workers, _table("[mlflow] env", found, checks.variable)) if line)

    return said


def of_settings(wanted: bytes) -> Callable[[bytes], str]:
    """For our file in conf.d."""
    own = conf.parsed(wanted)
    assigned = re.compile(r"\s*([a-z][a-z0-9_.]*)\s*[= ]\s*(?:'([^'\\]*)'|([^\s'#]+))\s*(?:#.*)?")

    def said(old: bytes) -> str:
        matches = [match for line in _lines(old) if (match := assigned.fullmatch(line))]
        found = [(match[1], match[2] if match[2] is not None else match[3]) for match in matches]
        return of_values((name, value) for name, value in found if own.get(name) != value)

    return said


def of_options(wanted: bytes) -> Callable[[bytes], str]:
    """For our file among those of MySQL."""

    def said(old: bytes) -> str:
        from provisioner.resources.mysql import conf as options

        own = options.parsed(wanted)
        return of_values((name, value) for name, value in options.parsed(old).items() if own.get(name) != value)

    return said


def of_values(found: Iterable[tuple[str, str]]) -> str:
    """For settings of the database server that are not ours."""
    return _table("[database] settings", found, checks.server_setting)


def of_networks(old: Iterable[str]) -> str:
    """For networks that somebody let in."""
    allowed = [value for each in old if (value := _taken(addresses.network, each))]
    return f"[database] allow = {json.dumps(allowed[:_MOST])}" if allowed else ""


def _table(key: str, found: Iterable[tuple[str, str]], check: Callable[[str, object], str]) -> str:
    good = [(name, value) for name, value in found if _taken(check, name, value)]
    if not good:
        return ""
    entries = ", ".join(f"{json.dumps(name) if '.' in name else name} = {json.dumps(v)}" for name, v in good[:_MOST])
    return f"{key} = {{ {entries} }}"


def _taken(check: Callable[..., str], *given: str) -> str:
    """The value as the inventory takes it; empty when it does not."""
    try:
        return check(*given)
    except ValueError:
        return ""


def _lines(content: bytes) -> list[str]:
    return content.decode("utf-8", "replace").splitlines()
