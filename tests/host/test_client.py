"""A real `mlflow` client on another machine than the server: what a data scientist does all day."""

from __future__ import annotations

import hashlib
import time
from typing import Any

import pytest

from .clients import Client, requests
from .conftest import Stack

BIG = 3_000_000
"""Bytes of an artifact: several reads and writes for every part it passes."""

SCRIPT = """
import hashlib, json, pathlib, random
import mlflow
from mlflow.tracking import MlflowClient
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier

mlflow.set_experiment("iris")
mlflow.sklearn.autolog(registered_model_name="iris-forest")
features, labels = load_iris(return_X_y=True)
forest = RandomForestClassifier(n_estimators=20, random_state=7)
with mlflow.start_run() as run:
    forest.fit(features, labels)
    blob = random.Random(7).randbytes(BIG)
    pathlib.Path("blob.bin").write_bytes(blob)
    mlflow.log_artifact("blob.bin", "sub/größe")
client = MlflowClient()
client.set_registered_model_alias("iris-forest", "champion", 1)
print(json.dumps({
    "run": run.info.run_id,
    "answers": forest.predict(features).tolist(),
    "sha256": hashlib.sha256(blob).hexdigest(),
}))
"""

BACK = """
import hashlib, json, pathlib, sys
import mlflow
from mlflow.tracking import MlflowClient
from sklearn.datasets import load_iris

run_id = sys.argv[1]
features, _ = load_iris(return_X_y=True)
model = mlflow.pyfunc.load_model("models:/iris-forest@champion")
native = mlflow.sklearn.load_model("models:/iris-forest/1")
blob = pathlib.Path(mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path="sub/größe/blob.bin"))
everything = pathlib.Path(mlflow.artifacts.download_artifacts(run_id=run_id))
client = MlflowClient()
run = client.get_run(run_id)
found = mlflow.search_runs(experiment_names=["iris"], filter_string="metrics.training_accuracy_score > 0.9")
print(json.dumps({
    "answers": model.predict(features).tolist(),
    "native": native.predict(features).tolist(),
    "sha256": hashlib.sha256(blob.read_bytes()).hexdigest(),
    "files": sorted(str(path.relative_to(everything)) for path in everything.rglob("*") if path.is_file()),
    "params": run.data.params,
    "metrics": run.data.metrics,
    "uri": run.info.artifact_uri,
    "found": found["run_id"].tolist(),
    "versions": [v.version for v in client.search_model_versions("name = 'iris-forest'")],
}))
"""


def environment(stack: Stack) -> str:
    """What a user pastes: the output of `provision env`."""
    told = stack.run("env")
    assert told.code == 0, told.err
    assert told.out.startswith(f"export MLFLOW_TRACKING_URI={stack.url}\n")
    return told.out


@pytest.fixture(scope="module")
def trained(stack: Stack, client: Client) -> dict[str, Any]:
    return client.work(environment(stack), SCRIPT.replace("BIG", str(BIG)))


@pytest.fixture(scope="module")
def loaded(stack: Stack, client: Client, trained: dict[str, Any]) -> dict[str, Any]:
    return client.work(environment(stack), BACK, trained["run"])


def test_a_random_forest_is_logged_and_predicts_the_same_when_loaded_back(
    trained: dict[str, Any], loaded: dict[str, Any]
) -> None:
    assert len(trained["answers"]) == 150
    assert loaded["answers"] == trained["answers"]
    assert loaded["native"] == trained["answers"]
    assert loaded["params"]["n_estimators"] == "20"
    assert loaded["metrics"]["training_accuracy_score"] > 0.9
    assert loaded["found"] == [trained["run"]]
    assert loaded["versions"] in (["1"], [1])


def test_artifacts_come_back_byte_for_byte(trained: dict[str, Any], loaded: dict[str, Any]) -> None:
    assert loaded["sha256"] == trained["sha256"]
    assert loaded["uri"].startswith("mlflow-artifacts:/")
    assert {"sub/größe/blob.bin", "estimator.html", "training_confusion_matrix.png"} <= set(loaded["files"])


def test_the_bytes_came_by_the_presigned_road(stack: Stack, client: Client, loaded: dict[str, Any]) -> None:
    log = stack.on("cat /var/log/nginx/provision-mlflow.access.log")
    mine = requests(log, client.host.address)
    # The object itself, from the store through the same address as everything else.
    direct = [line for line in mine if line.path.startswith("/mlflow/") and line.path.endswith("/blob.bin")]
    assert [line for line in direct if (line.method, line.size) == ("GET", BIG) and line.status in {200, 206}], mine
    assert not [line for line in mine if line.status >= 500], "no request of the client failed on the server"
    assert "X-Amz-Signature" not in log


def test_the_server_itself_keeps_none_of_it(stack: Stack, loaded: dict[str, Any]) -> None:
    assert stack.on("find /var/lib/mlflow /opt/mlflow -name 'blob.bin' -o -name 'mlflow.db' -o -name mlruns") == ""


def test_without_the_login_nothing_is_read_or_written(stack: Stack, client: Client) -> None:
    (said,) = client.attempts(f"export MLFLOW_TRACKING_URI={stack.url}\n", {})
    assert "401" in said


def test_fifty_megabytes_in_one_request_come_back_whole(stack: Stack, client: Client) -> None:
    login = f"machine {stack.address} login mlflow password {stack.secret('login')}\n"
    (client.host.root / "root/netrc").write_text(login)
    path = f"{stack.url}/api/2.0/mlflow-artifacts/artifacts/9/big-{int(time.time())}/artifacts/big.bin"
    client.host.check("head -c 50000000 /dev/urandom >/root/big.bin")
    client.host.check(f"curl -fsS --netrc-file /root/netrc -T /root/big.bin {path}", seconds=200)
    got = client.host.check(f"curl -fsS --netrc-file /root/netrc {path} | sha256sum", seconds=200).split()[0]
    assert got == hashlib.sha256((client.host.root / "root/big.bin").read_bytes()).hexdigest()
