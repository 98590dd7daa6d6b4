"""The way to a PostgreSQL that is not this tool's: psycopg2 here, on a route that is MLflow's host's.

libpq knows every login, checks TLS and chooses among several servers, and a host has no driver before its first run:
so the client is this machine's and each connection goes through the one to the host. What counts is seen there: it
resolves the names, it tries the addresses, and its are the public roots. A port of this machine's loopback leads to
each address while a look lasts (libpq has no TLS on a Unix socket), as with `ssh -L`.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import os
import re
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from provisioner import addresses
from provisioner.engine.quoting import encode, printable, words
from provisioner.resources.postgresql.libpq import nothing_else
from provisioner.secrets import Secret
from provisioner.values import dataclass

if TYPE_CHECKING:
    from provisioner.transport.base import Session

T = TypeVar("T")
SECONDS = 5
"""For one address until its login is done, as MLflow's own driver has it."""
ROOM = 4 * 2**20
"""Bytes that one connection may answer, and of roots."""
_PIECE = 300
"""Characters of what a server says."""

# Every address of every name is tried, as libpq there would; at most four of a name.
_REACH = r"""
LC_ALL=C; export LC_ALL
tried() { # NUMBER ADDRESS PORT
  if said=$(timeout @SECONDS@ bash -c ': <>"/dev/tcp/$1/$2"' - "$2" "$3" 2>&1); then echo "$1 $2 ok"
  else
    case $? in
      124) echo "$1 $2 silent" ;;
      127) echo "$1 $2 ok" ;; # no bash: the connection itself will say
      *) echo "$1 $2 port ${said##*: }" ;;
    esac
  fi
}
named() { # NUMBER NAME PORT
  found=$(timeout @SECONDS@ getent ahosts "$2" | sed -n 's/^\([^ ]*\) *STREAM.*/\1/p' | head -n 4)
  [ -n "$found" ] || echo "$1 $2 name"
  for ip in $found; do tried "$1" "$ip" "$3" & done
  wait
}
"""

_SERVERS = {
    r"password authentication failed|SASL authentication failed|no such user": "login",
    r"pg_hba\.conf|authentication failed for user|not permitted to log in|role \".*\" does not exist": "entry",
    r"database \".*\" does not exist|no such database": "missing",
}
_LIBPQS = {
    r"timeout expired": "silent",
    r"does not support SSL": "plain",
    r"root certificate file": "roots",
    r"certificate verify failed": "certificate",
    r"server certificate for .* does not match|host name from server certificate": "another",
    r"unencrypted data after SSL response|invalid response to SSL negotiation": "foreign",
    r"SSL error|SSL SYSCALL": "tls",
    r"cleartext password": "clear",
    r"incorrect server signature|did not complete authentication": "impostor",
    r"authentication method|SASL authentication mechanisms|SCRAM-SHA-256-PLUS": "method",
    r"session is read-only|hot standby mode": "standby",
    r"no password supplied": "login",
    r"definition of service|service file|invalid connection option": "client",
}
"""What libpq says itself, in English as long as nobody calls setlocale for its messages. It tells no SQLSTATE of a
login that was refused, and a server may speak any language: whose words are in none of these says `answer`."""


class Trouble(Exception):
    """What is in the way: `word` is one of a known list (steps/external_findings.py), `said` the server's or libpq's
    own words, `code` the SQLSTATE of a statement that was refused."""

    def __init__(self, word: str, said: object = "", code: str = ""):
        super().__init__(word)
        self.word, self.said, self.code = word, printable(" ".join(str(said).split()))[:_PIECE], code


@dataclass(frozen=True)
class Login:
    """A name and its password."""

    user: str
    password: Secret = field(repr=False)


@dataclass(frozen=True)
class Place:
    """A database, the way to it, and the login that MLflow has."""

    hosts: tuple[tuple[str, int], ...]
    mode: str
    target: str
    roots: str = field(repr=False)
    """PEM, or the path of a file of many on the host."""
    name: str
    login: Login
    admin: Login | None = None
    """Who makes role and database where they are missing; never kept."""

    def shown(self, number: int) -> str:
        host, port = self.hosts[number]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def digest(self, key: Secret) -> str:
        """Tells this place and login from any other. `key`: a secret of this tool's own making, without which nobody
        can try passwords against it."""
        parts = (*(f"{host}:{port}" for host, port in self.hosts), self.mode, self.target, self.roots, self.name)
        login = (self.login.user, self.login.password.reveal())
        return hmac.new(key.reveal().encode(), "\0".join((*login, *parts)).encode(), hashlib.sha256).hexdigest()


