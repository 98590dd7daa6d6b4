"""Artifacts are strangers' files on MLflow's own origin: shown by its pages, and never more than files.

A headless Chromium whose user has logged in is what an attacker would like to have; the page that he logged as an
artifact tells what it could do.
"""

from __future__ import annotations

import base64
import http.client
import json
import struct
import urllib.parse
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import pytest

from . import webdriver
from .conftest import Stack
from .s3sign import Keys, presigned
from .webdriver import ELEMENT, Browser

BUCKET = "mlflow"
TEXT = "Grüße aus dem Eimer"
GUARDS = {"content-security-policy": "sandbox", "x-content-type-options": "nosniff"}

PAGE = """<!doctype html><title>a stranger's page</title><body>a stranger's page
<pre id=told></pre><script>
const told = [], say = text => { told.push(text); document.getElementById("told").textContent = told.join("; ") };
const at = "ORIGIN/ajax-api/2.0/mlflow/experiments/";
say("origin " + self.origin);
try { say("cookie " + document.cookie) } catch (e) { say("no cookies") }
try { say("storage " + localStorage.length) } catch (e) { say("no storage") }
try { say("parent " + parent.document.title) } catch (e) { say("no parent") }
(async () => {
  for (const credentials of ["include", "same-origin"]) {
    try {
      const answer = await fetch(at + "search?max_results=1", {credentials});
      say("read " + answer.status + " " + (await answer.text()).length);
    } catch (e) { say("unread") }
    try {
      await fetch(at + "create", {method: "POST", mode: "no-cors", credentials, body: '{"name": "stolen-NAME"}'});
    } catch (e) {}
  }
  try { await fetch("/ajax-api/2.0/mlflow/experiments/search?max_results=1"); say("relative") } catch (e) {}
  say("done");
})();
</script>"""

PDF = b"""%PDF-1.4
1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj
2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj
3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 99 99]/Resources<<>>>>endobj
trailer<</Root 1 0 R>>
%%EOF
"""


