"""A database of somebody else's: whom the program on the host trusts with a password, how long it waits, and what it
leaves at the server when it makes role and database."""

from __future__ import annotations

import base64
import socket
import ssl
import struct
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from certs import Authority, written
from fake_postgres import ENTERED, GREETED, READY, Cluster, Server, answer, clear, row, scram, signed

from provisioner.resources.external_database import ExternalDatabase
from provisioner.runtime import external_database, postgres_wire
from provisioner.runtime.postgres_wire import Trouble, Wire

PASSWORD = "not known to everybody"


def wire(server: Server, mode: str = "disable", roots: str = "", host: str = "127.0.0.1") -> Wire:
    return Wire((host, server.port), mode, roots, "tracker", "runs", PASSWORD, PASSWORD)


def word(*arguments: Any, **options: Any) -> str:
    try:
        wire(*arguments, **options).close()
    except Trouble as trouble:
        return trouble.word
    return "ok"


@pytest.fixture
def servers() -> Iterator[list[Server]]:
    running: list[Server] = []
    yield running
    for each in running:
        each.close()


@pytest.fixture
def cluster(servers: list[Server]) -> Cluster:
    made = Cluster()
    servers.append(made.server)
    return made


# Whom it trusts.


@pytest.mark.parametrize(
    ("login", "told"),
    [
        (scram(PASSWORD, signed), "ok"),
        (scram("what it guesses", signed), "impostor"),
        (scram(PASSWORD, lambda _: signed(base64.b64encode(b"\0" * 32))), "impostor"),
        (scram(PASSWORD, lambda _: signed(b"")), "impostor"),
        (scram(PASSWORD, lambda _: ENTERED), "impostor"),
        (scram(PASSWORD, lambda _: b""), "impostor"),
    ],
)
def test_a_server_that_does_not_show_that_it_knows_the_password_is_not_trusted(
    servers: list[Server], login: Any, told: str
) -> None:
    servers.append(Server(GREETED, lambda _: b"", login=login))
    assert word(servers[0]) == told


def test_a_server_that_begins_without_a_login_is_none(servers: list[Server]) -> None:
    servers.append(Server(READY, lambda _: b""))
    assert word(servers[0]) == "foreign"


def test_the_password_goes_in_clear_only_to_a_server_that_is_known(servers: list[Server], tmp_path: Path) -> None:
    root = Authority.new()
    written(tmp_path, *root.leaf(["127.0.0.2"]))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    here = Server(GREETED, lambda _: b"", login=clear)
    plain = Server(GREETED, lambda _: b"", login=clear, address="127.0.0.2")
    encrypted = Server(GREETED, lambda _: b"", tls, login=clear, address="127.0.0.2")
    servers += [here, plain, encrypted]
    roots = ssl.DER_cert_to_PEM_cert(root.der)
    assert word(here) == "ok", "what is sent does not leave the host"
    assert word(plain, host="127.0.0.2") == "clear"
    assert word(encrypted, "require", host="127.0.0.2") == "clear"
    assert PASSWORD.encode() + b"\0" not in [*plain.given, *encrypted.given]
    for mode in ("verify-ca", "verify-full"):
        assert word(encrypted, mode, roots, "127.0.0.2") == "ok"
    assert encrypted.given.count(PASSWORD.encode() + b"\0") == 2


# How much it takes, and how long it waits.


def test_more_rows_than_were_asked_for_are_not_kept(servers: list[Server]) -> None:
    servers.append(Server(GREETED, lambda _: row("x" * 1000) * 1100))
    talk = wire(servers[0])
    with pytest.raises(Trouble) as error:
        talk.rows("SELECT 1")
    assert error.value.word == "foreign"
    assert talk.lost


def test_after_an_answer_that_stayed_out_nothing_more_is_sent(servers: list[Server]) -> None:
    servers.append(Server(GREETED, lambda query: None if query == "SELECT 1" else row("2")))
    talk = wire(servers[0])
    with pytest.raises(Trouble, match="silent"):
        talk.rows("SELECT 1", 0.1)
    with pytest.raises(Trouble, match="silent"):
        talk.rows("SELECT 2")
    talk.close()
    assert servers[0].queries == ["SELECT 1"]


