"""How the URL's host reaches the store and MLflow on others, and that nobody else does."""

from __future__ import annotations

import http.server
import re
import ssl
import subprocess
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import shells
from test_certificates import ROOT, renew

from provisioner.certificates import authority
from provisioner.certificates.material import certificates as pem
from provisioner.door import Door
from provisioner.engine.probe import Seen
from provisioner.resources import mutual
from provisioner.resources.answers import Ask
from provisioner.resources.facts import Facts, Listener
from provisioner.resources.file import File, NoFile
from provisioner.resources.paths import PathProbe, PathState
from provisioner.resources.unit import Service
from provisioner.secrets import Secret
from provisioner.settings import effective
from provisioner.steps import Context, certificates, gate, inner, mlflow, nginx, ordered, own_accounts, proxy
from provisioner.steps.host_certificates import table
from provisioner.steps.inner import Upstream
from provisioner.steps.sizes import egress, sizes
from provisioner.topology import Member, Topology

SECRETS = {"login": Secret("fake-login-password"), "mlflow.flask-key": Secret("k" * 48)}
GIB = 2**30


def topology(**roles: str) -> Topology:
    members = enumerate(roles.items(), 1)
    return Topology(tuple(Member(name, f"10.0.0.{n}", tuple(text.split())) for n, (name, text) in members))


EACH = topology(s="store", d="database", m="mlflow", p="proxy")
SEVERAL = topology(s="store", d="database", m="mlflow", n="mlflow", p="proxy")
MIXED = topology(p="store mlflow proxy", m="database mlflow")
DATABASE_APART = topology(p="store mlflow proxy", d="database")


def context(hosts: Topology, name: str, **flags: object) -> Context:
    settings = replace(effective({key.replace("__", "."): value for key, value in flags.items()}, {}), topology=hosts)
    member = hosts.member(name)
    assert member is not None
    facts = Facts(addresses=("127.0.0.1", member.address))
    return Context(settings, facts, SECRETS, Door("http", "mlflow.example", 5000, ("mlflow.example",)), name=name)


def made(step: gate.GateStep | proxy.Proxy | mlflow.Mlflow, where: Context) -> dict[str, object]:
    return {resource.id: resource for resource in step.resources(where)}


def text(step: gate.GateStep | proxy.Proxy, where: Context, path: str) -> str:
    (found,) = (r for r in step.resources(where) if isinstance(r, File) and r.path == path)
    return found.content.decode()


def test_a_gate_is_where_the_store_or_mlflow_is_and_clients_are_not() -> None:
    opened = {name: made(gate.STEP, context(EACH, name)) for name in "sdmp"}
    assert not opened["d"]
    assert not opened["p"]
    assert "listen 9443 ssl;" in text(gate.STEP, context(EACH, "s"), inner.SITE)
    assert "5543" not in text(gate.STEP, context(EACH, "s"), inner.SITE)
    assert "listen 5543 ssl;" in text(gate.STEP, context(EACH, "m"), inner.SITE)
    assert "9443" not in text(gate.STEP, context(EACH, "m"), inner.SITE)


@pytest.mark.parametrize("hosts", [Topology(), DATABASE_APART], ids=["one host", "database apart"])
def test_where_the_topology_needs_no_gate_the_stack_has_none(hosts: Topology) -> None:
    settings = replace(effective({}, {}), topology=hosts)
    assert "gate" not in [step.name for step in ordered(settings)]
    name = hosts.members[0].name if hosts.members else ""
    alone = Context(settings, Facts(), SECRETS, Door("http", "x", 5000, ("x",)), name=name)
    site = text(proxy.STEP, alone, proxy.SITE)
    assert "server 127.0.0.1:5500;" in site
    assert "server 127.0.0.1:9000;" in site
    assert "ssl" not in site
    assert inner.certificate(alone) is None


