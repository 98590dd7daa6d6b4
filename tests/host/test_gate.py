"""nginx between the hosts of a stack: what gets through, who does not, and one server of several that is down.

The sites are those of the steps, the certificates are made by the hosts. Behind them a server tells what it got.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace

import pytest

from provisioner.certificates import authority
from provisioner.certificates.material import ROOT, unpack
from provisioner.door import Door
from provisioner.lab import hosts
from provisioner.lab.host import LabHost
from provisioner.resources.certificate import Issuer
from provisioner.resources.facts import Facts
from provisioner.resources.file import File
from provisioner.resources.unit import Service
from provisioner.secrets import Secret
from provisioner.settings import effective
from provisioner.steps import Context, certificates, gate, inner, proxy
from provisioner.steps.host_certificates import ISSUER, SCRIPT
from provisioner.topology import Member, Topology

from .conftest import LANE

PASSWORD = "a-test-password"
BACKEND = """
import hashlib, http.server, json, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        left, digest = int(self.headers.get("Content-Length") or 0), hashlib.sha256()
        while left:
            data = self.rfile.read(min(left, 65536))
            digest.update(data)
            left -= len(data)
        told = {"host": sys.argv[1], "port": self.server.server_port, "sha256": digest.hexdigest()}
        answer = json.dumps(told | {"path": self.path, "headers": dict(self.headers)}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)
    do_POST = do_PUT = do_GET
    def log_message(self, *arguments):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2])), Handler).serve_forever()
"""
ASK = """
import socket, ssl, sys
host, port, name, certificate, root, path = sys.argv[1:]
context = ssl.create_default_context(cafile=root)
if certificate:
    context.load_cert_chain(certificate)
with context.wrap_socket(socket.create_connection((host, int(port)), 5), server_hostname=name) as s:
    s.sendall(f"GET {path} HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n".encode())
    print(s.recv(12).decode().split()[1])
"""


@dataclass(frozen=True)
class Hosts:
    """A URL's host, one with the store and MLflow, a second MLflow."""

    door: LabHost
    back: LabHost
    second: LabHost

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
        """A client's request to the URL."""
        login = base64.b64encode(f"mlflow:{PASSWORD}".encode()).decode()
        connection = http.client.HTTPConnection(self.door.address, 5000, timeout=30)
        connection.request(method, path, body, {"Authorization": f"Basic {login}", **headers})
        answer = connection.getresponse()
        return answer.status, answer.read()

    def told(self, method: str, path: str, body: bytes | None = None, **headers: str) -> dict[str, object]:
        status, answer = self.ask(method, path, body, **headers)
        assert status == 200, answer
        found: dict[str, object] = json.loads(answer)
        return found


def put(host: LabHost, path: str, content: bytes, mode: int = 0o644) -> None:
    place = host.root / path.lstrip("/")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content)
    place.chmod(mode)


def settle(host: LabHost, member: Member, topology: Topology, secrets: Mapping[str, Secret]) -> None:
    """What the steps would write to this host, its certificate, and nginx."""
    settings = replace(effective({}, {}), topology=topology)
    url = topology.of("proxy")[0].address
    facts = Facts(addresses=("127.0.0.1", member.address), memory=2**31, cores=2)
    context = Context(settings, facts, secrets, Door("http", url, 5000, (url,)), name=member.name)
    step: gate.GateStep | proxy.Proxy = proxy.STEP if context.here.holds("proxy") else gate.STEP
    health = ""
    for resource in (*certificates.STEP.resources(context), *step.resources(context)):
        if isinstance(resource, File):
            put(host, resource.path, resource.content, resource.mode)
        elif isinstance(resource, Issuer):
            assert resource.root is not None
            put(host, ISSUER, authority.issuer(resource.root, resource.names).pem().encode(), 0o600)
        elif isinstance(resource, Service) and resource.health:
            health = resource.health
    host.check(f"chgrp www-data {proxy.ACCOUNTS} 2>/dev/null || :; rm -f /etc/nginx/sites-enabled/default; {SCRIPT}")
    host.check("systemctl daemon-reload; nginx -t -q; systemctl restart nginx")
    host.check(health)
    put(host, "/root/backend.py", BACKEND.encode())
    put(host, "/root/ask.py", ASK.encode())
    for role in set(member.roles) & set(inner.PORTS):
        serve(host, member.name, role)


def serve(host: LabHost, name: str, role: str) -> None:
    port = inner.PORTS[role]
    host.check(f"systemctl reset-failed {role}.service 2>/dev/null || :")
    host.check(f"systemd-run -q --unit={role} python3 /root/backend.py {name} {port}")
    host.check(f"until ss -Hltn 'sport = :{port}' | grep -q .; do sleep 0.1; done")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    roles = {"door": ("proxy",), "back": ("store", "mlflow"), "second": ("mlflow",)}
    members = [Member(name, f"10.151.0.{int(LANE) + 12 + n}", found) for n, (name, found) in enumerate(roles.items())]
    topology = Topology(tuple(members))
    secrets = {"login": Secret(PASSWORD), "mlflow.flask-key": Secret("k" * 48), ROOT: authority.new_root()}
    with ExitStack() as running:
        found = {}
        for member in members:
            host = running.enter_context(
                hosts.running(f"t-{member.name}-{LANE}", member.address, packages=("nginx", "openssl", "python3"))
            )
            settle(host, member, topology, secrets)
            found[member.name] = host
        yield Hosts(**found)


