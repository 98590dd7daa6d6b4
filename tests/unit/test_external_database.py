"""A database of somebody else's: its address, what is asked of it from the host, and what comes of each answer."""

from __future__ import annotations

import socket
import ssl
import struct
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from certs import Authority, written
from fake_postgres import FACTS, GREETED, Server, answer, clear, greeted, refusal, row
from hypothesis import given
from hypothesis import strategies as st

from provisioner import database_url, placement, secret_kinds, vault
from provisioner.commands import outside_keys
from provisioner.commands.far_rows import RunProbe
from provisioner.door import Door
from provisioner.engine.probe import Seen
from provisioner.errors import Refused, UsageError
from provisioner.record import dump_recorded, parse_recorded
from provisioner.resources.external_database import ExternalLook
from provisioner.resources.external_look import Told
from provisioner.resources.external_way import Login, Place, Talk, Way
from provisioner.resources.facts import Facts
from provisioner.resources.file import File
from provisioner.resources.mark import MarkProbe
from provisioner.resources.paths import ABSENT, PathProbe, PathState
from provisioner.resources.remote_database import RemoteDatabase, RemoteRows, RemoteState, RemoteTables
from provisioner.secrets import Secret
from provisioner.settings import effective
from provisioner.steps import Context, dbms, external_database, mlflow, mlflow_environment, named, ordered, sizes
from provisioner.steps.database import IDENTITY
from provisioner.steps.external_database import PROVEN, STEP, place
from provisioner.steps.external_findings import _WORDS, findings
from provisioner.switches import switches
from provisioner.topology import Member, Topology
from provisioner.transport.fake import FakeSession
from provisioner.verify.faults import refused
from provisioner.verify.http import Response
from provisioner.verify.target import Target

URL = "postgresql://db1.example.com,db2.example.com:5433/runs?target_session_attrs=read-write"
FLAGS = {"store.engine": "seaweedfs", "database.engine": "external", "database.url": URL, "database.user": "tracker"}
ENVIRONMENT = "/etc/mlflow/mlflow.env"
MAKING = PathProbe("/etc/provision/making.database.runs", read=False)
KEPT = b"# Written by provision: the database that this stack uses. It is no setting.\n7/1\n"
GOOD = RemoteState(RemoteTables(70, "abc", "7/1"))
PASSWORD = 'it\'s "secret" $x@/:%'
ADMIN = {"database.admin.user": Secret("theirkeeper"), "database.admin.password": Secret("kept-by-nobody-1")}


def context(seen: Seen | None = None, secrets: dict[str, Secret] | None = None, **flags: object) -> Context:
    settings = effective({**FLAGS, **{key.replace("__", "."): value for key, value in flags.items()}}, {})
    kept = {"database.password": Secret(PASSWORD), **(secrets or {})}
    door = Door("http", "10.0.0.1", 5000, ("10.0.0.1",))
    return Context(settings, Facts(python_path=sys.executable), kept, door, seen=seen or Seen())


# The address.

_LABELS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True)
_NAMES = st.lists(_LABELS, min_size=1, max_size=3).map(lambda parts: ".".join([*parts, "example"]))
_HOSTS = st.one_of(_NAMES, st.ip_addresses().filter(lambda ip: not ip.is_unspecified).map(str))
_NAME = st.from_regex(r"m[a-z0-9_]{0,20}", fullmatch=True)


@given(
    st.lists(st.tuples(_HOSTS, st.integers(1, 65535)), min_size=1, max_size=4, unique=True),
    _NAME | st.just(""),
    _NAME | st.just(""),
    st.sampled_from(("", *database_url.MODES)),
    st.sampled_from(("", *database_url.TARGETS)),
)
def test_a_url_that_is_written_is_read_as_the_same_one(
    hosts: list[tuple[str, int]], name: str, user: str, mode: str, target: str
) -> None:
    url = database_url.DatabaseUrl(tuple(hosts), name, user, mode, target)
    assert database_url.parse(str(url)) == url
    assert database_url.normal(str(url)) == str(url)