class Talk:
    """A connection that is logged in; each statement stands for itself."""

    def __init__(self, connection: Any):
        self._connection = connection
        self._late = False
        connection.autocommit = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def rows(self, statement: str, *values: str, seconds: float = 10.0) -> list[tuple[Any, ...]]:
        """What a statement gives; the connection of one that takes longer is cut. Raises Trouble."""
        import psycopg2

        late = threading.Timer(seconds, self._cut)
        late.daemon = True
        late.start()
        try:
            with self._connection.cursor() as cursor:
                cursor.execute(statement, values or None)
                return list(cursor.fetchall()) if cursor.description else []
        except psycopg2.Error as error:
            code = error.pgcode or ""
            told = "answer" if code else "silent" if self._late else "foreign"
            raise Trouble(told, error.diag.message_primary or error, code) from None
        finally:
            late.cancel()

    def _cut(self) -> None:
        # Not `cancel`: psycopg2 keeps the interpreter's lock meanwhile, and the way there is threads of it.
        import psycopg2

        self._late = True
        with suppress(OSError, psycopg2.Error), socket.socket(fileno=os.dup(self._connection.fileno())) as end:
            end.shutdown(socket.SHUT_RDWR)

    def one(self, statement: str, *values: str) -> Any:
        """The first field of the only row; None for none."""
        found = self.rows(statement, *values)
        return found[0][0] if found else None


@dataclass(frozen=True)
class Way:
    """Ports of this machine that lead to the addresses that answer MLflow's host."""

    place: Place
    ends: Mapping[int, int]
    """Port here: number of the address in `place.hosts`."""
    away: Mapping[str, Trouble]
    """Addresses that do not answer, and why."""
    roots: Path
    """A file; not there where no certificate is looked at."""

    def talk(self, login: Login, name: str, *, writes: bool = False) -> Talk:
        """A connection to the first server that serves; with `writes` one that can be written to is meant whatever
        the target. Raises Trouble."""
        import psycopg2

        known = self.place.mode.startswith("verify-") or all(
            addresses.is_loopback(host) for host, _ in self.place.hosts
        )
        try:
            return Talk(
                psycopg2.connect(
                    **{
                        **nothing_else(self.roots.parent),
                        "host": ",".join(self.place.hosts[number][0] for number in self.ends.values()),
                        "hostaddr": ",".join("127.0.0.1" for _ in self.ends),
                        "port": ",".join(map(str, self.ends)),
                        "dbname": name,
                        "user": login.user,
                        "password": login.password.reveal(),
                        "target_session_attrs": "read-write" if writes else self.place.target,
                        "sslmode": self.place.mode,
                        "sslrootcert": str(self.roots),
                        # A password in clear only for a server that is known, none for one that asks for no proof.
                        "require_auth": "scram-sha-256,md5,password" if known else "scram-sha-256,md5",
                        "connect_timeout": str(SECONDS),
                        "application_name": "provision",
                    }
                )
            )
        except psycopg2.Error as error:
            raise self._trouble(str(error)) from None
        except UnicodeDecodeError as error:
            # Before a login a server speaks in the encoding that it likes.
            raise self._trouble(error.object.decode("utf-8", "replace")) from None

    def _trouble(self, text: str) -> Trouble:
        found = {}
        parts = re.split(r'connection to server at "[^"]*"(?: \([^)]*\))?, port (\d+) failed: ', text)
        for port, said in zip(parts[1::2], parts[2::2], strict=True):
            word, number = _word(said), self.ends.get(int(port)) if len(port) < 6 else None
            if number is None:
                continue  # a server's words, made to look like libpq's
            if word in ("certificate", "tls"):
                word, said = _nearer(int(port), self.roots) or (word, said)
            found[self.place.shown(number)] = Trouble(word, said)
        return _one({**self.away, **found}) if found else Trouble(_word(text), text)


def _one(found: Mapping[str, Trouble]) -> Trouble:
    """What stands for all that is in the way: that a server is down matters less than what one says that is not."""
    order = ("standby", "name", "silent", "port")
    first = min(found.values(), key=lambda each: order.index(each.word) if each.word in order else -1)
    said = "; ".join(f"{where}: {each.word} {each.said}".rstrip() for where, each in found.items())
    return Trouble(first.word, said if len(found) > 1 else first.said)


