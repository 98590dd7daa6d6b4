"""The Python environment that the server runs in: made, looked at and repaired by `provisioner.runtime`.

uv comes as a pinned wheel through the host's own package index, so neither pip, python3-venv nor apt
is waited for. An environment cannot be moved: it is built at its final path, and a marker that is
written last tells a finished one from one that was cut short.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Self

from provisioner.engine.probe import Probe, Seen
from provisioner.engine.quoting import emit, word
from provisioner.engine.resource import Change, HostResource
from provisioner.resources.paths import PathProbe, PathState, checked
from provisioner.runtime import mlflow as runtime
from provisioner.runtime import pins, programs
from provisioner.values import dataclass

UV = "/var/cache/provision/uv-" + pins.UV.version
"""Kept, so that a repair needs no second download; removed with the cache it costs 17 MB."""
DOWNLOAD = 260_000_000
"""Bytes of a whole installation, uv included, about (3.17.2 on amd64)."""


@dataclass(frozen=True)
class PythonEnvState:
    """A Python environment as it was seen."""

    seen: runtime.VenvSeen
    wanted_python: str = ""
    """What the wanted interpreter resolves to on the host."""


@dataclass(frozen=True)
class PythonEnvProbe(Probe[PythonEnvState]):
    """Compares an environment's packages with what its marker recorded; `deep`: also every file with what
    its package says of it."""

    path: str
    python: str
    deep: bool = False

    kind: ClassVar[str] = "python-environments"

    @classmethod
    def fragment(cls, probes: Sequence[Self]) -> str:
        parts = []
        for probe in probes:
            checked(probe.path)
            parts.append(f'echo "== environment"\necho "wanted $(readlink -f {word(probe.python)} || :)"')
            parts.append(runtime.probe(probe.path, deep=probe.deep, python=probe.python))
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
    deep: bool = False

    def __post_init__(self) -> None:
        checked(self.path)

    @property
    def probe(self) -> PythonEnvProbe:
        return PythonEnvProbe(self.path, self.python, self.deep)

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
        return Change("create" if fresh else "change", reason, title=self.path, download=DOWNLOAD if fresh else 0)

    def after(self, seen: Seen) -> Seen:
        python = seen[self.probe].wanted_python
        whole = runtime.VenvSeen("complete", python, runtime.lock_sha256(self.version), python)
        # The marker is written anew: whatever was started before runs another environment.
        return seen.put(self.probe, PythonEnvState(whole, python)).put(
            PathProbe(self.marker, read=False), PathState("link")
        )

    @classmethod
    def apply(cls, items: Sequence[tuple[Self, Change]]) -> str:
        parts = [_PROGRESS]
        for environment, _ in items:
            making = runtime.make(
                environment.path,
                lock_path="@T@/lock",
                uv=UV,
                python=environment.python,
                version=environment.version,
            )
            parts += [
                f'{emit(runtime.lock(environment.version).encode())} >"$T/lock"',
                "mkdir -p -m 0755 " + word(UV.rsplit("/", 1)[0]),
                # Not `|| …`: a shell ignores `set -e` on the left of it.
                "{ set +e; ( set -e",
                programs.call("fetch_wheel", pins.fetch_spec(pins.UV, UV), interpreter=environment.python),
                _with_lock(making),
                '); echo $? >"$T/made.rc"; } 2>&1 | told',
                '[ "$(cat "$T/made.rc")" -eq 0 ]',
                # uv's lock file is everybody's to write (0666): nobody's disk quota counts here.
                f"rm -f -- {word(environment.path)}/.lock",
            ]
        return "\n".join(parts)


# uv writes plain lines when it has no terminal: `Resolved 93 packages in 1.24s`, `Downloading pyarrow
# (47.7MiB)` for files from 1 MiB, ` Downloaded pyarrow`, `Installed 93 packages`. It never says how far
# one file is.
_PROGRESS = r"""
told() {
  sizes=; got=0; all=0; packages=
  while IFS= read -r line; do
    printf '%s\n' "$line"
    set -f; set -- $line; set +f
    case ${1:-} in
      progress) say "uv itself: $((${2%%[!0-9]*} / 1000000)) of $((${3%%[!0-9]*} / 1000000)) MB" ;;
      Resolved) packages="${2:-} packages, "; say "${packages}downloading" ;;
      Downloading)
        n=${3:-}; n=${n#\(}
        case $n in *MiB\)) n=${n%%[!0-9]*}; n=${n:-0} ;; *) n=0 ;; esac
        sizes="$sizes ${2:-}:$n"; all=$((all + n))
        say "${packages}${got} of ${all} MiB" ;;
      Downloaded)
        n=${sizes##* "${2:-}":}; n=${n%% *}
        case $n in ''|*[!0-9]*) ;; *) got=$((got + n)); say "${packages}${got} of ${all} MiB" ;; esac ;;
      Prepared) say "${packages}installing" ;;
      Installed) say "${packages}compiling" ;;
    esac
  done
}
"""


def _with_lock(fragment: str) -> str:
    # The lock's path is only known on the host: the private directory is a variable there.
    return fragment.replace("LOCK=@T@/lock\n", 'LOCK="$T/lock"\n', 1)
