"""SSH by Fabric: one connection to one host, everything over its channels."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from provisioner.errors import ProvisionError, Unreachable
from provisioner.secrets import Secret
from provisioner.transport import failures, forward, sudo, upload
from provisioner.transport.base import Held, Result
from provisioner.transport.channels import Channels
from provisioner.transport.dial import dial
from provisioner.transport.exchange import Silence, exchange
from provisioner.transport.held import ChannelHeld
from provisioner.transport.hop import HostKeyCheck, hang_up, open_hop
from provisioner.transport.sshconfig import ConnectOptions, Endpoint, config_text, decides, resolve
from provisioner.transport.sudo import Way
from provisioner.transport.target import Target, bracketed

__all__ = ["ConnectOptions", "FabricSession", "connect"]


def connect(target: Target, options: ConnectOptions | None = None) -> FabricSession:
    """One authenticated connection; raises Unreachable (exit 3) or UsageError (64).

    The TCP connection is opened first and the SSH library imported while the server forks and says
    hello: on one machine that hides most of the import.
    """
    options = options or ConnectOptions()
    text = config_text()
    endpoint = resolve(target, options, _parsed(text) if decides(text) else None)
    hops = (*endpoint.jumps, endpoint)
    opened: list[tuple[Any, HostKeyCheck]] = []
    try:
        for position, hop in enumerate(hops):
            last = position == len(hops) - 1
            sock = _through(opened[-1][0], hops[position - 1], hop) if opened else _first(hop)
            opened.append(
                open_hop(
                    hop,
                    sock,
                    pin=options.pin if last else None,
                    on_prompt=options.on_prompt,
                    on_new_key=options.on_new_key,
                    named=options.identity is not None,
                )
            )
    except BaseException:
        for connection, _ in reversed(opened):
            hang_up(connection)
        raise
    return FabricSession(endpoint, [connection for connection, _ in opened], opened[-1][1], options)


def recorded_names(target: Target, options: ConnectOptions | None = None) -> list[str]:
    """The names under which this target's key is recorded, gateways not included."""
    text = config_text()
    endpoint = resolve(target, options or ConnectOptions(), _parsed(text) if decides(text) else None)
    return [bracketed(endpoint.key_name, endpoint.port)]


class FabricSession:
    """A `Session` over Fabric; see there. Safe for several threads: a channel belongs to one call."""

    def __init__(
        self, endpoint: Endpoint, connections: list[Any], check: HostKeyCheck, options: ConnectOptions
    ) -> None:
        self.host = endpoint.text
        self.user = endpoint.user
        self.connections = 1
        self.fingerprint = check.fingerprint
        self.new_host_key = check.new
        self.jumped = len(connections) > 1 or endpoint.proxy_command is not None
        self.connection = connections[-1]
        """The fabric Connection, for whoever needs more than a Session."""
        self.address = _address(self.connection, endpoint)
        self._hops = connections
        self._channels = Channels(self.connection, endpoint.text)
        self._password: Secret | None = options.password
        self._way = _way(endpoint.user, options)
        self._refusal: Unreachable | None = None
        self._asking = threading.Lock()

    @property
    def channels(self) -> int:
        return self._channels.opened

    @property
    def alive(self) -> bool:
        return self._channels.alive

    def run(
        self,
        script: bytes,
        *,
        privileged: bool = True,
        on_output: Callable[[bytes], None] | None = None,
        timeout: float = 60.0,
        limit: int = 64 * 2**20,
    ) -> Result:
        way = self._way if privileged else Way.LOGIN
        self._not_again(way)
        with self._channels.running(sudo.run_command(way)) as channel:
            try:
                got = exchange(
                    channel,
                    self._first_line(way) + sudo.wrapped(script),
                    host=self.host,
                    on_output=on_output,
                    timeout=timeout,
                    limit=limit,
                )
            except Silence as error:
                silent = failures.went_silent if error.ready else failures.shell_silent
                raise silent(self.host, timeout) from error
            if got.status is None and not self._channels.alive:
                raise failures.link_lost(self.host)
        if not got.ready:
            raise self._refused(way, got.stderr or got.stdout)
        return Result(got.stdout, got.stderr, got.status)

    def put(self, source: Path | bytes, *, sha256: str, on_progress: Callable[[int, int], None] | None = None) -> str:
        with self._channels.running(upload.command(sha256)) as channel:
            return upload.put(channel, source, sha256, self.host, on_progress)

    def hold(self, script: bytes) -> Held:
        way = self._way
        self._not_again(way)
        payload = sudo.held(script)
        channel = self._channels.start(sudo.hold_command(way, len(payload)))
        held = ChannelHeld(channel, self._channels, lambda said: self._refused(way, said))
        try:
            held.begin(self._first_line(way) + payload)
        except BaseException:
            held.release()
            raise
        return held

    def forward(self, port: int, host: str = "127.0.0.1") -> AbstractContextManager[Path]:
        return forward.forwarded(forward.Tunnel(self.connection.transport, self._channels, host, port), port)

    def forwards(self, port: int) -> bool:
        return forward.permitted(self.connection.transport, port)

    def close(self) -> None:
        for connection in reversed(self._hops):
            hang_up(connection)

    def _first_line(self, way: Way) -> bytes:
        if way is not Way.PASSWORD or self._password is None:
            return b""
        return self._password.reveal().encode() + b"\n"

    def _not_again(self, way: Way) -> None:
        """A refused sudo is not asked a second time: accounts get locked that way."""
        if way is not Way.LOGIN and self._refusal is not None:
            raise self._refusal

    def _refused(self, way: Way, said: bytes) -> ProvisionError:
        if way in (Way.LOGIN, Way.ROOT):
            return failures.not_a_shell(self.host, said)
        refusal = failures.not_root(self.host, self.user, said, password=way is Way.PASSWORD)
        with self._asking:
            self._refusal = self._refusal or refusal
        return refusal


def _way(user: str, options: ConnectOptions) -> Way:
    if user == "root":
        return Way.ROOT
    if options.sudo == "none":
        return Way.NONE
    return Way.SUDO if options.password is None else Way.PASSWORD


def _parsed(text: str) -> Any:
    from paramiko.config import SSHConfig
    from paramiko.ssh_exception import ConfigParseError

    try:
        return SSHConfig.from_text(text)
    except ConfigParseError as error:
        raise ProvisionError("~/.ssh/config cannot be read", why=str(error), exit=Unreachable.exit) from error


def _first(hop: Endpoint) -> Any:
    if hop.proxy_command is None:
        return dial(hop)
    from paramiko.proxy import ProxyCommand

    try:
        return ProxyCommand(hop.proxy_command)
    except (OSError, ValueError) as error:
        raise failures.no_proxy_command(hop, hop.proxy_command, error) from error


def _through(connection: Any, gateway: Endpoint, hop: Endpoint) -> Any:
    from paramiko.ssh_exception import SSHException

    try:
        return connection.transport.open_channel(
            "direct-tcpip", (hop.hostname, hop.port), ("", 0), timeout=max(hop.timeout, 15.0)
        )
    except (SSHException, EOFError, OSError) as error:
        raise failures.gateway_refuses(gateway, hop, error) from error


def _address(connection: Any, endpoint: Endpoint) -> str:
    """The number that was dialled; behind a gateway the name is resolved there, so it stays a name."""
    if endpoint.jumps or endpoint.proxy_command is not None:
        return endpoint.hostname
    return str(connection.transport.getpeername()[0])
