"""Signed requests to an S3 store on a host's loopback, through the SSH connection.

Looks use this and not minio-py: importing that takes 0.4 s, more than everything else that a run with
nothing to change does. Writes go through minio-py (`admin`), which is imported when something differs.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import http.client
import re
import threading
import time
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from provisioner.errors import ProvisionError
from provisioner.resources.forwarded import Connection
from provisioner.secrets import Secret
from provisioner.transport.base import Session
from provisioner.values import dataclass

if TYPE_CHECKING:
    import ssl

REGION = "us-east-1"
TIMEOUT = 10.0
"""Seconds without an answer."""
WAIT = 15.0
"""Seconds for which a port that refuses is asked again: a service can be active and not listen yet."""
BODY_LIMIT = 2 * 2**20


@dataclass(frozen=True)
class Key:
    """An access key and its secret."""

    access: Secret
    secret: Secret


@dataclass(frozen=True)
class Answer:
    """A store's reply: status and body."""

    status: int
    body: bytes

    @property
    def code(self) -> str:
        """`NoSuchBucket`, `XMinioAdminNoSuchUser` …: from S3's XML or the admin API's JSON; may be empty."""
        found = re.search(rb'(?:<Code>|"Code":\s*")([A-Za-z0-9]{1,64})', self.body[:8192])
        return found[1].decode() if found else ""


class Unanswered(ProvisionError):
    """The store's port does not answer with HTTP."""


class Store:
    """The way to one store: one forward for each session, held until the session is gone."""

    def __init__(self, root: Key, port: int, unit: str, trust: str | None = None):
        """`trust`: PEM of the only root that its certificate may lead to; None: without TLS."""
        self.root = root
        self.trust = trust
        self.port = port
        self.unit = unit
        self._ways: weakref.WeakKeyDictionary[Session, Path] = weakref.WeakKeyDictionary()
        self._idle: dict[Path, list[Connection]] = {}
        self._lock = threading.Lock()

    @property
    def authority(self) -> str:
        """As it is on the host, where the forward ends: its certificate is for that too."""
        return f"127.0.0.1:{self.port}"

    def way(self, session: Session) -> Path:
        """The Unix socket that leads to the store."""
        with self._lock:
            path = self._ways.get(session)
            if path is None:
                stack = contextlib.ExitStack()
                path = stack.enter_context(session.forward(self.port))
                self._ways[session] = path
                weakref.finalize(session, stack.close)
            return path

    def request(
        self,
        session: Session,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        key: Key | None = None,
        timeout: float = TIMEOUT,
    ) -> Answer:
        """One signed request without a body, as `key` (the administrator's by default); `timeout`: seconds of
        silence. Raises Unanswered."""
        way = self.way(session)
        target, headers = signed(key or self.root, method, self.authority, path, query or {})
        deadline = time.monotonic() + WAIT
        while True:
            with self._lock:
                idle = self._idle.setdefault(way, [])
                connection = idle.pop() if idle else None
            fresh = connection is None
            connection = connection or Connection(way, self.authority, timeout, self._context())
            connection.timeout = timeout
            try:
                if connection.sock is not None:
                    connection.sock.settimeout(timeout)
                connection.request(method, target, headers=headers)
                response = connection.getresponse()
                body = response.read(BODY_LIMIT)
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                if not fresh:  # a kept connection whose server was restarted meanwhile
                    continue
                if not isinstance(error, TimeoutError) and time.monotonic() < deadline:
                    time.sleep(0.3)
                    continue
                raise Unanswered(
                    f"the store on port {self.port} does not answer",
                    why=str(error) or type(error).__name__,
                    next=f"on the server: journalctl -u {self.unit} -n 50",
                ) from error
            if response.isclosed() and not response.will_close:
                with self._lock:
                    self._idle[way].append(connection)
            else:
                connection.close()
            return Answer(response.status, body)

    def admin(self, session: Session) -> Any:
        """minio-py's MinioAdmin as the administrator, over the same way."""
        from minio import MinioAdmin
        from minio.credentials.providers import StaticProvider

        provider = StaticProvider(self.root.access.reveal(), self.root.secret.reveal())
        return MinioAdmin(
            endpoint=self.authority,
            credentials=provider,
            secure=self.trust is not None,
            http_client=self._pool(session),
            region=REGION,
        )

    def client(self, session: Session) -> Any:
        """minio-py's Minio as the administrator, over the same way."""
        from minio import Minio

        return Minio(
            self.authority,
            access_key=self.root.access.reveal(),
            secret_key=self.root.secret.reveal(),
            secure=self.trust is not None,
            region=REGION,
            http_client=self._pool(session),
        )

    def _pool(self, session: Session) -> Any:
        from provisioner.resources.s3pool import pool

        return pool(self.way(session), TIMEOUT, self._context())

    def _context(self) -> ssl.SSLContext | None:
        if self.trust is None:
            return None
        import ssl

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if self.trust:  # a root that is not there trusts nobody
            context.load_verify_locations(cadata=self.trust)
        return context


def signed(
    key: Key, method: str, authority: str, path: str, query: Mapping[str, str], now: float | None = None
) -> tuple[str, dict[str, str]]:
    """The request target and headers of AWS Signature Version 4, for a request without a body.

    Source: AWS General Reference, "Create a signed AWS API request".
    """
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    path = quote(path, safe="/-_.~")
    canonical = urlencode(sorted(query.items()), quote_via=quote)
    empty = hashlib.sha256(b"").hexdigest()
    headers = {"host": authority, "x-amz-content-sha256": empty, "x-amz-date": stamp}
    names = ";".join(headers)
    lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
    request = f"{method}\n{path}\n{canonical}\n{lines}\n{names}\n{empty}"
    scope = f"{stamp[:8]}/{REGION}/s3/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    digest = b"AWS4" + key.secret.reveal().encode()
    for part in (stamp[:8], REGION, "s3", "aws4_request", text):
        digest = hmac.new(digest, part.encode(), hashlib.sha256).digest()
    headers["Authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={key.access.reveal()}/{scope}, SignedHeaders={names}, Signature={digest.hex()}"
    )
    return (f"{path}?{canonical}" if canonical else path), headers
