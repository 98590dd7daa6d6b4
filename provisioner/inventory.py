"""From --host, --set and inventory.toml to the stacks a command works on. Opens the inventory, nothing else."""

from __future__ import annotations

import os
import re
import stat
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field, replace
from pathlib import Path
from typing import Any

from provisioner import addresses, checks, placement, schema, set_option, sources, state, toml_lines
from provisioner.documents import Reading, read
from provisioner.errors import UsageError
from provisioner.schema_hosts import Host
from provisioner.secrets import Secret
from provisioner.values import dataclass

DEFAULT = "inventory.toml"
LIMIT = 1024 * 1024


@dataclass(frozen=True)
class HostRequest:
    """How one host is reached; None leaves the choice to ssh's own configuration."""

    name: str
    address: str
    user: str | None = None
    port: int | None = None
    identity: str | None = None
    host_key: str | None = None
    jump: str | None = None
    sudo: str = "auto"
    internal: str | None = None
    """Address under which the stack's other hosts reach it, where it is not `address`."""
    key_in_file: bool = field(default=False, compare=False)
    """The inventory says which private key it is: commands to paste need not."""


@dataclass(frozen=True)
class Part:
    """One host of a stack of several, and what it does."""

    host: HostRequest
    roles: tuple[str, ...]


@dataclass(frozen=True)
class StackRequest:
    """One stack to work on. `flags` (options and --set) and `inventory` hold validated values under
    dotted keys, as settings.effective takes them; `inventory` is None when no file was read."""

    id: str
    host: HostRequest
    flags: Mapping[str, Any] = field(default_factory=dict)
    inventory: Mapping[str, Any] | None = None
    file: str = ""
    """The inventory that --inventory named: commands to paste name it too. Empty for the default one."""
    parts: tuple[Part, ...] = ()
    """All hosts of a stack of several; `host` is one of them, at first the one that clients use."""
    selected: tuple[str, ...] = ()
    """Names of those that --host chose; empty for all."""
    secret_sources: Mapping[str, sources.Source] = field(default_factory=dict)
    """Where the inventory says that secrets come from, by name."""
    brought: Mapping[str, Secret] = field(default_factory=dict)
    """What was read there, by the commands that take it to the host."""
    warnings: tuple[str, ...] = ()
    """What is to be said of how it was read."""

    def as_recorded(self) -> StackRequest:
        """For commands that describe the stack as its host records it, whatever was edited here since."""
        return replace(self, flags={}, inventory=None, brought={})

    @property
    def place(self) -> str:
        """Names this host among those of its stack in what this machine remembers; empty for a stack of one."""
        return state.stack_id(self.host.address, self.host.port) if self.parts else ""

    def each(self) -> tuple[StackRequest, ...]:
        """The stack as it is worked on from each of its hosts that were chosen."""
        if not self.parts:
            return (self,)
        chosen = [part.host for part in self.parts if part.host.name in (self.selected or (part.host.name,))]
        # The one that clients use first: what is done once for all of them its thread does.
        chosen.sort(key=lambda host: host != self.host)
        return tuple(replace(self, host=host) for host in chosen)


@dataclass(frozen=True)
class Inventory:
    """The stacks in the order they were named, and the file they come from."""

    stacks: tuple[StackRequest, ...]
    path: Path | None = None


def find(explicit: str | None) -> Path | None:
    """The file of --inventory, else inventory.toml of the current folder when there is one."""
    if explicit is not None:
        return Path(explicit).expanduser()
    default = Path(DEFAULT)
    return default if default.exists() else None


