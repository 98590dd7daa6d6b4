"""Scripts as they travel to a host: the whole first look, a whole batch, and what each kind of resource applies."""

from __future__ import annotations

import inspect
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import shells
from kept import HERE, same
from model import ModelHost, request
from stacks import EXAMPLES, made

from provisioner.commands.view import look
from provisioner.engine import batch, script
from provisioner.engine.probe import Seen
from provisioner.engine.resource import HostResource, Planned
from provisioner.resources.conffile import ExampleProbe, ExampleState
from provisioner.resources.drop_ins import DropIn, DropInProbe
from provisioner.resources.external_database import ExternalDatabase, ExternalLook
from provisioner.resources.external_look import Told
from provisioner.resources.external_way import Login, Place
from provisioner.resources.paths import PathProbe
from provisioner.resources.postgresql import scram
from provisioner.resources.postgresql.clusters import ClustersProbe
from provisioner.resources.postgresql.server import FileSetting, ServerProbe
from provisioner.resources.quorum import Quorum
from provisioner.resources.unit import UnitProbe, UnitState
from provisioner.runtime import mlflow as runtime
from provisioner.runtime import programs
from provisioner.secrets import Secret

MARK = "0123456789abcdef" * 2
"""In place of a boundary's random bits."""
CUT_SHORT = "# the lock, 300 kB\n"
FOLDER = HERE / "scripts"


@pytest.fixture(autouse=True)
def nothing_random(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(script, "boundary", lambda: MARK)
    monkeypatch.setattr(scram, "verifier", lambda password: Secret("SCRAM-SHA-256$4096:fake"))
    monkeypatch.setattr(runtime, "lock", lambda version="": CUT_SHORT)
    # The default index is that of the pip on this machine.
    monkeypatch.setattr(programs, "public_index", lambda: "https://index.example.com/simple")
    programs.program.cache_clear()
    yield
    programs.program.cache_clear()


def kinds(of: type = HostResource) -> Iterator[str]:
    """Names of every kind of thing that a script makes."""
    for kind in of.__subclasses__():
        if kind.__module__.startswith("provisioner.") and not inspect.isabstract(kind):
            yield kind.__name__
        yield from kinds(kind)


def troubled(host: ModelHost) -> None:
    """What a first run never meets."""
    unit = "mlflow-server.service"
    host.put(DropInProbe(unit), (DropIn(f"/etc/systemd/system/{unit}.d/root.conf", b"[Service]\nUser=root\n"),))
    clusters = host.value(ClustersProbe())
    (cluster,) = clusters.found
    host.put(ClustersProbe(), replace(clusters, found=(replace(cluster, includes=False),)))
    server = ServerProbe(cluster.version, "mlflow", "mlflow")
    auto = FileSetting("/var/lib/postgresql/15/main/postgresql.auto.conf", 3, "max_connections", "5")
    host.put(server, replace(host.value(server), files=(auto,)))
    environment = PathProbe("/etc/mlflow/mlflow.env")
    text = "MLFLOW_CRYPTO_KEK_VERSION=2\nMLFLOW_CRYPTO_KEK_PASSPHRASE=an-earlier-passphrase\n"
    host.put(environment, replace(host.value(environment), content=text.encode()))
    for each in list(host.values):
        if isinstance(each, ExampleProbe):
            host.put(each, ExampleState(on=True))


def planned(monkeypatch: pytest.MonkeyPatch, folder: Path) -> dict[str, Planned]:
    """One change of each kind."""
    found: dict[str, Planned] = {}
    for name in ("guests", "seaweedfs", "tls", "external", "mysql", "mysql-guest"):
        host, first, _ = made(name, monkeypatch, folder)
        changes = list(first.plan.changes)
        if name == "seaweedfs":
            troubled(host)
            flags = {**EXAMPLES[name].flags, "access.auth": "none"}
            changes += look(host, request(flags)).plan.changes  # type: ignore[arg-type]
        if name == "tls":
            changes += look(host, request({**EXAMPLES[name].flags, "access.tls": "off"})).plan.changes  # type: ignore[arg-type]
        for each in changes:
            if isinstance(each.resource, HostResource):
                found.setdefault(type(each.resource).__name__, each)
    # It takes several hosts.
    quorum = Quorum(
        id="cluster:minio", unit="minio.service", root="/etc/provision/tls/root.crt", port=9000, hosts=4, seconds=300
    )
    waits = quorum.diff(Seen({quorum.probe: False, UnitProbe(quorum.unit): UnitState()}))
    assert waits is not None
    # It takes an administrator of somebody else's.
    login, admin = Login("tracker", Secret("fake" * 8)), Login("keeper", Secret("fake" * 4))
    place = Place((("db.example.com", 5432),), "verify-full", "any", "/etc/ssl/roots.crt", "runs", login, admin)
    asked = ExternalLook(place)
    database = ExternalDatabase(id="database:runs", place=place, look=asked, identity="/etc/mlflow/database.identity")
    lacks = database.diff(Seen({asked: Told("missing", missing=("role", "database"))}))
    assert lacks is not None
    return found | {
        "Quorum": Planned(quorum, waits),
        "ExternalDatabase": Planned(database, replace(lacks, payload="7001/42")),
    }


def test_the_scripts_are_those_that_were_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    host, first, _ = made("seaweedfs", monkeypatch, tmp_path)
    directory = first.plan.changes[0]
    journal = '{"what":"the host\'s own log"}\n'
    texts = {
        "look.sh": host.scripts[0],
        "batch.sh": batch.compose(
            [directory], MARK, "2026-01-02T030405Z", lambda _planned, _result: journal, "0123456789abcdef"
        ),
        "atomic.sh": batch.compose([directory], MARK, "2026-01-02T030405Z", atomic=True),
    }
    for kind, each in planned(monkeypatch, tmp_path).items():
        assert isinstance(each.resource, HostResource)
        body = type(each.resource).apply([(each.resource, each.change)])
        texts[f"apply/{kind}.sh"] = f"# {each.change.action} {each.id}: {each.change.reason}\n{body.strip()}\n"
    same("scripts", texts)


def test_every_kind_of_resource_has_its_script_here() -> None:
    assert {path.stem for path in (FOLDER / "apply").glob("*.sh")} == set(kinds())


SCRIPTS = sorted(FOLDER.rglob("*.sh"))


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_kept_script_is_good_posix_shell(path: Path) -> None:
    assert shells.lint(path.read_text(encoding="utf-8")) == ""
    for shell in shells.SHELLS:
        done = subprocess.run([*shell, "-n", str(path)], capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, ""), shell
