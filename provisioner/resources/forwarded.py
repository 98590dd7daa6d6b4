"""HTTP to a port of a host, through the Unix socket of this machine that leads there."""

from __future__ import annotations

import http.client
import socket
from pathlib import Path


class Connection(http.client.HTTPConnection):
    """`way`: the socket; `authority`: what the server is to believe it was called; `timeout`: seconds of silence."""

    def __init__(self, way: Path, authority: str, timeout: float):
        super().__init__(authority, timeout=timeout)
        self._way = way

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._way))
