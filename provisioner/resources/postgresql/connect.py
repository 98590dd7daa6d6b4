"""PostgreSQL from the operator's machine, through a forwarded socket, as the role that MLflow has."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from provisioner.resources.postgresql.libpq import nothing_else
from provisioner.secrets import Secret


def connector(socket: Path, database: str, user: str, password: Secret, *, seconds: int = 5) -> Callable[[], Any]:
    """A factory of read-only DB-API connections; `socket` is the Unix socket that is forwarded to the server's port."""

    def connect() -> Any:
        import psycopg2

        named = {"host": str(socket.parent), "port": socket.name.rpartition(".")[2], "dbname": database, "user": user}
        wanted = {
            "connect_timeout": str(seconds),
            "options": f"-c statement_timeout={seconds}000 -c default_transaction_read_only=on",
        }
        return psycopg2.connect(**{**nothing_else(socket.parent), **named, **wanted, "password": password.reveal()})

    return connect
