"""What a value of the inventory may be. Each check returns the normalised value or raises ValueError
with the words that finish the sentence "expected ...".

Everything is hostile until it passed here: the results go into shell words, unit files, SQL, nginx.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable
from typing import Any

from provisioner import reserved

Check = Callable[[Any], Any]

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def shown(value: object) -> str:
    """`value` as an error shows it: one line, printable, at most 60 characters, without a URL's login."""
    text = f'"{value}"' if isinstance(value, str) else repr(value)
    text = re.sub(r"://\S*@|password=[^&\s]*", lambda found: f"{found[0][:3]}...{found[0][-1:]}", text[:8192])
    text = "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text[:200])
    return text if len(text) <= 60 else text[:57] + "..."


def text(value: object, what: str, limit: int = 255) -> str:
    """A string without control characters, not empty, at most `limit` characters."""
    if not isinstance(value, str):
        raise ValueError(f"{what}, a string in quotes")
    if not value or len(value) > limit or _CONTROL.search(value):
        raise ValueError(f"{what}: 1 to {limit} characters on one line")
    return value


def one_of(*choices: str) -> Check:
    def check(value: object) -> str:
        if not isinstance(value, str) or value not in choices:
            raise ValueError("one of " + ", ".join(f'"{choice}"' for choice in choices))
        return value

    return check


def integer(low: int, high: int) -> Check:
    def check(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError(f"a whole number from {low} to {high}")
        return value

    return check


def boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return value


def door_port(value: object) -> int:
    port: int = integer(1, 65535)(value)
    if port in reserved.PORTS:
        raise ValueError(f"another port: {reserved.PORTS[port]} listens on {port} of the same server")
    return port


def tls(value: object) -> str | dict[str, str]:
    """A kind of TLS, or the files of a certificate: `cert` and `key`, and `ca` where its root is not a public one."""
    if not isinstance(value, dict):
        try:
            kind: str = one_of("off", "internal", "own")(value)
        except ValueError:
            raise ValueError('"off", "internal", "own" or { cert = "FILE", key = "FILE" }') from None
        return kind
    if not {"cert", "key"} <= value.keys() <= {"cert", "key", "ca"}:
        raise ValueError('{ cert = "FILE", key = "FILE" }, with ca = "FILE" for a private root')
    return {name: local_path(value[name]) for name in sorted(value)}


def tls_recorded(value: object) -> str:
    """The kind of TLS that a host records: paths of an operator's machine mean nothing to another one."""
    return value if isinstance(value, str) else "own"


def list_of(item: Check, limit: int = 64) -> Check:
    """A list of distinct values; the result is a tuple in the order given."""

    def check(value: object) -> tuple[Any, ...]:
        if not isinstance(value, list | tuple):
            raise ValueError('a list, like ["…", "…"]')
        if len(value) > limit:
            raise ValueError(f"a list of at most {limit} values")
        return tuple(dict.fromkeys(item(each) for each in value))

    return check


def bucket(value: object) -> str:
    """An S3 bucket name (AWS' general purpose rules) that is no path of MLflow's own."""
    name = text(value, "a bucket's name", 63)
    rule = "a bucket's name: 3 to 63 of a-z, 0-9, dot and dash, a letter or digit first and last"
    if not re.fullmatch(r"(?!.*(\.\.|\.-|-\.))[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", name):
        raise ValueError(rule)
    if re.fullmatch(r"\d+\.\d+\.\d+\.\d+", name) or name.startswith(("xn--", "sthree-", "amzn-s3-demo-")):
        raise ValueError(rule + ", not an IP address and no reserved prefix")
    if name.endswith(("-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3")):
        raise ValueError(rule + ", no reserved ending")
    if name in reserved.PATH_SEGMENTS:
        raise ValueError(f"another bucket's name: /{name} is a path that MLflow or the store answers itself")
    return name


def prefix(value: object) -> str:
    """A folder of a bucket, without slashes around it. Nothing that a pattern in a policy, a URL or SeaweedFS's
    list of actions would read as more than itself."""
    path = text(value, 'a folder of the bucket, like "artifacts"', 200).strip("/")
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*", path):
        raise ValueError(
            'a folder of the bucket, like "artifacts" or "team/ml": letters, digits, dot, dash, underscore'
        )
    return path


def region(value: object) -> str:
    """The name of an S3 region, as it stands in a signature."""
    name = text(value, 'a region, like "eu-central-1"', 40)
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", name):
        raise ValueError('a region, like "eu-central-1": a-z, 0-9 and dash')
    return name


def directory(value: object) -> str:
    """An absolute, normalised directory for data, outside what belongs to the system."""
    path = text(value, "an absolute directory", 200)
    if not re.fullmatch(r"/[A-Za-z0-9._/-]+", path):
        raise ValueError("an absolute directory of letters, digits, dot, dash, underscore and slash")
    path = path.rstrip("/") or "/"
    if posixpath.normpath(path) != path or path.startswith("//"):
        raise ValueError('an absolute directory without "..", "." or doubled slashes')
    if any(len(part) > 100 or part.startswith("-") for part in path.split("/")):
        raise ValueError("an absolute directory whose parts are shorter and do not begin with a dash")
    if path in reserved.SHARED_DIRECTORIES or any(
        path == closed or path.startswith(closed + "/") for closed in reserved.CLOSED_DIRECTORIES
    ):
        raise ValueError(f"a directory of its own, like /srv/minio: {path} is the system's or shared")
    return path


def drives(value: object) -> tuple[Any, ...]:
    """Directories for data, none of them in another."""
    found: tuple[str, ...] = list_of(directory, 32)(value)
    if not found:
        raise ValueError('at least one directory, like ["/mnt/d1"]')
    for one in found:
        for other in found:
            if one != other and f"{other}/".startswith(f"{one}/"):
                raise ValueError(f"directories that are not inside each other: {other} is in {one}")
    return found


def local_path(value: object) -> str:
    """A path on the operator's machine; it is only ever opened, never put into a command."""
    return text(value, "a path on this machine", 4096)


def identifier(*forbidden: str) -> Check:
    """A PostgreSQL name that needs no quotes and fits in NAMEDATALEN (63 bytes)."""

    def check(value: object) -> str:
        if not isinstance(value, str) or not re.fullmatch(r"[a-z_][a-z0-9_]{0,62}", value):
            raise ValueError("a PostgreSQL name: 1 to 63 of a-z, 0-9 and underscore, no digit first")
        if value in reserved.PG_WORDS or value.startswith("pg_") or value in forbidden:
            raise ValueError(f'another name: "{value}" has a meaning of its own in PostgreSQL')
        return value

    return check


database_name = identifier(*reserved.PG_DATABASES)
role_name = identifier("postgres")


def server_setting(name: str, value: object) -> str:
    """One `name = value` of the database server's configuration; numbers and booleans become its text."""
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,62}(\.[a-z][a-z0-9_]{0,62})?", name):
        raise ValueError("the name of a setting of the database server, like work_mem")
    beginnings = {"ssl_": "it comes with [access] tls", "loose_": "name it plainly", "skip_": "this tool needs it"}
    begins = next((why for beginning, why in beginnings.items() if name.startswith(beginning)), None)
    if (why := reserved.SERVER_SETTINGS.get(name, begins)) is not None:
        raise ValueError(f"another setting: {name} is not free, {why}")
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, int | float):
        return str(value)
    return text(value, "a setting's value", 1000)


