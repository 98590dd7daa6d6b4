"""A database that no host of the stack has, asked from MLflow's host with MLflow's own driver and settings: for the one
question of verify."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, Self

from provisioner.engine import probe
from provisioner.engine.quoting import printable
from provisioner.resources.remote_database import asking, fragment
from provisioner.runtime import mlflow as runtime
from provisioner.transport.base import Session
from provisioner.values import dataclass

_ENV_FILE = "/etc/mlflow/mlflow.env"


@dataclass(frozen=True)
class RunProbe(probe.Probe[tuple[tuple[Any, ...] | None, str]]):
    """The row of one run, and why it could not be asked for."""

    version: str
    run: str

    kind = "remote-run"

    @classmethod
    def fragment(cls, probes: Sequence[Self]) -> str:
        return fragment(asking(f"{runtime.HOME}/{each.version}", _ENV_FILE, "run", each.run) for each in probes)

    @classmethod
    def parse(cls, probes: Sequence[Self], output: bytes) -> list[tuple[tuple[Any, ...] | None, str]]:
        found: list[tuple[tuple[Any, ...] | None, str]] = []
        for line in output.decode("utf-8", "replace").splitlines():
            told = json.loads(line)
            row = told.get("run") if isinstance(told, dict) else None
            if isinstance(row, list):
                found.append((tuple(row[:1]) or None, ""))
            else:
                said = told.get("error") if isinstance(told, dict) else ""
                found.append((None, printable(str(said or "MLflow's host could not ask it"))[:300]))
        return found


class _Asked:
    """The part of a DB-API connection and cursor that verify uses."""

    def __init__(self, session: Session, version: str):
        self._session, self._version = session, version
        self._row: tuple[Any, ...] | None = None

    def cursor(self) -> Self:
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def execute(self, _query: str, parameters: Sequence[str]) -> None:
        """The run of `parameters`, whatever the words of the query. Raises RuntimeError with the driver's own."""
        asked = RunProbe(self._version, parameters[0])
        self._row, why = probe.look(self._session, [asked])[asked]
        if why:
            raise RuntimeError(why)

    def fetchone(self) -> tuple[Any, ...] | None:
        return self._row

    def close(self) -> None:
        return None


def connector(session: Session, version: str) -> Callable[[], Any]:
    """As `dbms.Dbms.connector`, over `session` to a host that MLflow `version` runs on."""
    return lambda: _Asked(session, version)
