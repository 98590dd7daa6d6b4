"""PostgreSQL's protocol, as much of it as a login and some questions take, with the standard library only.

A host has no driver before its first run, and what is in the way shall be told before anything is installed there.
Protocol 3.0: https://www.postgresql.org/docs/current/protocol-message-formats.html
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import os
import socket
import ssl
import struct
import time
from typing import Any

SECONDS = 5.0
"""For one address, whatever the number of its IPs, from the first packet to the login."""
_ROOM = 1 << 20
"""Bytes of one message, and of all rows of an answer."""
_ROUNDS = 1_000_000


class Trouble(Exception):
    """What is in the way: `word` is one of a known list, `said` the server's or the system's own words."""

    def __init__(self, word: str, said: object = ""):
        super().__init__(word)
        self.word, self.said = word, " ".join(str(said).split())[:300]


class Told(Trouble):
    """An error that the server told, with its code (SQLSTATE)."""

    def __init__(self, code: str, said: str):
        super().__init__({"28P01": "login", "28000": "entry", "3D000": "missing"}.get(code, "answer"), said)
        self.code = code


class Wire:
    """One connection that is logged in."""

    def __init__(
        self, address: tuple[str, int], mode: str, roots: str, user: str, database: str, password: str, prepared: str
    ):
        """`mode`: sslmode, one that says for certain whether there is TLS. `roots`: PEM, or the path of a file of
        many. `prepared`: the password as SCRAM takes it. Raises Trouble."""
        self._host, self._until = address[0], time.monotonic() + SECONDS
        self._lost = False
        self._user, self._password, self._prepared = user, password, prepared
        self._socket = self._connected(address)
        try:
            if mode != "disable":
                self._encrypt(mode, roots)
            text = "".join(f"{key}\0{value}\0" for key, value in (("user", user), ("database", database)))
            text += "client_encoding\0UTF8\0application_name\0provision\0\0"
            self._send(b"", struct.pack("!i", 196608) + text.encode())
            self._login(known=mode in ("verify-ca", "verify-full"))
        except BaseException:
            self._socket.close()
            raise

    def close(self) -> None:
        """End it as a client does."""
        if not self._lost:
            with contextlib.suppress(Trouble):
                self._send(b"X", b"")
        self._socket.close()

    @property
    def lost(self) -> bool:
        """An answer stayed out, and would be taken for that of the next query: there is none."""
        return self._lost

    def rows(self, query: str, seconds: float = 2 * SECONDS) -> list[list[str | None]]:
        """What a query gives, as text. Raises Told, and after any other Trouble the connection is closed."""
        if self._lost:
            raise Trouble("silent", "the connection is closed")
        self._lost, self._until = True, time.monotonic() + seconds
        try:
            self._send(b"Q", query.encode() + b"\0")
            found, failed = self._answer()
        except BaseException:
            self._socket.close()
            raise
        self._lost = False
        if failed is not None:
            raise failed
        return found

    def _answer(self) -> tuple[list[list[str | None]], Told | None]:
        found: list[list[str | None]] = []
        failed: Told | None = None
        room = _ROOM
        while True:
            kind, body = self._message()
            if kind == b"D":
                room -= len(body) + 64
                if room < 0:
                    raise Trouble("foreign", "it sends more rows than were asked for")
                found.append(_row(body))
            elif kind == b"E":
                failed = _told(body)
            elif kind == b"Z":
                return found, failed

    def one(self, query: str) -> str:
        """The first field of the only row; empty for none."""
        found = self.rows(query)
        return (found[0][0] or "") if found and found[0] else ""

    def _connected(self, address: tuple[str, int]) -> socket.socket:
        try:
            places = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)
        except (socket.gaierror, UnicodeError) as error:
            raise Trouble("name", getattr(error, "strerror", "") or error) from None
        trouble = Trouble("silent")
        for number, (family, kind, protocol, _, place) in enumerate(places):
            # A name may have several IPs: each gets its part of the time, and what an earlier one left.
            left = (self._until - time.monotonic()) / (len(places) - number)
            if left <= 0:
                break
            try:
                connected = socket.socket(family, kind, protocol)
            except OSError as error:  # this host may have no IPv6
                trouble = Trouble("port", error.strerror or error)
                continue
            try:
                connected.settimeout(left)
                connected.connect(place)
            except TimeoutError:
                connected.close()
                trouble = Trouble("silent")
            except OSError as error:
                connected.close()
                trouble = Trouble("port", error.strerror or error)
            else:
                connected.settimeout(max(self._until - time.monotonic(), 0.1))
                return connected
        raise trouble

    def _encrypt(self, mode: str, roots: str) -> None:
        self._socket.sendall(struct.pack("!ii", 8, 80877103))
        try:
            # Its answer is one letter, and then it waits: whoever says more is none (SSH begins with an S, too), or
            # somebody on the way who speaks first (CVE-2021-23222).
            answer = self._socket.recv(2)
        except TimeoutError:
            raise Trouble("silent") from None
        except OSError as error:
            raise Trouble("foreign", error.strerror or error) from None
        if answer != b"S":
            raise Trouble("plain" if answer == b"N" else "foreign", "" if answer else "it closed the connection")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.check_hostname = mode == "verify-full"
        context.verify_mode = ssl.CERT_NONE if mode == "require" else ssl.CERT_REQUIRED
        if mode != "require":
            try:
                if roots.startswith("/"):
                    context.load_verify_locations(roots)
                else:
                    context.load_verify_locations(cadata=roots)
            except (OSError, ssl.SSLError) as error:
                raise Trouble("roots", error) from None
        try:
            self._socket = context.wrap_socket(self._socket, server_hostname=self._host)
        except ssl.SSLCertVerificationError as error:
            word = {10: "expired", 62: "another", 64: "another"}.get(error.verify_code, "certificate")
            raise Trouble(word, error.verify_message) from None
        except TimeoutError:
            raise Trouble("silent") from None
        except (OSError, ssl.SSLError) as error:
            raise Trouble("tls", getattr(error, "reason", "") or error) from None

    def _login(self, *, known: bool) -> None:
        """`known`: the server's certificate was checked."""
        scram: _Scram | None = None
        entered = False
        while True:
            kind, body = self._message()
            if kind == b"E":
                raise _told(body)
            if kind == b"Z":
                if not entered:
                    raise Trouble("foreign", "it begins without a login")
                return
            if kind != b"R" or len(body) < 4:
                continue
            (what,) = struct.unpack("!i", body[:4])
            if what == 3:
                if not known and self._host not in ("127.0.0.1", "::1", "localhost"):
                    raise Trouble("clear", "it asks for the password in clear")
                self._send(b"p", self._password.encode() + b"\0")
            elif what == 5:
                inner = hashlib.md5(self._password.encode() + self._user.encode()).hexdigest()  # noqa: S324
                digest = hashlib.md5(inner.encode() + body[4:8]).hexdigest()  # noqa: S324  the protocol's own
                self._send(b"p", b"md5" + digest.encode() + b"\0")
            elif what == 10:
                if b"SCRAM-SHA-256" not in body[4:].split(b"\0"):
                    raise Trouble("method", "SASL without SCRAM-SHA-256")
                scram = _Scram(self._prepared)
                first = scram.first()
                self._send(b"p", b"SCRAM-SHA-256\0" + struct.pack("!i", len(first)) + first)
            elif what == 11 and scram is not None:
                self._send(b"p", scram.final(body[4:]))
            elif what == 12 and scram is not None:
                scram.judge(body[4:])
            elif what != 0:
                raise Trouble("method", f"authentication request {what}")
            elif scram is not None and not scram.judged:
                raise Trouble("impostor", "it does not show that it knows the password")
            else:
                entered = True

    def _send(self, kind: bytes, body: bytes) -> None:
        try:
            self._socket.sendall(kind + struct.pack("!i", len(body) + 4) + body)
        except OSError as error:
            raise Trouble("foreign", error.strerror or error) from None

    def _message(self) -> tuple[bytes, bytes]:
        head = self._exactly(5)
        (length,) = struct.unpack("!i", head[1:])
        if not 4 <= length <= _ROOM or head[:1] not in b"RSKZEDCTNAnI1230sGt":
            raise Trouble("foreign", "what it says is not PostgreSQL's")
        return head[:1], self._exactly(length - 4)

    def _exactly(self, size: int) -> bytes:
        found = b""
        while len(found) < size:
            left = self._until - time.monotonic()
            if left <= 0:
                raise Trouble("silent")
            self._socket.settimeout(left)
            try:
                part = self._socket.recv(size - len(found))
            except TimeoutError:
                raise Trouble("silent") from None
            except OSError as error:
                raise Trouble("foreign", error.strerror or error) from None
            if not part:
                raise Trouble("foreign", "it closed the connection")
            found += part
        return found


