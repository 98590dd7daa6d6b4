"""TLS over any stream, for pumps that read in one thread and write in another."""

from __future__ import annotations

import ssl
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from provisioner.transport.forward import Stream

_CHUNK = 32 * 2**10


class TlsStream:
    """The client's side of TLS over `raw`. One thread may read while another one writes.

    A socket that ssl itself wraps does not allow that: reading and writing touch the same state. Here that
    state lives in memory under a lock, and nobody waits for the network while holding it.
    """

    def __init__(self, raw: Stream, context: ssl.SSLContext, name: str) -> None:
        self._raw = raw
        self._coming, self._going = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._ssl = context.wrap_bio(self._coming, self._going, server_hostname=name)
        self._state, self._sending = threading.Lock(), threading.Lock()
        while True:
            try:
                self._ssl.do_handshake()
                break
            except ssl.SSLWantReadError:
                self._drain()
                self._take()
        self._drain()

    def recv(self, size: int, /) -> bytes:
        while True:
            with self._state:
                try:
                    return self._ssl.read(size)
                except ssl.SSLWantReadError:
                    pass
                except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                    return b""
            # TLS answers some of what it reads. Never waiting here: who reads must not wait for who writes.
            if self._going.pending and self._sending.acquire(blocking=False):
                try:
                    self._drain()
                finally:
                    self._sending.release()
            self._take()

    def sendall(self, data: bytes, /) -> None:
        with self._sending:
            sent = 0
            while sent < len(data):
                with self._state:
                    sent += self._ssl.write(data[sent:])
            self._drain()

    def shutdown(self, how: int, /) -> None:
        """Nothing more is written: TLS has a word for that, the stream below stays open for the answer."""
        with self._sending:
            with self._state, suppress(ssl.SSLError):
                self._ssl.unwrap()
            self._drain()

    def close(self) -> None:
        self._raw.close()

    def _take(self) -> None:
        data = self._raw.recv(_CHUNK)
        with self._state:
            if data:
                self._coming.write(data)
            else:
                self._coming.write_eof()

    def _drain(self) -> None:
        with self._state:
            data = self._going.read()
        if data:
            self._raw.sendall(data)
