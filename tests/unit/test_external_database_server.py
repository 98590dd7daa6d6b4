"""A database of somebody else's: whom a look trusts with a password, how long it waits, and what it leaves at the
server when it makes role and database."""

from __future__ import annotations

import base64
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from certs import Authority, written
from fake_postgres import DONE, ENTERED, GREETED, READY, Cluster, Server, answer, refusal, row, scram, signed

from provisioner.resources import external_database, external_look, external_way
from provisioner.resources.external_look import Told, create, look
from provisioner.resources.external_way import Login, Place, Talk, Trouble, Way, through
from provisioner.resources.postgresql.connect import connector
from provisioner.secrets import Secret
from provisioner.transport.base import Result
from provisioner.transport.fake import FakeSession
from provisioner.transport.forward import forwarded

PASSWORD = "not known to everybody"
TRACKER, KEEPER = Login("tracker", Secret(PASSWORD)), Login("keeper", Secret("the keeper's own"))


def at(*servers: Server, mode: str = "disable", roots: str = "", host: str = "127.0.0.1", admin: Any = None) -> Place:
    return Place(tuple((host, each.port) for each in servers), mode, "any", roots, "runs", TRACKER, admin)


def host(reached: str) -> FakeSession:
    """MLflow's host, which found those addresses."""
    return FakeSession(answer=lambda _: Result(f"{reached}\nroots\n".encode(), b"", 0))


def talked(place: Place, work: Callable[[Talk], Any], session: FakeSession | None = None) -> Any:
    def run(way: Way) -> Any:
        with way.talk(place.login, place.name) as talk:
            return work(talk)

    return through(session or FakeSession(), place, 20, run)


def word(place: Place, session: FakeSession | None = None) -> str:
    try:
        talked(place, lambda talk: None, session)
    except Trouble as trouble:
        return trouble.word
    return "ok"


def made(cluster: Cluster, admin: Login | None = KEEPER, work: Callable[[Way], Told] = create) -> Told:
    return through(FakeSession(), at(cluster.server, admin=admin), 20, work)


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
        (scram(PASSWORD, lambda _: ENTERED), "impostor"),
        (scram(PASSWORD, lambda _: b""), "impostor"),
        (None, "impostor"),
    ],
)
def test_a_server_that_does_not_show_that_it_knows_the_password_is_not_trusted(
    servers: list[Server], login: Any, told: str
) -> None:
    servers.append(Server(GREETED, lambda _: b"", login=login))
    assert word(at(servers[0])) == told


@pytest.mark.parametrize("greeting", [READY, answer(b"R", struct.pack("!i", 12) + b"v=AAAA") + READY])
def test_a_server_that_begins_without_a_login_is_none(servers: list[Server], greeting: bytes) -> None:
    servers.append(Server(greeting, lambda _: b"", login=None))
    assert word(at(servers[0])) != "ok"


def test_the_password_goes_in_clear_only_to_a_server_that_is_known(servers: list[Server], tmp_path: Path) -> None:
    root = Authority.new()
    written(tmp_path, *root.leaf(["db.example.com"]))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    plain, encrypted = Server(GREETED, lambda _: b""), Server(GREETED, lambda _: b"", tls)
    servers += [plain, encrypted]
    roots = ssl.DER_cert_to_PEM_cert(root.der)
    assert word(at(plain)) == "ok", "what is sent does not leave the host"
    named = {"host": "db.example.com"}
    reached = host("0 127.0.0.1 ok")
    assert word(at(plain, **named), reached) == "clear"  # type: ignore[arg-type]
    assert word(at(encrypted, mode="require", **named), reached) == "clear"  # type: ignore[arg-type]
    assert plain.given == [PASSWORD.encode() + b"\0"]
    assert encrypted.given in ([], [b""])
    for mode in ("verify-ca", "verify-full"):
        assert word(at(encrypted, mode=mode, roots=roots, **named), reached) == "ok"  # type: ignore[arg-type]
    assert encrypted.given.count(PASSWORD.encode() + b"\0") == 2


OPERATORS = {
    "PGHOSTADDR": "192.0.2.1",
    "PGREQUIREAUTH": "gss",
    "PGTARGETSESSIONATTRS": "standby",
    "PGLOADBALANCEHOSTS": "no such thing",
    "PGCHANNELBINDING": "require",
    "PGGSSENCMODE": "require",
    "PGREQUIREPEER": "nobody",
    "PGSSLMODE": "no such thing",
    "PGSSLNEGOTIATION": "direct",
    "PGSSLROOTCERT": "system",
    "PGSSLMINPROTOCOLVERSION": "TLSv9",
    "PGSSLMAXPROTOCOLVERSION": "TLSv0",
    "PGSSLCERTMODE": "require",
    "PGSSLCERT": "/dev/null",
    "PGSSLCRL": "/dev/null",
    "PGCLIENTENCODING": "no such thing",
    "PGCONNECT_TIMEOUT": "no number",
    "PGOPTIONS": "-c search_path=mine",
    "PGUSER": "somebody",
    "PGDATABASE": "another",
    "PGPASSWORD": "another",
}
"""An operator's own environment."""


