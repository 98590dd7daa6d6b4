"""Attacks on the one origin, as bytes: what a stranger, or a colleague with the login, could send.

Tables, no judgement: tests/host/test_attacks.py says what may come of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

BUCKET = "mlflow"
CHUNKED = "Transfer-Encoding: chunked"


@dataclass(frozen=True)
class Attack:
    """Bytes for one connection. `{auth}` stands for the login's header, `{host}` for the server's authority."""

    name: str
    data: bytes
    wait: float = 2.0
    """Seconds after which no more answer is waited for."""


STORE_TARGETS = (
    "minio/admin/v3/info",
    "minio/admin/v3/list-users",
    "minio/health/live",
    "minio/health/cluster",
    "minio/v2/metrics/cluster",
    "minio/metrics/v3",
    "minio/bootstrap/v1/verify",
    "minio/kms/v1/status",
    "minio/ui/",
    "minio/index.html",
    "crossdomain.xml",
    "?Action=AssumeRole&Version=2011-06-15",
    "?Action=ListUsers&Version=2010-05-08",
    "other-bucket/secret.txt",
    "buckets/other-bucket/secret.txt",
    "dir/status",
    "cluster/status",
    "healthz",
    "debug/pprof/",
    "",
)
"""Below the root of MinIO's and SeaweedFS's S3 port, or of their other ports."""

STORE_ROADS = (
    "/{}",
    "//{}",
    "/./{}",
    "/%2e/{}",
    "/{b}/../{}",
    "/{b}/./../{}",
    "/{b}/x/../../{}",
    "/{b}/%2e%2e/{}",
    "/{b}/%2E%2E/{}",
    "/{b}/.%2e/{}",
    "/{b}/%2e./{}",
    "/{b}/..%2f{}",
    "/{b}/..%2F{}",
    "/{b}/%2e%2e%2f{}",
    "/{b}%2f..%2f{}",
    "/{b}%2f%2e%2e%2f{}",
    "/{b}/..;/{}",
    "/{b}/..;x=1/{}",
    "/{b};/../{}",
    "/{b}/..\\{}",
    "/{b}\\..\\{}",
    "/{b}/..%5c{}",
    "/{b}%5c..%5c{}",
    "/{b}//..//{}",
    "/{b}/..//{}",
    "/{b}/%252e%252e/{}",
    "/{b}/%252e%252e%252f{}",
    "/{b}/..%00/{}",
    "/{b}/%00/../{}",
    "/{b}/..#/{}",
    "/{b}#/../{}",
    "/{b}?/../{}",
    "/{b}/?/../../{}",
    "/{b}/%c0%ae%c0%ae/{}",
    "/{b}/%c0%ae%c0%ae%c0%af{}",
    "/{b}/%u002e%u002e/{}",
    "/{b}/..%0d%0a/{}",
    "/{b}/%0d%0aGET%20/{}",
    "/{b} /../{}",
    "/{b}\t/../{}",
    "/%6d%6cflow/../{}",
    "/%6dlflow/{}",
    "/MLFLOW/../{}",
    "/{b}./{}",
    "/{b}%20/{}",
    "/x/../{b}/../{}",
    "/static-files/../{}",
    "/static-files/..%2f{}",
    "/health/..%2f..%2f{}",
    "/api/2.0/mlflow-artifacts/artifacts/..%2f..%2f..%2f..%2f..%2f{}",
    "/get-artifact/../{b}/../{}",
    "http://127.0.0.1:9000/{}",
    "http://127.0.0.1:9000/{b}/../{}",
    "http://{host}/{b}/../{}",
    "http://{host}/{}",
    "HTTP://{host}//{}",
    "https://{host}/{b}/..%2f{}",
    "//127.0.0.1:9000/{}",
    "/{b}@127.0.0.1:9000/{}",
    "@127.0.0.1:9000/{}",
    "127.0.0.1:9000/{}",
    "ftp://{host}/{b}/../{}",
    "/{b}/http://127.0.0.1:9000/{}",
)
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT", "PROPFIND", "get", "GET\t")


def request(method: str, target: str, *headers: str, body: bytes = b"", version: str = "HTTP/1.1") -> bytes:
    lines = [f"{method} {target} {version}", "Host: {host}", "Connection: close", "{auth}", *headers]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def store_roads() -> Iterator[Attack]:
    """Every road to some of the targets by GET, so that each target is met often; the worst roads by every method."""
    for number, road in enumerate(STORE_ROADS):
        some = [STORE_TARGETS[(number * 5 + step) % len(STORE_TARGETS)] for step in range(5)]
        for target in some:
            yield _by_get(road, target)
    for road in STORE_ROADS:
        yield _by_get(road, STORE_TARGETS[0])
    roads = ("/{}", "/{b}/../{}", "/{b}/%2e%2e/{}", "/{b}/..%2f{}", "http://127.0.0.1:9000/{}")
    targets = ("minio/admin/v3/info", "?Action=AssumeRole&Version=2011-06-15", "other-bucket/secret.txt")
    for method, road, target in product(METHODS, roads, targets):
        path = road.replace("{b}", BUCKET).replace("{}", target)
        yield Attack(f"{method} {path}", request(method, path, body=b"Action=AssumeRole" if method == "POST" else b""))


def _by_get(road: str, target: str) -> Attack:
    path = road.replace("{b}", BUCKET).replace("{}", target)
    return Attack(f"GET {path}", request("GET", path))


ASSISTANT = (
    "/ajax-api/3.0/mlflow/assistant/config",
    "/api/3.0/mlflow/assistant/config",
    "/ajax-api/3.0/mlflow/assistant",
    "/ajax-api/3.0/mlflow/assistant/",
    "//ajax-api/3.0/mlflow/assistant/config",
    "/ajax-api//3.0//mlflow//assistant//config",
    "/ajax-api/3.0/mlflow/%61ssistant/config",
    "/ajax-api/3.0/mlflow/%61%73%73%69%73%74%61%6e%74/config",
    "/%61jax-api/3.0/mlflow/assistant/config",
    "/ajax-api/3%2e0/mlflow/assistant/config",
    "/ajax-api%2f3.0%2fmlflow%2fassistant%2fconfig",
    "/ajax-api/3.0/mlflow%2fassistant/config",
    "/ajax-api/3.0/mlflow/%2561ssistant/config",
    "/ajax-api/3.0/mlflow/ASSISTANT/config",
    "/Ajax-Api/3.0/MLflow/Assistant/config",
    "/ajax-api/3.0/mlflow/assistant;/config",
    "/ajax-api/3.0/mlflow/assistant;x=1/config",
    "/ajax-api/3.0/mlflow/;/assistant/config",
    "/ajax-api/3.0/mlflow/assistant./config",
    "/ajax-api/3.0/mlflow/assistant%20/config",
    "/ajax-api/3.0/mlflow/assistant%00/config",
    "/ajax-api/3.0/mlflow/assistant%23/config",
    "/ajax-api/3.0/mlflow/assistant%3f/config",
    "/ajax-api/3.0/mlflow/assistant?/config",
    "/ajax-api/3.0/mlflow/assistant#/config",
    "/ajax-api/3.0/mlflow/./assistant/config",
    "/ajax-api/3.0/mlflow/%2e/assistant/config",
    "/ajax-api/3.0/mlflow/x/../assistant/config",
    "/ajax-api/3.0/mlflow/x/%2e%2e/assistant/config",
    "/ajax-api/3.0/mlflow/x/..%2fassistant/config",
    "/ajax-api/3.0/mlflow/assistant/providers/../health",
    "/ajax-api/3.0/mlflow/assistant/providers/%2e%2e/health",
    "/ajax-api/3.0/mlflow/assistant/sessions/../../../stream",
    "/ajax-api/3.0/mlflow/assistant/sessions/..%2f..%2f..%2f/stream",
    "/ajax-api/3.0/mlflow/assistant/../runs/search",
    "/ajax-api/3.0/mlflow/assistant\\config",
    "/ajax-api/3.0/mlflow\\assistant/config",
    "\\ajax-api/3.0/mlflow/assistant/config",
    "/mlflow/../ajax-api/3.0/mlflow/assistant/config",
    "/static-files/../ajax-api/3.0/mlflow/assistant/config",
    "/static-files/..%2fajax-api/3.0/mlflow/assistant/config",
    "/mlflow/ajax-api/3.0/mlflow/assistant/config",
    "/prefix/ajax-api/3.0/mlflow/assistant/config",
    "http://{host}/ajax-api/3.0/mlflow/assistant/config",
    "http://127.0.0.1:5500/ajax-api/3.0/mlflow/assistant/config",
    "http://localhost//ajax-api/3.0/mlflow/assistant/config",
    "HTTP://LOCALHOST/ajax-api/3.0/mlflow/%61ssistant/config",
)

LOCAL = (
    "X-Forwarded-For: 127.0.0.1",
    "X-Forwarded-For: 127.0.0.1, 127.0.0.1\r\nX-Forwarded-For: ::1",
    "x-forwarded-for: 127.0.0.1\r\nX-FORWARDED-FOR: localhost",
    "X_Forwarded_For: 127.0.0.1",
    "X-Forwarded-For : 127.0.0.1",
    "Forwarded: for=127.0.0.1;host=localhost;proto=http",
    "X-Real-IP: 127.0.0.1",
    "X-Client-IP: 127.0.0.1\r\nTrue-Client-IP: 127.0.0.1\r\nCF-Connecting-IP: 127.0.0.1",
    "X-Forwarded-Host: localhost\r\nX-Forwarded-Port: 5500",
    "X-Forwarded-Prefix: /ajax-api/3.0/mlflow/assistant",
    "X-Script-Name: /ajax-api/3.0/mlflow/assistant\r\nScript-Name: /x",
    "X-Original-URL: /ajax-api/3.0/mlflow/assistant/config\r\nX-Rewrite-URL: /ajax-api/3.0/mlflow/assistant/config",
    "X-HTTP-Method-Override: PUT\r\nX-Method-Override: PUT\r\nX-HTTP-Method: PUT",
    "Connection: close, X-Forwarded-For, X-Real-IP",
    "Connection: X-Forwarded-For",
    "Via: 1.1 localhost",
    "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\nConnection: Upgrade, HTTP2-Settings",
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAA",
)

HOSTS = (
    "localhost",
    "127.0.0.1:5500",
    "127.0.0.1:9000",
    "other-bucket.{host}",
    "other-bucket",
    "minio",
    "{host}@127.0.0.1:9000",
    "{host}/minio",
    "{host}\r\nHost: 127.0.0.1:9000",
    "127.0.0.1:9000\r\nHost: {host}",
    "",
    "[::1]:9000",
    "169.254.169.254",
    "{host}#",
    "{host}:80:80",
    "a" * 5000,
)


def assistant_roads() -> Iterator[Attack]:
    for path in ASSISTANT:
        yield Attack(f"GET {path}", request("GET", path))
        yield Attack(f"PUT {path}", request("PUT", path, "Content-Type: application/json", body=b"{}"))
    paths = (ASSISTANT[0], ASSISTANT[6], "/ajax-api/2.0/mlflow/experiments/get?experiment_id=0")
    for header, path in product(LOCAL, paths):
        yield Attack(f"{header} {path}", request("GET", path, header))
    for host, path in product(HOSTS, (ASSISTANT[0], f"/{BUCKET}/x", "/minio/admin/v3/info", "/")):
        data = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{{auth}}\r\n\r\n".encode()
        yield Attack(f"Host {host[:60]} {path}", data)


METRICS = ("/metrics", "/metrics/", "//metrics", "/%6detrics", "/metrics?x", "/./metrics", "/x/../metrics")

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
