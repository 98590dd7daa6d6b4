"""A stack under attack: the way in by which the bytes come, and what may have come of them behind nginx."""

from __future__ import annotations

import base64
import http.client
import re
import socket
import ssl
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from . import attacks, ear
from .attacks import BUCKET, Attack
from .conftest import Stack

REFUSED = {400, 401, 403, 404, 405, 408, 411, 412, 413, 414, 416, 417, 421, 422, 431, 494, 500, 501, 505}
MOST = 2_000_000
"""Bytes of an answer that are read."""
ATTACKER = "10.151.0.254"
"""This machine, as the hosts see it."""
SMUGGLED = "smuggled"
"""In every path that stands inside of another request (tests/host/smuggling.py)."""


@dataclass(frozen=True)
class Answered:
    attack: Attack
    data: bytes

    @property
    def statuses(self) -> list[int]:
        return [int(code) for code in re.findall(rb"HTTP/1\.[01] ([0-9]{3})", self.data)]

    @property
    def refused(self) -> bool:
        """With one clear answer."""
        return len(self.statuses) == 1 and self.statuses[0] in {400, 401, 403, 404, 405}

    @property
    def server_s(self) -> bool:
        """From MLflow or the store, with what was asked for."""
        return b"HTTP/1.1 20" in self.data and b"x-amz-request-id" in self.data.lower()


@dataclass(frozen=True)
class Front:
    """The way into a stack."""

    stack: Stack
    auth: str
    """Who asks for the login: nginx ("password") or MLflow ("mlflow")."""
    tls: bool
    thin: int = 1
    """Of long tables every how many-th attack is made (7 shares no rhythm with them): where MLflow asks, each costs
    it a look."""

    @property
    def scheme(self) -> str:
        return "https" if self.tls else "http"

    @property
    def port(self) -> int:
        return 443 if self.tls else 5000

    @property
    def authority(self) -> str:
        """As clients write it into Host."""
        return self.stack.address if self.tls else f"{self.stack.address}:{self.port}"

    @property
    def login(self) -> str:
        return "Basic " + base64.b64encode(f"mlflow:{self.stack.secret('login')}".encode()).decode()

    def _trusting(self) -> ssl.SSLContext:
        """Whose certificate it is is not what is tried here."""
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context

    def connect(self) -> socket.socket:
        plain = socket.create_connection((self.stack.address, self.port), 10)
        return self._trusting().wrap_socket(plain) if self.tls else plain

    def connection(self) -> http.client.HTTPConnection:
        if self.tls:
            return http.client.HTTPSConnection(self.stack.address, self.port, timeout=20, context=self._trusting())
        return http.client.HTTPConnection(self.stack.address, self.port, timeout=20)

    def send(self, attack: Attack) -> Answered:
        """The attack on a connection of its own; reads what comes until the end or until nothing more comes."""
        data = attack.data.replace(b"{auth}", f"Authorization: {self.login}".encode())
        data = data.replace(b"{host}", self.authority.encode()).replace(b"{scheme}", self.scheme.encode())
        got = b""
        with self.connect() as sock:
            sock.settimeout(attack.wait)
            try:
                sock.sendall(data)
                while len(got) < MOST and (piece := sock.recv(65536)):
                    got += piece
            except OSError:  # closed on us, or nothing more came
                pass
        return Answered(attack, got)

    def send_all(self, table: Iterable[Attack]) -> list[Answered]:
        with ThreadPoolExecutor(24) as pool:
            return list(pool.map(self.send, table))

    def some(self, table: Iterable[Attack]) -> list[Attack]:
        return list(table)[:: self.thin]

    def judged(self) -> tuple[list[ear.Head], list[ear.Head]]:
        """What MLflow and what the store got; every request of it judged."""
        heads = ear.heard(self.stack.host, BUCKET, lambda path: self.send(Attack(path, attacks.request("GET", path))))
        to_mlflow = [head for head in heads if head.port == ear.MLFLOW]
        to_store = [head for head in heads if head.port == ear.STORE]
        assert [head for head in to_store if not self._of_the_bucket(head)] == []
        assert [head for head in to_mlflow if not self._fit_for_mlflow(head)] == []
        assert [head for head in to_store if SMUGGLED in head.target] == []
        self._assert_seen_by_nginx([head for head in to_mlflow if SMUGGLED in head.target])
        return to_mlflow, to_store

    def _assert_seen_by_nginx(self, heads: list[ear.Head]) -> None:
        """Where MLflow asks for the login, nginx passes on a second request of one connection that it told apart as
        such: it is in its log then. Where nginx asks, it has no login and ends there."""
        if self.auth == "password":
            assert heads == []
        end = time.monotonic() + 60
        log = f"grep -c /{SMUGGLED} /var/log/nginx/provision-mlflow.access.log || :"
        while int(self.stack.on(log)) < len(heads):
            assert time.monotonic() < end, heads
            time.sleep(0.5)

    def _of_the_bucket(self, head: ear.Head) -> bool:
        parts = re.split(r"[/\\]", head.path)
        return (
            re.match(rf"/{BUCKET}(/|\?|$)", head.target) is not None
            and not {".", ".."}.intersection(part.partition(";")[0] for part in parts)
            and head.method in {"GET", "HEAD", "PUT", "POST", "DELETE"}
            and head.all("host") == [self.authority]
            and not any(value.startswith("Basic") for value in head.all("authorization"))
        )

    def _fit_for_mlflow(self, head: ear.Head) -> bool:
        path = re.sub("/+", "/", head.path).lower()
        by_itself = head.all("x-forwarded-for") == ["127.0.0.1"]
        """/health's look, which nginx makes with nothing of the client's."""
        return (
            re.match(r"/(ajax-)?api/[^/]+/mlflow/assistant(/|$)", path) is None
            and re.match(r"/metrics(/|$)", path) is None
            and not {".", ".."}.intersection(head.path.split("/"))
            and len(head.all("host")) == 1
            and (by_itself or head.all("x-forwarded-for") in ([ATTACKER], [self.stack.address]))
            and (by_itself or head.all("x-forwarded-for") == head.all("x-real-ip"))
            and (by_itself or head.all("x-forwarded-proto") == [self.scheme])
            and len(head.all("authorization")) <= (self.auth == "mlflow")
            and not any(head.all(name) for name in ("forwarded", "x-forwarded-host", "x-forwarded-prefix"))
            and not any(head.all(name) for name in ("upgrade", "expect", "x-forwarded-port"))
        )
