"""The TCP connection below SSH: opened before the SSH library is imported, so that both overlap."""

from __future__ import annotations

import socket
import sys

from provisioner.errors import Unreachable
from provisioner.transport import failures
from provisioner.transport.sshconfig import Endpoint

# Linux gives up a connection whose data nobody acknowledges after this many ms. Keepalive alone did
# not notice a dropped link in 38 s; with this it is dead at 20 s.
_USER_TIMEOUT = 15000
_KEEPALIVE = {"TCP_KEEPIDLE": 10, "TCP_KEEPALIVE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}


def dial(endpoint: Endpoint) -> socket.socket:
    """A connected socket to the first address of `endpoint` that answers; raises Unreachable."""
    try:
        found = socket.getaddrinfo(endpoint.hostname, endpoint.port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        raise failures.name_unknown(endpoint, error if isinstance(error, OSError) else OSError()) from error
    last: Unreachable | None = None
    for family, kind, protocol, _, address in found:
        sock = socket.socket(family, kind, protocol)
        sock.settimeout(endpoint.timeout)
        try:
            sock.connect(address)
        except OSError as error:
            sock.close()
            # The first error speaks of the address that was meant; IPv6 without a route comes later.
            last = last or failures.not_connected(endpoint, error, endpoint.timeout)
            continue
        tune(sock)
        return sock
    raise last or failures.name_unknown(endpoint, OSError("no address"))


def tune(sock: socket.socket) -> None:
    """No delay for small packets, and a dead peer noticed within 20 s."""
    # Without it every exec waits for a delayed ACK: 45 ms instead of 2.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE.items():
        if hasattr(socket, name):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    if sys.platform == "linux":
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _USER_TIMEOUT)