class _Scram:
    """SCRAM-SHA-256 (RFC 7677) without channel binding: the server proves that it knows the password too."""

    def __init__(self, password: str):
        self._password = password.encode()
        self._bare = "n=,r=" + base64.b64encode(os.urandom(18)).decode()
        self._proof = b""
        self.judged = False
        """The server has shown that it knows the password."""

    def first(self) -> bytes:
        return ("n,," + self._bare).encode()

    def final(self, message: bytes) -> bytes:
        try:
            told = dict(part.split("=", 1) for part in message.decode().split(","))
            nonce, salt, rounds = told["r"], base64.b64decode(told["s"]), int(told["i"])
        except (ValueError, KeyError):
            raise Trouble("foreign", "its SCRAM makes no sense") from None
        if not nonce.startswith(self._bare[5:]) or not 1 <= rounds <= _ROUNDS:
            raise Trouble("foreign", "its SCRAM makes no sense")
        salted = hashlib.pbkdf2_hmac("sha256", self._password, salt, rounds)
        key = _hmac(salted, b"Client Key")
        bare = f"c=biws,r={nonce}"
        text = f"{self._bare},{message.decode()},{bare}".encode()
        signature = _hmac(hashlib.sha256(key).digest(), text)
        proof = bytes(one ^ other for one, other in zip(key, signature, strict=True))
        self._proof = _hmac(_hmac(salted, b"Server Key"), text)
        return f"{bare},p={base64.b64encode(proof).decode()}".encode()

    def judge(self, message: bytes) -> None:
        """Raises Trouble for a server that does not know the password."""
        given = dict(part.split("=", 1) for part in message.decode("utf-8", "replace").split(",") if "=" in part)
        if not self._proof or not hmac.compare_digest(given.get("v", "").encode(), base64.b64encode(self._proof)):
            raise Trouble("impostor", "it does not know the password itself")
        self.judged = True


def _hmac(key: bytes, text: bytes) -> bytes:
    return hmac.new(key, text, hashlib.sha256).digest()


def _told(body: bytes) -> Told:
    fields = {part[:1]: part[1:].decode("utf-8", "replace") for part in body.split(b"\0") if part}
    return Told(fields.get(b"C", ""), fields.get(b"M", "an error without words"))


def _row(body: bytes) -> list[str | None]:
    try:
        (count,), at, found = struct.unpack("!h", body[:2]), 2, []
        for _ in range(count):
            (length,) = struct.unpack("!i", body[at : at + 4])
            at += 4
            value: Any = None
            if length >= 0:
                value, at = body[at : at + length].decode("utf-8", "replace"), at + length
            found.append(value)
    except struct.error:
        raise Trouble("foreign", "its rows make no sense") from None
    return found