def load(
    path: Path | None = None,
    sets: Sequence[str] = (),
    hosts: Sequence[str] = (),
    *,
    ssh_user: str | None = None,
    ssh_port: int | None = None,
    identity: str | None = None,
    options: Mapping[str, tuple[str, Any]] | None = None,
    explicit: bool = False,
) -> Inventory:
    """The stacks of a call. `options` maps a dotted key to the flag's name and its value
    (`{"access.auth": ("--no-auth", "none")}`); `--set` may say the same, not something else.
    `explicit`: the user named the file, which did not just lie in the current folder.

    Raises UsageError (64) with the file, the line and the key of what is wrong.
    """
    reading = read_file(path) if path is not None else Reading()
    reading.fail()
    flags = set_option.flags(sets, options or {})
    entries = _entries(reading, flags, path)
    written = _entries(reading, Reading(), path)
    roles = {**reading.roles, **flags.roles}

    def identity_of(spec: str) -> str:
        return _identity(spec, entries)

    def connection(spec: str) -> HostRequest:
        found = _connection(spec, entries, ssh_user, ssh_port, identity)
        in_file = found.name in written and written[found.name].identity == found.identity
        return replace(found, key_in_file=in_file)

    try:
        known = placement.placed(roles, identity_of)
        chosen = _chosen(hosts, known, identity_of) if roles else dict(zip(hosts, hosts, strict=True))
        requests = [connection(spec) for spec in chosen.values()]
        parts: tuple[Part, ...] = ()
        if len(known) > 1:
            placement.judge(known, {**reading.values, **flags.values})
            parts = tuple(Part(connection(chosen.get(key, each.spec)), each.roles) for key, each in known.items())
    except ValueError as error:
        raise UsageError(f"--host: expected {error}") from error
    if not requests:
        named = ", ".join(entries)
        raise UsageError(
            "no host is given",
            why=f"the inventory has no [roles]; it knows {named}" if named else "",
            next=f"provision --host {next(iter(entries), 'user@address')}",
        )
    stacks: dict[str, StackRequest] = {}
    inventory = _absolute(reading.values, path.parent) if path is not None else None
    secret_sources = _sources(reading, path, explicit)
    selected: tuple[str, ...] = ()
    if parts:
        # One stack, named by the host that clients use, whichever of its hosts are worked on.
        selected = tuple(request.name for request in requests) if hosts else ()
        requests = [next(part.host for part in parts if "proxy" in part.roles)]
    for request in requests:
        stack = StackRequest(
            state.stack_id(request.address, request.port),
            request,
            _absolute(flags.values, Path.cwd()),
            inventory,
            "" if path in (None, Path(DEFAULT)) else str(path),
            parts,
            selected,
            secret_sources,
        )
        if stacks.setdefault(stack.id, stack) != stack:
            raise UsageError(f"--host {request.address} is given twice, with different users or names")
    names = flags.values.get("access.names") or reading.values.get("access.names")
    if len(stacks) > 1 and names:
        raise UsageError(
            f"access.names is one stack's, here are {len(stacks)}",
            why=f"artifact URLs of all of them would point at {names[0]}",
            next="call provision once for each host",
        )
    return Inventory(tuple(stacks.values()), path)


def named(spec: str, path: Path | None = None, sets: Sequence[str] = (), *, ssh_port: int | None = None) -> HostRequest:
    """The host that `spec` (as --host takes it) means, by [hosts] of the file where it is there."""
    reading = read_file(path) if path is not None else Reading()
    reading.fail()
    try:
        return _connection(spec, _entries(reading, set_option.flags(sets, {}), path), None, ssh_port, None)
    except ValueError as error:
        raise UsageError(f"not a host: {checks.shown(spec)}", why=f"expected {error}") from error


def read_file(path: Path) -> Reading:
    """The validated content of an inventory; its problems are still in `problems`."""
    text, barred = _text(path)
    if (long := toml_lines.overlong(text)) is not None:
        raise UsageError(f"{path}:{long}: a line of more than 8192 characters", why="an inventory has none")
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        match = re.search(r" \(at line (\d+), column \d+\)$", str(error))
        line = match[1] if match else str(text.count("\n") + 1)
        words = checks.shown(str(error).partition(" (at ")[0]).strip('"')
        raise UsageError(f"{path}:{line}: not TOML: {words}", next="the format: https://toml.io") from error
    except (RecursionError, ValueError) as error:
        raise UsageError(f"{path}:1: not TOML: nested too deep or a number too long") from error
    found = toml_lines.lines(text)
    reading = read(document, lambda where: f"{path}:{toml_lines.line(found, where)}")
    reading.barred = barred
    return reading


def _entries(reading: Reading, flags: Reading, path: Path | None) -> dict[str, Host]:
    """[hosts] of the file with what --set says about them; key files as absolute paths."""
    found: dict[str, Host] = {}
    for name in {**reading.hosts, **flags.hosts}:
        values = dict(reading.hosts.get(name, {}))
        if "identity" in values and path is not None:
            values["identity"] = _path(values["identity"], path.parent)
        values |= flags.hosts.get(name, {})
        if "identity" in values:
            values["identity"] = _path(values["identity"], Path.cwd())
        found[name] = Host(**values)
    return found


