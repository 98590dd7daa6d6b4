"""Room for what passes through MLflow whole: before it reaches the store, such a file stands on the server's disk."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar, Self

from provisioner.engine.check import Check
from provisioner.engine.probe import Probe
from provisioner.engine.quoting import word
from provisioner.steps import Context
from provisioner.steps.mlflow_environment import TEMPORARY
from provisioner.values import dataclass

LARGEST = 500 * 2**20
"""Bytes: clients send larger files to the store itself, in parts (MLflow's MULTIPART_UPLOAD_MINIMUM_FILE_SIZE;
read in 3.17.2)."""


@dataclass(frozen=True)
class RoomProbe(Probe[int]):
    """Free bytes where `path` is or will be; 0 when they are not known."""

    path: str

    kind: ClassVar[str] = "room"

    @classmethod
    def fragment(cls, probes: Sequence[Self]) -> str:
        return "\n".join(
            f'd={word(probe.path)}; while ! [ -d "$d" ]; do d=${{d%/*}}; d=${{d:-/}}; done\n'
            'df -k --output=avail -- "$d" | { read -r _ || :; read -r n || n=0; echo "$n"; }'
            for probe in probes
        )

    @classmethod
    def parse(cls, probes: Sequence[Self], output: bytes) -> Iterable[int]:
        lines = output.decode("ascii", "replace").splitlines()
        return [int(line) * 1024 if line.isdigit() and len(line) < 16 else 0 for line in lines]


ROOM = RoomProbe(TEMPORARY)


def room(context: Context) -> Iterable[Check]:
    """Every worker may hold one of the largest files; a PUT by hand may be larger still."""
    free, workers = context.seen.get(ROOM), context.settings.mlflow.workers
    if not free:
        return
    wanted = workers * LARGEST
    told = f"{free / 1e9:.1f} GB free for uploads in passing"
    if free >= wanted:
        yield Check("mlflow-room", "room for uploads", "ok", detail=told)
        return
    each = f"{workers} worker{'s' if workers > 1 else ''} x {LARGEST / 1e9:.1f} GB"
    yield Check(
        "mlflow-room",
        "room for uploads",
        "warn",
        detail=f"{told}, {each} may be needed at {TEMPORARY}",
        fix=f"free {(wanted - free) / 1e9:.1f} GB, or mount a larger disk at {TEMPORARY.rpartition('/')[0]}",
    )
