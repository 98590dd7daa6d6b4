"""Real systemd hosts for the tests: made once, provisioned once, put back between tests.

A module that wants a stack asks for `stack` (both engines) or `seaweed`; it gets a host that was
provisioned by the command line over SSH and then frozen. `stack.rewind()` puts host and operator's
state back to that moment within a few seconds.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from provisioner.lab import hosts, layers
from provisioner.lab.host import LabHost
from provisioner.lab.identity import PRIVATE_KEY

from .clients import Client, install

MINIO = os.environ.get("PROVISION_TEST_MINIO", "")
ENGINES = ("seaweedfs", "minio")
VERBOSE = ("LogLevel VERBOSE",)
"""sshd itself tells how many sessions a run opened."""
FIRST_RUN = 600.0
"""Seconds a first run may take on a busy machine with nothing cached."""
LANE = os.environ.get("PROVISION_TEST_LANE", "70")
"""Last byte of the stacks' addresses (the next one is used too): two people's runs on one machine differ in it."""
ADDRESSES = {"seaweedfs": f"10.151.0.{LANE}", "minio": f"10.151.0.{int(LANE) + 1}"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder needs root on Linux; elsewhere it says so instead of failing."""
    here = Path(__file__).parent
    lacking = os.geteuid() != 0 or not sys.platform.startswith("linux")
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.host)
            if lacking:
                item.add_marker(pytest.mark.skip(reason="disposable hosts need root on Linux"))


