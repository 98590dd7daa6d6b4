"""What would keep MLflow from running on a host, and what helps; all at once, before anything changes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar, Self

from provisioner.engine.check import Check
from provisioner.engine.probe import Probe
from provisioner.engine.quoting import printable, word
from provisioner.resources.drop_ins import DropInProbe, DropIns
from provisioner.resources.python_env import PythonEnv
from provisioner.resources.unit import UnitProbe
from provisioner.runtime import mlflow as runtime
from provisioner.runtime import pins, programs
from provisioner.steps import Context, dbms, mlflow_environment, own_accounts, sizes
from provisioner.steps.mlflow_spool import room
from provisioner.steps.storeports import foreign_unit
from provisioner.values import dataclass

DISK = 2_300_000_000
"""Bytes that an installation needs at its peak, its cache included: 860 MB stay."""
MEMORY = 1_000_000_000


@dataclass(frozen=True)
class IndexProbe(Probe[str]):
    """Whether the host's Python index answers, asked only while `path` is not a finished environment.
    Gives `ok`, empty when it was not asked, or why not."""

    path: str
    python: str

    kind: ClassVar[str] = "python-index"

    @classmethod
    def fragment(cls, probes: Sequence[Self]) -> str:
        lines = []
        for probe in probes:
            ask = programs.call("reach_index", pins.UV.package, "20", interpreter=probe.python)
            lines.append(f"if [ -e {word(probe.path)}/.provision-complete ]; then echo; else\n{ask}\nfi || echo")
        return "\n".join(lines)

    @classmethod
    def parse(cls, probes: Sequence[Self], output: bytes) -> Iterable[str]:
        return [printable(line)[:300] for line in output.decode("utf-8", "replace").splitlines()]


def checks(context: Context, venv: PythonEnv, drop_ins: DropIns) -> Iterable[Check]:
    """Every finding; `ok` ones too, they are counted."""
    yield _python(context)
    yield from _disk(context, venv)
    yield from room(context)
    yield _memory(context)
    yield from _index(context, venv)
    yield _port(context)
    yield from _schema(context)
    yield from _foreign(context, venv)
    yield from _kept(context, drop_ins)
    yield from _login(context)


def _login(context: Context) -> Iterable[Check]:
    """MLflow's own accounts take no password of fewer characters: the server would end at every start."""
    if own_accounts.wanted(context) and 0 < len(own_accounts.operator(context).reveal()) < own_accounts.SHORTEST:
        yield Check(
            "login",
            "login",
            "fail",
            detail=f"the password of mlflow has fewer than the {own_accounts.SHORTEST} characters that MLflow asks for",
            fix="provision user passwd mlflow",
        )


def _python(context: Context) -> Check:
    major, minor = context.facts.python
    if (major, minor) >= (3, 10):
        return Check("python", "python", "ok", detail=f"{major}.{minor}")
    found = f"Python {major}.{minor} is here" if major else "there is no Python"
    return Check(
        "python",
        "python",
        "fail",
        detail=f"MLflow {context.settings.mlflow.version} needs Python 3.10 or newer, {found}",
        fix="use Ubuntu 22.04, Debian 12 or newer, or install python3.11 beside the system's",
    )


def _disk(context: Context, venv: PythonEnv) -> Iterable[Check]:
    found = context.seen.get(venv.probe)
    free = context.facts.free.get("/opt", 0)
    if found is None or not free:
        return
    if found.seen.state == "complete":
        yield Check("disk", "disk", "ok", detail=f"{_gigabytes(free)} free at /opt")
    elif free < DISK:
        yield Check(
            "disk",
            "disk",
            "fail",
            detail=f"/opt has {_gigabytes(free)} free, {_gigabytes(DISK)} are needed",
            fix=f"free {_gigabytes(DISK - free)}, or mount a larger disk at /opt",
        )
    else:
        yield Check("disk", "disk", "ok", detail=f"{_gigabytes(free)} free at /opt")


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB"


def _memory(context: Context) -> Check:
    size = context.facts.memory
    if size and size < MEMORY:
        return Check(
            "memory",
            "memory",
            "fail",
            detail=f"{_gigabytes(size)}, MLflow with a database and a store needs 1.0 GB at least",
            fix="use a server with 2 GB or more",
        )
    if not sizes.of(context).fits:
        workers = context.settings.mlflow.workers
        detail = f"{_gigabytes(size)} is tight for MLflow with {workers} worker{'s' if workers > 1 else ''}"
        fewer = "--set mlflow.workers=1, or " if workers > 1 else ""
        return Check("memory", "memory", "warn", detail=detail, fix=f"{fewer}a server with more memory")
    return Check("memory", "memory", "ok", detail=_gigabytes(size))


def _index(context: Context, venv: PythonEnv) -> Iterable[Check]:
    answer = context.seen.get(IndexProbe(venv.path, venv.python))
    if not answer:
        return
    if answer == "ok":
        yield Check("python-index", "Python index", "ok")
    else:
        yield Check(
            "python-index",
            "Python index",
            "fail",
            detail=f"the Python package index cannot be used from this host: {answer.removeprefix('fail ')}",
            fix="name a mirror in /etc/pip.conf on the host (index-url = https://…/simple), or its proxy in "
            "/etc/environment",
        )


def _port(context: Context) -> Check:
    port = mlflow_environment.PORT
    unit = context.seen.get(UnitProbe("mlflow-server.service"))
    ours = unit is not None and unit.active in {"active", "activating", "reloading", "deactivating"}
    taken = next((one for one in context.facts.listeners if one.port == port), None)
    if taken is None or ours:
        return Check("port-5500", f"port {port}", "ok")
    return Check(
        "port-5500",
        f"port {port}",
        "fail",
        detail=f"in use by {taken.process or 'a process the kernel does not name'}",
        fix="stop it: MLflow listens there on loopback",
    )


def _schema(context: Context) -> Iterable[Check]:
    if not context.settings.mlflow.tracks:
        return
    database = dbms.of(context.settings).state(context).database
    if database is None or database.unused or database.revision in {"", runtime.SCHEMA_HEAD}:
        return
    yield Check(
        "schema",
        "database schema",
        "fail",
        detail=f"the database has the schema {printable(database.revision)}, MLflow {context.settings.mlflow.version} "
        f"works with {runtime.SCHEMA_HEAD}: it was made by another version",
        fix="keep the version that made it: this release of provision cannot move a database to another one",
    )


def _foreign(context: Context, venv: PythonEnv) -> Iterable[Check]:
    found = context.seen.get(venv.probe)
    if found is not None and found.seen.state == "foreign":
        yield Check(
            "mlflow-foreign",
            "MLflow's folder",
            "fail",
            detail=f"{venv.path} is there and was not made by this tool",
            fix=f"move it away: mv {venv.path} {venv.path}.before",
        )
    elif found is not None and (added := runtime.added(found.seen)):
        names = ", ".join(added[:4]) + (f" and {len(added) - 4} more" if len(added) > 4 else "")
        yield Check("mlflow-added", "packages", "warn", detail=f"installed besides the lock, kept: {names}")
    unit = "mlflow-server.service"
    yield from foreign_unit(context, unit, f"/etc/systemd/system/{unit}", "MLflow", "/etc/mlflow/mlflow.env")


def _kept(context: Context, drop_ins: DropIns) -> Iterable[Check]:
    found = context.seen.get(DropInProbe(drop_ins.unit))
    if found and (kept := drop_ins.tolerated(found)):
        names = ", ".join(printable(path) for path in kept[:3])
        yield Check("mlflow-drop-ins", "drop-ins", "warn", detail=f"not ours, kept as they only tune: {names}")
