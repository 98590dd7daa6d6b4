"""An SSH server that lets everybody in and then does what the test wants: nothing that it sends is meant well."""

from __future__ import annotations

import io
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import paramiko
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

Behaviour = Callable[[paramiko.Channel, bytes], None]
"""Gets the exec channel, without the first byte of its input, and its command."""


class _Server(paramiko.ServerInterface):
    def __init__(self, behave: Behaviour) -> None:
        self._behave = behave

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        return paramiko.AUTH_SUCCESSFUL

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return paramiko.OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        def run() -> None:
            with suppress(Exception):
                # It talks only once it knows that the command runs: an answer that overtakes that is lost.
                channel.recv(1)
                self._behave(channel, command)
            with suppress(Exception):
                channel.close()

        threading.Thread(target=run, daemon=True).start()
        return True


def key(kind: str) -> paramiko.PKey:
    private: Any = (
        ed25519.Ed25519PrivateKey.generate() if kind == "ed25519" else ec.generate_private_key(ec.SECP256R1())
    )
    text = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    ).decode()
    loader: Any = paramiko.Ed25519Key if kind == "ed25519" else paramiko.ECDSAKey
    made: paramiko.PKey = loader.from_private_key(io.StringIO(text))
    return made


def client_key(folder: Path) -> Path:
    path = folder / "id"
    private = ed25519.Ed25519PrivateKey.generate()
    path.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
        )
    )
    path.chmod(0o600)
    return path


@contextmanager
def sshd(
    behave: Behaviour,
    host_key: paramiko.PKey,
    *,
    port: int = 0,
    banner: str = "",
    prepare: Callable[[Any], None] | None = None,
) -> Iterator[int]:
    """Listens on 127.0.0.1; gives the port. `prepare` sees each transport before it starts."""
    logging.getLogger("paramiko").setLevel(logging.CRITICAL + 1)
    listener = socket.create_server(("127.0.0.1", port))
    transports: list[paramiko.Transport] = []

    def serve() -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            transport = paramiko.Transport(sock)
            transport.add_server_key(host_key)
            if banner:
                transport.local_version = "SSH-2.0-" + banner
            if prepare is not None:
                prepare(transport)
            transports.append(transport)
            with suppress(Exception):
                transport.start_server(event=threading.Event(), server=_Server(behave))

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for transport in transports:
            transport.close()
