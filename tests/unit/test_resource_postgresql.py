from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from provisioner.engine import script
from provisioner.engine.probe import Seen
from provisioner.engine.resource import UNKNOWN, Change, HostResource, Resource
from provisioner.errors import Refused
from provisioner.resources.mark import MarkProbe
from provisioner.resources.paths import PathProbe, PathState
from provisioner.resources.postgresql import hba, psql, scram
from provisioner.resources.postgresql.access import HostAccess
from provisioner.resources.postgresql.clusters import Cluster, Clusters, ClustersProbe, choose, expected
from provisioner.resources.postgresql.database import Database, Identity
from provisioner.resources.postgresql.hba import Access
from provisioner.resources.postgresql.overrides import Overrides
from provisioner.resources.postgresql.role import Role
from provisioner.resources.postgresql.rows import RowsProbe
from provisioner.resources.postgresql.server import (
    ATTRIBUTES,
    DOWN,
    DatabaseState,
    FileSetting,
    RoleState,
    ServerProbe,
    ServerState,
    Setting,
)
from provisioner.resources.postgresql.service import BootService, ClusterService, Includes, MainCluster
from provisioner.resources.postgresql.units import ClusterUnitProbe
from provisioner.resources.unit import UnitProbe, UnitState
from provisioner.secrets import Secret
from tests.unit import shells

SERVER = ServerProbe("15", "mlflow", "mlflow")
CLUSTER = Cluster("15")
PASSWORD = Secret("correct horse battery")
VERIFIER = scram.verifier(PASSWORD, b"0123456789abcdef")
ROLE = Role(id="role:mlflow", name="mlflow", password=PASSWORD, limit=75, server=SERVER)
DATABASE = Database(id="database:mlflow", name="mlflow", owner="mlflow", limit=75, server=SERVER)
IDENTITY = Identity(id="file:identity", path="/etc/mlflow/database.identity", server=SERVER)
ACCESS = HostAccess(
    id="access:postgresql", path=CLUSTER.hba, access=Access("mlflow", "mlflow", ("127.0.0.1/32",)), version="15"
)
WANTED = {"listen_addresses": "localhost", "max_connections": "100"}
OVERRIDES = Overrides(id="overrides:postgresql", cluster=CLUSTER, wanted=WANTED, server=SERVER)
SERVICE = ClusterService(
    id="unit:cluster",
    unit=CLUSTER.unit,
    inputs=(CLUSTER.conf, CLUSTER.hba),
    reloads=(CLUSTER.conf, CLUSTER.hba),
    cluster=CLUSTER,
    wanted=WANTED,
    server=SERVER,
    health="true",
)
MAIN = MainCluster(id="cluster:main", cluster=CLUSTER)
INCLUDES = Includes(id="include:postgresql", cluster=CLUSTER)
BOOT = BootService(id="unit:postgresql.service", unit="postgresql.service")
ALL: list[HostResource] = [ROLE, DATABASE, IDENTITY, ACCESS, OVERRIDES, SERVICE, MAIN, INCLUDES, BOOT]

