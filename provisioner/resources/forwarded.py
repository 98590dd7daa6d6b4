"""HTTP, with TLS or without, to a port of a host, through the Unix socket of this machine that leads there."""

from __future__ import annotations

import http.client
import socket
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl


class Connection(http.client.HTTPConnection):
    """`way`: the socket; `authority`: what the server is to believe it was called, and with TLS (`context`) what
    its certificate must say; `timeout`: seconds of silence."""

    def __init__(self, way: Path, authority: str, timeout: float, context: ssl.SSLContext | None = None):
        super().__init__(authority, timeout=timeout)
        self._way = way
        self._context = context

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._way))
        if self._context is not None:
            self.sock = self._context.wrap_socket(self.sock, server_hostname=self.host)
