from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from provisioner.door import Door
from provisioner.engine import plan
from provisioner.engine.check import Check
from provisioner.engine.probe import Seen
from provisioner.errors import UsageError
from provisioner.record import dump_recorded, parse_recorded
from provisioner.resources.binary import Fetched, Sent
from provisioner.resources.blob import BlobState
from provisioner.resources.facts import Facts, Listener
from provisioner.resources.file import File
from provisioner.resources.mark import MarkProbe
from provisioner.resources.paths import PathProbe, PathState
from provisioner.resources.s3user import Former, Policy, bucket_policy, rules
from provisioner.resources.unit import UnitProbe, UnitState
from provisioner.secrets import Secret
from provisioner.settings import Settings, effective, with_topology
from provisioner.steps import Context
from provisioner.steps.bucket import STEP as BUCKET
from provisioner.steps.bucket import former
from provisioner.steps.minio import STEP as MINIO
from provisioner.steps.minio import program, settled
from provisioner.steps.minio_builds import DEFAULT, build
from provisioner.steps.mlflow import STEP as MLFLOW
from provisioner.steps.seaweedfs import STEP as SEAWEEDFS
from provisioner.steps.seaweedfs import identities
from provisioner.topology import Member, Topology

SECRETS = {
    "store.root.user": Secret("rootname12"),
    "store.root.password": Secret("rootpassword12"),
    "store.user.key": Secret("username12"),
    "store.user.secret": Secret('user"secret\\12'),
}
HEADER = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\x3e\x00"
ELF = HEADER + b"RELEASE.2025-10-15T17-29-55Z MINIO_ROOT_USER" + bytes(40)


def context(flags: dict[str, object] | None = None, settings: Settings | None = None, **values: object) -> Context:
    chosen = settings or effective(flags or {}, {})
    base = Context(chosen, Facts(), SECRETS, Door("http", "10.0.0.1", 5000, ("10.0.0.1",)), stack="test")
    return replace(base, **values)  # type: ignore[arg-type]


def content(step: object, where: Context, path: str) -> str:
    found = [r for r in step.resources(where) if isinstance(r, File) and r.path == path]  # type: ignore[attr-defined]
    return found[0].content.decode()


@pytest.mark.parametrize("step", [MINIO, SEAWEEDFS, BUCKET])
@pytest.mark.parametrize("engine", ["minio", "seaweedfs"])
def test_a_step_names_its_resources_on_the_guess(step: object, engine: str) -> None:
    guess = Context(effective({"store.engine": engine}, {}), Facts(), {}, Door("http", "x", 5000, ("x",)))
    resources = step.resources(guess)  # type: ignore[attr-defined]
    ids = [resource.id for resource in resources]
    assert len(ids) == len(set(ids))
    assert all(resource.step and resource.lane for resource in resources)
    step.looks(guess)  # type: ignore[attr-defined]
    list(step.preflight(guess))  # type: ignore[attr-defined]
    assert step.headline(guess)  # type: ignore[attr-defined]


DIRECT = {
    "store.client.key": Secret("clientkey12"),
    "store.client.secret": Secret("clientsecret12"),
    "store.client.before": Secret("clientbefore"),
}


def test_clients_have_a_key_only_where_they_go_to_the_store_themselves() -> None:
    direct = {"artifacts.mode": "direct"}
    secrets = {**SECRETS, **DIRECT}
    users = json.loads(identities(context({"store.engine": "seaweedfs"}, secrets=secrets)))["identities"]
    assert [each["name"] for each in users] == ["administrator", "mlflow"]
    users = json.loads(identities(context({"store.engine": "seaweedfs", **direct}, secrets=secrets)))["identities"]
    assert [each["name"] for each in users] == ["administrator", "mlflow", "clients"]
    assert users[2]["credentials"] == [{"accessKey": "clientkey12", "secretKey": "clientsecret12"}]
    ids = [resource.id for resource in BUCKET.resources(context(direct, secrets=secrets))]
    assert "store-user:mlflow-clients" in ids
    assert "store-user:mlflow-clients" not in [each.id for each in BUCKET.resources(context(secrets=secrets))]
    assert [each.id for each in former(context(direct, secrets=secrets))] == ["store-user-before:mlflow-clients"]
    ended = [each for each in former(context(secrets=secrets)) if isinstance(each, Former) and not each.stays]
    assert [(each.id, each.access.reveal()) for each in ended] == [
        ("store-user-ended:clients", "clientkey12"),
        ("store-user-ended:clients-before", "clientbefore"),
    ], "a rotation that was broken off leaves the earlier one"
    exposed = former(context({"store.expose": True}, secrets=secrets))
    assert [each.id for each in exposed] == ["store-user-before:mlflow-clients"]
    same = {**secrets, "store.client.key": SECRETS["store.user.key"], "store.client.before": SECRETS["store.root.user"]}
    assert former(context(secrets=same)) == (), "MLflow uses it"
    assert former(context({"store.engine": "seaweedfs"}, secrets=secrets)) == (), "its users are one file"
    assert former(context()) == ()


