"""As much of a PostgreSQL server as a login and some statements take."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import socket
import ssl
import struct
import threading
from collections.abc import Callable


def answer(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!i", len(body) + 4) + body


def row(*values: object) -> bytes:
    """One row: of each value its name is `x`, and its type what Python's says."""
    kinds = {bool: 16, int: 23}
    about = b"".join(b"x\0" + struct.pack("!ihihih", 0, 0, kinds.get(type(v), 25), -1, -1, 0) for v in values)
    texts = [
        None if v is None else {True: "t", False: "f"}.get(v, str(v)) if type(v) is bool else str(v) for v in values
    ]
    fields = b"".join(struct.pack("!i", -1) if t is None else struct.pack("!i", len(t)) + t.encode() for t in texts)
    count = struct.pack("!h", len(values))
    return answer(b"T", count + about) + answer(b"D", count + fields) + DONE


def refusal(code: str, words: str) -> bytes:
    return answer(b"E", f"SFATAL\0C{code}\0M{words}\0\0".encode())


def greeted(version: str = "16.4", *, standby: bool = False) -> bytes:
    """What a server says of itself after a login."""
    said = {"server_version": version, "client_encoding": "UTF8", "DateStyle": "ISO, MDY", "integer_datetimes": "on"}
    said |= {"in_hot_standby": "on" if standby else "off", "default_transaction_read_only": "off"}
    told = b"".join(answer(b"S", f"{key}\0{value}\0".encode()) for key, value in said.items())
    return ENTERED + told + answer(b"K", struct.pack("!ii", 7, 7)) + READY


READY = answer(b"Z", b"I")
DONE = answer(b"C", b"SELECT 1\0")
ENTERED = answer(b"R", struct.pack("!i", 0))
GREETED = greeted()
FACTS = (False, False, False, "UTF8", "public", True, '"$user", public', "42")
_TLS = struct.pack("!i", 80877103)


def clear(server: Server, connection: socket.socket) -> None:
    """Asks for the password in clear."""
    connection.sendall(answer(b"R", struct.pack("!i", 3)))
    server.password(connection)


class Server:
    """Speaks as much of PostgreSQL's protocol as it is told to: one answer to the greeting, one to each query.

    `greeting`: bytes, or what makes them of the first packet. `answers` gives None where it stays silent. `login`
    asks for a password before `greeting`.
    """

    def __init__(
        self,
        greeting: bytes | Callable[[bytes], bytes],
        answers: Callable[[str], bytes | None],
        tls: ssl.SSLContext | None = None,
        login: Callable[[Server, socket.socket], None] | None = clear,
    ):
        self.talks: list[list[str]] = []
        """The queries of each connection."""
        self.given: list[bytes] = []
        """What was sent as a password."""
        self._tls, self._login = tls, login
        self._answers, self._greeting = answers, greeting
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def queries(self) -> list[str]:
        return [query for talk in self.talks for query in talk]

    def close(self) -> None:
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        try:
            first = self._packet(connection)
            if first == _TLS and self._tls is not None:
                connection.sendall(b"S")
                connection = self._tls.wrap_socket(connection, server_side=True)
                first = self._packet(connection)
            if self._login is not None and first != _TLS:
                self._login(self, connection)
            connection.sendall(self._greeting if isinstance(self._greeting, bytes) else self._greeting(first))
            self.talks.append([])
            while head := connection.recv(1):
                query = self._packet(connection).rstrip(b"\0").decode()
                if head == b"X":
                    return
                self.talks[-1].append(query)
                told = self._answers(query)
                if told is not None:
                    connection.sendall(told + READY)
        except (OSError, struct.error, UnicodeDecodeError):
            return
        finally:
            connection.close()

    @staticmethod
    def _packet(connection: socket.socket) -> bytes:
        (size,) = struct.unpack("!i", connection.recv(4))
        return connection.recv(size - 4)

    def password(self, connection: socket.socket) -> bytes:
        connection.recv(1)
        self.given.append(self._packet(connection))
        return self.given[-1]