def _sources(reading: Reading, path: Path | None, explicit: bool) -> dict[str, sources.Source]:
    if path is None:
        return {}
    barred = reading.barred if explicit else f"{path} was found in this folder and not named: --inventory {path}"
    try:
        return {name: sources.placed(each, path.parent, barred) for name, each in reading.secrets.items()}
    except RuntimeError as error:
        raise UsageError(f"{path}: [{sources.TABLE}]: no home folder of that user") from error


def _chosen(
    hosts: Sequence[str], known: Mapping[str, placement.Placed], identity: Callable[[str], str]
) -> dict[str, str]:
    """Those of `known` that --host selects, all without one, as they are to be reached."""
    if not known:
        raise UsageError("[roles] names no host", next="name one, or leave [roles] out and use --host")
    selected: dict[str, str] = {}
    for spec in hosts:
        user, host, port = addresses.split_host(spec)
        key = identity(spec)
        if key not in known:
            raise UsageError(f"--host {host} is not in [roles]", why="the inventory has: " + ", ".join(sorted(known)))
        theirs_user, theirs, theirs_port = addresses.split_host(known[key].spec)
        selected[key] = _spec(user or theirs_user, theirs, port or theirs_port)
    return selected or {key: each.spec for key, each in known.items()}


def _identity(spec: str, entries: Mapping[str, Host]) -> str:
    """What makes two ways of writing a host the same one: its address, without user and port."""
    _, host, _ = addresses.split_host(spec)
    entry = _entry(host, None, entries)
    address = (entries[entry].address or entry) if entry is not None else host
    return addresses.split_host(address)[1].lower()


def _entry(host: str, port: int | None, entries: Mapping[str, Host]) -> str | None:
    """The name in [hosts] that `host` means: by name first, then by address (and port, where two share it)."""
    for name in entries:
        if name.lower() == host.lower():
            return name
    same = [n for n, e in entries.items() if e.address and addresses.split_host(e.address)[1].lower() == host.lower()]
    if len(same) > 1 and port is not None:
        same = [name for name in same if entries[name].port == port] or same
    if len(same) > 1:
        raise UsageError(f"--host {host} may mean {' or '.join(same)}", next="use the name")
    return same[0] if same else None


def _connection(
    spec: str, entries: Mapping[str, Host], user: str | None, port: int | None, identity: str | None
) -> HostRequest:
    """`--host`'s own user and port, then --ssh-user and the like, then [hosts], then ssh's configuration."""
    own_user, host, own_port = addresses.split_host(spec)
    name = _entry(host, own_port, entries)
    entry = entries[name] if name is not None else Host()
    their_user, address, their_port = addresses.split_host(entry.address or name or host)
    return HostRequest(
        name or host,
        address,
        own_user or user or entry.user or their_user,
        own_port or port or entry.port or their_port,
        _path(identity, Path.cwd()) if identity else entry.identity,
        entry.host_key,
        entry.jump,
        entry.sudo,
        entry.internal,
    )


def _spec(user: str | None, host: str, port: int | None) -> str:
    host = f"[{host}]" if ":" in host and port else host
    return (f"{user}@" if user else "") + host + (f":{port}" if port else "")


def _absolute(values: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    found = dict(values)
    for name, value in values.items():
        if (key := schema.known().get(name)) and key.operator:
            found[name] = _path(value, folder)
        elif name == "access.tls" and isinstance(value, Mapping):
            found[name] = {part: _path(file, folder) for part, file in value.items()}
    return found


def _path(raw: str, folder: Path) -> str:
    try:
        path = Path(raw).expanduser()
    except RuntimeError as error:
        raise UsageError(f"{checks.shown(raw)}: no home folder of that user") from error
    return os.path.normpath(Path.cwd() / folder / path)


def _text(path: Path) -> tuple[str, str]:
    """What the file says, and why its commands do not run: both of the same open file."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise UsageError(f"{path}: not a file", next="name an inventory file: --inventory FILE")
            raw = file.read(LIMIT + 1)
            barred = sources.distrust(path, os.fstat(handle))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a path"
        raise UsageError(f"{checks.shown(str(path))}: {reason}", next="name another: --inventory FILE") from error
    if len(raw) > LIMIT:
        raise UsageError(f"{path}: larger than 1 MiB", why="an inventory is a page of text")
    try:
        return raw.decode("utf-8-sig").replace("\r\n", "\n"), barred
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise UsageError(f"{path}:{line}: not UTF-8", next="save the file as UTF-8") from error