def picture() -> bytes:
    """A PNG of 7 x 5 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    pixels = zlib.compress(b"".join(b"\0" + b"\x10\x80\xf0" * 7 for _ in range(5)))
    head = struct.pack(">IIBBBBB", 7, 5, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


@dataclass(frozen=True)
class Answer:
    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name]


def ask(
    stack: Stack, method: str, path: str, body: bytes | None = None, *, login: bool = True, **headers: str
) -> Answer:
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    if login:
        told["Authorization"] = "Basic " + base64.b64encode(f"mlflow:{stack.secret('login')}".encode()).decode()
    connection = http.client.HTTPConnection(stack.address, 5000, timeout=60)
    try:
        connection.request(method, path, body, told)
        answer = connection.getresponse()
        return Answer(answer.status, answer.getheaders(), answer.read())
    finally:
        connection.close()


def api(stack: Stack, path: str, **fields: object) -> dict[str, object]:
    answer = ask(stack, "POST", f"/api/2.0/mlflow/{path}", json.dumps(fields).encode(), Content_Type="application/json")
    assert answer.status == 200, answer
    document: dict[str, object] = json.loads(answer.body)
    return document


@dataclass(frozen=True)
class Logged:
    """A run with files of a stranger."""

    stack: Stack
    experiment: str
    run: str

    @property
    def folder(self) -> str:
        return f"{self.experiment}/{self.run}/artifacts"

    def page(self, name: str) -> str:
        return f"{self.stack.url}/#/experiments/{self.experiment}/runs/{self.run}/artifacts/{name}"

    def roads(self, name: str) -> list[str]:
        """Every address under which a file can be opened directly."""
        query = urllib.parse.urlencode({"path": name, "run_uuid": self.run})
        told = ask(self.stack, "GET", f"/api/2.0/mlflow-artifacts/presigned/{self.folder}/{name}")
        signed_url = urllib.parse.urlsplit(json.loads(told.body)["url"])
        assert signed_url.netloc == f"{self.stack.address}:5000"
        keys = Keys(self.stack.secret("store.user.key"), self.stack.secret("store.user.secret"))
        path = f"/{BUCKET}/{self.folder}/{name}"
        shown = {"response-content-disposition": "inline", "response-content-type": "text/html; charset=utf-8"}
        return [
            f"/get-artifact?{query}",
            f"//get-artifact?{query}",
            f"/api/2.0/mlflow-artifacts/artifacts/{self.folder}/{name}",
            f"/ajax-api/2.0/mlflow-artifacts/artifacts/{self.folder}/{name}",
            f"{signed_url.path}?{signed_url.query}",
            presigned(keys, "GET", signed_url.netloc, path, shown),
            presigned(
                keys, "GET", signed_url.netloc, path, {"response-content-disposition": 'inline; filename="a.html"'}
            ),
        ]


@pytest.fixture(scope="module")
def logged(stack: Stack) -> Logged:
    experiment = str(api(stack, "experiments/create", name="strangers")["experiment_id"])
    run = api(stack, "runs/create", experiment_id=experiment, run_name="stranger")["run"]
    assert isinstance(run, dict)
    made = Logged(stack, experiment, run["info"]["run_id"])
    page = PAGE.replace("ORIGIN", stack.url).encode()
    files = {
        "notes.txt": TEXT.encode(),
        "picture.png": picture(),
        "page.html": page,
        "page.svg": b'<svg xmlns="http://www.w3.org/2000/svg"><script>document.title="run"</script></svg>',
        "table.csv": b"fruit,count\nquince,17\nmedlar,4\n",
        "paper.pdf": PDF,
    }
    for name, content in files.items():
        answer = ask(stack, "PUT", f"/api/2.0/mlflow-artifacts/artifacts/{made.folder}/{name}", content)
        assert answer.status == 200, answer
    return made


@pytest.mark.parametrize("name", ["page.html", "page.svg", "picture.png"])
def test_a_file_is_saved_and_sandboxed_whatever_its_address_asks_for(logged: Logged, name: str) -> None:
    for road in logged.roads(name):
        for more in ({}, {"Range": "bytes=0-3"}, {"Origin": "http://evil.example"}):
            answer = ask(logged.stack, "GET", road, login=not road.startswith(f"/{BUCKET}/"), **more)
            assert answer.status in {200, 206}, (road, answer)
            assert {header: answer.all(header) for header in GUARDS} == {k: [v] for k, v in GUARDS.items()}, road
            (disposition,) = answer.all("content-disposition")
            assert disposition.partition(";")[0] == "attachment", road
            assert answer.all("set-cookie") == []


def test_a_file_that_is_not_there_or_not_allowed_is_guarded_too(logged: Logged) -> None:
    for road in (f"/{BUCKET}/nothing.html", f"/{BUCKET}", f"/{BUCKET}/?x=<script>alert(1)</script>"):
        answer = ask(logged.stack, "GET", road, login=False)
        assert answer.status in {400, 403, 404}
        assert answer.all("content-security-policy") == ["sandbox"]
        assert answer.all("content-disposition") == ["attachment"]
    for road in ("/get-artifact?path=x&run_uuid=<b>", "/api/2.0/mlflow-artifacts/artifacts/9/nothing"):
        answer = ask(logged.stack, "GET", road)
        assert answer.status >= 400
        assert answer.all("content-security-policy") == ["sandbox"]


def test_the_viewers_login_never_reaches_the_store(logged: Logged) -> None:
    """Browsers send it to every path of the origin; with it the store refused what was signed otherwise."""
    for road in logged.roads("notes.txt")[4:]:
        assert ask(logged.stack, "GET", road).body == TEXT.encode()


def test_mlflows_own_pages_are_no_artifacts(stack: Stack) -> None:
    answer = ask(stack, "GET", "/")
    assert answer.status == 200
    assert answer.all("content-security-policy") == []
    assert not any("attachment" in told for told in answer.all("content-disposition"))
    assert answer.all("x-content-type-options") == ["nosniff"]
    assert answer.all("x-frame-options") == ["SAMEORIGIN"]


@pytest.fixture(scope="module")
def browser(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A window whose user has logged in."""
    if not webdriver.available():
        pytest.skip("chromium and chromedriver are not installed")
    with webdriver.chromium(tmp_path_factory.mktemp("browser")) as opened:
        password = urllib.parse.quote(stack.secret("login"), safe="")
        opened.open(f"http://mlflow:{password}@{stack.address}:5000/version")
        opened.sees("3.17.2")
        yield opened


