"""TLS at the address that clients use: a root of the stack's own, a certificate of the operator's, and neither."""

from __future__ import annotations

import datetime
import json
import os
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from certs import Authority, written

from provisioner.certificates import handshake
from provisioner.certificates.inspect import bundle
from provisioner.certificates.material import Material
from provisioner.lab import hosts

from .clients import Client
from .conftest import FIRST_RUN, Ran, Stack

TLS = "/etc/provision/tls"


class Secure:
    """A stack with TLS, and what this machine knows of it."""

    def __init__(self, stack: Stack, switched: Ran):
        self.stack = stack
        self.switched = switched
        self.root = (stack.host.root / TLS.lstrip("/") / "root.crt").read_text()

    @property
    def url(self) -> str:
        return str(self.switched.host["url"])

    @property
    def port(self) -> int:
        return 443

    def shown(self, root: str | None = None, **options: Any) -> ssl.SSLSocket:
        """A connection by a client that trusts `root` only."""
        context = ssl.create_default_context(cadata=root or self.root)
        for name, value in options.items():
            setattr(context, name, value)
        plain = socket.create_connection((self.stack.address, self.port), 10)
        return context.wrap_socket(plain, server_hostname=self.stack.address)

    def another(self, before: bytes) -> bytes:
        """The certificate once it is not `before` any more: nginx reloads beside its old workers, which go on
        for a moment."""
        end = time.monotonic() + 30
        while (found := self.certificate()) == before:
            assert time.monotonic() < end, "nginx shows the old certificate"
            time.sleep(0.1)
        return found

    def certificate(self) -> bytes:
        with self.shown() as connection:
            found = connection.getpeercert(binary_form=True)
        assert found is not None
        return found


@pytest.fixture(scope="module")
def secure(stack: Stack) -> Secure:
    """The stack that had no TLS, with a root of its own."""
    planned = stack.run("plan", "--set", "access.tls=internal", "--json")
    switched = stack.run("--set", "access.tls=internal", "--json")
    assert switched.code == 0, switched.why
    assert planned.changed(), "a plan shows what a run does"
    return Secure(stack, switched)


def test_switching_it_on_is_told_verified_and_leaves_nothing_to_do(secure: Secure, stack: Stack) -> None:
    assert secure.url == f"https://{stack.address}"
    (told,) = (text for text in secure.switched.host["warnings"] if "another URL" in text)
    assert f"https://{stack.address}" in told
    assert f"http://{stack.address}:5000" in told
    assert set(secure.switched.checks.values()) == {"ok"}
    again = stack.run("--json")
    assert (again.code, again.changed()) == (0, []), again.out
    listening = stack.on("ss -Hltn").splitlines()
    ports = {line.split()[3].rpartition(":")[2] for line in listening if not line.split()[3].startswith("127.")}
    assert "443" in ports
    assert not {"80", "5000"} & ports


def test_a_client_on_another_machine_needs_what_env_says_and_nothing_else(
    secure: Secure, stack: Stack, client: Client, tmp_path: Path
) -> None:
    path = tmp_path / "ca.pem"
    told = stack.run("env", "--ca", str(path))
    assert told.code == 0, told.err
    for name in ("MLFLOW_TRACKING_SERVER_CERT_PATH", "REQUESTS_CA_BUNDLE", "AWS_CA_BUNDLE"):
        assert f"export {name}={path}\n" in told.out
    done = client.round_trip(client.trusting(told.out, path))
    assert done["got"] == done["given"]


def test_only_modern_tls_is_spoken_and_the_chain_is_whole(secure: Secure, stack: Stack, tmp_path: Path) -> None:
    root = tmp_path / "root.crt"
    root.write_text(secure.root)

    def client_says(*options: str) -> subprocess.CompletedProcess[str]:
        where = ("-connect", f"{stack.address}:443", "-verify_ip", stack.address, "-CAfile", str(root))
        command = ["openssl", "s_client", *where, "-verify_return_error", "-showcerts", *options]
        return subprocess.run(command, input="", capture_output=True, text=True, timeout=30, check=False)

    for version in ("-tls1_2", "-tls1_3"):
        done = client_says(version)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "Verify return code: 0 (ok)" in done.stdout
        assert done.stdout.count("BEGIN CERTIFICATE") == 2, "the leaf and its issuer; the root is the client's"
    for weak in (
        ("-tls1_1", "-cipher", "ALL:@SECLEVEL=0"),
        ("-tls1_2", "-cipher", "AES128-SHA"),
        ("-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA256"),
    ):
        assert client_says(*weak).returncode != 0, weak
    with secure.shown(maximum_version=ssl.TLSVersion.TLSv1_2) as connection:
        assert connection.session is not None
        assert not connection.session.has_ticket


