"""Servers that this tool did not make: where they keep artifacts, what stands in front, what is no MLflow at all."""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_mlflow import FakeMlflow, Hook, Reply
from test_verify import Start, answering, failed, from_elsewhere
from test_verify_http import certificate

from provisioner.errors import UsageError
from provisioner.secrets import Secret
from provisioner.verify import context, environment
from provisioner.verify.environment import is_host, scheme_of, target_from
from provisioner.verify.run import Outcome, verify
from provisioner.verify.target import Target


@pytest.fixture(autouse=True)
def small_payload(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "PAYLOAD_BYTES", 300_000)


@pytest.fixture
def start() -> Iterator[Start]:
    running: list[FakeMlflow] = []

    def begin(hook: Hook | None = None, **options: Any) -> FakeMlflow:
        running.append(FakeMlflow(hook, **options))
        return running[-1]

    yield begin
    for server in running:
        server.close()


def foreign(server: FakeMlflow) -> Target:
    """From another machine, and nobody here has a command for it."""
    return replace(from_elsewhere(server), repair=None)


def found(outcome: Outcome, id: str) -> tuple[str, str, str | None]:
    (check,) = (check for check in outcome.checks if check.id == id)
    return check.status, check.detail, check.fix


@pytest.mark.parametrize("form", ["{}", "file://{}"])
def test_artifacts_on_the_server_s_own_disk_are_told_as_what_they_are(start: Start, form: str, tmp_path: Path) -> None:
    def verified(place: str, from_here: bool) -> Outcome:
        server = start()
        answer = server.do_runs_create  # type: ignore[attr-defined]

        def created(fields: dict[str, Any]) -> Any:
            made = answer(fields)
            info = made["run"]["info"]
            info["artifact_uri"] = form.format(f"{place}/1/{info['run_id']}/artifacts")
            return made

        server.do_runs_create = created  # type: ignore[attr-defined]
        return verify(Target(server.url) if from_here else foreign(server))

    away = verified("/srv/no/such/mlruns", False)
    assert failed(away) == ["artifact-upload"]
    assert away.fault == "artifacts-local"
    assert "/srv/no/such/mlruns" in away.why
    assert "--artifacts-destination" in away.next
    for outcome in (verified("/srv/no/such/mlruns", True), verified(str(tmp_path), False)):
        status, detail, fix = found(outcome, "artifact-upload")
        assert outcome.ok
        assert status == "skip"
        assert "clients" in detail
        assert "--client" in str(fix)
    assert list(tmp_path.iterdir()) == [], "nothing is written where a server says"


def test_a_page_whose_lists_stay_empty_is_a_warning_where_nobody_here_can_mend_it(start: Start) -> None:
    def hook(server: FakeMlflow, method: str, path: str, sent: dict[str, str], body: bytes) -> Reply | None:
        return (403, {}, b"Cross-origin request blocked") if "origin" in sent else None

    server = start(hook)
    outcome = verify(foreign(server))
    assert outcome.ok
    status, detail, fix = found(outcome, "browser")
    assert (status, "lists stay empty" in detail) == ("warn", True)
    assert "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS" in str(fix)
    assert failed(verify(from_elsewhere(server))) == ["browser"], "of our own stack it is a fault"


def under(prefix: str) -> Hook:
    """MLflow under a path; everything else is the framework's own page."""

    def hook(server: FakeMlflow, method: str, path: str, sent: dict[str, str], body: bytes) -> Reply | None:
        if not re.match(prefix + "/(api/|ajax-api/2|version)", path):
            return 404, {"Server": "uvicorn"}, b"<!doctype html>\n<html><title>404 Not Found</title></html>"
        return server.respond(method, path.removeprefix(prefix), sent, body)

    return hook


def test_mlflow_under_a_path_is_verified_there_and_found_from_nearby(start: Start) -> None:
    url = start(under("/mlflow"), presigned=False).url
    assert verify(Target(f"{url}/mlflow")).ok
    for near in (url, f"{url}/mlflow/ajax-api", f"{url}/other"):
        outcome = verify(Target(near))
        assert outcome.fault == "not-mlflow"
        assert f"MLflow answers at {url}/mlflow" in outcome.why
        assert outcome.next == f"use the URL {url}/mlflow"
        assert failed(outcome) == ["tracking-api"]
    hidden = verify(Target(start(under("/team/a")).url))
    assert "--static-prefix" in hidden.why


