"""An `mlflow` package with as much of the client as a verification uses; its store is a JSON file.

FAKE_STORE names the file; FAKE_FAULT is `CALL:KIND`, the call that goes wrong and how.
"""

from __future__ import annotations

from pathlib import Path

PACKAGE = {
    "__init__.py": '__version__ = "9.9"\nprint("mlflow greets on stdout", flush=True)\n',
    "entities.py": """
class Metric:
    def __init__(self, key, value, timestamp, step):
        self.key, self.value, self.timestamp, self.step = key, value, timestamp, step
""",
    "artifacts.py": """
from mlflow.tracking import MlflowClient

def download_artifacts(run_id, artifact_path, dst_path):
    return MlflowClient().download(run_id, artifact_path, dst_path)
""",
    "tracking.py": """
import functools, json, os, pathlib, subprocess, sys, time
from types import SimpleNamespace as Space

class MlflowException(Exception):
    def __init__(self, text, code=""):
        super().__init__(text)
        self.error_code = code

FAULT, _, KIND = os.environ.get("FAKE_FAULT", "").partition(":")
STORE = pathlib.Path(os.environ["FAKE_STORE"])

def wrong(name):
    print("the plugin of", os.environ["MLFLOW_TRACKING_URI"], "prints to stdout", flush=True)
    if name != FAULT:
        return
    if KIND == "hang":
        child = subprocess.Popen(["sleep", "600"])
        STORE.with_name("new").write_text(f"{os.getpid()} {child.pid}")
        STORE.with_name("new").rename(STORE.with_name("pids"))
        time.sleep(600)
    if KIND == "die":
        print("last words with", os.environ.get("MLFLOW_TRACKING_PASSWORD"), file=sys.stderr, flush=True)
        os._exit(9)
    if KIND == "module":
        raise ModuleNotFoundError("No module named 'boto3'")
    if KIND == "permission":
        raise PermissionError(13, "Permission denied", "/srv/mlruns")
    if KIND == "login":
        said = "API request failed with error code 401 != 200. " + os.environ["MLFLOW_TRACKING_PASSWORD"]
        raise MlflowException(said + " https://s3/x?X-Amz-Signature=topsecretsignature&a=1")
    if KIND == "scheme":
        raise MlflowException("got unsupported URI 'x://' for tracking. Supported schemes are: ['http']")
    raise MlflowException("it broke <b>here</b>", KIND)

def call(method):
    @functools.wraps(method)
    def run(self, *args, **kwargs):
        wrong(method.__name__)
        self.data = json.loads(STORE.read_text()) if STORE.exists() else {"experiments": {}, "runs": {}}
        given = method(self, *args, **kwargs)
        STORE.write_text(json.dumps(self.data))
        return given
    return run

def run_of(run):
    params, tags = dict(run["params"]), dict(run["tags"])
    return Space(info=Space(**run["info"]), data=Space(params=params, tags=tags))

class MlflowClient:
    def __init__(self):
        wrong("client")

    @call
    def get_experiment_by_name(self, name):
        found = self.data["experiments"].get(name)
        return found and Space(experiment_id=found["id"], lifecycle_stage=found["stage"])

    @call
    def create_experiment(self, name):
        self.data["experiments"][name] = {"id": str(len(self.data["experiments"]) + 1), "stage": "active"}

    @call
    def restore_experiment(self, id):
        for found in self.data["experiments"].values():
            found["stage"] = "active" if found["id"] == id else found["stage"]

    @call
    def create_run(self, experiment_id, tags):
        id = f"run{len(self.data['runs'])}"
        info = {"run_id": id, "experiment_id": experiment_id, "status": "RUNNING", "start_time": 0}
        info |= {"artifact_uri": f"mem:/{id}/artifacts", "lifecycle_stage": "active"}
        self.data["runs"][id] = {"info": info, "params": {}, "tags": tags, "metrics": [], "files": {}}
        return run_of(self.data["runs"][id])

    @call
    def log_param(self, id, key, value):
        self.data["runs"][id]["params"][key] = "changed" if FAULT == "lose" else value

    @call
    def log_metric(self, id, key, value, step):
        self.data["runs"][id]["metrics"].append([key, value, step])

    @call
    def log_batch(self, id, metrics):
        self.data["runs"][id]["metrics"] += [[m.key, m.value, m.step] for m in metrics]

    @call
    def set_tag(self, id, key, value):
        self.data["runs"][id]["tags"][key] = value

    @call
    def get_run(self, id):
        return run_of(self.data["runs"][id])

    @call
    def get_metric_history(self, id, key):
        return [Space(step=s, value=v) for k, v, s in self.data["runs"][id]["metrics"] if k == key]

    @call
    def search_runs(self, experiments, filter_string, max_results):
        kind, _, rest = filter_string.partition(".")
        key, _, value = rest.replace("`", "").partition(" = ")
        return [run_of(r) for r in self.data["runs"].values() if r["info"]["lifecycle_stage"] == "active"
                and r["info"]["experiment_id"] in experiments and r[kind].get(key) == value.strip("'")]

    @call
    def log_artifact(self, id, path, folder):
        path = pathlib.Path(path)
        self.data["runs"][id]["files"][f"{folder}/{path.name}"] = path.read_bytes().hex()

    @call
    def list_artifacts(self, id, folder):
        return [Space(path=p, file_size=len(d) // 2) for p, d in self.data["runs"][id]["files"].items()]

    @call
    def download(self, id, path, folder):
        to = pathlib.Path(folder) / "got"
        to.write_bytes(bytes.fromhex(self.data["runs"][id]["files"][path]))
        return str(to)

    @call
    def set_terminated(self, id, status="FINISHED"):
        self.data["runs"][id]["info"]["status"] = status

    @call
    def delete_run(self, id):
        self.data["runs"][id]["info"]["lifecycle_stage"] = "deleted"
""",
}


def write(folder: Path) -> Path:
    """The package in `folder`; gives the path to put on PYTHONPATH."""
    (folder / "mlflow").mkdir(parents=True)
    for name, text in PACKAGE.items():
        (folder / "mlflow" / name).write_text(text)
    return folder