def variable(name: str, value: object) -> str:
    """One environment variable of the MLflow server that this tool does not set itself."""
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,127}", name):
        raise ValueError("the name of an environment variable: letters, digits and underscore")
    if name in reserved.VARIABLES or name.upper().startswith(("LD_", "GCONV_", "PROVISION_")):
        why = reserved.VARIABLES.get(name, "it changes how programs load")
        raise ValueError(f"another variable: {name} is not free, {why}")
    if reserved.SECRET_VARIABLE.search(name.upper()):
        raise ValueError("a variable that is no secret: settings are recorded in clear on the server")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if value == "":
        return ""
    return text(value, "a variable's value", 4096)


def table_of(entry: Callable[[str, object], str], limit: int = 100) -> Check:
    def check(value: object) -> dict[str, str]:
        if not isinstance(value, dict):
            raise ValueError('a table, like { name = "value" }')
        if len(value) > limit:
            raise ValueError(f"a table of at most {limit} entries")
        return {name: entry(name, value[name]) for name in sorted(value)}

    return check


def memory(value: object) -> str:
    """systemd's size, whole mebibytes or gibibytes: at least 256M, at most 4096G."""
    match = re.fullmatch(r"([1-9]\d{0,7})([MG])", value) if isinstance(value, str) else None
    size = 0 if match is None else int(match[1]) * (1 if match[2] == "M" else 1024)
    if not isinstance(value, str) or not 256 <= size <= 4096 * 1024:
        raise ValueError('a size from "256M" to "4096G"')
    return value


def version(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"\d{1,4}(\.\d{1,4}){1,3}((a|b|rc)\d{1,3})?", value):
        raise ValueError('a version, like "3.17.2"')
    return value


def sha256(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[0-9a-fA-F]{64}", value):
        raise ValueError("a SHA-256: 64 hexadecimal digits")
    return value.lower()


def label(value: object) -> str:
    """A short human name of a build, as the record keeps it."""
    name = text(value, "a build's name", 80)
    if not re.fullmatch(r"[A-Za-z0-9 ._+:()/-]+", name):
        raise ValueError("a build's name of plain letters and digits")
    return name


def as_label(name: str) -> str:
    """`name` with what `label` would refuse left out; may be empty."""
    return " ".join(re.sub(r"[^A-Za-z0-9 ._+:()/-]", " ", name).split())[:80].strip()


def only(available: Iterable[str], why: str) -> Callable[[Any], str | None]:
    """A value that is understood but not available yet: the reason, or None when it may be used."""
    allowed = tuple(available)
    return lambda value: None if value in allowed else why