ROLES = st.none() | st.builds(
    RoleState,
    attributes=st.frozensets(st.sampled_from(ATTRIBUTES)),
    limit=st.integers(-1, 100),
    password=st.sampled_from([None, VERIFIER, Secret("md5" + "0" * 32), UNKNOWN]),
    until=st.none() | st.just("2020-01-01"),
    settings=st.frozensets(st.sampled_from(["search_path", "work_mem"])),
    groups=st.frozensets(st.sampled_from(["pg_monitor", "team"])),
)
DATABASES = st.none() | st.builds(
    DatabaseState,
    oid=st.just(16385) | st.just(UNKNOWN),
    owner=st.sampled_from(["mlflow", "postgres"]),
    open=st.booleans(),
    limit=st.integers(-1, 100),
    connect=st.booleans(),
    tables=st.none() | st.integers(0, 71),
    foreign=st.integers(0, 2),
    schema=st.booleans(),
)
FILES = st.lists(
    st.builds(
        FileSetting,
        path=st.sampled_from(
            [
                CLUSTER.conf,
                f"{CLUSTER.directory}/postgresql.conf",
                f"{CLUSTER.directory}/conf.d/99-x.conf",
                "/var/lib/postgresql/15/main/postgresql.auto.conf",
                "/srv/elsewhere.conf",
            ]
        ),
        line=st.integers(1, 900),
        name=st.sampled_from(["listen_addresses", "max_connections", "work_mem"]),
        value=st.sampled_from(["localhost", "*", "100", "20", ""]),
    ),
    max_size=6,
).map(tuple)
SETTINGS = st.fixed_dictionaries(
    {},
    optional={
        name: st.builds(Setting, st.sampled_from(["localhost", "*", "100", "20"]), st.just(True), pending=st.booleans())
        for name in WANTED
    },
)
SERVERS = st.just(DOWN) | st.builds(
    ServerState,
    running=st.booleans(),
    system=st.just("7710"),
    unrecorded=st.booleans(),
    settings=SETTINGS,
    restart=st.just(frozenset(WANTED)),
    files=FILES,
    role=ROLES,
    database=DATABASES,
)
PATHS = st.one_of(
    st.just(PathState("absent")),
    st.builds(
        PathState,
        kind=st.just("file"),
        mode=st.sampled_from([0o644, 0o640]),
        owner=st.sampled_from(["root", "postgres"]),
        group=st.just("root"),
        content=st.sampled_from([b"", b"host all all all md5\n", ACCESS.access.block, UNKNOWN]),
    ),
)
UNITS = st.builds(
    UnitState,
    load=st.sampled_from(["loaded", "masked", "not-found"]),
    active=st.sampled_from(["active", "inactive", "failed"]),
    enabled=st.sampled_from(["enabled", "enabled-runtime", "disabled"]),
    need_reload=st.booleans(),
)
CLUSTERS = st.builds(
    Clusters,
    found=st.lists(
        st.builds(
            Cluster,
            version=st.sampled_from(["15", "17"]),
            includes=st.booleans(),
            start=st.sampled_from(["auto", "manual"]),
        ),
        max_size=2,
        unique_by=lambda c: c.version,
    ).map(tuple),
    ours=st.booleans(),
)


@st.composite
def hosts(draw: st.DrawFn) -> Seen:
    seen = Seen({SERVER: draw(SERVERS), ClustersProbe(): draw(CLUSTERS)})
    for path in (CLUSTER.conf, CLUSTER.hba, IDENTITY.path):
        seen = seen.put(PathProbe(path), draw(PATHS))
    seen = seen.put(PathProbe(f"{CLUSTER.directory}/postgresql.conf", read=False), draw(PATHS))
    seen = seen.put(MarkProbe("role.mlflow"), draw(st.booleans()))
    seen = seen.put(MarkProbe("database.mlflow"), draw(st.booleans()))
    seen = seen.put(ClusterUnitProbe(CLUSTER.unit), draw(UNITS))
    return seen.put(UnitProbe("postgresql.service"), draw(UNITS))


@pytest.mark.parametrize("resource", ALL, ids=lambda r: r.id)
@given(seen=hosts(), guest=st.booleans(), fresh=st.booleans())
@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_nothing_is_left_to_do_after_a_change(resource: Resource, seen: Seen, guest: bool, fresh: bool) -> None:
    if isinstance(resource, Role | Database):
        resource = replace(resource, guest=guest, fresh=fresh)
    if isinstance(resource, Identity):
        resource = replace(resource, fresh=fresh)
    if isinstance(resource, ClusterService | Includes):
        resource = replace(resource, guest=guest)
    if resource.diff(seen) is not None:
        left = resource.diff(resource.after(seen))
        assert left is None


