"""MySQL from the operator's machine, through a forwarded socket, as the login that MLflow has."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from provisioner.secrets import Secret


def connector(path: Path, database: str, user: str, password: Secret, *, seconds: int = 5) -> Callable[[], Any]:
    """A factory of read-only DB-API connections; `path` is the Unix socket that is forwarded to the server's port."""

    def connect() -> Any:
        import pymysql

        # A socket that it is given is no secure transport for it, and to the server it is none: the password
        # of caching_sha2_password then goes under the server's key.
        connection = pymysql.connections.Connection(
            host="127.0.0.1",
            user=user,
            password=password.reveal(),
            database=database,
            charset="utf8mb4",
            connect_timeout=seconds,
            read_timeout=seconds,
            write_timeout=seconds,
            defer_connect=True,
            local_infile=False,
            init_command="SET SESSION TRANSACTION READ ONLY",
        )
        way = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            way.settimeout(seconds)
            way.connect(str(path))
            connection.connect(way)
        except BaseException:
            way.close()
            raise
        return connection

    return connect
