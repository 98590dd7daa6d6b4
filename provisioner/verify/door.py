"""The way in: is it reached, does it let clients and browsers in, and nobody else."""

from __future__ import annotations

import os
import re
import ssl

from provisioner.verify import faults
from provisioner.verify.api import json_object
from provisioner.verify.context import Context, Finding, Step
from provisioner.verify.faults import Fault
from provisioner.verify.http import Client, HttpError
from provisioner.verify.target import Target

_SEARCH = "experiments/search"
_PAGE = "/ajax-api/2.0/mlflow/experiments/search"
"""The path that MLflow's own pages use; same handler, but a proxy may treat it apart."""


def reach(context: Context) -> Finding:
    """Name, port, TLS and one HTTP answer, whatever it is, to a request without a login."""
    target = context.target
    headers = {"Content-Type": "application/json"}
    try:
        context.anonymous = context.api.raw(
            "POST", f"/api/2.0/mlflow/{_SEARCH}", body=b'{"max_results": 1}', headers=headers, login=False
        )
    except HttpError as error:
        if error.kind == "tls" and _system_trusts(context):
            raise _unread(target, error) from None
        raise faults.unreachable(target, error) from None
    status = context.anonymous.status
    if status in (502, 504) or (status == 503 and b"error_code" not in context.anonymous.body):
        raise faults.refused(target, context.anonymous, "first request")
    if 300 <= status < 400 and not target.has_login:
        raise faults.redirected(target, context.anonymous, "first request")
    if context.anonymous.body[:300].find(b"plain HTTP request was sent") >= 0:
        raise faults.refused(target, context.anonymous, "first request")
    if proxy := _proxy(target):
        return Finding(
            f"{target.origin}; not proven for clients here, they go through {proxy}",
            "warn",
            f"export NO_PROXY={target.origin.host}",
        )
    return Finding(f"{target.origin}" + (" through the SSH connection" if target.connect else ""))


def _system_trusts(context: Context) -> bool:
    """The server's CA is in this system's store, which Python's requests, and so MLflow, does not read."""
    target = context.target
    if target.ca_file is None or target.ca_file != target.bundle:
        return False
    client = Client(context.deadline, target.origin, target.connect, client_cert=target.client_cert)
    try:
        client.request("GET", target.origin, f"{target.prefix}/version", limit=65536)
    except HttpError:
        return False
    finally:
        client.close()
    return True


def _unread(target: Target, error: HttpError) -> Fault:
    store = ssl.get_default_verify_paths().cafile
    return Fault(
        "tls-ca",
        str(error),
        what="Python clients refuse to talk to this server; browsers and curl on this machine do not.",
        why="Its CA is in this system's store. Python's requests reads a list of its own, and so does MLflow.",
        owner=f"set REQUESTS_CA_BUNDLE={store}" if store else "set REQUESTS_CA_BUNDLE to the system's list of CAs",
    )


def _proxy(target: Target) -> str:
    """The variable by which MLflow's client on this machine would go through an HTTP proxy."""
    if target.connect is not None or not any(name.lower().endswith("_proxy") for name in os.environ):
        return ""
    from urllib.request import getproxies, proxy_bypass

    proxies = getproxies()
    name = next((name for name in (target.origin.scheme, "all") if name in proxies), "")
    if not name or proxy_bypass(target.origin.netloc):
        return ""
    return f"{name.upper()}_PROXY"


def host_header(context: Context) -> str:
    """MLflow 3.5+ answers 403 to a Host header it was not told about; /health and /version are exempt."""
    assert context.anonymous is not None
    if context.target.has_login:
        try:
            context.answer = context.api.call("POST", _SEARCH, {"max_results": 1}, doing="search with the login")
        except Fault as fault:
            if fault.id not in ("not-mlflow", "redirect"):
                raise
            # Nothing was refused for its Host header; what it is instead is the search's to tell.
            return context.target.origin.netloc
        response = context.answer.response
    else:
        response = context.anonymous
    for seen in (context.anonymous, response):
        if seen.status == 403 and b"Invalid Host header" in seen.body:
            raise faults.refused(context.target, seen, "search")
    return context.target.origin.netloc


