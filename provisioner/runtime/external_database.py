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
        found = {"version": wire.one("SHOW server_version"), "said": refused.said, "away": away}
        if int(wire.one("SHOW server_version_num")) < LEAST:
            return {**found, "told": "old", "said": found["version"]}
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
    if lacking:
        return {**found, "told": "rights", "said": " and ".join(lacking)}
    return {**found, "told": "missing", "missing": missing}


def create(asked: dict[str, Any]) -> dict[str, Any]:
    """Makes what is missing, then looks as the role."""
    found = look(asked)
    if found["told"] != "missing" or "missing" not in found:
        return found
    wire, _ = _as_admin(asked)
    user, name = f'"{asked["user"]}"', f'"{asked["name"]}"'
    try:
        if "role" in found["missing"]:
            # The password's proof, not the password: statements get into logs.
            _made(
                wire,
                f"CREATE ROLE {user} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD {_literal(asked['verifier'])}",
                "42710",
            )
        if "database" in found["missing"]:
            _database(wire, user, name)
    finally:
        wire.close()
    return look(asked)


def _database(wire: Wire, user: str, name: str) -> None:
    # Only a member of the role may give a database to it; a superuser needs not be one.
    member = wire.one("SELECT rolsuper FROM pg_roles WHERE rolname = current_user") != "t"
    if member:
        wire.rows(f"GRANT {user} TO CURRENT_USER")
    try:
        libc = "LOCALE_PROVIDER libc " if int(wire.one("SHOW server_version_num")) >= 150000 else ""
        plain = f"CREATE DATABASE {name} OWNER {user} TEMPLATE template0 ENCODING 'UTF8'"
        try:
            # As a stack's own database: the order of text is that of its bytes.
            _made(wire, f"{plain} {libc}LC_COLLATE 'C' LC_CTYPE 'C.UTF-8'", "42P04")
        except Told as error:
            if error.code not in ("22023", "42809", "42704"):
                raise
            _made(wire, plain, "42P04")
        # Nobody else on this server has business in it.
        wire.rows(f"REVOKE ALL ON DATABASE {name} FROM PUBLIC")
    finally:
        if member:
            wire.rows(f"REVOKE {user} FROM CURRENT_USER")


def _made(wire: Wire, statement: str, there: str) -> None:
    """Another host of the stack may be making it at the same time."""
    try:
        wire.rows(statement)
    except Told as error:
        if error.code != there:
            raise


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _enough(_number: int, _frame: Any) -> None:
    raise Trouble("silent", f"it took more than {SECONDS_IN_ALL} s")


def main(arguments: list[str]) -> int:
    """Prints the line; always 0."""
    asked = json.loads(os.environ["PROVISION_DATABASE"])
    signal.signal(signal.SIGALRM, _enough)
    signal.alarm(SECONDS_IN_ALL)
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
