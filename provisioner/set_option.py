"""`--set KEY=VALUE`: any key of the inventory, from the command line."""

from __future__ import annotations

import datetime
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

from provisioner import checks, schema, sources, toml_lines
from provisioner.documents import Reading, nearest, read
from provisioner.errors import UsageError
from provisioner.keys import Key
from provisioner.schema_hosts import Host


def parse_set(argument: str) -> tuple[tuple[str, ...], Any]:
    """`KEY=VALUE` -> (path, value). The value is read as TOML, else it is the bare string; where the
    key wants a string, what only looks like a number or a date stays the text that was typed.
    """
    if len(argument) > 8192:
        raise UsageError(f"--set {checks.shown(argument)}: more than 8192 characters")
    parsed = toml_lines.key(argument)
    if parsed is None or argument[parsed[1] : parsed[1] + 1] != "=":
        raise UsageError(f"--set {checks.shown(argument)}: expected KEY=VALUE, like store.engine=seaweedfs")
    path, raw = parsed[0], argument[parsed[1] + 1 :].strip(" \t")
    key = _key(path)
    value = _toml_value(raw)
    if key is None or key.kind == "table":
        entry = key is not None and _is_entry(path)
        return path, raw if entry and not isinstance(value, str | bool | int | float) else value
    if key.kind == "string" and not isinstance(value, str | dict | list):
        value = raw
    if key.kind == "list" and isinstance(value, str | int | float) and raw:
        value = [value if isinstance(value, str) else raw]
    return path, value


def flags(sets: Sequence[str], options: Mapping[str, tuple[str, Any]]) -> Reading:
    """What `--set` says, each validated, with what further options say (as `inventory.load` takes them)."""
    found = Reading()
    for argument in sets:
        path, value = parse_set(argument)
        if path[0] == sources.TABLE:
            raise UsageError(
                "--set cannot say where secrets come from", next="[secrets] of an inventory: --inventory FILE"
            )
        if path[0] in schema.SETTINGS and len(path) > 2:
            if not _is_entry(path):
                near = nearest(path[:2])
                hint = f", did you mean {near}?" if near else ""
                raise UsageError(f"--set {'.'.join(path)[:120]}: unknown key{hint}")
            path = (path[0], path[1], ".".join(path[2:]))
        document: Any = value
        for part in reversed(path):
            document = {part: document}
        whole = len(path) == 2 and not _is_entry(path)
        one = read(document, lambda _path: "--set", whole_tables=whole)
        one.fail()
        if len(path) == 2:
            prefix = ".".join(path) + "."
            found.values = {name: v for name, v in found.values.items() if not name.startswith(prefix)}
        found.values |= one.values
        found.roles |= one.roles
        for name, entry in one.hosts.items():
            found.hosts.setdefault(name, {}).update(entry)
    for dotted, (flag, value) in options.items():
        if found.values.setdefault(dotted, value) != value:
            raise UsageError(f"{flag} and --set {dotted}={found.values[dotted]} contradict each other")
    return found


def _key(path: tuple[str, ...]) -> Key | None:
    if path[0] == "hosts" and len(path) == 3:
        return schema.keys(Host).get(path[2])
    if path[0] in schema.SECTIONS and path[0] != "hosts" and len(path) >= 2:
        return schema.keys(schema.SECTIONS[path[0]]).get(path[1])
    return None


def _is_entry(path: tuple[str, ...]) -> bool:
    key = _key(path)
    return key is not None and key.kind == "table" and len(path) > 2


def _toml_value(raw: str) -> Any:
    """`raw` as TOML when it is exactly one value of a kind the inventory has, else the string itself."""
    quoted = raw.startswith(('"', "'", "[", "{"))
    if not raw or "\n" in raw or "\r" in raw or ("#" in raw and not quoted):
        return raw
    try:
        document = tomllib.loads("v = " + raw)
    except (ValueError, RecursionError):
        return raw
    value = document["v"]
    return raw if isinstance(value, datetime.date | datetime.time) else value