@given(st.text(max_size=200) | st.from_regex(r"postgres(ql)?://[ -~]{0,80}", fullmatch=True))
def test_any_other_text_is_refused_or_comes_out_whole_and_harmless(text: str) -> None:
    try:
        url = database_url.parse(text)
    except ValueError:
        return
    assert database_url.parse(str(url)) == url
    assert not set(str(url)) & set(" '\"$`\\;\n\0%#<>|")
    assert "password" not in str(url)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("postgresql://mlflow:topsecret@db/mlflow", "database.password"),
        ("postgresql://mlflow:top/secret@db/mlflow", "PostgreSQL URL|database.password"),
        ("postgresql://db/mlflow?password=topsecret", "database.password"),
        ("postgresql://db/mlflow?sslrootcert=/x", "database.ca"),
        ("postgresql://db/mlflow?sslmode=prefer", "verify-full"),
        ("postgresql://db/mlflow?sslmode=require&sslmode=disable", "once"),
        ("postgresql://db/mlflow?target_session_attrs=standby", "read-write"),
        ("postgresql://db/mlflow?options=-c%20x", "no other parameters"),
        ("postgresql://db,/mlflow", "between the commas"),
        ("postgresql://db,db/mlflow", "different"),
        ("postgresql://a,b,c,d,e/mlflow", "at most"),
        ("postgresql://db/postgres", "another name"),
        ("postgresql://postgres@db/mlflow", "another name"),
        ("postgresql://db/my%20runs", "PostgreSQL name"),
        ("postgresql://0.0.0.0/mlflow", "one server"),
        ("postgresql:///mlflow", "PostgreSQL URL"),
        ("mysql://db/mlflow", "PostgreSQL URL"),
        ("postgresql://db/%ff", "PostgreSQL URL"),
        ("postgresql://%ff@db/mlflow", "PostgreSQL URL"),
        (5432, "string"),
    ],
)
def test_an_address_that_is_none_is_refused_with_the_reason(text: object, words: str) -> None:
    with pytest.raises(ValueError, match=words) as error:
        database_url.parse(text)
    assert "topsecret" not in str(error.value)


def test_no_error_repeats_a_password_that_stands_in_the_url_by_mistake() -> None:
    from provisioner import set_option

    for text in (
        "postgresql://mlflow:topsecret@db/mlflow",
        "postgresql://db/mlflow?password=topsecret",
        "postgresql://db/mlflow?passwd=topsecret",
        "mlflow:topsecret@db/mlflow",
        "postgresql://db:topsecret/mlflow",
    ):
        with pytest.raises(UsageError) as error:
            set_option.flags([f"database.url={text}"], {}).fail()
        assert "topsecret" not in f"{error.value.what}{error.value.why}{error.value.next}{error.value.detail}"
        settings = effective(FLAGS, {})
        recorded = dump_recorded(settings, "s").replace(settings.database.url or "?", text)
        assert text in recorded
        with pytest.raises(Refused) as refused:
            parse_recorded(recorded, "h")
        assert "topsecret" not in f"{refused.value.what}{refused.value.why}{refused.value.next}{refused.value.detail}"


# The settings.


def test_names_in_the_url_are_the_settings_and_a_second_opinion_is_refused() -> None:
    settings = effective({**FLAGS, "database.url": "postgresql://other@db/theirs", "database.user": "other"}, {})
    assert (settings.database.name, settings.database.user) == ("theirs", "other")
    for key, value in {"database.name": "mine", "database.user": "me"}.items():
        with pytest.raises(UsageError, match=value):
            effective({**FLAGS, "database.url": "postgresql://other@db/theirs", key: value}, {})


@pytest.mark.parametrize(
    "flags",
    [
        {"database.engine": "external"},
        {"database.url": URL},
        {"database.ca": "ca.pem"},
        {**FLAGS, "database.allow": ("10.0.0.0/8",)},
        {**FLAGS, "database.settings": {"work_mem": "1MB"}},
        {**FLAGS, "mlflow.egress": "stack"},
        {**FLAGS, "database.ca": "ca.pem", "database.url": "postgresql://db/runs?sslmode=require"},
    ],
)
def test_settings_that_contradict_an_external_database_are_refused(flags: dict[str, object]) -> None:
    with pytest.raises(UsageError) as error:
        effective(flags, {})
    assert error.value.next