def scram(password: str, end: Callable[[bytes], bytes]) -> Callable[[Server, socket.socket], None]:
    """A login by SCRAM-SHA-256 of a server to which the password is `password`. `end`: what it sends at last, from
    the signature that proves that."""

    def login(server: Server, connection: socket.socket) -> None:
        connection.sendall(answer(b"R", struct.pack("!i", 10) + b"SCRAM-SHA-256\0\0"))
        bare = server.password(connection).partition(b"n,,")[2].decode()
        first = f"{bare.partition('r=')[2]}theirs"
        first = f"r={first},s={base64.b64encode(b'salt').decode()},i=4096"
        connection.sendall(answer(b"R", struct.pack("!i", 11) + first.encode()))
        last = server.password(connection).decode().partition(",p=")[0]
        salted = hashlib.pbkdf2_hmac("sha256", password.encode(), b"salt", 4096)
        key = hmac.new(salted, b"Server Key", hashlib.sha256).digest()
        signature = hmac.new(key, f"{bare},{first},{last}".encode(), hashlib.sha256).digest()
        connection.sendall(end(base64.b64encode(signature)))

    return login


def signed(signature: bytes) -> bytes:
    return answer(b"R", struct.pack("!i", 12) + b"v=" + signature)


class Cluster:
    """A server with an administrator `keeper`, who makes roles and databases and is no superuser."""

    def __init__(self, *, version: int = 160004, role: bool = False, member: bool = False, admin: bool = False):
        self.version, self.role, self.database = version, role, False
        self.member = member
        """The administrator may give something to the role."""
        self.admin = admin
        """It may make itself a member."""
        self.closed = False
        """Only its owner gets into the database."""
        self.silent: set[str] = set()
        """Statements that are done and not answered, by their beginning; each once."""
        self.before: dict[str, str] = {}
        """Statements before which somebody else makes the same: the code that is told then."""
        self.words = ('password authentication failed for user "tracker"', 'database "runs" does not exist')
        """In the server's language."""
        self.server = Server(self._greeted, self._answer)

    @property
    def changes(self) -> list[str]:
        return [query for query in self.server.queries if not query.startswith(("SELECT", "SHOW"))]

    def _greeted(self, first: bytes) -> bytes:
        if b"user\0keeper\0" in first or (self.role and b"database\0postgres\0" in first):
            return GREETED
        if not self.role:
            return refusal("28P01", self.words[0])
        return GREETED if self.database else refusal("3D000", self.words[1])

    def _answer(self, query: str) -> bytes | None:
        begun = " ".join(query.split()[:2])
        if begun in self.before:
            self._done(query)
            return refusal(self.before[begun], "duplicate key value")
        told = self._done(query)
        if begun in self.silent:
            self.silent.remove(begun)
            return None
        return told

    def _done(self, query: str) -> bytes:
        if query.startswith("CREATE ROLE"):
            self.role = self.admin = True
        elif query.startswith("GRANT"):
            if not self.admin and self.version >= 160000:
                return refusal("42501", "permission denied to grant role")
            self.member = True
        elif query.startswith("CREATE DATABASE"):
            if not self.member:
                return refusal("42501", "must be able to SET ROLE")
            if self.database:
                return refusal("42P04", "it is there")
            self.database = True
        elif query.startswith("REVOKE ALL"):
            self.closed = True
        elif query.startswith("REVOKE"):
            self.member = False
        else:
            return self._told(query)
        return DONE

    def _told(self, query: str) -> bytes:
        if query.startswith("SELECT current_setting('server_version_num')"):
            return row(self.version, "16.4")
        if query.startswith("SELECT pg_is_in_recovery"):
            return row(*FACTS)
        if right := re.search(r"pg_has_role\('tracker', '([A-Z ]+)'\)", query):
            held = {"SET" if self.version >= 160000 else "MEMBER": self.member, "MEMBER WITH ADMIN OPTION": self.admin}
            return row(held[right[1]])
        if "rolcreaterole" in query:
            return (
                row(False, True, True) if "current_user" in query else row(False, False, False) if self.role else DONE
            )
        if query.startswith("SELECT 1 FROM pg_database"):
            return row(1)
        for part, told in {"system_identifier": "7001", "count(*)": 0, "SELECT rolsuper": False}.items():
            if part in query:
                return row(told)
        if "FROM pg_database" in query:
            return row("tracker") if self.database else DONE
        return row(None)
