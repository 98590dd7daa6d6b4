"""MinIO on several hosts: who makes such a store, what its servers run with, and in which order they are restarted."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from provisioner.commands.stages import split
from provisioner.door import Door
from provisioner.engine import plan
from provisioner.engine.probe import Seen
from provisioner.errors import UsageError
from provisioner.placement import judge, placed
from provisioner.resources.drive import DriveProbe, DriveState
from provisioner.resources.drives import states
from provisioner.resources.facts import Facts
from provisioner.resources.file import File
from provisioner.resources.quorum import Quorum, QuorumProbe
from provisioner.resources.tree import MARK, TreeState
from provisioner.resources.unit import Service, UnitProbe, UnitState
from provisioner.settings import Recorded, effective, with_topology
from provisioner.steps import Context, inner, minio_cluster, ordered
from provisioner.steps.bucket import STEP as BUCKET
from provisioner.steps.cluster import STEP as CLUSTER
from provisioner.steps.minio import ENVIRONMENT
from provisioner.steps.minio import STEP as MINIO
from provisioner.switches import switches
from provisioner.topology import Member, Topology

FOUR = Topology(
    (
        Member("a", "10.0.0.1", ("store", "database", "mlflow", "proxy")),
        Member("b", "10.0.0.2", ("store",)),
        Member("c", "10.0.0.3", ("store",)),
        Member("d", "10.0.0.4", ("store",)),
    )
)


def context(name: str = "b", drives: tuple[str, ...] = ("/mnt/d1",), **values: object) -> Context:
    settings = with_topology(effective({"store.drives": drives}, {}), FOUR)
    base = Context(settings, Facts(), {}, Door("http", "10.0.0.1", 5000, ("10.0.0.1",)), stack="test", name=name)
    return replace(base, **values)  # type: ignore[arg-type]


def environment(where: Context) -> str:
    (found,) = (r for r in MINIO.resources(where) if isinstance(r, File) and r.path == ENVIRONMENT)
    return found.content.decode()


def running(where: Context, text: str = "") -> Context:
    """`where` with a server that was started with `text`, today's environment by default."""
    digest = hashlib.sha256((text or environment(where)).encode()).hexdigest()
    state = UnitState("loaded", "active", "running", "enabled", invocation="1", record={ENVIRONMENT: digest})
    return replace(where, seen=Seen({UnitProbe(minio_cluster.UNIT): state}))


def services(step: object, where: Context) -> list[Service]:
    return [r for r in step.resources(where) if isinstance(r, Service)]  # type: ignore[attr-defined]


def judged(hosts: int, values: Mapping[str, object]) -> None:
    names = [f"h{number}" for number in range(hosts)]
    roles = {"store": names, "database": ["h0"], "mlflow": ["h0"], "proxy": ["h0", *(["x"] if hosts == 0 else [])]}
    judge(placed(roles, str), values)


@pytest.mark.parametrize(("hosts", "drives"), [(4, 1), (2, 2), (16, 1), (3, 2)])
def test_four_drives_or_more_on_several_hosts_make_a_store(hosts: int, drives: int) -> None:
    judged(hosts, {"store.drives": [f"/mnt/d{n}" for n in range(drives)]})


