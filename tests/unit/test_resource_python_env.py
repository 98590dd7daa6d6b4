"""The Python environment as a resource."""

from __future__ import annotations

from dataclasses import replace

import pytest
import shells
from hypothesis import given
from hypothesis import strategies as st

from provisioner.engine.probe import Seen
from provisioner.engine.resource import Change
from provisioner.resources import python_env
from provisioner.resources.paths import PathProbe, PathState
from provisioner.resources.python_env import PythonEnv, PythonEnvProbe, PythonEnvState
from provisioner.resources.unit import Service
from provisioner.runtime import mlflow as runtime
from provisioner.runtime import programs

ENVIRONMENT = PythonEnv(id="venv:x", path="/opt/mlflow/3.17.2", version="3.17.2")
LINES = st.frozensets(st.sampled_from(["record a-1.dist-info/RECORD 1 2", "name a", "name b"]))
STATES = st.builds(
    PythonEnvState,
    st.builds(
        runtime.VenvSeen,
        st.sampled_from(["absent", "unfinished", "foreign", "complete"]),
        st.sampled_from(["/usr/bin/python3.11", "/usr/bin/python3.12"]),
        st.sampled_from([runtime.lock_sha256(), "other"]),
        st.sampled_from(["/usr/bin/python3.11", ""]),
        LINES,
        LINES,
    ),
    st.sampled_from(["/usr/bin/python3.11", ""]),
)


@given(STATES)
def test_after_the_change_nothing_is_left_to_do(state: PythonEnvState) -> None:
    seen = Seen({ENVIRONMENT.probe: state})
    assert ENVIRONMENT.diff(ENVIRONMENT.after(seen)) is None


def test_a_repaired_environment_restarts_what_was_started_from_it() -> None:
    whole = runtime.VenvSeen("complete", "/p", runtime.lock_sha256(), "/p", frozenset({"name flask"}), frozenset())
    service = Service(id="unit:x", unit="x.service", links=(ENVIRONMENT.marker,))
    marker = PathProbe(ENVIRONMENT.marker, read=False)
    seen = Seen({ENVIRONMENT.probe: PythonEnvState(whole, "/p"), marker: PathState("file", identity="1:2:3:4")})
    running = service.after(seen)
    assert service.diff(running) is None
    change = ENVIRONMENT.diff(running)
    assert change is not None
    assert change.reason == "removed or altered: flask"
    restart = service.diff(ENVIRONMENT.after(running))
    assert restart is not None
    assert restart.action == "restart"


def test_a_folder_that_somebody_else_made_is_not_replaced_without_being_asked() -> None:
    change = ENVIRONMENT.diff(Seen({ENVIRONMENT.probe: PythonEnvState(runtime.VenvSeen("foreign"), "/p")}))
    assert change is not None
    assert change.asks


def test_several_environments_are_told_apart() -> None:
    probes = [ENVIRONMENT.probe, replace(ENVIRONMENT.probe, path="/opt/other")]
    output = b"== environment\nwanted /usr/bin/python3.11\nstate absent\n== environment\nwanted \nstate foreign\n"
    first, second = PythonEnvProbe.parse(probes, output)
    assert (first.wanted_python, first.seen.state) == ("/usr/bin/python3.11", "absent")
    assert (second.wanted_python, second.seen.state) == ("", "foreign")


@pytest.mark.parametrize("shell", shells.SHELLS, ids=" ".join)
def test_the_look_at_an_absent_environment_runs_on_every_shell(shell: list[str]) -> None:
    probe = PythonEnvProbe("/nonexistent/it's", "/usr/bin/python3")
    done = shells.run(shell, b"set -eu\n" + PythonEnvProbe.fragment([probe]).encode())
    (state,) = PythonEnvProbe.parse([probe], done.stdout)
    assert state.seen.state == "absent"
    assert state.wanted_python.startswith("/")


@pytest.mark.parametrize("shell", shells.SHELLS, ids=" ".join)
def test_progress_is_told_in_packages_and_sizes_and_every_line_is_kept(shell: list[str]) -> None:
    lines = (
        "progress 5000000 17606939\nResolved 93 packages in 1.24s\nDownloading pyarrow (47.7MiB)\n"
        "Downloading small (900.0KiB)\n Downloaded pyarrow\n Downloaded unknown\nPrepared 93 packages\n"
        "Installed 93 packages\n + pyarrow==25.0.1\n* weird \\line $(echo hacked) (\n"
    )
    script = f"set -eu\nsay() {{ echo \"SAY $1\" >&2; }}\n{python_env._PROGRESS}\ntold <<'end'\n{lines}end\n"
    done = shells.run(shell, script.encode())
    assert done.stdout.decode() == lines
    assert done.stderr.decode().splitlines() == [
        "SAY uv itself: 5 of 17 MB",
        "SAY 93 packages, downloading",
        "SAY 93 packages, 0 of 47 MiB",
        "SAY 93 packages, 0 of 47 MiB",
        "SAY 93 packages, 47 of 47 MiB",
        "SAY 93 packages, installing",
        "SAY 93 packages, compiling",
    ]


@pytest.mark.parametrize("shell", shells.SHELLS, ids=" ".join)
def test_a_failure_behind_the_progress_is_a_failure(shell: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "make", lambda *_, **__: "( set -eu\nfalse\necho not here\n)\n")
    monkeypatch.setattr(programs, "call", lambda *_, **__: "echo fetched\n")
    monkeypatch.setattr(python_env, "UV", "/tmp/uv")
    fragment = PythonEnv.apply([(ENVIRONMENT, Change("create", "absent"))])
    script = f'T=$(mktemp -d)\nsay() {{ :; }}\n( set -eu\n{fragment}\n)\nr=$?\nrm -rf "$T"\nexit $r\n'
    done = shells.run(shell, script.encode())
    assert done.returncode != 0
    assert done.stdout == b"fetched\n"


def test_the_fragment_is_good_shell() -> None:
    fragment = PythonEnv.apply([(ENVIRONMENT, Change("create", "absent"))])
    assert shells.lint(f"say() {{ :; }}\nT=/x\n{fragment}") == ""