def test_a_gate_answers_whoever_has_the_stack_s_certificate_and_the_url_s_address_and_nobody_else() -> None:
    site = text(gate.STEP, context(SEVERAL, "m"), inner.SITE)
    assert "ssl_verify_client on;" in site
    assert f"ssl_client_certificate {inner.ROOT_FILE};" in site
    assert re.findall(r"^ +(allow|deny) (.*);$", site, re.MULTILINE) == [("allow", "10.0.0.5"), ("deny", "all")]
    assert re.findall(r"^ +return (.*);$", site, re.MULTILINE)[0] == "404", "its version is for the host itself"
    assert "X-Forwarded-For $provision_gate_for;" in site, "no request looks local to MLflow"


def test_the_store_s_gate_leads_to_the_bucket_only() -> None:
    site = text(gate.STEP, context(EACH, "s", store__bucket="my.bucket"), inner.SITE)
    assert 'if ($request_uri !~ "^/my\\.bucket(/|\\?|$)") {' in site


@pytest.mark.parametrize(
    ("hosts", "role", "wanted"),
    [
        (EACH, "store", Upstream(("10.0.0.1:9443",), "store.provision.internal")),
        (EACH, "mlflow", Upstream(("10.0.0.3:5543",), "mlflow.provision.internal")),
        (SEVERAL, "mlflow", Upstream(("10.0.0.3:5543", "10.0.0.4:5543"), "mlflow.provision.internal")),
        (MIXED, "mlflow", Upstream(("127.0.0.1:5543", "10.0.0.2:5543"), "mlflow.provision.internal")),
        (MIXED, "store", Upstream(("127.0.0.1:9000",))),
        (DATABASE_APART, "mlflow", Upstream(("127.0.0.1:5500",))),
    ],
)
def test_what_is_on_another_host_is_reached_by_its_gate_and_what_is_here_directly(
    hosts: Topology, role: str, wanted: Upstream
) -> None:
    assert inner.upstream(context(hosts, "p").here, role) == wanted


def test_an_ipv6_address_is_written_as_nginx_wants_it() -> None:
    hosts = Topology((Member("m", "fd00::3", ("mlflow",)), Member("p", "fd00::4", ("proxy",))))
    assert inner.upstream(context(hosts, "p").here, "mlflow").servers == ("[fd00::3]:5543",)
    assert [(each.listen, each.allowed) for each in inner.gates(context(hosts, "m").here)] == [
        (("127.0.0.1:5543", "[::]:5543"), ("fd00::4",))
    ]
    site = text(gate.STEP, context(hosts, "m"), inner.SITE)
    assert re.findall(r"^    listen (.*) ssl;$", site, re.MULTILINE) == ["127.0.0.1:5543", "[::]:5543"]


def test_what_the_url_asks_of_another_host_it_verifies_and_never_repeats_what_is_not_safe() -> None:
    site = text(proxy.STEP, context(SEVERAL, "p"), proxy.SITE)
    assert site.count("proxy_ssl_verify on;") == 1
    plain = re.findall(r"proxy_pass http://", site)
    assert not plain
    for passed in re.findall(r"(?:proxy_ssl_name (\S+);\n +)?proxy_pass https://provision_(\w+)", site):
        assert passed[0] == f"{passed[1]}.provision.internal"
    assert re.findall(r"^ +proxy_next_upstream (.*);", site, re.MULTILINE) == ["error timeout"] * 5
    assert site.count("max_fails=1 fail_timeout=5s") == 2
    assert "max_fails" not in text(proxy.STEP, context(EACH, "p"), proxy.SITE)


def test_on_the_url_s_own_host_one_of_several_servers_has_its_gate_on_loopback() -> None:
    here = context(MIXED, "p")
    assert made(gate.STEP, here) == {}
    site = text(proxy.STEP, here, inner.SITE)
    assert re.findall(r"^ +(?:listen|allow) (.*);$", site, re.MULTILINE) == ["127.0.0.1:5543 ssl", "127.0.0.1"]
    service = made(proxy.STEP, here)["unit:nginx.service"]
    assert isinstance(service, Service)
    assert {inner.SITE, inner.IDENTITY, inner.ROOT_FILE} <= set(service.reloads)
    assert isinstance(made(proxy.STEP, context(EACH, "p"))["file:nginx-gate"], NoFile), "an earlier one goes"


