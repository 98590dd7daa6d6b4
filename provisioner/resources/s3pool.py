"""urllib3 over a Unix socket, for minio-py. Imported only when something is changed."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path
from typing import Any

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager, Retry, Timeout
from urllib3.connection import HTTPConnection, HTTPSConnection


def pool(way: Path, timeout: float, context: ssl.SSLContext | None = None) -> PoolManager:
    """A pool whose every connection goes through the socket at `way`; `timeout` in seconds, one retry; `context`:
    with TLS."""

    def connected() -> socket.socket:
        near = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        near.settimeout(timeout)
        near.connect(str(way))
        return near

    class Connection(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return connected()

    class Encrypted(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            return connected()

    class Pool(HTTPConnectionPool):
        ConnectionCls: Any = Connection

    class EncryptedPool(HTTPSConnectionPool):
        ConnectionCls: Any = Encrypted

    tls: dict[str, Any] = {} if context is None else {"ssl_context": context}
    manager = PoolManager(timeout=Timeout(timeout), retries=Retry(1, backoff_factor=0.2), **tls)
    manager.pool_classes_by_scheme = {"http": Pool, "https": EncryptedPool}
    return manager
