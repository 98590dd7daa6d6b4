"""Asking servers that want a certificate of the stack's root, as shell fragments: with this host's own, and theirs
verified. Root only: the key is root's."""

from __future__ import annotations

from provisioner.resources.answers import ASKING, PYTHON, Ask
from provisioner.values import dataclass

_PROGRAM = f"""
import socket, ssl, time
context = ssl.create_default_context(cafile=ROOT)
context.load_cert_chain(IDENTITY)
def ask(host, port, request, wanted, name):
    with context.wrap_socket(socket.create_connection((host, port), 2), server_hostname=name) as s:
        return exchange(s, request, wanted)
{ASKING}
"""


@dataclass(frozen=True)
class Peer:
    """By what two hosts of a stack know each other."""

    identity: str
    """PEM file of this host's key and certificates."""
    root: str
    """PEM file of the root that the other's certificate must lead to."""
    name: str
    """What the other's certificate must call it."""


def answers(peer: Peer, *asks: tuple[str, Ask], python: str = PYTHON) -> str:
    """sh that ends with 0 as soon as every request is answered as accepted, with 1 after 3 s without.

    `asks`: a host with what it is asked at the Ask's port.
    """
    asked = [
        (f"{host} port {a.port}", a.accepted, host, a.port, a.request(), a.wanted.encode(), peer.name)
        for host, a in asks
    ]
    values = f"ASKED, ROOT, IDENTITY = {asked!r}, {peer.root!r}, {peer.identity!r}"
    # A literal of bytes is one line of ASCII: nothing in it can end the here-document.
    return f"{python} -I - <<'end-of-answers'\n{values}\n{_PROGRAM.strip()}\nend-of-answers"
