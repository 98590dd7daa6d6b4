"""A PostgreSQL of somebody else's as this host sees it: `python3 -I - look|create`.

Runs on the host (standard library only). What is asked comes in the variable PROVISION_DATABASE, as JSON: hosts (of
[name, port]), mode (sslmode), target (target_session_attrs), roots (PEM, or the path of a file of many), name, user,
password, prepared (the password as SCRAM takes it), admin (empty, or user, password, prepared), verifier. `look`
changes nothing, `create` makes the role and the database where they are missing, with `admin`. stdout: one line of
JSON: `told` is `ok`, `missing` (what `create` would make is in `missing`) or one word for what is in the way, `said`
the server's own words.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any

from provisioner.runtime.postgres_wire import Told, Trouble, Wire

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