@pytest.mark.parametrize(
    ("hosts", "values", "words"),
    [
        (3, {"store.drives": ["/mnt/d1"]}, "have 3"),
        (4, {}, "where their drives are"),
        (4, {"store.engine": "seaweedfs"}, "store.engine is seaweedfs"),
        (17, {"store.drives": ["/mnt/d1"]}, "shared out evenly"),
        (1, {"store.drives": ["/mnt/d1"]}, "this stack has one"),
    ],
)
def test_what_makes_no_store_over_several_hosts_is_refused(hosts: int, values: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        judged(hosts, values)


def test_every_host_has_the_same_environment_with_every_drive_of_every_host() -> None:
    texts = {environment(context(name, ("/mnt/d1", "/mnt/d2"))) for name in "abcd"}
    (text,) = texts
    for member in FOUR.members:
        assert f"https://{member.address}:9000/mnt/d1" in text
        assert f"https://{member.address}:9000/mnt/d2" in text


def test_the_certificate_names_the_server_and_not_what_else_its_host_does() -> None:
    shown = minio_cluster.certificate(context("a"))
    assert shown is not None
    assert shown.names == ("10.0.0.1", "10-0-0-1.provision.internal", "store.provision.internal", "127.0.0.1")
    assert shown.usage == "serverAuth", "it opens no gate"


def test_the_url_asks_every_server_by_tls_and_none_through_a_gate() -> None:
    here = context("a").here
    upstream = inner.upstream(here, "store")
    assert upstream.servers == ("127.0.0.1:9000", "10.0.0.2:9000", "10.0.0.3:9000", "10.0.0.4:9000")
    assert upstream.name == "store.provision.internal"
    assert [gate.role for member in "abcd" for gate in inner.gates(context(member).here)] == []
    assert inner.certificate(context("b")) is None, "no nginx there"


def test_a_first_start_waits_for_nobody_and_what_follows_waits_for_all() -> None:
    every = {step.name: step for step in ordered(context().settings)}
    where = context("b")
    resources = [*MINIO.resources(where), *CLUSTER.resources(where), *BUCKET.resources(where)]
    stages = split(resources, every, where.here)
    assert "unit:minio.service" in [r.id for r in stages.first]
    assert [r.id for r in stages.later] == ["cluster:minio", "mark:bucket-mlflow"]
    assert set(stages.needs) == {"step:minio@a", "step:minio@c", "step:minio@d", "step:bucket@a"}


def test_a_restart_waits_for_the_servers_before_it_and_asks_each_of_all() -> None:
    where = running(context("c"))
    assert services(MINIO, where) == []
    (service,) = services(CLUSTER, where)
    assert {"after:cluster@a", "after:cluster@b"} <= set(service.needs)
    assert "after:cluster@d" not in service.needs
    assert "maintenance=true" in service.health
    assert all(address in service.health for address in ("10.0.0.1", "10.0.0.2", "127.0.0.1", "10.0.0.4"))


def test_servers_whose_environment_changes_are_restarted_at_once() -> None:
    where = running(context("c"), "MINIO_VOLUMES=others\n")
    (service,) = services(MINIO, where)
    assert not any(need.startswith("after:") for need in service.needs)
    assert services(CLUSTER, where) == []


def test_a_host_with_data_goes_on_where_another_one_is_down() -> None:
    where = context("b")
    (directory,) = minio_cluster.directories(where)
    tree = replace(where, seen=Seen({directory.tree: TreeState(("minio-user",))}))
    assert {need.partition(":")[0] for need in minio_cluster.quorum(tree).needs if "@" in need} == {"after"}
    assert {need.partition(":")[0] for need in minio_cluster.quorum(where).needs if "@" in need} == {"step"}


def quorum(there: bool, unit: UnitState) -> tuple[Quorum, Seen]:
    found = Quorum(id="cluster:minio", unit="minio.service", root="/r", port=9000, hosts=4, seconds=9)
    return found, Seen({QuorumProbe(9000, "/r"): there, UnitProbe("minio.service"): unit})


def test_the_store_is_waited_for_when_drives_are_missing_and_when_it_is_restarted() -> None:
    up = UnitState("loaded", "active", "running", "enabled", invocation="1")
    assert plan.make([quorum(True, up)[0]], quorum(True, up)[1]).changes == ()
    for there, unit in ((False, up), (True, replace(up, invocation="new"))):
        item, seen = quorum(there, unit)
        assert item.diff(seen) is not None
        assert item.diff(item.after(seen)) is None


def test_a_drive_tells_its_disk_and_what_is_in_it(tmp_path: Path) -> None:
    ours, theirs, fresh = (tmp_path / name for name in ("ours", "theirs", "fresh"))
    for path in (ours, theirs, fresh):
        path.mkdir()
    (ours / MARK).touch()
    (ours / "mlflow").mkdir()
    (theirs / "photos").mkdir()
    (fresh / "lost+found").mkdir()
    probes = [DriveProbe(str(path)) for path in (ours, theirs, fresh, fresh / "not" / "there")]
    probes.append(DriveProbe("/"))
    said = subprocess.run(["sh", "-euc", DriveProbe.fragment(probes)], capture_output=True, check=True).stdout
    found = list(DriveProbe.parse(probes, said))
    assert [each.foreign for each in found[:4]] == ["", "photos", "", ""]
    assert found[4].rooted
    one_disk = tmp_path.stat().st_dev == Path("/").stat().st_dev
    assert [each.rooted for each in found[:4]] == [one_disk] * 4


@pytest.mark.parametrize("state", [DriveState(rooted=True), DriveState(foreign="photos")])
def test_a_drive_that_minio_would_not_take_fails_preflight(state: DriveState) -> None:
    seen = Seen({DriveProbe("/mnt/d1"): state})
    (check,) = minio_cluster.drive_checks(context(seen=seen))
    assert check.status == "fail"
    (fine,) = minio_cluster.drive_checks(context(seen=Seen({DriveProbe("/mnt/d1"): DriveState()})))
    assert fine.status == "ok"


def test_other_drives_on_a_store_with_objects_are_a_switch() -> None:
    recorded = Recorded("s", {"store.engine": "minio", "store.drives": ("/mnt/d1", "/mnt/d2")})
    for other in (("/mnt/d1",), ("/mnt/d2", "/mnt/d1"), ("/mnt/d1", "/mnt/d3", "/mnt/d2")):
        (switch,) = switches(recorded, effective({"store.drives": other}, {}))
        assert switch.key == "store.drives"
        assert "would not find them" in switch.why
    assert switches(recorded, effective({"store.drives": ("/mnt/d1", "/mnt/d2", "/mnt/d3")}, {})) == ()
    assert switches(Recorded("s", {"store.engine": "minio"}), effective({}, {})) == ()


def test_what_ails_a_drive_is_told_by_its_url() -> None:
    drives = [
        {"endpoint": "https://10.0.0.1:9000/mnt/d1", "state": "ok"},
        {"endpoint": "https://10.0.0.2:9000/mnt/d1", "state": "ok", "healing": True},
        {"endpoint": "https://10.0.0.3:9000/mnt/d1", "state": "offline"},
    ]
    document = {"servers": [{"drives": drives}, {"state": "offline"}, 5]}
    assert states(document) == {
        "https://10.0.0.1:9000/mnt/d1": "",
        "https://10.0.0.2:9000/mnt/d1": "healing",
        "https://10.0.0.3:9000/mnt/d1": "OFFLINE",
    }
    assert states([]) == {}