@pytest.mark.parametrize(("hosts", "name"), [(EACH, "s"), (EACH, "m"), (MIXED, "m")])
def test_nginx_is_reloaded_for_another_certificate_and_proves_that_it_serves_today_s_file(
    hosts: Topology, name: str
) -> None:
    where = context(hosts, name)
    service = made(gate.STEP, where)["unit:nginx.service"]
    assert isinstance(service, Service)
    assert {inner.SITE, inner.IDENTITY, inner.ROOT_FILE} <= set(service.reloads)
    assert nginx.DROP_IN in set(service.inputs) - set(service.reloads)
    assert f"gate {gate.version(where)}" in service.health
    assert f'return 200 "gate {gate.version(where)}\\n";' in text(gate.STEP, where, inner.SITE)
    assert shells.lint(f"#!/bin/sh\nset -eu\n{service.health}\n") == ""


def test_each_host_s_certificate_bears_the_names_of_its_roles_and_serves_both_ends() -> None:
    found = {name: inner.certificate(context(SEVERAL, name)) for name in "sdmnp"}
    assert found["d"] is None, "its nginx speaks to nobody, it has none"
    store, other = found["s"], found["n"]
    assert store is not None
    assert other is not None
    assert store.names == ("10.0.0.1", "10-0-0-1.provision.internal", "store.provision.internal")
    assert other.names == ("10.0.0.4", "10-0-0-4.provision.internal", "mlflow.provision.internal")
    assert certificates.of(context(SEVERAL, "s")) == (store,)
    assert table([store]).splitlines()[1] == (
        "/etc/provision/tls/inner.pem 0600 nginx.service serverAuth,clientAuth "
        "IP:10.0.0.1,DNS:10-0-0-1.provision.internal,DNS:store.provision.internal"
    )


class Ok(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


def test_a_host_asks_another_with_its_own_certificate_and_believes_the_one_of_the_role_only(tmp_path: Path) -> None:
    found = inner.certificate(context(EACH, "s"))
    assert found is not None
    pem_file, root = tmp_path / "inner.pem", tmp_path / "root.crt"
    root.write_text(pem(ROOT.chain))
    (tmp_path / "issuer.pem").write_text(authority.issuer(ROOT, found.names).pem())
    (tmp_path / "names").write_text(table([replace(found, path=str(pem_file))]))
    assert renew(["dash"], tmp_path).returncode == 0
    wanting = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=root)
    wanting.load_cert_chain(pem_file)
    wanting.verify_mode = ssl.CERT_REQUIRED

    def asked(role: str, accepted: int) -> subprocess.CompletedProcess[bytes]:
        ask = Ask(port, "/health", inner.shared_name(role), (accepted,))
        peer = mutual.Peer(str(pem_file), str(root), inner.shared_name(role))
        program = mutual.answers(peer, ("127.0.0.1", ask), python="python3")
        assert shells.lint(program) == ""
        assert program.count("time.monotonic() + 3\n") == 1
        return shells.run(["dash"], program.replace("time.monotonic() + 3\n", "time.monotonic() + 0.1\n").encode())

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Ok) as server:
        server.socket = wanting.wrap_socket(server.socket, server_side=True)
        port = server.server_address[1]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            assert asked("store", 200).returncode == 0
            other = asked("store", 503)
            assert (other.returncode, b"answers 200" in other.stdout) == (1, True)
            another = asked("mlflow", 200)
            assert (another.returncode, b"certificate verify failed" in another.stdout) == (1, True)
        finally:
            server.shutdown()


