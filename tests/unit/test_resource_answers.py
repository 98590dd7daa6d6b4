"""Health checks: a real server on a port of this machine, asked by the fragment that a host runs."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest
import shells

from provisioner.resources.answers import Ask, answers
from provisioner.secrets import Secret


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        right = (self.headers["Host"], body) == ("mlflow.example:5000", b'{"max_results": 1}')
        known = self.headers["Authorization"] == "Basic bWxmbG93OnDDpCdzIjpz"
        self.send_response(200 if right and known else 401 if right else 400)
        self.end_headers()
        self.wfile.write(b"x" * 9000 + b"site 12\n")

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def port() -> Iterator[int]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def ask(port: int, password: str | None = "pä's\":s", accepted: tuple[int, ...] = (200,)) -> Ask:
    return Ask(
        port,
        "/search",
        "mlflow.example:5000",
        accepted,
        "POST",
        '{"max_results": 1}',
        "mlflow",
        None if password is None else Secret(password),
    )


@pytest.mark.parametrize("shell", shells.SHELLS, ids=" ".join)
def test_a_server_that_answers_as_accepted_is_healthy(shell: list[str], port: int) -> None:
    text = answers(ask(port), ask(port, None, (401,)), python="python3")
    assert shells.lint(text) == ""
    assert shells.run(shell, text.encode()).returncode == 0


def impatient(asked: Ask) -> str:
    """It asks for 0.3 s where a real one asks for 3."""
    text = answers(asked, python="python3")
    assert text.count("time.monotonic() + 3\n") == 1
    return text.replace("time.monotonic() + 3\n", "time.monotonic() + 0.3\n")


@pytest.mark.parametrize(("wanted", "status"), [("site 12\n", 0), ("site 13\n", 1)])
def test_a_reply_must_have_the_wanted_words_in_it(wanted: str, status: int, port: int) -> None:
    asked = replace(ask(port), wanted=wanted)
    assert shells.run(shells.SHELLS[0], impatient(asked).encode()).returncode == status


@pytest.mark.parametrize("asked", [lambda port: ask(port, "wrong-one"), lambda _: ask(1)], ids=["refused", "closed"])
def test_a_server_that_refuses_or_is_closed_is_not_healthy(asked: object, port: int) -> None:
    assert callable(asked)
    done = shells.run(shells.SHELLS[0], impatient(asked(port)).encode())
    assert done.returncode == 1


def test_the_password_is_not_shown_by_a_request_and_no_header_can_be_smuggled_in() -> None:
    assert "secret" in repr(ask(1))
    with pytest.raises(ValueError, match="line break"):
        Ask(1, "/", "host\r\nX: y").request()
