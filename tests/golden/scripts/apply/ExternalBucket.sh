# create bucket:theirs: absent
made=$(PROVISION_S3='{"endpoint": "https://s3.example.com:9000", "region": "eu-1", "bucket": "theirs", "virtual": "", "access": "fakeuserkey", "secret": "fake-user-secret", "folder": "team", "ca": ""}' /usr/bin/python3.11 -I - create <<'end-of-s3_bucket'
from __future__ import annotations
"""Signed requests to one S3 bucket (AWS Signature Version 4), and what an answer that is not success means.

Runs on the host (standard library only), in front of `s3_bucket` or `store_whole` as one program on stdin.
"""


import hashlib
import hmac
import http.client
import re
import ssl
import time
from urllib.parse import quote, urlencode, urlsplit

SECONDS = 10.0
ROOM = 65536
CODES = {
    "NoSuchBucket": "missing",
    "InvalidAccessKeyId": "key",
    "InvalidClientTokenId": "key",
    "SignatureDoesNotMatch": "secret",
    "RequestTimeTooSkewed": "clock",
    "AuthorizationHeaderMalformed": "region",
    "PermanentRedirect": "region",
    "TemporaryRedirect": "region",
    "IllegalLocationConstraintException": "region",
    "AccessDenied": "denied",
    "AllAccessDisabled": "denied",
}


class Bucket:
    """One bucket behind one endpoint."""

    def __init__(self, asked: dict[str, str]):
        self.asked = asked
        self.parts = urlsplit(asked["endpoint"])
        self.host = self.parts.hostname or ""
        if asked["virtual"]:
            self.host = f"{asked['bucket']}.{self.host}"

    def request(
        self, method: str, key: str = "", query: dict[str, str] | None = None, body: bytes = b""
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers (lower case) and the first 64 KiB of one signed request (AWS Signature Version 4)."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        authority = f"{host}:{self.parts.port}" if self.parts.port else host
        parts = ("" if self.asked["virtual"] else self.asked["bucket"], key)
        path = "/" + quote("/".join(each for each in parts if each))
        canonical = urlencode(sorted((query or {}).items()), quote_via=quote)
        now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        digest = hashlib.sha256(body).hexdigest()
        headers = {"host": authority, "x-amz-content-sha256": digest, "x-amz-date": now}
        names = ";".join(headers)
        lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
        text = f"{method}\n{path}\n{canonical}\n{lines}\n{names}\n{digest}"
        scope = f"{now[:8]}/{self.asked['region']}/s3/aws4_request"
        to_sign = f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{hashlib.sha256(text.encode()).hexdigest()}"
        signature = b"AWS4" + self.asked["secret"].encode()
        for part in (now[:8], self.asked["region"], "s3", "aws4_request", to_sign):
            signature = hmac.new(signature, part.encode(), hashlib.sha256).digest()
        headers["Authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={self.asked['access']}/{scope}, SignedHeaders={names}, "
            f"Signature={signature.hex()}"
        )
        connection = self._connection()
        try:
            connection.request(method, f"{path}?{canonical}" if canonical else path, body or None, headers)
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read(ROOM)
        finally:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        if self.parts.scheme == "http":
            return http.client.HTTPConnection(self.host, self.parts.port or 80, timeout=SECONDS)
        trusted = ssl.create_default_context(cadata=self.asked["ca"] or None)
        return http.client.HTTPSConnection(self.host, self.parts.port or 443, timeout=SECONDS, context=trusted)

    def tell(self, status: int, headers: dict[str, str], body: bytes) -> str:
        """The line for an answer that is not success."""
        found = re.search(rb"<Code>([A-Za-z0-9]{1,64})</Code>", body)
        code = found[1].decode() if found else ""
        place = headers.get("x-amz-bucket-region", "")
        named = re.search(rb"<Region>([a-z0-9-]{1,40})</Region>", body)
        region = place or (named[1].decode() if named else "")
        if region and region != self.asked["region"] and status in (301, 307, 400):
            return f"region {region}"
        if code in CODES:
            return f"{CODES[code]} {code}"
        if not found and b"<ListBucketResult" not in body and not headers.get("x-amz-request-id"):
            return f"foreign HTTP {status}"
        return f"answer HTTP {status} {code}".rstrip()

"""An S3 bucket as this host sees it with a key: `python3 -I - look|create|prove`.

Runs on the host (standard library only). What is asked comes in the variable PROVISION_S3, as JSON: endpoint, region,
bucket, virtual (the bucket in the host's name), access, secret, ca (PEM, may be empty). `look` changes nothing,
`create` makes the bucket and proves it, `prove` writes, reads and removes one object below `folder`. stdout: one line,
`ok`, or one word for what is in the way with the server's own words behind it.
"""


import http.client
import json
import os
import re
import socket
import ssl
import sys
import time


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

end-of-s3_bucket
)
[ "$made" = ok ] || { echo "it was not there, and could not be made and used: $made" >&2; exit 1; }