@pytest.mark.parametrize(
    ("here", "also", "waits"),
    [("s", (), ["step:mlflow@m"]), ("s", ("mlflow",), ["step:mlflow", "step:mlflow@m"]), ("m", (), None)],
)
def test_an_earlier_key_goes_on_the_store_s_host_once_every_server_has_the_new_one(
    here: str, also: tuple[str, ...], waits: list[str] | None
) -> None:
    members = (Member("s", "10.0.0.2", ("store", *also)), Member("m", "10.0.0.3", ("database", "mlflow", "proxy")))
    secrets = {**SECRETS, "store.user.before": Secret("earlier-key")}
    where = context(settings=with_topology(effective({}, {}), Topology(members)), secrets=secrets, name=here)
    steps = [MLFLOW] if also or here == "m" else [BUCKET]
    found = [each for step in steps for each in step.resources(where) if each.id.startswith("store-user-before:")]
    assert [(each.step, list(each.needs)) for each in found] == ([("bucket", waits)] if waits else [])


def test_the_clients_key_is_for_the_folder_of_the_artifacts() -> None:
    flags = {"artifacts.mode": "direct", "artifacts.prefix": "team/ml"}
    text = identities(context({**flags, "store.engine": "seaweedfs"}, secrets={**SECRETS, **DIRECT}))
    actions = {each["name"]: each["actions"] for each in json.loads(text)["identities"]}
    assert actions["mlflow"] == ["Read:mlflow", "Write:mlflow", "List:mlflow"]
    assert actions["clients"] == ["Read:mlflow/team/ml/*", "Write:mlflow/team/ml/*", "List:mlflow/team/ml/*"]
    policies = [r for r in BUCKET.resources(context(flags, secrets={**SECRETS, **DIRECT})) if isinstance(r, Policy)]
    assert [each.name for each in policies] == ["provision-mlflow", "provision-mlflow-clients"]
    said = rules(policies[1].document)
    assert {line.split(" ")[2] for line in said if "Object" in line} == {"arn:aws:s3:::mlflow/team/ml/*"}
    (listing,) = (line for line in said if "s3:ListBucket " in line)
    assert '"s3:prefix": ["team/ml", "team/ml/*"]' in listing
    assert "arn:aws:s3:::mlflow/*" in " ".join(rules(policies[0].document)), "the server's own key reads all of it"


def test_the_order_of_a_conditions_values_is_no_difference() -> None:
    one, other = bucket_policy("mlflow", "team"), bucket_policy("mlflow", "team")
    other["Statement"][1]["Condition"]["StringLike"]["s3:prefix"].reverse()
    assert one != other
    assert rules(one) == rules(other)
    other["Statement"][1]["Condition"]["StringLike"]["s3:prefix"].append("elsewhere/*")
    assert rules(one) != rules(other)


def test_minio_listens_on_loopback_and_never_updates_itself() -> None:
    text = content(MINIO, context(), "/etc/default/minio")
    assert 'MINIO_OPTS="--address 127.0.0.1:9000 --console-address 127.0.0.1:9001"' in text
    assert "MINIO_UPDATE=off" in text
    assert "MINIO_ROOT_PASSWORD=rootpassword12" in text
    assert "written by provision" in text.lower()


def test_seaweedfs_parts_talk_where_nobody_else_listens() -> None:
    where = context({"store.engine": "seaweedfs"})
    unit = content(SEAWEEDFS, where, "/etc/systemd/system/seaweedfs.service")
    assert "\nPrivateNetwork=yes\n" in unit
    assert "\nListenStream=127.0.0.1:9000\n" in content(SEAWEEDFS, where, "/etc/systemd/system/seaweedfs-s3.socket")
    proxy = content(SEAWEEDFS, where, "/etc/systemd/system/seaweedfs-s3.service")
    settings = content(SEAWEEDFS, where, "/etc/seaweedfs/seaweedfs.env")
    assert "systemd-socket-proxyd --connections-max=8192 /run/seaweedfs/s3.sock\n" in proxy
    assert "-s3.localSocket=/run/seaweedfs/s3.sock " in settings


