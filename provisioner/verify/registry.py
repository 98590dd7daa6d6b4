"""The model registry: one registered model, one version of it, one alias."""

from __future__ import annotations

from provisioner.verify import faults
from provisioner.verify.api import pairs, word
from provisioner.verify.artifacts import FOLDER
from provisioner.verify.context import MARK, Context, Finding, Step
from provisioner.verify.faults import Fault

ALIAS = "verified"
_ALREADY = "RESOURCE_ALREADY_EXISTS"


def registry(context: Context) -> Finding:
    """A version of the model `provision-verify` made from this run, read back."""
    api = context.api
    tags = [{"key": MARK, "value": "1"}]
    made = api.call("POST", "registered-models/create", {"name": context.name, "tags": tags}, doing="registered model")
    if made.code == _ALREADY:
        found = api.must("GET", "registered-models/get", {"name": context.name}, doing="registered model")
        if MARK not in pairs(found, "registered_model", "tags"):
            return Finding(f"a model {context.name} of somebody else's exists; left alone", "skip")
    elif not made.ok:
        raise faults.refused(context.target, made.response, "registered model")
    source = f"{context.artifact_uri}/{FOLDER}"
    fields = {"name": context.name, "source": source, "run_id": context.run_id, "tags": tags}
    version = api.must("POST", "model-versions/create", fields, doing="model version")
    number = word(version, "model_version", "version")
    if not number.isdecimal():
        raise _wrong("the new version has no number")
    context.model_version = number
    got = api.must("GET", "model-versions/get", {"name": context.name, "version": number}, doing="model version")
    if (word(got, "model_version", "run_id"), word(got, "model_version", "source")) != (
        context.run_id,
        source,
    ):
        raise _wrong("the version is not the one that was made")
    return Finding(f"version {number} of {context.name}")


def alias(context: Context) -> Finding:
    """`models:/provision-verify@verified` leads to the version and to its files."""
    api = context.api
    fields = {"name": context.name, "alias": ALIAS, "version": context.model_version}
    made = api.call("POST", "registered-models/alias", fields, doing="alias")
    if made.response.status == 404 and made.code in ("", "ENDPOINT_NOT_FOUND"):
        return Finding("this server is older than aliases", "skip")
    if not made.ok:
        raise faults.refused(context.target, made.response, "alias")
    got = api.must("GET", "registered-models/alias", {"name": context.name, "alias": ALIAS}, doing="alias")
    if word(got, "model_version", "version") != context.model_version:
        raise _wrong("the alias leads to another version")
    fields = {"name": context.name, "version": context.model_version}
    place = api.must("GET", "model-versions/get-download-uri", fields, doing="model's address")
    if word(place, "artifact_uri") != f"{context.artifact_uri}/{FOLDER}":
        raise _wrong("the model's address is not its run's")
    return Finding(f"@{ALIAS}")


def _wrong(detail: str) -> Fault:
    what = "Registered models cannot be relied on."
    return Fault(
        "registry",
        detail,
        what=what,
        why="The registry does not give back what was put in.",
        step="mlflow",
        owner="look at the server's log and its registry database",
    )


STEPS = (
    Step("registry", "registered model", "registry", registry, ("artifact-download",)),
    Step("alias", "alias", "registry", alias, ("registry",)),
)
