"""What the command line said, apart from the command itself."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from provisioner import inventory
from provisioner.errors import UsageError
from provisioner.inventory import HostRequest, Inventory, StackRequest
from provisioner.secrets import Secret
from provisioner.transport.base import Session
from provisioner.values import dataclass


@dataclass(frozen=True)
class Options:
    """The common options of one call."""

    hosts: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    """Of the stacks that [stacks] of the inventory has."""
    inventory: str | None = None
    sets: tuple[str, ...] = ()
    ssh_user: str | None = None
    ssh_port: int | None = None
    identity: str | None = None
    sudo_password: Secret | None = None
    no_auth: bool = False
    allow_public_http: bool = False
    yes: bool = False
    verify: bool = False
    deep: bool = False
    verbose: int = 0
    pin: str | None = None
    """The host key's fingerprint, for a host whose key is known by other means (the demo's)."""
    interactive: bool = False
    """A terminal is there to ask questions on."""
    default_inventory: bool = True
    """inventory.toml of the current folder counts; not for the demo, whose server is its own."""
    json: bool = False
    """What a command tells is one JSON document on stdout."""
    say: Callable[[str], None] | None = None
    """Tells that an inventory which nobody named is used."""

    def stacks(self) -> Inventory:
        """The stacks of this call; UsageError (64) when none is named or a key is wrong."""
        options: dict[str, tuple[str, Any]] = {}
        if self.no_auth:
            options["access.auth"] = ("--no-auth", "none")
        if self.allow_public_http:
            options["access.public_http"] = ("--allow-public-http", True)
        found = inventory.load(
            self._file(),
            self.sets,
            self.hosts,
            ssh_user=self.ssh_user,
            ssh_port=self.ssh_port,
            identity=self.identity,
            options=options,
            explicit=self.inventory is not None,
            stacks=self.names,
        )
        for stack in found.stacks:
            for request in stack.each():
                _has_key(request)
        return found

    def named(self, name: str) -> HostRequest:
        """The host that `name` means, whether [roles] has it or not; UsageError for what names none."""
        return inventory.named(name, self._file(), self.sets, ssh_port=self.ssh_port)

    def _file(self) -> Path | None:
        if not (self.inventory or self.default_inventory):
            return None
        path = inventory.find(self.inventory)
        if path is not None and self.inventory is None and self.say is not None:
            self.say(f"inventory    {path}")
        return path


def _has_key(request: StackRequest) -> None:
    """UsageError (64) for a private key that was named and is not there. Here and not when it is used: a host
    that does not answer would hide it. Its public half is enough, where an agent holds the key."""
    named = request.host.identity
    if named is None:
        return
    path = Path(named)
    try:
        there = path.is_file() or path.with_name(path.name + ".pub").is_file()
        why = "it is not a file" if path.exists() and not there else "there is no such file"
    except (OSError, ValueError) as error:
        there, why = False, getattr(error, "strerror", None) or str(error)
    if not there:
        where = f'[hosts."{request.host.name}"] identity' if request.host.key_in_file else "-i"
        raise UsageError(
            f"the private key {path} cannot be read", why=why, next=f"name one that is there: {where} FILE"
        )


def open_session(
    request: StackRequest, options: Options, on_new_key: Callable[[str, str], None] | None = None
) -> Session:
    """Connect to a stack's host; Unreachable (exit 3) with what, why and next.

    `on_new_key` gets the name and the fingerprint of a host, or of a jump host, whose key was recorded.
    """
    from provisioner.transport.fabric import ConnectOptions, connect
    from provisioner.transport.target import Target

    host = request.host
    target = Target(host.name, host.address, host.user, host.port)
    return connect(
        target,
        ConnectOptions(
            user=options.ssh_user,
            port=options.ssh_port,
            identity=Path(host.identity).expanduser() if host.identity else None,
            password=options.sudo_password,
            pin=options.pin or host.host_key,
            jump=host.jump,
            sudo=host.sudo,
            on_new_key=on_new_key,
            on_prompt=_ask if options.interactive else None,
        ),
    )


@contextmanager
def session(request: StackRequest, options: Options) -> Iterator[Session]:
    """A connection for a command that has no report; a new host key is told when it is recorded."""

    def say(name: str, fingerprint: str) -> None:
        if options.say is not None:
            options.say(f"host key     {fingerprint} of {name} (new, saved)")

    opened = open_session(request, options, say)
    try:
        yield opened
    finally:
        opened.close()


def _ask(prompt: str) -> Secret | None:
    import getpass

    answer = getpass.getpass(prompt)
    return Secret(answer) if answer else None


def one_stack(options: Options) -> StackRequest:
    """The only stack of the call; UsageError when several are named."""
    stacks = options.stacks().stacks
    if len(stacks) != 1:
        named = all(stack.name for stack in stacks)
        names = ", ".join(stack.name if named else stack.host.name for stack in stacks)
        raise UsageError(
            f"this command works on one stack, here are {len(stacks)}: {names}",
            next="add --stack NAME" if named else "add --host HOST",
        )
    return stacks[0]


def select(request: StackRequest) -> str:
    """The arguments that choose this stack again, ready to paste: of several hosts, the inventory that names them."""
    host = request.host
    key = f" -i {shlex.quote(host.identity)}" if host.identity and not host.key_in_file else ""
    file = f" --inventory {shlex.quote(request.file)}" if request.file else ""
    if request.parts or request.name:
        chosen = [f"--host {name}" for name in request.selected]
        chosen += [f"--stack {request.name}"] if request.name else []
        return f"{' '.join(chosen)}{key}{file}".lstrip()
    name = f"[{host.name}]" if ":" in host.name and host.port else host.name
    spec = f"{host.user}@{name}" if host.user else name
    spec = f"{spec}:{host.port}" if host.port else spec
    return f"--host {spec}{key}{file}"


def again(request: StackRequest, options: Options) -> str:
    """The arguments that make the same call: `select`, and the settings that it was given."""
    flags = [f"--set {shlex.quote(each)}" for each in options.sets]
    flags += ["--no-auth"] * options.no_auth + ["--allow-public-http"] * options.allow_public_http
    return " ".join([select(request), *flags])