def running(**fields: object) -> Seen:
    role = RoleState(frozenset({"login", "inherit"}), 75, VERIFIER)
    state = ServerState(running=True, system="7710", role=role, database=DatabaseState(oid=16385, owner="mlflow"))
    seen = Seen({SERVER: replace(state, **fields)})  # type: ignore[arg-type]
    return seen.put(MarkProbe("role.mlflow"), True).put(MarkProbe("database.mlflow"), True)


def test_a_role_and_a_database_as_wanted_need_nothing() -> None:
    assert ROLE.diff(running()) is None
    assert DATABASE.diff(running()) is None


def test_a_password_is_compared_without_being_tried_or_shown() -> None:
    other = scram.verifier(Secret("another one"))
    change = ROLE.diff(running(role=RoleState(frozenset({"login", "inherit"}), 75, other)))
    assert change is not None
    assert change.reason == "its password is not this stack's"
    assert "SCRAM" not in repr(change)
    assert "SCRAM" not in repr(running()[SERVER])


def test_a_role_that_gained_rights_is_told_which() -> None:
    role = RoleState(frozenset({"login", "inherit", "superuser"}), -1, VERIFIER, groups=frozenset({"pg_read_all_data"}))
    change = ROLE.diff(running(role=role))
    assert change is not None
    assert "it is a superuser" in change.reason
    assert "connection limit none, wanted 75" in change.reason
    assert "member of pg_read_all_data" in change.reason


def test_a_database_that_was_here_and_is_gone_is_a_loss_and_a_new_one_is_not() -> None:
    gone = DATABASE.diff(running(database=None))
    assert gone is not None
    assert gone.loss is not None
    new = DATABASE.diff(running(database=None).put(MarkProbe("database.mlflow"), False))
    assert new is not None
    assert new.loss is None


def test_a_database_of_another_encoding_is_refused_and_never_dropped() -> None:
    with pytest.raises(Refused) as refused:
        DATABASE.diff(running(database=DatabaseState(oid=1, owner="mlflow", encoding="LATIN1")))
    assert refused.value.exit == 4
    assert "DROP" not in "\n".join(DATABASE.apply([(DATABASE, Change("create", "absent"))]).split("\n")).upper()


def test_a_guests_own_role_of_that_name_is_taken_only_with_consent() -> None:
    guest = replace(ROLE, guest=True)
    change = guest.diff(running().put(MarkProbe("role.mlflow"), False))
    assert change is not None
    assert change.asks is not None


def test_a_stopped_server_hides_its_roles_and_a_fresh_host_has_none() -> None:
    down = Seen({SERVER: DOWN, MarkProbe("role.mlflow"): True})
    hidden, absent = ROLE.diff(down), replace(ROLE, fresh=True).diff(down)
    assert hidden is not None
    assert absent is not None
    assert (hidden.action, absent.action) == ("check", "create")


def test_no_password_stands_in_a_script_only_its_verifier() -> None:
    text = Role.apply([(ROLE, Change("create", "absent"))])
    assert PASSWORD.reveal() not in text
    assert "SCRAM-SHA-256$4096:" in text


def test_a_password_that_is_right_is_not_set_again() -> None:
    text = Role.apply([(ROLE, Change("change", "it is a superuser"))])
    assert "SCRAM-SHA-256$" not in text


@pytest.mark.parametrize(
    ("password", "wanted"),
    [
        ("plain", b"plain"),
        ("a\u00a0b", b"a b"),
        ("\u00adx\u2168", b"xIX"),
        ("\u200bz", b" z"),
        ("\u05e9abc", "\u05e9abc".encode()),
        ("\u0378", "\u0378".encode()),
    ],
)
def test_passwords_are_prepared_as_postgresql_does(password: str, wanted: bytes) -> None:
    assert scram.prepared(password) == wanted


