"""Asking servers that want a certificate of the stack's root, as shell fragments: with this host's own, and theirs
verified. Root only: the key is root's."""

from __future__ import annotations

from provisioner.resources.answers import PYTHON, Ask
from provisioner.values import dataclass

_PROGRAM = """
import socket, ssl, time
context = ssl.create_default_context(cafile=ROOT)
context.load_cert_chain(IDENTITY)
def ask(host, port, request, accepted, wanted, name):
    with context.wrap_socket(socket.create_connection((host, port), 2), server_hostname=name) as s:
        s.settimeout(5)
        s.sendall(request)
        reply = b""
        while (wanted not in reply or b"\\n" not in reply) and len(reply) < 65536:
            chunk = s.recv(4096)
            if not chunk:
                break
            reply += chunk
    words = reply.split(b"\\n")[0].split()
    if wanted not in reply or len(words) < 2 or not words[1].isdigit() or int(words[1]) not in accepted:
        raise ValueError("answers " + repr(b" ".join(words[1:2])))
def all_well():
    for host, port, *rest in ASKED:
        try:
            ask(host, port, *rest)
        except (OSError, ValueError) as error:
            print(host, "port", port, error)
            return False
    return True
end = time.monotonic() + 3
while not all_well():
    if time.monotonic() > end:
        raise SystemExit(1)
    time.sleep(0.1)
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
    asked = [(host, a.port, a.request(), a.accepted, a.wanted.encode(), peer.name) for host, a in asks]
    values = f"ASKED, ROOT, IDENTITY = {asked!r}, {peer.root!r}, {peer.identity!r}"
    # A literal of bytes is one line of ASCII: nothing in it can end the here-document.
    return f"{python} -I - <<'end-of-answers'\n{values}\n{_PROGRAM.strip()}\nend-of-answers"
