"""The Python environment that the server runs in: made, looked at and repaired by `provisioner.runtime`.

uv comes as a pinned wheel through the host's own package index, so neither pip, python3-venv nor apt
is waited for. An environment cannot be moved: it is built at its final path, and a marker that is
written last tells a finished one from one that was cut short.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from provisioner.engine.probe import Probe, Seen
from provisioner.engine.quoting import emit, word
from provisioner.engine.resource import Change, HostResource
from provisioner.resources.paths import PathProbe, PathState, checked
from provisioner.runtime import mlflow as runtime
from provisioner.runtime import pins, programs

UV = "/var/cache/provision/uv-" + pins.UV.version
"""Kept, so that a repair needs no second download; removed with the cache it costs 17 MB."""
DOWNLOAD = 260_000_000
"""Bytes of a whole installation, uv included (measured, 3.17.2 on Python 3.11, amd64)."""


@dataclass(frozen=True)
class PythonEnvState:
    seen: runtime.VenvSeen
    wanted_python: str = ""
    """What the wanted interpreter resolves to on the host."""


@dataclass(frozen=True)
class PythonEnvProbe(Probe[PythonEnvState]):
    path: str
    python: str

    kind: ClassVar[str] = "python-environments"

    @classmethod
    def fragment(cls, probes: Sequence[Self]) -> str:
        parts = []
        for probe in probes:
            checked(probe.path)
            parts.append(f'echo "== environment"\necho "wanted $(readlink -f {word(probe.python)} || :)"')
            parts.append(runtime.probe(probe.path))
        return "\n".join(parts)

    @classmethod
    def parse(cls, probes: Sequence[Self], output: bytes) -> Iterable[PythonEnvState]:
        _, *blocks = ("\n" + output.decode("utf-8", "replace")).split("\n== environment\n")
        for _, block in zip(probes, blocks, strict=True):
            first, _, rest = block.partition("\n")
            yield PythonEnvState(runtime.seen_from(rest), first.removeprefix("wanted").strip())


@dataclass(frozen=True, kw_only=True)
class PythonEnv(HostResource):
    """The environment of one version at `path`, exactly as its lock says; what somebody installed
    besides stays and is reported by `added`."""

    patience: ClassVar[float] = 900.0

    path: str
    version: str
    python: str = runtime.PYTHON

    def __post_init__(self) -> None:
        checked(self.path)

    @property
    def probe(self) -> PythonEnvProbe:
        return PythonEnvProbe(self.path, self.python)

    @property
    def marker(self) -> str:
        return f"{self.path}/.provision-complete"

    def probes(self) -> tuple[Probe[Any], ...]:
        return (self.probe,)

    def diff(self, seen: Seen) -> Change | None:
        state = seen[self.probe]
        reason = runtime.difference(state.seen, python=state.wanted_python, version=self.version)
        if not reason:
            return None
        if state.seen.state == "foreign":
            return Change("change", reason, title=self.path, asks="refused")
        fresh = state.seen.state != "complete"
        return Change(
            "create" if fresh else "change", reason, title=self.path, download=DOWNLOAD if fresh else 0
        )

    def after(self, seen: Seen) -> Seen:
        python = seen[self.probe].wanted_python
        whole = runtime.VenvSeen("complete", python, runtime.lock_sha256(self.version), python)
        # The marker is written anew: whatever was started before runs another environment.
        return seen.put(self.probe, PythonEnvState(whole, python)).put(
            PathProbe(self.marker, read=False), PathState("link")
        )

    @classmethod
    def apply(cls, items: Sequence[tuple[Self, Change]]) -> str:
        parts = []
        for environment, _ in items:
            lock = runtime.lock(environment.version).encode()
            parts += [
                f'{emit(lock)} >"$T/lock"',
                "mkdir -p -m 0755 " + word(UV.rsplit("/", 1)[0]),
                programs.call("fetch_wheel", pins.fetch_spec(pins.UV, UV), interpreter=environment.python),
                _with_lock(
                    runtime.make(
                        environment.path,
                        lock_path="@T@/lock",
                        uv=UV,
                        python=environment.python,
                        version=environment.version,
                    )
                ),
            ]
        return "\n".join(parts)


def _with_lock(fragment: str) -> str:
    # The lock's path is only known on the host: the private directory is a variable there.
    return fragment.replace("LOCK=@T@/lock\n", 'LOCK="$T/lock"\n', 1)
