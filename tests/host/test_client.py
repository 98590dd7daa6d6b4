"""A real `mlflow` client on another machine than the server: what a data scientist does all day."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import time
from collections.abc import Iterator
from typing import Any

import pytest

from provisioner.lab import hosts
from provisioner.lab.host import LabHost

from . import clients
from .conftest import Stack

CLIENT = "10.151.0.95"
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


@pytest.fixture(scope="module")
def client() -> Iterator[LabHost]:
    """Another machine; it has nothing of the tool."""
    with hosts.running("t-client", CLIENT, cache=True) as host:
        yield host


@pytest.fixture(scope="module")
def python(client: LabHost) -> str:
    """An environment with the client library, the locked versions, as `pip install mlflow==3.17.2` gives them."""
    return clients.install(client)


def environment(stack: Stack) -> str:
    """What a user pastes: the output of `provision env`."""
    told = stack.run("env")
    assert told.code == 0, told.err
    assert told.out.startswith(f"export MLFLOW_TRACKING_URI={stack.url}\n")
    return told.out


def work(client: LabHost, python: str, settings: str, script: str, *arguments: str) -> dict[str, Any]:
    """Run a script in an empty folder of the client with these settings; its last line is JSON."""
    (client.root / "root/script.py").write_text(script.replace("BIG", str(BIG)))
    folder = client.check("mktemp -d").strip()
    words = " ".join(shlex.quote(word) for word in arguments)
    command = f"{settings}cd {folder} && {python} /root/script.py {words}"
    last = client.check(command, seconds=400).splitlines()[-1]
    document: dict[str, Any] = json.loads(last)
    return document


@pytest.fixture(scope="module")
def trained(stack: Stack, client: LabHost, python: str) -> dict[str, Any]:
    return work(client, python, environment(stack), SCRIPT)


@pytest.fixture(scope="module")
def loaded(stack: Stack, client: LabHost, python: str, trained: dict[str, Any]) -> dict[str, Any]:
    return work(client, python, environment(stack), BACK, trained["run"])


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


def test_the_bytes_came_by_the_presigned_road(stack: Stack, client: LabHost, loaded: dict[str, Any]) -> None:
    lines = stack.on("cat /var/log/nginx/provision-mlflow.access.log").splitlines()
    mine = [line for line in lines if line.startswith(f"{CLIENT} ")]
    # Ranges of the object itself, from the store through the same address as everything else.
    whole = re.compile(rf'"GET /mlflow/\S+/blob\.bin HTTP/1\.1" 20[06] {BIG} ')
    assert [line for line in mine if whole.search(line)], "\n".join(mine[-40:])
    assert not [line for line in mine if '" 5' in line], "no request of the client failed on the server"
    assert "X-Amz-Signature" not in "\n".join(lines)


def test_the_server_itself_keeps_none_of_it(stack: Stack, loaded: dict[str, Any]) -> None:
    assert stack.on("find /var/lib/mlflow /opt/mlflow -name 'blob.bin' -o -name 'mlflow.db' -o -name mlruns") == ""


def test_without_the_login_nothing_is_read_or_written(
    stack: Stack, client: LabHost, python: str, loaded: dict[str, Any]
) -> None:
    script = (
        "import json, mlflow\n"
        "try:\n"
        "    mlflow.search_experiments()\n"
        "except mlflow.exceptions.MlflowException as error:\n"
        "    print(json.dumps(str(error)))\n"
    )
    settings = f"export MLFLOW_TRACKING_URI={stack.url} MLFLOW_HTTP_REQUEST_MAX_RETRIES=1\n"
    assert "401" in str(work(client, python, settings, script))


def test_fifty_megabytes_in_one_request_come_back_whole(stack: Stack, client: LabHost) -> None:
    login = f"machine {stack.address} login mlflow password {stack.secret('login')}\n"
    (client.root / "root/.netrc").write_text(login)
    path = f"{stack.url}/api/2.0/mlflow-artifacts/artifacts/9/big-{int(time.time())}/artifacts/big.bin"
    client.check("head -c 50000000 /dev/urandom >/root/big.bin")
    client.check(f"curl -fsS -n -T /root/big.bin {path}", seconds=200)
    got = client.check(f"curl -fsS -n {path} | sha256sum", seconds=200).split()[0]
    assert got == hashlib.sha256((client.root / "root/big.bin").read_bytes()).hexdigest()
