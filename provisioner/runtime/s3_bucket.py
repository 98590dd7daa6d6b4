"""An S3 bucket as this host sees it with a key: `python3 -I - look|create|prove`.

Runs on the host (standard library only). What is asked comes in the variable PROVISION_S3, as JSON: endpoint, region,
bucket, virtual (the bucket in the host's name), access, secret, ca (PEM, may be empty). `look` changes nothing,
`create` makes the bucket and proves it, `prove` writes, reads and removes one object below `folder`. stdout: one line,
`ok`, or one word for what is in the way with the server's own words behind it.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import ssl
import sys
import time

from provisioner.runtime.s3_request import SECONDS, Bucket

FIRST = 20.0
"""Seconds in which a new bucket takes its first object (SeaweedFS makes the volumes for it then)."""


def look(bucket: Bucket) -> str:
    """Whether the bucket is there for this key; a key may be allowed to read and write, and not to list."""
    status, headers, body = bucket.request("GET", "", {"list-type": "2", "max-keys": "1"})
    if status == 200 and b"ListBucketResult" in body:
        return "ok"
    return bucket.tell(status, headers, body)


def create(bucket: Bucket) -> str:
    """Makes it, and proves it: a store may be told of a new bucket and not take an object yet."""
    region = bucket.asked["region"]
    text = ""
    if region != "us-east-1":
        place = f"<LocationConstraint>{region}</LocationConstraint>"
        text = f"<CreateBucketConfiguration>{place}</CreateBucketConfiguration>"
    status, headers, body = bucket.request("PUT", "", None, text.encode())
    if status != 200 and b"BucketAlreadyOwnedByYou" not in body:
        return bucket.tell(status, headers, body)
    end = time.monotonic() + FIRST
    while (said := prove(bucket)) != "ok" and time.monotonic() < end:
        time.sleep(0.5)
    return said


def prove(bucket: Bucket) -> str:
    """What MLflow does with an object; nothing of it stays."""
    folder = bucket.asked["folder"]
    key = (f"{folder}/" if folder else "") + f".provision-check/{os.urandom(8).hex()}"
    data = os.urandom(1000)
    status, headers, body = bucket.request("PUT", key, None, data)
    if status != 200:
        return "put " + bucket.tell(status, headers, body)
    status, headers, body = bucket.request("GET", key)
    if status != 200:
        return "get " + bucket.tell(status, headers, body)
    if body != data:
        return "get damaged"
    status, headers, body = bucket.request("DELETE", key)
    return "ok" if status in (200, 204) else "delete " + bucket.tell(status, headers, body)


def main(arguments: list[str]) -> int:
    """Prints the line; always 0."""
    works = {"look": look, "create": create, "prove": prove}
    try:
        line = works[arguments[0]](Bucket(json.loads(os.environ["PROVISION_S3"])))
    except ssl.SSLCertVerificationError as error:
        line = f"certificate {error.verify_message}"
    except ssl.SSLError as error:
        line = f"tls {error.reason or error}"
    except socket.gaierror:
        line = "name does not resolve"
    except TimeoutError:
        line = f"silent no answer within {SECONDS:.0f} s"
    except http.client.HTTPException:
        line = "foreign no HTTP"
    except OSError as error:
        line = f"port {error.strerror or error}"
    print(re.sub(r"\s+", " ", line)[:300])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