def test_the_record_keeps_the_address_and_of_the_root_that_there_is_one() -> None:
    settings = effective({**FLAGS, "database.ca": "/home/a/ca.pem"}, {})
    recorded = parse_recorded(dump_recorded(settings, "s"), "h")
    again = effective({}, {}, recorded)
    assert (again.database.url, again.database.ca) == (str(database_url.parse(URL)), "own")
    # Back to an own one, which the stack's data decides on, neither is in the way.
    assert effective({"database.engine": "postgresql"}, {}, recorded).database.url is None


def test_a_host_with_the_role_of_the_database_is_refused() -> None:
    hosts = {
        "a": placement.Placed("a", ("store", "database", "proxy")),
        "b": placement.Placed("b", ("mlflow",)),
    }
    with pytest.raises(UsageError, match=r"\[roles\] database names a, and database.engine is external"):
        placement.judge(hosts, {"database.engine": "external"})
    placement.judge({**hosts, "a": placement.Placed("a", ("store", "proxy"))}, {"database.engine": "external"})


# The stack's steps.


def test_nothing_of_a_database_server_is_on_the_host() -> None:
    settings = context().settings
    names = [step.name for step in ordered(settings)]
    assert "external-database" in names
    assert not {"postgres", "mysql", "database"} & set(names)
    with pytest.raises(UsageError, match="this stack has no database"):
        named("database", settings)
    assert dbms.maker(settings) == "external-database"
    assert mlflow.beside(context()) == ["seaweedfs.service"]
    assert sizes.sizes(8 * 2**30, 4, settings).store > sizes.sizes(8 * 2**30, 4, effective({}, {})).store  # type: ignore[operator]


def test_mlflow_gets_every_address_in_a_form_that_libpq_and_sqlalchemy_read() -> None:
    uri = mlflow_environment.database_uri(context(database__ca="own")).reveal()
    login = "tracker:it%27s%20%22secret%22%20%24x%40%2F%3A%25"
    assert uri == (
        f"postgresql+psycopg2://{login}@/runs?host=db1.example.com,db2.example.com&port=5432,5433&sslmode=verify-full"
        "&sslrootcert=%2Fetc%2Fmlflow%2Fdatabase-ca.crt&target_session_attrs=read-write&connect_timeout=5"
        "&tcp_user_timeout=10000"
    )
    plain = mlflow_environment.database_uri(context(database__url="postgresql://[::1]/runs?sslmode=disable")).reveal()
    assert plain.endswith("?host=::1&port=5432&sslmode=disable&connect_timeout=5&tcp_user_timeout=10000")


def test_with_egress_to_the_stack_only_the_database_is_reached_too() -> None:
    url = "postgresql://192.0.2.7,[2001:db8::7]/runs"
    found = sizes.egress(context(mlflow__egress="stack", database__url=url))
    assert {"192.0.2.7", "2001:db8::7", "10.0.0.1"} <= set(found)


def test_an_administrators_login_is_used_by_the_run_and_kept_nowhere() -> None:
    settings = context().settings
    given = {**ADMIN, "database.password": Secret("chosen-by-us-here")}
    assert outside_keys.kept(settings, given) == {"database.password": Secret("chosen-by-us-here")}
    assert outside_keys.passing(settings, given) == ADMIN
    assert outside_keys.passing(effective({}, {}), given) == {}
    assert outside_keys.not_made(settings, {}) == ("database.password",)
    assert outside_keys.not_made(settings, ADMIN) == ()
    assert not set(secret_kinds.PASSING) & set(secret_kinds.wanted(settings))
    with pytest.raises(UsageError, match="alone"):
        outside_keys.administers(settings, {"database.admin.user": Secret("theirkeeper")})


def test_without_the_password_and_an_administrator_a_run_says_where_it_comes_from() -> None:
    empty = vault.Decision(vault.Vault("s"), (), (), ())
    with pytest.raises(Refused, match=r"database\.password") as error:
        outside_keys.brought(empty, context().settings, "--host h")
    assert '"database.password" = { env = "DATABASE_PASSWORD" }' in error.value.next
    assert outside_keys.brought(empty, context().settings, "--host h", ADMIN) == empty


