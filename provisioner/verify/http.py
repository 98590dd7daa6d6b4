"""A small HTTP/1.1 client: keep-alive, bounded in bytes and in time, nothing followed.

The standard library's http.client with the two things it lacks: a deadline for a whole exchange
(its timeout begins anew with every byte received) and a bound on the body.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import socket
import ssl
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Literal

from provisioner.values import dataclass
from provisioner.verify.deadline import Deadline, bounded
from provisioner.verify.target import Connect, Origin

Kind = Literal["resolve", "refused", "unreachable", "silent", "timeout", "tls", "closed", "garbage", "large"]
"""`silent`: not even a connection; `timeout`: a connection, and no answer on it in time."""

JSON_LIMIT = 4 * 2**20
"""Bytes of an ordinary answer; MLflow's own pages of results stay far below."""


class HttpError(Exception):
    """No usable answer. `kind` tells the reasons apart; the text is for people."""

    def __init__(self, kind: Kind, text: str):
        super().__init__(text)
        self.kind = kind


@dataclass(frozen=True)
class Response:
    """One answer; `headers` has lower-case names, the last of equal ones wins."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class _TimedReader(io.RawIOBase):
    """Reads of a socket that all end by one deadline, however slowly the bytes trickle."""

    def __init__(self, wire: _Wire):
        self._wire = wire

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        self._wire.sock.settimeout(self._wire.deadline.remaining)
        return self._wire.sock.recv_into(buffer)  # type: ignore[arg-type]

    def close(self) -> None:
        if not self.closed:
            self._wire.reader_closed()
        super().close()


class _Wire:
    """What http.client sees as its socket."""

    def __init__(self, sock: socket.socket, deadline: Deadline):
        self.sock = sock
        self.deadline = deadline
        self._held = b""
        self._readers = 0
        self._closed = False

    def sendall(self, data: bytes) -> None:
        # Head and small body leave together: apart, Nagle and a delayed ACK cost 40 ms a request.
        self._held += data
        if len(self._held) > 65536:
            self.flush()

    def flush(self) -> None:
        data, self._held = self._held, b""
        # sendall's timeout covers all of the data, unlike that of reads.
        self.sock.settimeout(self.deadline.remaining)
        self.sock.sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:
        self._readers += 1
        return io.BufferedReader(_TimedReader(self), 65536)

    def reader_closed(self) -> None:
        self._readers -= 1
        self.close_when_unused()

    def close(self) -> None:
        # http.client closes its socket before it has read the body of an answer that ends the
        # connection; a real socket counts its readers, and so does this.
        self._closed = True
        self.close_when_unused()

    def close_when_unused(self) -> None:
        if self._closed and self._readers <= 0:
            self.sock.close()


class _Line(http.client.HTTPConnection):
    """A connection over a socket that is already open."""

    def __init__(self, origin: Origin, wire: _Wire):
        super().__init__(origin.host, origin.port)
        self.wire = wire
        self.sock = wire

    def connect(self) -> None:
        raise ConnectionError("the connection was closed")


@dataclass
class Client:
    """HTTP to several origins, one kept connection each. Not for several threads.

    `carry` and `also` name the origins whose connections `connect` makes.
    """

    deadline: Deadline
    carry: Origin
    connect: Connect | None = None
    ca_file: str | None = None
    ca: str | None = None
    insecure: bool = False
    client_cert: str | None = None
    """PEM file with a certificate and its key, shown to `carry` alone."""
    also: Origin | None = None
    _lines: dict[Origin, _Line] = field(default_factory=dict)

    def request(
        self,
        method: str,
        origin: Origin,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        timeout: float = 10.0,
        limit: int = JSON_LIMIT,
    ) -> Response:
        """One exchange within `timeout` s and the client's deadline, at most `limit` bytes back.

        A kept connection that the server closed meanwhile is opened anew, once. Redirects are
        answers like any other. Raises `HttpError`.
        """
        deadline = self.deadline.within(timeout)
        line = self._lines.pop(origin, None)
        try:
            if line is not None:
                line.wire.deadline = deadline
                try:
                    return self._exchange(line, method, origin, path, headers or {}, body, limit)
                except (http.client.RemoteDisconnected, ConnectionError):
                    line.close()
            line = _Line(origin, _Wire(self._open(origin, deadline), deadline))
            return self._exchange(line, method, origin, path, headers or {}, body, limit)
        except HttpError:
            raise
        except TimeoutError:
            raise HttpError("timeout", f"no complete answer within {timeout:.0f} s") from None
        except ssl.SSLCertVerificationError as error:
            raise HttpError("tls", f"certificate refused: {error.verify_message}") from None
        except ssl.SSLError as error:
            raise HttpError("tls", f"TLS failed: {error.reason or error}") from None
        except (http.client.RemoteDisconnected, http.client.IncompleteRead, ConnectionError):
            raise HttpError("closed", "the connection was closed before the answer was complete") from None
        except OSError as error:
            raise HttpError("unreachable", error.strerror or str(error)) from None
        except (http.client.HTTPException, ValueError):
            raise HttpError("garbage", "the answer is not HTTP") from None

    def _exchange(
        self,
        line: _Line,
        method: str,
        origin: Origin,
        path: str,
        headers: Mapping[str, str],
        body: bytes | None,
        limit: int,
    ) -> Response:
        keep = False
        answer: http.client.HTTPResponse | None = None
        try:
            line.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in {"Host": origin.netloc, "Accept-Encoding": "identity", **headers}.items():
                line.putheader(name, value)
            if body is not None:
                line.putheader("Content-Length", str(len(body)))
            line.endheaders()
            # A server may refuse early (413) and stop reading: its answer is worth more than the
            # broken pipe.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError, ssl.SSLEOFError):
                for start in range(0, len(body or b""), 262144):
                    line.send((body or b"")[start : start + 262144])
                line.wire.flush()
            answer = line.getresponse()
            data = answer.read(limit + 1)
            if len(data) > limit:
                raise HttpError("large", f"the answer is larger than {limit} bytes")
            if not answer.isclosed() and answer.length:
                # http.client gives a short body without a word.
                raise HttpError("closed", f"the connection was closed {answer.length} bytes too early")
            keep = answer.isclosed() and not answer.will_close
            return Response(answer.status, {k.lower(): v for k, v in answer.getheaders()}, data)
        finally:
            if keep:
                self._lines[origin] = line
            else:
                if answer is not None:
                    answer.close()
                line.close()

    def _open(self, origin: Origin, deadline: Deadline) -> socket.socket:
        if self.connect is not None and origin in (self.carry, self.also):
            try:
                sock = self.connect(origin.host, origin.port, deadline.within(10).remaining)
            except ConnectionRefusedError:
                raise HttpError("refused", "connection refused") from None
        else:
            sock = dial(origin.host, origin.port, deadline)
        if origin.scheme == "http":
            return sock
        try:
            sock.settimeout(deadline.remaining)
            return self._tls(origin).wrap_socket(sock, server_hostname=origin.host)
        except BaseException:
            sock.close()
            raise

    def _tls(self, origin: Origin) -> ssl.SSLContext:
        try:
            if self.insecure:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            elif self.ca_file and Path(self.ca_file).is_dir():
                context = ssl.create_default_context(capath=self.ca_file)
            else:
                context = ssl.create_default_context(cafile=self.ca_file, cadata=self.ca)
        except OSError as error:
            raise HttpError("tls", f"the CA file {self.ca_file} cannot be read: {error.strerror or error}") from None
        if self.client_cert and origin == self.carry:
            try:
                # An encrypted key would make OpenSSL ask on the terminal.
                context.load_cert_chain(self.client_cert, password="")  # none, not a password
            except OSError as error:
                text = error.strerror or str(error)
                raise HttpError("tls", f"the client's certificate {self.client_cert} cannot be used: {text}") from None
        return context

    def close(self) -> None:
        for line in self._lines.values():
            line.close()
        self._lines.clear()


def dial(host: str, port: int, deadline: Deadline) -> socket.socket:
    """A TCP connection; every address of the name is tried, 5 s each. Raises `HttpError`."""
    try:
        # The resolver has no timeout that can be set from here.
        found = bounded(deadline.within(8).remaining, lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    except (OSError, UnicodeError):
        raise HttpError("resolve", f"{host} does not resolve") from None
    failure: OSError = OSError("no address")
    for family, kind, protocol, _, address in found[:8]:
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(deadline.within(5).remaining)
            sock.connect(address)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            sock.close()
            failure = error
        else:
            return sock
    if isinstance(failure, ConnectionRefusedError):
        raise HttpError("refused", "connection refused")
    if isinstance(failure, TimeoutError):
        raise HttpError("silent", f"no answer from {host} port {port}")
    raise HttpError("unreachable", failure.strerror or str(failure))
