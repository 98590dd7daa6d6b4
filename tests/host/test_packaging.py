"""What `pip install` of the built wheel gives: a working `provision` in an empty folder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from provisioner.lab import hosts
from provisioner.lab.host import LabHost
from provisioner.lab.identity import PRIVATE_KEY

PROJECT = Path(__file__).resolve().parents[2]
STEPS = ("seaweedfs", "postgres", "database", "bucket", "mlflow", "proxy")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    argv = [sys.executable, "-m", "pip", "wheel", "-q", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*argv, "-w", str(folder), str(PROJECT)], check=True, timeout=300)
    (built,) = folder.glob("provision-*.whl")
    return built


@dataclass(frozen=True)
class Installed:
    """The program in an environment that holds nothing but the wheel and what it asks for."""

    bin: Path
    home: Path
    """Empty; where the commands run."""

    def run(self, *argv: str, timeout: float = 240, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            argv,
            cwd=self.home,
            env={"PATH": f"{self.bin}:/usr/bin:/bin", "HOME": str(self.home), "LC_ALL": "C.UTF-8", **env},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("installed")
    venv, home = folder / "venv", folder / "home"
    home.mkdir()
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True, timeout=120)
    argv = [sys.executable, "-m", "pip", f"--python={venv}/bin/python", "--disable-pip-version-check"]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    subprocess.run([*argv, "install", "-q", str(wheel)], check=True, timeout=600, env=environment)
    return Installed(venv / "bin", home)


@pytest.fixture(scope="module")
def fresh() -> Iterator[LabHost]:
    with hosts.running("t-packaging", "10.151.0.94", cache=True) as host:
        yield host


def test_the_wheel_carries_every_file_that_the_checkout_has(wheel: Path) -> None:
    packed = set(zipfile.ZipFile(wheel).namelist())
    wanted = {"provisioner/inventory.example.toml", "provisioner/help.txt"}
    for folder in ("units", "sql", "provisioner/locks", "provisioner/runtime"):
        files = [path for path in (PROJECT / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts]
        assert files, folder
        wanted |= {
            f"provisioner/{path.relative_to(PROJECT)}".replace("provisioner/provisioner", "provisioner")
            for path in files
        }
    assert wanted <= packed, wanted - packed
    assert not [name for name in packed if name.startswith(("tests/", "benchmarks/")) or "__pycache__" in name]


def test_help_and_version_work_in_an_empty_folder(installed: Installed) -> None:
    help = installed.run("provision", "--help")
    assert help.returncode == 0, help.stderr
    assert help.stdout.startswith("Usage: provision [OPTIONS] COMMAND")
    version = installed.run("provision", "--version")
    assert version.stdout.split()[0] == "provision"
    assert installed.run("provision", "postgres", "--help").returncode == 0
    where = installed.run("python", "-c", "import provisioner; print(provisioner.__file__)").stdout
    assert where.startswith(str(installed.bin.parent))


def test_it_writes_the_example_inventory_it_was_packed_with(installed: Installed) -> None:
    done = installed.run("provision", "init", "-o", "example.toml")
    assert done.returncode == 0, done.stderr
    assert (installed.home / "example.toml").read_text() == (PROJECT / "inventory.example.toml").read_text()
    (installed.home / "example.toml").unlink()


def test_it_plans_a_whole_stack_for_a_fresh_server(installed: Installed, fresh: LabHost) -> None:
    reach = ("--host", f"root@{fresh.address}", "-i", str(PRIVATE_KEY), "--set", "store.engine=seaweedfs")
    done = installed.run("provision", "plan", "--diff", "--json", *reach)
    assert done.returncode == 0, done.stdout + done.stderr
    (host,) = json.loads(done.stdout)["hosts"]
    assert {change["step"] for change in host["changes"]} >= set(STEPS)
    texts = {change["resource"]: "\n".join(change["diff"] or ()) for change in host["changes"]}
    assert "ExecStart=" in texts["file:mlflow-server.service"], "units/ is rendered"
    assert fresh.exec("ls -d /etc/provision /opt/mlflow /etc/postgresql").stdout == "", "a plan changes nothing"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_asks_for_its_completion_and_can_read_it(installed: Installed, shell: str) -> None:
    script = installed.run("provision", _PROVISION_COMPLETE=f"source_{shell}")
    assert script.returncode == 0, script.stderr
    assert "_PROVISION_COMPLETE=complete_" + shell in script.stdout
    if shutil.which(shell):
        (installed.home / "completion").write_text(script.stdout)
        assert installed.run(shell, "-n", "completion").returncode == 0
        shown = installed.run(
            shell,
            "-c",
            "provision --show-completion; exit $?" if shell != "fish" else "provision --show-completion; exit $status",
        )
        assert shown.stdout.strip() == script.stdout.strip(), "the documented option gives the same"


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        (("provision", "postg"), {"postgres"}),
        (("provision", "m"), {"minio", "mlflow", "mysql"}),
        (("provision", "secrets", "s"), {"show"}),
        (("provision", "plan", "--di"), {"--diff"}),
    ],
)
def test_bash_completes_steps_commands_and_options(
    installed: Installed, typed: tuple[str, ...], offered: set[str]
) -> None:
    words = " ".join(typed)
    program = (
        'eval "$(_PROVISION_COMPLETE=source_bash provision)"\n'
        # complete -F NAME: the function that bash calls at <TAB>
        "function=$(complete -p provision | sed 's/.*-F \\([^ ]*\\).*/\\1/')\n"
        f"COMP_WORDS=({words}); COMP_CWORD={len(typed) - 1}; COMP_LINE='{words}'; COMP_POINT={len(words)}\n"
        f'"$function" provision {typed[-1]} {typed[-2]}\n'
        "printf '%s\\n' \"${COMPREPLY[@]}\"\n"
    )
    done = installed.run("bash", "-c", program)
    assert set(done.stdout.split()) == offered, done.stderr
