"""From --host, --set and inventory.toml to the stacks a command works on. Opens the inventory, nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field, replace
from pathlib import Path
from typing import Any

from provisioner import addresses, checks, host_entries, placement, set_option, sources, state
from provisioner.documents import Reading
from provisioner.errors import UsageError
from provisioner.inventory_file import absolute, path_from, read_file
from provisioner.schema_hosts import Host
from provisioner.secrets import Secret
from provisioner.values import dataclass

DEFAULT = "inventory.toml"


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
    name: str = ""
    """What [stacks] of the inventory calls it."""
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

    @property
    def whole(self) -> StackRequest:
        """The stack with all of its hosts, whichever were chosen."""
        return replace(self, selected=())

    def at(self, role: str) -> StackRequest:
        """The stack as it is worked on from the first host of a role."""
        host = next((part.host for part in self.parts if role in part.roles), self.host)
        return replace(self, host=host)

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
    stacks: Sequence[str] = (),
) -> Inventory:
    """The stacks of a call. `options` maps a dotted key to the flag's name and its value
    (`{"access.auth": ("--no-auth", "none")}`); `--set` may say the same, not something else.
    `explicit`: the user named the file, which did not just lie in the current folder. `stacks`: names of
    [stacks] to work on, all without one.

    Raises UsageError (64) with the file, the line and the key of what is wrong.
    """
    reading = read_file(path) if path is not None else Reading()
    reading.fail()
    flags = set_option.flags(sets, options or {})
    entries = _entries(reading, flags, path)
    written = _entries(reading, Reading(), path)

    def connection(spec: str) -> HostRequest:
        found = _connection(spec, entries, ssh_user, ssh_port, identity)
        in_file = found.name in written and written[found.name].identity == found.identity
        return replace(found, key_in_file=in_file)

    call = _Call(
        path, flags, lambda spec: host_entries.identity(spec, entries), connection, _sources(reading, path, explicit)
    )
    try:
        if reading.stacks:
            named_stacks = _named(reading, stacks, hosts, call)
        else:
            if stacks:
                raise UsageError(f"--stack {stacks[0]}: the inventory has no [stacks]", next="leave --stack out")
            named_stacks = {"": (reading.values, {**reading.roles, **flags.roles}, hosts)}
        found = [each for name, what in named_stacks.items() for each in call.requests(name, *what)]
    except ValueError as error:
        raise UsageError(f"--host: expected {error}") from error
    if not found:
        named = ", ".join(entries)
        raise UsageError(
            "no host is given",
            why=f"the inventory has no [roles]; it knows {named}" if named else "",
            next=f"provision --host {next(iter(entries), 'user@address')}",
        )
    distinct: dict[str, StackRequest] = {}
    for stack in found:
        if distinct.setdefault(stack.id, stack) != stack:
            raise UsageError(f"--host {stack.host.address} is given twice, with different users or names")
    return Inventory(tuple(distinct.values()), path)


_What = tuple[Mapping[str, Any], Mapping[str, Sequence[str]], Sequence[str]]
"""A stack's values, its roles, and the hosts of it that --host names."""


@dataclass(frozen=True)
class _Call:
    """What is the same for every stack of a call."""

    path: Path | None
    flags: Reading
    identity: Callable[[str], str]
    connection: Callable[[str], HostRequest]
    secret_sources: Mapping[str, sources.Source]

    def requests(
        self, name: str, values: Mapping[str, Any], roles: Mapping[str, Sequence[str]], hosts: Sequence[str]
    ) -> list[StackRequest]:
        """The stacks of one set of settings: one where [roles] say so, else one on each of `hosts`."""
        known = placement.placed(roles, self.identity)
        placement.one_port_each(roles, self.identity, lambda spec: self.connection(spec).port)
        chosen = _chosen(hosts, known, self.identity) if roles else dict(zip(hosts, hosts, strict=True))
        requests = [self.connection(spec) for spec in chosen.values()]
        parts: tuple[Part, ...] = ()
        selected: tuple[str, ...] = ()
        if len(known) > 1:
            placement.judge(known, {**values, **self.flags.values})
            parts = tuple(Part(self.connection(chosen.get(key, each.spec)), each.roles) for key, each in known.items())
            # One stack, named by the host that clients use, whichever of its hosts are worked on.
            selected = tuple(request.name for request in requests) if hosts else ()
            requests = [next(part.host for part in parts if "proxy" in part.roles)]
        names = self.flags.values.get("access.names") or values.get("access.names")
        if len({state.stack_id(each.address, each.port) for each in requests}) > 1 and names:
            raise UsageError(
                f"access.names is one stack's, here are {len(requests)}",
                why=f"artifact URLs of all of them would point at {names[0]}",
                next="call provision once for each host",
            )
        return [
            StackRequest(
                state.stack_id(request.address, request.port),
                request,
                absolute(self.flags.values, Path.cwd()),
                absolute(values, self.path.parent) if self.path is not None else None,
                "" if self.path in (None, Path(DEFAULT)) else str(self.path),
                name,
                parts,
                selected,
                self.secret_sources,
            )
            for request in requests
        ]