SSLYZE = shutil.which(os.environ.get("PROVISION_TEST_SSLYZE", "sslyze"))


@pytest.mark.skipif(SSLYZE is None, reason="PROVISION_TEST_SSLYZE names no sslyze; ./dev test makes one")
def test_an_independent_scanner_finds_mozilla_s_intermediate_configuration_and_a_chain_in_order(
    secure: Secure, stack: Stack, tmp_path: Path
) -> None:
    (tmp_path / "root.crt").write_text(secure.root)
    options = ("--mozilla_config=intermediate", f"--certinfo_ca_file={tmp_path / 'root.crt'}", "--certinfo")
    command = [str(SSLYZE), *options, f"{stack.address}:443"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "OK - Compliant" in done.stdout
    assert "OK - Order is valid" in done.stdout
    for gone in ("SSL 2.0", "SSL 3.0", "TLS 1.0", "TLS 1.1"):
        assert f"* {gone} Cipher Suites:" in done.stdout


def test_an_issuer_taken_from_the_host_is_good_for_no_other_name(secure: Secure, stack: Stack) -> None:
    stolen = bundle((stack.host.root / TLS.lstrip("/") / "issuer.pem").read_bytes())
    assert stolen is not None
    taken = Authority.of((stack.host.root / TLS.lstrip("/") / "issuer.pem").read_bytes())
    (root,) = Authority.ders(secure.root)
    for name in ("evil.example", "10.151.0.1"):
        key, leaf = taken.leaf([name])
        fault = handshake.fault(Material(key, (leaf, taken.der), (root,)), name)
        assert fault is not None, name
        assert "subtree" in fault.text
    key, leaf = taken.leaf([stack.address])
    assert handshake.fault(Material(key, (leaf, taken.der), (root,)), stack.address) is None


def test_the_host_renews_by_itself_and_a_failed_renewal_keeps_the_old_one_and_is_told(
    secure: Secure, stack: Stack
) -> None:
    before = secure.certificate()
    stack.on("systemctl start provision-tls.service")
    assert secure.certificate() == before, "89 days are left"
    stack.on("/usr/local/lib/provision/tls-renew 91 && /usr/local/lib/provision/tls-renew load")
    renewed = secure.another(before)
    again = stack.run("--json")
    assert (again.code, again.changed()) == (0, []), again.out

    stack.on(f"sed -i 's/IP:{stack.address}/DNS:evil.example/' {TLS}/names; grep -q evil {TLS}/names")
    assert stack.host.exec("systemctl start provision-tls.service").rc != 0
    assert secure.certificate() == renewed
    assert stack.on(f"ls -A {TLS} | grep -c new || :").strip() == "0", "nothing half-made is left"
    status = stack.run("status", "--json")
    assert status.code == 1
    (certificate,) = status.host["certificates"]
    assert certificate["renewal"] == "failed"
    assert certificate["days"] in (89, 90)
    assert certificate["names"] == [stack.address]
    assert "RENEWAL FAILED" in stack.run("status").out
    mended = stack.run("--json")
    assert mended.code == 0, mended.out
    assert "file:tls-names" in mended.changed()
    stack.on("systemctl start provision-tls.service")
    assert stack.run("status", "--json").code == 0


def test_what_was_altered_on_the_host_is_made_anew(secure: Secure, stack: Stack) -> None:
    stack.on(f"chmod 644 {TLS}/door.pem; rm {TLS}/issuer.pem")
    mended = stack.run("--json")
    assert mended.code == 0, mended.out
    assert {"certificate:issuer", "certificate:door", "unit:nginx.service"} <= set(mended.changed())
    assert stack.on(f"stat -c %a {TLS}/door.pem {TLS}/issuer.pem").split() == ["600", "600"]
    assert secure.certificate(), "under the same root"


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.new()


def test_a_certificate_that_clients_would_refuse_is_refused_before_anything_changes(
    secure: Secure, stack: Stack, authority: Authority, tmp_path: Path
) -> None:
    before, units = secure.certificate(), stack.lives()
    key, good = authority.leaf([stack.address])
    other_key, other_name = authority.leaf(["mlflow.example.com"])
    past = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=2)
    old_key, old = authority.leaf([stack.address], until=past)
    refusals = {
        "is not for": written(tmp_path / "name", other_key, other_name),
        "is over since": written(tmp_path / "old", old_key, old),
        "is not the one of": written(tmp_path / "pair", other_key, good),
        "does not lead to a root": written(tmp_path / "chain", key, good),
    }
    for folder in ("name", "old", "pair", "chain"):
        root = Authority.new() if folder == "chain" else authority
        (tmp_path / folder / "ca.pem").write_text(ssl.DER_cert_to_PEM_cert(root.der))
    for words, setting in refusals.items():
        for command in ((), ("plan",)):
            run = stack.run(*command, "--set", setting, "--json")
            assert run.code == 4, (words, run.out)
            assert words in run.host["error"]["what"]
            assert run.changed() == []
    missing = stack.run("--set", f'access.tls={{cert = "{tmp_path}/none.pem", key = "{tmp_path}/none.key"}}', "--json")
    assert (missing.code, missing.changed()) == (64, [])
    assert secure.certificate() == before
    assert stack.lives() == units


