"""MinIO on four hosts, one drive each, with everything else on one of them: hosts are lost, one is replaced, and a
second pool of drives is added.

One first run by an inventory; the tests follow each other on the same hosts.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from provisioner.lab import hosts
from provisioner.lab.host import LabHost
from provisioner.lab.identity import PRIVATE_KEY
from provisioner.lab.spec import Bind

from .conftest import FIRST_RUN, LANE, MINIO, Operator, Ran

NAMES = ("s1", "s2", "s3", "s4")
ADDRESSES = {name: f"10.151.0.{int(LANE) + 2 + n}" for n, name in enumerate(NAMES)}
PATIENCE = 240.0
"""Seconds for what takes a few on an idle machine."""

pytestmark = pytest.mark.skipif(not MINIO, reason="PROVISION_TEST_MINIO names no MinIO binary")

# On the URL's host, as MLflow: its own environment has its key and its address of the store.
OBJECT = """
set -a; . /etc/mlflow/mlflow.env; set +a
exec /opt/mlflow/current/bin/python - "$@" <<'end'
import os, sys
import boto3
from botocore.config import Config
store = boto3.client(
    "s3", endpoint_url=os.environ["MLFLOW_S3_ENDPOINT_URL"],
    config=Config(connect_timeout=5, read_timeout=40, retries={"total_max_attempts": 3}),
)
what, name = sys.argv[1:]
if what == "put":
    store.put_object(Bucket="mlflow", Key=name, Body=name.encode() * 1000)
else:
    assert store.get_object(Bucket="mlflow", Key=name)["Body"].read() == name.encode() * 1000
end
"""


@dataclass
class Stack:
    """Four hosts, the inventory that makes a stack of them, and who made it."""

    hosts: dict[str, LabHost]
    drives: Path
    """A folder for each host's drive, by its name."""
    operator: Operator
    inventory: Path
    first: Ran

    @property
    def larger(self) -> Path:
        """The inventory with a drive more on each host."""
        return inventory(self.inventory.with_name("larger.toml"), ["/mnt/d1", "/mnt/d2"])

    def run(self, *arguments: str, **options: Any) -> Ran:
        return self.operator.run(*arguments, "--inventory", str(self.inventory), "--json", **options)

    def works(self, what: str, name: str) -> bool:
        """Whether an object can be written or read, through the clients' address."""
        return self.hosts["s1"].exec(f"sh /root/object.sh {what} {name}", seconds=150).rc == 0

    def ailing(self) -> dict[str, str]:
        """Host -> what `status` says of its drive."""
        found = each(self.run("status", "--host", "s1"))["s1"]
        return {row["host"]: row["state"] for row in found["drives"]}


def each(ran: Ran) -> dict[str, dict[str, Any]]:
    """Host -> its part of the document."""
    return {host["host"]: host for host in ran.json["hosts"]}