def _named(reading: Reading, wanted: Sequence[str], hosts: Sequence[str], call: _Call) -> dict[str, _What]:
    """The chosen stacks of [stacks]: those of --stack, those that have the hosts of --host, else all."""
    if reading.roles or call.flags.roles:
        raise UsageError(
            "[roles] stand beside [stacks]", why="whose they are is not said", next="move them into [stacks.NAME.roles]"
        )
    if unknown := [name for name in wanted if name not in reading.stacks]:
        raise UsageError(f"--stack {unknown[0]} is not known", why=f"the inventory has {', '.join(reading.stacks)}")
    if call.secret_sources and len(reading.stacks) > 1:
        raise UsageError(
            "[secrets] stand beside several [stacks]",
            why="all stacks would get the same secrets",
            next="an inventory of its own for the stack whose secrets come from elsewhere",
        )
    owner: dict[str, str] = {}
    for name, stack in reading.stacks.items():
        if not stack.roles:
            raise UsageError(f"[stacks.{name}] has no roles", next=f'[stacks.{name}.roles] proxy = ["HOST"] …')
        for key in placement.placed(stack.roles, call.identity):
            if owner.setdefault(key, name) != name:
                raise UsageError(f"{key} is in the stacks {owner[key]} and {name}", why="a host serves one stack")
    theirs: dict[str, list[str]] = {}
    for spec in hosts:
        name = owner.get(call.identity(spec), "")
        if not name or (wanted and name not in wanted):
            among = " and ".join(wanted) if wanted else "the inventory's stacks"
            raise UsageError(f"--host {spec} is not in {among}", why=f"they have {', '.join(sorted(owner))}")
        theirs.setdefault(name, []).append(spec)
    chosen = [name for name in reading.stacks if name in (theirs or wanted or reading.stacks)]
    return {
        name: ({**reading.values, **reading.stacks[name].values}, reading.stacks[name].roles, theirs.get(name, ()))
        for name in chosen
    }


def named(spec: str, path: Path | None = None, sets: Sequence[str] = (), *, ssh_port: int | None = None) -> HostRequest:
    """The host that `spec` (as --host takes it) means, by [hosts] of the file where it is there."""
    reading = read_file(path) if path is not None else Reading()
    reading.fail()
    try:
        return _connection(spec, _entries(reading, set_option.flags(sets, {}), path), None, ssh_port, None)
    except ValueError as error:
        raise UsageError(f"not a host: {checks.shown(spec)}", why=f"expected {error}") from error


def _entries(reading: Reading, flags: Reading, path: Path | None) -> dict[str, Host]:
    """[hosts] of the file with what --set says about them; key files as absolute paths."""
    found: dict[str, Host] = {}
    for name in {**reading.hosts, **flags.hosts}:
        values = dict(reading.hosts.get(name, {}))
        if "identity" in values and path is not None:
            values["identity"] = path_from(values["identity"], path.parent)
        values |= flags.hosts.get(name, {})
        if "identity" in values:
            values["identity"] = path_from(values["identity"], Path.cwd())
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


def _connection(
    spec: str, entries: Mapping[str, Host], user: str | None, port: int | None, identity: str | None
) -> HostRequest:
    """`--host`'s own user and port, then --ssh-user and the like, then [hosts], then ssh's configuration."""
    own_user, host, own_port = addresses.split_host(spec)
    name = host_entries.entry(host, own_port, entries)
    entry = entries[name] if name is not None else Host()
    their_user, address, their_port = addresses.split_host(entry.address or name or host)
    return HostRequest(
        name or host,
        address,
        own_user or user or entry.user or their_user,
        own_port or port or entry.port or their_port,
        path_from(identity, Path.cwd()) if identity else entry.identity,
        entry.host_key,
        entry.jump,
        entry.sudo,
        entry.internal,
    )


def _spec(user: str | None, host: str, port: int | None) -> str:
    host = f"[{host}]" if ":" in host and port else host
    return (f"{user}@" if user else "") + host + (f":{port}" if port else "")
