"""How the drives of a store over several hosts are: for a reader, never for a decision."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from provisioner.engine.quoting import printable
from provisioner.resources.s3 import Store, Unanswered
from provisioner.transport.base import Session

_PATIENCE = 40.0
"""Seconds: a server that was asked waits 10 and more for another one that has gone without a word."""
_UNKNOWN = "not known: the store does not tell"


def ailing(store: Store, session: Session, urls: Iterable[str]) -> dict[str, str]:
    """Of `urls`, as MINIO_VOLUMES names them, those that are not well: `OFFLINE`, `healing` …"""
    try:
        answer = store.request(session, "GET", "/minio/admin/v3/info", timeout=_PATIENCE)
        found = states(json.loads(answer.body)) if answer.status == 200 else None
    except (Unanswered, ValueError):
        found = None
    if found is None:
        return dict.fromkeys(urls, _UNKNOWN)
    return {url: found.get(url, "OFFLINE") for url in urls if found.get(url) != ""}


def states(document: Any) -> Mapping[str, str]:
    """Drive -> what ails it, empty for nothing, from an answer of MinIO's admin API (`mc admin info`). A server that
    is away is in it without its drives."""
    found: dict[str, str] = {}
    servers = document.get("servers") if isinstance(document, dict) else None
    for server in servers if isinstance(servers, list) else ():
        drives = server.get("drives") if isinstance(server, dict) else None
        for drive in drives if isinstance(drives, list) else ():
            if not isinstance(drive, dict) or not isinstance(drive.get("endpoint"), str):
                continue
            state = drive.get("state")
            ails = "" if state == "ok" else printable(str(state))[:40]
            found[drive["endpoint"]] = "healing" if drive.get("healing") is True else ails.replace("offline", "OFFLINE")
    return found
