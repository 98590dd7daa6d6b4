"""MLflow as `pip install` gives it, on a host that has nothing of the tool, and somebody who works there with
nothing but what `provision env` says."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from provisioner.lab.host import LabHost
from provisioner.runtime import pins, programs

LOCK = Path(__file__).resolve().parents[2] / "provisioner" / "locks" / "mlflow-3.17.2.txt"
PYTHON = "/opt/client/bin/python"
_UV = "/usr/local/bin/uv"
CA = "/root/ca.pem"
"""Where the roots are on the client, when its settings name any."""

MB = 2**20
LARGE, PART = 12 * MB, 5 * MB
"""Bytes of the large file, and of its parts: the least that S3 takes."""
SMALLER = (
    f"export MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE={LARGE} MLFLOW_MULTIPART_UPLOAD_CHUNK_SIZE={PART}"
    f" MLFLOW_MULTIPART_DOWNLOAD_MINIMUM_FILE_SIZE={LARGE} MLFLOW_MULTIPART_DOWNLOAD_CHUNK_SIZE={PART}\n"
)
"""What is large to the client: as delivered 500 MiB are."""

ROUND_TRIP = """
import hashlib, json, os, pathlib, sys
import mlflow
from mlflow.tracking import MlflowClient

def digests(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

def read(run_id, folder):
    run = MlflowClient().get_run(run_id)
    losses = [(each.step, each.value) for each in MlflowClient().get_metric_history(run_id, "loss")]
    mlflow.artifacts.download_artifacts(run_id=run_id, dst_path=folder)
    return {"params": run.data.params, "losses": losses, "files": digests(pathlib.Path(folder))}

given = pathlib.Path("given")
(given / "model/data").mkdir(parents=True)
(given / "model/MLmodel").write_text("artifact_path: model\\nflavors: {}\\n")
(given / "model/data/weights.bin").write_bytes(os.urandom(300_000))
(given / "model/data/größe und name.txt").write_text("ä")
(given / "large.bin").write_bytes(os.urandom(LARGE))
params, losses = {"depth": "3", "name": "größe"}, [[step, 1 / (step + 1)] for step in range(5)]
mlflow.set_experiment("of " + os.environ.get("MLFLOW_TRACKING_USERNAME", "everybody"))
with mlflow.start_run() as run:
    mlflow.log_params(params)
    for step, loss in losses:
        mlflow.log_metric("loss", loss, step=step)
    mlflow.log_artifacts("given")
print(json.dumps({
    "run": run.info.run_id,
    "given": {"params": params, "losses": losses, "files": digests(given)},
    "got": read(run.info.run_id, "got"),
    "earlier": {name: read(name, "got-" + name) for name in sys.argv[1:]},
}))
"""

ATTEMPTS = """
import json, os, sys
import mlflow

os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"
before, said = dict(os.environ), []
for changes in json.loads(sys.argv[1]):
    for name, value in changes.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value
    try:
        mlflow.search_experiments()
        said.append("")
    except Exception as error:
        said.append(str(error))
    os.environ.clear()
    os.environ.update(before)
print(json.dumps(said))
"""


def install(host: LabHost) -> str:
    """An environment with the locked versions; gives its Python."""
    if host.exec("test -x /opt/client/bin/mlflow").rc:
        host.check(programs.call("fetch_wheel", pins.fetch_spec(pins.UV, _UV)), seconds=300)
        shutil.copy(LOCK, host.root / "root/lock.txt")
        host.check(programs.call("run_uv", _UV, "venv", "-q", "--python", "/usr/bin/python3", "/opt/client"))
        packages = ("pip", "install", "-q", "--python", PYTHON, "--require-hashes", "--no-deps")
        command = programs.call("run_uv", _UV, *packages, "--only-binary", ":all:", "-r", "/root/lock.txt")
        # Shared with other hosts: a link into the cache would let an edit here spoil theirs.
        host.check(f"export UV_LINK_MODE=copy; {command}", seconds=500)
    return PYTHON


@dataclass(frozen=True)
class Client:
    """The machine of somebody who works with the server; MLflow is installed there."""

    host: LabHost

    def work(self, settings: str, script: str, *arguments: str) -> Any:
        """Run a script in an empty folder with these settings; what its last line is as JSON."""
        (self.host.root / "root/script.py").write_text(script)
        words = " ".join(shlex.quote(word) for word in arguments)
        # Nothing is left: the next script finds as much room.
        command = (
            f'{settings}folder=$(mktemp -d); cd "$folder" && {PYTHON} /root/script.py {words}; '
            'done=$?; rm -rf "$folder"; exit $done'
        )
        return json.loads(self.host.check(command, seconds=400).splitlines()[-1])

    def round_trip(self, settings: str, *earlier: str) -> dict[str, Any]:
        """A run with parameters, metrics, a folder and a large file, logged and read back, and earlier runs read."""
        done: dict[str, Any] = self.work(settings + SMALLER, ROUND_TRIP.replace("LARGE", str(LARGE)), *earlier)
        return done

    def attempts(self, settings: str, *changes: Mapping[str, str | None]) -> list[str]:
        """What the client says when one thing in its settings is another (None: not set); "" when it works."""
        said: list[str] = self.work(settings, ATTEMPTS, json.dumps(changes))
        return said

    def trusting(self, told: str, path: Path) -> str:
        """What `env --ca PATH` said, for this machine, where the file now is, too."""
        shutil.copy(path, self.host.root / CA.lstrip("/"))
        return told.replace(str(path), CA)


@dataclass(frozen=True)
class Line:
    """One line of nginx's log."""

    method: str
    path: str
    status: int
    size: int


def requests(log: str, address: str) -> list[Line]:
    """What a client at `address` asked for, from nginx's log."""
    pattern = re.compile(rf'^{re.escape(address)} - .* "(\S+) (.*) HTTP/[0-9.]+" (\d+) (\d+) \S+$', re.MULTILINE)
    return [Line(method, path, int(status), int(size)) for method, path, status, size in pattern.findall(log)]