STRANGERS = {
    "an object store": (403, b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "object store (S3)"),
    "a web server's page": (405, b"<html><head><title>Welcome to nginx!</title></head></html>", '"Welcome to nginx!"'),
    "another service's page": (200, b"<html><title>Grafana</title></html>", '"Grafana"'),
    "another service's JSON": (200, b'["a"]', "a BaseHTTP"),
}


@pytest.mark.parametrize(("status", "body", "told"), STRANGERS.values(), ids=STRANGERS.keys())
def test_what_is_no_mlflow_is_named_as_far_as_it_says(start: Start, status: int, body: bytes, told: str) -> None:
    def hook(server: FakeMlflow, method: str, path: str, sent: dict[str, str], data: bytes) -> Reply:
        return status, {}, body

    server = start(hook)
    for target in (Target(server.url), Target(server.url, username="u", password=Secret("some-password"))):
        outcome = verify(target)
        assert outcome.fault == "not-mlflow", outcome.what
        assert told in outcome.why
        assert failed(outcome) == ["tracking-api"]
        assert "reads, changes and deletes" not in outcome.what


def test_a_login_page_is_told_apart_from_a_wrong_address(start: Start) -> None:
    page = b"<html><form><input name=user><input type='password' name=p></form></html>"
    for reply in ((302, {"Location": "/oauth2/sign_in?rd=x"}, b""), (200, {}, page)):

        def hook(server: FakeMlflow, method: str, path: str, sent: dict[str, str], data: bytes) -> Reply | None:
            return None if sent.get("authorization") == "Bearer right-token" else reply  # noqa: B023

        server = start(hook, presigned=False)
        nobody, wrong = Target(server.url), Target(server.url, token=Secret("wrong-token"))
        assert "none is set in this environment" in verify(nobody).why
        assert "The token of this environment is not" in verify(wrong).why
        for target in (nobody, wrong):
            assert verify(target).fault == "redirect"
            assert "MLFLOW_TRACKING_TOKEN" in verify(target).next
        assert verify(Target(server.url, token=Secret("right-token"))).ok


def test_a_redirected_api_names_the_address_that_was_meant(start: Start) -> None:
    def to(base: str) -> Hook:
        def hook(server: FakeMlflow, method: str, path: str, sent: dict[str, str], data: bytes) -> Reply:
            return 301, {"Location": base + path}, b""

        return hook

    assert verify(Target(start(to("https://ml.example.com")).url)).next == "use the URL https://ml.example.com"
    server = start(to("/team"))
    assert verify(Target(server.url)).next == f"use the URL {server.url}/team"


Tls = Callable[[FakeMlflow], str]


@pytest.fixture
def over_tls(tmp_path: Path) -> tuple[Tls, Path]:
    pem = certificate(tmp_path, "127.0.0.1")

    def wrap(server: FakeMlflow) -> str:
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.load_cert_chain(pem)
        server.server.socket = made.wrap_socket(server.server.socket, server_side=True)
        return server.url.replace("http:", "https:")

    return wrap, pem


def test_a_signed_address_is_fetched_with_the_roots_that_clients_use_for_it(
    start: Start, over_tls: tuple[Tls, Path]
) -> None:
    wrap, pem = over_tls
    server = start()
    url = server.presign_origin = wrap(server)
    half = verify(target_from(url, {"MLFLOW_TRACKING_SERVER_CERT_PATH": str(pem)}))
    assert failed(half) == ["artifact-download"]
    assert half.fault == "download-ca"
    assert "REQUESTS_CA_BUNDLE" in half.next
    both = {"MLFLOW_TRACKING_SERVER_CERT_PATH": str(pem), "REQUESTS_CA_BUNDLE": str(pem)}
    assert verify(target_from(url, both)).ok
    assert verify(target_from(url, {"REQUESTS_CA_BUNDLE": str(pem)})).ok


