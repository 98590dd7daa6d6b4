"""Signed requests to one S3 bucket (AWS Signature Version 4), and what an answer that is not success means.

Runs on the host (standard library only), in front of `s3_bucket` or `store_whole` as one program on stdin.
"""

from __future__ import annotations

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
