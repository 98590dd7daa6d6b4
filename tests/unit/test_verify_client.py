"""`verify --client`: another Python's MLflow makes the checks, in the user's environment, bounded."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fake_client
import pytest

from provisioner import children
from provisioner.commands.options import Options
from provisioner.commands.verify import verify as command
from provisioner.engine.check import Check
from provisioner.errors import UsageError
from provisioner.verify import client
from provisioner.verify.clientfaults import Failure, fault_of
from provisioner.verify.run import Outcome

URI = "lab://somewhere"
PYTHON = Path(sys.executable)
IDS = [
    "client", "tracking-api", "experiment", "run", "parameter", "metrics", "tag", "read-back", "search",
    "artifact-upload", "artifact-list", "artifact-download", "run-kept", "tidy",
]  # fmt: skip

Verify = Callable[..., Outcome]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store.json"


@pytest.fixture
def env(tmp_path: Path, store: Path) -> dict[str, str]:
    path = str(fake_client.write(tmp_path / "packages"))
    return {"PATH": os.environ["PATH"], "PYTHONPATH": path, "FAKE_STORE": str(store)}


@pytest.fixture
def verify(env: dict[str, str]) -> Verify:
    def run(fault: str = "", uri: str = URI, experiment: str = "lab", **more: Any) -> Outcome:
        options = {key: more.pop(key) for key in ("on_check", "budget_seconds") if key in more}
        return client.verify(uri, PYTHON, experiment, {**env, "FAKE_FAULT": fault, **more}, **options)

    return run


def runs(store: Path) -> dict[str, tuple[str, str]]:
    """Run -> its status and its stage."""
    kept = json.loads(store.read_text())["runs"]
    return {id: (run["info"]["status"], run["info"]["lifecycle_stage"]) for id, run in kept.items()}


def test_a_run_is_logged_read_back_and_kept_whatever_else_is_printed(verify: Verify, store: Path) -> None:
    seen: list[Check] = []
    outcome = verify(on_check=seen.append)
    assert outcome.ok, outcome
    assert [check.id for check in outcome.checks] == IDS
    assert tuple(seen) == outcome.checks
    assert {check.status for check in outcome.checks} == {"ok"}
    assert "mlflow 9.9" in outcome.checks[0].detail
    assert runs(store) == {outcome.run_id: ("FINISHED", "active")}
    assert outcome.run_url is None, "nobody knows the page of such an address"
    assert verify(uri="https://u:hush-hush@h/x/").run_url == "https://h/x/#/experiments/1/runs/run1"


def test_the_next_verification_removes_the_run_of_this_one_and_no_other(verify: Verify, store: Path) -> None:
    first = verify()
    data = json.loads(store.read_text())
    foreign = json.loads(json.dumps(data["runs"][first.run_id]))
    foreign["info"]["run_id"] = "foreign"
    foreign["tags"].pop("provision.verify")
    data["runs"]["foreign"] = foreign
    store.write_text(json.dumps(data))
    second = verify()
    assert second.ok
    assert runs(store)[first.run_id] == ("FINISHED", "deleted")
    assert runs(store)["foreign"] == ("FINISHED", "active")
    assert runs(store)[second.run_id] == ("FINISHED", "active")


def test_a_deleted_experiment_is_restored(verify: Verify, store: Path) -> None:
    verify()
    store.write_text(store.read_text().replace('"stage": "active"', '"stage": "deleted"'))
    assert verify().ok
    assert '"stage": "deleted"' not in store.read_text()


FAULTS = {
    "a wrong login": ("get_experiment_by_name:login", "tracking-api", "login", "is not let in"),
    "no plugin": ("client:scheme", "client", "client-plugin", "does not know addresses that begin with lab"),
    "a store's library": ("log_artifact:module", "artifact-upload", "client-store", "neither stores nor loads"),
    "a folder of the server": ("log_artifact:permission", "artifact-upload", "artifacts-local", "neither stores nor"),
    "no such experiment": ("create_experiment:INVALID_PARAMETER_VALUE", "experiment", "experiment", "no experiment"),
    "what was logged is lost": ("lose:", "read-back", "read-back", "not what they read back"),
    "anything else": ("set_tag:INTERNAL_ERROR", "tag", "client-error", "fails at: tag"),
}


@pytest.mark.parametrize(("fault", "check", "kind", "what"), FAULTS.values(), ids=FAULTS.keys())
def test_a_failure_is_told_in_words_and_the_run_is_taken_away_again(
    verify: Verify, store: Path, fault: str, check: str, kind: str, what: str
) -> None:
    outcome = verify(fault, MLFLOW_TRACKING_PASSWORD="hush-hush-of-the-environment")
    assert [each.id for each in outcome.checks if each.status == "fail"] == [check]
    assert [each.id for each in outcome.checks if each.status == "skip"] == IDS[IDS.index(check) + 1 :]
    assert outcome.fault == kind
    assert what in outcome.what
    assert outcome.run_url is None
    assert outcome.run_id == ""
    assert "hush-hush" not in repr(outcome)
    assert "topsecretsignature" not in repr(outcome)
    assert "<b>" not in repr(outcome)
    left = runs(store) if store.exists() else {}
    assert set(left.values()) <= {("FAILED", "deleted")}


def alive(pid: str) -> bool:
    """Whether a process still runs: one that is over has no command line."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes() != b""
    except OSError:
        return False


