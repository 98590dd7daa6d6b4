"""One SSH hop: handshake, host key, login. Gateways and the final host go the same way."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from provisioner.errors import ProvisionError
from provisioner.transport import early, failures, hostkeys, keystore
from provisioner.transport.auth import KeyLogin
from provisioner.transport.sshconfig import Endpoint
from provisioner.transport.target import bracketed
from provisioner.values import dataclass

if TYPE_CHECKING:
    from paramiko.client import SSHClient
    from paramiko.pkey import PKey
    from paramiko.transport import Transport

_KEEPALIVE = 10
# What the two ends agree on is the first of ours that the server has. AES-GCM needs no separate MAC
# and is one pass in the crypto library; the rest stays as the library orders it.
_CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com")


@dataclass
class HostKeyCheck:
    """What paramiko asks about a server's key (a missing host key policy: its own store stays empty)."""

    endpoint: Endpoint
    pin: str | None = None
    on_new: Callable[[str, str], None] | None = None
    fingerprint: str = ""
    new: bool = False

    def __post_init__(self) -> None:
        self._name = bracketed(self.endpoint.key_name, self.endpoint.port)
        store = keystore.store_path()
        self._store = str(store)
        files = (*self.endpoint.known_hosts, store)
        self._known = hostkeys.about((entry for path in files for entry in hostkeys.read(path)), self._name)

    def algorithms(self, offered: tuple[str, ...]) -> list[str]:
        return hostkeys.preferred(self._known, offered)

    def missing_host_key(self, client: SSHClient, hostname: str, key: PKey) -> None:
        blob = key.asbytes()
        self.fingerprint = hostkeys.fingerprint(blob)
        verdict = hostkeys.judge(self._known, blob)
        if verdict == "revoked":
            raise failures.key_revoked(self.endpoint, blob, self._known)
        if self.pin is not None:
            if self.fingerprint != self.pin:
                raise failures.pin_differs(self.endpoint, self.fingerprint, self.pin)
            return
        if verdict == "new":
            verdict = keystore.record(self._name, key.get_name(), blob)
            self.new = verdict == "new"
            if self.new and self.on_new is not None:
                self.on_new(self.endpoint.text, self.fingerprint)
        if verdict == "changed":
            raise failures.key_changed(self.endpoint, self._name, blob, self._known, self._store)


def open_hop(
    endpoint: Endpoint,
    sock: Any,
    *,
    pin: str | None,
    on_prompt: Callable[[str], Any] | None,
    on_new_key: Callable[[str, str], None] | None,
    named: bool,
) -> tuple[Any, HostKeyCheck]:
    """A logged-in fabric Connection over `sock` (a socket, or a gateway's channel), and its key check."""
    check = HostKeyCheck(endpoint, pin, on_new_key)
    # Fabric is imported while the server computes its side of the key exchange.
    transport = early.start(sock, lambda transport: _prefer(transport, check), max(endpoint.timeout, 15.0))
    Config, Connection = early.fabric()
    from paramiko.config import SSHConfig
    from paramiko.ssh_exception import SSHException

    connection = Connection(
        endpoint.hostname,
        user=endpoint.user,
        port=endpoint.port,
        # Lazy and with an empty ssh_config: nothing is read from nine places, all is decided already.
        config=Config(lazy=True, ssh_config=SSHConfig()),
        connect_kwargs={
            "sock": sock,
            "transport_factory": lambda *_, **__: transport,
            "auth_strategy": KeyLogin(endpoint, on_prompt, named),
            "banner_timeout": max(endpoint.timeout, 15.0),
            "auth_timeout": 30.0,
            # Key exchange; paramiko would wait for ever.
            "timeout": max(endpoint.timeout, 15.0),
        },
    )
    connection.client.set_missing_host_key_policy(check)
    try:
        connection.open()
    except ProvisionError:
        hang_up(connection)
        raise
    except (SSHException, EOFError, OSError) as error:
        hang_up(connection)
        raise failures.dropped(endpoint, error) from error
    connection.transport.set_keepalive(_KEEPALIVE)
    return connection, check


def hang_up(connection: Any) -> None:
    """Close without paramiko's wait of up to 0.1 s: its reading thread sleeps in recv until then."""
    transport = connection.client.get_transport()
    if transport is not None and isinstance(transport.sock, socket.socket):
        with suppress(OSError):
            transport.sock.shutdown(socket.SHUT_RDWR)
    connection.client.close()


def _prefer(transport: Transport, check: HostKeyCheck) -> None:
    wanted = transport.get_security_options()
    wanted.ciphers = [name for name in _CIPHERS if name in wanted.ciphers] + [
        name for name in wanted.ciphers if name not in _CIPHERS and "cbc" not in name
    ]
    wanted.key_types = check.algorithms(tuple(wanted.key_types))
