"""Drive the MLflow that is installed in this Python against MLFLOW_TRACKING_URI: one test run, read back.

`PYTHON - <client_check.py`, in the caller's environment and folder. PROVISION_VERIFY holds a JSON object: the
`experiment`, and `mark`, the tag by which these runs are known. What is seen goes to stdout, a JSON object a
line: {"begin": ID}, {"check": ID, "status": ..., "detail": ...}, {"run": ...} and, for a failure, the exception's
class, MLflow's error code and its words. Needs Python 3.7 and MLflow 1.30 or newer; nothing of this project.
"""

from __future__ import annotations

import sys

# The caller's folder shall be where relative addresses begin, not where modules come from.
sys.path[:] = [path for path in sys.path if path]

import importlib
import json
import os
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

FOLDER = "verify"
SIZE = 200000
"""Bytes of the larger file: hosted servers charge for what is kept, and not all of them let files be removed."""
METRICS = [(step, 1.0 / (step + 1)) for step in range(20)]
WORDS = "Gr\u00f6\u00dfe gepr\u00fcft \u2713"
STALE_MS = 600000


class Stop(Exception):
    """What was read back is not what was written; the text says what."""


class Verification:
    """One run of the checks; `say` takes what goes to the caller."""

    def __init__(self, say: Callable[[dict[str, Any]], None], experiment: str, mark: str):
        self.say = say
        self.name = experiment
        self.mark = mark
        self.client: Any = None
        self.experiment: Any = None
        self.run: Any = None
        self.nonce = os.urandom(8).hex()
        self.payload = os.urandom(SIZE)

    def check(self, name: str) -> None:
        """Runs a check; an exception is told and passed on."""
        self.say({"begin": name})
        begun = time.time()
        found = getattr(self, "check_" + name.replace("-", "_"))()
        status, detail = found if isinstance(found, tuple) else ("ok", found or "")
        self.say({"check": name, "status": status, "detail": detail, "seconds": time.time() - begun})

    def check_client(self) -> str:
        mlflow = importlib.import_module("mlflow")
        version = sys.version_info
        # Creating one resolves the address: an unknown scheme ends here.
        self.client = importlib.import_module("mlflow.tracking").MlflowClient()
        return f"mlflow {mlflow.__version__} in Python {version[0]}.{version[1]}"

    def check_tracking_api(self) -> None:
        self.experiment = self.client.get_experiment_by_name(self.name)

    def check_experiment(self) -> str:
        if self.experiment is None:
            self.client.create_experiment(self.name)
            self.experiment = self.client.get_experiment_by_name(self.name)
            return self.name + ", created"
        if self.experiment.lifecycle_stage == "deleted":
            self.client.restore_experiment(self.experiment.experiment_id)
            return self.name + ", restored"
        return self.name

    def check_run(self) -> None:
        tags = {self.mark: "1", "mlflow.source.name": "provision verify"}
        name = time.strftime("verify %Y-%m-%d %H:%M:%S UTC", time.gmtime())
        self.run = self.client.create_run(self.experiment.experiment_id, tags=dict(tags, **{"mlflow.runName": name}))
        self.say({"run": self.run.info.run_id, "experiment": str(self.experiment.experiment_id)})

    def check_parameter(self) -> None:
        self.client.log_param(self.run.info.run_id, "nonce", self.nonce)

    def check_metrics(self) -> str:
        for step, value in METRICS[:1]:
            self.client.log_metric(self.run.info.run_id, "loss", value, step=step)
        metric = importlib.import_module("mlflow.entities").Metric
        now = int(time.time() * 1000)
        rest = [metric("loss", value, now + step, step) for step, value in METRICS[1:]]
        self.client.log_batch(self.run.info.run_id, metrics=rest)
        return f"{len(METRICS)} steps"

    def check_tag(self) -> None:
        self.client.set_tag(self.run.info.run_id, "words", WORDS)

    def check_read_back(self) -> str:
        run = self.client.get_run(self.run.info.run_id)
        if run.data.params.get("nonce") != self.nonce:
            raise Stop("the parameter")
        if run.data.tags.get("words") != WORDS:
            raise Stop("the tag (its text beyond ASCII)")
        history = self.client.get_metric_history(self.run.info.run_id, "loss")
        if sorted((metric.step, metric.value) for metric in history) != METRICS:
            raise Stop(f"the metric's history ({len(history)} of {len(METRICS)} values)")
        return f"parameter, {len(METRICS)} values, tag"

    def check_search(self) -> None:
        wanted = f"params.nonce = '{self.nonce}'"
        found = self.client.search_runs([self.experiment.experiment_id], filter_string=wanted, max_results=5)
        if [run.info.run_id for run in found] != [self.run.info.run_id]:
            raise Stop(f"the run in a search ({len(found)} found, 1 wanted)")

    def check_artifact_upload(self) -> str | tuple[str, str]:
        with tempfile.TemporaryDirectory() as folder:
            for name, body in (("kept.txt", self.run.info.run_id.encode()), ("payload.bin", self.payload)):
                path = Path(folder) / name
                path.write_bytes(body)
                self.client.log_artifact(self.run.info.run_id, str(path), FOLDER)
        scheme = self.run.info.artifact_uri.partition(":")[0] if ":" in self.run.info.artifact_uri else "file"
        if scheme == "file":
            return "warn", f"to {self.run.info.artifact_uri}, a folder of this machine"
        return f"{SIZE // 1000} kB to {scheme}:"

    def check_artifact_list(self) -> str:
        sizes = {file.path: file.file_size for file in self.client.list_artifacts(self.run.info.run_id, FOLDER)}
        wanted = {FOLDER + "/kept.txt": len(self.run.info.run_id), FOLDER + "/payload.bin": SIZE}
        if {name: int(size or 0) for name, size in sizes.items()} != wanted:
            raise Stop(f"{len(sizes)} of 2 files in the list")
        return "2 files"

    def check_artifact_download(self) -> str:
        artifacts = importlib.import_module("mlflow.artifacts")
        with tempfile.TemporaryDirectory() as folder:
            path = artifacts.download_artifacts(
                run_id=self.run.info.run_id, artifact_path=FOLDER + "/payload.bin", dst_path=folder
            )
            with open(path, "rb") as file:
                if file.read(SIZE + 1) != self.payload:
                    raise Stop("the file, byte for byte")
        return f"{SIZE // 1000} kB"

    def check_run_kept(self) -> str:
        self.client.set_terminated(self.run.info.run_id)
        return f"run {self.run.info.run_id} of {self.name}"

    def check_tidy(self) -> str | tuple[str, str]:
        """Older verifications of the same experiment go; what cannot be removed is no failure."""
        try:
            wanted = f"tags.`{self.mark}` = '1'"
            found = self.client.search_runs([self.experiment.experiment_id], filter_string=wanted, max_results=40)
            removed = sum(self.remove(run.info.run_id) for run in found if self.is_old(run))
        except Exception as error:
            return "warn", f"older test runs stay: {words(error)}"
        return f"{removed} older runs removed" if removed else ""

    def is_old(self, run: Any) -> bool:
        if run.info.run_id == self.run.info.run_id:
            return False
        # A run still RUNNING is somebody's verification under way until it is ten minutes old.
        return run.info.status != "RUNNING" or (run.info.start_time or 0) < time.time() * 1000 - STALE_MS

    def remove(self, run_id: str) -> int:
        """A run of ours, asked for by id just before; its files first, where the store can."""
        run = self.client.get_run(run_id)
        ours = run.data.tags.get(self.mark) == "1" and run.info.experiment_id == self.experiment.experiment_id
        if not ours or run.info.run_id != run_id or run.info.lifecycle_stage == "deleted":
            return 0
        if run.info.artifact_uri.rstrip("/").split("/")[-2:] == [run_id, "artifacts"]:
            # Many stores cannot; the server's own clean-up takes them with the run.
            with suppress(Exception):
                stores = importlib.import_module("mlflow.store.artifact.artifact_repository_registry")
                stores.get_artifact_repository(run.info.artifact_uri).delete_artifacts(FOLDER)
        self.client.delete_run(run_id)
        return 1

    def discard(self) -> None:
        """After a failure: take this run away again, as far as the server still lets."""
        if self.run is None:
            return
        try:
            self.client.set_terminated(self.run.info.run_id, "FAILED")
            self.remove(self.run.info.run_id)
        except Exception:
            return


