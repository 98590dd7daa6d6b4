"""`secrets rotate` over two hosts, store and database on one, MLflow and the URL on the other: what opens what after
it, after a part that fails, and after an operator who is killed in the middle."""

from __future__ import annotations

import base64
import json
import shlex
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from provisioner.lab import hosts
from provisioner.lab.host import LabHost
from provisioner.lab.identity import PRIVATE_KEY

from .conftest import ENGINES, FIRST_RUN, LANE, VERBOSE, Operator, Ran, _engine, store_settings
from .s3sign import Keys, presigned

ADDRESSES = {"data": f"10.151.0.{int(LANE) + 2}", "app": f"10.151.0.{int(LANE) + 3}"}
ROLES = {"store": "data", "database": "data", "mlflow": "app", "proxy": "app"}
STAY = {"store.root.user", "tls.root"}
CONNECT = """
import os, sys
from sqlalchemy import create_engine, engine
url = engine.make_url(os.environ["MLFLOW_BACKEND_STORE_URI"]).set(password=sys.stdin.readline().rstrip())
create_engine(url).connect().close()
"""
ONLY_WITH = (
    "import os, sys; sys.orig_argv[1:2] and sys.orig_argv[1].endswith('/bin/mlflow') "
    "and ':{password}@' not in os.environ.get('MLFLOW_BACKEND_STORE_URI', '') and os._exit(1)\n"
)
"""For a .pth file: with it MLflow's server starts only while the database's password is what it was."""


@dataclass
class Two:
    """The hosts, the inventory that makes a stack of them, and who made it."""

    data: LabHost
    app: LabHost
    engine: str
    operator: Operator
    inventory: Path

    def run(self, *arguments: str, timeout: float = 600, **options: Any) -> Ran:
        return self.operator.run(*arguments, "--inventory", str(self.inventory), "--json", timeout=timeout, **options)

    def secrets(self) -> dict[str, str]:
        """What this machine has."""
        (file,) = (self.operator.state / "provision").glob("*/secrets.json")
        return {name: str(each["value"]) for name, each in json.loads(file.read_text())["secrets"].items()}

    def status(self, login: str) -> int:
        """Of a search at the URL."""
        token = base64.b64encode(f"mlflow:{login}".encode()).decode()
        headers = {"Content-Type": "application/json", "Authorization": f"Basic {token}"}
        url = f"http://{self.app.address}:5000/api/2.0/mlflow/experiments/search"
        try:
            with urllib.request.urlopen(urllib.request.Request(url, b'{"max_results": 1}', headers), timeout=30) as got:
                return int(got.status)
        except urllib.error.HTTPError as error:
            return error.code

    def opens(self, login: str) -> bool:
        found = self.status(login)
        assert found in {200, 401}, found
        return found == 200

    def role_takes(self, password: str) -> bool:
        """Whether the database lets MLflow's host in with a password, asked as MLflow asks."""
        python = f"/opt/mlflow/current/bin/python -c {shlex.quote(CONNECT)}"
        ask = f"set -a; . /etc/mlflow/mlflow.env; exec {python}"
        return self.app.exec(ask, stdin=f"{password}\n").rc == 0

    def store_takes(self, access: str, secret: str) -> bool:
        path = presigned(Keys(access, secret), "GET", "127.0.0.1:9000", "/mlflow", {"list-type": "2"})
        ask = f"curl -s -o /dev/null -w '%{{http_code}}' {shlex.quote('http://127.0.0.1:9000' + path)}"
        status = self.data.check(ask).strip()
        assert status in {"200", "403"}, status
        return status == "200"

    def works(self) -> None:
        """Every part takes what this machine says, each host keeps its part of it, and nothing is left to do."""
        now = self.secrets()
        assert self.opens(now["login"])
        assert self.role_takes(now["database.password"])
        assert self.store_takes(now["store.user.key"], now["store.user.secret"])
        for host in (self.data, self.app):
            kept = json.loads(host.check("cat /etc/provision/secrets.json"))["secrets"]
            assert {name: each["value"] for name, each in kept.items()} == {name: now[name] for name in kept}
        again = self.run()
        assert again.code == 0, again.why
        assert [host["changes"] for host in again.json["hosts"]] == [[], []]