@dataclass(frozen=True)
class Ran:
    """One call of the command line."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.out)
        return document

    @property
    def host(self) -> dict[str, Any]:
        """The only host of the JSON document."""
        (host,) = self.json["hosts"]
        return dict(host)

    @property
    def why(self) -> str:
        """What somebody who only sees that a test failed wants to know, first things first."""
        if not self.out.startswith("{"):
            return self.out + self.err
        hosts = [
            {
                "host": host["host"],
                "error": host.get("error"),
                "checks": [check for check in host.get("checks", ()) if check["status"] != "ok"],
            }
            for host in self.json.get("hosts", ())
        ]
        return f"exit {self.code}: {json.dumps(hosts, indent=1)}\n{self.err}\n{self.out}"

    def changed(self) -> list[str]:
        return [change["resource"] for change in self.host["changes"]]

    def change(self, resource: str) -> dict[str, Any]:
        (change,) = (change for change in self.host["changes"] if change["resource"] == resource)
        return dict(change)

    @property
    def checks(self) -> dict[str, str]:
        """Check -> its status."""
        return {check["id"]: check["status"] for check in self.host["checks"]}


@dataclass
class Operator:
    """Somebody's machine: a state directory of its own, and the command."""

    state: Path
    env: dict[str, str] = field(default_factory=dict)
    cwd: Path | None = None

    def start(self, *arguments: str, **env: str) -> subprocess.Popen[str]:
        home = self.state.parent / (self.state.name + ".home")
        home.mkdir(exist_ok=True)
        return subprocess.Popen(
            [sys.executable, "-m", "provisioner", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.cwd or home,
            env={**os.environ, "XDG_STATE_HOME": str(self.state), "HOME": str(home), **self.env, **env},
        )

    def run(self, *arguments: str, timeout: float = 300, **env: str) -> Ran:
        """`provision ARGUMENTS`, as a process of its own, without a terminal."""
        process = self.start(*arguments, **env)
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            raise AssertionError(f"provision {' '.join(arguments)} took over {timeout} s\n{out}\n{err}") from None
        assert "Traceback" not in err, err
        return Ran(process.returncode, out, err)


@dataclass
class Stack:
    """A provisioned host and the operator who made it."""

    host: LabHost
    engine: str
    operator: Operator
    settings: tuple[str, ...]
    planned: Ran
    """`plan --json --exit-code` of the fresh host."""
    first: Ran
    """The run that made it, `--json`."""
    layer: layers.Layer | None = None
    """What the host stands on since `freeze`."""
    _saved: Path | None = None

    @property
    def address(self) -> str:
        return self.host.address

    @property
    def url(self) -> str:
        return f"http://{self.address}:5000"

    def reach(self) -> tuple[str, ...]:
        return ("--host", f"root@{self.address}", "-i", str(PRIVATE_KEY))

    def run(self, *arguments: str, **options: Any) -> Ran:
        """`provision ARGUMENTS --host …` with this operator's state."""
        return self.operator.run(*arguments, *self.reach(), **options)

    def on(self, command: str, **options: Any) -> str:
        """A command on the host, by hand, as root, without SSH; its output."""
        return self.host.check(command, **options)

    @property
    def store_unit(self) -> str:
        return f"{self.engine}.service"

    @property
    def units(self) -> tuple[str, ...]:
        """Every service of the stack."""
        version = self.on("ls /etc/postgresql 2>/dev/null || :").strip()
        mysql = "mariadb.service" if (self.host.root / "usr/sbin/mariadbd").exists() else "mysql.service"
        database = f"postgresql@{version}-main.service" if version else mysql
        return (self.store_unit, database, "mlflow-server.service", "nginx.service")

    def lives(self) -> dict[str, str]:
        """Unit -> which start of it is running, since when, and how often systemd has restarted it."""
        shown = "InvocationID,ActiveEnterTimestampMonotonic,NRestarts,MainPID"
        return {unit: self.on(f"systemctl show -p {shown} {unit}") for unit in self.units}

    def secret(self, name: str) -> str:
        document = json.loads((self.operator.state / "provision" / self.address / "secrets.json").read_text())
        return str(document["secrets"][name]["value"])

    def freeze(self) -> None:
        self.layer = hosts.snapshot(self.host.name)
        self.host = hosts.get(self.host.name)
        self._saved = self.operator.state.with_name(self.operator.state.name + ".saved")
        shutil.copytree(self.operator.state, self._saved, dirs_exist_ok=True)
        self.wait()

    def rewind(self) -> None:
        """Host and operator's state as they were when the stack was made."""
        assert self._saved is not None
        hosts.rewind(self.host.name)
        self.host = hosts.get(self.host.name)
        shutil.rmtree(self.operator.state)
        shutil.copytree(self._saved, self.operator.state)
        self.wait()

    def stand_again(self) -> None:
        """Put the host back on its frozen disk after `hosts.reset`, with the SSH keys it had."""
        assert self.layer is not None
        hosts.stop(self.host.name)
        self.host = hosts.start(
            self.host.name, self.address, layer=self.layer, keep_host_keys=True, cache=True, sshd=VERBOSE
        )

    def wait(self, seconds: float = 300) -> None:
        """Until MLflow answers: a boot starts everything without the tool."""
        end = time.monotonic() + seconds
        probe = (
            "curl -fsS -m 5 -o /dev/null -X POST -H 'Content-Type: application/json' -d '{\"max_results\":1}' "
            "http://127.0.0.1:5500/api/2.0/mlflow/experiments/search"
        )
        while self.host.exec(probe).rc != 0:
            assert time.monotonic() < end, "MLflow did not come up after a boot"
            time.sleep(0.3)


def store_settings(engine: str) -> tuple[str, ...]:
    if engine == "minio":
        return ("--set", f"store.binary={MINIO}")
    return ("--set", f"store.engine={engine}")


def make_stack(
    engine: str,
    name: str,
    address: str,
    folder: Path,
    *more: str,
    prepare: Callable[[LabHost], object] = lambda lab: None,
    **host: Any,
) -> Iterator[Stack]:
    """A fresh host, provisioned by the command line."""
    operator = Operator(folder / f"state-{name}")
    with hosts.running(name, address, cache=True, sshd=VERBOSE, **host) as lab:
        prepare(lab)
        settings = store_settings(engine)
        reach = ("--host", f"root@{address}", "-i", str(PRIVATE_KEY))
        planned = operator.run("plan", *settings, *more, *reach, "--json", "--exit-code")
        first = operator.run(*settings, *more, *reach, "--json", timeout=FIRST_RUN)
        assert first.code == 0, first.why
        yield Stack(lab, engine, operator, settings, planned, first)


def _engine(engine: str) -> str:
    if engine == "minio" and not MINIO:
        pytest.skip("PROVISION_TEST_MINIO names no MinIO binary")
    return engine


@pytest.fixture(scope="module", autouse=True)
def _own_state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Host keys that a test meets in its own process are not the user's, nor another module's:
    the next host at that address has another key."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("own-state")))
        yield


@pytest.fixture(scope="session", params=ENGINES)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One provisioned and frozen stack for each engine; use `stack` instead."""
    engine = _engine(request.param)
    maker = make_stack(engine, f"t-{engine}-{LANE}", ADDRESSES[engine], tmp_path_factory.mktemp(engine))
    frozen = None
    for stack in maker:
        stack.freeze()
        frozen = stack.layer
        yield stack
    if frozen and not any(frozen.lower[0] in record.spec.lower for record in hosts.records()):
        layers.remove(frozen)


@pytest.fixture(scope="module")
def stack(made: Stack) -> Stack:
    """A provisioned stack, as new at the start of a module."""
    made.rewind()
    return made


@pytest.fixture(scope="session")
def client() -> Iterator[Client]:
    """Another machine than any server, with MLflow's client library and nothing of the tool."""
    with hosts.running(f"t-client-{LANE}", f"10.151.0.{int(LANE) + 9}", cache=True) as host:
        install(host)
        yield Client(host)


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    """An operator who has never met any host."""
    return Operator(tmp_path / "state")


@pytest.fixture(scope="session")
def key() -> Path:
    """The private key that opens every disposable host."""
    return PRIVATE_KEY


Maker = Callable[..., LabHost]
