"""The address of a PostgreSQL that is not this stack's own: `database.url`, read strictly and written one way.

libpq takes over forty parameters; here stand those of which it is known what they mean for MLflow. A password is
none of them: what stands in an inventory is recorded on the host in clear.
"""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import quote, unquote

from provisioner import addresses, checks
from provisioner.values import dataclass

PORT = 5432
MODES = ("disable", "require", "verify-ca", "verify-full")
"""libpq's `allow` and `prefer` go on without TLS when somebody in between says so."""
TARGETS = ("any", "read-write", "primary")
MOST = 4
"""Addresses: each may take CONNECT seconds before the next is tried."""
FORM = 'a PostgreSQL URL, like "postgresql://db1.example.com:5432,db2.example.com:5432/mlflow?sslmode=verify-full"'
_ELSEWHERE = {
    "password": "the password comes from [secrets], as database.password",
    "passfile": "the password comes from [secrets], as database.password",
    "sslrootcert": "that is database.ca, a file on this machine",
    "host": "addresses stand before the slash, separated by commas",
    "port": "a port stands behind its address",
    "user": "the user stands before the addresses: postgresql://USER@HOST/NAME",
    "dbname": "the name stands behind the slash",
    "sslcert": "a login by certificate comes with a later version",
    "sslkey": "a login by certificate comes with a later version",
}


@dataclass(frozen=True)
class DatabaseUrl:
    """A parsed `database.url`."""

    hosts: tuple[tuple[str, int], ...]
    """(name or address, port); tried in this order."""
    name: str = ""
    """Of the database; empty: database.name says it."""
    user: str = ""
    """Of the role; empty: database.user says it."""
    mode: str = ""
    """sslmode; empty where it was not said."""
    target: str = ""
    """target_session_attrs; empty where it was not said."""

    @property
    def sslmode(self) -> str:
        """The certificate is checked, and that it is that server's, unless something else was said."""
        return self.mode or "verify-full"

    @property
    def session(self) -> str:
        """Of several servers the one that can be written to is meant."""
        return self.target or ("read-write" if len(self.hosts) > 1 else "any")

    @property
    def loopback(self) -> bool:
        """What is sent does not leave the server."""
        return all(addresses.is_loopback(host) for host, _ in self.hosts)

    @property
    def shown(self) -> str:
        """`db1:5432, db2:5432`, for a reader."""
        return ", ".join(_authority(host, port) for host, port in self.hosts)

    def __str__(self) -> str:
        user = f"{quote(self.user, safe='')}@" if self.user else ""
        query = [("sslmode", self.mode), ("target_session_attrs", self.target)]
        shown = "&".join(f"{key}={value}" for key, value in query if value)
        path = f"/{quote(self.name, safe='')}" if self.name else ""
        authority = ",".join(_authority(host, port) for host, port in self.hosts)
        return f"postgresql://{user}{authority}{path}{f'?{shown}' if shown else ''}"


def parse(value: object) -> DatabaseUrl:
    """`value` read. Raises ValueError with the end of "expected ..."; it repeats no password."""
    raw = checks.text(value, FORM, 1500)
    match = re.fullmatch(r"(?:postgresql|postgres)://(?:([^@/?#]*)@)?([^@/?#]+)(?:/([^/?#]*))?(?:\?([^#]*))?", raw)
    if match is None:
        if re.match(r"(postgresql|postgres)://[^/?#]*@", raw) and ":" in raw.split("//", 1)[1].split("@", 1)[0]:
            raise ValueError(f"no password in the URL: {_ELSEWHERE['password']}")
        raise ValueError(FORM)
    login, authority, name, query = match.groups()
    if login is not None and ":" in login:
        raise ValueError(f"no password in the URL: {_ELSEWHERE['password']}")
    hosts = tuple(_host(each) for each in authority.split(","))
    if len(hosts) > MOST or len(set(hosts)) != len(hosts):
        raise ValueError(f"at most {MOST} different addresses")
    options = _options(query or "")
    return DatabaseUrl(
        hosts,
        checks.database_name(_plain(name)) if name else "",
        checks.role_name(_plain(login)) if login else "",
        options.get("sslmode", ""),
        options.get("target_session_attrs", ""),
    )


def normal(value: object) -> str:
    """`value` as it is recorded; the check of `database.url`."""
    return str(parse(value))


def _plain(text: str) -> str:
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise ValueError(FORM) from None


def _host(text: str) -> tuple[str, int]:
    host, port = addresses.split_port(text)
    if not host or host.startswith("/"):
        raise ValueError("a host's name or address between the commas")
    name = addresses.host_name(host)
    if _unspecified(name):
        raise ValueError("an address that names one server")
    return name, port or PORT


def _unspecified(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_unspecified
    except ValueError:
        return False


def _options(query: str) -> dict[str, str]:
    allowed = {"sslmode": MODES, "target_session_attrs": TARGETS}
    found: dict[str, str] = {}
    for part in filter(None, query.split("&")):
        key, _, text = part.partition("=")
        if key in _ELSEWHERE:
            raise ValueError(f"no {key} in the URL: {_ELSEWHERE[key]}")
        if key not in allowed:
            raise ValueError(f"a URL with no other parameters than {' and '.join(allowed)}")
        if key in found:
            raise ValueError(f"{key} once")
        if text not in allowed[key]:
            raise ValueError(f"{key}, one of {', '.join(allowed[key])}")
        found[key] = text
    return found


def _authority(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
