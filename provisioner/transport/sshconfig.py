"""Where a target really is: what the user wrote, the flags, then ~/.ssh/config, as ssh decides it."""

from __future__ import annotations

import getpass
import glob
import os
import re
import shlex
from collections.abc import Callable
from dataclasses import field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from provisioner.errors import UsageError
from provisioner.secrets import Secret
from provisioner.transport.hostkeys import checked_pin
from provisioner.transport.target import Target, parse_target
from provisioner.values import dataclass

if TYPE_CHECKING:
    from paramiko.config import SSHConfig, SSHConfigDict

# A configuration without any of these cannot change where and as whom we connect, so that the
# connection can be opened before the SSH library is even imported.
_DECIDES = re.compile(
    r"^\s*(host|match|include|hostname|port|user|proxyjump|proxycommand|identity\w*|certificatefile|hostkeyalias"
    r"|userknownhostsfile|globalknownhostsfile|canonical\w*|connecttimeout|addressfamily|bindaddress)\b",
    re.IGNORECASE | re.MULTILINE,
)
_HOPS = 8
_INCLUDES = 16


@dataclass(frozen=True)
class ConnectOptions:
    """How to connect, beyond what a target's text says.

    `user` and `port` count when the text names none. `identity` is the only key tried when given.
    `jump` is `host[,host...]` or "none"; None leaves it to ~/.ssh/config. `pin` is the final host's
    `SHA256:...`. `sudo` is "auto" or "none" (the login user must be root). `on_prompt` asks for a
    key's passphrase (only given when there is a terminal). `on_new_key` gets the name and the
    fingerprint of each host on the way whose key was recorded. Times in seconds.
    """

    user: str | None = None
    port: int | None = None
    identity: Path | None = None
    password: Secret | None = None
    pin: str | None = None
    jump: str | None = None
    connect_timeout: float = 10.0
    sudo: str = "auto"
    on_prompt: Callable[[str], Secret | None] | None = None
    on_new_key: Callable[[str, str], None] | None = None

    def __post_init__(self) -> None:
        if self.sudo not in ("auto", "none"):
            raise UsageError(f"sudo = {self.sudo!r} is not known", why='it is "auto" or "none"')
        if self.pin is not None:
            object.__setattr__(self, "pin", checked_pin(self.pin))
        if self.password is not None and any(sign in self.password.reveal() for sign in "\n\r\0"):
            raise UsageError("the sudo password contains a line break", why="sudo reads one line")


@dataclass(frozen=True)
class Endpoint:
    """One hop, decided. `jumps` are the gateways before it, the nearest to us first."""

    text: str
    hostname: str
    port: int
    user: str
    identities: tuple[Path, ...] = ()
    identities_only: bool = False
    agent: str | None = None
    jumps: tuple[Endpoint, ...] = ()
    proxy_command: str | None = None
    key_name: str = ""
    """What known_hosts calls it: HostKeyAlias or the host name, before `[...]:port`."""
    known_hosts: tuple[Path, ...] = field(default=())
    timeout: float = 10.0


def config_text(home: Path | None = None, system: Path = Path("/etc/ssh/ssh_config")) -> str:
    """~/.ssh/config and then /etc/ssh/ssh_config, with their Include lines unfolded."""
    user = (home or Path.home()) / ".ssh" / "config"
    return _unfold(user, user.parent, 0) + "\nHost *\n" + _unfold(system, system.parent, 0)


def decides(text: str) -> bool:
    """False when no line of the configuration can matter here (a stock one); see `_DECIDES`."""
    return any(
        match.group(0).strip().lower() != "host" or not _everything(text, match) for match in _DECIDES.finditer(text)
    )


def resolve(target: Target, options: ConnectOptions, config: SSHConfig | None) -> Endpoint:
    """The hop `target` stands for, with its gateways. `config` is None when nothing in it matters."""
    found = _lookup(config, target.name)
    own = _endpoint(target, options, found)
    jump = options.jump if options.jump is not None else found.get("proxyjump")
    command = found.get("proxycommand") if options.jump is None else None
    if jump and jump.lower() != "none":
        return replace(own, jumps=_gateways(jump, options, config, (target.name,)))
    if command and command.lower() != "none":
        return replace(own, proxy_command=command)
    return own


