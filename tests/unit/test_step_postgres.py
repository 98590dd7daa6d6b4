from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from provisioner.door import Door
from provisioner.engine import plan
from provisioner.engine.check import Check
from provisioner.engine.probe import Probe, Seen
from provisioner.engine.resource import Resource
from provisioner.resources.certificate import Leaf
from provisioner.resources.facts import Facts, Listener
from provisioner.resources.file import File
from provisioner.resources.package import PackageProbe, PackageState
from provisioner.resources.paths import ABSENT, PathProbe, PathState
from provisioner.resources.postgresql import conf
from provisioner.resources.postgresql.access import HostAccess
from provisioner.resources.postgresql.clusters import Cluster, Clusters, ClustersProbe
from provisioner.resources.postgresql.server import DOWN, FileSetting, ServerProbe, ServerState, Setting
from provisioner.resources.unit import Service, UnitProbe, UnitState
from provisioner.secrets import Secret
from provisioner.settings import effective
from provisioner.steps import Context
from provisioner.steps.database import STEP as DATABASE
from provisioner.steps.postgres import STEP as POSTGRES
from provisioner.steps.postgres_access import CERTIFICATE, access
from provisioner.steps.postgres_server import drop_in_path, limits_path, settings_file

DOOR = Door("http", "10.151.0.1", 5000, ("10.151.0.1",))
SECRETS = {"database.password": Secret("correct horse battery")}


def context(seen: Seen | None = None, facts: Facts | None = None, **flags: Any) -> Context:
    settings = effective({name.replace("__", "."): value for name, value in flags.items()}, {})
    return Context(settings, facts or Facts(), SECRETS, DOOR, seen or Seen())


def resources(of: Context) -> list[Resource]:
    return [*POSTGRES.resources(of), *DATABASE.resources(of)]


def blank(probe: Probe[Any]) -> Any:
    if isinstance(probe, PathProbe):
        return ABSENT
    if isinstance(probe, UnitProbe):
        return UnitState()
    if isinstance(probe, PackageProbe):
        return PackageState(False)
    if isinstance(probe, ClustersProbe):
        return Clusters()
    return DOWN if isinstance(probe, ServerProbe) else False


def fresh(of: Context) -> Seen:
    probes = [*POSTGRES.looks(of), *DATABASE.looks(of), *plan.probes_of(resources(of))]
    return Seen({probe: blank(probe) for probe in probes})


def guest(**state: Any) -> Seen:
    cluster = Cluster("15", running=True)
    server = ServerState(running=True, system="7", **state)
    return Seen({ClustersProbe(): Clusters((cluster,)), ServerProbe("15", "mlflow", "mlflow"): server})


def test_the_plan_of_a_fresh_host_is_complete_and_in_order() -> None:
    guess = context()
    planned = plan.make(resources(guess), fresh(guess))
    assert [change.id for change in planned.changes] == [
        "file:postgresql-service",
        "file:postgresql-limits",
        "package:postgresql",
        "cluster:main",
        "file:postgresql-settings",
        "access:postgresql",
        "unit:postgresql@15-main.service",
        "unit:postgresql.service",
        "role:mlflow",
        "database:mlflow",
        "file:database.identity",
    ]
    assert not any(change.change.asks or change.change.loss for change in planned.changes)


def test_what_the_release_has_needs_no_second_look() -> None:
    """The looks of the guess (Debian 12) hold the probes of every supported release."""
    guess = context()
    seen = fresh(guess)
    for release, version in (("24.04", "16"), ("26.04", "18"), ("22.04", "14")):
        there = replace(seen[ClustersProbe()], found=(Cluster(version),), ours=True)
        real = context(seen.put(ClustersProbe(), there), Facts(distribution="ubuntu", release=release))
        assert [probe for probe in plan.probes_of(resources(real)) if probe not in seen] == []


def test_a_cluster_of_our_own_says_what_it_listens_on_even_where_that_is_the_default() -> None:
    assert settings_file(context()).splitlines()[1:] == [
        "listen_addresses = 'localhost'",
        "max_connections = '100'",
        "password_encryption = 'scram-sha-256'",
    ]


def test_networks_and_workers_widen_and_further_settings_are_quoted() -> None:
    text = settings_file(
        context(
            database__allow=("10.151.0.0/24",), mlflow__workers=8, database__settings={"log_line_prefix": r"it's \m"}
        )
    )
    assert "listen_addresses = '*'" in text
    assert "max_connections = '275'" in text
    assert r"log_line_prefix = 'it''s \\m'" in text
    assert conf.parsed(text.encode())["log_line_prefix"] == r"it's \m"