def login(context: Context) -> str:
    """The given login opens, none does not; or the server wants none and none is given."""
    assert context.anonymous is not None
    target, anonymous = context.target, context.anonymous
    if context.answer is not None and context.answer.response.status == 401:
        raise faults.refused(target, context.answer.response, "search with the login")
    if context.answer is not None and 300 <= context.answer.response.status < 400:
        raise faults.redirected(target, context.answer.response, "search with the login")
    if not target.has_login:
        if anonymous.status == 401:
            raise faults.refused(target, anonymous, "search without a login")
        return "none wanted"
    if anonymous.status == 200 and json_object(anonymous.body) is not None:
        raise faults.open_door(target)
    return f"{target.username or 'token'}; without it {anonymous.status}"


def tracking_api(context: Context) -> str:
    """MLflow's API answers a search from its database (facts: /health is 200 without a database)."""
    try:
        answer = context.answer or context.api.call("POST", _SEARCH, {"max_results": 1}, doing="search")
        if not answer.ok:
            raise faults.refused(context.target, answer.response, "search")
    except Fault as fault:
        if fault.id != "not-mlflow" or fault.response is None:
            raise
        from provisioner.verify import strangers

        raise strangers.fault(context.api, context.target, fault.response, "search") from None
    return ""


def browser(context: Context) -> Finding:
    """What a browser does on MLflow's page: a POST with the page's own Origin."""
    origin = str(context.target.origin)
    answer = context.api.call(
        "POST", _PAGE, {"max_results": 1}, doing=f"POST with Origin {origin}", headers={"Origin": origin}
    )
    if answer.ok:
        return Finding(f"POST with Origin {origin}")
    fault = faults.refused(context.target, answer.response, f"POST with Origin {origin}")
    if fault.id != "cors" or context.target.repair is not None:
        raise fault
    # A bare `mlflow server` does this to everyone but its own machine. Clients work; what browsers lose is told.
    return Finding(
        f"the page opens in a browser, its lists stay empty: POST with Origin {origin} is refused", "warn", fault.owner
    )


def foreign_origin(context: Context) -> Finding:
    """A page of another site must not be able to send requests with this browser's login."""
    headers = {"Origin": "http://foreign.invalid"}
    answer = context.api.call("POST", _PAGE, {"max_results": 1}, doing="POST from elsewhere", headers=headers)
    if answer.response.status == 403:
        return Finding("refused")
    if not answer.ok:
        return Finding(f"HTTP {answer.response.status}", "warn")
    return Finding(
        "web pages of other sites can send requests to this server from a colleague's browser",
        "warn",
        "name the origins in MLFLOW_SERVER_CORS_ALLOWED_ORIGINS, not * (MLflow 3.5 and newer)",
    )


def server_info(context: Context) -> str:
    """Which road clients take for artifacts: MLflow's clients ask exactly this (3.17; older servers: 404)."""
    try:
        body = context.api.raw("GET", "/version", limit=65536).body
    except HttpError as error:
        raise faults.answered(context.target, error, "version") from None
    text = body[:40].decode("ascii", "replace").strip()
    context.version = text if re.fullmatch(r"\d+\.\d+[0-9a-z.+]*", text) else ""
    name = f"MLflow {context.version}" if context.version else "version unknown"
    answer = context.api.call("GET", "/api/3.0/mlflow/server-info", doing="server-info")
    if answer.response.status == 404:
        return f"{name}, without server-info: plain downloads"
    if not answer.ok:
        raise faults.refused(context.target, answer.response, "server-info")
    context.presigned = answer.data.get("multipart_downloads_enabled") is True
    return f"{name}, downloads {'by presigned URL' if context.presigned else 'through MLflow'}"


STEPS = (
    Step("reach", "name and port", "reach", reach),
    Step("host-header", "Host header", "reach", host_header, ("reach",)),
    Step("login", "login", "reach", login, ("host-header",)),
    Step("tracking-api", "search", "reach", tracking_api, ("login",)),
    Step("browser", "browser's POST", "browser", browser, ("tracking-api",)),
    Step("foreign-origin", "foreign page", "browser", foreign_origin, ("browser",)),
    Step("server-info", "server-info", "tracking", server_info, ("tracking-api",)),
)
