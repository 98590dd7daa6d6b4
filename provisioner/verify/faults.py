"""What can be wrong with a tracking server: what users lose, why, and what helps."""

from __future__ import annotations

import json
import re
from urllib.parse import urljoin, urlsplit

from provisioner.secrets import masked
from provisioner.verify.http import HttpError, Response
from provisioner.verify.target import Origin, Target


class Fault(Exception):
    """A check that failed. `id` names the kind of fault (stable, in JSON), `detail` what was seen,
    `what` what users lose, `why` the cause as far as it shows from outside; `step` is the step of
    `provision` that repairs it (empty: all steps; None: none does), `owner` the advice to whoever
    runs a server that is not ours, or to whom no step helps; `response` the answer that is not MLflow's."""

    def __init__(
        self,
        id: str,
        detail: str,
        *,
        what: str,
        why: str = "",
        step: str | None = None,
        owner: str = "",
        response: Response | None = None,
    ):
        super().__init__(detail)
        self.id = id
        self.detail = detail
        self.what = what
        self.why = why
        self.step = step
        self.owner = owner
        self.response = response

    def next(self, target: Target) -> str:
        """The next command, or the advice where no command of ours applies."""
        if target.repair is None or self.step is None:
            return self.owner
        return " ".join(part for part in ("provision", self.step, target.repair) if part)


def clean(text: str | bytes, limit: int = 160) -> str:
    """Foreign text for a terminal: one printable line of at most `limit` characters, no secrets."""
    if isinstance(text, bytes):
        text = text[: 8 * limit].decode("utf-8", "replace")
    line = " ".join("".join(c if c.isprintable() else " " for c in masked(text)).split())
    return line if len(line) <= limit else line[: limit - 3] + "..."


def quoted(body: bytes, limit: int = 110) -> str:
    """The server's own words in a line: MLflow's error code and message, or a page without its tags."""
    try:
        data = json.loads(body[:65536])
        text = f"{data.get('error_code', '')} {data.get('message', '')}" if isinstance(data, dict) else ""
    except (ValueError, RecursionError):
        page = body[:4096].decode("utf-8", "replace")
        text = re.sub(r"<style.*?</style>|<[^>]{0,200}>", " ", page, flags=re.S | re.I)
    return clean(text, limit)


def unreachable(target: Target, error: HttpError) -> Fault:
    """Nothing at the URL's host and port speaks HTTP with this machine."""
    origin = target.origin
    what = "Nobody reaches MLflow from here."
    if error.kind == "resolve":
        why = f"The name {origin.host} does not resolve on this machine."
        return Fault("name", str(error), what=what, why=why, owner="add the name to DNS or to /etc/hosts here")
    if error.kind == "refused":
        why = f"Nothing listens on port {origin.port} of {origin.host}, or a firewall rejects it."
        return Fault("port", str(error), what=what, why=why, step="proxy", owner="start the server")
    if error.kind == "tls":
        return _tls(target, str(error))
    if error.kind in ("garbage", "closed"):
        why = f"What listens on port {origin.port} does not answer {origin.scheme} requests."
        if origin.scheme == "http":
            why += " It may speak https."
        return Fault("not-http", str(error), what=what, why=why, step="proxy", owner="check scheme and port of the URL")
    if error.kind == "silent":
        why = f"No packet comes back from {origin.host} port {origin.port}: a firewall drops them, or the host is down."
        return Fault("silent", str(error), what=what, why=why, step="proxy", owner="open the port in the firewall")
    if error.kind == "timeout":
        why = "The server takes connections and answers none: MLflow hangs, or waits for its database."
        return Fault("hangs", str(error), what=what, why=why, step="mlflow", owner="restart the server")
    return Fault("unreachable", clean(str(error)), what=what, why=f"No way to {origin.host} from this machine.")


