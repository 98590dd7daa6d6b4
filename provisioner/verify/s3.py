"""Plain S3 requests as one user, signed here (AWS Signature Version 4).

The check needs a few requests, over a socket it is given, inside a deadline; minio-py takes
neither. Source: AWS General Reference, "Create a signed AWS API request".
"""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from dataclasses import replace
from urllib.parse import quote, urlencode

from provisioner.secrets import Secret
from provisioner.values import dataclass
from provisioner.verify.deadline import Deadline
from provisioner.verify.http import Client, Response
from provisioner.verify.target import Connect, DirectStore, Origin, origin_of


@dataclass(frozen=True)
class StoreAccess:
    """The object store as MLflow's own user sees it. `connect` carries the connections (an SSH
    forward to the server's loopback); `endpoint` is the store's URL as seen from where they end."""

    endpoint: str
    bucket: str
    access_key: str
    secret_key: Secret
    region: str = "us-east-1"
    connect: Connect | None = None
    ca: str | None = None
    """PEM of the only roots that are trusted; None: the system's."""
    virtual: bool = False
    """The bucket is in the host's name."""
    prefix: str = ""
    """The path inside the bucket below which MLflow writes."""
    clients: DirectStore | None = None
    """The key of clients that go to the store themselves, as seen over the same way."""
    own: bool = True
    """The stack's; False: somebody else's."""
    step: str = ""
    """The step that runs the store (`minio`, `seaweedfs`); empty: all steps."""


def s3_request(
    access: StoreAccess, method: str, path: str, deadline: Deadline, query: dict[str, str] | None = None
) -> Response:
    """One signed request without a body; `path` begins with a slash. Raises `HttpError`."""
    origin, path = addressed(origin_of(access.endpoint), path, access.bucket if access.virtual else "")
    client = Client(deadline, origin, access.connect, ca=access.ca)
    where, headers = sign(access, method, origin.netloc, path, query or {})
    try:
        return client.request(method, origin, where, headers=headers, body=b"" if method == "PUT" else None, timeout=5)
    finally:
        client.close()


def addressed(origin: Origin, path: str, bucket: str) -> tuple[Origin, str]:
    """Where a path that begins with the bucket is asked for; with `bucket`, this goes into the host's name."""
    if not bucket or path.split("/")[1:2] != [bucket]:
        return origin, path
    return replace(origin, host=f"{bucket}.{origin.host}"), path[len(bucket) + 1 :] or "/"


def sign(
    access: StoreAccess | DirectStore, method: str, netloc: str, path: str, query: dict[str, str], body: bytes = b""
) -> tuple[str, dict[str, str]]:
    """The request's target and its signed headers, without Host, which must be `netloc`."""
    canonical_query = urlencode(sorted(query.items()), quote_via=quote)
    path = quote(path, safe="/-_.~")
    now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    digest = hashlib.sha256(body).hexdigest()
    headers = {"host": netloc, "x-amz-content-sha256": digest, "x-amz-date": now}
    signed = ";".join(headers)
    lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
    request = f"{method}\n{path}\n{canonical_query}\n{lines}\n{signed}\n{digest}"
    scope = f"{now[:8]}/{access.region}/s3/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    key = b"AWS4" + access.secret_key.reveal().encode()
    for part in (now[:8], access.region, "s3", "aws4_request", text):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    headers["Authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={access.access_key}/{scope}, SignedHeaders={signed}, Signature={key.hex()}"
    )
    del headers["host"]
    return (f"{path}?{canonical_query}" if canonical_query else path), headers


def s3_code(body: bytes) -> str:
    """The error code in an S3 answer (`NoSuchKey`, `AccessDenied`); empty when there is none."""
    found = re.search(rb"<Code>([A-Za-z0-9]{1,64})</Code>", body[:8192])
    return found.group(1).decode() if found else ""


def bucket_names(body: bytes) -> list[str]:
    """The names in an answer of ListBuckets, at most 1000."""
    names = re.findall(rb"<Name>([a-z0-9.-]{3,63})</Name>", body)
    return [name.decode() for name in names[:1000]]
