"""One verified run stays, everything older of ours goes, nothing of anybody else's is touched.

By construction: a run is removed only when the server, asked for it by id just before, says that it
is in our experiment and carries our mark, and its artifacts only at the path that ends in its id.
"""

from __future__ import annotations

import re
import time

from provisioner.verify import direct, faults
from provisioner.verify.api import artifact_path, at, items, pairs, word
from provisioner.verify.artifacts import ARTIFACTS, FOLDER, SMALL
from provisioner.verify.context import KEPT, MARK, Context, Finding, Step
from provisioner.verify.deadline import Deadline
from provisioner.verify.faults import Fault
from provisioner.verify.http import HttpError

_STALE_MS = 600_000
"""A run still RUNNING is somebody's verification under way until it is ten minutes old."""


def keep(context: Context) -> str:
    """End the run as verified and point the experiment's tag at its small object."""
    _end(context, "FINISHED")
    path = artifact_path(context.artifact_uri, FOLDER, SMALL)
    place = direct.key_of(context.artifact_uri, FOLDER, SMALL)
    if context.target.direct is not None and place is not None:
        path = "s3://" + "/".join(place)
    uploaded = context.checks.get("artifact-upload")
    if path is not None and uploaded is not None and uploaded.status == "ok":
        fields = {"experiment_id": context.experiment_id, "key": KEPT, "value": path}
        context.api.must("POST", "experiments/set-experiment-tag", fields, doing="kept run's tag")
    return ""


def tidy(context: Context) -> Finding:
    """Remove older verifications; what cannot be removed is a warning, the platform works."""
    try:
        versions = _versions(context)
        found = context.api.must(
            "POST",
            "runs/search",
            {
                "experiment_ids": [context.experiment_id],
                "filter": f"tags.`{MARK}` = '1'",
                "run_view_type": "ACTIVE_ONLY",
                "max_results": 40,
            },
            doing="older test runs",
        )
        removed = 0
        for run in items(found, "runs"):
            run_id = word(run, "info", "run_id")
            if run_id != context.run_id and not _under_way(context, run):
                removed += _remove(context, run_id)
    except Fault as fault:
        return Finding(f"older test runs stay: {fault.detail}", "warn", fault.next(context.target) or None)
    return Finding(f"{removed} older runs, {versions} older model versions removed" if removed or versions else "")


def discard(context: Context) -> None:
    """After a failure: take this verification's own run away again, as far as the server still lets."""
    if not context.run_id:
        return
    context.deadline = context.api.client.deadline = Deadline(5)
    try:
        _end(context, "FAILED")
        if context.model_version:
            context.api.call(
                "DELETE", "model-versions/delete", {"name": context.name, "version": context.model_version}
            )
        _remove(context, context.run_id)
    except (Fault, TimeoutError):
        return


def _end(context: Context, status: str) -> None:
    fields = {"run_id": context.run_id, "status": status, "end_time": int(time.time() * 1000)}
    context.api.must("POST", "runs/update", fields, doing="end the run")


def _under_way(context: Context, run: object) -> bool:
    started = at(run, "info", "start_time")
    if word(run, "info", "status") != "RUNNING":
        return False
    return not isinstance(started, int) or started > context.started - _STALE_MS


def _remove(context: Context, run_id: str) -> int:
    if not re.fullmatch(r"[0-9A-Za-z_-]{1,64}", run_id):
        return 0
    run = context.api.must("GET", "runs/get", {"run_id": run_id}, doing="test run")
    info = at(run, "run", "info")
    ours = pairs(run, "run", "data", "tags").get(MARK) == "1"
    if not ours or word(info, "run_id") != run_id or word(info, "experiment_id") != context.experiment_id:
        return 0
    path = artifact_path(word(info, "artifact_uri"))
    if path is not None and path.split("/")[-2:] == [run_id, "artifacts"]:
        # Artifacts first: a run that is deleted is not found again, its files would stay for ever.
        try:
            gone = context.api.raw("DELETE", ARTIFACTS + path, timeout=15)
        except HttpError as error:
            raise faults.answered(context.target, error, "remove artifacts") from None
        if gone.status not in (200, 404):
            raise faults.refused(context.target, gone, "remove artifacts")
    place = direct.key_of(word(info, "artifact_uri"))
    if context.target.direct is not None and place is not None and place[1].split("/")[-2:] == [run_id, "artifacts"]:
        direct.remove(context, place)
    context.api.must("POST", "runs/delete", {"run_id": run_id}, doing="remove a test run")
    return 1


def _versions(context: Context) -> int:
    if not context.model_version:
        return 0
    fields = {"filter": f"name = '{context.name}'", "max_results": 40}
    found = context.api.must("GET", "model-versions/search", fields, doing="older model versions")
    removed = 0
    for version in items(found, "model_versions"):
        number = word(version, "version")
        ours = word(version, "name") == context.name and pairs(version, "tags").get(MARK) == "1"
        if ours and number.isdecimal() and int(number) < int(context.model_version):
            context.api.must(
                "DELETE", "model-versions/delete", {"name": context.name, "version": number}, doing="old version"
            )
            removed += 1
    return removed


KEEP = Step("run-kept", "run ended", "tracking", keep, ("run",))
TIDY = Step("tidy", "older test runs", "tracking", tidy, ("run-kept",))