def until(done: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not done():
        assert time.monotonic() < end, f"never seen: {what}"
        time.sleep(0.5)


def inventory(path: Path, drives: list[str]) -> Path:
    """A file that a user would write."""
    lines = ["[roles]", f"store = {json.dumps(NAMES)}"]
    lines += [f'{role} = ["s1"]' for role in ("database", "mlflow", "proxy")]
    for name, address in ADDRESSES.items():
        lines += [f"[hosts.{name}]", f'address = "root@{address}"', f'identity = "{PRIVATE_KEY}"']
    path.write_text("\n".join([*lines, "[store]", f'binary = "{MINIO}"', f"drives = {json.dumps(drives)}", ""]))
    return path


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("distributed")
    operator = Operator(folder / "state")
    with ExitStack() as running, ThreadPoolExecutor(4) as pool:

        def start(name: str, address: str) -> LabHost:
            drive, other = folder / name, folder / f"{name}-other"
            drive.mkdir()
            other.mkdir()
            bind = [Bind(str(drive), "/mnt/d1"), Bind(str(other), "/mnt/d2")]
            return running.enter_context(hosts.running(f"t-dist-{name}-{LANE}", address, cache=True, bind=bind))

        started = dict(zip(NAMES, pool.map(lambda name: start(name, ADDRESSES[name]), NAMES), strict=True))
        wrong = inventory(folder / "wrong.toml", ["/srv/d1"])
        refused = operator.run("--inventory", str(wrong), "--json")
        assert refused.code == 4, refused.why
        assert all("on the system's disk" in host["error"]["why"] for host in each(refused).values())
        file = inventory(folder / "inventory.toml", ["/mnt/d1"])
        first = operator.run("--inventory", str(file), "--json", timeout=FIRST_RUN)
        assert first.code == 0, first.why
        (started["s1"].root / "root/object.sh").write_text(OBJECT)
        yield Stack(started, folder, operator, file, first)


def test_one_run_makes_one_store_of_four_hosts(stack: Stack) -> None:
    found = each(stack.first)
    assert all(host["error"] is None for host in found.values())
    assert {check["status"] for check in found["s1"]["checks"]} <= {"ok", "skip"}
    assert stack.works("put", "first")
    for name in NAMES:
        assert list((stack.drives / name / "mlflow").glob("first*")), f"a part of each object is on {name}"
    environments = {host.check("sha256sum </etc/default/minio") for host in stack.hosts.values()}
    assert len(environments) == 1
    assert stack.ailing() == {}


def test_a_second_run_changes_nothing(stack: Stack) -> None:
    again = stack.run()
    assert again.code == 0, again.why
    assert [host["changes"] for host in each(again).values()] == [[]] * 4


def test_other_drives_are_refused_once_there_are_objects(stack: Stack) -> None:
    for drives, why in (('["/mnt/d2"]', "would not find them"), ('["/mnt/d1","/srv/d2"]', "on the system's disk")):
        other = stack.run("--set", f"store.drives={drives}")
        assert other.code == 4, other.why
        assert any(why in host["error"]["why"] for host in each(other).values() if host["error"]), other.out
    assert [host["changes"] for host in each(stack.run("plan")).values()] == [[]] * 4


def test_servers_are_restarted_one_after_the_other(stack: Stack) -> None:
    for host in stack.hosts.values():
        host.check("touch /opt/minio/bin/minio-*")
    again = stack.run()
    assert again.code == 0, again.why
    assert all("unit:minio.service" in [c["resource"] for c in host["changes"]] for host in each(again).values())
    show = "systemctl show -p ActiveEnterTimestampMonotonic --value minio"
    started = [int(host.check(show)) for host in stack.hosts.values()]
    assert started == sorted(started), "in their order: these hosts have one clock"


def test_one_host_lost_is_not_noticed_and_two_leave_what_is_there_to_read(stack: Stack) -> None:
    hosts.halt(stack.hosts["s4"].name)
    until(lambda: stack.works("get", "first"), "a read without one host")
    until(lambda: stack.works("put", "second"), "a write without one host")
    until(lambda: stack.ailing() == {"s4": "OFFLINE"}, "the drive that is away")
    hosts.halt(stack.hosts["s3"].name)
    until(lambda: stack.works("get", "second"), "a read without two hosts")
    assert not stack.works("put", "third")
    hosts.boot(stack.hosts["s3"].name)
    until(lambda: stack.works("put", "third"), "a write once one of them is back")


def test_a_host_that_is_replaced_heals(stack: Stack) -> None:
    """A new server with an empty disk, under the same address."""
    name = stack.hosts["s4"].name
    drive = stack.drives / "s4"
    stack.hosts["s4"] = hosts.reset(name)
    stack.hosts["s4"].check("find /mnt/d1 -mindepth 1 -delete")
    assert list(drive.iterdir()) == []
    assert stack.operator.run("forget-key", "s4", "--inventory", str(stack.inventory)).code == 0
    made = stack.run(timeout=FIRST_RUN)
    assert made.code == 0, made.why
    until(lambda: bool(list(drive.glob("mlflow/second*"))), "its part of an object that was made without it")
    until(lambda: stack.ailing() == {}, "all drives well")
    assert stack.works("get", "first")


def test_drives_that_are_added_become_a_second_pool(stack: Stack) -> None:
    """Begun by a run that is killed while it restarts the servers, finished by the next one."""
    file = ("--inventory", str(stack.larger), "--json")
    planned = stack.operator.run("plan", *file)
    assert planned.code == 0, planned.why
    assert any("a second pool of 4 drives" in told for told in each(planned)["s1"]["warnings"])
    killed = stack.operator.start(*file)
    until(lambda: stack.hosts["s2"].exec("test -e /etc/default/minio-pools.yaml").rc == 0, "the pools on s2")
    killed.kill()
    killed.communicate()
    made = stack.operator.run(*file)
    assert made.code == 0, made.why
    for name in NAMES:
        assert (stack.drives / f"{name}-other" / ".minio.sys/format.json").exists()
    assert stack.works("get", "first")
    assert stack.works("put", "last")
    assert stack.ailing() == {}
    again = stack.operator.run(*file)
    assert [host["changes"] for host in each(again).values()] == [[]] * 4
    fewer = stack.run()
    assert fewer.code == 4, "the drives that were there before, without the second pool's"