def _tls(target: Target, text: str) -> Fault:
    what = "Clients refuse to talk to this server."
    lower = text.lower()
    if "mismatch" in lower or "not valid for" in lower:
        why = f"The certificate does not name {target.origin.host}."
        return Fault("tls-name", text, what=what, why=why, step="proxy", owner="use a name of the certificate")
    if "expired" in lower or "not yet valid" in lower:
        why = "The certificate's time is over or has not begun; or this machine's clock is wrong."
        return Fault("tls-expired", text, what=what, why=why, step="proxy", owner="renew the certificate")
    if text.startswith("the CA file"):
        owner = "correct MLFLOW_TRACKING_SERVER_CERT_PATH"
        return Fault("tls-ca-file", text, what=what, why=f"T{text[1:]}.", owner=owner)
    if text.startswith("the client's certificate"):
        owner = "correct MLFLOW_TRACKING_CLIENT_CERT_PATH: one PEM file with the certificate and its key"
        return Fault("tls-client-cert", text, what=what, why=f"T{text[1:]}.", owner=owner)
    if "certificate" in lower:
        own = target.ca_file and target.ca_file != target.bundle
        known = f"The CA in {clean(target.ca_file or '', 80)} is not the one" if own else "This machine knows no CA"
        why = f"{known} that signed the certificate."
        owner = "set MLFLOW_TRACKING_SERVER_CERT_PATH and REQUESTS_CA_BUNDLE to the CA's file"
        return Fault("tls-ca", text, what=what, why=why, owner=owner)
    why = f"Port {target.origin.port} of {target.origin.host} does not speak TLS as asked."
    return Fault("tls", text, what=what, why=why, step="proxy", owner="check scheme and port of the URL")


def answered(target: Target, error: HttpError, doing: str) -> Fault:
    """The server took the connection earlier and now, while `doing`, gave no usable answer."""
    why = {
        "timeout": "It takes requests and does not finish them: overloaded, or its database or store hangs.",
        "closed": "The connection was cut: the server or the proxy in front restarts or crashes.",
        "large": "The answer is far larger than MLflow's.",
        "garbage": "The answer is not HTTP.",
    }.get(error.kind, "The server went away during the check.")
    what = f"MLflow does not answer reliably ({doing})."
    return Fault("no-answer", str(error), what=what, why=why, step="mlflow", owner="look at the server's log")


def refused(target: Target, response: Response, doing: str) -> Fault:
    """What an answer that is not success means, wherever in the check it comes."""
    status, body = response.status, response.body
    said = f"{doing}: HTTP {status} {quoted(body)}".rstrip()
    if status == 403 and b"Invalid Host header" in body:
        host = target.origin.netloc
        why = f"MLFLOW_SERVER_ALLOWED_HOSTS on the server does not list {host}."
        what = f"Every request to {host} is refused (403); MLflow's own /health stays green."
        owner = f"add {host} to MLFLOW_SERVER_ALLOWED_HOSTS and restart MLflow"
        return Fault("host-header", said, what=what, why=why, step="mlflow", owner=owner)
    if status == 403 and b"Cross-origin" in body:
        return cors(target, said)
    if status == 401:
        return _login(target, said)
    if status == 403 and b"<Code>" not in body[:2000]:
        what = "This login may not do what a client does."
        return Fault(
            "permission",
            said,
            what=what,
            why="The account lacks the permission.",
            owner="ask the server's admin",
        )
    if 300 <= status < 400:
        return redirected(target, response, doing)
    if status == 413:
        what = "Uploads of models and data files fail."
        why = "The proxy in front limits the size of a request (nginx: client_max_body_size)."
        return Fault("too-large", said, what=what, why=why, step="proxy", owner="set client_max_body_size 0")
    if status == 503 and b"TEMPORARILY_UNAVAILABLE" in body:
        return _database(target, said, body)
    if status in (502, 503, 504):
        what = "Nobody reaches MLflow."
        why = "The proxy answers, MLflow behind it does not: stopped, starting, or hanging."
        return Fault("mlflow-down", said, what=what, why=why, step="mlflow", owner="start the MLflow server")
    if status == 400 and b"plain HTTP request was sent to HTTPS port" in body:
        why = f"Port {target.origin.port} speaks https."
        return Fault("scheme", said, what="Clients cannot use this URL.", why=why, owner="write https:// in the URL")
    if status in (404, 405) or (b"<Error>" in body[:2000] and b"<Code>" in body[:2000]):
        return not_mlflow(target, doing, response)
    what = f"MLflow fails at: {doing}."
    return Fault(
        "server-error",
        said,
        what=what,
        why="The reason is in MLflow's log.",
        step="mlflow",
        owner="look at the server's log",
    )