def _word(said: str) -> str:
    # As libpq writes a server's message, in any language: its severity and two spaces.
    server = re.match(r"[^:\n]+:  ", said) is not None
    table = _SERVERS if server else _LIBPQS
    return next((word for words, word in table.items() if re.search(words, said)), "answer" if server else "foreign")


def _nearer(port: int, roots: Path) -> tuple[str, str] | None:
    """What libpq does not tell: whether a certificate is `expired`, and whether it is TLS at all that is answered
    (SSH begins with an S, too)."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED if roots.exists() else ssl.CERT_NONE
    try:
        if roots.exists():
            context.load_verify_locations(roots)
        with socket.create_connection(("127.0.0.1", port), SECONDS) as plain:
            plain.sendall(bytes.fromhex("0000000804d2162f"))  # SSLRequest
            if plain.recv(2) != b"S":
                return "foreign", "what it says is not PostgreSQL's"
            context.wrap_socket(plain).close()
    except ssl.SSLCertVerificationError as error:
        return "expired" if error.verify_code == 10 else "certificate", error.verify_message
    except OSError:
        pass
    return None


def through(session: Session, place: Place, seconds: float, work: Callable[[Way], T]) -> T:
    """What `work` gives; Trouble when it takes longer than `seconds` in all. Then it is left to itself with its
    connections cut: libpq may reckon for minutes over a login (SCRAM's rounds are the server's choice)."""
    import queue

    done: queue.SimpleQueue[tuple[T | None, BaseException | None]] = queue.SimpleQueue()

    def run(way: Way) -> None:
        try:
            done.put((work(way), None))
        except BaseException as error:
            done.put((None, error))

    with _way(session, place) as way:
        threading.Thread(target=run, args=(way,), name="provision-database", daemon=True).start()
        try:
            found, error = done.get(timeout=seconds)
        except queue.Empty:
            raise Trouble("silent", "it took too long") from None
    if error is not None:
        raise error
    return found  # type: ignore[return-value]  # there without an error


@contextmanager
def _way(session: Session, place: Place) -> Iterator[Way]:
    import tempfile

    from provisioner.transport.forward import local_port

    reached, away, roots = _reached(session, place)
    if not reached:
        raise _one(away)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="provision-")))
        file = folder / "roots.pem"
        if place.mode.startswith("verify-"):
            if not roots:
                raise Trouble("roots", f"there is no {place.roots} on the server")
            file.write_text(roots, encoding="utf-8")
        ends = {
            stack.enter_context(local_port(session, place.hosts[number][1], ip, ROOM)): number for number, ip in reached
        }
        yield Way(place, ends, away, file)


def _reached(session: Session, place: Place) -> tuple[list[tuple[int, str]], dict[str, Trouble], str]:
    """What MLflow's host reaches, in the order of `place.hosts`; those of which it reaches nothing; its roots."""
    asked = [f"named {number} {words(host, str(port))} &" for number, (host, port) in enumerate(place.hosts)]
    path = place.roots if place.roots.startswith("/") else ""
    script = "\n".join([_REACH.replace("@SECONDS@", str(SECONDS)), *asked, "wait", "echo roots"])
    if path:
        script += f"\nhead -c {ROOM} {words(path)} 2>/dev/null || :"
    result = session.run(encode(f"{script}\n"), privileged=False, timeout=30, limit=2 * ROOM)
    lines, _, roots = result.stdout.decode("utf-8", "replace").partition("\nroots\n")
    reached: list[tuple[int, str]] = []
    silent: dict[int, Trouble] = {}
    for line in lines.splitlines():
        number, ip, word, said = (*line.split(" ", 3), "", "", "", "")[:4]
        if not number.isdigit() or int(number) >= len(place.hosts):
            continue
        if word == "ok" and _ip(ip):
            reached.append((int(number), ip))
        elif word in ("name", "silent", "port"):
            silent[int(number)] = Trouble(word, said)
    reached.sort(key=lambda each: each[0])
    there = {number for number, _ in reached}
    away = {place.shown(n): silent.get(n, Trouble("silent")) for n in range(len(place.hosts)) if n not in there}
    return reached[: 4 * len(place.hosts)], away, roots if path else place.roots


def _ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
        return re.fullmatch(r"[\w.:]+(%[\w.-]+)?", text, re.ASCII) is not None  # a zone may be anything to it
    except ValueError:
        return False
