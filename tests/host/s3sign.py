"""Requests to an S3 server, signed here (AWS Signature Version 4) as a test wants them: also wrongly."""

from __future__ import annotations

import hashlib
import hmac
import time
from dataclasses import dataclass
from urllib.parse import quote, urlencode

REGION = "us-east-1"


@dataclass(frozen=True)
class Keys:
    access: str
    secret: str


def signed(
    keys: Keys, method: str, host: str, path: str, *, query: str = "", headers: dict[str, str] | None = None
) -> dict[str, str]:
    """The headers of a signed request, `headers` (lower case) among the signed ones; the body is not signed."""
    now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    told = {"host": host, "x-amz-content-sha256": "UNSIGNED-PAYLOAD", "x-amz-date": now, **(headers or {})}
    names = sorted(told)
    lines = "".join(f"{name}:{told[name]}\n" for name in names)
    canonical = f"{method}\n{path}\n{query}\n{lines}\n{';'.join(names)}\n{told['x-amz-content-sha256']}"
    scope, signature = _sign(keys, now, canonical)
    credential = f"Credential={keys.access}/{scope}"
    told["authorization"] = f"AWS4-HMAC-SHA256 {credential}, SignedHeaders={';'.join(names)}, Signature={signature}"
    return told


def presigned(keys: Keys, method: str, host: str, path: str, query: dict[str, str] | None = None) -> str:
    """`path?query` that anybody may use for `method` during five minutes."""
    now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    told = {
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": f"{keys.access}/{now[:8]}/{REGION}/s3/aws4_request",
        "X-Amz-Date": now,
        "X-Amz-Expires": "300",
        "X-Amz-SignedHeaders": "host",
        **(query or {}),
    }
    canonical_query = urlencode(sorted(told.items()), quote_via=quote)
    canonical = f"{method}\n{path}\n{canonical_query}\nhost:{host}\n\nhost\nUNSIGNED-PAYLOAD"
    return f"{path}?{canonical_query}&X-Amz-Signature={_sign(keys, now, canonical)[1]}"


def _sign(keys: Keys, now: str, canonical: str) -> tuple[str, str]:
    scope = f"{now[:8]}/{REGION}/s3/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = b"AWS4" + keys.secret.encode()
    for part in (now[:8], REGION, "s3", "aws4_request", text):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return scope, key.hex()
