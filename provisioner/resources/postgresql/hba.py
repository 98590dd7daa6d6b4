"""pg_hba.conf as text: our marked block in it, and where it must stand to be the first match.

Foreign lines are never changed, not by a byte. Records are read only to see which of them could
answer before ours; whatever is not understood counts as one that could.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import replace

from provisioner.values import dataclass

BEGIN = "# provision: begin (written by provision; change it with database.allow, not here)"
END = "# provision: end"
_BEGIN = re.compile(rb"\s*# provision: begin\b.*", re.DOTALL)
_END = re.compile(rb"\s*# provision: end\b.*", re.DOTALL)
_FIELD = re.compile(r'((?:"[^"]*"|[^\s,"])+(?:\s*,\s*(?:"[^"]*"|[^\s,"])+)*)\s*')
_OVER_TCP = {"host", "hostssl", "hostnossl", "hostgssenc", "hostnogssenc"}
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True)
class Access:
    """Who gets in over TCP: one role to its databases from some networks, by SCRAM."""

    database: str
    role: str
    networks: tuple[str, ...]
    more: tuple[str, ...] = ()
    """Further databases of the role."""
    encrypted: tuple[str, ...] = ()
    """Networks from which only TLS gets in."""

    @property
    def everywhere(self) -> tuple[str, ...]:
        return (*self.networks, *self.encrypted)

    @property
    def databases(self) -> tuple[str, ...]:
        return (self.database, *self.more)

    @property
    def lines(self) -> tuple[str, ...]:
        kinds = [("host", each) for each in self.networks] + [("hostssl", each) for each in self.encrypted]
        return tuple(
            f"{kind:<7} {','.join(self.databases):<15} {self.role:<15} {network:<23} scram-sha-256"
            for kind, network in kinds
        )

    @property
    def block(self) -> bytes:
        return "".join(f"{line}\n" for line in (BEGIN, *self.lines, END)).encode()


@dataclass(frozen=True)
class _Item:
    """Lines that belong together: one, or several joined by backslashes (PostgreSQL 14 and later)."""

    raw: bytes
    ours: bool = False

    @property
    def joined(self) -> bool:
        return b"\\\n" in self.raw or b"\\\r\n" in self.raw or self.open

    @property
    def open(self) -> bool:
        """It would swallow whatever came after it."""
        return self.raw.rstrip(b"\r\n").endswith(b"\\")


def networks(content: bytes) -> list[str]:
    """The networks that our block lets in as it stands, whatever was made of it."""
    return [network for _, network in _let_in(content)]


def plain(content: bytes) -> bool:
    """Whether our block as it stands lets anybody beyond loopback in without TLS."""
    return any(kind == "host" and not _is_loopback(network) for kind, network in _let_in(content))


def _is_loopback(network: str) -> bool:
    try:
        return ipaddress.ip_network(network, strict=False).is_loopback
    except ValueError:
        return False


def _let_in(content: bytes) -> list[tuple[str, str]]:
    inside, found = False, []
    for line in content.splitlines():
        if _BEGIN.match(line) or _END.match(line):
            inside = _BEGIN.match(line) is not None
        elif inside and (match := re.match(rb"\s*(host|hostssl)\s+\S+\s+\S+\s+([0-9a-fA-F.:]+/\d+)\s", line)):
            found.append((match[1].decode(), match[2].decode()))
    return found


def applied(content: bytes, access: Access) -> bytes:
    """`content` with our block, once, in a place where no foreign record answers before it.

    A block that is right and well placed stays where it is. Laws: applied(applied(x)) == applied(x);
    `foreign` of the result is that of `content`, but for a newline its last line may have lacked.
    """
    items = _items(content)
    first = next((number for number, item in enumerate(items) if item.ours), None)
    rest = [item for item in items if not item.ours]
    if first is not None and _first_match(rest[:first], access) is None:
        place = first
    else:
        match = _first_match(rest, access)
        place = len(rest) if match is None else _above_comments(rest, match)
        if match is None and rest and rest[-1].open:
            place -= 1
    head = b"".join(item.raw for item in rest[:place])
    if head and not head.endswith(b"\n"):
        head += b"\n"
    return head + access.block + b"".join(item.raw for item in rest[place:])


def foreign(content: bytes) -> bytes:
    """All that is not ours."""
    return b"".join(item.raw for item in _items(content) if not item.ours)


def reason(content: bytes, access: Access) -> str:
    """Why `applied` changes `content`."""
    items = _items(content)
    first = next((number for number, item in enumerate(items) if item.ours), None)
    if first is None:
        return "its block is absent"
    match = _first_match([item for item in items[:first] if not item.ours], access)
    if match is not None:
        record = " ".join(_record(items[match].raw) or ("a line",))[:100]
        return f"another line answers first: {record}"
    standing = [item.raw.strip() for item in items if item.ours]
    missing = [line for line in access.block.splitlines() if line not in standing]
    extra = [line for line in standing if line not in access.block.splitlines()]
    if len(missing) == 1 and not extra:
        return f"a line of its block is missing: {' '.join(missing[0].decode().split())}"
    if len(extra) == 1 and not missing:
        return f"a line in its block is not wanted: {' '.join(extra[0].decode('utf-8', 'replace').split())[:100]}"
    return f"its block differs: {len(extra)} lines not wanted, {len(missing)} missing"


def _items(content: bytes) -> list[_Item]:
    items: list[_Item] = []
    pending = b""
    for line in re.findall(rb"[^\n]*\n|[^\n]+", content):
        pending += line
        if not pending.rstrip(b"\r\n").endswith(b"\\"):
            items.append(_Item(pending))
            pending = b""
    if pending:
        items.append(_Item(pending))
    begin: int | None = None
    for number, item in enumerate(items):
        if _BEGIN.fullmatch(item.raw):
            begin = number
        if _END.fullmatch(item.raw):
            # Without its begin (somebody removed it) only the mark itself is ours.
            for inside in range(number if begin is None else begin, number + 1):
                items[inside] = replace(items[inside], ours=True)
            begin = None
    return [replace(item, ours=True) if _BEGIN.fullmatch(item.raw) else item for item in items]


def _above_comments(items: Sequence[_Item], place: int) -> int:
    """The comments right above a record belong to it."""
    while place and items[place - 1].raw.lstrip(b" \t").startswith(b"#"):
        place -= 1
    return place


def _first_match(items: Sequence[_Item], access: Access) -> int | None:
    networks = [ipaddress.ip_network(network) for network in access.everywhere]
    for number, item in enumerate(items):
        record = _record(item.raw)
        if record and (item.joined or _may_match(record, access, networks)):
            return number
    return None


def _record(raw: bytes) -> tuple[str, ...] | None:
    """The fields of a record; None for an empty line or a comment; ("?",) when it makes no sense."""
    text = re.sub(r"\\\r?\n", "", raw.decode("utf-8", "replace"))
    code = ""
    for part in re.findall(r'"[^"]*"|#.*|[^"#]+|"', text, re.DOTALL):
        if part.startswith("#"):
            break
        code += part
    code = code.strip()
    if not code:
        return None
    fields = _FIELD.findall(code)
    return tuple(fields) if _FIELD.sub("", code) == "" else ("?",)


def _may_match(record: Sequence[str], access: Access, networks: Sequence[_Network]) -> bool:
    kind = record[0].strip('"')
    if kind == "local":
        return False
    if kind not in _OVER_TCP or len(record) < 4:
        return True
    database = any(
        _names(record[1], each, {"all", *({"sameuser"} if each == access.role else ())}) for each in access.databases
    )
    return database and _names(record[2], access.role, {"all"}) and _covers(record[3], record[4:], networks)


def _names(field: str, name: str, words: set[str]) -> bool:
    for entry in re.findall(r'((?:"[^"]*"|[^\s,"])+)', field):
        bare = entry.replace('"', "")
        if bare == name or (entry in words):
            return True
        # Groups, files of names and regular expressions can hold anything.
        if bare[:1] in {"+", "@", "/"} or entry in {"samerole", "samegroup"}:
            return True
    return False


def _covers(address: str, more: Sequence[str], networks: Sequence[_Network]) -> bool:
    text = address.replace('"', "")
    if "/" not in text and more and re.fullmatch(r"[0-9a-fA-F.:]+", more[0]):
        text = f"{text}/{more[0]}"
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        return True
    return any(network.version == other.version and network.overlaps(other) for other in networks)
