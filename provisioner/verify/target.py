"""What is verified: one MLflow URL, the login, and the way there."""

from __future__ import annotations

import ipaddress
import socket
from base64 import b64encode
from collections.abc import Callable
from urllib.parse import urlsplit

from provisioner.secrets import Secret
from provisioner.values import dataclass

Connect = Callable[[str, int, float], socket.socket]
"""`connect(host, port, timeout)`: a connected stream socket; raises OSError."""


@dataclass(frozen=True)
class Origin:
    """Scheme, host and port of a URL; `str` is what a browser sends as Origin."""

    scheme: str
    host: str
    """Without brackets, lower case, IDNA-encoded."""
    port: int

    @property
    def netloc(self) -> str:
        """The Host header: the port only when it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def loopback(self) -> bool:
        """True when every machine takes this host for itself."""
        if self.host == "localhost" or self.host.endswith(".localhost"):
            return True
        try:
            address = ipaddress.ip_address(self.host)
        except ValueError:
            return False
        return address.is_loopback or address.is_unspecified

    def __str__(self) -> str:
        return f"{self.scheme}://{self.netloc}"


_PORTS = {"http": 80, "https": 443}


def origin_of(url: str) -> Origin:
    """The origin of an http(s) URL; ValueError says what is wrong with it."""
    if any(ord(c) <= 32 or ord(c) == 127 for c in url):
        raise ValueError("it contains a space or a control character")
    parts = urlsplit(url)
    if parts.scheme.lower() not in _PORTS:
        raise ValueError("it does not begin with http:// or https://")
    host = parts.hostname or ""
    if not host or len(host) > 253:
        raise ValueError("it names no host")
    try:
        host = host if host.isascii() else host.encode("idna").decode("ascii")
    except UnicodeError:
        raise ValueError("its host is not a name") from None
    scheme = parts.scheme.lower()
    return Origin(scheme, host, _PORTS[scheme] if parts.port is None else parts.port)


@dataclass(frozen=True)
class DirectStore:
    """The store as clients see it that go there themselves, with a key of their own."""

    endpoint: str
    access_key: str
    secret_key: Secret
    region: str = "us-east-1"
    virtual: bool = False
    """The bucket is in the host's name."""


@dataclass(frozen=True)
class Target:
    """An MLflow server as one client sees it.

    `connect` carries the connections to the URL's own host and port, and to `exposed` (an SSH forward, say),
    while the Host header stays; other origins, which MLflow may hand out, are always reached directly.
    `repair` holds the arguments that select this stack (`--host 10.151.0.1`, or nothing with an
    inventory); None means a server of somebody else's, whose owner has no `provision` command.
    """

    url: str
    username: str = ""
    password: Secret | None = None
    token: Secret | None = None
    ca_file: str | None = None
    ca: str | None = None
    """PEM of the only roots that are trusted; None: those of `ca_file`, else the system's."""
    bundle: str | None = None
    """The roots by which MLflow's client judges a signed download address; None: the same as the URL's."""
    client_cert: str | None = None
    insecure: bool = False
    connect: Connect | None = None
    repair: str | None = None
    direct: DirectStore | None = None
    """Where clients keep artifacts themselves; None: MLflow does, or it is not known."""
    exposed: DirectStore | None = None
    """The stack's store on a port of its own, with the clients' key."""
    tracks: bool = True
    """It has experiments and runs; else it only passes artifacts on."""
    outside: bool = False
    """The stack's database is somebody else's: no step repairs it."""

    @property
    def origin(self) -> Origin:
        return origin_of(self.url)

    @property
    def prefix(self) -> str:
        """The URL's path without a slash at its end; empty for a server at the root."""
        return urlsplit(self.url).path.rstrip("/")

    @property
    def vantage(self) -> str:
        """`direct`, or `ssh` when the connections are carried by something else."""
        return "direct" if self.connect is None else "ssh"

    @property
    def has_login(self) -> bool:
        return bool(self.username and self.password) or self.token is not None

    def authorization(self) -> str | None:
        """The Authorization header, by MLflow's client's own rules (name and password before a token)."""
        if self.username and self.password:
            pair = f"{self.username}:{self.password.reveal()}".encode()
            return "Basic " + b64encode(pair).decode("ascii")
        return f"Bearer {self.token.reveal()}" if self.token is not None else None
