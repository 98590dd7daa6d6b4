"""What a value of the inventory may be. Each check returns the normalised value or raises ValueError
with the words that finish the sentence "expected ...".

Everything is hostile until it passed here: the results go into shell words, unit files, SQL, nginx.
"""

from __future__ import annotations

import ipaddress
import posixpath
import re
import urllib.parse
from collections.abc import Callable, Iterable
from typing import Any

from provisioner import reserved

Check = Callable[[Any], Any]

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")


def shown(value: object) -> str:
    """`value` as an error shows it: one line, printable, at most 60 characters."""
    text = f'"{value}"' if isinstance(value, str) else repr(value)
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


def local_path(value: object) -> str:
    """A path on the operator's machine; it is only ever opened, never put into a command."""
    return text(value, "a path on this machine", 4096)


def network(value: object) -> str:
    """An IPv4 or IPv6 network in its canonical form; a bare address becomes /32 or /128."""
    raw = text(value, 'a network, like "10.151.0.0/24"', 49)
    try:
        found = ipaddress.ip_network(raw)
    except ValueError as error:
        raise ValueError(f'a network, like "10.151.0.0/24" ({error})') from error
    if found.prefixlen == 0:
        raise ValueError("a network smaller than the whole internet")
    return str(found)


def host_name(raw: str) -> str:
    """A DNS name or IP address in lower case; raises ValueError."""
    try:
        return str(ipaddress.ip_address(raw.strip("[]")))
    except ValueError:
        pass
    name = raw.lower()
    labels = name.split(".")
    good = len(name) <= 253 and all(_LABEL.fullmatch(label) for label in labels)
    if not good or labels[-1].isdigit():
        raise ValueError("a DNS name or IP address")
    return name


def door_name(value: object) -> str:
    """A DNS name in lower case or an IP address, IPv6 without brackets; the port is `access.port`."""
    host, port = split_port(text(value, "a DNS name or IP address", 262))
    if port is not None:
        raise ValueError("a name without a port: that is access.port")
    return host_name(host)


def door_names(value: object) -> tuple[str, ...]:
    """The names of the one address; the first is what presigned URLs carry, so never loopback."""
    names: tuple[str, ...] = list_of(door_name, 32)(value)
    if names and is_loopback(names[0]):
        raise ValueError("a first name that other machines reach: artifact URLs carry it")
    return names


def is_loopback(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    return address.is_loopback or address.is_unspecified


def split_port(raw: str) -> tuple[str, int | None]:
    """`host`, `host:port`, `[v6]`, `[v6]:port` or a bare IPv6 address -> (host without brackets, port)."""
    match = re.fullmatch(r"\[([^\[\]]*)\](?::(\d{1,5}))?", raw)
    if match is None and raw.count(":") <= 1:
        match = re.fullmatch(r"([^:\[\]]*)(?::(\d{1,5}))?", raw)
    if match is None:
        if raw.count(":") > 1 and "[" not in raw:
            return raw, None
        raise ValueError("host, host:port or [IPv6 address]:port")
    port = None if match[2] is None else int(match[2])
    if port is not None and not 1 <= port <= 65535:
        raise ValueError("a port from 1 to 65535")
    return match[1], port


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


def pg_setting(name: str, value: object) -> str:
    """One `name = value` of postgresql.conf; numbers and booleans become their PostgreSQL text."""
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,62}(\.[a-z][a-z0-9_]{0,62})?", name):
        raise ValueError("the name of a PostgreSQL setting, like work_mem")
    if name in reserved.PG_SETTINGS or name.startswith("ssl_"):
        why = reserved.PG_SETTINGS.get(name, "it comes with [access] tls")
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


def download_url(value: object) -> str:
    """`default` (this tool's pinned release) or an http(s) URL without a user name or password in it."""
    if value == "default":
        return "default"
    raw = text(value, "a download's URL", 2048)
    if not re.fullmatch(r"https?://[A-Za-z0-9.\[\]:_-]+/[A-Za-z0-9._~:/?#@!$&()*+,;=%-]*", raw):
        raise ValueError('"default", or an https:// or http:// URL without a user name in it')
    parts = urllib.parse.urlsplit(raw)
    host_name(parts.hostname or "")
    _ = parts.port
    return raw


def label(value: object) -> str:
    """A short human name of a build, as the record keeps it."""
    name = text(value, "a build's name", 80)
    if not re.fullmatch(r"[A-Za-z0-9 ._+:()/-]+", name):
        raise ValueError("a build's name of plain letters and digits")
    return name


def as_label(name: str) -> str:
    """`name` with what `label` would refuse left out; may be empty."""
    return " ".join(re.sub(r"[^A-Za-z0-9 ._+:()/-]", " ", name).split())[:80].strip()


def host_spec(value: object) -> str:
    """`host`, `user@host`, `user@host:port` or an ssh alias, as it was written."""
    raw = text(value, "a host, like user@10.151.0.1:22", 400)
    split_host(raw)
    return raw


def split_host(raw: str) -> tuple[str | None, str, int | None]:
    """`user@host:port` -> (user, host, port); the host may be an alias of ~/.ssh/config."""
    user, at, rest = raw.rpartition("@")
    host, port = split_port(rest)
    if at:
        user = user_name(user)
    if ":" in host:
        host = str(ipaddress.IPv6Address(host))
    elif not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,252}", host):
        raise ValueError("a host: a name, an address or an alias of ~/.ssh/config, as user@host:port")
    return (user if at else None), host, port


def user_name(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.@+-]{0,63}", value):
        raise ValueError("a user's name: letters, digits, dot, dash, underscore")
    return value


def jump(value: object) -> str:
    """One host or several, separated by commas, as ssh's ProxyJump takes them."""
    raw = text(value, "a jump host, like user@bastion:22", 800)
    hops = [hop.strip() for hop in raw.split(",")]
    for hop in hops:
        split_host(hop)
    return ",".join(hops)


def host_key(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"SHA256:[A-Za-z0-9+/]{43}=?", value):
        raise ValueError('a fingerprint as ssh-keygen -l prints it, like "SHA256:…" with 43 characters')
    return value.rstrip("=")


def only(available: Iterable[str], why: str) -> Callable[[Any], str | None]:
    """A value that is understood but not available yet: the reason, or None when it may be used."""
    allowed = tuple(available)
    return lambda value: None if value in allowed else why
