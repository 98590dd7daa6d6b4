"""PostgreSQL reached from another host: by TLS with the stack's own root, and in no other way."""

from __future__ import annotations

import contextlib
import shlex
import socket
import ssl
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest

from provisioner.lab import hosts
from provisioner.lab.host import LabHost

from .conftest import LANE, Stack, make_stack

ALLOW = ("--set", 'database.allow=["10.151.0.0/24"]')
KEY = "/etc/provision/tls/postgresql/server.pem"
CA = "/root/ca.pem"
ADDRESS = f"10.151.0.{int(LANE) + 5}"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Debian 13: PostgreSQL 17 with OpenSSL 3.5. PostgreSQL 15 with 3.0 has clients elsewhere in test_topology."""
    for made in make_stack("seaweedfs", f"t-db-{LANE}", ADDRESS, tmp_path_factory.mktemp("db"), suite="trixie"):
        life = made.lives()
        opened = made.run("--json", *ALLOW)
        assert opened.code == 0, opened.why
        assert life["nginx.service"] == made.lives()["nginx.service"]
        yield made


@pytest.fixture(scope="module")
def client() -> Iterator[LabHost]:
    """Another machine with PostgreSQL's own client, and nothing of the tool."""
    with hosts.running(f"t-db-client-{LANE}", f"10.151.0.{int(LANE) + 6}", cache=True) as host:
        host.check("apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y postgresql-client >&2")
        yield host


@pytest.fixture
def roots(stack: Stack, tmp_path: Path) -> str:
    """What `env --ca` writes."""
    told = stack.run("env", "--ca", str(tmp_path / "ca.pem"))
    assert told.code == 0, told.err
    return (tmp_path / "ca.pem").read_text()


def asked(stack: Stack, client: LabHost, roots: str, **options: str) -> str:
    """The answer to a question that only a logged-in role gets over TLS, or what psql says against it."""
    (client.root / CA.lstrip("/")).write_text(roots)
    words = {"host": stack.address, "dbname": "mlflow", "user": "mlflow", "sslrootcert": CA, **options}
    text = " ".join(f"{name}={value}" for name, value in words.items())
    ask = "select ssl, version from pg_stat_ssl where pid = pg_backend_pid()"
    secret = shlex.quote(stack.secret("database.password"))
    done = client.exec(f"PGPASSWORD={secret} PGCONNECT_TIMEOUT=20 psql -XAtc {shlex.quote(ask)} {shlex.quote(text)}")
    return done.stdout.strip() if done.rc == 0 else f"refused: {done.stderr}"


def shown(stack: Stack, root: str) -> bytes:
    """The certificate that PostgreSQL shows to a client that trusts `root` only and calls it by its address."""
    plain = socket.create_connection((stack.address, 5432), 10)
    plain.sendall(struct.pack("!ii", 8, 80877103))  # SSLRequest (PostgreSQL's documentation, 55.7)
    assert plain.recv(1) == b"S"
    with ssl.create_default_context(cadata=root).wrap_socket(plain, server_hostname=stack.address) as connection:
        found = connection.getpeercert(binary_form=True)
    assert found is not None
    return found


def own_root(stack: Stack) -> str:
    return (stack.host.root / "etc/provision/tls/root.crt").read_text()


def postgres(stack: Stack) -> str:
    (unit,) = (unit for unit in stack.units if unit.startswith("postgresql"))
    return unit


def test_another_host_gets_in_with_verify_full_and_in_no_weaker_way(stack: Stack, client: LabHost, roots: str) -> None:
    assert asked(stack, client, roots, sslmode="verify-full").startswith("t|TLSv1.")
    # One that trusts the stack's root only, as a public one could vouch for anything.
    assert asked(stack, client, own_root(stack), sslmode="verify-full") == "t|TLSv1.3"
    assert "no encryption" in asked(stack, client, roots, sslmode="disable")
    snakeoil = client.check(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout /dev/null -subj /CN=x 2>/dev/null"
    )
    assert "certificate verify failed" in asked(stack, client, snakeoil, sslmode="verify-full")
    client.check(f"grep -q db.example /etc/hosts || echo {stack.address} db.example >>/etc/hosts")
    assert "does not match host name" in asked(stack, client, roots, sslmode="verify-full", host="db.example")
    old = asked(stack, client, roots, sslmode="verify-full", ssl_max_protocol_version="TLSv1.1",
                ssl_min_protocol_version="TLSv1")  # fmt: skip
    assert old.startswith("refused")
    client.check("sed -i /db.example/d /etc/hosts")
    again = stack.run("--json")
    assert (again.code, again.changed()) == (0, []), again.out
    assert stack.on(f"stat -c '%a %U %G' {KEY}").split() == ["640", "root", "postgres"]
    assert stack.run("verify").code == 0