def test_a_verifier_is_the_one_of_rfc_7677() -> None:
    salt = b"[m\x99h\x9d\x125\x8e\xec\xa0K\x14\x126\xfa\x81"
    made = scram.verifier(Secret("pencil"), salt).reveal()
    assert made == (
        "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$"
        "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
    )


@given(st.text(min_size=1, max_size=40).filter(lambda t: t.isprintable()))
@settings(max_examples=30, deadline=None)
def test_a_password_matches_its_own_verifier_only(password: str) -> None:
    made = scram.verifier(Secret(password))
    assert scram.matches(Secret(password), made)
    assert not scram.matches(Secret(password + "x"), made)


@pytest.mark.parametrize("junk", ["", "md5abc", "SCRAM-SHA-256$999999999:AAAA$a:b", "SCRAM-SHA-256$0:AAAA$x:y"])
def test_a_hostile_verifier_never_matches_and_costs_nothing(junk: str) -> None:
    assert not scram.matches(PASSWORD, Secret(junk))


@pytest.mark.parametrize("resource", ALL, ids=lambda r: r.id)
def test_the_fragments_of_resources_pass_shellcheck(resource: HostResource) -> None:
    change = Change("create", "absent")
    if resource is ACCESS:
        change = Change("change", "x", payload=(b"a\n", ACCESS.access.block))
    if resource is OVERRIDES:
        lines = (FileSetting("/v/postgresql.auto.conf", 1, "a", "b"), FileSetting("/etc/p.conf", 2, "c", "d"))
        change = Change("change", "x", payload=lines)
    actions = ("start", "restart", "reload", "run") if isinstance(resource, ClusterService) else (change.action,)
    body = type(resource).apply([(resource, replace(change, action=action)) for action in actions])
    tools = "".join(f"{name}() {{ :; }}\n" for name in ("keep", "put_back", "proven", "undo_unit", "say"))
    tools += "K=/k; T=/t; export K T\n"
    assert shells.lint(tools + body) == ""


PROBES = [
    (ClustersProbe, [ClustersProbe()]),
    (ServerProbe, [SERVER, ServerProbe("17", "mlflow", "mlflow")]),
    (ClusterUnitProbe, [ClusterUnitProbe(CLUSTER.unit), ClusterUnitProbe(Cluster("17").unit)]),
    (MarkProbe, [MarkProbe("database.mlflow")]),
    (
        RowsProbe,
        [RowsProbe("15", "mlflow", "experiments", "runs", "lifecycle_stage"), RowsProbe("17", "a'b", "x", "y", "z")],
    ),
]


@pytest.mark.parametrize("shell", shells.SHELLS, ids=lambda s: s[0])
@pytest.mark.parametrize(("kind", "probes"), PROBES, ids=lambda p: getattr(p, "kind", ""))
def test_the_looks_run_under_every_shell_whatever_the_machine_has(shell: list[str], kind, probes) -> None:  # type: ignore[no-untyped-def]
    fragment = kind.fragment(probes)
    assert shells.lint("T=/t; export T\n" + fragment) == ""
    frames: list[script.Frame] = []
    mark = script.boundary()
    reader = script.FrameReader(mark, frames.append)
    done = shells.run(shell, script.wrap(script.gather([(kind.kind, fragment)]), mark).encode())
    reader.feed(done.stdout)
    assert reader.ended
    answer = next(frame for frame in frames if frame.kind == "probe")
    assert answer.status == 0
    assert len(list(kind.parse(probes, answer.data))) == len(probes)


@pytest.mark.parametrize("shell", shells.SHELLS, ids=lambda s: s[0])
def test_systemd_is_asked_for_the_units_of_the_clusters_that_are_there(shell: list[str], tmp_path: Path) -> None:
    (tmp_path / CLUSTER.version / "main").mkdir(parents=True)
    probes = [ClusterUnitProbe(CLUSTER.unit), ClusterUnitProbe(Cluster("17").unit)]
    fragment = ClusterUnitProbe.fragment(probes)
    for place in ("/etc/postgresql", "/run/systemd/system"):
        fragment = fragment.replace(place, str(tmp_path))
    stand_in = 'systemctl() { for last; do :; done; echo "Id=$last"; echo "ActiveState=active"; }\n'
    done = shells.run(shell, (stand_in + fragment).encode())
    found = list(ClusterUnitProbe.parse(probes, done.stdout))
    assert [state.active for state in found] == ["active", "inactive"]


