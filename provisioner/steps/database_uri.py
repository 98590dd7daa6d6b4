"""The database's address, as MLflow takes it."""

from __future__ import annotations

import ipaddress
import urllib.parse

from provisioner.secrets import Secret
from provisioner.settings import Settings

CA = "/etc/mlflow/database-ca.crt"
"""The root that a server on another host is checked against."""


def uri(settings: Settings, name: str, password: Secret | None, host: str = "") -> str:
    """Database `name` on this host, or on `host`: there the server must show a certificate for that very name.

    The driver is named: without it SQLAlchemy 2.1 takes another than 2.0. Without `password` the driver takes
    PGPASSWORD.
    """
    user = urllib.parse.quote(settings.database.user, safe="")
    login = user if password is None else f"{user}:{urllib.parse.quote(password.reveal(), safe='')}"
    query = f"?sslmode=verify-full&sslrootcert={urllib.parse.quote(CA)}" if host else ""
    path = f"/{urllib.parse.quote(name, safe='')}"
    return f"postgresql+psycopg2://{login}@{bracketed(host or '127.0.0.1')}:5432{path}{query}"


def bracketed(host: str) -> str:
    """As an address has it: IPv6 in brackets."""
    try:
        return f"[{host}]" if ipaddress.ip_address(host).version == 6 else host
    except ValueError:
        return host