def test_port_9000_is_its_own_while_only_its_socket_listens() -> None:
    stopped = {UnitProbe("seaweedfs.service"): UnitState("loaded", "inactive", "dead")}
    held = Facts(listeners=(Listener("127.0.0.1", 9000, "systemd, pid 1"),))
    for state, status in (("active", "ok"), ("inactive", "fail")):
        seen = Seen({**stopped, UnitProbe("seaweedfs-s3.socket"): UnitState("loaded", state)})
        where = context({"store.engine": "seaweedfs"}, facts=held, seen=seen)
        (check,) = [c for c in SEAWEEDFS.preflight(where) if c.id.startswith("port-")]
        assert (check.id, check.status) == ("port-9000", status)


def test_seaweedfs_opens_nothing_but_loopback_and_tells_nobody() -> None:
    text = content(SEAWEEDFS, context({"store.engine": "seaweedfs"}), "/etc/seaweedfs/seaweedfs.env")
    for option in ("-ip.bind=127.0.0.1", "-master.telemetry=false", "-s3.port.iceberg=0", "-s3.port.lance=0"):
        assert option in text


def test_seaweedfs_identities_are_json_whatever_the_secrets_hold() -> None:
    document = json.loads(identities(context({"store.engine": "seaweedfs", "store.bucket": "data"})))
    admin, user = document["identities"]
    assert admin["actions"] == ["Admin"]
    assert user["actions"] == ["Read:data", "Write:data", "List:data"]
    assert user["credentials"][0]["secretKey"] == 'user"secret\\12'


@pytest.mark.parametrize("architecture", ["amd64", "arm64"])
def test_the_default_is_the_pinned_release_for_the_hosts_architecture(architecture: str) -> None:
    where = context(facts=Facts(architecture=architecture))
    assert program(where).source == DEFAULT[architecture]
    assert "silo 2026-09-16" in MINIO.headline(where)


def test_a_file_is_recorded_by_hash_and_version_and_kept_by_a_plain_run(tmp_path: Path) -> None:
    file = tmp_path / "minio"
    file.write_bytes(ELF)
    digest = hashlib.sha256(ELF).hexdigest()
    first = context({"store.binary": str(file)})
    assert program(first).source == Sent(str(file), digest)
    recorded = parse_recorded(dump_recorded(settled(first), "test"), "h")
    assert recorded.installed is not None
    assert recorded.installed.version == "minio 2025-10-15"
    again = context(settings=effective({}, {}, recorded))
    assert program(again).path == program(first).path
    assert program(again).source == Sent(None, digest)
    assert settled(again) == again.settings
    assert "known holes" in MINIO.headline(again)


def test_a_mirror_is_recorded_and_kept_by_a_plain_run() -> None:
    flags: dict[str, object] = {"store.url": "https://mirror.example.com/silo.tar.gz", "store.sha256": "ab" * 32}
    recorded = parse_recorded(dump_recorded(settled(context(flags)), "test"), "h")
    again = context(settings=effective({}, {}, recorded))
    assert program(again).source == Fetched("https://mirror.example.com/silo.tar.gz", "ab" * 32)
    back = context(settings=effective({"store.url": "default"}, {}, recorded))
    assert program(back).source == DEFAULT["amd64"]


def test_a_missing_file_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        program(context({"store.binary": str(tmp_path / "none")}))


def found(checks: list[Check], status: str) -> list[str]:
    return [check.id for check in checks if check.status == status]


def test_preflight_refuses_what_is_no_program_and_names_known_holes(tmp_path: Path) -> None:
    bad, old, other = tmp_path / "bad", tmp_path / "old", tmp_path / "other"
    bad.write_bytes(b"<html>")
    old.write_bytes(ELF)
    other.write_bytes(HEADER + bytes(80))
    assert found(list(MINIO.preflight(context({"store.binary": str(other)}))), "fail") == ["minio-binary"]
    assert found(list(MINIO.preflight(context({"store.binary": str(bad)}))), "fail") == ["minio-binary"]
    assert found(list(MINIO.preflight(context({"store.binary": str(old)}))), "warn") == ["minio-holes"]
    assert found(list(MINIO.preflight(context())), "warn") == []


def test_preflight_tells_who_has_a_port_unless_it_is_the_store_itself() -> None:
    facts = Facts(listeners=(Listener("0.0.0.0", 9000, "docker-proxy, pid 7"),))
    checks = list(MINIO.preflight(context(facts=facts)))
    assert found(checks, "fail") == ["port-9000"]
    running = Seen({UnitProbe("minio.service"): UnitState("loaded", "active")})
    assert found(list(MINIO.preflight(context(facts=facts, seen=running))), "fail") == []


