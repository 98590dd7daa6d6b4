"""What a user writes for a host (`user@host:port`, an address, an ssh alias), read strictly."""

from __future__ import annotations

import re
import socket

from provisioner.errors import UsageError
from provisioner.values import dataclass

_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,253}[A-Za-z0-9_.])?")
# Directory users are written DOMAIN\user or user@domain; nothing here is special inside quotes.
_USER = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9._@+$\\-]{0,127}")
_LONGEST = 512


@dataclass(frozen=True)
class Target:
    """A host as the user wrote it. `name` is an alias, a DNS name or an address (IPv6 without brackets);
    `user` and `port` are None when the text names none, so that ~/.ssh/config can."""

    text: str
    name: str
    user: str | None = None
    port: int | None = None


def parse_target(text: str) -> Target:
    """`user@host:port` with everything but the host optional; IPv6 bare or, with a port, in brackets.

    Raises UsageError for anything that another program could take for an option, a separator or a
    command: a leading `-`, white space, control characters, quotes, shell signs.
    """
    if not text or len(text) > _LONGEST:
        raise _bad(text, "it is empty" if not text else f"it is longer than {_LONGEST} characters")
    if any(ord(sign) < 33 or ord(sign) == 127 or sign.isspace() for sign in text):
        raise _bad(text, "it contains white space or a control character")
    user, at, rest = text.rpartition("@")
    if at and not _USER.fullmatch(user):
        raise _bad(text, f"{user!r} is not a user name")
    name, port = _split_port(text, rest)
    if not _address(name) and (not _NAME.fullmatch(name) or ".." in name):
        raise _bad(text, f"{name!r} is not a host name")
    return Target(text, name, user if at else None, port)


def bracketed(name: str, port: int) -> str:
    """`name` as known_hosts writes it: plain on port 22, `[name]:port` elsewhere."""
    return name if port == 22 else f"[{name}]:{port}"


def _split_port(text: str, rest: str) -> tuple[str, int | None]:
    if rest.startswith("["):
        name, bracket, tail = rest[1:].partition("]")
        if not bracket or not _address(name) or ":" not in name or (tail and not tail.startswith(":")):
            raise _bad(text, "brackets hold an IPv6 address, as in [2001:db8::1]:22")
        return name, _port(text, tail[1:]) if tail else None
    if rest.count(":") > 1:
        if not _address(rest):
            raise _bad(text, "it has several colons and is not an IPv6 address")
        return rest, None
    name, colon, tail = rest.partition(":")
    return name, _port(text, tail) if colon else None


def _port(text: str, digits: str) -> int:
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 5 and 0 < int(digits) < 65536):
        raise _bad(text, f"{digits!r} is not a port (1 to 65535)")
    return int(digits)


def _address(name: str) -> bool:
    # Not ipaddress: importing it costs more than everything else here together.
    number, percent, zone = name.partition("%")
    if percent and (":" not in number or not re.fullmatch(r"[A-Za-z0-9._-]+", zone)):
        return False
    try:
        socket.inet_pton(socket.AF_INET6 if ":" in number else socket.AF_INET, number)
    except (OSError, ValueError):
        return False
    return True


def _bad(text: str, why: str) -> UsageError:
    return UsageError(f"not a host: {text[:80]!r}", why=why, next="write it as HOST, USER@HOST or USER@HOST:PORT")