def asked(made: Context) -> ExternalLook:
    return ExternalLook(place(made))


def fresh(told: Told, **secrets: Secret) -> Context:
    """A host that was never made, and what its look at the database told."""
    guess = context(secrets={key.replace("_", "."): value for key, value in secrets.items()})
    seen = Seen(
        {
            PathProbe(PROVEN): ABSENT,
            PathProbe(ENVIRONMENT): ABSENT,
            PathProbe(IDENTITY): ABSENT,
            MarkProbe("database.runs"): False,
            MAKING: ABSENT,
            STEP.server(guess): RemoteState(),
        }
    )
    return replace(guess, seen=seen.put(asked(guess), told))


def settled(made: Context, state: RemoteState, uri: str = "") -> Context:
    """A host as a run left it: the proof, MLflow's environment with `uri` (empty: the right one), the database's name
    and mark; and what MLflow itself sees of its database."""
    (proof,) = (r for r in STEP.resources(made) if isinstance(r, File) and r.path == PROVEN)
    line = f'MLFLOW_BACKEND_STORE_URI="{uri or STEP.uri(made, "runs").reveal()}"\n'
    seen: dict[Any, Any] = {
        PathProbe(PROVEN): PathState("file", content=proof.content),
        PathProbe(ENVIRONMENT): PathState("file", content=f"HOME=/x\n{line}".encode()),
        PathProbe(IDENTITY): PathState("file", content=KEPT),
        MarkProbe("database.runs"): True,
        MAKING: ABSENT,
        STEP.server(made): state,
    }
    return replace(made, seen=Seen(seen))


def asks(made: Context) -> bool:
    return any(isinstance(look, ExternalLook) for look in STEP.looks(made))


def test_before_the_host_was_seen_nobody_logs_in_with_a_guessed_password() -> None:
    assert not [look for look in STEP.looks(context()) if isinstance(look, ExternalLook)]
    assert [look for look in STEP.looks(fresh(Told("ok"))) if isinstance(look, ExternalLook)]


def test_what_was_proven_is_not_asked_again_until_something_of_it_changes() -> None:
    made = fresh(Told("ok", database=RemoteTables(0, "", "7/1")))
    proven = settled(made, GOOD)
    for secrets, flags, again in (
        ({}, {}, False),
        (ADMIN, {}, False),
        ({"database.password": Secret("one-that-came-later")}, {}, True),
        ({}, {"database__url": "postgresql://db1.example.com/runs"}, True),
        ({"mlflow.flask-key": Secret("another")}, {}, True),
    ):
        assert asks(context(proven.seen, secrets, **flags)) is again


def test_the_proof_holds_only_as_long_as_mlflow_itself_has_this_login_and_gets_in() -> None:
    made = context()
    assert not asks(settled(made, GOOD))
    for left, why in (
        (settled(made, GOOD, uri="postgresql+psycopg2://tracker:other@/runs?host=a"), "another password or server"),
        (settled(made, GOOD, uri="postgresql+psycopg2://mlflow:x@127.0.0.1:5432/runs"), "an own database in between"),
        (settled(made, RemoteState(why="No module named psycopg2")), "its driver is damaged"),
        (settled(made, RemoteState()), "its environment is not there"),
    ):
        assert asks(left), why
    lost = settled(made, GOOD).seen
    for content in (b"HOME=/x\n", b"\xff"):
        assert asks(replace(made, seen=lost.put(PathProbe(ENVIRONMENT), PathState("file", content=content))))
    # Before all of it was seen nobody asks.
    assert not asks(replace(made, seen=Seen({PathProbe(PROVEN): ABSENT})))


def test_what_stands_in_mlflows_way_is_repaired_where_the_given_login_gets_in() -> None:
    left = settled(context(), RemoteState(why="No module named psycopg2"))
    left = replace(left, seen=left.seen.put(asked(left), Told("ok", database=RemoteTables(70, "abc", "7/1"))))
    assert [check.status for check in STEP.preflight(left)] == ["ok"]


