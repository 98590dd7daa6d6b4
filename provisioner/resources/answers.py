"""Health checks over HTTP as shell fragments: no curl on the host is needed, and no secret is in an argv."""

from __future__ import annotations

import base64

from provisioner.secrets import Secret
from provisioner.values import dataclass

PYTHON = "/usr/bin/python3"

# One process that asks again by itself for 3 s: starting Python anew ten times a second would take
# a third of a core from the very server that is starting.
ASKING = """
def exchange(s, request, wanted):
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
    for place, accepted, *rest in ASKED:
        try:
            status = ask(*rest)
        except (OSError, ValueError) as error:
            print(place, error)
            return False
        if status not in accepted:
            print(place, "answers", status)
            return False
    return True
end = time.monotonic() + 3
while not all_well():
    if time.monotonic() > end:
        raise SystemExit(1)
    time.sleep(0.1)
""".strip()
"""Of a program that has `ASKED`, rows of a name, the statuses that are accepted and the arguments of its `ask`."""

_PROGRAM = f"""
import socket, time
def encrypted(plain, certificate):
    import ssl
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    plain.settimeout(5)
    s = context.wrap_socket(plain)
    end = "-----END CERTIFICATE-----"
    with open(certificate) as file:
        first = file.read().partition(end)[0].rpartition("-----BEGIN")[2]
    if s.getpeercert(True) != ssl.PEM_cert_to_DER_cert("-----BEGIN" + first + end):
        raise OSError("shows another certificate than today's")
    return s
def ask(port, request, wanted, certificate):
    with socket.create_connection(("127.0.0.1", port), 2) as plain:
        s = encrypted(plain, certificate) if certificate else plain
        status = exchange(s, request, wanted)
        s.close()
    return status
{ASKING}
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
    certificate: str = ""
    """With TLS: the PEM file on the host whose first certificate the server must show. Not verified against a
    root: whether clients trust it is for clients to say."""

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
    asked = [(f"port {a.port}", a.accepted, a.port, a.request(), a.wanted.encode(), a.certificate) for a in asks]
    # A literal of bytes is one line of ASCII: nothing in it can end the here-document.
    return f"{python} -I -S - <<'end-of-answers'\nASKED = {asked!r}\n{_PROGRAM.strip()}\nend-of-answers"