def test_a_guest_is_only_widened_and_never_narrowed() -> None:
    plain = context(guest())
    assert [line for line in settings_file(plain).splitlines() if not line.startswith("#")] == []
    files = (
        FileSetting("/etc/postgresql/15/main/postgresql.conf", 60, "listen_addresses", "*"),
        FileSetting("/etc/postgresql/15/main/postgresql.conf", 65, "max_connections", "500"),
    )
    wide = context(guest(files=files), database__allow=("10.151.0.0/24",), mlflow__workers=8)
    assert "listen_addresses" not in settings_file(wide)
    assert "max_connections" not in settings_file(wide)


def test_a_guests_service_gets_the_record_but_no_other_habits() -> None:
    (drop_in,) = (r for r in POSTGRES.resources(context(guest())) if r.id == "file:postgresql-service")
    (own,) = (r for r in POSTGRES.resources(context()) if r.id == "file:postgresql-service")
    assert isinstance(drop_in, File)
    assert isinstance(own, File)
    assert b"ExecStartPre=+-/bin/sh" in drop_in.content
    assert b"ExecReload=+-/bin/sh" in drop_in.content
    foreign = [line for line in drop_in.content.splitlines() if not line.startswith((b"#", b"Exec", b"[Service]"))]
    assert foreign == [], "nothing is imposed on a server that was here before"
    assert b"Restart=on-failure" in own.content
    assert b"User=postgres" in own.content
    ids = {resource.id for resource in POSTGRES.resources(context(guest()))}
    assert "file:postgresql-limits" not in ids


def unit(of: Context) -> Service:
    (found,) = (r for r in POSTGRES.resources(of) if r.id == "unit:postgresql@15-main.service")
    assert isinstance(found, Service)
    return found


def test_another_sandbox_restarts_our_own_server_while_other_limits_are_only_reloaded() -> None:
    sandbox, limits = drop_in_path(Cluster("15")), limits_path(Cluster("15"))
    own = unit(context())
    assert {sandbox, limits} <= set(own.inputs)
    assert limits in own.reloads
    assert sandbox not in own.reloads
    assert not {sandbox, limits} & {*unit(context(guest())).inputs}


def test_data_in_another_place_is_waited_for_and_stays_writable() -> None:
    def text(data: str) -> str:
        cluster = Cluster("15", data=data, running=True)
        seen = Seen({ClustersProbe(): Clusters((cluster,), ours=True)})
        (own,) = (r for r in POSTGRES.resources(context(seen)) if r.id == "file:postgresql-service")
        assert isinstance(own, File)
        return own.content.decode()

    assert "RequiresMountsFor=/srv/my pg\n" in text("/srv/my pg")
    assert "ProtectHome=yes" in text("/srv/my pg")
    assert "ProtectHome" not in text("/home/pg")
    assert "RequiresMountsFor" not in text("/var/lib/postgresql/15/main")
    assert "RequiresMountsFor" not in text("/srv/\x1b[2J")


def test_an_existing_guest_gets_no_package_and_no_overrides_undone() -> None:
    ids = {resource.id for resource in POSTGRES.resources(context(guest()))}
    assert not ids & {"package:postgresql", "overrides:postgresql", "unit:postgresql.service"}


def test_a_pg_hba_conf_in_another_place_is_the_one_that_is_edited() -> None:
    settings = {"hba_file": Setting("/srv/pg/hba.conf", True)}
    paths = [
        p.path
        for p in plan.probes_of(POSTGRES.resources(context(guest(settings=settings))))
        if isinstance(p, PathProbe)
    ]
    assert "/srv/pg/hba.conf" in paths
    assert "/etc/postgresql/15/main/pg_hba.conf" not in paths


ALLOWED = {"database__allow": ("10.151.0.0/24", "127.0.0.0/8")}


def rules(of: Context) -> list[list[str]]:
    (access,) = (r for r in POSTGRES.resources(of) if r.id == "access:postgresql")
    assert isinstance(access, HostAccess)
    return [[line.split()[0], line.split()[3]] for line in access.access.lines]


def test_other_hosts_get_in_by_tls_only_with_a_certificate_that_is_there_before_the_server_is_told() -> None:
    facts = Facts(addresses=("127.0.0.1", "10.151.0.1", "10.151.0.9", "172.17.0.1", "fd00::7"))
    of = context(facts=facts, **ALLOWED)
    text = settings_file(of)
    for line in (
        "listen_addresses = '*'",
        "ssl = 'on'",
        f"ssl_cert_file = '{CERTIFICATE}'",
        f"ssl_key_file = '{CERTIFICATE}'",
        "ssl_min_protocol_version = 'TLSv1.2'",
    ):
        assert line in text.splitlines()
    assert rules(of) == [
        ["host", "127.0.0.1/32"],
        ["host", "::1/128"],
        ["host", "127.0.0.0/8"],
        ["hostssl", "10.151.0.0/24"],
    ]
    ids = [r.id for r in POSTGRES.resources(of)]
    assert ids.index("certificate:postgresql") < ids.index("file:postgresql-settings")
    (leaf,) = (r for r in POSTGRES.resources(of) if isinstance(r, Leaf))
    assert leaf.names == ("10.151.0.1", "10.151.0.9"), "no address by which these clients do not come"
    assert CERTIFICATE in unit(of).reloads


