"""The store on a port of its own: it answers who has the clients' key, and neither strangers nor the curious."""

from __future__ import annotations

from provisioner.verify import direct
from provisioner.verify.artifacts import SMALL
from provisioner.verify.behind import key
from provisioner.verify.context import Context, Finding, Step
from provisioner.verify.deadline import Deadline
from provisioner.verify.faults import Fault
from provisioner.verify.http import Client, HttpError, Response
from provisioner.verify.target import Target, origin_of

_WHAT = "Whoever goes to the store with a key of the bucket does not get there; MLflow itself is not touched by that."
_CLOSED = ("/minio/health/live", "/minio/admin/v3/info", "/")
"""What the store itself would answer, and this port does not."""


def object_read(context: Context) -> Finding:
    """The uploaded file by S3 with the clients' key; without one it is refused, and so is the rest of the store."""
    store, access = context.target.exposed, context.store
    assert store is not None
    assert access is not None
    place = (access.bucket, key(context, access, SMALL))
    try:
        response = direct.request(context.api.client, store, "GET", place, limit=65536)
    except Fault as fault:
        raise _unreached(fault.detail) from None
    if response.status != 200:
        refused = direct.denied(context, response, f"read at {store.endpoint}")
        raise Fault(refused.id, refused.detail, what=_WHAT, why=refused.why, step=refused.step)
    if response.body != context.run_id.encode():
        why = "The port does not lead to this stack's store."
        raise Fault("store-port", f"{store.endpoint} has another object", what=_WHAT, why=why, step="proxy")
    for path in ("/" + "/".join(place), *_CLOSED):
        seen = _asked(context.api.client, store.endpoint, path)
        if seen.status < 400:
            raise Fault(
                "store-open",
                f"GET {path} without a key: HTTP {seen.status}",
                what="Everybody who reaches the store's port gets what only holders of a key, or nobody, shall get.",
                why="The bucket was opened in the store itself, or nginx's configuration is not this tool's.",
                step="proxy",
            )
    return Finding(f"{store.endpoint}, with the clients' key only")


def answers(target: Target, bucket: str) -> str:
    """What is wrong with the store's port as it is seen from here; empty when it answers and asks for a key. An object
    is asked for: nginx answers for what is not in the bucket, whether the store is there or not."""
    assert target.exposed is not None
    origin = origin_of(target.exposed.endpoint)
    client = Client(Deadline(5), origin, target.connect, target.ca_file, target.ca, target.insecure)
    try:
        status = _asked(client, target.exposed.endpoint, f"/{bucket}/.provision-health").status
    except Fault as fault:
        return fault.detail
    finally:
        client.close()
    return "" if status == 403 else f"HTTP {status}"


def _asked(client: Client, endpoint: str, path: str) -> Response:
    try:
        return client.request("GET", origin_of(endpoint), path, limit=2**20)
    except HttpError as error:
        raise _unreached(f"{endpoint}: {error}") from None


def _unreached(detail: str) -> Fault:
    why = "nginx does not listen there, or a firewall on the way lets only the URL's own port through."
    return Fault("store-port", detail, what=_WHAT, why=why, step="proxy")


STEP = Step("store-port", "store's own port", "store", object_read, ("artifact-upload",))
