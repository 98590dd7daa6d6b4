"""Attacks on the one origin, as bytes: what a stranger, or a colleague with the login, could send.

Tables, no judgement: tests/host/test_attacks.py says what may come of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

BUCKET = "mlflow"


@dataclass(frozen=True)
class Attack:
    """Bytes for one connection. `{auth}` stands for the login's header, `{host}` for the server's authority,
    `{scheme}` for http or https, whichever clients use."""

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
    "X-Forwarded-Proto: ftp\r\nx-forwarded-proto: file",
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

SPELLINGS: tuple[Callable[[str], str], ...] = (
    lambda path: f"/{path}",
    lambda path: f"{path}/",
    lambda path: f"/%{ord(path[1:2] or '.'):02x}{path[2:]}",
    lambda path: path.upper(),
    lambda path: f"{path}?/health",
    lambda path: f"{path};/health",
    lambda path: f"/health/..{path}",
    lambda path: f"/static-files/..%2f{path[1:]}",
    lambda path: f"/static-files/..;{path}",
)
NO_LOGINS = (
    "X-Login: none",
    "Authorization: Basic",
    "Authorization: Basic ~~~~",
    "Authorization: Bearer x",
    "Authorization: Digest username=mlflow",
    "Authorization: AWS4-HMAC-SHA256 Credential=x",
)
WRONG = (b"mlflow:", b":", b"mlflow", b"nobody:x", b"mlflow\0:x", b"\xff:\xff")
"""Logins that MLflow looks up; it takes its time for each."""