def test_lines_of_an_earlier_release_that_let_plain_connections_in_are_replaced(
    stack: Stack, client: LabHost, roots: str
) -> None:
    rules = f"/etc/postgresql/{postgres(stack)[11:13]}/main/pg_hba.conf"
    stack.on(f"sed -i 's/^hostssl /host    /' {rules}; echo '# a line of ours' >>{rules}")
    stack.on(f"systemctl reload {postgres(stack)}")
    life = stack.lives()
    ran = stack.run("--json")
    assert ran.code == 0, ran.out
    assert sorted(ran.changed()) == ["access:postgresql", f"unit:{postgres(stack)}"]
    assert stack.lives() == life, "a reload"
    assert "no encryption" in asked(stack, client, roots, sslmode="disable")
    assert stack.on(f"tail -n 1 {rules}").strip() == "# a line of ours"


def test_a_renewal_changes_the_certificate_under_the_running_server(stack: Stack, roots: str) -> None:
    root, life = own_root(stack), stack.lives()
    before = shown(stack, root)
    session = psycopg2.connect(
        host=stack.address, dbname="mlflow", user="mlflow", password=stack.secret("database.password"),
        sslmode="require",
    )  # fmt: skip
    with contextlib.closing(session):
        stack.on("systemctl start provision-tls.service")
        assert shown(stack, root) == before, "89 days are left"
        # By the service itself, with the sandbox that it has every night.
        stack.on(
            "d=/run/systemd/system/provision-tls.service.d; mkdir -p $d; "
            "printf '[Service]\\nExecStart=\\nExecStart=/usr/local/lib/provision/tls-renew 91\\n' >$d/t.conf; "
            "systemctl daemon-reload; systemctl start provision-tls.service; r=$?; "
            "rm -r $d; systemctl daemon-reload; exit $r"
        )
        end = time.monotonic() + 30
        while shown(stack, root) == before:
            assert time.monotonic() < end, "it shows the old certificate"
            time.sleep(0.1)
        with session.cursor() as cursor:
            cursor.execute("select 1")
            assert cursor.fetchone() == (1,)
    assert stack.lives() == life
    assert stack.on(f"stat -c '%a %U %G' {KEY}").split() == ["640", "root", "postgres"]
    again = stack.run("--json")
    assert (again.code, again.changed()) == (0, []), again.out
    (row,) = stack.run("status", "--json").host["certificates"]
    assert (row["of"], row["names"], row["renewal"]) == ("PostgreSQL", [stack.address], "inactive")
    assert row["days"] in (89, 90)


def test_a_rotated_root_is_the_only_one_that_counts_and_nothing_restarts(
    stack: Stack, client: LabHost, roots: str, tmp_path: Path
) -> None:
    life = stack.lives()
    rotated = stack.run("secrets", "rotate", "tls.root", "--json")
    assert rotated.code == 0, rotated.why
    assert "certificate verify failed" in asked(stack, client, roots, sslmode="verify-full")
    assert stack.run("env", "--ca", str(tmp_path / "new.pem")).code == 0
    assert asked(stack, client, (tmp_path / "new.pem").read_text(), sslmode="verify-full") == "t|TLSv1.3"
    assert stack.lives() == life


def test_the_url_and_the_database_have_certificates_of_their_own(stack: Stack) -> None:
    on = stack.run("--set", "access.tls=internal", "--json")
    assert on.code == 0, on.why
    rows = stack.run("status", "--json").host["certificates"]
    assert sorted(row["of"] for row in rows) == ["PostgreSQL", "the URL"]
    root = own_root(stack)
    database = shown(stack, root)
    with (
        socket.create_connection((stack.address, 443), 10) as plain,
        ssl.create_default_context(cadata=root).wrap_socket(plain, server_hostname=stack.address) as door,
    ):
        assert door.getpeercert(binary_form=True) != database
    off = stack.run("--set", "access.tls=off", "--json")
    assert off.code == 0, off.why
    assert shown(stack, root) == database, "the database's stays as it is"
    again = stack.run("--json")
    assert (again.code, again.changed()) == (0, []), again.out


def test_what_was_altered_is_made_anew(stack: Stack) -> None:
    life = stack.lives()
    stack.on(f"chmod 600 {KEY}")
    mended = stack.run("--json")
    assert mended.code == 0, mended.out
    assert sorted(mended.changed()) == ["certificate:postgresql", f"unit:{postgres(stack)}"]
    stack.on(f"rm {KEY}")
    mended = stack.run("--json")
    assert mended.code == 0, mended.out
    assert shown(stack, own_root(stack))
    assert stack.lives() == life


def test_with_nobody_let_in_no_key_is_left_and_nothing_listens(stack: Stack) -> None:
    closed = stack.run("--json", "--set", "database.allow=[]")
    assert closed.code == 0, closed.why
    assert stack.host.exec(f"test -e {KEY}").rc == 1
    assert stack.host.exec("test -e /etc/provision/tls/issuer.pem").rc == 1
    assert stack.host.exec("test -e /etc/systemd/system/provision-tls.timer").rc == 1
    with pytest.raises(OSError, match="refused"):
        socket.create_connection((stack.address, 5432), 5)
    again = stack.run("--json")
    assert (again.code, again.changed()) == (0, []), again.out
    assert stack.run("--json", *ALLOW).code == 0