def test_the_pages_show_texts_tables_pictures_and_papers(logged: Logged, browser: Browser) -> None:
    browser.open(logged.page("notes.txt"))
    browser.sees("notes.txt", TEXT)
    browser.open(logged.page("table.csv"))
    browser.sees("quince", "medlar", "17")
    browser.open(logged.page("picture.png"))
    size = "return [...document.images].some(i => i.naturalWidth == 7 && i.naturalHeight == 5)"
    browser.wait("picture", lambda: browser.script(size))
    browser.open(logged.page("paper.pdf"))
    browser.wait("paper", lambda: browser.script("return document.querySelectorAll('canvas').length"))


def stolen(stack: Stack) -> bool:
    found = ask(stack, "GET", "/api/2.0/mlflow/experiments/get-by-name?experiment_name=stolen-NAME")
    assert found.status in {200, 404}
    return found.status == 200


def test_a_page_in_its_preview_has_no_share_in_the_viewers_login(logged: Logged, browser: Browser) -> None:
    browser.open(logged.page("page.html"))
    frame = browser.find("//iframe[contains(@class, 'html-iframe')]")
    browser.call("POST", "/frame", {"id": {ELEMENT: frame[ELEMENT]}})
    told = browser.sees("a stranger's page", "done")
    browser.call("POST", "/frame", {"id": None})
    assert "origin null" in told
    assert "unread; unread" in told
    assert not any(word in told for word in ("read 2", "read 4", "relative", "storage 0", "parent MLflow"))
    assert not stolen(logged.stack)


def saved(browser: Browser) -> bool:
    """Something is there to read: Chromium writes under another name first, which may go away at any moment."""
    sizes = []
    for file in browser.downloads.iterdir():
        with suppress(FileNotFoundError):
            sizes.append(file.stat().st_size)
    return any(sizes)


def test_a_page_that_is_opened_directly_is_saved_and_does_nothing(logged: Logged, browser: Browser) -> None:
    for number, road in enumerate(logged.roads("page.html")):
        browser.open("about:blank")
        for file in browser.downloads.iterdir():
            file.unlink(missing_ok=True)
        browser.script("location.href = arguments[0]", logged.stack.url + road)
        browser.wait("saved page", lambda: saved(browser), 60)
        assert browser.url == "about:blank", (number, road)
        assert "stranger" not in browser.text()
    assert not stolen(logged.stack)


def test_an_answer_that_is_shown_has_an_origin_of_its_own(stack: Stack, browser: Browser) -> None:
    """The second line of defence by itself, on an answer that the browser does not save."""
    browser.open(f"{stack.url}/version")
    assert browser.script("return self.origin") == stack.url
    browser.open(f"{stack.url}/api/2.0/mlflow/experiments/get-by-name?experiment_name=strangers")
    browser.sees("strangers")
    assert browser.script("return self.origin") == "null"


def test_nothing_keeps_cookies(stack: Stack, browser: Browser) -> None:
    browser.open(f"{stack.url}/#/experiments")
    browser.sees("strangers")
    kept = [cookie["name"] for cookie in browser.call("GET", "/cookie")]
    assert kept == []