def test_bodies_of_any_size_and_headers_get_through_and_no_request_looks_local(stack: Hosts) -> None:
    body = os.urandom(64 * 2**20)
    stored = stack.told("PUT", "/mlflow/a%20b/%C3%A9?X-Amz-Signature=x%2F", body)
    assert (stored["host"], stored["port"], stored["sha256"]) == ("back", 9000, hashlib.sha256(body).hexdigest())
    assert stored["path"] == "/mlflow/a%20b/%C3%A9?X-Amz-Signature=x%2F", "signed addresses stay as they are"
    artifact = stack.told("PUT", "/api/2.0/mlflow-artifacts/artifacts/x", body)
    assert (artifact["port"], artifact["sha256"]) == (5500, hashlib.sha256(body).hexdigest())
    lying = {"X-Forwarded-For": "127.0.0.1", "Forwarded": "for=127.0.0.1", "X-Forwarded-Host": "evil.example"}
    headers = stack.told("GET", "/api/2.0/mlflow/x", **lying)["headers"]
    assert isinstance(headers, dict)
    assert headers["Host"] == f"{stack.door.address}:5000"
    assert headers["X-Forwarded-For"] == headers["X-Real-IP"]
    assert headers["X-Forwarded-For"] not in {"127.0.0.1", stack.door.address}, "the client's own"
    assert not {"Authorization", "Forwarded", "X-Forwarded-Host"} & set(headers)
    assert stack.ask("GET", "/health") == (200, b"OK")


def test_a_gate_lets_in_the_url_s_host_and_nobody_else(stack: Hosts) -> None:
    other = unpack(authority.new_root())
    foreign = authority.issuer(other, ("x.example",)).pem().encode()
    for host in (stack.door, stack.second):
        put(host, "/root/foreign.pem", foreign, 0o600)

    def asked(host: LabHost, role: str, certificate: str, path: str = "/mlflow/") -> str:
        words = f"{stack.back.address} {inner.GATES[role]} {role}.provision.internal '{certificate}' {inner.ROOT_FILE}"
        return host.check(f"python3 /root/ask.py {words} {path}").strip()

    for role in inner.GATES:
        assert asked(stack.door, role, inner.IDENTITY) == "200"
        for host in (stack.door, stack.second):
            assert asked(host, role, "") == "400", "without a certificate"
            assert asked(host, role, "/root/foreign.pem") == "400", "with one of another root"
        assert asked(stack.second, role, inner.IDENTITY) == "403", "with the stack's, from another address"
        assert asked(stack.door, role, inner.IDENTITY, "/.provision") == "404"
    assert asked(stack.door, "store", inner.IDENTITY, "/minio/admin/v3/info") == "404", "only the bucket"
    for ports, heard in ((inner.GATES, True), (inner.PORTS, False)):
        for port in ports.values():
            knock = f"timeout 3 bash -c 'exec 3<>/dev/tcp/{stack.back.address}/{port}'"
            assert (stack.second.exec(knock).rc == 0) == heard, port


def test_one_of_several_servers_that_dies_costs_one_request_that_must_not_be_repeated(stack: Hosts) -> None:
    def many() -> Counter[tuple[str, int, object]]:
        found: Counter[tuple[str, int, object]] = Counter()
        for n in range(60):
            method = "POST" if n % 2 else "GET"
            status, answer = stack.ask(method, "/api/2.0/mlflow/x", b"{}" if n % 2 else None)
            found[method, status, json.loads(answer)["host"] if status == 200 else ""] += 1
        return found

    assert {host for _, _, host in many()} == {"back", "second"}
    stack.second.check("systemctl kill -s KILL mlflow.service")
    left = many()
    assert {key for key in left if key[1] == 200} == {("GET", 200, "back"), ("POST", 200, "back")}
    # 60 requests may take longer than the 5 s for which it is left out, on a busy machine.
    assert sum(count for (method, status, _), count in left.items() if status == 502 and method == "POST") <= 3
    assert not any(status != 200 and method == "GET" for method, status, _ in left)
    assert stack.ask("GET", "/health") == (200, b"OK")
    serve(stack.second, "second", "mlflow")


def test_a_server_with_the_certificate_of_another_role_or_root_is_not_asked(stack: Hosts) -> None:
    kept = (stack.back.root / inner.IDENTITY.lstrip("/")).read_bytes()
    stranger = (stack.second.root / inner.IDENTITY.lstrip("/")).read_bytes()
    try:
        put(stack.back, inner.IDENTITY, stranger, 0o600)
        stack.back.check("systemctl restart nginx")
        assert stack.ask("PUT", "/mlflow/x", b"x")[0] == 502
        errors = (stack.door.root / "var/log/nginx/provision-mlflow.error.log").read_text()
        assert 'does not match "store.provision.internal"' in errors
    finally:
        put(stack.back, inner.IDENTITY, kept, 0o600)
        stack.back.check("systemctl restart nginx")
    assert stack.ask("PUT", "/mlflow/x", b"x")[0] == 200


def test_hosts_come_up_again_with_their_gates(stack: Hosts) -> None:
    name = f"t-back-{LANE}"
    again = hosts.reboot(name)
    assert again.address == stack.back.address
    serve(again, "back", "store")
    serve(again, "back", "mlflow")
    assert stack.told("PUT", "/mlflow/x", b"x")["host"] == "back"
