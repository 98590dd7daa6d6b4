"""How many objects a bucket holds: for a reader, never for a decision."""

from __future__ import annotations

import html
import re
import time

from provisioner.resources.s3 import Store, Unanswered
from provisioner.transport.base import Session
from provisioner.values import dataclass

MOST = 10_000
"""Objects are counted up to here: ten answers of the store."""
SECONDS = 10.0
"""And for no longer than that."""


@dataclass(frozen=True)
class Count:
    """Objects of a bucket and their bytes; `more`: there are further ones."""

    objects: int
    size: int
    more: bool = False


def count(store: Store, session: Session, bucket: str) -> Count | None:
    """Counted by listing (ListObjectsV2), as the administrator; None where the store does not list it."""
    end = time.monotonic() + SECONDS
    found = Count(0, 0)
    token = ""
    while True:
        query = {"list-type": "2", "max-keys": "1000"} | ({"continuation-token": token} if token else {})
        try:
            answer = store.request(session, "GET", f"/{bucket}", query)
        except Unanswered:
            return None
        if answer.status != 200:
            return None
        # A key cannot look like this: its `<` is escaped.
        sizes = [int(size) for size in re.findall(rb"<Size>(\d{1,18})</Size>", answer.body)]
        found = Count(found.objects + len(sizes), found.size + sum(sizes))
        if b"<IsTruncated>true</IsTruncated>" not in answer.body:
            return found
        given = re.search(rb"<NextContinuationToken>([^<]{1,4096})</NextContinuationToken>", answer.body)
        token = html.unescape(given[1].decode("utf-8", "replace")) if given else ""
        if not token or found.objects >= MOST or time.monotonic() > end:
            return Count(found.objects, found.size, more=True)
