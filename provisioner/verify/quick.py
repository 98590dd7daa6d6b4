"""The short check of a run that changed nothing: read-only, three requests on one connection."""

from __future__ import annotations

import time
from typing import NamedTuple

from provisioner.verify import direct, faults
from provisioner.verify.api import Api, items, pairs
from provisioner.verify.artifacts import by_presigned_url, through_mlflow
from provisioner.verify.context import KEPT, NAME, Context
from provisioner.verify.deadline import Deadline
from provisioner.verify.faults import Fault
from provisioner.verify.http import HttpError
from provisioner.verify.target import Target

_PAGE = "/ajax-api/2.0/mlflow/experiments/search"


class Quick(NamedTuple):
    """`milliseconds` is the search's time, what a user waits for a page; `detail` says what was
    wrong, or what could not be looked at. `unanswered`: no part of MLflow has said anything, as
    while it starts."""

    ok: bool
    milliseconds: float
    detail: str
    unanswered: bool = False


def quick(target: Target, *, budget_seconds: float = 10.0) -> Quick:
    """One search with the browser's Origin, and the kept run's small object by the address that
    MLflow hands out. Writes nothing; raises nothing of the server's.

    Without a kept run (a full verification never passed) it is not ok: only that can say more.
    """
    deadline = Deadline(budget_seconds)
    if not target.tracks:
        from provisioner.verify import only

        return Quick(*only.quick(target, deadline))
    api = Api(target, deadline)
    unanswered = True
    begun = time.monotonic()
    took = 0.0
    try:
        fields = {"filter": f"name = '{NAME}'", "max_results": 1}
        answer = api.call("POST", _PAGE, fields, doing="search", headers={"Origin": str(target.origin)})
        took = (time.monotonic() - begun) * 1000
        # 502 and 504 are the proxy's own words, 503 MLflow's about its database.
        unanswered = answer.response.status in (502, 503, 504)
        if not answer.ok:
            raise faults.refused(target, answer.response, "search")
        found = items(answer.data, "experiments")
        path = pairs(found[0], "tags").get(KEPT, "") if found else ""
        parts = path.removeprefix("s3://").split("/")
        straight = path.startswith("s3://") and target.direct is not None
        if len(parts) < 4 or any(part in ("", ".", "..") for part in parts) or not path.isascii():
            return Quick(False, took, "no verified test run yet")
        if straight != (target.direct is not None):
            return Quick(False, took, "no verified test run yet")
        run_id = parts[-4]
        context = Context(target, api, deadline, payload=b"", nonce="", started=0)
        place = direct.key_of(path)
        if target.direct is not None and place is not None:
            body = direct.small(api.client, target, deadline, place, len(run_id))
        else:
            body = _small(context, path, len(run_id))
        if body != run_id.encode():
            return Quick(False, took, "the kept test run's object came back changed")
    except Fault as fault:
        return Quick(False, took, fault.detail.replace("\n", " "), unanswered)
    except (HttpError, TimeoutError) as error:
        return Quick(False, took, str(error), unanswered)
    finally:
        api.close()
    return Quick(True, took, "")


def _small(context: Context, path: str, size: int) -> bytes:
    try:
        return by_presigned_url(context, path, size)[0]
    except Fault as fault:
        # Servers without presigned addresses (older, or not on S3) have no such path, or say 501.
        if fault.id not in ("not-mlflow", "server-error"):
            raise
        return through_mlflow(context, path, size)
