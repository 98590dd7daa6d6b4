"""What the environment's probe sees and what is made of it, on real folders."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from provisioner.runtime import mlflow
from provisioner.runtime.check_records import damaged

PACKAGES = ("boto3-1.44.5", "mlflow-3.17.2", "mlflow_skinny-3.17.2")


@pytest.fixture
def venv(tmp_path: Path) -> Path:
    """An environment as venv.sh leaves it, with three small packages."""
    root = tmp_path / "venv"
    site = root / "lib/python3.11/site-packages"
    for package in PACKAGES:
        name = package.rsplit("-", 1)[0]
        (site / name).mkdir(parents=True)
        (site / name / "__init__.py").write_text("x = 1\n")
        (site / f"{package}.dist-info").mkdir()
        (site / f"{package}.dist-info/RECORD").write_text(
            f"{name}/__init__.py,sha256=nia_NpkRxFwkPGhBR7I_yeHc_PJX0pmhxjIBam_NM_Q,6\n"
        )
    (root / "bin").mkdir()
    (root / "bin/python").symlink_to("/bin/sh")
    (root / "bin/mlflow").write_text("#!\n")
    finish(root)
    return root


def run(text: str) -> str:
    return subprocess.run(["sh"], input=text, text=True, capture_output=True, check=True).stdout


def finish(root: Path) -> None:
    marker = root / ".provision-complete"
    marker.unlink(missing_ok=True)
    python = (root / "bin/python").resolve()
    marker.write_text(f"lock {mlflow.lock_sha256()}\npython {python}\n")
    present = run(mlflow.probe(str(root))).partition("== present\n")[2]
    marker.write_text(f"lock {mlflow.lock_sha256()}\npython {python}\n{present}")


def reason(root: Path, *, deep: bool = False) -> str:
    seen = mlflow.seen_from(run(mlflow.probe(str(root), deep=deep, python=sys.executable)))
    return mlflow.difference(seen, python=str(Path("/bin/sh").resolve()))


def test_a_finished_environment_is_as_wanted(venv: Path) -> None:
    assert reason(venv) == ""


def test_an_environment_that_is_not_there_is_absent(tmp_path: Path) -> None:
    assert reason(tmp_path / "none") == "absent"


def test_one_without_a_mark_is_foreign_and_one_being_built_is_unfinished(tmp_path: Path) -> None:
    (tmp_path / "v").mkdir()
    assert reason(tmp_path / "v") == "not made by this tool"
    (tmp_path / "v/.provision-building").touch()
    assert reason(tmp_path / "v") == "an earlier installation did not finish"


def test_a_package_removed_by_hand_is_named(venv: Path) -> None:
    for path in (venv / "lib/python3.11/site-packages").glob("boto3*"):
        shutil.rmtree(path)
    assert reason(venv) == "removed or altered: boto3"


def test_a_package_whose_code_alone_is_gone_is_named(venv: Path) -> None:
    shutil.rmtree(venv / "lib/python3.11/site-packages/boto3")
    assert reason(venv) == "removed or altered: boto3"


def test_a_package_of_another_version_is_named(venv: Path) -> None:
    site = venv / "lib/python3.11/site-packages"
    (site / "boto3-1.44.5.dist-info").rename(site / "boto3-1.0.dist-info")
    assert reason(venv) == "removed or altered: boto3"


def test_an_altered_record_and_a_lost_script_are_named(venv: Path) -> None:
    (venv / "lib/python3.11/site-packages/mlflow-3.17.2.dist-info/RECORD").write_text("short\n")
    assert reason(venv) == "removed or altered: mlflow"
    finish(venv)
    (venv / "bin/mlflow").unlink()
    assert reason(venv) == "removed or altered: mlflow"


def test_an_edited_module_is_seen_by_a_deep_look_only(venv: Path) -> None:
    assert reason(venv, deep=True) == ""
    (venv / "lib/python3.11/site-packages/boto3/__init__.py").write_text("x = 2\n")
    assert reason(venv) == ""
    assert reason(venv, deep=True) == "removed or altered: boto3"


def test_a_deep_look_at_an_environment_that_is_not_there_says_just_that(tmp_path: Path) -> None:
    assert reason(tmp_path / "none", deep=True) == "absent"


def test_what_somebody_added_stays_and_is_told(venv: Path) -> None:
    plugin = venv / "lib/python3.11/site-packages/mlflow_oidc-1.0.dist-info"
    plugin.mkdir()
    (plugin / "RECORD").write_text("")
    assert reason(venv) == ""
    assert mlflow.added(mlflow.seen_from(run(mlflow.probe(str(venv))))) == ("mlflow_oidc",)


def test_compiled_files_and_links_elsewhere_are_no_difference(venv: Path) -> None:
    (venv / "lib/python3.11/site-packages/__pycache__").mkdir()
    (venv / "lib/python3.11/site-packages/boto3/__pycache__").mkdir()
    assert reason(venv) == ""


def test_another_interpreter_or_lock_is_a_difference(venv: Path) -> None:
    seen = mlflow.seen_from(run(mlflow.probe(str(venv))))
    assert "wanted /usr/bin/python3.12" in mlflow.difference(seen, python="/usr/bin/python3.12")
    marker = venv / ".provision-complete"
    marker.write_text(marker.read_text().replace(mlflow.lock_sha256(), "0" * 64))
    assert reason(venv) == "installed from another lock"


@pytest.mark.parametrize(
    "text", ["", "\0\n", "state complete\n== recorded\n== present\n", "== present\nstate complete"]
)
def test_a_malformed_answer_is_a_difference_and_not_an_error(text: str) -> None:
    assert mlflow.difference(mlflow.seen_from(text), python="/usr/bin/python3.11") != ""


def test_records_find_a_file_that_another_package_took_with_it(venv: Path) -> None:
    site = venv / "lib/python3.11/site-packages"
    assert damaged(site) == []
    (site / "mlflow_skinny/__init__.py").unlink()
    (site / "boto3/__init__.py").write_text("x = 2\n")
    assert damaged(site) == ["boto3", "mlflow_skinny"]
