"""From a TOML document to validated settings: every key known, every value checked, every problem with its place."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Any

from provisioner import addresses, checks, schema, sources
from provisioner.errors import UsageError
from provisioner.keys import Key
from provisioner.schema_hosts import Host
from provisioner.values import dataclass

_PROBLEMS = 19  # with "and more" as many lines as a terminal is shown of an error's detail
STACKS = "stacks"

Place = Callable[[tuple[str, ...]], str]


@dataclass
class Reading:
    """What a document says, and what is wrong with it ("place: key: problem" lines)."""

    values: dict[str, Any] = field(default_factory=dict)
    hosts: dict[str, dict[str, Any]] = field(default_factory=dict)
    roles: dict[str, tuple[str, ...]] = field(default_factory=dict)
    secrets: dict[str, sources.Source] = field(default_factory=dict)
    stacks: dict[str, Reading] = field(default_factory=dict)
    """What [stacks.NAME] say besides, by name; without hosts and secrets of their own."""
    problems: list[str] = field(default_factory=list)
    barred: str = ""
    """Why commands that the document names do not run."""

    def fail(self) -> None:
        """Raise UsageError (64) when there were problems: the first in front, the others as detail."""
        if self.problems:
            first, *others = dict.fromkeys(self.problems)
            raise UsageError(
                first,
                next="all keys: docs/inventory.md and inventory.example.toml",
                detail="\n".join(others),
            )


def read(document: Mapping[str, Any], place: Place, *, whole_tables: bool = False) -> Reading:
    """Validate `document`. `place` turns a path into "inventory.toml:12" or a flag.

    A table like mlflow.env becomes one value for each entry, so that entries chosen elsewhere stay;
    with `whole_tables` it is one value that replaces them.
    """
    reading = Reading()
    try:
        _tables(reading, place, document, whole_tables)
    except _TooMany:
        reading.problems.append("and more")
    return reading


class _TooMany(Exception):
    """Enough problems for one reading: looking for the nearest key of each takes its time."""


def _tables(reading: Reading, place: Place, document: Mapping[str, Any], whole_tables: bool) -> None:
    for table, content in document.items():
        section = schema.SECTIONS.get(table)
        if table == sources.TABLE:
            _secrets(reading, place, content)
        elif table == STACKS:
            _stacks(reading, place, content)
        elif section is None:
            _unknown(reading, place, (table,))
        elif not isinstance(content, dict):
            _wrong(reading, place, (table,), f"expected a table: [{table}]", content)
        elif table == "hosts":
            for name, entry in content.items():
                _host(reading, place, name, entry)
        else:
            for name, value in content.items():
                _setting(reading, place, (table, name), value, whole_tables)


def _stacks(reading: Reading, place: Place, content: Any) -> None:
    if not isinstance(content, dict):
        _report(reading, place, (STACKS,), f"expected a table: [{STACKS}.NAME]")
        return
    for name, tables in content.items():
        if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,40}", name):
            _report(reading, place, (STACKS, name), "expected a name of small letters, digits, dash and underscore")
            continue
        if not isinstance(tables, dict):
            _report(reading, place, (STACKS, name), f"expected a table: [{STACKS}.{name}.roles] and the like")
            continue
        shared = [table for table in tables if table in {"hosts", sources.TABLE, STACKS}]
        for table in shared:
            _report(reading, place, (STACKS, name, table), f"[{table}] is one for the whole inventory")
        inner = {table: each for table, each in tables.items() if table not in shared}
        found = Reading()
        _tables(found, lambda path, name=name: place((STACKS, name, *path)), inner, False)  # type: ignore[misc]
        reading.stacks[name] = found
        for problem in found.problems:
            _noted(reading, problem)


def _setting(reading: Reading, place: Place, path: tuple[str, str], value: Any, whole: bool) -> None:
    table, name = path
    key = schema.keys(schema.SECTIONS[table]).get(name)
    if key is None:
        _unknown(reading, place, path)
        return
    if key.kind == "table" and isinstance(value, dict):
        value = _flat(value)
        if not whole:
            for entry, content in value.items():
                found = _checked(reading, place, (*path, entry), key, {entry: content}, content)
                if found is not None:
                    reading.values[f"{table}.{name}.{entry}"] = found[entry]
            if len(value) > 100:
                _checked(reading, place, path, key, value, value)
            return
    found = _checked(reading, place, path, key, value, value)
    if found is None:
        return
    if table == "roles":
        reading.roles[name] = found
    else:
        reading.values[f"{table}.{name}"] = found


def _host(reading: Reading, place: Place, name: str, entry: Any) -> None:
    path: tuple[str, ...] = ("hosts", name)
    try:
        user, _, port = addresses.split_host(name)
        if user is not None or port is not None:
            raise ValueError("a host's plain name or address; user and port are keys of their own")
    except ValueError as error:
        _wrong(reading, place, path, f"expected {error}", name)
        return
    if not isinstance(entry, dict):
        _wrong(reading, place, path, f'expected a table: [hosts."{name}"]', entry)
        return
    reading.hosts[name] = {}
    for field_name, value in entry.items():
        key = schema.keys(Host).get(field_name)
        if key is None:
            _unknown(reading, place, (*path, field_name))
            continue
        found = _checked(reading, place, (*path, field_name), key, value, value)
        if found is not None:
            reading.hosts[name][field_name] = found


def _secrets(reading: Reading, place: Place, content: Any) -> None:
    if not isinstance(content, dict):
        _report(reading, place, (sources.TABLE,), f"expected a table: [{sources.TABLE}]")
        return
    for below, entry in sources.entries(content):
        name, path = ".".join(below), (sources.TABLE, *below)
        try:
            if name in reading.secrets:
                raise ValueError("stands there twice")
            reading.secrets[name] = sources.source(name, entry, f"{place(path)}: {sources.TABLE}.{name}")
        except ValueError as error:
            _report(reading, place, path, str(error))


def _checked(reading: Reading, place: Place, path: tuple[str, ...], key: Key, value: Any, seen: Any) -> Any | None:
    try:
        found = key.check(value)
    except ValueError as error:
        # An entry of mlflow.env may be a secret that got there by mistake: it is not repeated.
        _wrong(reading, place, path, f"expected {error}", None if key.kind == "table" or key.private else seen)
        return None
    if reason := key.later(found):
        _report(reading, place, path, f"{checks.shown(seen)} is not available yet: {reason}")
        return None
    return found


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """`auto_explain.log_analyze = true` in TOML is a table in a table; PostgreSQL means one name."""
    flat: dict[str, Any] = {}
    for name, content in value.items():
        if isinstance(content, dict) and content and not prefix:
            flat |= _flat(content, f"{name}.")
        else:
            flat[prefix + name] = content
    return flat


def _unknown(reading: Reading, place: Place, path: tuple[str, ...]) -> None:
    dotted = ".".join(path)[:100]
    for later in (path[0], dotted):
        if later in schema.LATER:
            _report(reading, place, path, f"not available yet: {schema.LATER[later]} come with a later version")
            return
    near = nearest(path)
    _report(reading, place, path, "unknown key" + (f", did you mean {near}?" if near else ""))


def nearest(path: tuple[str, ...]) -> str | None:
    """The known key or table that an unknown one most resembles."""
    if len(path) == 1 and (close := difflib.get_close_matches(path[0][:50], [*schema.SECTIONS, sources.TABLE], 1)):
        return f"[{close[0]}]"
    if path[0] == "hosts" and len(path) == 3:
        close = difflib.get_close_matches(path[2][:50], schema.keys(Host), 1, 0.5)
        return close[0] if close else None
    names = [f"{table}.{name}" for table, section in schema.SECTIONS.items() for name in schema.keys(section)]
    names = [name for name in names if not name.startswith("hosts.")]
    last = path[-1][:50]
    if len(path) > 1 and path[0] in schema.SECTIONS:
        close = difflib.get_close_matches(last, schema.keys(schema.SECTIONS[path[0]]), 1)
        if close:
            return f"{path[0]}.{close[0]}"
    same = [name for name in names if name.split(".")[1] == last]
    close = same[:1] or difflib.get_close_matches(".".join(path)[:100], names, 1)
    return close[0] if close else None


def _wrong(reading: Reading, place: Place, path: tuple[str, ...], expected: str, value: Any) -> None:
    _report(reading, place, path, expected if value is None else f"{expected}, not {checks.shown(value)}")


def _report(reading: Reading, place: Place, path: tuple[str, ...], problem: str) -> None:
    dotted = ".".join(p if re.fullmatch(r"[A-Za-z0-9_-]{1,60}", p) else checks.shown(p) for p in path)
    _noted(reading, f"{place(path)}: {dotted}: {problem}")


def _noted(reading: Reading, problem: str) -> None:
    if len(reading.problems) == _PROBLEMS:
        raise _TooMany
    reading.problems.append(problem)
