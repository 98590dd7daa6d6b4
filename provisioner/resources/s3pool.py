"""urllib3 over a Unix socket, for minio-py. Imported only when something is changed."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

from urllib3 import HTTPConnectionPool, PoolManager, Retry, Timeout
from urllib3.connection import HTTPConnection


def pool(way: Path, timeout: float) -> PoolManager:
    """A pool whose every connection goes through the socket at `way`; `timeout` in seconds, one retry."""

    class Connection(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            near = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            near.settimeout(timeout)
            near.connect(str(way))
            return near

    class Pool(HTTPConnectionPool):
        ConnectionCls: Any = Connection

    manager = PoolManager(timeout=Timeout(timeout), retries=Retry(1, backoff_factor=0.2))
    manager.pool_classes_by_scheme = {"http": Pool, "https": Pool}
    return manager
