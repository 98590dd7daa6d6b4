"""Files of a run: up through MLflow, listed, and down by the road that clients take."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from provisioner.verify import direct, faults
from provisioner.verify.api import artifact_path, at, items, word
from provisioner.verify.context import Context, Finding, Step
from provisioner.verify.faults import Fault, shown
from provisioner.verify.http import Client, HttpError, Response
from provisioner.verify.s3 import s3_code
from provisioner.verify.storefaults import blamed
from provisioner.verify.target import Origin, origin_of

ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts/"
PRESIGNED = "/api/2.0/mlflow-artifacts/presigned/"
FOLDER = "verify"
LARGE = "payload.bin"
SMALL = "kept.txt"
"""The run's own id: what the short check of a later run reads back."""


def upload(context: Context) -> Finding:
    """5 MB and a small file by PUT through MLflow, which writes them into the bucket; with the clients' own key where
    they do that themselves."""
    if context.target.direct is not None:
        return _straight(context)
    for name, body in ((SMALL, context.run_id.encode()), (LARGE, context.payload)):
        path = artifact_path(context.artifact_uri, FOLDER, name)
        if path is None:
            from provisioner.verify import places

            return places.elsewhere(context)
        headers = {"Content-Type": "application/octet-stream"}
        doing = f"upload of {_sized(len(body))}"
        try:
            timeout = 25 if name == LARGE else 12
            response = context.api.raw("PUT", ARTIFACTS + path, body=body, headers=headers, timeout=timeout)
        except HttpError as error:
            raise blamed(context, str(error), doing) from None
        if response.status == 503 and b"disabled" in response.body:
            what = "Artifacts and models are neither stored nor loaded through this server."
            raise Fault(
                "artifacts-off",
                "artifact serving is off (--no-serve-artifacts)",
                what=what,
                why="The server runs with MLFLOW_SERVE_ARTIFACTS=false.",
                step="mlflow",
                owner="start the server with --serve-artifacts",
            )
        if response.status >= 500 and response.status not in (502, 504):
            # MLflow says "Internal Server Error" whatever the store's trouble is.
            raise blamed(context, f"HTTP {response.status}", doing)
        if response.status != 200:
            raise faults.refused(context.target, response, doing)
    return Finding(f"{_sized(len(context.payload))} through MLflow")


def _straight(context: Context) -> Finding:
    for name, body in ((SMALL, context.run_id.encode()), (LARGE, context.payload)):
        place = direct.key_of(context.artifact_uri, FOLDER, name)
        if place is None:
            scheme = faults.clean(context.artifact_uri.partition(":")[0], 20)
            what = "Clients with this stack's settings store and load no artifacts."
            why = "The experiment of the verification was made while MLflow passed artifacts on; it keeps its place."
            raise Fault("mode", f"the run's place is {scheme}:, s3: was expected", what=what, why=why, step="mlflow")
        direct.put(context, place, body)
    return Finding(f"{_sized(len(context.payload))} straight into the bucket, with the clients' key")


def listing(context: Context) -> str:
    """Both files with their sizes in the list that a run's page shows."""
    fields = {"run_id": context.run_id, "path": FOLDER}
    got = context.api.call("GET", "artifacts/list", fields, doing="list artifacts")
    if got.response.status >= 500 and got.response.status not in (502, 503, 504):
        raise blamed(context, f"HTTP {got.response.status}", "list artifacts")
    if not got.ok:
        raise faults.refused(context.target, got.response, "list artifacts")
    sizes = {word(item, "path"): at(item, "file_size") for item in items(got.data, "files")}
    wanted = {f"{FOLDER}/{SMALL}": len(context.run_id), f"{FOLDER}/{LARGE}": len(context.payload)}
    if {name: int(size or 0) for name, size in sizes.items()} != wanted:
        raise Fault(
            "list",
            f"{len(sizes)} of 2 files are listed",
            what="A run's page does not show its files.",
            why="The store's list differs from what was written.",
            step="bucket",
        )
    return "2 files"