def test_a_database_that_nobody_saw_is_not_told_to_be_good() -> None:
    for state in (RemoteState(), RemoteState(why="no answer within 20 s")):
        assert list(STEP.preflight(settled(context(), state))) == []
    assert [check.status for check in STEP.preflight(settled(context(), GOOD))] == ["ok"]


def test_an_empty_database_is_not_taken_where_the_stacks_own_is_not_named_any_more() -> None:
    for identity in (ABSENT, PathState("file", content=b"")):
        left = settled(context(), RemoteState())
        left = replace(left, seen=left.seen.put(PathProbe(IDENTITY), identity))
        left = replace(left, seen=left.seen.put(asked(left), Told("ok", database=RemoteTables(0, "", "7/2"))))
        (check,) = STEP.preflight(left)
        assert check.status == "fail"
        assert "rm /etc/provision/had/database.runs" in str(check.fix)


def test_the_proof_shows_nothing_of_the_password_and_cannot_be_tried_without_the_stacks_own_secret() -> None:
    key = {"mlflow.flask-key": Secret("k" * 48)}

    def proof(secrets: dict[str, Secret]) -> File:
        (found,) = (r for r in STEP.resources(context(secrets=secrets)) if isinstance(r, File) and r.path == PROVEN)
        return found

    assert proof(key).mode == 0o600
    assert PASSWORD.encode() not in proof(key).content
    assert proof(key).content != proof({"mlflow.flask-key": Secret("l" * 48)}).content
    change = proof(key).diff(Seen({PathProbe(PROVEN): PathState("file", 0o600, "root", "root", b"an earlier one\n")}))
    assert change is not None
    assert change.diff == ()


def test_of_several_hosts_that_see_no_database_one_makes_it_after_the_other() -> None:
    hosts = tuple(Member(name, f"10.0.0.{n}", ("mlflow",)) for n, name in enumerate("abc", 1))
    topology = Topology((Member("s", "10.0.0.9", ("store", "proxy")), *hosts))
    for told, needs in (
        (
            Told("missing", missing=("role", "database")),
            [(), ("after:external-database@a",), ("after:external-database@b",)],
        ),
        (Told("ok", database=RemoteTables(0, "", "7/1")), [(), (), ()]),
    ):
        made = fresh(told)
        spread = replace(made, settings=replace(made.settings, topology=topology))
        assert [STEP.resources(replace(spread, name=host.name))[0].needs for host in hosts] == needs


def test_what_was_cut_off_while_it_was_made_is_taken_up() -> None:
    left = settled(context(), GOOD)
    assert STEP.resources(left)[0].diff(left.seen) is None
    left = replace(left, seen=left.seen.put(MAKING, PathState("file")))
    database = STEP.resources(left)[0]
    change = database.diff(left.seen)
    assert change is not None
    assert (change.action, "cut off" in change.reason) == ("run", True)
    assert database.diff(database.after(left.seen)) is None


def test_the_database_that_was_seen_is_named_for_mlflow_and_marked() -> None:
    resources = STEP.resources(fresh(Told("ok", database=RemoteTables(0, "", "7/1"))))
    files = {r.path: r.content for r in resources if isinstance(r, File)}
    assert files[IDENTITY].endswith(b"\n7/1\n")
    assert "/etc/provision/had/database.runs" in files


@pytest.mark.parametrize("missing", [("role", "database"), ("database",)])
def test_what_is_missing_is_made_where_an_administrator_was_given(missing: tuple[str, ...]) -> None:
    made = fresh(Told("missing", missing=missing), **{"database_admin_user": ADMIN["database.admin.user"]})
    database = STEP.resources(made)[0]
    change = database.diff(made.seen)
    assert change is not None
    assert change.action == "create"
    assert all(each in change.title for each in missing)
    assert database.diff(database.after(made.seen)) is None


# What a reader is told.


def told(word: str, said: str = "", kept: bytes | None = None, **more: object) -> dict[str, str]:
    url = database_url.parse(more.pop("url", URL))
    found = findings(Told(word, said, **more), url, context().settings, kept)  # type: ignore[arg-type]
    return {check.id: f"{check.status}: {check.detail} -> {check.fix}" for check in found}