def _database(target: Target, said: str, body: bytes) -> Fault:
    """MLflow passes its driver's own words on; they tell a stopped server from a refused role."""
    what = "MLflow is up and can do nothing: no run is logged, no list is shown; its own /health stays green."
    # pymysql says its own name or MySQL's in everything but the refusals.
    server = "mysql" if re.search(rb"pymysql|MySQL|MariaDB|Access denied|Unknown database", body) else "postgres"
    login, rules, root = "database", "postgres", "this stack's"
    if target.outside:
        # A run of all steps says what is in the way.
        login = rules = server = ""
        root = "the one that database.ca names (without it: than the public ones)"
    reasons = {
        rb"authentication failed|Access denied": ("the password of its role is not the database's", login),
        rb"not permitted to log in": ("its role may not log in", login),
        rb"does(n't| not) exist|Unknown database": ("its role, database or tables are gone", login),
        rb"certificate verify failed": (
            f"its certificate is not for its name, or of another root than {root}",
            server,
        ),
        rb"is not allowed to connect": ("it lets nobody in from MLflow's host", login),
        rb"no pg_hba.conf entry": ("pg_hba.conf does not let it in", rules),
        rb"[tT]oo many (clients|connections)|max_user_connections": ("all connections are taken", server),
        rb"starting up|shutting down": ("the database is starting or stopping", server),
        rb"refused|No such file|Can't connect": ("the database does not run, or listens elsewhere", server),
    }
    reason, step = next((r for pattern, r in reasons.items() if re.search(pattern, body)), ("", server))
    why = "MLflow cannot use its database" + (f": {reason}." if reason else ".")
    owner = "start the database, then look at MLFLOW_BACKEND_STORE_URI"
    return Fault("database-down", said, what=what, why=why, step=step, owner=owner)


def cors(target: Target, said: str) -> Fault:
    """The server blocks browsers on its own page: POSTs with the page's Origin are 403."""
    origin = target.origin
    what = "In a browser the page opens and its lists stay empty; Python clients are not affected."
    why = f"MLFLOW_SERVER_CORS_ALLOWED_ORIGINS on the server does not list {origin}."
    owner = f"add {origin} to MLFLOW_SERVER_CORS_ALLOWED_ORIGINS and restart MLflow"
    return Fault("cors", said, what=what, why=why, step="mlflow", owner=owner)


def _login(target: Target, said: str) -> Fault:
    if not target.has_login:
        what = "The server wants a login and none was given."
        owner = "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD (or MLFLOW_TRACKING_TOKEN)"
        return Fault("login-missing", said, what=what, owner=owner)
    what = "The login is refused: clients with these settings are locked out."
    if target.username and target.password:
        why = f"The user name {clean(target.username, 40)} or its password is not what the server knows."
        owner = "correct MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
    else:
        why = "The token is not what the server knows."
        owner = "correct MLFLOW_TRACKING_TOKEN"
    return Fault("login-wrong", said, what=what, why=why, step="", owner=owner)


def open_door(target: Target) -> Fault:
    """A server that was set up with a login and lets a request without one in."""
    what = "Everyone who reaches this address reads, changes and deletes all runs."
    why = "A request without a login was answered; the server's login is switched off."
    owner = "switch the server's login on, or leave MLFLOW_TRACKING_USERNAME unset when it has none"
    return Fault("login-open", "answered without a login", what=what, why=why, step="", owner=owner)