@pytest.fixture
def operators(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in OPERATORS.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "pass").write_text("*:*:*:*:of the operator's own\n")
    (tmp_path / "pass").chmod(0o600)
    (tmp_path / "service").write_text("[mine]\nhost=192.0.2.1\nuser=somebody\nsslmode=require\n")
    monkeypatch.setenv("PGPASSFILE", str(tmp_path / "pass"))
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "service"))
    monkeypatch.setenv("PGSERVICE", "mine")


@pytest.mark.usefixtures("operators")
def test_nothing_of_the_operator_s_own_environment_gets_into_a_look(
    servers: list[Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    first: list[bytes] = []
    servers.append(Server(lambda packet: first.append(packet) or GREETED, lambda _: b""))  # type: ignore[func-returns-value]
    place = at(servers[0])
    assert word(place) == "ok"
    assert servers[0].given == [PASSWORD.encode() + b"\0"]
    assert b"user\0tracker\0database\0runs\0" in first[0]
    assert b"search_path" not in first[0]
    assert word(replace(place, login=Login("tracker", Secret("")))) == "login", "not with the operator's password"
    monkeypatch.setenv("PGSERVICE", "unknown")
    assert word(place) == "client"


@pytest.mark.usefixtures("operators")
def test_a_login_goes_to_the_forwarded_socket_whatever_address_the_operator_has(
    servers: list[Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    meant, trap = Server(GREETED, lambda _: row(1)), Server(GREETED, lambda _: row(2))
    servers += [meant, trap]
    monkeypatch.setenv("PGHOSTADDR", "127.0.0.1")

    def opener() -> Any:
        far = socket.create_connection(("127.0.0.1", meant.port))
        return far, far.close

    with forwarded(opener, trap.port) as way:
        connector(way, "runs", "tracker", Secret(PASSWORD))().close()
    assert (meant.given, trap.given) == ([PASSWORD.encode() + b"\0"], [])


def test_what_a_server_says_is_told_as_its_own_in_any_encoding_and_severity(servers: list[Server]) -> None:
    for severity, encoding in (("FATAL", "latin-1"), ("ÖLÜMCÜL (FATAL)", "utf-8")):
        body = f"S{severity}\0C28P01\0MPasswort-Authentifizierung für tracker fehlgeschlagen\0\0".encode(encoding)
        servers.append(Server(answer(b"E", body), lambda _: b"", login=None))
        assert word(at(servers[-1])) == "answer"


def test_a_server_s_words_lead_to_no_other_port_of_this_machine(servers: list[Server]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        other.setblocking(False)
        for port in (other.getsockname()[1], 10**9, 99999):
            said = f'no\nconnection to server at "db" (127.0.0.1), port {port} failed: SSL error: bad'
            servers.append(Server(refusal("28000", said), lambda _: b"", login=None))
            assert word(at(servers[-1])) == "answer"
        with pytest.raises(BlockingIOError):
            other.accept()


# How much it takes, and how long it waits.


def test_more_rows_than_anybody_asks_for_end_the_connection(
    servers: list[Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(external_way, "ROOM", 100_000)
    servers.append(Server(GREETED, lambda _: row("x" * 1000) * 300))
    with pytest.raises(Trouble) as error:
        talked(at(servers[0]), lambda talk: talk.rows("SELECT 1"))
    assert error.value.word == "foreign"


def test_after_an_answer_that_stayed_out_nothing_more_is_sent(servers: list[Server]) -> None:
    servers.append(Server(GREETED, lambda query: None if query == "SELECT 1" else row(2)))

    def work(talk: Talk) -> None:
        with pytest.raises(Trouble, match="silent"):
            talk.rows("SELECT 1", seconds=0.05)
        with pytest.raises(Trouble, match="silent"):
            talk.rows("SELECT 2")

    talked(at(servers[0]), work)
    assert servers[0].queries == ["SELECT 1"]


def test_what_never_ends_is_left_to_itself(servers: list[Server]) -> None:
    servers.append(Server(GREETED, lambda _: row(1)))
    over = threading.Event()
    try:
        with pytest.raises(Trouble, match="silent"):
            through(FakeSession(), at(servers[0]), 0.05, lambda way: over.wait(60))
    finally:
        over.set()


def test_every_address_of_a_name_is_tried(servers: list[Server]) -> None:
    servers.append(Server(GREETED, lambda _: row(1), login=scram(PASSWORD, signed)))
    place = at(servers[0], host="db.example.com")
    other = "0 127.0.0.9 port Connection refused\n0 192.0.2.1 silent"
    reached = host(f"{other}\n0 127.0.0.1 ok\n0 $(reboot) ok\n0 fe80::1%$(reboot) ok\n7 ::1 ok")
    assert talked(place, lambda talk: talk.one("SELECT 1"), reached) == 1
    assert through(reached, place, 20, lambda way: len(way.ends)) == 1, "the others are no addresses"


def test_what_mlflows_host_does_not_reach_is_told_in_its_words() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        dead = closed.getsockname()[1]
    for hosts, told in (
        ((("127.0.0.1", dead),), ("port", "Connection refused")),
        ((("nobody.invalid", 5432),), ("name", "")),
        (
            (("nobody.invalid", 5432), ("127.0.0.1", dead)),
            ("name", f"nobody.invalid:5432: name; 127.0.0.1:{dead}: port"),
        ),
    ):
        with pytest.raises(Trouble) as error:
            through(FakeSession(), Place(hosts, "disable", "any", "", "runs", TRACKER), 20, look)
        assert error.value.word == told[0]
        assert error.value.said.startswith(told[1])


def test_what_changes_something_has_time_for_it(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, float] = {}
    asking = Talk.rows

    def rows(self: Talk, statement: str, *values: str, seconds: float = 10.0) -> Any:
        given[statement] = seconds
        return asking(self, statement, *values, seconds=seconds)

    monkeypatch.setattr(Talk, "rows", rows)
    made(cluster)
    changes = {statement: seconds for statement, seconds in given.items() if not statement.startswith("SELECT")}
    assert len(changes) == len(cluster.changes) == 5
    assert set(changes.values()) == {external_look.SECONDS_TO_MAKE}
    assert external_look.SECONDS_TO_MAKE >= 120
    assert external_database.SECONDS_TO_MAKE_ALL > 3 * external_look.SECONDS_TO_MAKE


# What it makes.


def test_role_and_database_are_made_and_nobody_has_more_rights_than_before(cluster: Cluster) -> None:
    assert made(cluster).word == "ok"
    assert [" ".join(each.split()[:2]) for each in cluster.changes] == [
        "CREATE ROLE",
        'GRANT "tracker"',
        "CREATE DATABASE",
        'REVOKE "tracker"',
        "REVOKE ALL",
    ]
    assert PASSWORD not in "".join(cluster.changes)
    assert "PASSWORD 'SCRAM-SHA-256$4096:" in cluster.changes[0]
    assert cluster.closed
    assert not cluster.member


def test_a_server_that_speaks_another_language_is_asked_for_what_is_missing(cluster: Cluster) -> None:
    cluster.words = ("Passwort-Authentifizierung für Benutzer »tracker« fehlgeschlagen", "Datenbank fehlt")
    assert made(cluster, None, told).word == "answer"
    assert made(cluster, work=look).missing == ("role", "database")
    cluster.role = cluster.admin = True
    assert made(cluster, work=look).missing == ("database",)
    assert made(cluster).word == "ok"


def told(way: Way) -> Told:
    try:
        return look(way)
    except Trouble as trouble:
        return Told(trouble.word, trouble.said)


@pytest.mark.parametrize("version", [150008, 160004])
def test_an_administrator_that_was_a_member_of_the_role_stays_one(servers: list[Server], version: int) -> None:
    cluster = Cluster(version=version, role=True, member=True)
    servers.append(cluster.server)
    assert made(cluster).word == "ok"
    assert cluster.member
    assert not [each for each in cluster.changes if '"tracker"' in each.split()[:2]]


def test_an_administrator_that_may_not_give_the_role_a_database_is_told_before_the_run(servers: list[Server]) -> None:
    found = {}
    for version in (150008, 160004):
        for admin in (False, True):
            cluster = Cluster(version=version, role=True, admin=admin)
            servers.append(cluster.server)
            seen = made(cluster, work=look)
            found[version, admin] = seen.word
            if seen.word == "rights":
                assert "no member of the role tracker" in seen.said
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
    assert made(cluster).word == "ok"
    assert cluster.closed


def test_a_database_whose_making_was_not_answered_is_closed_by_the_next_run(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(external_look, "SECONDS_TO_MAKE", 0.1)
    cluster.silent = {"CREATE DATABASE"}
    with pytest.raises(Trouble, match="silent"):
        made(cluster)
    (talk,) = (talk for talk in cluster.server.talks if any(each.startswith("CREATE DATABASE") for each in talk))
    assert talk[-1].startswith("CREATE DATABASE")
    assert not cluster.member, "taken back on another connection"
    assert not cluster.closed
    monkeypatch.undo()
    assert made(cluster, None).word == "ok"
    assert cluster.closed


@pytest.mark.parametrize("word", ["login", "entry"])
def test_an_administrators_login_that_is_refused_is_told_as_such(servers: list[Server], word: str) -> None:
    said = {"login": 'password authentication failed for user "keeper"', "entry": "no pg_hba.conf entry for host"}[word]
    servers.append(
        Server(
            lambda first: refusal("28P01", said if b"keeper" in first else "password authentication failed"),
            lambda _: DONE,
        )
    )
    with pytest.raises(Trouble) as error:
        through(FakeSession(), at(servers[0], admin=KEEPER), 20, look)
    assert (error.value.word, said in error.value.said) == ("admin", True)