@pytest.mark.parametrize(
    "word",
    [*_WORDS, "login", "entry", "denied", "superuser", "encoding", "taken", "owned", "rights", "missing"],
)
def test_whatever_is_in_the_way_is_one_failed_check_with_its_fix(word: str) -> None:
    (found,) = told(word, "said so").values()
    assert found.startswith("fail: db1.example.com:5432, db2.example.com:5433: ")
    assert not found.endswith("-> None")


def test_another_database_under_the_same_name_is_refused_where_the_stack_has_runs() -> None:
    kept = KEPT
    same, other = RemoteTables(70, "abc", "7/1"), RemoteTables(0, "", "7/2")
    assert told("ok", kept=kept, database=same)["external-database"].startswith("ok")
    assert "another database than" in told("ok", kept=kept, database=other)["external-database"]
    assert "another database than" in told("missing", kept=kept, missing=("database",))["external-database"]
    assert told("ok", database=other)["external-database"].startswith("ok")


def test_what_is_only_unwise_is_a_warning() -> None:
    database = RemoteTables(0, "", "7/1")
    assert set(told("ok", database=database)) == {"external-database"}
    found = told("ok", database=database, away=("db1.example.com:5432 (port)",), makes=True)
    assert found["external-database-away"].startswith("warn")
    assert found["external-database-rights"].startswith("warn")
    for mode, host, warned in (
        ("disable", "db", True),
        ("disable", "127.0.0.1", False),
        ("require", "db", True),
        ("verify-full", "db", False),
    ):
        found = told("ok", database=database, url=f"postgresql://{host}/runs?sslmode={mode}")
        assert ("external-database-tls" in found) is warned


def test_another_engine_is_a_switch_that_says_what_would_have_to_move() -> None:
    recorded = parse_recorded(dump_recorded(effective({}, {}), "s"), "h")
    found = {switch.key: switch for switch in switches(recorded, context(database__user="mlflow").settings)}
    assert "every table would have to move" in found["database.engine"].why
    assert "docs/switching.md" in found["database.engine"].next
    assert "database.name" not in found, "one reason for one change"


# What a look through the host says.


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    running: list[Server] = []

    def start(
        greeting: bytes = GREETED,
        facts: Sequence[object] = FACTS,
        tls: ssl.SSLContext | None = None,
        login: Any = clear,
        number: int = 160004,
        **answers: bytes,
    ) -> Server:
        def say(query: str) -> bytes:
            if query.startswith("SELECT current_setting('server_version_num')"):
                return row(number, "16.4")
            if query.startswith("SELECT pg_is_in_recovery() OR"):
                return row(*facts)
            if "to_regclass" in query:
                return row(None)
            if "count(*)" in query:
                return answers.get("tables", row(0))
            return answers.get("system", row("7001"))

        running.append(Server(greeting, say, tls, login))
        return running[-1]

    yield start
    for each in running:
        each.close()


def look(*ports: int, target: str = "any", mode: str = "disable", **changed: object) -> Told:
    where = replace(
        place(context()),
        hosts=tuple(("127.0.0.1", port) for port in ports),
        target=target,
        mode=mode,
        **changed,  # type: ignore[arg-type]
    )
    return ExternalLook(where).ask(FakeSession())


def test_a_database_that_mlflow_can_use_is_ok(serve: Callable[..., Server]) -> None:
    server = serve()
    found = look(server.port)
    assert (found.word, found.version) == ("ok", "16.4")
    assert found.database == RemoteTables(0, "", "7001/42")
    assert not [query for query in server.queries if not query.startswith("SELECT")]


def test_a_service_that_hides_its_identity_is_known_by_the_databases_number(serve: Callable[..., Server]) -> None:
    server = serve(system=refusal("42501", "permission denied for function pg_control_system"))
    found = look(server.port)
    assert found.database is not None
    assert found.database.which == "unknown/42"