def download(context: Context) -> str:
    """The 5 MB again, byte for byte, as `download_artifacts` and `load_model` fetch them."""
    size = len(context.payload)
    path = artifact_path(context.artifact_uri, FOLDER, LARGE) or ""
    place = direct.key_of(context.artifact_uri, FOLDER, LARGE)
    if context.target.direct is not None and place is not None:
        body, road = direct.get(context, place, size), "straight from the bucket"
    elif context.presigned:
        body, road = by_presigned_url(context, path, size)
    else:
        body, road = through_mlflow(context, path, size), "through MLflow"
    if body != context.payload:
        raise Fault(
            "corrupted",
            f"{len(body)} bytes came back, not the {size} that were sent",
            what="Artifacts and models come back damaged.",
            why="The store or a proxy changes what passes.",
            step="bucket",
        )
    return f"{_sized(len(body))} {road}"


def through_mlflow(context: Context, path: str, size: int) -> bytes:
    """GET through MLflow: older servers, and stores that hand out no addresses."""
    doing = f"download of {_sized(size)}"
    try:
        response = context.api.raw("GET", ARTIFACTS + path, timeout=25, limit=size + 65536)
    except HttpError as error:
        raise blamed(context, str(error), doing) from None
    if response.status >= 500 and response.status not in (502, 503, 504):
        raise blamed(context, f"HTTP {response.status}", doing)
    if response.status != 200:
        raise faults.refused(context.target, response, doing)
    return response.body


def by_presigned_url(context: Context, path: str, size: int) -> tuple[bytes, str]:
    """The address that MLflow hands out, then that address; gives the bytes and how they came.

    MLflow's clients (mlflow_artifacts_repo.py, 3.17) ask for files of any size, send a Range, and
    do not fall back when this fails. The signature never leaves this function.
    """
    # A worker of MLflow's loads its S3 client with the first one: on a busy server that takes more than 10 s.
    answer = context.api.call("GET", PRESIGNED + path, doing="ask for a download address", timeout=30.0)
    if answer.response.status >= 500 and answer.response.status not in (501, 502, 503, 504):
        raise blamed(context, f"HTTP {answer.response.status}", "ask for a download address")
    if not answer.ok:
        raise faults.refused(context.target, answer.response, "ask for a download address")
    if at(answer.data, "file_size") is None:
        return through_mlflow(context, path, size), "through MLflow"
    url = word(answer.data, "url")
    try:
        origin = origin_of(url)
    except ValueError:
        raise faults.not_mlflow(context.target, "download address", answer.response) from None
    parts = urlsplit(url)
    where = f"{_sized(size)} by the URL that MLflow hands out\n{shown(origin, parts.path)}"
    headers = {"Range": f"bytes=0-{size - 1}"}
    given = at(answer.data, "headers")
    if isinstance(given, Mapping):
        headers |= {k: v for k, v in given.items() if isinstance(k, str) and isinstance(v, str)}
    request = f"{parts.path or '/'}?{parts.query}"
    client = _signed(context, origin)
    try:
        # No login is sent along: the signature is one, and S3 refuses two.
        timeout = 25 if origin == context.target.origin else 12
        response = client.request("GET", origin, request, headers=headers, timeout=timeout, limit=size + 65536)
    except HttpError as error:
        raise _no_way(context, origin, where, error) from None
    finally:
        if client is not context.api.client:
            client.close()
    if origin.loopback and not context.target.origin.loopback:
        raise _loopback(context, origin, f"{where}\nanswers here only because this machine is {origin.host} too")
    if response.status not in (200, 206):
        raise _denied(context, origin, where, response)
    same = origin == context.target.origin
    return response.body, "by the URL that MLflow hands out" if same else f"straight from {origin}"


def _signed(context: Context, origin: Origin) -> Client:
    """Who fetches a signed address: with MLflow's 3.17 client another session, which trusts what requests trusts
    and reads neither MLFLOW_TRACKING_SERVER_CERT_PATH nor _CLIENT_CERT_PATH (http_artifact_repo.py)."""
    target = context.target
    if origin.scheme != "https" or target.bundle is None or target.bundle == target.ca_file or target.insecure:
        return context.api.client
    return Client(context.deadline, target.origin, target.connect, target.bundle)