@pytest.mark.parametrize(("step", "name", "other"), [(MINIO, "minio", "seaweedfs"), (SEAWEEDFS, "seaweedfs", "minio")])
def test_another_store_of_an_earlier_run_is_named_with_both_ways_out(step: Any, name: str, other: str) -> None:
    unit, path = UnitProbe(f"{other}.service"), PathProbe(f"/etc/systemd/system/{other}.service")
    held = Facts(listeners=(Listener("127.0.0.1", 9000, "minio, pid 7"),))
    seen = Seen({unit: UnitState("loaded", "active", enabled="enabled")})
    seen = seen.put(path, PathState("file", content=b"# Written by provision. ...\n"))
    where = context({"store.engine": name}, facts=held, seen=seen)
    assert {unit, path} <= set(step.looks(where))
    (check,) = [check for check in step.preflight(where) if check.status == "fail"]
    assert check.id == "other-store"
    assert f"--set store.engine={other}" in (check.fix or "")
    assert f"systemctl disable --now {other}.service" in (check.fix or "")
    away = replace(where, facts=Facts(), seen=seen.put(unit, UnitState("loaded", "inactive", enabled="disabled")))
    assert found(list(step.preflight(away)), "fail") == []
    theirs = replace(where, seen=seen.put(path, PathState("file", content=b"[Unit]\n")))
    assert found(list(step.preflight(theirs)), "fail") == ["port-9000"]


def test_a_program_that_was_there_before_the_stack_is_asked_about() -> None:
    link = {r.id: r for r in MINIO.resources(context())}["link:minio"]
    assert link.guest  # type: ignore[attr-defined]
    settings = PathState("file", content=b"# Written by provision ...\n")
    ours = context(seen=Seen({PathProbe("/etc/default/minio"): settings}))
    assert not {r.id: r for r in MINIO.resources(ours)}["link:minio"].guest  # type: ignore[attr-defined]


def test_preflight_refuses_another_installation_of_the_unit() -> None:
    unit = UnitState("loaded", "inactive", fragment_path="/lib/systemd/system/minio.service")
    checks = list(MINIO.preflight(context(seen=Seen({UnitProbe("minio.service"): unit}))))
    assert found(checks, "fail") == ["foreign-minio.service"]


@pytest.mark.parametrize(
    ("version", "name", "holes"),
    [
        ("minio version RELEASE.2025-09-07T16-13-09Z (commit-id=07c3a429)", "minio 2025-09-07", 4),
        ("minio version RELEASE.2025-10-15T17-29-55Z", "minio 2025-10-15", 3),
        ("silo version RELEASE.2026-09-03T13-18-01Z", "silo 2026-09-03", 1),
        ("silo 2026-09-16", "silo 2026-09-16", 0),
        ("minio version DEVELOPMENT.GOGET", "minio", 0),
    ],
)
def test_a_build_is_told_by_its_day_and_so_is_what_is_known_against_it(version: str, name: str, holes: int) -> None:
    assert str(build(version)) == name
    assert len(build(version).holes) == holes


def test_a_bucket_is_a_loss_only_where_its_mark_is() -> None:
    mark = PathProbe("/etc/provision/had/bucket-mlflow", read=False)
    assert not BUCKET.resources(context())[0].had  # type: ignore[attr-defined]
    assert BUCKET.resources(context(seen=Seen({mark: PathState("file")})))[0].had  # type: ignore[attr-defined]


def test_an_altered_program_is_planned_with_the_restart_it_causes() -> None:
    where = context()
    seen = Seen()
    resources = MINIO.resources(where)
    for resource in resources:
        for probe in resource.probes():
            seen = seen.put(probe, _fresh(probe))
    made = plan.make(resources, seen)
    for planned in made.changes:
        seen = planned.resource.after(seen)
    assert not plan.make(resources, seen)
    altered = seen.put(program(where).probe, BlobState("file", 0o755, "root", "root", sha256="f" * 64, noted="e" * 64))
    assert [p.id for p in plan.make(resources, altered).changes] == ["binary:minio", "unit:minio.service"]


def _fresh(probe: object) -> object:
    from provisioner.resources.blob import BlobProbe
    from provisioner.resources.drop_ins import DropInProbe
    from provisioner.resources.tree import TreeProbe, TreeState
    from provisioner.resources.user import UserProbe, UserState

    values: dict[type, object] = {
        BlobProbe: BlobState("absent"),
        PathProbe: PathState("absent"),
        UnitProbe: UnitState(),
        DropInProbe: (),
        TreeProbe: TreeState(),
        MarkProbe: False,
        UserProbe: UserState(False),
    }
    return values[type(probe)]