def redirected(target: Target, response: Response, doing: str) -> Fault:
    """A redirect where MLflow answers itself: https enforced, a login page, another path."""
    location = response.headers.get("location", "").split("?")[0]
    place = clean(location, 80)
    detail = f"{doing}: HTTP {response.status} to {place or 'nowhere'}"
    what = "MLflow's clients get no answer at this URL."
    wanted = _meant(urljoin(str(target.origin), location))
    if wanted and wanted != target.url:
        why = "The server wants https." if wanted.startswith("https:") and target.origin.scheme == "http" else ""
        why = why or f"A proxy in front sends requests to {wanted}, and clients do not follow there."
        return Fault("redirect", detail, what=what, why=why, step="proxy", owner=f"use the URL {wanted}")
    if re.search(r"log-?in|sign-?in|oauth|auth|sso|saml", place, re.I):
        return behind_login_page(target, detail)
    why, owner = "A proxy in front sends requests elsewhere.", "use the URL without the detour"
    if place.startswith("https://") and target.origin.scheme == "http":
        why, owner = "The server wants https.", f"use the URL https://{clean(urlsplit(place).netloc, 100)}"
    return Fault("redirect", detail, what=what, why=why, step="proxy", owner=owner)


def _meant(location: str) -> str:
    """The tracking URI that a redirected API request stands for; empty when it went to something else."""
    parts = urlsplit(location)
    base, found, rest = parts.path.partition("/api/2.0/mlflow/")
    if parts.scheme not in ("http", "https") or not found or not rest:
        return ""
    return clean(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{base}", 200)


def behind_login_page(target: Target, detail: str) -> Fault:
    """A proxy that asks for its login on a page (OAuth, SSO); MLflow's clients can send a header only."""
    what = "A login page for browsers is in front of MLflow: Python clients do not get past it."
    if target.has_login:
        given = "token" if target.token is not None and not target.username else "user name and password"
        why = f"The {given} of this environment is not what the page's proxy takes."
    else:
        why = "Requests without a login are sent to the page, and none is set in this environment."
    owner = "ask its admin for a token for scripts, then set MLFLOW_TRACKING_TOKEN"
    return Fault("redirect", detail, what=what, why=why, step="proxy", owner=owner)


def login_page(body: bytes) -> bool:
    """An HTML page with a field for a password."""
    page = body[:262144].lower()
    return b"<html" in page and re.search(rb"<input[^>]{0,300}type=[\"']?password", page) is not None


def not_mlflow(target: Target, doing: str, response: Response, seen: str = "", *, elsewhere: str = "") -> Fault:
    """An answer that is not MLflow's. `seen` says whose it looks like, `elsewhere` is where MLflow answers."""
    if seen == "a login page for browsers":
        return behind_login_page(target, f"{doing}: HTTP {response.status}, {seen}")
    status = "" if response.status == 200 else f"HTTP {response.status} "
    body = response.body
    kind = "a web page" if b"<html" in body[:2000].lower() else f"no JSON of MLflow's: {quoted(body, 60)}"
    detail = f"{doing}: {status}{kind}".rstrip(": ")
    what = "Clients cannot use this URL: MLflow does not answer there."
    if elsewhere:
        why = f"MLflow answers at {elsewhere}, not at {target.url}."
        return Fault("not-mlflow", detail, what=what, why=why, step="proxy", owner=f"use the URL {elsewhere}")
    why = f"{target.url} is {seen}." if seen else "Something else than MLflow answers here."
    if "uvicorn" in seen or "gunicorn" in seen:
        why += " MLflow's own server looks so under a path (--static-prefix)."
    owner = "the URL is what the browser shows of MLflow's page, without # and what follows it"
    return Fault("not-mlflow", detail, what=what, why=why, step="proxy", owner=owner, response=response)


def shown(origin: Origin, path: str, limit: int = 60) -> str:
    """An address without its query, at most `limit` characters: a presigned signature is a password."""
    return clean(f"{origin}{path.split('?')[0]}", limit)
