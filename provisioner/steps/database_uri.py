"""The database's address, as MLflow takes it."""

from __future__ import annotations

import ipaddress
import urllib.parse

from provisioner.database_url import DatabaseUrl
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


def external(url: DatabaseUrl, settings: Settings, name: str, password: Secret, roots: str) -> str:
    """Database `name` at the addresses of `url`, which libpq tries in their order. SQLAlchemy and libpq both take
    them as lists in the query only (`@a:5432,b:5432` is none to SQLAlchemy). `roots`: a file; empty for none."""
    quote = urllib.parse.quote
    login = f"{quote(settings.database.user, safe='')}:{quote(password.reveal(), safe='')}"
    query = {
        "host": ",".join(host for host, _ in url.hosts),
        "port": ",".join(str(port) for _, port in url.hosts),
        "sslmode": url.sslmode,
        **({"sslrootcert": roots} if roots else {}),
        **({"target_session_attrs": url.session} if url.session != "any" else {}),
        # A server that is gone without a word is given up after so many seconds, and the next one asked.
        "connect_timeout": "5",
        "tcp_user_timeout": "10000",
    }
    shown = "&".join(f"{key}={quote(value, safe=',:')}" for key, value in query.items())
    return f"postgresql+psycopg2://{login}@/{quote(name, safe='')}?{shown}"


def bracketed(host: str) -> str:
    """As an address has it: IPv6 in brackets."""
    try:
        return f"[{host}]" if ipaddress.ip_address(host).version == 6 else host
    except ValueError:
        return host
