"""/etc/provision/stack.toml: the settings a stack was made with, written to and read from its host."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping
from typing import Any

import tomli_w

from provisioner import addresses, checks, schema, toml_lines
from provisioner.errors import Refused
from provisioner.pools import Pool
from provisioner.settings import RECORD, Installed, Recorded, Settings
from provisioner.topology import ROLES, Member, Topology

SCHEMA = 1
LIMIT = 256 * 1024

_HEADER = """\
# Written by provision: the settings this stack was made with (no secrets).
# Change one with `provision --set KEY=VALUE` or in the inventory, not here.
"""
_INSTALLED = {
    "source": checks.one_of("default", "url", "file"),
    "sha256": checks.sha256,
    "version": checks.label,
    "url": addresses.download_url,
    "download": checks.sha256,
}


def dump_recorded(settings: Settings, stack: str) -> str:
    """The file's text: every effective value in the schema's order, so equal settings give equal bytes.

    `stack` names a stack that has no name yet; a recorded name stays, whatever its host is called today.
    """
    document: dict[str, Any] = {"schema": SCHEMA, "stack": settings.stack or stack}
    if not settings.topology.single:
        document["edition"] = settings.edition
    for table, section in schema.SETTINGS.items():
        values = {
            name: list(value) if isinstance(value, tuple) else key.recorded(value)
            for name, key in schema.keys(section).items()
            if not key.operator and (value := settings.get(f"{table}.{name}")) is not None
        }
        document[table] = {name: dict(v) if isinstance(v, Mapping) else v for name, v in values.items()}
    if settings.installed is not None:
        found = {name: value for name, value in dataclasses.asdict(settings.installed).items() if value}
        if label := checks.as_label(settings.installed.version):
            found["version"] = label
        else:
            found.pop("version", None)
        document["store"]["installed"] = found
    if settings.pools:
        document["store"]["pools"] = [{"hosts": list(p.hosts), "drives": list(p.drives)} for p in settings.pools]
    # A checksum without its URL (it belonged to a file) and the word "default" say nothing on a host.
    store = document["store"]
    if store.get("url") in (None, "default"):
        store.pop("url", None)
        store.pop("sha256", None)
    if not store.get("data"):
        store.pop("data", None)  # a store of somebody else's has none here
    if not settings.topology.single:
        document["topology"] = [
            {"name": m.name, "address": m.address, "roles": list(m.roles)} for m in settings.topology.members
        ]
    for dotted, value in sorted(settings.foreign.items()):
        table, _, name = dotted.partition(".")
        if name:
            document[table][name] = value
        else:
            document[table] = value
    return _HEADER + tomli_w.dumps(document)


def parse_recorded(text: str | bytes, host: str, path: str = RECORD) -> Recorded:
    """The record of `host`, from its `path`. Raises Refused (4) naming the file and how to go on.

    Keys that this release does not know come back in `foreign`, for the report, and are written
    again by `dump_recorded`: a newer version put them there.
    """
    raw = text.encode() if isinstance(text, str) else text
    if len(raw) > LIMIT:
        raise _unusable(host, path, f"it has more than {LIMIT} bytes")
    try:
        text = raw.decode("utf-8")
        if toml_lines.overlong(text) is not None:
            raise ValueError("it has a line of more than 8192 characters")
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise _unusable(host, path, checks.shown(str(error)).strip('"')) from error
    version = document.pop("schema", None)
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise _unusable(host, path, "it has no schema number")
    if version > SCHEMA:
        raise Refused(
            f"{path} on {host} has schema {version}, this version of provision reads {SCHEMA}",
            why="a newer version of provision has set this stack up",
            next="run it with that version or a newer one",
        )
    stack = document.pop("stack", "")
    if not isinstance(stack, str) or len(stack) > 200 or not stack.isprintable():
        raise _unusable(host, path, "stack: expected a name")
    topology = _topology(document.pop("topology", []), host, path)
    edition = document.pop("edition", 0)
    if isinstance(edition, bool) or not isinstance(edition, int) or not 0 <= edition < 2**31:
        raise _unusable(host, path, "edition: expected a whole number")
    values: dict[str, Any] = {}
    foreign: dict[str, Any] = {}
    installed: Installed | None = None
    pools: tuple[Pool, ...] = ()
    for table, content in document.items():
        section = schema.SETTINGS.get(table)
        if section is None:
            foreign[table] = content
            continue
        if not isinstance(content, dict):
            raise _unusable(host, path, f"{table}: expected a table")
        keys = schema.keys(section)
        for name, value in content.items():
            dotted = f"{table}.{name}"
            if dotted == "store.installed":
                installed = _installed(value, host, path)
            elif dotted == "store.pools":
                pools = _pools(value, host, path)
            elif name not in keys:
                foreign[dotted] = value
            elif keys[name].operator:
                raise _unusable(host, path, f"{dotted} means a path of the operator's machine and is never recorded")
            else:
                try:
                    values[dotted] = keys[name].check(value)
                except ValueError as error:
                    shown = "" if keys[name].private else f", not {checks.shown(value)}"
                    raise _unusable(host, path, f"{dotted}: expected {error}{shown}") from error
    return Recorded(stack, values, installed, foreign, topology, edition, pools)


_MEMBER = {
    "name": addresses.host_spec,
    "address": addresses.internal,
    "roles": checks.list_of(checks.one_of(*ROLES), len(ROLES)),
}


def _topology(value: object, host: str, path: str) -> Topology:
    if not isinstance(value, list) or len(value) > 1000:
        raise _unusable(host, path, "topology: expected a list of hosts")
    members: list[Member] = []
    for each in value:
        if not isinstance(each, dict) or each.keys() != _MEMBER.keys():
            raise _unusable(host, path, "topology: expected name, address and roles of each host")
        try:
            fields = {name: check(each[name]) for name, check in _MEMBER.items()}
        except ValueError as error:
            raise _unusable(host, path, f"topology: expected {error}") from error
        members.append(Member(fields["name"], fields["address"], tuple(fields["roles"])))
    if len({m.name for m in members}) != len(members):
        raise _unusable(host, path, "topology: a host stands there twice")
    return Topology(tuple(members))


_POOL = {"hosts": checks.list_of(addresses.internal, 1000), "drives": checks.drives}


def _pools(value: object, host: str, path: str) -> tuple[Pool, ...]:
    if not isinstance(value, list) or not 0 < len(value) <= 100:
        raise _unusable(host, path, "store.pools: expected a list of pools")
    found: list[Pool] = []
    for each in value:
        if not isinstance(each, dict) or each.keys() != _POOL.keys() or not each["hosts"]:
            raise _unusable(host, path, "store.pools: expected hosts and drives of each pool")
        try:
            found.append(Pool(_POOL["hosts"](each["hosts"]), _POOL["drives"](each["drives"])))
        except ValueError as error:
            raise _unusable(host, path, f"store.pools: expected {error}") from error
    return tuple(found)


def _installed(value: object, host: str, path: str) -> Installed:
    if not isinstance(value, dict) or "source" not in value or not value.keys() <= _INSTALLED.keys():
        raise _unusable(host, path, "store.installed: expected source, sha256, version, url and download")
    fields: dict[str, Any] = {}
    for name, each in value.items():
        try:
            fields[name] = _INSTALLED[name](each)
        except ValueError as error:
            raise _unusable(
                host, path, f"store.installed.{name}: expected {error}, not {checks.shown(each)}"
            ) from error
    if not (fields.get("sha256") or fields.get("download")):
        raise _unusable(host, path, "store.installed: expected sha256 or download")
    return Installed(**fields)


def _unusable(host: str, path: str, why: str) -> Refused:
    return Refused(
        f"{path} on {host} cannot be used",
        why=why,
        next=f"correct it there, or move it away (mv {path} {path}.old) and name the stack's settings "
        "again with --set or an inventory",
    )