def test_a_client_that_hangs_is_ended_with_all_that_it_started(
    verify: Verify, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pids = store.with_name("pids")
    hung: list[bool] = []

    def monotonic() -> float:
        # The time is over once it hangs and what it said before was read: nobody waits here, however busy the machine.
        over = any(hung)
        hung.append(pids.exists())
        return time.monotonic() + 1000 * over

    monkeypatch.setattr(children, "time", SimpleNamespace(monotonic=monotonic, sleep=time.sleep))
    outcome = verify("log_param:hang")
    assert outcome.fault == "time"
    assert "parameter" in outcome.what
    assert [check.id for check in outcome.checks if check.status == "fail"] == ["parameter"]
    end = time.monotonic() + 30
    while [pid for pid in pids.read_text().split() if alive(pid)]:
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_client_that_dies_is_told_with_its_last_words_but_no_secret(verify: Verify) -> None:
    outcome = verify("log_param:die", MLFLOW_TRACKING_PASSWORD="hush-hush-of-the-environment")
    assert "exit code 9" in outcome.what
    assert "last words with" in outcome.why
    assert "hush-hush" not in outcome.why


def test_neither_address_nor_login_is_an_argument(verify: Verify, monkeypatch: pytest.MonkeyPatch) -> None:
    words: list[list[str]] = []
    popen = children.subprocess.Popen

    def watched(argv: list[str], **options: Any) -> Any:
        words.append(argv)
        return popen(argv, **options)

    monkeypatch.setattr(children.subprocess, "Popen", watched)
    assert verify(uri="https://u:hush-hush@h").ok
    assert words == [[str(PYTHON), "-"]]


def test_modules_in_the_current_folder_are_not_taken_for_mlflow(
    verify: Verify, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('not this one')\n")
    (tmp_path / "mlflow.py").write_text("raise SystemExit('nor this')\n")
    monkeypatch.chdir(tmp_path)
    assert verify().ok


def test_a_python_that_cannot_be_used_is_a_usage_error(env: dict[str, str], tmp_path: Path) -> None:
    no_mlflow = {**env, "PYTHONPATH": ""}
    with pytest.raises(UsageError, match="There is no MLflow in"):
        client.verify(URI, PYTHON, "lab", no_mlflow)
    with pytest.raises(UsageError, match="no Python that can be used"):
        client.verify(URI, Path("/bin/true"), "lab", env)
    plain = tmp_path / "plain"
    plain.write_text("")
    for given in (str(tmp_path / "nothing"), str(tmp_path), str(plain)):
        with pytest.raises(UsageError) as raised:
            client.interpreter(given)
        assert "--client" in raised.value.next


def test_an_environment_s_folder_is_as_good_as_its_python(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    python = tmp_path / "bin" / "python"
    python.symlink_to(sys.executable)
    assert client.interpreter(str(tmp_path)) == python, "the link is what makes it this environment"
    assert client.interpreter(str(python)) == python
    assert client.interpreter("sh") == Path(str(shutil.which("sh"))), "a program on PATH"


@pytest.mark.parametrize(
    ("uri", "client", "experiment", "way"),
    [
        ("databricks", "", "", "--client PYTHON"),
        ("azureml://u:hush-hush@h/x?sig=hush-hush", "", "", "--tracking-uri azureml://h/x --client PYTHON"),
        ("databricks://profile", sys.executable, "", "--experiment /Users/"),
        ("http://h", "", "lab", "--client"),
        ("", sys.executable, "", "--tracking-uri"),
    ],
)
def test_what_cannot_be_done_is_refused_with_the_way(uri: str, client: str, experiment: str, way: str) -> None:
    with pytest.raises(UsageError) as raised:
        command(Options(), None, uri, client, experiment)  # type: ignore[arg-type]
    assert way in raised.value.next
    assert "hush-hush" not in f"{raised.value} {raised.value.next}"


def test_two_servers_at_once_are_refused() -> None:
    with pytest.raises(UsageError, match="two servers"):
        command(Options(hosts=("10.0.0.1",)), None, "http://h")  # type: ignore[arg-type]


def test_hosted_services_get_their_own_advice() -> None:
    def advice(uri: str, text: str, *classes: str, check: str = "tracking-api") -> str:
        return fault_of(Failure(check, classes, "", text), uri, uri, "py").owner

    configured = "Reading Databricks credential configuration failed. Ensure that 'databricks-sdk' is installed"
    assert "databricks auth login" in advice("databricks", configured)
    missing = ("mlflow.exceptions.MlflowException", "builtins.ModuleNotFoundError")
    assert "pip install 'mlflow[databricks]'" in advice("databricks://p", configured, *missing)
    assert "az login" in advice("azureml://x", "no", "azure.core.exceptions.ClientAuthenticationError")
    assert "AWS_PROFILE" in advice("arn:aws:sagemaker:x", "no", "botocore.exceptions.NoCredentialsError")
    unknown = "got unsupported URI. Supported URI schemes are: []"
    assert "azureml-mlflow" in advice("azureml://x", unknown, check="client")
    assert "sagemaker-mlflow" in advice("arn:aws:sagemaker:x", unknown, check="client")
    assert "looks closer" in advice("http://h", "x", "requests.exceptions.ConnectionError")