def test_a_ca_that_only_the_system_knows_is_no_use_to_python(
    start: Start, over_tls: tuple[Tls, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    wrap, pem = over_tls
    url = wrap(start())
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    outcome = verify(target_from(url, {}))
    assert outcome.fault == "tls-ca"
    assert "browsers and curl" in outcome.what
    assert "REQUESTS_CA_BUNDLE" in outcome.next
    empty = tmp_path / "empty.pem"
    empty.write_text("")
    monkeypatch.setenv("SSL_CERT_FILE", str(empty))
    assert "knows no CA" in verify(target_from(url, {})).why


def test_a_client_certificate_is_shown_to_the_server_and_a_bad_one_is_named(
    start: Start, over_tls: tuple[Tls, Path], tmp_path: Path
) -> None:
    _, pem = over_tls
    server = start()
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(pem)
    made.load_verify_locations(pem)
    made.verify_mode = ssl.CERT_REQUIRED
    server.server.socket = made.wrap_socket(server.server.socket, server_side=True)
    url = server.presign_origin = server.url.replace("http:", "https:")
    given = {"REQUESTS_CA_BUNDLE": str(pem)}
    assert verify(target_from(url, given)).fault not in ("", "tls-client-cert")
    assert verify(target_from(url, {**given, "MLFLOW_TRACKING_CLIENT_CERT_PATH": str(pem)})).ok
    bad = verify(target_from(url, {**given, "MLFLOW_TRACKING_CLIENT_CERT_PATH": str(tmp_path / "none.pem")}))
    assert bad.fault == "tls-client-cert"
    assert "none.pem" in bad.why


def test_the_credentials_file_of_mlflow_is_read_and_variables_come_first(tmp_path: Path) -> None:
    (tmp_path / ".mlflow").mkdir()
    text = "[mlflow]\nmlflow_tracking_username = ann\nmlflow_tracking_password = p%w-of-the-file\n"
    (tmp_path / ".mlflow" / "credentials").write_text(text)
    kept = target_from("http://h", {"HOME": str(tmp_path)})
    assert (kept.username, kept.password) == ("ann", Secret("p%w-of-the-file"))
    given = {"HOME": str(tmp_path), "MLFLOW_TRACKING_USERNAME": "ben", "MLFLOW_TRACKING_PASSWORD": "of-the-variable"}
    assert target_from("http://h", given).username == "ben"
    (tmp_path / ".mlflow" / "credentials").write_text("no section\n")
    assert target_from("http://h", {"HOME": str(tmp_path)}).username == ""


def test_what_only_mlflow_s_own_client_can_do_is_refused_with_the_way() -> None:
    for name, value in (("MLFLOW_TRACKING_AUTH", "kerberos"), ("MLFLOW_TRACKING_AWS_SIGV4", "true")):
        with pytest.raises(UsageError) as raised:
            target_from("http://h", {name: value})
        assert "--client" in raised.value.next
    both = {"MLFLOW_TRACKING_INSECURE_TLS": "true", "MLFLOW_TRACKING_SERVER_CERT_PATH": "/ca.pem"}
    with pytest.raises(UsageError, match="both set"):
        target_from("https://h", both)


def test_a_forgotten_scheme_is_told_from_another_kind_of_address() -> None:
    for host in ("10.0.0.1:5000", "mlflow.example.com", "mlflow.example.com/team", "server:5000", "[fd00::1]:5000"):
        assert is_host(host), host
        with pytest.raises(UsageError) as raised:
            target_from(host, {})
        assert raised.value.next == f"write it with its scheme: http://{host}"
    for uri in ("databricks", "databricks://profile", "azureml://a/b", "arn:aws:sagemaker:eu-west-1:1:x/y", "./runs"):
        assert not is_host(uri), uri
    schemes = {uri: scheme_of(uri) for uri in ("databricks", "HTTP://h", "arn:aws:x", "sqlite:///x", "h:5000")}
    assert list(schemes.values()) == ["", "http", "arn", "sqlite", ""]


def test_without_a_list_of_its_own_the_system_s_roots_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "_public", lambda: None)
    target = target_from("https://h", {})
    assert (target.ca_file, target.bundle) == (None, None)


def test_a_page_without_words_is_described_by_its_server(start: Start) -> None:
    outcome = verify(Target(start(answering("", 404, b"", {"Server": "thing/1.0"})).url))
    assert "thing/1.0 server" in outcome.why