@pytest.mark.parametrize(
    ("at", "value", "word"),
    [
        (0, True, "standby"),
        (1, True, "superuser"),
        (3, "SQL_ASCII", "encoding"),
        (4, None, "denied"),
        (5, False, "denied"),
    ],
)
def test_a_database_that_mlflow_cannot_use_is_told_by_what_is_wrong(
    serve: Callable[..., Server], at: int, value: object, word: str
) -> None:
    facts: list[object] = list(FACTS)
    facts[at] = value
    assert look(serve(facts=facts).port).word == word


def test_a_database_that_is_too_old_is_told_as_such(serve: Callable[..., Server]) -> None:
    assert look(serve(number=110022).port).word == "old"


def hangs_up(_: bytes) -> bytes:
    raise OSError


@pytest.mark.parametrize(
    ("greeting", "word"),
    [
        (refusal("28P01", 'password authentication failed for user "tracker"'), "login"),
        (refusal("28000", "no pg_hba.conf entry for host"), "entry"),
        (refusal("3D000", 'database "runs" does not exist'), "missing"),
        (refusal("53300", "sorry, too many clients already"), "answer"),
        (answer(b"R", struct.pack("!i", 7)), "method"),
        (answer(b"R", struct.pack("!i", 10) + b"SCRAM-SHA-256-PLUS\0\0"), "method"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "foreign"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "foreign"),
        (b"R\x7f\xff\xff\xff", "foreign"),
        (hangs_up, "foreign"),
    ],
)
def test_each_refusal_is_told_by_one_word(serve: Callable[..., Server], greeting: Any, word: str) -> None:
    assert look(serve(greeting, login=None).port).word == word


def test_a_challenge_that_is_none_is_not_answered(serve: Callable[..., Server]) -> None:
    nonce = b"r=,s=AAAA,i=4096"
    greeting = answer(b"R", struct.pack("!i", 10) + b"SCRAM-SHA-256\0\0") + answer(b"R", struct.pack("!i", 11) + nonce)
    assert look(serve(greeting, login=None).port).word == "foreign"


def test_without_tls_where_it_is_wanted_nothing_is_said_to_the_server(serve: Callable[..., Server]) -> None:
    server = serve(b"N")
    assert look(server.port, mode="verify-full").word == "plain"
    for mode in ("verify-full", "require"):
        assert look(serve(b"SSH-2.0-OpenSSH_9.2\r\n").port, mode=mode).word == "foreign"
    assert server.queries == []


def shows(folder: Path, root: Authority, names: Sequence[str], **options: Any) -> ssl.SSLContext:
    """A server's TLS with a certificate of `root`."""
    written(folder, *root.leaf(names, **options))
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return made


def test_the_servers_certificate_is_checked_as_the_mode_says(serve: Callable[..., Server], tmp_path: Path) -> None:
    root, stranger = Authority.new(), Authority.new(name="Another")
    over = datetime.now(UTC) - timedelta(days=1)
    right = serve(tls=shows(tmp_path, root, ["127.0.0.1"]))
    named = serve(tls=shows(tmp_path, root, ["db.example.com"]))
    ended = serve(tls=shows(tmp_path, root, ["127.0.0.1"], until=over))
    roots, theirs = ssl.DER_cert_to_PEM_cert(root.der), ssl.DER_cert_to_PEM_cert(stranger.der)
    assert look(right.port, mode="verify-full", roots=roots).word == "ok"
    (tmp_path / "roots.pem").write_text(theirs + roots)
    assert look(right.port, mode="verify-full", roots=str(tmp_path / "roots.pem")).word == "ok"
    for server, word in ((right, "certificate"), (named, "certificate"), (ended, "certificate")):
        assert look(server.port, mode="verify-full", roots=theirs).word == word
    assert look(named.port, mode="verify-full", roots=roots).word == "another"
    assert look(named.port, mode="verify-ca", roots=roots).word == "ok"
    assert look(ended.port, mode="verify-full", roots=roots).word == "expired"
    assert look(ended.port, mode="require", roots="").word == "ok"
    assert look(right.port, mode="verify-full", roots="/nowhere/roots.pem").word == "roots"


