"""A host in memory, for tests of what stands above the engine: no shell, no SSH, milliseconds."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from provisioner.commands import host as commands_host
from provisioner.commands.clients import ClientsProbe
from provisioner.commands.downloads import ReachProbe
from provisioner.commands.status import Usage, UsageProbe
from provisioner.engine import batch, probe
from provisioner.engine.probe import Look, Probe, Seen
from provisioner.engine.resource import ClientResource, Planned
from provisioner.inventory import HostRequest, StackRequest
from provisioner.resources.blob import BlobProbe, BlobState
from provisioner.resources.bucket import Bucket, BucketLook, BucketState
from provisioner.resources.bucketcount import Count
from provisioner.resources.conffile import ExampleProbe, ExampleState
from provisioner.resources.drop_ins import DropInProbe
from provisioner.resources.external_bucket import PlaceProbe
from provisioner.resources.facts import Facts, FactsProbe
from provisioner.resources.mark import HAD, MarkProbe, MarksProbe
from provisioner.resources.mlflow_users import Users, UsersLook, UsersState
from provisioner.resources.mysql import passwords
from provisioner.resources.mysql import server as mysql
from provisioner.resources.mysql.rows import RowsProbe as MysqlRowsProbe
from provisioner.resources.mysql.servers import Installed, InstalledProbe
from provisioner.resources.nginx import NginxBuild, NginxBuildProbe
from provisioner.resources.package import Package, PackageProbe, PackageState
from provisioner.resources.paths import ABSENT, PathProbe, PathState
from provisioner.resources.postgresql.clusters import Cluster, Clusters, ClustersProbe, expected
from provisioner.resources.postgresql.rows import RowsProbe
from provisioner.resources.postgresql.server import DOWN, ServerProbe, ServerState
from provisioner.resources.python_env import PythonEnvProbe, PythonEnvState
from provisioner.resources.reach import ListedProbe
from provisioner.resources.remote_database import RemoteDatabase, RemoteState, RemoteTables
from provisioner.resources.s3user import Former, FormerLook, Policy, PolicyLook, PolicyState, User, UserLook
from provisioner.resources.s3user import UserState as StoreUserState
from provisioner.resources.tree import TreeProbe, TreeState
from provisioner.resources.unit import Service, UnitProbe, UnitState
from provisioner.resources.user import UserProbe, UserState
from provisioner.runtime.mlflow import VenvSeen
from provisioner.secrets import Secret
from provisioner.steps.mlflow_checks import IndexProbe
from provisioner.steps.mlflow_spool import RoomProbe
from provisioner.transport.base import Result
from provisioner.vault import Entry, Vault

FACTS = Facts(
    pretty="Debian GNU/Linux 12 (bookworm)",
    cores=4,
    memory=8 * 2**30,
    free=dict.fromkeys(("/", "/opt", "/var/lib", "/var/cache", "/tmp", "/etc"), 100 * 2**30),
    systemd=252,
    python=(3, 11),
    python_path="/usr/bin/python3.11",
    addresses=("127.0.0.1", "::1", "192.0.2.10"),
    hostname="model",
    boot_id="b",
)
SYSTEM = "7000000000000000001"
"""What initdb made of the cluster."""
PYTHON = "/usr/bin/python3.11"
BLANK: Mapping[type[Look[Any]], Any] = {
    FactsProbe: FACTS,
    MarksProbe: frozenset(),
    MarkProbe: False,
    PathProbe: ABSENT,
    UnitProbe: UnitState(),
    PackageProbe: PackageState(False),
    ClustersProbe: Clusters(),
    ServerProbe: DOWN,
    InstalledProbe: Installed(candidate="MariaDB"),
    mysql.ServerProbe: mysql.DOWN,
    MysqlRowsProbe: (2, 1),
    BlobProbe: BlobState("absent"),
    UserProbe: UserState(False),
    TreeProbe: TreeState(),
    DropInProbe: (),
    ExampleProbe: ExampleState(),
    PythonEnvProbe: PythonEnvState(VenvSeen("absent"), PYTHON),
    NginxBuildProbe: NginxBuild(),
    ListedProbe: "ok",
    IndexProbe: "ok",
    RoomProbe: 9 * 10**9,
    UsageProbe: Usage(4096, 2**40),
    RowsProbe: (2, 1),
    ReachProbe: "ok 0",
    ClientsProbe: ("192.0.2.77",),
    PlaceProbe: "missing NoSuchBucket",
    BucketLook: BucketState(),
    PolicyLook: PolicyState(),
    UserLook: StoreUserState(),
    FormerLook: StoreUserState(),
    UsersLook: UsersState(),
}
"""What a fresh Debian 12 shows."""


def vault(stack: str = "192.0.2.10", **changed: str) -> Vault:
    """Secrets that nobody could take for real ones; `changed` by name with `_` for `.`."""
    values = {
        "database.password": "fake-database-password",
        "login": "fake-login-password",
        "mlflow.flask-key": "fake-flask-key-" + "0" * 33,
        "mlflow.kek": "fake-kek-passphrase-" + "0" * 28,
        "store.root.password": "fake-root-password",
        "store.root.user": "fakerootuser",
        "store.user.key": "fakeuserkey",
        "store.user.secret": "fake-user-secret",
    }
    values |= {name.replace("_", "."): value for name, value in changed.items()}
    return Vault(stack, {name: Entry(Secret(value), 1) for name, value in sorted(values.items())}, home=stack)


def request(flags: Mapping[str, Any] | None = None, name: str = "192.0.2.10") -> StackRequest:
    return StackRequest(name, HostRequest(name, name), flags or {})


class ModelHost:
    """A `Session` to a host that is nothing but what its probes would show.

    A look is answered from memory; a batch of changes puts `after` of each there, or fails at those named in
    `failing` and, once, at those in `failing_once`. That real hosts show after a change what `after` promises, that
    the scripts run, that frames, locks and undoing work so, is confirmed by tests/host/test_engine.py (probe, apply,
    put back) and tests/host/test_first_run.py (every resource of the product: planned is done, then nothing to
    change).
    """

    connections = 1
    fingerprint = "SHA256:" + "0" * 43
    new_host_key = False

    def __init__(self, name: str = "192.0.2.10", facts: Facts = FACTS):
        self.host = self.address = name
        self.jumped = False
        self.channels = 0
        self.scripts: list[str] = []
        self.applied: list[str] = []
        """Ids of the changes that were made, in order."""
        self.failing: set[str] = set()
        self.failing_once: set[str] = set()
        self.owner = ""
        """Who held the lock last."""
        self.closed = False
        self.forwarding = True
        """Its sshd allows it."""
        self.held: list[str] = []
        self.on_hold: Callable[[], None] = lambda: None
        """Happens on the host just before a run gets its lock."""
        self.off = False
        """It is switched off."""
        self.far: ModelHost | None = None
        """The host that has the database, where it is another one."""
        self.values: dict[Look[Any], Any] = {FactsProbe(): replace(facts, addresses=("127.0.0.1", "::1", name))}
        self._cluster = Cluster(expected(facts.distribution, facts.release, ""), running=True)
        self._paths: dict[str, PathState] = {}
        self._batches: dict[str, Sequence[Planned]] = {}
        self._lock = threading.Lock()

    # What is there.

    def value(self, look: Look[Any]) -> Any:
        if isinstance(look, PathProbe):
            state = self._paths.get(look.path, ABSENT)
            return state if look.read else replace(state, content=None)
        if isinstance(look, MarksProbe):
            return frozenset(p.removeprefix(f"{HAD}/") for p in self._paths if p.startswith(f"{HAD}/"))
        if isinstance(look, MarkProbe):
            return f"{HAD}/{look.name}" in self._paths
        if isinstance(look, RemoteDatabase) and (self.far is None or self.far.off or not self.far.serves):
            return RemoteState(why="connection refused")
        if isinstance(look, RemoteDatabase) and self.far is not None and look not in self.values:
            return self.far.values.get(look, RemoteState(RemoteTables(0, "", f"{SYSTEM}:16385")))
        if look in self.values:
            return self.values[look]
        if isinstance(look, mysql.ServerProbe) and self.value(InstalledProbe()).flavour:
            return mysql.ServerState(running=True, port=3306, version="10.11.19")
        if isinstance(look, ServerProbe) and look.version in {c.version for c in self.value(ClustersProbe()).found}:
            return ServerState(running=True, port=5432, system=SYSTEM)
        kind = next(kind for kind in type(look).__mro__ if kind in BLANK)
        return BLANK[kind]

    def put(self, look: Look[Any], value: Any) -> None:
        if isinstance(look, PathProbe):
            if value.kind == "absent":
                self.remove(look.path)
            elif look.read or look.path not in self._paths:
                self._paths[look.path] = value
        elif isinstance(look, RemoteDatabase) and self.far is not None:
            self.far.values[look] = value  # what one server has made the others see
        elif isinstance(look, MarkProbe):
            self.write(f"{HAD}/{look.name}", b"")
        else:
            self.values[look] = value

    def write(self, path: str, content: bytes, mode: int = 0o644, age: float = 3600.0) -> None:
        self._paths[path] = PathState("file", mode, "root", "root", content, age=age)

    def remove(self, path: str) -> None:
        self._paths.pop(path, None)

    @property
    def serves(self) -> bool:
        """It has a database."""
        return any(isinstance(value, ServerState) and value.database is not None for value in self.values.values())

    @property
    def files(self) -> dict[str, PathState]:
        """Everything that stands at a path."""
        return dict(sorted(self._paths.items()))

    def content(self, path: str) -> bytes:
        content = self._paths[path].content
        assert isinstance(content, bytes)
        return content

    def make(self, changes: Iterable[Planned]) -> None:
        """Each change as if it had been made."""
        for planned in changes:
            resource = planned.resource
            before = Seen({look: self.value(look) for look in _looks(planned)})
            after = resource.after(before)
            for look in after:
                if isinstance(resource, Service) and isinstance(look, PathProbe):
                    continue  # a plan's guess of what the unit will have read
                if look not in before or after[look] != before[look]:
                    self.put(look, self._real(planned, look, after[look]))
            if isinstance(resource, Package):
                self._installed(resource.name)
            self.applied.append(planned.id)

    def _real(self, planned: Planned, look: Look[Any], value: Any) -> Any:
        """`value` with what a plan cannot know and a host can."""
        resource = planned.resource
        if isinstance(value, PackageState):
            return replace(value, version="1.0")
        if isinstance(value, Clusters):
            return replace(value, ours=True, installed=True)
        if isinstance(value, ServerState):
            database = value.database and replace(value.database, oid=16385)
            return replace(value, running=True, system=SYSTEM, database=database)
        if isinstance(value, mysql.ServerState):
            made = value.database and replace(value.database, identity="1795301209.353244927")
            accounts = {host: replace(each, password=_kept(each.plugin)) for host, each in value.accounts.items()}
            return replace(value, running=True, port=3306, version="10.11.19", database=made, accounts=accounts)
        if isinstance(value, PathState) and value.kind == "link":
            return replace(value, identity=f"1:{len(self.applied)}")
        if isinstance(value, UnitState) and isinstance(resource, Service):
            files = {path: self.value(PathProbe(path)).sha256 for path in resource.inputs}
            links = {path: self.value(PathProbe(path)).identity for path in resource.links}
            return replace(value, record={path: str(today) for path, today in {**files, **links}.items() if today})
        return value

    def _installed(self, package: str) -> None:
        """What a distribution's package brings."""
        if package == "mariadb-server":
            self.put(InstalledProbe(), Installed("MariaDB", ours=True, initialised=True))
        if package == "postgresql":
            self.put(ClustersProbe(), Clusters((self._cluster,), ours=True, installed=True))
            self.put(PackageProbe(f"postgresql-{self._cluster.version}"), PackageState(True, "1.0", ours=True))
            self.write(
                self._cluster.hba, b"local   all             postgres                                peer\n", 0o640
            )

    # A session.

    def run(
        self,
        script: bytes,
        *,
        privileged: bool = True,
        on_output: Callable[[bytes], None] | None = None,
        timeout: float = 60.0,
        limit: int = 64 * 2**20,
    ) -> Result:
        text = script.decode()
        mark = re.search(r"^B=([0-9a-f]{32})$", text, re.MULTILINE)
        assert mark is not None
        with self._lock:
            self.channels += 1
            self.scripts.append(text)
            changes = self._batches.pop(mark[1], ())
            reply = "".join(self._reply(mark[1], changes))
        if on_output is not None:
            on_output(reply.encode())
        return Result(reply.encode(), b"", 0)

    def _reply(self, mark: str, changes: Sequence[Planned]) -> Iterator[str]:
        for number, group in enumerate(batch.groups(changes)):
            yield f"\n{mark} begin g{number} 0 0\n"
            wanted = {planned.id for planned in group.items}
            if wanted & (self.failing | self.failing_once):
                self.failing_once -= wanted
                yield f"\n{mark} failed - 1 7\nbroken\n"
                yield f"\n{mark} end - 0 0\n"
                return
            self.make(group.items)
            yield f"\n{mark} applied g{number} 0 0\n"
        yield f"\n{mark} end - 0 0\n"

    def hold(self, script: bytes) -> _Held:
        self.channels += 1
        if b"echo ours" in script:
            return _Held(["ours" if f" = {self.owner} ]".encode() in script else "taken"])
        self.on_hold()
        lines = [f"held {self.owner}", "ready"]
        found = re.search(rb"%s\\n%s\\n' ([0-9a-f]{16}) ", script)
        assert found is not None
        self.owner = found[1].decode()
        self.write("/run/provision/owner", f"{self.owner}\nsomebody\n".encode())
        self.held.append(self.owner)
        return _Held(lines)

    def forwards(self, port: int) -> bool:
        return self.forwarding

    def forward(self, port: int, host: str = "127.0.0.1") -> AbstractContextManager[Path]:
        raise AssertionError("a model has no ports")

    def close(self) -> None:
        self.closed = True


