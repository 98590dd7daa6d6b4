# create database:runs: absent
[ -d /etc/provision ] || mkdir -p -m 0755 /etc/provision
: >/etc/provision/making.database.runs
made=$(PROVISION_DATABASE='{"hosts": [["db.example.com", 5432]], "mode": "verify-full", "target": "any", "roots": "/etc/ssl/roots.crt", "name": "runs", "user": "tracker", "password": "fakefakefakefakefakefakefakefake", "prepared": "fakefakefakefakefakefakefakefake", "admin": {"user": "keeper", "password": "fakefakefakefake", "prepared": "fakefakefakefake"}, "verifier": "SCRAM-SHA-256$4096:fake"}' /usr/bin/python3 -I - create <<'end-of-external_database'
from __future__ import annotations
"""PostgreSQL's protocol, as much of it as a login and some questions take, with the standard library only.

A host has no driver before its first run, and what is in the way shall be told before anything is installed there.
Protocol 3.0: https://www.postgresql.org/docs/current/protocol-message-formats.html
"""


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

"""A PostgreSQL of somebody else's as this host sees it: `python3 -I - look|create`.

Runs on the host (standard library only). What is asked comes in the variable PROVISION_DATABASE, as JSON: hosts (of
[name, port]), mode (sslmode), target (target_session_attrs), roots (PEM, or the path of a file of many), name, user,
password, prepared (the password as SCRAM takes it), admin (empty, or user, password, prepared), verifier. `look`
changes nothing, `create` makes the role and the database where they are missing, with `admin`. stdout: one line of
JSON: `told` is `ok`, `missing` (what `create` would make is in `missing`) or one word for what is in the way, `said`
the server's own words.
"""


import json
import os
import signal
import sys
from typing import Any


SECONDS_IN_ALL = 50
"""For all addresses: whoever waits for a look waits a minute."""
SECONDS_TO_MAKE = 120
"""For one statement that changes something: a database is a copy of files, and a service may have its own ways."""
SECONDS_TO_MAKE_ALL = 420
"""For all that `create` does; the resource has a little more patience."""
LEAST = 120000
"""Older ones get no corrections since 2023, and nobody tries MLflow with them."""
_STARTING = "57P03"
_ROLE = "SELECT rolsuper, rolcreaterole, rolcreatedb FROM pg_roles WHERE rolname = {}"
_FACTS = (
    "SELECT current_setting('server_version_num'), current_setting('server_version'), "
    "pg_is_in_recovery() OR current_setting('transaction_read_only') = 'on', r.rolsuper, "
    "r.rolcreaterole OR r.rolcreatedb, pg_encoding_to_char(d.encoding), current_schema(), "
    "has_schema_privilege(current_schema(), 'CREATE'), current_setting('search_path'), d.oid "
    "FROM pg_roles r, pg_database d WHERE r.rolname = current_user AND d.datname = current_database()"
)
_TABLES = (
    "SELECT count(*) FROM information_schema.tables WHERE table_schema = current_schema() AND table_type = 'BASE TABLE'"
)


def reach(asked: dict[str, Any], login: dict[str, str], name: str, *, writes: bool) -> tuple[Wire, list[str]]:
    """A connection to the first address that serves, as libpq chooses it, and those before it that do not answer.
    With `writes` one that can be written to is meant whatever the target. Raises Trouble."""
    away: list[tuple[str, Trouble]] = []
    for host, port in asked["hosts"]:
        where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            wire = Wire(
                (host, port), asked["mode"], asked["roots"], login["user"], name, login["password"], login["prepared"]
            )
        except Told as error:
            if error.code != _STARTING:
                raise
            away.append((where, error))
            continue
        except Trouble as error:
            away.append((where, error))
            continue
        standby = "SELECT pg_is_in_recovery() OR current_setting('transaction_read_only') = 'on'"
        if (asked["target"] != "any" or writes) and wire.one(standby) == "t":
            wire.close()
            away.append((where, Trouble("standby")))
            continue
        return wire, [f"{where} ({error.word})" for where, error in away if error.word != "standby"]
    # Whether a server is down matters less than what one says that is not.
    first = min(away, key=lambda each: ("standby", "name", "silent", "port").count(each[1].word))
    said = "; ".join(f"{where}: {error.word} {error.said}".rstrip() for where, error in away)
    raise Trouble(first[1].word, said if len(away) > 1 else first[1].said)


def look(asked: dict[str, Any]) -> dict[str, Any]:
    """What the role sees; where it is refused, what an administrator sees."""
    try:
        wire, away = reach(asked, asked, asked["name"], writes=False)
    except Trouble as trouble:
        if trouble.word in ("login", "missing") and asked["admin"]:
            return _administered(asked, trouble)
        return {"told": trouble.word, "said": trouble.said}
    try:
        fields = (wire.rows(_FACTS) or [[]])[0]
        if len(fields) != 10:
            raise Trouble("answer", "it does not say what it is")
        number, version, standby, superuser, makes, encoding, schema, creates, path, oid = fields
        found: dict[str, Any] = {"version": version, "away": away, "makes": makes == "t", "schema": schema}
        if int(number or 0) < LEAST:
            return {**found, "told": "old", "said": version}
        if standby == "t":
            return {**found, "told": "standby", "said": ""}
        if superuser == "t":
            return {**found, "told": "superuser", "said": ""}
        if encoding != "UTF8":
            return {**found, "told": "encoding", "said": encoding}
        tables = int(wire.one(_TABLES))
        if not schema or (creates != "t"):
            return {**found, "told": "denied", "said": f"search_path is {path}"}
        known = wire.one("SELECT to_regclass('alembic_version')")
        revision = wire.one("SELECT version_num FROM alembic_version") if known else ""
        return {**found, "told": "ok", "said": "", "tables": tables, "revision": revision, "which": _which(wire, oid)}
    finally:
        wire.close()


def _which(wire: Wire, oid: str | None) -> str:
    """As database_look.py says it. Some services let nobody read the system's identity."""
    try:
        system = wire.one("SELECT system_identifier FROM pg_control_system()")
        return f"{system}/{oid}"
    except Told:
        return f"unknown/{oid}"


def _as_admin(asked: dict[str, Any]) -> tuple[Wire, list[str]]:
    """A connection to the database that every server has; services that do not show it have the named one."""
    try:
        return reach(asked, asked["admin"], "postgres", writes=True)
    except Told as error:
        if error.code not in ("3D000", "42501"):
            raise Trouble("admin", error.said) from None
    try:
        return reach(asked, asked["admin"], asked["name"], writes=True)
    except Told as error:
        raise Trouble("admin", error.said) from None


def _administered(asked: dict[str, Any], refused: Trouble) -> dict[str, Any]:
    """What is missing that the administrator may make, or why not."""
    user, name = _literal(asked["user"]), _literal(asked["name"])
    try:
        wire, away = _as_admin(asked)
    except Trouble as trouble:
        return {"told": trouble.word, "said": trouble.said}
    try:
        role = wire.rows(_ROLE.format(user))
        own = (wire.rows(_ROLE.format("current_user")) or [["f", "f", "f"]])[0]
        owner = wire.one(f"SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = {name}")  # noqa: S608
        number = int(wire.one("SHOW server_version_num"))
        found = {"version": wire.one("SHOW server_version"), "said": refused.said, "away": away}
        if number < LEAST:
            return {**found, "told": "old", "said": found["version"]}
        joins = not role or own[0] == "t" or _member(wire, asked, number) or _joins(wire, asked, number, own[1])
    finally:
        wire.close()
    if role and role[0][0] == "t":
        return {**found, "told": "superuser"}
    if role and refused.word == "login":
        return {**found, "told": "taken"}
    if not role and owner:
        return {**found, "told": "owned", "said": owner}
    missing = [what for what, there in (("role", role), ("database", owner)) if not there]
    rights = {"role": own[1], "database": own[2]}
    lacking = [what for what in missing if own[0] != "t" and rights[what] != "t"]
    if not lacking and "database" in missing and not joins:
        lacking = [f"database: it is no member of the role {asked['user']}, and may not become one"]
    if lacking:
        return {**found, "told": "rights", "said": " and ".join(lacking)}
    return {**found, "told": "missing", "missing": missing}


def _member(wire: Wire, asked: dict[str, Any], number: int) -> bool:
    """Whether the administrator may give something to the role as it is; since PostgreSQL 16 a right of its own."""
    right = "SET" if number >= 160000 else "MEMBER"
    return wire.one(f"SELECT pg_has_role({_literal(asked['user'])}, '{right}')") == "t"


def _joins(wire: Wire, asked: dict[str, Any], number: int, makes_roles: str | None) -> bool:
    """Whether it may make itself a member: until PostgreSQL 15 whoever makes roles may."""
    if number < 160000 and makes_roles == "t":
        return True
    return wire.one(f"SELECT pg_has_role({_literal(asked['user'])}, 'MEMBER WITH ADMIN OPTION')") == "t"


def create(asked: dict[str, Any]) -> dict[str, Any]:
    """Makes what is missing, closes the database to everybody else, then looks as the role. Where an earlier one was
    cut off it does what is left."""
    found = look(asked)
    if found["told"] == "missing" and "missing" in found:
        if "role" in found["missing"]:
            # The password's proof, not the password: statements get into logs.
            wire, _ = _as_admin(asked)
            try:
                _made(
                    wire,
                    f'CREATE ROLE "{asked["user"]}" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE '
                    f"PASSWORD {_literal(asked['verifier'])}",
                    "42710",
                )
            finally:
                wire.close()
        if "database" in found["missing"]:
            _database(asked)
        found = look(asked)
    if found["told"] == "ok":
        _closed(asked)
    return found


def _database(asked: dict[str, Any]) -> None:
    user, name = f'"{asked["user"]}"', f'"{asked["name"]}"'
    wire, _ = _as_admin(asked)
    joined = False
    try:
        number = int(wire.one("SHOW server_version_num"))
        # Only a member of the role may give a database to it; a superuser needs not be one. Who was one before stays.
        superuser = wire.one("SELECT rolsuper FROM pg_roles WHERE rolname = current_user") == "t"
        if not superuser and not _member(wire, asked, number):
            joined = True
            try:
                wire.rows(f"GRANT {user} TO CURRENT_USER", SECONDS_TO_MAKE)
            except Told:
                joined = False
                raise
        libc = "LOCALE_PROVIDER libc " if number >= 150000 else ""
        plain = f"CREATE DATABASE {name} OWNER {user} TEMPLATE template0 ENCODING 'UTF8'"
        try:
            # As a stack's own database: the order of text is that of its bytes.
            _made(wire, f"{plain} {libc}LC_COLLATE 'C' LC_CTYPE 'C.UTF-8'", "42P04")
        except Told as error:
            if error.code not in ("22023", "42809", "42704"):
                raise
            _made(wire, plain, "42P04")
    finally:
        if joined and wire.lost:
            # Its answer may come yet: on another connection.
            wire, _ = _as_admin(asked)
        try:
            if joined:
                wire.rows(f"REVOKE {user} FROM CURRENT_USER", SECONDS_TO_MAKE)
        finally:
            wire.close()


def _closed(asked: dict[str, Any]) -> None:
    """Nobody else on this server has business in a database that was made here; its owner says so."""
    wire, _ = reach(asked, asked, asked["name"], writes=True)
    try:
        own = f"SELECT 1 FROM pg_database WHERE datname = {_literal(asked['name'])} "  # noqa: S608
        if wire.one(f"{own}AND pg_get_userbyid(datdba) = current_user"):
            wire.rows(f'REVOKE ALL ON DATABASE "{asked["name"]}" FROM PUBLIC', SECONDS_TO_MAKE)
    finally:
        wire.close()


def _made(wire: Wire, statement: str, there: str) -> None:
    """It may have been made meanwhile; 23505 is what two get that make the same at once."""
    try:
        wire.rows(statement, SECONDS_TO_MAKE)
    except Told as error:
        if error.code not in (there, "23505"):
            raise


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _enough(_number: int, _frame: Any) -> None:
    raise Trouble("silent", "it took too long")


def main(arguments: list[str]) -> int:
    """Prints the line; always 0."""
    asked = json.loads(os.environ["PROVISION_DATABASE"])
    signal.signal(signal.SIGALRM, _enough)
    signal.alarm(SECONDS_TO_MAKE_ALL if arguments == ["create"] else SECONDS_IN_ALL)
    try:
        found = create(asked) if arguments == ["create"] else look(asked)
    except Trouble as trouble:
        found = {"told": trouble.word, "said": trouble.said}
    except Exception as error:
        found = {"told": "answer", "said": f"{type(error).__name__}: {error}"[:300]}
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

end-of-external_database
)
case $made in *'"told": "ok"'*) ;;
*) echo "role and database were not made: $made" >&2; exit 1;; esac
which=$(printf '%s\n' "$made" | sed -n 's/.*"which": "\([^"]*\)".*/\1/p')
[ -n "$which" ]
[ -d /etc/mlflow ] || mkdir -p -m 0755 /etc/mlflow
keep /etc/mlflow/database.identity
printf '%s\n%s\n' '# Written by provision: the database that this stack uses. It is no setting.' "$which" >/etc/mlflow/database.identity.provision-new
chown root:root /etc/mlflow/database.identity.provision-new; chmod 0644 /etc/mlflow/database.identity.provision-new
mv -f -T -- /etc/mlflow/database.identity.provision-new /etc/mlflow/database.identity
rm -f -- /etc/provision/making.database.runs