@pytest.fixture(scope="module", params=ENGINES)
def two(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Two]:
    engine = _engine(request.param)
    folder = tmp_path_factory.mktemp(f"rotate-{engine}")
    file = folder / "inventory.toml"
    lines = ["[roles]", *(f"{role} = {json.dumps([name])}" for role, name in ROLES.items())]
    for name, address in ADDRESSES.items():
        lines += [f"[hosts.{name}]", f'address = "root@{address}"', f'identity = "{PRIVATE_KEY}"']
    file.write_text("\n".join([*lines, ""]))
    operator = Operator(folder / "state")
    with ExitStack() as running, ThreadPoolExecutor(2) as pool:

        def start(name: str) -> LabHost:
            address = ADDRESSES[name]
            return running.enter_context(hosts.running(f"t-turn-{name}-{LANE}", address, cache=True, sshd=VERBOSE))

        data, app = pool.map(start, ("data", "app"))
        stack = Two(data, app, engine, operator, file)
        first = stack.run(*store_settings(engine), timeout=FIRST_RUN)
        assert first.code == 0, first.why
        yield stack


@pytest.fixture
def one_engine(two: Two) -> Two:
    """What does not depend on the store is shown with one."""
    if two.engine != "seaweedfs":
        pytest.skip("one engine: it is the database's password")
    return two


def test_all_become_new_on_both_hosts_and_the_old_ones_open_nothing(two: Two) -> None:
    before = two.secrets()
    ran = two.run("secrets", "rotate", "all")
    assert ran.code == 0, ran.why
    after = two.secrets()
    assert {name for name, value in before.items() if after[name] == value} == STAY
    assert not two.opens(before["login"])
    assert not two.role_takes(before["database.password"])
    assert not two.store_takes(before["store.user.key"], before["store.user.secret"])
    assert not two.store_takes(before["store.root.user"], before["store.root.password"])
    assert two.store_takes(after["store.root.user"], after["store.root.password"])
    said = ran.out + ran.err
    assert not [name for values in (before, after) for name in values if values[name] in said]
    assert "tls.root stays" in ran.out
    two.works()


def test_an_operator_who_is_killed_in_the_middle_leaves_what_a_plain_run_finishes(one_engine: Two) -> None:
    two, before = one_engine, one_engine.secrets()
    arguments = ("secrets", "rotate", "database.password", "--inventory", str(two.inventory))
    process = two.operator.start(*arguments)
    end = time.monotonic() + 120
    while two.data.check("cat /etc/provision/secrets.json").count(before["database.password"]):
        assert process.poll() is None, process.communicate()  # the database has it, MLflow's host does not
        assert time.monotonic() < end
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    for host in (two.data, two.app):
        host.check("flock -w 180 /run/provision/work true", seconds=200)
    assert not two.role_takes(before["database.password"])
    healed = two.run("--verify")
    assert healed.code == 0, healed.why
    assert two.secrets()["database.password"] != before["database.password"]
    two.works()


def test_a_server_that_does_not_start_again_brings_the_earlier_values_back_on_both_hosts(one_engine: Two) -> None:
    two, before = one_engine, one_engine.secrets()
    packages = two.app.check("echo /opt/mlflow/current/lib/python3*/site-packages").strip()
    two.app.check(f"cat > {packages}/only.pth", stdin=ONLY_WITH.format(password=before["database.password"]))
    ran = two.run("secrets", "rotate", "database.password")
    two.app.check(f"rm {packages}/only.pth")
    assert ran.code == 1, ran.why
    assert "the earlier value is back on every host" in ran.out, ran.why
    assert two.secrets()["database.password"] == before["database.password"]
    two.works()
