"""A server that passes artifacts on and tracks nothing: what can be proven of it.

A verification has a folder of its own in the bucket, which it takes away again. One small object stays at a place
that every verification knows, for the short check of later runs: there is no experiment to note it in.
"""

from __future__ import annotations

import time

from provisioner.verify import artifacts, door, faults
from provisioner.verify.api import Api, at, items, json_object, word
from provisioner.verify.context import NAME, Context, Finding, Step
from provisioner.verify.deadline import Deadline
from provisioner.verify.faults import Fault
from provisioner.verify.http import HttpError
from provisioner.verify.storefaults import blamed
from provisioner.verify.target import Target

LIST = "/api/2.0/mlflow-artifacts/artifacts"
NOTHING = f"{LIST}?path=.provision-health"
KEPT = f"{NAME}/kept/{artifacts.SMALL}"
CONTENT = NAME.encode()
"""Of the object that stays."""


def reach(context: Context) -> Finding:
    """Name, port, TLS and one HTTP answer, whatever it is, to a request without a login."""
    try:
        context.anonymous = context.api.raw("GET", NOTHING, login=False)
    except HttpError as error:
        raise faults.unreachable(context.target, error) from None
    if context.anonymous.status in (502, 504):
        raise faults.refused(context.target, context.anonymous, "first request")
    return Finding(f"{context.target.origin}" + (" through the SSH connection" if context.target.connect else ""))


def login(context: Context) -> str:
    """The given login opens, none does not; or the server wants none and none is given."""
    assert context.anonymous is not None
    target, anonymous = context.target, context.anonymous
    try:
        seen = context.api.raw("GET", NOTHING)
    except HttpError as error:
        raise blamed(context, str(error), "list artifacts") from None
    if seen.status >= 500 and seen.status not in (502, 504):
        raise blamed(context, f"HTTP {seen.status}", "list artifacts")
    if seen.status != 200 or json_object(seen.body) is None:
        raise faults.refused(target, seen, "list artifacts")
    if not target.has_login:
        return "none wanted"
    if anonymous.status == 200:
        raise faults.open_door(target)
    return f"{target.username or 'token'}; without it {anonymous.status}"


def no_tracking(context: Context) -> Finding:
    """Runs that a client logs here by mistake are refused, not kept in a place that nobody knows."""
    fields = b'{"max_results": 1}'
    headers = {"Content-Type": "application/json"}
    try:
        seen = context.api.raw("POST", "/api/2.0/mlflow/experiments/search", body=fields, headers=headers)
    except HttpError as error:
        raise faults.answered(context.target, error, "search") from None
    if seen.status == 200:
        what = "Clients can log runs here that no other server knows."
        why = "MLflow runs as a tracking server, with a database of its own making."
        raise Fault("tracks", "a search of experiments is answered", what=what, why=why, step="mlflow")
    return Finding(f"experiments: HTTP {seen.status}")


def upload(context: Context) -> Finding:
    """5 MB and a small file through MLflow, into a folder of this verification's own."""
    context.run_id = context.nonce
    context.artifact_uri = f"mlflow-artifacts:/{NAME}/{context.nonce}/artifacts"
    return artifacts.upload(context)


def listing(context: Context) -> str:
    """Both files with their sizes."""
    folder = f"{NAME}/{context.nonce}/artifacts/{artifacts.FOLDER}"
    got = context.api.call("GET", LIST, {"path": folder}, doing="list artifacts")
    if not got.ok:
        raise faults.refused(context.target, got.response, "list artifacts")
    sizes = {word(item, "path"): int(at(item, "file_size") or 0) for item in items(got.data, "files")}
    wanted = {artifacts.SMALL: len(context.run_id), artifacts.LARGE: len(context.payload)}
    if sizes != wanted:
        what = "What clients list is not what was stored."
        why = "The store's list differs from what was written."
        raise Fault("list", f"{len(sizes)} of 2 files are listed", what=what, why=why, step="bucket")
    return "2 files"


def keep(context: Context) -> str:
    """The small object that later runs read."""
    headers = {"Content-Type": "application/octet-stream"}
    try:
        seen = context.api.raw("PUT", f"{LIST}/{KEPT}", body=CONTENT, headers=headers)
    except HttpError as error:
        raise blamed(context, str(error), "upload") from None
    if seen.status != 200:
        raise faults.refused(context.target, seen, "upload")
    return ""


def tidy(context: Context) -> Finding:
    """Its own folder goes; what cannot be removed is a warning, the platform works."""
    try:
        gone = context.api.raw("DELETE", f"{LIST}/{NAME}/{context.nonce}", timeout=15)
    except HttpError as error:
        return Finding(f"the test's files stay: {error}", "warn")
    return Finding() if gone.status in (200, 404) else Finding(f"the test's files stay: HTTP {gone.status}", "warn")


def discard(context: Context) -> None:
    """After a failure, as far as the server still lets."""
    if context.artifact_uri:
        context.deadline = context.api.client.deadline = Deadline(5)
        tidy(context)


def quick(target: Target, deadline: Deadline) -> tuple[bool, float, str, bool]:
    """The short check: whether the object that stays comes back by the address that MLflow hands out; the
    milliseconds that a list takes; what was wrong; and whether MLflow gave no answer at all."""
    api = Api(target, deadline)
    unanswered, took = True, 0.0
    begun = time.monotonic()
    try:
        seen = api.call("GET", NOTHING, doing="list")
        took = (time.monotonic() - begun) * 1000
        unanswered = seen.response.status in (502, 503, 504)
        if not seen.ok:
            raise faults.refused(target, seen.response, "list")
        context = Context(target, api, deadline, payload=b"", nonce="", started=0)
        body, _ = artifacts.by_presigned_url(context, KEPT, len(CONTENT))
        if body != CONTENT:
            return False, took, "the kept object came back changed", unanswered
    except Fault as fault:
        return False, took, fault.detail.replace("\n", " "), unanswered
    except (HttpError, TimeoutError) as error:
        return False, took, str(error), unanswered
    finally:
        api.close()
    return True, took, "", unanswered


STEPS = (
    Step("reach", "name and port", "reach", reach),
    Step("login", "login", "reach", login, ("reach",)),
    Step("no-tracking", "no tracking", "reach", no_tracking, ("login",)),
    Step("server-info", "server-info", "reach", door.server_info, ("login",)),
    Step("artifact-upload", "upload", "upload", upload, ("login",)),
    Step("artifact-list", "list", "upload", listing, ("artifact-upload",)),
    artifacts.STEPS[-1],
)
KEEP = Step("kept", "kept object", "upload", keep, ("artifact-upload",))
TIDY = Step("tidy", "test files", "upload", tidy, ("artifact-upload",))
