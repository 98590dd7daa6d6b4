"""Artifacts of a stack whose clients go to the store themselves: `s3://BUCKET/…`, with the clients' own key."""

from __future__ import annotations

import html
import re

from provisioner.verify import faults
from provisioner.verify.context import Context
from provisioner.verify.deadline import Deadline
from provisioner.verify.faults import Fault
from provisioner.verify.http import Client, HttpError, Response
from provisioner.verify.s3 import addressed, s3_code, sign
from provisioner.verify.target import DirectStore, Target, origin_of

_MANY = 20
"""Objects of an earlier test run that are removed: it has two."""


def key_of(uri: str, *names: str) -> tuple[str, str] | None:
    """(bucket, key) of a file below an `s3://` address; None for any other address."""
    scheme, colon, rest = uri.partition("://")
    bucket, _, folder = rest.partition("/")
    parts = [*folder.strip("/").split("/"), *names]
    if scheme != "s3" or not colon or not bucket or any(part in ("", ".", "..") for part in parts):
        return None
    return bucket, "/".join(parts)


def put(context: Context, place: tuple[str, str], body: bytes) -> None:
    """One object, as boto3 writes one of less than 8 MB."""
    response = _asked(context, "PUT", place, body=body)
    if response.status != 200:
        raise denied(context, response, "upload")


def get(context: Context, place: tuple[str, str], size: int) -> bytes:
    response = _asked(context, "GET", place, limit=size + 65536)
    if response.status != 200:
        raise denied(context, response, "download")
    return response.body


def remove(context: Context, place: tuple[str, str]) -> None:
    """Everything below a folder; it has been proven to be a test run's own."""
    bucket, folder = place
    query = {"list-type": "2", "max-keys": str(_MANY), "prefix": f"{folder}/"}
    listed = _asked(context, "GET", (bucket, ""), query=query)
    if listed.status != 200:
        raise denied(context, listed, "list of an older test run")
    for found in re.findall(rb"<Key>([^<]{1,2000})</Key>", listed.body)[:_MANY]:
        key = html.unescape(found.decode("utf-8", "replace"))
        if not key.startswith(f"{folder}/"):
            continue
        gone = _asked(context, "DELETE", (bucket, key))
        if gone.status not in (200, 204, 404):
            raise denied(context, gone, "remove an artifact")


def store_of(target: Target) -> DirectStore:
    assert target.direct is not None
    return target.direct


def _asked(
    context: Context,
    method: str,
    place: tuple[str, str],
    *,
    query: dict[str, str] | None = None,
    body: bytes | None = None,
    limit: int = 2**20,
) -> Response:
    timeout = 25 if body is None else 40
    return request(
        context.api.client,
        store_of(context.target),
        method,
        place,
        query=query,
        body=body,
        limit=limit,
        timeout=timeout,
    )


def request(
    client: Client,
    store: DirectStore,
    method: str,
    place: tuple[str, str],
    *,
    query: dict[str, str] | None = None,
    body: bytes | None = None,
    limit: int = 2**20,
    timeout: float = 25,
) -> Response:
    """One signed request. A Fault where the store gives no answer."""
    bucket, key = place
    path = f"/{bucket}/{key}" if key else f"/{bucket}"
    origin, path = addressed(origin_of(store.endpoint), path, bucket if store.virtual else "")
    target, headers = sign(store, method, origin.netloc, path, query or {}, body or b"")
    try:
        return client.request(method, origin, target, headers=headers, body=body, timeout=timeout, limit=limit)
    except HttpError as error:
        raise unreached(str(origin), error) from None


def unreached(where: str, error: HttpError) -> Fault:
    """Clients have no way to the store."""
    return Fault(
        "store-unreachable",
        f"{where}: {error}",
        what="Runs are logged; artifacts and models are neither stored nor loaded: clients do that themselves.",
        why=f"The store at {where} gives no usable answer to this machine.",
        step="",
        owner="let clients reach it under this very name",
    )


def denied(context: Context, response: Response, doing: str) -> Fault:
    """The store's answer to a client's key, and what it means."""
    code = s3_code(response.body)
    detail = f"{doing}: HTTP {response.status} {code or faults.clean(response.body, 80)}".rstrip()
    what = "Runs are logged; artifacts and models are neither stored nor loaded: clients do that themselves."
    reasons = {
        "InvalidAccessKeyId": ("The store does not know the clients' key.", "bucket"),
        "SignatureDoesNotMatch": (
            "The clients' secret is another one in the store, or a proxy changes what was signed.",
            "",
        ),
        "NoSuchBucket": ("The bucket is gone.", "bucket"),
        "AccessDenied": ("The policy of the clients' key does not allow it.", "bucket"),
    }
    why, step = reasons.get(code, (f"The store answers HTTP {response.status} {code}".rstrip() + ".", ""))
    return Fault("store-client", detail, what=what, why=why, step=step)


def small(client: Client, target: Target, deadline: Deadline, place: tuple[str, str], size: int) -> bytes:
    """The kept run's small object, for the short check."""
    response = request(client, store_of(target), "GET", place, limit=size + 65536, timeout=10)
    if response.status != 200:
        raise Fault(
            "store-client",
            f"kept object: HTTP {response.status} {s3_code(response.body)}".rstrip(),
            what="Artifacts and models are neither stored nor loaded.",
        )
    return response.body
