"""What answers where MLflow was expected, and where MLflow is instead."""

from __future__ import annotations

import re

from provisioner.verify.api import Api
from provisioner.verify.faults import Fault, clean, login_page, not_mlflow
from provisioner.verify.http import HttpError, Response
from provisioner.verify.target import Target

_USUAL = ("", "/mlflow")
"""Paths under which MLflow is looked for besides those above the given one."""
_MOST = 5
"""Paths that are tried at most: a hint is worth a moment, not a search."""


def fault(api: Api, target: Target, response: Response, doing: str) -> Fault:
    """Why `response` to an API request is not MLflow's, with where MLflow answers when that is near."""
    if login_page(response.body):
        return not_mlflow(target, doing, response, "a login page for browsers")
    found = _look(api, target)
    where = f"{target.origin}{found}"
    if found is None:
        return not_mlflow(target, doing, response, _kind(response) or _title(api))
    return not_mlflow(target, doing, response, "", elsewhere=where)


def _look(api: Api, target: Target) -> str | None:
    """The path at the same origin under which MLflow's API answers, None when it is not found."""
    parts = [part for part in target.prefix.split("/") if part]
    above = ["".join(f"/{part}" for part in parts[:length]) for length in range(len(parts) - 1, -1, -1)]
    tried = [path for path in dict.fromkeys([*above, *_USUAL]) if path != target.prefix]
    for path in tried[:_MOST]:
        if _is_mlflow(api, target, path):
            return path
    return None


def _is_mlflow(api: Api, target: Target, path: str) -> bool:
    """MLflow's server-info is open even with accounts (3.17); /version is what older servers have."""
    try:
        info = _get(api, target, f"{path}/api/3.0/mlflow/server-info")
        if info.status == 200 and b"store_type" in info.body:
            return True
        version = _get(api, target, f"{path}/version")
        return version.status == 200 and re.fullmatch(rb"\s*\d+\.\d+\.\d+[0-9a-z.+]*\s*", version.body) is not None
    except HttpError:
        return False


def _get(api: Api, target: Target, path: str) -> Response:
    # The login is for this server, whatever the path: it goes along.
    sent = {"User-Agent": "provision-verify"}
    login = target.authorization()
    if login is not None:
        sent["Authorization"] = login
    return api.client.request("GET", target.origin, path, headers=sent, timeout=5, limit=262144)


def _kind(response: Response) -> str:
    """What a body tells of who wrote it; empty when it tells nothing."""
    if b"<Error>" in response.body[:2000] and b"<Code>" in response.body[:2000]:
        return "an object store (S3)"
    title = re.search(rb"<title[^>]{0,200}>(.{1,200}?)</title>", response.body[:65536], re.S | re.I)
    # "404 Not Found" names nobody; the page at the root may.
    if title and not re.match(rb"\s*\d{3}\b", title[1]):
        return f'a page with the title "{clean(title[1], 60)}"'
    return ""


def _title(api: Api) -> str:
    """What stands at the URL itself, when its answer to the API request says nothing."""
    try:
        page = api.raw("GET", "/", timeout=5, limit=262144)
    except HttpError:
        return ""
    server = clean(page.headers.get("server", ""), 40)
    # MLflow's own server under another path answers like this to everything else.
    named = f"a {server} server" if server else ""
    return _kind(page) or named
