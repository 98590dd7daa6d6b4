"""uv's failures on a host become what, why and next."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from provisioner.runtime import programs
from provisioner.runtime.run_uv import advice


@pytest.mark.parametrize(
    ("stderr", "what"),
    [
        ("cause: client error (Connect)\ncause: dns error", "does not answer"),
        ("cause: invalid peer certificate: UnknownIssuer", "not trusted"),
        ("cause: No space left on device (os error 28)", "full"),
        ("error: Hash mismatch for `boto3==1.44.5`", "other bytes"),
        ("HTTP status client error (401 Unauthorized) for url", "refuses"),
        ("cause: Because a was not found in the package registry and you require a==1", "lacks"),
    ],
)
def test_known_words_of_uv_have_a_reason_and_an_advice(stderr: str, what: str) -> None:
    lines = advice(stderr).splitlines()
    assert [line.split()[0] for line in lines] == ["what", "why", "next"]
    assert what in lines[0]


def test_unknown_words_get_no_advice() -> None:
    assert advice("thread panicked") == ""


def test_a_password_in_an_address_is_not_repeated() -> None:
    assert "geheim" not in advice("error sending request for url (https://u:geheim@h.test/simple)")


def run(tmp_path: Path, script: str) -> subprocess.CompletedProcess[str]:
    uv = tmp_path / "uv"
    uv.write_text(f"#!/bin/sh\n{script}\n")
    uv.chmod(0o755)
    return subprocess.run(
        [sys.executable, "-I", "-", str(uv), "pip"],
        input=programs.program("run_uv"),
        env={
            "HOME": str(tmp_path),
            "PATH": "/usr/bin:/bin",
            "PIP_INDEX_URL": "https://u:pw@m.test/s",
            "VIRTUAL_ENV": "/x",
        },
        capture_output=True,
        text=True,
        check=False,
    )


def test_uv_gets_the_hosts_index_by_its_environment_and_keeps_its_exit_code(tmp_path: Path) -> None:
    done = run(tmp_path, 'echo "$* $UV_DEFAULT_INDEX $UV_PYTHON_DOWNLOADS [$VIRTUAL_ENV]"; echo Resolved >&2; exit 7')
    assert done.stdout == "pip https://u:pw@m.test/s never []\n"
    assert done.stderr.strip() == "Resolved"
    assert done.returncode == 7


def test_a_killed_uv_is_not_a_success(tmp_path: Path) -> None:
    assert run(tmp_path, "kill -9 $$").returncode == 137