def test_rows_are_counted_or_not_known() -> None:
    probes = [
        RowsProbe(version, "mlflow", "experiments", "runs", "lifecycle_stage") for version in ("14", "15", "16", "17")
    ]
    output = b"1|2|12480\n2|x|1\n\xff\n3|1\n"
    assert list(RowsProbe.parse(probes, output)) == [None, (2, 12480), None, None]


def test_the_answer_of_a_server_is_read_and_its_noise_is_kept_as_an_error() -> None:
    document = (
        '{"version": "15.20 (Debian)", "system": "77", "recovery": false, "started": 10.5, "loaded": 13.0, '
        '"settings": {"max_connections": ["100", true, "/etc/x", false]}, "restart": ["max_connections"], '
        '"files": [["/etc/x", 3, "max_connections", "100", null]], "hba": [], "role": null, '
        '"database": {"oid": 5, "owner": "mlflow", "encoding": "UTF8", "collate": "C", "open": true, "limit": -1, '
        '"size": 9, "connect": true}}'
    )
    output = f'server 0 5433\nrecorded 11.5\n{document}\n{{"tables": 71, "foreign": 0, "schema": true}}\n'.encode()
    (state,) = ServerProbe.parse([SERVER], output + b'{"revision": "dc11669786a5"}\nerror NOTICE:  x\x1b[0m\n')
    assert state.running
    assert (state.port, state.version, state.unrecorded) == (5433, "15.20", True)
    assert state.database == DatabaseState(5, "mlflow", collate="C", size=9, tables=71, revision="dc11669786a5")
    assert "\x1b" not in state.error


def test_a_server_that_refuses_its_administrator_is_down_with_a_reason() -> None:
    output = b"server 0 5432\nrecorded \nerror psql: FATAL: Peer authentication failed\n"
    assert list(ServerProbe.parse([SERVER], output)) == [replace(DOWN, error="psql: FATAL: Peer authentication failed")]


def test_a_stack_keeps_the_cluster_that_has_its_settings_else_the_one_on_the_usual_port() -> None:
    old, new = Cluster("14", port=5432), Cluster("16", port=5433)
    assert choose(Clusters()) is None
    assert choose(Clusters((old,))) == (old, "")
    assert choose(Clusters((old, new))) == (old, "it is on port 5432")
    marked = replace(new, marked=True)
    assert choose(Clusters((old, marked))) == (marked, "it has this stack's settings")


def test_a_fresh_host_gets_what_apt_offers_else_what_its_release_has() -> None:
    assert expected("ubuntu", "24.04") == "16"
    assert expected("debian", "12", candidate="18") == "18"


def test_alter_system_on_a_setting_of_ours_is_undone_and_on_others_left() -> None:
    auto = "/var/lib/postgresql/15/main/postgresql.auto.conf"
    files = (
        FileSetting(CLUSTER.conf, 2, "listen_addresses", "localhost"),
        FileSetting(auto, 3, "work_mem", "8MB"),
        FileSetting(auto, 4, "listen_addresses", "*"),
    )
    change = OVERRIDES.diff(running(files=files))
    assert change is not None
    assert change.reason == "listen_addresses = * by ALTER SYSTEM, wanted localhost"
    assert "work_mem" not in Overrides.apply([(OVERRIDES, change)])


