"""Fragments and programs as text: self-contained, quoted, clean for every shell."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from provisioner.runtime import mlflow, pins, programs

VENV = "/opt/mlflow/it's 100% $HOME/3.17.2"
FRAGMENTS = {
    "make": mlflow.make(VENV, lock_path="/stage/lock", uv="/opt/uv"),
    "probe": mlflow.probe(VENV),
    "upgrade": mlflow.upgrade(VENV, env_file="/etc/mlflow/mlflow.env"),
    "fetch": programs.call("fetch_wheel", pins.fetch_spec(pins.UV, "/opt/mlflow/uv/uv")),
}
PROGRAMS = ("fetch_wheel", "run_uv", "warm", "check_records", "db_upgrade")


@pytest.mark.parametrize("name", FRAGMENTS)
@pytest.mark.parametrize("shell", ["dash", "bash", "busybox"])
def test_every_shell_parses_the_fragment(shell: str, name: str) -> None:
    if not shutil.which(shell):
        pytest.skip(f"no {shell}")
    words = [shell, "sh", "-n"] if shell == "busybox" else [shell, "-n"]
    subprocess.run(words, input=FRAGMENTS[name], text=True, check=True)


@pytest.mark.parametrize("name", FRAGMENTS)
def test_shellcheck_finds_nothing(name: str) -> None:
    if not shutil.which("shellcheck"):
        pytest.skip("no shellcheck")
    done = subprocess.run(
        ["shellcheck", "-s", "sh", "-e", "SC2016", "-"],
        input=FRAGMENTS[name],
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.stdout == ""


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_needs_nothing_of_this_project(name: str) -> None:
    tree = ast.parse(programs.program(name), feature_version=(3, 8))
    imported = {
        (node.module if isinstance(node, ast.ImportFrom) else node.names[0].name) or ""
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    assert not [module for module in imported if module.startswith("provisioner")]


@pytest.mark.parametrize("name", PROGRAMS)
def test_no_program_ends_its_own_here_document(name: str) -> None:
    assert f"end-of-{name}" not in programs.program(name)


def test_values_are_quoted() -> None:
    first = FRAGMENTS["probe"].splitlines()[1]
    done = subprocess.run(["sh", "-c", f'{first}; printf %s "$VENV"'], capture_output=True, text=True, check=True)
    assert done.stdout == VENV


def test_no_fragment_holds_a_secret_or_puts_the_database_address_into_argv() -> None:
    assert not re.search(r"python[^\n]*BACKEND_STORE_URI", FRAGMENTS["upgrade"])


def test_every_pin_is_a_sha256_of_a_file_for_both_machines() -> None:
    for program in (pins.UV, pins.WEED):
        assert set(program.wheels) == {"x86_64", "aarch64"}
        for wheel in program.wheels.values():
            assert re.fullmatch("[0-9a-f]{64}", wheel.sha256)
            assert re.fullmatch("[0-9a-f]{64}", wheel.program_sha256)
            assert wheel.filename.startswith(f"{program.package.replace('-', '_')}-{program.version}-")


def test_the_lock_pins_everything_by_hash_and_names_no_place() -> None:
    text = mlflow.lock()
    pinned = re.findall(r"^([A-Za-z0-9_.-]+)==", text, re.MULTILINE)
    assert len(pinned) == 122
    assert {"mlflow", "psycopg2-binary", "boto3", "pymysql", "cryptography"} <= set(pinned)
    for line in text.splitlines():
        assert re.fullmatch(r"#.*|[A-Za-z0-9_.-]+==\S+( ; [^\\]+)? \\|    --hash=sha256:[0-9a-f]{64}( \\)?", line), line
    assert "://" not in text


def test_the_lock_is_made_for_the_version_that_is_installed() -> None:
    folder = Path(mlflow.__file__).parent.parent / "locks"
    assert f"\nmlflow=={mlflow.VERSION} " in mlflow.lock()
    assert f"mlflow=={mlflow.VERSION}\n" in (folder / f"mlflow-{mlflow.VERSION}.in").read_text()
