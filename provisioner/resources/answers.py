"""Health checks over HTTP as shell fragments: no curl on the host is needed, and no secret is in an argv."""

from __future__ import annotations

import base64
from dataclasses import dataclass

from provisioner.secrets import Secret

PYTHON = "/usr/bin/python3"

# One process that asks again by itself for 3 s: starting Python anew ten times a second would take
# a third of a core from the very server that is starting.
_PROGRAM = """
import socket, time
def ask(port, request, wanted):
    with socket.create_connection(("127.0.0.1", port), 2) as s:
        s.settimeout(5)
        s.sendall(request)
        reply = b""
        while (wanted not in reply or b"\\n" not in reply) and len(reply) < 65536:
            chunk = s.recv(4096)
            if not chunk:
                break
            reply += chunk
    words = reply.split(b"\\n")[0].split()
    if wanted not in reply or len(words) < 2 or not words[0].startswith(b"HTTP/") or not words[1].isdigit():
        return 0
    return int(words[1])
def all_well():
    for port, request, accepted, wanted in ASKED:
        try:
            status = ask(port, request, wanted)
        except OSError as error:
            print("port", port, error)
            return False
        if status not in accepted:
            print("port", port, "answers", status)
            return False
    return True
end = time.monotonic() + 3
while not all_well():
    if time.monotonic() > end:
        raise SystemExit(1)
    time.sleep(0.1)
"""


@dataclass(frozen=True)
class Ask:
    """One request to 127.0.0.1:`port` and the statuses that count as healthy."""

    port: int
    path: str
    host: str
    """The Host header."""
    accepted: tuple[int, ...] = (200,)
    method: str = "GET"
    body: str = ""
    user: str = ""
    password: Secret | None = None
    wanted: str = ""
    """What the reply must have in it."""

    def request(self) -> bytes:
        """The bytes to send; ValueError when a part could smuggle a header in."""
        head = [
            f"{self.method} {self.path} HTTP/1.1",
            f"Host: {self.host}",
            "Connection: close",
            f"Content-Length: {len(self.body.encode())}",
        ]
        if self.body:
            head.append("Content-Type: application/json")
        if self.password is not None:
            pair = f"{self.user}:{self.password.reveal()}".encode()
            head.append(f"Authorization: Basic {base64.b64encode(pair).decode()}")
        if any("\r" in line or "\n" in line for line in head):
            raise ValueError("a line break in a request's head")
        return ("\r\n".join(head) + "\r\n\r\n" + self.body).encode()


def answers(*asks: Ask, python: str = PYTHON) -> str:
    """sh that ends with 0 as soon as every request is answered as accepted, with 1 after 3 s without."""
    asked = [(a.port, a.request(), a.accepted, a.wanted.encode()) for a in asks]
    # A literal of bytes is one line of ASCII: nothing in it can end the here-document.
    return f"{python} -I -S - <<'end-of-answers'\nASKED = {asked!r}\n{_PROGRAM.strip()}\nend-of-answers"