def served(seen: Seen) -> Seen:
    """The unit of the cluster runs, with today's files."""
    record = {path: str(PathState("file", content=b"x").sha256) for path in SERVICE.inputs}
    unit = UnitState("loaded", "active", "running", "enabled-runtime", record=record)
    seen = seen.put(ClusterUnitProbe(CLUSTER.unit), unit).put(ClustersProbe(), Clusters((CLUSTER,)))
    for path in SERVICE.inputs:
        seen = seen.put(PathProbe(path), PathState("file", content=b"x"))
    return seen


def test_what_a_server_was_started_with_stays_in_force_until_it_is_restarted() -> None:
    auto = "/var/lib/postgresql/15/main/postgresql.auto.conf"
    ours, other = (
        FileSetting(CLUSTER.conf, 2, "listen_addresses", "localhost"),
        FileSetting(auto, 4, "listen_addresses", "*"),
    )
    settings = {"listen_addresses": Setting("*", True, auto)}
    seen = running(files=(ours, other), settings=settings, restart=frozenset({"listen_addresses"}))
    change = SERVICE.diff(OVERRIDES.after(served(seen)))
    assert change is not None
    assert (change.action, change.reason) == ("restart", "listen_addresses: only a restart changes it")


def test_tables_behind_a_stopped_server_are_not_taken_for_none() -> None:
    down = Seen({SERVER: DOWN, MarkProbe("database.mlflow"): True})
    database = DATABASE.after(down)[SERVER].database
    fresh = replace(DATABASE, fresh=True).after(down)[SERVER].database
    assert database is not None
    assert fresh is not None
    assert (database.tables, fresh.tables) == (None, 0)


def test_a_guest_is_restarted_only_with_consent() -> None:
    settings = {"listen_addresses": Setting("localhost", True)}
    seen = served(running(settings=settings, restart=frozenset({"listen_addresses"})))
    wider = replace(SERVICE, wanted={"listen_addresses": "*"})
    own, guest = wider.diff(seen), replace(wider, guest=True).diff(seen)
    assert own is not None
    assert guest is not None
    assert (own.action, own.asks) == ("restart", None)
    assert guest.asks is not None
    assert "systemctl restart postgresql@15-main.service" in guest.asks


def test_variables_of_psql_are_quoted_and_hold_no_line_break() -> None:
    assert psql.quoted(r"it's \x") == r"'it\'s \\x'"
    with pytest.raises(ValueError, match="line break"):
        psql.quoted("a\nb")


def test_a_changed_file_of_access_rules_is_not_overwritten_in_the_dark() -> None:
    body = HostAccess.apply([(ACCESS, Change("change", "x", payload=(b"a\n", hba.applied(b"a\n", ACCESS.access))))])
    assert "was changed meanwhile" in body


@pytest.mark.parametrize("shell", shells.SHELLS, ids=lambda s: s[0])
def test_systemd_is_asked_for_the_units_of_the_versions_that_are_there(shell: list[str], tmp_path: Path) -> None:
    """The first look and the looks while a job is under way: both by the same names."""
    (tmp_path / "etc" / "15" / "main").mkdir(parents=True)
    asked = tmp_path / "asked"
    fake = tmp_path / "systemctl"
    fake.write_text(
        f'#!/bin/sh\necho "$*" >>{asked}\n[ -e {asked}.twice ] && j= || j=7\n>{asked}.twice\necho "Job=$j"\n'
    )
    fake.chmod(0o755)
    script = ClusterUnitProbe.fragment([ClusterUnitProbe(Cluster(version).unit) for version in ("14", "15")])
    script = script.replace("/etc/postgresql", f"{tmp_path}/etc").replace("/run/systemd/system", str(tmp_path))
    done = shells.run(shell, f"PATH={tmp_path}:$PATH\nset -eu\n{script}".encode())
    assert done.returncode == 0, done.stderr
    lines = asked.read_text().splitlines()
    assert len(lines) == 2
    assert [line.partition(" -- ")[2] for line in lines] == ["postgresql@15-main.service"] * 2
