"""A run as a training script logs it, read back."""

from __future__ import annotations

import re
import time

from provisioner.verify import faults
from provisioner.verify.api import at, items, pairs, word
from provisioner.verify.context import MARK, NAME, Context, Step
from provisioner.verify.faults import Fault

_WORDS = "Größe geprüft ✓"
"""Beyond ASCII and Latin-1: a database that is not UTF-8 fails here."""
_METRICS = [(step, 1.0 / (step + 1)) for step in range(20)]
_NOTE = "Written by `provision verify`. The newest verified run stays, older ones are removed."


def experiment(context: Context) -> str:
    """The experiment of all verifications: found, restored when someone deleted it, or made.

    Under MLflow's own accounts it belongs to whoever made it; a login that may not use it gets its
    own, named after it.
    """
    try:
        return _experiment(context)
    except Fault as fault:
        if fault.id != "permission" or not _take_own_name(context):
            raise
        return _experiment(context)


def _take_own_name(context: Context) -> bool:
    own = f"{NAME}-{re.sub('[^0-9A-Za-z.-]', '_', context.target.username)[:60]}"
    if not context.target.username or context.name == own:
        return False
    context.name = own
    return True


def _experiment(context: Context) -> str:
    api, doing = context.api, "experiment"
    found = api.call("GET", "experiments/get-by-name", {"experiment_name": context.name}, doing=doing)
    if found.response.status == 404 and found.code == "RESOURCE_DOES_NOT_EXIST":
        tags = [{"key": MARK, "value": "1"}, {"key": "mlflow.note.content", "value": _NOTE}]
        made = api.call("POST", "experiments/create", {"name": context.name, "tags": tags}, doing=doing)
        if made.code != "RESOURCE_ALREADY_EXISTS":
            if not made.ok:
                raise faults.refused(context.target, made.response, doing)
            context.experiment_id = _id(word(made.data, "experiment_id"), doing)
            return "created"
        # Somebody else's verification made it in between.
        found = api.call("GET", "experiments/get-by-name", {"experiment_name": context.name}, doing=doing)
    if not found.ok:
        raise faults.refused(context.target, found.response, doing)
    context.experiment_id = _id(word(found.data, "experiment", "experiment_id"), doing)
    if word(found.data, "experiment", "lifecycle_stage") == "deleted":
        api.must("POST", "experiments/restore", {"experiment_id": context.experiment_id}, doing="restore")
        return f"{context.name}, restored"
    return context.name


def run(context: Context) -> str:
    """A run, marked as ours from its first moment."""
    tags = {MARK: "1", "mlflow.source.name": "provision verify", "mlflow.note.content": _NOTE}
    fields = {
        "experiment_id": context.experiment_id,
        "run_name": time.strftime("verify %Y-%m-%d %H:%M:%S UTC", time.gmtime(context.started / 1000)),
        "start_time": context.started,
        "tags": [{"key": key, "value": value} for key, value in tags.items()],
    }
    made = context.api.call("POST", "runs/create", fields, doing="new run")
    if made.response.status == 403 and _take_own_name(context):
        _experiment(context)
        fields["experiment_id"] = context.experiment_id
        made = context.api.call("POST", "runs/create", fields, doing="new run")
    if not made.ok:
        raise faults.refused(context.target, made.response, "new run")
    context.run_id = _id(word(made.data, "run", "info", "run_id"), "new run")
    context.artifact_uri = word(made.data, "run", "info", "artifact_uri")
    return context.name if context.name != NAME else ""


def parameter(context: Context) -> str:
    fields = {"run_id": context.run_id, "key": "nonce", "value": context.nonce}
    context.api.must("POST", "runs/log-parameter", fields, doing="parameter")
    return ""


def metrics(context: Context) -> str:
    """Twenty values of one metric in a batch, each at its step."""
    values = [
        {"key": "loss", "value": value, "timestamp": context.started + step, "step": step} for step, value in _METRICS
    ]
    context.api.must("POST", "runs/log-batch", {"run_id": context.run_id, "metrics": values}, doing="metrics")
    return "20 steps"


def tag(context: Context) -> str:
    fields = {"run_id": context.run_id, "key": "words", "value": _WORDS}
    context.api.must("POST", "runs/set-tag", fields, doing="tag")
    return ""


def read_back(context: Context) -> str:
    """Everything that was logged, compared."""
    got = context.api.must("GET", "runs/get", {"run_id": context.run_id}, doing="read the run")
    data = at(got, "run", "data")
    if pairs(data, "params").get("nonce") != context.nonce:
        raise _lost("the parameter")
    if pairs(data, "tags").get("words") != _WORDS:
        raise _lost("the tag (its text beyond ASCII)")
    fields = {"run_id": context.run_id, "metric_key": "loss", "max_results": 100}
    history = context.api.must("GET", "metrics/get-history", fields, doing="metric history")
    seen = sorted((_number(at(m, "step")), _number(at(m, "value"))) for m in items(history, "metrics"))
    if seen != _METRICS:
        raise _lost(f"the metric's history ({len(seen)} of 20 values)")
    return "parameter, 20 values, tag"


def search(context: Context) -> str:
    """The run is found by what was logged, and nothing else is."""
    fields = {
        "experiment_ids": [context.experiment_id],
        "filter": f"params.nonce = '{context.nonce}'",
        "max_results": 5,
    }
    found = context.api.must("POST", "runs/search", fields, doing="search runs")
    ids = [word(run, "info", "run_id") for run in items(found, "runs")]
    if ids != [context.run_id]:
        raise _lost(f"the run in a search ({len(ids)} found, 1 wanted)")
    return ""


def _number(value: object) -> float:
    # An int64 may arrive as a JSON string, by protobuf's rules; 0 may be left out.
    if value is None:
        return 0.0
    if isinstance(value, int | float | str):
        return float(value)
    return float("nan")


def _lost(part: str) -> Fault:
    what = "What clients log is not what they read back."
    return Fault(
        "read-back",
        f"not read back: {part}",
        what=what,
        why="MLflow's database lost or changed it.",
        step="mlflow",
        owner="look at the server's log and its database",
    )


def _id(text: str, doing: str) -> str:
    """An id of the server's, before it is put into a path or compared."""
    if re.fullmatch(r"[0-9A-Za-z_-]{1,64}", text):
        return text
    raise Fault(
        "not-mlflow",
        f"{doing}: no id in the answer",
        what="Clients cannot use this URL.",
        why="Something else than MLflow answers here.",
        step="proxy",
        owner="check the URL",
    )


STEPS = (
    Step("experiment", "experiment", "tracking", experiment, ("tracking-api",)),
    Step("run", "run", "tracking", run, ("experiment",)),
    Step("parameter", "parameter", "tracking", parameter, ("run",)),
    Step("metrics", "20 metrics", "tracking", metrics, ("run",)),
    Step("tag", "tag", "tracking", tag, ("run",)),
    Step("read-back", "read back", "tracking", read_back, ("parameter", "metrics", "tag")),
    Step("search", "search", "tracking", search, ("parameter",)),
)