def _no_way(context: Context, origin: Origin, where: str, error: HttpError) -> Fault:
    if error.kind == "tls" and context.target.bundle and "certificate" in str(error):
        return Fault(
            "download-ca",
            f"{where}\n{error}",
            what="Runs and uploads work. load_model() and download_artifacts() fail with this environment.",
            why=f"Clients fetch {origin} with the CAs of REQUESTS_CA_BUNDLE, not of MLFLOW_TRACKING_SERVER_CERT_PATH.",
            owner="set REQUESTS_CA_BUNDLE to a file with that CA, and the public ones if they are needed",
        )
    if origin.loopback and not context.target.origin.loopback:
        return _loopback(context, origin, f"{where}\n{error}: {origin.host} is this machine")
    if origin == context.target.origin:
        return blamed(context, f"{where}\n{error}", "download")
    wanted = context.target.origin
    reasons = {
        "resolve": "that name does not resolve here",
        "refused": "nothing listens there for this machine",
    }
    reason = reasons.get(error.kind, "no answer from there")
    return Fault(
        "endpoint-unreachable",
        f"{where}\n{error}",
        what=_LOSS + " on machines that cannot reach that address.",
        why=f"MLflow hands out {origin} (its MLFLOW_S3_ENDPOINT_URL): {reason}; clients reach {wanted}.",
        step="mlflow",
        owner=_endpoint(wanted),
    )


_LOSS = "Runs and uploads work. load_model() and download_artifacts() hang for two minutes and fail"


def _loopback(context: Context, origin: Origin, detail: str) -> Fault:
    wanted = context.target.origin
    return Fault(
        "endpoint-loopback",
        detail,
        what=_LOSS + " on every machine but the server.",
        why=f"MLflow hands out {origin} (its MLFLOW_S3_ENDPOINT_URL); wanted {wanted}.",
        step="mlflow",
        owner=_endpoint(wanted),
    )


def _endpoint(wanted: Origin) -> str:
    return f"set MLFLOW_S3_ENDPOINT_URL on the server to an address clients reach ({wanted} with the bucket behind it)"


def _denied(context: Context, origin: Origin, where: str, response: Response) -> Fault:
    code = s3_code(response.body)
    detail = f"{where}\nHTTP {response.status} {code or faults.clean(response.body, 80)}".rstrip()
    what = "Runs and uploads work. load_model() and download_artifacts() fail on every machine."
    if code == "SignatureDoesNotMatch":
        why = "The store sees another Host header or path than was signed: the proxy in front changes it."
        return Fault(
            "signature",
            detail,
            what=what,
            why=why,
            step="proxy",
            owner="pass $http_host and the path unchanged",
        )
    if code in ("RequestTimeTooSkewed", "AccessDenied") and b"expired" in response.body.lower():
        why = "The clocks of MLflow's server and the store differ."
        return Fault("clock", detail, what=what, why=why, owner="set the clocks by NTP")
    if response.status == 401:
        why = "The proxy asks for its login on the bucket's path too; the address carries a signature instead."
        return Fault(
            "bucket-login",
            detail,
            what=what,
            why=why,
            step="proxy",
            owner="no auth_basic on the bucket's path",
        )
    if not code and origin == context.target.origin:
        why = f"{origin} does not lead to the store on the bucket's path."
        return Fault(
            "bucket-route",
            detail,
            what=what,
            why=why,
            step="proxy",
            owner="route the bucket's path to the store",
        )
    return blamed(context, detail, "download")


def _sized(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 100_000 else f"{size} bytes"


STEPS = (
    Step("artifact-upload", "upload", "upload", upload, ("run",)),
    Step("artifact-list", "list", "upload", listing, ("artifact-upload",)),
    Step("artifact-download", "download", "download", download, ("artifact-upload", "server-info")),
)