CHECKS = (
    "client",
    "tracking-api",
    "experiment",
    "run",
    "parameter",
    "metrics",
    "tag",
    "read-back",
    "search",
    "artifact-upload",
    "artifact-list",
    "artifact-download",
    "run-kept",
    "tidy",
)


def words(error: BaseException) -> str:
    """An exception in a line of at most 2000 characters."""
    return " ".join(str(error).split())[:2000]


def told(name: str, error: BaseException) -> dict[str, Any]:
    """What the caller learns of an exception, and of what caused it."""
    causes: list[str] = []
    cause: BaseException | None = error
    while cause is not None and len(causes) < 8:
        causes.append(type(cause).__module__ + "." + type(cause).__name__)
        cause = cause.__cause__ or cause.__context__
    code = getattr(error, "error_code", "")
    return {
        "failed": name,
        "classes": causes,
        "code": code if isinstance(code, str) else "",
        "lost": isinstance(error, Stop),
        "text": words(error) or causes[0],
    }


def main() -> int:
    """0 when all is well, 1 after a failure, which was told."""
    given = json.loads(os.environ.pop("PROVISION_VERIFY"))
    # MLflow and its plugins print to stdout: that goes to stderr, and stdout is the caller's alone.
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def say(line: dict[str, Any]) -> None:
        out.write(json.dumps(line) + "\n")
        out.flush()

    verification = Verification(say, given["experiment"], given["mark"])
    for name in CHECKS:
        try:
            verification.check(name)
        except Exception as error:
            say(told(name, error))
            verification.discard()
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