def _gateways(
    text: str, options: ConnectOptions, config: SSHConfig | None, seen: tuple[str, ...]
) -> tuple[Endpoint, ...]:
    """The hops of a ProxyJump list; the first may need gateways of its own."""
    hops: list[Endpoint] = []
    for part in text.split(","):
        target = parse_target(part.strip().removeprefix("ssh://").rstrip("/"))
        if target.name in seen:
            # `Host *` with a ProxyJump also matches the gateway itself: ssh ends there too.
            continue
        seen = (*seen, target.name)
        if len(seen) > _HOPS:
            raise UsageError(f"more than {_HOPS} jump hosts: {text[:80]!r}", why="ProxyJump in a circle?")
        found = _lookup(config, target.name)
        # The flags' user, port and identity are the final host's; a gateway has its own in ssh's
        # configuration. A key named by -i may open the gateway too, as with `ssh -i`... -J.
        hop = _endpoint(
            target, ConnectOptions(identity=options.identity, connect_timeout=options.connect_timeout), found
        )
        if not hops and (own := found.get("proxyjump")) and own.lower() != "none":
            hops.extend(_gateways(own, options, config, seen))
        hops.append(hop)
    return tuple(hops)


def _endpoint(target: Target, options: ConnectOptions, found: dict[str, str] | SSHConfigDict) -> Endpoint:
    hostname = found.get("hostname") or target.name
    parse_target(f"[{hostname}]" if ":" in hostname else hostname)  # a configuration is input, too
    identities: tuple[Path, ...] = tuple(Path(name).expanduser() for name in found.get("identityfile") or ())
    only = (found.get("identitiesonly") or "no").lower() == "yes"
    if options.identity is not None:
        identities, only = (options.identity.expanduser(),), True
    agent = found.get("identityagent") or os.environ.get("SSH_AUTH_SOCK") or None
    if agent is not None and agent.lower() == "none":
        agent = None
    elif agent == "SSH_AUTH_SOCK":
        agent = os.environ.get("SSH_AUTH_SOCK")
    files = found.get("userknownhostsfile") or "~/.ssh/known_hosts ~/.ssh/known_hosts2"
    files += " " + (found.get("globalknownhostsfile") or "/etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2")
    timeout = found.get("connecttimeout") or ""
    return Endpoint(
        text=target.text,
        hostname=hostname,
        port=target.port or options.port or int(found.get("port") or 22),
        user=target.user or options.user or found.get("user") or getpass.getuser(),
        identities=identities,
        identities_only=only,
        agent=str(Path(agent).expanduser()) if agent else None,
        key_name=(found.get("hostkeyalias") or hostname).lower(),
        known_hosts=tuple(Path(name).expanduser() for name in shlex.split(files) if name.lower() != "none"),
        timeout=float(timeout) if timeout.isdigit() and int(timeout) else options.connect_timeout,
    )


def _lookup(config: SSHConfig | None, name: str) -> dict[str, str] | SSHConfigDict:
    return {} if config is None else config.lookup(name)


def _unfold(path: Path, base: Path, depth: int) -> str:
    """A configuration file's text; the SSH library does not know Include."""
    if depth > _INCLUDES:
        return ""
    try:
        text = path.read_text("utf-8", "replace")
    except OSError:
        return ""
    lines: list[str] = []
    scope = "Host *"
    for line in text.splitlines():
        word, _, rest = line.strip().replace("=", " ", 1).partition(" ")
        if word.lower() in ("host", "match"):
            scope = line
        if word.lower() != "include":
            lines.append(line)
            continue
        for pattern in shlex.split(rest, comments=True):
            full = Path(pattern).expanduser()
            where = full if full.is_absolute() else base / full
            for name in sorted(glob.glob(str(where))):  # noqa: PTH207 - an absolute pattern
                lines += [_unfold(Path(name), base, depth + 1), scope]
    return "\n".join(lines) + "\n"


def _everything(text: str, match: re.Match[str]) -> bool:
    line = text[match.start() : text.find("\n", match.end())]
    return line.split()[1:] == ["*"]