def test_one_that_nobody_else_reaches_has_no_certificate_and_keeps_none() -> None:
    for of in (context(), context(database__allow=("127.0.0.0/8",))):
        assert "ssl" not in settings_file(of)
        assert not any(isinstance(r, Leaf) for r in POSTGRES.resources(of))
        ids = [r.id for r in POSTGRES.resources(of)]
        assert ids.index("file:tls-postgresql") > ids.index("unit:postgresql@15-main.service"), "once it is not read"


def test_a_guest_keeps_its_own_mind_about_tls_which_is_told() -> None:
    speaks = context(guest(settings={"ssl": Setting("on")}), **ALLOWED)
    silent = context(guest(), **ALLOWED)
    for of in (speaks, silent):
        assert "ssl" not in settings_file(of)
        assert not any(isinstance(r, Leaf) for r in POSTGRES.resources(of))
    assert rules(speaks)[-1] == ["hostssl", "10.151.0.0/24"]
    assert rules(silent)[-1] == ["host", "10.151.0.0/24"]
    told = {check.id: check for check in POSTGRES.preflight(silent)}["postgres-tls"]
    assert told.status == "warn"
    assert "10.151.0.0/24" in told.detail
    assert {check.id: check for check in POSTGRES.preflight(speaks)}["postgres-tls"].status == "ok"
    assert "postgres-tls" not in {check.id for check in POSTGRES.preflight(context(guest()))}


def test_a_guest_that_does_not_answer_keeps_the_rules_that_it_has() -> None:
    cluster = Cluster("15")
    for encrypted in (True, False):
        block = access(context(**ALLOWED), encrypted=encrypted).block
        seen = Seen(
            {
                ClustersProbe(): Clusters((cluster,)),
                ServerProbe("15", "mlflow", "mlflow"): DOWN,
                PathProbe(cluster.hba): PathState("file", content=block),
            }
        )
        assert rules(context(seen, **ALLOWED))[-1][0] == ("hostssl" if encrypted else "host")


def failures(of: Context) -> dict[str, Check]:
    return {check.id: check for check in POSTGRES.preflight(of) if check.status in {"fail", "warn"}}


def test_a_port_that_somebody_else_has_is_told_before_anything_changes() -> None:
    facts = Facts(listeners=(Listener("0.0.0.0", 5432, "docker-proxy, pid 1123"),))
    assert "docker-proxy, pid 1123" in failures(context(facts=facts))["postgres-port"].detail
    ours = Facts(listeners=(Listener("127.0.0.1", 5432, "postgres, pid 9"),))
    assert failures(context(guest(), ours)) == {}


def test_a_full_disk_a_standby_and_a_broken_file_of_rules_are_told() -> None:
    small = failures(context(facts=Facts(free={"/var/lib": 200 * 2**20})))
    assert "824 MB" in (small["postgres-disk"].fix or "")
    found = failures(context(guest(recovery=True, hba_errors=("line 3: invalid connection type",))))
    assert set(found) == {"postgres-standby", "postgres-hba"}


def test_several_clusters_are_told_with_the_one_that_is_used() -> None:
    clusters = Clusters((Cluster("14", port=5433), Cluster("16")), others=("14/test",))
    found = failures(context(Seen({ClustersProbe(): clusters})))
    assert "16/main is used (it is on port 5432)" in found["postgres-clusters"].detail


def test_verify_logs_in_over_the_forwarded_socket_and_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}
    monkeypatch.setattr("psycopg2.connect", lambda **arguments: given.update(arguments))
    POSTGRES.connector(context(), Path("/tmp/x/.s.PGSQL.5432"), "mlflow")()
    assert (given["host"], given["port"], given["user"]) == ("/tmp/x", "5432", "mlflow")
    assert "default_transaction_read_only=on" in given["options"]


def test_the_headline_says_version_origin_and_reach() -> None:
    assert POSTGRES.headline(context(guest(version="15.20"))) == "15.20 was here before, loopback only"
    assert POSTGRES.headline(context(database__allow=("10.151.0.0/24",))) == (
        "15 from apt, loopback and 10.151.0.0/24 by TLS"
    )
    assert DATABASE.headline(context()) == "role and database mlflow"


def test_a_file_that_is_there_before_the_first_start_waits_for_nothing() -> None:
    (drop_in,) = (r for r in POSTGRES.resources(context()) if r.id == "file:postgresql-service")
    assert drop_in.needs == ()
    seen = fresh(context()).put(PathProbe("/x"), PathState("absent"))
    assert drop_in.diff(seen) is not None
