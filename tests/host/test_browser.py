"""MLflow's own pages in a headless Chromium, at the URL that a run prints."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from . import webdriver
from .conftest import Stack
from .webdriver import Browser

pytestmark = pytest.mark.skipif(not webdriver.available(), reason="chromium and chromedriver are not installed")

TEXT = "Grüße aus dem Eimer\n"
EXPECTED = ("/favicon.ico", "/mlflow/assistant/", "/mlflow/users/current")
"""Requests of the page that fail on any such server: an icon that MLflow has not, its assistant (refused: it
can run commands on the server), and accounts that MLflow itself does not keep here."""
DOWNLOAD = "//button[contains(@data-component-id, 'components_artifactview')]"


@dataclass(frozen=True)
class Kept:
    """The test run that a verification left."""

    url: str
    """As the command prints it."""
    run_id: str
    name: str
    nonce: str
    """Its parameter."""
    folder: str
    """Of its artifacts."""

    @property
    def experiment(self) -> str:
        return self.url.partition("/runs/")[0]


def fetch(stack: Stack, method: str, path: str, body: bytes | None = None) -> bytes:
    login = base64.b64encode(f"mlflow:{stack.secret('login')}".encode()).decode()
    headers = {"Authorization": f"Basic {login}"}
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    request = urllib.request.Request(stack.url + path, body, headers, method=method)
    with opener.open(request, timeout=60) as answer:
        content: bytes = answer.read()
        return content


def api(stack: Stack, method: str, path: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(fetch(stack, method, path))
    return document


@pytest.fixture(scope="module")
def kept(stack: Stack) -> Kept:
    """The kept run, with a text among its artifacts."""
    verified = stack.run("verify", "--json")
    assert verified.code == 0, verified.why
    url = verified.host["run"]
    run_id = url.rpartition("/")[2]
    run = api(stack, "GET", f"/api/2.0/mlflow/runs/get?run_id={run_id}")["run"]
    folder = run["info"]["artifact_uri"].removeprefix("mlflow-artifacts:/")
    fetch(stack, "PUT", f"/api/2.0/mlflow-artifacts/artifacts/{folder}/notes.txt", TEXT.encode())
    (parameter,) = run["data"]["params"]
    return Kept(url, run_id, run["info"]["run_name"], parameter["value"], folder)


@pytest.fixture(scope="module")
def browser(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A window whose user has logged in."""
    with webdriver.chromium(tmp_path_factory.mktemp("browser")) as opened:
        # What the browser's own dialog does: the login is then known for this origin. Not on a page of the
        # application, whose scripts refuse to work at an address that carries a password.
        password = quote(stack.secret("login"), safe="")
        opened.open(f"http://mlflow:{password}@{stack.address}:5000/version")
        opened.sees("3.17.2")
        yield opened


def test_without_the_login_nothing_is_shown(stack: Stack, tmp_path: Path) -> None:
    with webdriver.chromium(tmp_path / "stranger") as stranger:
        stranger.open(stack.url)
        assert "MLflow" not in str(stranger.call("GET", "/title"))
        assert stranger.script("return document.querySelectorAll('script[src]').length") == 0


def test_the_run_list_is_filled(stack: Stack, kept: Kept, browser: Browser) -> None:
    # The list is loaded by a POST with this page's Origin: where it is refused, the page stays empty.
    browser.open(f"{kept.experiment}/runs")
    shown = browser.sees("provision-verify", kept.name, "1 matching run")
    assert "provision verify" in shown


def test_the_printed_link_shows_parameters_and_metrics(kept: Kept, browser: Browser) -> None:
    browser.open(kept.url)
    shown = browser.sees(kept.name, "nonce", kept.nonce, "loss", "Finished")
    assert kept.run_id in shown
    assert re.search(r"loss\s+0\.05", shown), "the last of twenty values"


def test_an_artifact_is_previewed_and_downloaded(stack: Stack, kept: Kept, browser: Browser) -> None:
    browser.open(f"{kept.url}/artifacts/notes.txt")
    browser.sees("notes.txt", TEXT.strip())
    browser.click(DOWNLOAD)
    assert browser.downloaded("notes.txt", len(TEXT.encode())).decode() == TEXT


def test_a_large_artifact_is_downloaded_whole(stack: Stack, kept: Kept, browser: Browser) -> None:
    listed = api(stack, "GET", f"/api/2.0/mlflow/artifacts/list?run_id={kept.run_id}&path=verify")["files"]
    large = max(listed, key=lambda file: int(file["file_size"]))
    name = large["path"].rpartition("/")[2]
    browser.open(f"{kept.url}/artifacts/{large['path']}")
    browser.sees(f"Path: mlflow-artifacts:/{kept.folder}/{large['path']}")
    browser.click(DOWNLOAD)
    got = browser.downloaded(name, int(large["file_size"]))
    logged = fetch(stack, "GET", f"/api/2.0/mlflow-artifacts/artifacts/{kept.folder}/{large['path']}")
    assert hashlib.sha256(got).digest() == hashlib.sha256(logged).digest()


def test_nothing_failed_behind_the_pages(browser: Browser) -> None:
    failed = [entry["message"] for entry in browser.log() if entry["source"] == "network"]
    assert [line for line in failed if not any(known in line for known in EXPECTED)] == []