def test_a_certificate_between_hosts_is_made_for_clients_too_and_the_url_s_is_not(tmp_path: Path) -> None:
    found = inner.certificate(context(EACH, "s"))
    assert found is not None
    (tmp_path / "root.crt").write_text(pem(ROOT.chain))
    (tmp_path / "issuer.pem").write_text(authority.issuer(ROOT, found.names).pem())
    listed = [replace(found, path=f"{tmp_path}/{each}.pem", client=each == "inner") for each in ("inner", "door")]
    (tmp_path / "names").write_text(table(listed))
    done = renew(["dash"], tmp_path)
    assert done.returncode == 0, done.stderr
    good = {}
    for each in ("inner", "door"):
        for purpose in ("sslserver", "sslclient"):
            path = f"{tmp_path}/{each}.pem"
            command = (
                f"openssl verify -x509_strict -purpose {purpose} -CAfile {tmp_path}/root.crt -untrusted {path} {path}"
            )
            good[each, purpose] = subprocess.run(command.split(), capture_output=True, check=False).returncode == 0
    assert good == {
        ("inner", "sslserver"): True,
        ("inner", "sslclient"): True,
        ("door", "sslserver"): True,
        ("door", "sslclient"): False,
    }


def test_a_foreign_program_on_a_gate_s_port_is_told_before_anything_changes() -> None:
    where = context(EACH, "m")
    taken = replace(where, facts=replace(where.facts, listeners=(Listener("0.0.0.0", 5543, "docker-proxy, pid 7"),)))
    (check,) = gate.STEP.preflight(taken)
    assert (check.id, check.status) == ("port-5543", "fail")
    assert "docker-proxy" in check.detail
    assert [check.status for check in gate.STEP.preflight(where)] == ["ok"]


@pytest.mark.parametrize(("hosts", "asked"), [(SEVERAL, 2), (MIXED, 1)])
def test_logins_are_passed_on_only_once_every_mlflow_server_asks_for_them(hosts: Topology, asked: int) -> None:
    site = made(proxy.STEP, context(hosts, "p", access__auth="mlflow"))["file:nginx-site"]
    assert isinstance(site, File)
    assert {"after:gate@m", "after:mlflow@m"} <= set(site.needs), "which are other hosts' steps"
    assert site.check_in_place.startswith("nginx -t -q || exit 1\n")
    assert site.check_in_place.count("5543, b'GET /api/2.0/mlflow/experiments/search") == asked
    assert ("('port 5500', " in site.check_in_place) == (hosts is MIXED)
    assert shells.lint(f"#!/bin/sh\nset -eu\n{site.check_in_place}\n") == ""


def test_mlflow_does_not_cease_to_ask_for_logins_while_another_host_must_begin_to() -> None:
    unit = PathProbe(mlflow.UNIT_FILE)
    asking = Seen({unit: PathState("file", content=own_accounts.APP.encode())})
    there = replace(context(EACH, "m"), seen=asking)
    assert "login-elsewhere" in [check.id for check in mlflow.STEP.preflight(there) if check.status == "fail"]
    here = replace(context(MIXED, "p"), seen=asking)
    assert "login-elsewhere" not in [check.id for check in mlflow.STEP.preflight(here)]


def test_mlflow_that_stays_in_its_stack_reaches_the_database_the_url_and_itself() -> None:
    assert egress(context(EACH, "m", mlflow__egress="stack")) == ("localhost", "10.0.0.2", "10.0.0.4")
    assert egress(context(MIXED, "m", mlflow__egress="stack")) == ("localhost", "10.0.0.1")
    assert egress(context(EACH, "m")) == ()


def test_a_service_may_use_what_others_on_its_host_do_not() -> None:
    settings = effective({"mlflow.memory": "12G"}, {})
    together = sizes(8 * GIB, 4, settings)
    apart = {name: sizes(8 * GIB, 4, settings, context(EACH, name).here) for name in "sdm"}
    assert together.mlflow is not None
    assert together.store is not None
    assert together.database is not None
    assert (apart["m"].mlflow or 0) > together.mlflow
    assert (apart["s"].store or 0) > together.store
    assert (apart["d"].database or 0) > together.database
    assert all(each.fits for each in apart.values())


def test_the_server_waits_only_for_units_of_its_own_host() -> None:
    assert "After=network-online.target\n" in mlflow.unit_file(context(EACH, "m"))
    assert "After=network-online.target postgresql.service\n" in mlflow.unit_file(context(MIXED, "m"))
