"""Listens, on a host, to what nginx really says to MLflow and to the store.

The only witness that no trick can talk to: it reads the packets on the host's loopback. What it heard is read
here by the strictest rules of RFC 9112, so that a request whose end two programs could see in different places
is an error too.
"""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from provisioner.lab.host import LabHost

MLFLOW, STORE = 5500, 9000
_KEPT = "/root/heard"

_PROGRAM = """\
import base64, json, socket
out = open("/root/heard", "w", buffering=1)
ear = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800))
ear.setsockopt(socket.SOL_SOCKET, 33, 64 * 2**20)  # SO_RCVBUFFORCE
ear.bind(("lo", 0))
print("{}", file=out)
while True:
    data, where = ear.recvfrom(262144)
    if where[2] == 4 or data[23] != 6:  # once: what goes out on loopback comes in, too
        continue
    at = 14 + (data[14] & 15) * 4
    source, port = int.from_bytes(data[at:at + 2], "big"), int.from_bytes(data[at + 2:at + 4], "big")
    if port not in (5500, 9000):
        continue
    length = 14 + int.from_bytes(data[16:18], "big")
    payload = data[at + (data[at + 12] >> 4) * 4:length]
    number = int.from_bytes(data[at + 4:at + 8], "big")
    if payload or data[at + 13] & 2:
        print(json.dumps([port, source, number, data[at + 13] & 2, base64.b64encode(payload).decode()]), file=out)
"""


@dataclass(frozen=True)
class Head:
    """One request as a server behind nginx got it; names of headers in lower case."""

    port: int
    method: str
    target: str
    headers: tuple[tuple[str, str], ...]

    @property
    def path(self) -> str:
        """The target's path as the most willing reader would take it: decoded once."""
        return unquote_to_bytes(self.target.partition("?")[0]).decode("latin-1")

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name]


class Unclear(AssertionError):
    """Bytes behind nginx that are not exactly one request after the other."""


def start(host: LabHost) -> None:
    (host.root / "root/ear.py").write_text(_PROGRAM)
    host.exec("systemctl stop ear.service; rm -f /root/heard")
    host.check("systemd-run -q --unit=ear python3 /root/ear.py")
    host.check(f"i=0; until [ -s {_KEPT} ]; do i=$((i+1)); [ $i -lt 200 ] || exit 1; sleep 0.05; done")


def heard(host: LabHost, bucket: str, get: Callable[[str], object]) -> list[Head]:
    """Everything since `start`, in no order between connections; waits until a request made now (by `get`, of a
    path) was heard."""
    mark = f"/{bucket}/mark-{time.monotonic_ns()}"
    for _ in range(100):
        get(mark)
        found = _streams(host)
        if any(mark.encode() in data for _, data in found):
            return [head for port, data in found for head in parse(port, data)]
        time.sleep(0.05)
    raise AssertionError("the ear on the host does not hear")


def stop(host: LabHost) -> None:
    host.exec("systemctl stop ear.service")


def _streams(host: LabHost) -> list[tuple[int, bytes]]:
    streams: dict[tuple[int, int], list[tuple[int, bytes]]] = {}
    ended: list[tuple[int, bytes]] = []
    for line in (host.root / _KEPT.lstrip("/")).read_text().splitlines()[1:]:
        try:
            port, source, number, syn, payload = json.loads(line)
        except ValueError:  # the last line, half written
            break
        key = (port, source)
        if syn and key in streams:
            ended.append((port, _joined(streams.pop(key))))
        streams.setdefault(key, [])
        if payload:
            streams[key].append((number, base64.b64decode(payload)))
    return ended + [(key[0], _joined(parts)) for key, parts in streams.items()]


def _joined(parts: list[tuple[int, bytes]]) -> bytes:
    """Bytes of one direction, what was sent twice once."""
    data, at = b"", None
    for number, payload in parts:
        skip = 0 if at is None else (at - number) % 2**32
        if skip >= 2**31:
            raise Unclear("a packet was not heard")
        data += payload[skip:]
        at = (number + len(payload)) % 2**32 if at is None or skip < len(payload) else at
    return data


_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def parse(port: int, data: bytes) -> list[Head]:
    """The requests of one connection. Raises Unclear for anything that is not one strictly well-formed request after
    the other; a last one may be cut short in its body."""
    heads: list[Head] = []
    while data:
        head, mark, rest = data.partition(b"\r\n\r\n")
        if not mark:
            raise Unclear(f"half a head to {port}: {data[:300]!r}")
        lines = head.split(b"\r\n")
        if any(b"\n" in line or b"\r" in line or b"\0" in line for line in lines):
            raise Unclear(f"a bare line end or a zero to {port}: {head[:500]!r}")
        first = re.fullmatch(rb"([A-Z]+) ([!-~\x80-\xff]+) HTTP/1\.1", lines[0])
        if first is None:
            raise Unclear(f"a request line to {port}: {lines[0][:300]!r}")
        headers = []
        for line in lines[1:]:
            name, colon, value = line.decode("latin-1").partition(":")
            if not colon or not _TOKEN.fullmatch(name):
                raise Unclear(f"a header to {port}: {line[:300]!r}")
            headers.append((name.lower(), value.strip(" \t")))
        found = Head(port, first[1].decode(), first[2].decode("latin-1"), tuple(headers))
        heads.append(found)
        data = _after_body(found, rest)
    return heads


def _after_body(head: Head, rest: bytes) -> bytes:
    lengths, codings = head.all("content-length"), head.all("transfer-encoding")
    if len(lengths) + len(codings) > 1:
        raise Unclear(f"two lengths: {head}")
    if codings:
        if codings != ["chunked"]:
            raise Unclear(f"an unknown coding: {head}")
        return _after_chunks(head, rest)
    if lengths:
        if not re.fullmatch("[0-9]+", lengths[0]):
            raise Unclear(f"a length that is none: {head}")
        return rest[int(lengths[0]) :]
    return rest


def _after_chunks(head: Head, rest: bytes) -> bytes:
    while True:
        line, mark, after = rest.partition(b"\r\n")
        if not mark:
            return b""  # cut short
        if not re.fullmatch(rb"[0-9a-fA-F]{1,16}", line):
            raise Unclear(f"a chunk's size {line[:100]!r}: {head}")
        size = int(line, 16)
        if len(after) < size + 2:
            return b""
        if after[size : size + 2] != b"\r\n":
            raise Unclear(f"a chunk's end: {head}")
        rest = after[size + 2 :]
        if size == 0:
            return rest
