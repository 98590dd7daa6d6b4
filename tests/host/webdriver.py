"""A headless Chromium, spoken to in plain WebDriver (https://www.w3.org/TR/webdriver2/): no library is needed."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
"""The key under which WebDriver names an element."""
PATIENCE = 180.0
"""Seconds that a page may take on a busy machine."""
T = TypeVar("T")


class BrowserError(AssertionError):
    """WebDriver's own error code and message."""


class Browser:
    """One window. Times in seconds; `find` and `wait` raise AssertionError with what the page shows."""

    def __init__(self, port: int, session: str, downloads: Path):
        self._base = f"http://127.0.0.1:{port}/session/{session}"
        self.downloads = downloads

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        return _request(method, self._base + path, body)

    def open(self, url: str) -> None:
        """Load the page anew, also where only what follows its `#` differs from the present one."""
        self.call("POST", "/url", {"url": "about:blank"})
        self.call("POST", "/url", {"url": url})

    @property
    def url(self) -> str:
        return str(self.call("GET", "/url"))

    def script(self, text: str, *arguments: Any) -> Any:
        return self.call("POST", "/execute/sync", {"script": text, "args": list(arguments)})

    def text(self) -> str:
        """Everything that the page shows as text, frames not included."""
        return str(self.script("return document.body ? document.body.innerText : ''"))

    def wait(self, what: str, condition: Callable[[], T], seconds: float = PATIENCE) -> T:
        """The first true value of `condition`."""
        end = time.monotonic() + seconds
        while True:
            try:
                if found := condition():
                    return found
            except BrowserError:  # the page is being replaced, or redrawn under our hands
                pass
            if time.monotonic() > end:
                raise AssertionError(f"no {what} after {seconds:.0f} s at {self.url}:\n{self.text()[:3000]}")
            time.sleep(0.2)

    def sees(self, *words: str, seconds: float = PATIENCE) -> str:
        """Wait until the page shows all of `words`; its text."""
        return self.wait(
            f"text {words}", lambda: shown if all(w in (shown := self.text()) for w in words) else "", seconds
        )

    def find(self, xpath: str) -> dict[str, str]:
        """Wait for a visible element."""
        return self.wait(f"element {xpath}", lambda: self._visible(xpath))

    def _visible(self, xpath: str) -> dict[str, str] | None:
        for element in self.call("POST", "/elements", {"using": "xpath", "value": xpath}):
            if self.script("return arguments[0].getClientRects().length > 0", element):
                return dict(element)
        return None

    def click(self, xpath: str) -> None:
        def clicked() -> bool:
            element = self._visible(xpath)
            if element is None:
                return False
            self.call("POST", f"/element/{element[ELEMENT]}/click", {})
            return True

        self.wait(f"click on {xpath}", clicked)

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.call("GET", "/screenshot")))

    def log(self) -> list[dict[str, Any]]:
        """What the console said since the last call: errors of scripts and failed requests."""
        return list(self.call("POST", "/se/log", {"type": "browser"}))

    def downloaded(self, name: str, size: int) -> bytes:
        """A file of `size` bytes that a click has saved.

        Without TLS, Chromium asks whether a binary file shall be kept, and until then it bears another name.
        """

        def whole() -> bytes:
            for path in (self.downloads / name, self.downloads / f"{name}.crdownload"):
                if path.is_file() and path.stat().st_size == size:
                    return path.read_bytes()
            return b""

        return self.wait(f"download of {name}", whole)


def available() -> bool:
    return bool(shutil.which("chromium") and shutil.which("chromedriver"))


@contextmanager
def chromium(folder: Path) -> Iterator[Browser]:
    """A browser with an empty profile in `folder`."""
    downloads = folder / "downloads"
    downloads.mkdir(parents=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    home = folder / "home"
    home.mkdir()
    driver = subprocess.Popen(
        ["chromedriver", f"--port={port}", "--allowed-ips=127.0.0.1", f"--log-path={folder / 'chromedriver.log'}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # so that the browser's processes end with it
        env={**os.environ, "HOME": str(home), "no_proxy": "*"},
    )
    try:
        options = {
            "binary": shutil.which("chromium"),
            "args": [
                "--headless=new",
                "--no-sandbox",  # root
                "--disable-gpu",
                "--disable-quic",
                "--disable-dev-shm-usage",
                "--no-first-run",
                "--no-proxy-server",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--window-size=1600,1000",
                f"--user-data-dir={folder / 'profile'}",
            ],
            "prefs": {"download.default_directory": str(downloads), "download.prompt_for_download": False},
        }
        always = {
            "browserName": "chrome",
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL"},
            "timeouts": {"pageLoad": 120000, "script": 60000, "implicit": 0},
        }
        _until_ready(port, driver)
        made = _request(
            "POST", f"http://127.0.0.1:{port}/session", {"capabilities": {"alwaysMatch": always}}, timeout=180
        )
        browser = Browser(port, made["sessionId"], downloads)
        yield browser
        _request("DELETE", browser._base)
    finally:
        os.killpg(driver.pid, signal.SIGTERM)
        try:
            driver.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(driver.pid, signal.SIGKILL)
            driver.wait(10)


def _until_ready(port: int, driver: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 60
    while True:
        assert driver.poll() is None, "chromedriver ended"
        try:
            if _request("GET", f"http://127.0.0.1:{port}/status")["ready"]:
                return
        except OSError:
            assert time.monotonic() < end, "chromedriver did not start"
            time.sleep(0.1)


def _request(method: str, url: str, body: dict[str, Any] | None = None, timeout: float = 150) -> Any:
    """WebDriver's `value`; BrowserError when it is an error."""
    data = None if method in {"GET", "DELETE"} else json.dumps(body or {}).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=timeout) as answer:
            return json.load(answer)["value"]
    except urllib.error.HTTPError as error:
        value = json.load(error).get("value") or {}
        raise BrowserError(f"{value.get('error')}: {value.get('message')}") from None
