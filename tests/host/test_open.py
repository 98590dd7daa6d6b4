"""`provision open`: a page behind SSH, in the browser of whoever may log in to the server."""

from __future__ import annotations

import base64
import http.client
import os
import re
import signal
import socket
import subprocess
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from .conftest import Stack


@contextmanager
def opened(stack: Stack, *arguments: str, **env: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The running command and the URL that it printed."""
    process = stack.operator.start("open", *arguments, *stack.reach(), **env)
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert re.fullmatch(r"http://127\.0\.0\.1:[0-9]+/", url), process.communicate(timeout=60)
        yield process, url
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=30)


def ask(url: str, method: str = "GET", path: str = "/", body: bytes | None = None, **headers: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(url).netloc, timeout=60)
    try:
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, answer.read().decode(errors="replace")
    finally:
        connection.close()


def ended(process: subprocess.Popen[str], how: signal.Signals | None = None) -> tuple[int, str, str]:
    if how is not None:
        process.send_signal(how)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def closed(url: str) -> bool:
    try:
        socket.create_connection(("127.0.0.1", urllib.parse.urlsplit(url).port or 0), 5).close()
    except ConnectionRefusedError:
        return True
    return False


def test_mlflow_opens_behind_its_login_and_ends_with_an_interrupt(stack: Stack) -> None:
    login = "Basic " + base64.b64encode(f"mlflow:{stack.secret('login')}".encode()).decode()
    with opened(stack, "mlflow", "--no-browser") as (process, url):
        assert ask(url)[0] == 401, "other users of this machine reach the port, too"
        status, page = ask(url, Authorization=login)
        assert status == 200
        assert "MLflow" in page
        # What fills the page: a POST with the page's own origin, which is not the server's.
        status, found = ask(
            url, "POST", "/ajax-api/2.0/mlflow/experiments/search", b'{"max_results": 1}',
            Authorization=login, Origin=url.rstrip("/"), Content_Type="application/json",
        )  # fmt: skip
        assert status == 200, found
        assert ask(url, path="/ajax-api/3.0/mlflow/assistant/config", Authorization=login)[0] == 403
        told = Path(f"/proc/{process.pid}/cmdline").read_text()
        code, out, err = ended(process, signal.SIGINT)
        assert (code, out) == (0, "")
        assert "provision secrets show login" in err
        assert not any(stack.secret(name) in told + err for name in ("login", "store.root.password"))
        assert closed(url)


def test_the_browser_gets_the_address_and_nothing_else(stack: Stack, tmp_path: Path) -> None:
    browser, kept = tmp_path / "browser", tmp_path / "arguments"
    browser.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >{kept}.part\nmv {kept}.part {kept}\n')
    browser.chmod(0o755)
    with opened(stack, "mlflow", BROWSER=str(browser)) as (process, url):
        end = time.monotonic() + 30
        while not kept.exists():
            assert time.monotonic() < end, "no browser was started"
            time.sleep(0.1)
        assert kept.read_text() == url + "\n"
        assert ended(process, signal.SIGINT)[0] == 0


def test_a_link_that_dies_ends_it_with_3(stack: Stack) -> None:
    with opened(stack, "mlflow", "--no-browser") as (process, url):
        assert ask(url)[0] == 401
        stack.on("pkill -KILL -x sshd-session || pkill -KILL -f '^[s]shd: root'")
        code, out, err = ended(process)
        assert (code, out) == (3, "")
        assert "was lost" in err
        assert f"provision open mlflow --host root@{stack.address}" in err
        assert closed(url)


def test_the_console_is_minios_and_seaweedfs_says_that_it_has_none(stack: Stack) -> None:
    if stack.engine != "minio":
        ran = stack.run("open", "console", "--no-browser")
        assert (ran.code, ran.out) == (4, "")
        assert "has no console" in ran.err
        return
    with opened(stack, "console", "--no-browser") as (process, url):
        status, page = ask(url)
        assert status == 200
        assert "MinIO" in page
        code, _, err = ended(process, signal.SIGINT)
        assert code == 0
        assert "secrets show store.root.password" in err
        assert stack.secret("store.root.password") not in err


def test_a_port_is_chosen_and_one_that_is_taken_is_told(stack: Stack) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ran = stack.run("open", "mlflow", "--no-browser", "--port", port)
        assert (ran.code, ran.out) == (64, "")
        assert f"port {port}" in ran.err
    with opened(stack, "mlflow", "--no-browser", "--port", port) as (process, url):
        assert url == f"http://127.0.0.1:{port}/"
        assert ended(process, signal.SIGINT)[0] == 0


@pytest.mark.parametrize("arguments", [["nonsense"], ["mlflow", "--port", "70000"], ["mlflow", "--json"]])
def test_what_cannot_be_opened_is_a_usage_error(stack: Stack, arguments: list[str]) -> None:
    ran = stack.run("open", *arguments, DISPLAY="", BROWSER=os.devnull)
    assert ran.code == 64, ran.err