def test_the_first_of_several_addresses_that_can_be_written_to_is_taken(serve: Callable[..., Server]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        dead = closed.getsockname()[1]
    reader, writer = serve(greeted(standby=True)), serve()
    found = look(dead, reader.port, writer.port, target="read-write")
    assert found.word == "ok"
    assert found.away == (f"127.0.0.1:{dead} (port)",)
    assert reader.queries == []
    assert look(reader.port, target="read-write").word == "standby"
    only = look(dead, reader.port, target="read-write")
    assert "Connection refused" in only.said
    assert "standby" in only.said


def test_no_password_goes_to_the_host_or_is_shown(serve: Callable[..., Server]) -> None:
    where = replace(place(context()), admin=Login("keeper", Secret("kept-by-nobody-1")))
    session = FakeSession()
    found = ExternalLook(replace(where, hosts=(("127.0.0.1", serve().port),), mode="disable")).ask(session)
    assert found.word == "ok"
    for secret in (PASSWORD, "kept-by-nobody-1"):
        assert secret not in f"{where!r}{ExternalLook(where)!r}{found!r}"
        assert not [script for script in session.scripts if secret.encode() in script]


@given(st.lists(st.lists(st.none() | st.booleans() | st.integers() | st.text(), max_size=9), max_size=9))
def test_a_hostile_answer_is_told_or_harmless(answers: list[list[object]]) -> None:
    left = iter(answers)

    class Odd(Talk):
        def __init__(self) -> None: ...

        def __exit__(self, *_: object) -> None: ...

        def rows(self, *_: object, **__: object) -> list[tuple[object, ...]]:
            return [tuple(each) for each in [next(left, [])] if each]

    class Nowhere(Way):
        def talk(self, *_: object, **__: object) -> Odd:
            return Odd()

    def at_once(session: object, where: Place, seconds: float, work: Callable[[Way], Told]) -> Told:
        return work(Nowhere(where, {}, {}, Path("/")))

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("provisioner.resources.external_database.through", at_once)
        found = ExternalLook(place(context())).ask(FakeSession())
    assert found.word.isalpha()
    assert found.said.isprintable()
    assert found.version.isprintable()
    assert len(found.said) <= 300


def test_rows_are_two_numbers_or_unknown() -> None:
    probe = RemoteRows("/opt/mlflow/3", "/etc/mlflow/mlflow.env", "experiments", "runs", "lifecycle_stage")
    for line, found in (('{"rows": [2, 5]}', (2, 5)), ('{"rows": [2, true]}', None), ('{"error": "x"}', None)):
        assert list(RemoteRows.parse([probe], line.encode())) == [found]


def test_verify_sends_nobody_to_a_step_that_the_stack_does_not_have() -> None:
    own, theirs = (Target("http://h", repair="--host h", outside=outside) for outside in (False, True))
    for said, step in (
        (b"Connection refused", "postgres"),
        (b"password authentication failed", "database"),
        (b"no pg_hba.conf entry for host", "postgres"),
        (b"(2003, Can't connect to MySQL server)", "mysql"),
        (b"certificate verify failed", "postgres"),
        (b"something else", "postgres"),
    ):
        response = Response(503, {}, b"TEMPORARILY_UNAVAILABLE " + said)
        assert refused(own, response, "search").next(own) == f"provision {step} --host h"
        fault = refused(theirs, response, "search")
        assert fault.next(theirs) == "provision --host h"
        assert "this stack's" not in fault.why


def test_the_row_of_a_run_is_asked_for_on_mlflows_host() -> None:
    probe = RunProbe("3.17.2", "abc")
    for line, found in (
        ('{"run": ["7"]}', (("7",), "")),
        ('{"run": []}', (None, "")),
        ('{"error": "no route"}', (None, "no route")),
        ("[]", (None, "MLflow's host could not ask it")),
    ):
        assert RunProbe.parse([probe], line.encode()) == [found]


def test_the_steady_look_is_mlflows_own() -> None:
    assert external_database.STEP.servers(context()) == (
        RemoteDatabase("/opt/mlflow/3.17.2", "/etc/mlflow/mlflow.env", "runs"),
    )