def test_all_ips_of_a_name_have_the_time_of_one_address(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now=100.0, tried=0)

    class Silent:
        def settimeout(self, seconds: float) -> None:
            self.seconds = seconds

        def connect(self, place: object) -> None:
            clock.now += self.seconds
            clock.tried += 1
            raise TimeoutError

        def close(self) -> None: ...

    monkeypatch.setattr(postgres_wire, "time", SimpleNamespace(monotonic=lambda: clock.now))
    places = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"192.0.2.{n}", 5432)) for n in range(1, 9)]
    monkeypatch.setattr(postgres_wire.socket, "getaddrinfo", lambda *_, **__: places)
    monkeypatch.setattr(postgres_wire.socket, "socket", lambda *_: Silent())
    with pytest.raises(Trouble, match="silent"):
        Wire(("db.example.com", 5432), "disable", "", "tracker", "runs", PASSWORD, PASSWORD)
    assert clock.tried == 8, "the last one may be the one that answers"
    assert clock.now <= 100.0 + postgres_wire.SECONDS + 0.001


def test_a_name_with_an_ip_that_refuses_is_reached_at_its_next_one(
    servers: list[Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    servers.append(Server(GREETED, lambda _: row("1")))
    places = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, servers[0].port)) for host in ("127.0.0.9", "127.0.0.1")
    ]
    monkeypatch.setattr(postgres_wire.socket, "getaddrinfo", lambda *_, **__: places)
    talk = wire(servers[0], host="db.example.com")
    assert talk.one("SELECT 1") == "1"
    talk.close()


def test_what_changes_something_has_time_for_it(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, float] = {}
    asking = Wire.rows

    def rows(self: Wire, query: str, seconds: float = 2 * postgres_wire.SECONDS) -> list[list[str | None]]:
        given[query] = seconds
        return asking(self, query, seconds)

    monkeypatch.setattr(Wire, "rows", rows)
    external_database.create(cluster.asked())
    assert {given[query] for query in cluster.changes} == {external_database.SECONDS_TO_MAKE}
    assert external_database.SECONDS_TO_MAKE >= 120
    assert ExternalDatabase.patience > external_database.SECONDS_TO_MAKE_ALL > 3 * external_database.SECONDS_TO_MAKE


# What it makes.


def test_role_and_database_are_made_and_nobody_has_more_rights_than_before(cluster: Cluster) -> None:
    told = external_database.create(cluster.asked())
    assert told["told"] == "ok"
    assert [" ".join(each.split()[:2]) for each in cluster.changes] == [
        "CREATE ROLE",
        'GRANT "tracker"',
        "CREATE DATABASE",
        'REVOKE "tracker"',
        "REVOKE ALL",
    ]
    assert cluster.closed
    assert not cluster.member


@pytest.mark.parametrize("version", [150008, 160004])
def test_an_administrator_that_was_a_member_of_the_role_stays_one(servers: list[Server], version: int) -> None:
    cluster = Cluster(version=version, role=True, member=True)
    servers.append(cluster.server)
    assert external_database.create(cluster.asked())["told"] == "ok"
    assert cluster.member
    assert not [each for each in cluster.changes if '"tracker"' in each.split()[:2]]


def test_an_administrator_that_may_not_give_the_role_a_database_is_told_before_the_run(servers: list[Server]) -> None:
    found = {}
    for version in (150008, 160004):
        for admin in (False, True):
            cluster = Cluster(version=version, role=True, admin=admin)
            servers.append(cluster.server)
            told = external_database.look(cluster.asked())
            found[version, admin] = told["told"]
            if told["told"] == "rights":
                assert "no member of the role tracker" in told["said"]
            assert not cluster.changes
    assert found == {
        (150008, False): "missing",
        (150008, True): "missing",
        (160004, False): "rights",
        (160004, True): "missing",
    }


@pytest.mark.parametrize(("role", "database"), [("42710", "42P04"), ("23505", "23505")])
def test_what_somebody_else_makes_at_the_same_moment_is_as_good(cluster: Cluster, role: str, database: str) -> None:
    cluster.before = {"CREATE ROLE": role, "CREATE DATABASE": database}
    assert external_database.create(cluster.asked())["told"] == "ok"
    assert cluster.closed


def test_a_database_whose_making_was_not_answered_is_closed_by_the_next_run(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(external_database, "SECONDS_TO_MAKE", 0.1)
    cluster.silent = {"CREATE DATABASE"}
    with pytest.raises(Trouble, match="silent"):
        external_database.create(cluster.asked())
    (talk,) = (talk for talk in cluster.server.talks if any(each.startswith("CREATE DATABASE") for each in talk))
    assert talk[-1].startswith("CREATE DATABASE"), "its answer would be taken for another's"
    assert not cluster.member, "taken back on another connection"
    assert not cluster.closed
    assert external_database.create(cluster.asked(admin=None))["told"] == "ok"
    assert cluster.closed


def test_a_greeting_by_sasl_alone_is_no_login(servers: list[Server]) -> None:
    final = answer(b"R", struct.pack("!i", 12) + b"v=AAAA")
    servers.append(Server(final + READY, lambda _: b""))
    assert word(servers[0]) != "ok"