def test_a_certificate_of_ones_own_is_used_kept_and_renewed_from_its_files(
    secure: Secure, stack: Stack, authority: Authority, tmp_path: Path
) -> None:
    setting = written(tmp_path / "own", *authority.leaf([stack.address]))
    root = ssl.DER_cert_to_PEM_cert(authority.der)
    (tmp_path / "own" / "ca.pem").write_text(root)
    run = stack.run("--set", setting, "--json")
    assert run.code == 0, run.why
    assert set(run.checks.values()) == {"ok"}
    assert stack.host.exec(f"test -e {TLS}/issuer.pem").rc == 1, "what could make certificates is gone"
    assert stack.host.exec("systemctl is-active provision-tls.timer").rc != 0
    with secure.shown(root) as connection:
        first = connection.getpeercert(binary_form=True)
    shutil.rmtree(tmp_path / "own")
    again = stack.run("--json")
    assert (again.code, again.changed()) == (0, []), "another operator, without the files: " + again.out
    assert 'tls = "own"' in stack.on("cat /etc/provision/stack.toml")

    renewed = written(tmp_path / "own", *authority.leaf([stack.address]))
    (tmp_path / "own" / "ca.pem").write_text(root)
    taken = stack.run("--set", renewed, "--json")
    assert taken.code == 0, taken.out
    assert {"file:tls-door", "unit:nginx.service"} <= set(taken.changed())
    with secure.shown(root) as connection:
        assert connection.getpeercert(binary_form=True) != first


def test_going_back_to_the_stack_s_own_root_finds_the_same_root_and_to_none_leaves_no_key(
    secure: Secure, stack: Stack
) -> None:
    back = stack.run("--set", "access.tls=internal", "--json")
    assert back.code == 0, back.why
    assert secure.certificate(), "a client that trusted the root still does"
    off = stack.run("--set", "access.tls=off", "--json")
    assert off.code == 0, off.why
    assert off.host["url"] == f"http://{stack.address}:5000"
    assert any("another URL" in text for text in off.host["warnings"])
    assert stack.on(f"ls {TLS}").split() == ["names", "root.crt"]
    assert stack.host.exec("test -e /etc/systemd/system/provision-tls.timer").rc == 1
    again = stack.run("--json")
    assert (again.code, again.changed()) == (0, []), again.out
    on = stack.run("--set", "access.tls=internal", "--json")
    assert on.code == 0, on.why
    assert secure.certificate(), "and the same root once more"


@pytest.fixture
def kept(secure: Secure, stack: Stack) -> dict[str, str]:
    """A client's environment of the server that was."""
    if stack.engine != "seaweedfs":
        pytest.skip("one engine: nothing in it depends on the store")
    found: dict[str, str] = json.loads(stack.run("env", "--format", "json").out)
    return found


@pytest.fixture
def rebuilt(stack: Stack, kept: dict[str, str]) -> Iterator[Stack]:
    stack.host = hosts.reset(stack.host.name)
    yield stack
    stack.stand_again()


def test_a_rebuilt_server_has_the_same_root_and_clients_keep_their_trust(
    secure: Secure, rebuilt: Stack, kept: dict[str, str]
) -> None:
    assert rebuilt.operator.run("forget-key", rebuilt.address).code == 0
    run = rebuilt.run("--json", timeout=FIRST_RUN)
    assert run.code == 0, run.why
    assert run.host["url"] == secure.url
    assert secure.certificate()
    verified = rebuilt.operator.run("verify", "--tracking-uri", secure.url, "--json", timeout=120, **kept)
    assert verified.code == 0, verified.why