def _kept(plugin: str) -> Secret:
    """What a server of MySQL's keeps of `vault`'s password."""
    return Secret(passwords.stored(plugin, Secret("fake-database-password")).reveal().encode().hex())


class _Held:
    """A lock that is given at once."""

    def __init__(self, lines: list[str]):
        self._lines = lines
        self.alive = True

    def read_line(self, timeout: float) -> str | None:
        return self._lines.pop(0) if self._lines else None

    def release(self) -> None:
        self.alive = False


def _looks(planned: Planned) -> list[Look[Any]]:
    looks: list[Look[Any]] = list(planned.resource.probes())
    if isinstance(planned.resource, ClientResource):
        looks.append(planned.resource.key)  # type: ignore[attr-defined]
    return looks


def install(monkeypatch: pytest.MonkeyPatch, *hosts: ModelHost) -> None:
    """Let the engine see and change `hosts`, and commands connect to them by name."""
    compose = batch.compose
    current = threading.local()

    def composed(changes: Sequence[Planned], mark: str, *args: Any, **options: Any) -> str:
        for each in hosts:
            each._batches[mark] = changes
        return compose(changes, mark, *args, **options)

    def look(session: ModelHost, probes: Iterable[Probe[Any]], **options: Any) -> Seen:
        current.host = session
        return looked(session, probes, **options)  # type: ignore[arg-type]

    def run(session: ModelHost, *args: Any, **options: Any) -> Seen:
        current.host = session
        return ran(session, *args, **options)  # type: ignore[arg-type]

    def read(groups: Mapping[type[Probe[Any]], Sequence[Probe[Any]]], frames: object) -> Seen:
        return Seen({each: current.host.value(each) for probes in groups.values() for each in probes})

    looked, ran = probe.look, batch.run
    monkeypatch.setattr(probe, "look", look)
    monkeypatch.setattr("provisioner.engine.apply.look", look)
    monkeypatch.setattr("provisioner.resources.postgresql.access.look", look)
    monkeypatch.setattr(batch, "run", run)
    monkeypatch.setattr(batch, "compose", composed)
    monkeypatch.setattr(probe, "read", read)
    monkeypatch.setattr(batch, "read", read)
    monkeypatch.setattr(Users, "arrive", lambda self, session: None)
    for kind in (Bucket, Policy, User, Former, Users):
        monkeypatch.setattr(kind, "look", lambda self, session: Seen({self.key: session.value(self.key)}))
        monkeypatch.setattr(kind, "perform", lambda self, session, change: session.make([Planned(self, change)]))
    monkeypatch.setattr("provisioner.commands.status.count", lambda store, session, bucket: Count(2, 5_000_000))
    by_name = {each.host: each for each in hosts}
    monkeypatch.setattr(commands_host, "open_session", lambda request, *_: by_name[request.host.name])
