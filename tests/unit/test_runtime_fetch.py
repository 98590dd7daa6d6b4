"""The program that fetches a wheel, run as a host runs it: isolated, from stdin, against local servers."""

from __future__ import annotations

import base64
import hashlib
import http.server
import io
import json
import os
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from provisioner.runtime import pins, programs

PROGRAM = b"\x7fELF this stands for a program" * 1000
FILE = "tool-1.0-py3-none-any.whl"


def wheel() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("tool-1.0.data/scripts/tool", PROGRAM)
        archive.writestr("../../escape", b"never extracted")
    return buffer.getvalue()


WHEEL = wheel()


@dataclass
class Index:
    """A server whose answers are functions of the request; it remembers what was asked."""

    answers: dict[str, Callable[[http.server.BaseHTTPRequestHandler], tuple[int, dict[str, str], bytes]]]
    asked: list[tuple[str, str]] = field(default_factory=list)  # (path, Authorization)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/simple"


@pytest.fixture
def index() -> Iterator[Index]:
    state = Index({})

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            authorization = self.headers.get("Authorization") or self.headers.get("Proxy-Authorization") or ""
            state.asked.append((self.path, authorization))
            answer = state.answers.get(self.path)
            status, headers, body = answer(self) if answer else (404, {}, b"no")
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    page = f'<html><a href="../../files/{FILE}#sha256=x">{FILE}</a></html>'.encode()
    state.answers["/simple/tool/"] = lambda _: (200, {"Content-Type": "text/html"}, page)
    state.answers[f"/files/{FILE}"] = lambda _: (200, {}, WHEEL)
    yield state
    server.shutdown()
    server.server_close()


def run(tmp_path: Path, spec: dict[str, object] | None = None, **environ: str) -> subprocess.CompletedProcess[str]:
    pinned = pins.Wheel(
        FILE, hashlib.sha256(WHEEL).hexdigest(), len(WHEEL), hashlib.sha256(PROGRAM).hexdigest(), len(PROGRAM)
    )
    program = pins.PinnedProgram(
        "tool", "1.0", "tool-1.0.data/scripts/tool", {"x86_64": pinned, "aarch64": pinned, "arm64": pinned}
    )
    text = json.loads(pins.fetch_spec(program, str(tmp_path / "opt/tool/tool")))
    text.update(spec or {})
    # The fixed pauses between tries are a second and three: here they would be the whole test.
    source = programs.program("fetch_wheel").replace("PAUSES = (1.0, 3.0)", "PAUSES = (0.01, 0.01)")
    return subprocess.run(
        [sys.executable, "-I", "-", json.dumps(text)],
        input=source,
        env={"HOME": str(tmp_path), "PATH": os.environ["PATH"], **environ},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def installed(tmp_path: Path) -> Path:
    return tmp_path / "opt/tool/tool"


def nothing_left(tmp_path: Path) -> bool:
    folder = tmp_path / "opt/tool"
    return not folder.exists() or sorted(folder.iterdir()) == []


def test_a_wheel_listed_in_html_is_fetched_and_only_its_program_installed(tmp_path: Path, index: Index) -> None:
    done = run(tmp_path, PIP_INDEX_URL=index.url)
    assert (done.returncode, done.stdout) == (0, "fetched\n"), done.stderr
    assert installed(tmp_path).read_bytes() == PROGRAM
    assert installed(tmp_path).stat().st_mode & 0o777 == 0o755
    assert [path.name for path in installed(tmp_path).parent.iterdir()] == ["tool"]
    assert f"progress {len(WHEEL)} {len(WHEEL)}" in done.stderr


def test_what_is_there_is_not_fetched_again(tmp_path: Path, index: Index) -> None:
    run(tmp_path, PIP_INDEX_URL=index.url)
    asked = len(index.asked)
    assert run(tmp_path, PIP_INDEX_URL=index.url).stdout == "present\n"
    assert len(index.asked) == asked


def test_an_altered_program_is_replaced(tmp_path: Path, index: Index) -> None:
    run(tmp_path, PIP_INDEX_URL=index.url)
    installed(tmp_path).write_bytes(b"altered")
    assert run(tmp_path, PIP_INDEX_URL=index.url).stdout == "fetched\n"
    assert installed(tmp_path).read_bytes() == PROGRAM


def test_a_json_page_is_understood(tmp_path: Path, index: Index) -> None:
    body = json.dumps({"files": [{"filename": FILE, "url": f"/files/{FILE}"}]}).encode()
    index.answers["/simple/tool/"] = lambda _: (
        200,
        {"Content-Type": "application/vnd.pypi.simple.v1+json"},
        body,
    )
    assert run(tmp_path, PIP_INDEX_URL=index.url).returncode == 0


def test_credentials_go_to_their_own_origin_only(tmp_path: Path, index: Index) -> None:
    body = f'<a href="http://localhost:{index.port}/files/{FILE}">{FILE}</a>'.encode()
    index.answers["/simple/tool/"] = lambda _: (200, {"Content-Type": "text/html"}, body)
    done = run(tmp_path, PIP_INDEX_URL=index.url.replace("//", "//us%40er:p%3Aw@"))
    assert done.returncode == 0, done.stderr
    basic = "Basic " + base64.b64encode(b"us@er:p:w").decode()
    assert index.asked == [("/simple/tool/", basic), (f"/files/{FILE}", "")]


def test_a_redirect_is_followed_without_carrying_credentials_away(tmp_path: Path, index: Index) -> None:
    target = f"http://localhost:{index.port}/elsewhere"
    index.answers[f"/files/{FILE}"] = lambda _: (302, {"Location": target}, b"")
    index.answers["/elsewhere"] = lambda _: (200, {}, WHEEL)
    assert run(tmp_path, PIP_INDEX_URL=index.url.replace("//", "//u:p@")).returncode == 0
    assert [bool(authorization) for _, authorization in index.asked] == [True, True, False]


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x", "/files/" + FILE])
def test_a_redirect_to_something_else_or_in_a_circle_is_an_error(tmp_path: Path, index: Index, target: str) -> None:
    index.answers[f"/files/{FILE}"] = lambda _: (302, {"Location": target}, b"")
    assert run(tmp_path, PIP_INDEX_URL=index.url).returncode == 11
    assert nothing_left(tmp_path)


def test_a_proxy_is_used_and_gets_its_own_credentials(tmp_path: Path, index: Index) -> None:
    page, file = "http://index.invalid/simple/tool/", f"http://index.invalid/files/{FILE}"
    index.answers[page] = index.answers["/simple/tool/"]
    index.answers[file] = index.answers[f"/files/{FILE}"]
    done = run(tmp_path, PIP_INDEX_URL="http://index.invalid/simple", http_proxy=f"http://u:p@127.0.0.1:{index.port}")
    assert done.returncode == 0, done.stderr
    assert index.asked == [(page, "Basic dTpw"), (file, "Basic dTpw")]


def test_no_proxy_goes_past_the_proxy(tmp_path: Path, index: Index) -> None:
    done = run(tmp_path, PIP_INDEX_URL=index.url, http_proxy="http://127.0.0.1:1", no_proxy="127.0.0.1")
    assert done.returncode == 0, done.stderr


def test_an_error_page_is_never_saved(tmp_path: Path, index: Index) -> None:
    index.answers[f"/files/{FILE}"] = lambda _: (200, {"Content-Type": "text/html"}, b"<h1>blocked</h1>")
    done = run(tmp_path, PIP_INDEX_URL=index.url)
    assert done.returncode == 14
    assert "error page" in done.stderr
    assert nothing_left(tmp_path)


def test_more_bytes_than_pinned_stop_the_download(tmp_path: Path, index: Index) -> None:
    index.answers[f"/files/{FILE}"] = lambda _: (200, {}, WHEEL + b"x" * 10_000_000)
    assert run(tmp_path, PIP_INDEX_URL=index.url).returncode == 14
    assert nothing_left(tmp_path)


def test_a_download_cut_off_is_tried_again(tmp_path: Path, index: Index) -> None:
    tries: list[int] = []

    def flaky(_: object) -> tuple[int, dict[str, str], bytes]:
        tries.append(1)
        return (200, {"Content-Length": str(len(WHEEL))}, WHEEL if len(tries) == 3 else WHEEL[:50])

    index.answers[f"/files/{FILE}"] = flaky
    assert run(tmp_path, PIP_INDEX_URL=index.url).returncode == 0
    assert len(tries) == 3


@pytest.mark.parametrize(("status", "code"), [(401, 12), (403, 12), (404, 13), (503, 11), (500, 11)])
def test_each_refusal_has_its_code_and_never_shows_the_password(
    tmp_path: Path, index: Index, status: int, code: int
) -> None:
    index.answers["/simple/tool/"] = lambda _: (status, {}, b"<h1>sorry</h1>")
    done = run(tmp_path, PIP_INDEX_URL=index.url.replace("//", "//u:pa55word@"))
    assert done.returncode == code
    assert "pa55word" not in done.stderr + done.stdout
    assert [line.split()[0] for line in done.stderr.splitlines()] == ["what", "why", "next"]


def test_an_index_that_does_not_list_the_file_says_so(tmp_path: Path, index: Index) -> None:
    index.answers["/simple/tool/"] = lambda _: (
        200,
        {"Content-Type": "text/html"},
        b"<a href='x-1.whl'>x</a>",
    )
    done = run(tmp_path, PIP_INDEX_URL=index.url)
    assert done.returncode == 13
    assert "names 1 files, not this one" in done.stderr


def test_the_next_index_is_asked_when_one_has_it_not(tmp_path: Path, index: Index) -> None:
    first = f"http://127.0.0.1:{index.port}/empty"
    assert run(tmp_path, PIP_INDEX_URL=first, PIP_EXTRA_INDEX_URL=index.url).returncode == 0


def test_nothing_listening_is_unreachable(tmp_path: Path) -> None:
    done = run(tmp_path, PIP_INDEX_URL="http://127.0.0.1:1/simple")
    assert done.returncode == 11
    assert "/etc/pip.conf" in done.stderr


def test_a_folder_of_wheels_is_enough(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(WHEEL)
    done = run(tmp_path, PIP_NO_INDEX="1", PIP_FIND_LINKS=str(tmp_path))
    assert done.stdout == "fetched\n", done.stderr
    assert (tmp_path / FILE).exists()


def test_a_machine_without_a_wheel_is_told(tmp_path: Path) -> None:
    assert run(tmp_path, {"wheels": {}}).returncode == 10


def test_a_destination_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "opt").write_text("a file")
    assert run(tmp_path).returncode == 15


def test_what_a_killed_run_left_is_overwritten(tmp_path: Path, index: Index) -> None:
    folder = tmp_path / "opt/tool"
    folder.mkdir(parents=True)
    (folder / ".tool.wheel").write_bytes(b"half")
    (folder / ".tool.new").write_bytes(b"half")
    assert run(tmp_path, PIP_INDEX_URL=index.url).returncode == 0
    assert [path.name for path in folder.iterdir()] == ["tool"]


def test_a_wrong_call_is_64() -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-"],
        input=programs.program("fetch_wheel"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 64


def reached(tmp_path: Path, index: Index) -> str:
    """What the look says of the index."""
    source = programs.program("reach_index").replace("PAUSES = (1.0, 3.0)", "PAUSES = (0.01, 0.01)")
    done = subprocess.run(
        [sys.executable, "-I", "-", "tool", "6"],
        input=source,
        env={"HOME": str(tmp_path), "PATH": os.environ["PATH"], "PIP_INDEX_URL": index.url},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    return done.stdout


@pytest.mark.parametrize("busy", [503, 429])
def test_an_index_that_is_busy_for_a_moment_is_asked_again(tmp_path: Path, index: Index, busy: int) -> None:
    listed, times = index.answers["/simple/tool/"], iter((busy, busy))
    index.answers["/simple/tool/"] = lambda request: (code, {}, b"") if (code := next(times, 0)) else listed(request)
    assert reached(tmp_path, index) == "ok\n"
    assert len(index.asked) == 3


def test_an_index_that_hangs_once_is_asked_again(tmp_path: Path, index: Index) -> None:
    listed, hang = index.answers["/simple/tool/"], threading.Event()
    later = iter((lambda: hang.wait(10),))

    def answer(request: http.server.BaseHTTPRequestHandler) -> tuple[int, dict[str, str], bytes]:
        next(later, lambda: True)()
        return listed(request)

    index.answers["/simple/tool/"] = answer
    assert reached(tmp_path, index) == "ok\n"
    hang.set()


def test_an_index_that_stays_busy_or_has_it_not_is_told(tmp_path: Path, index: Index) -> None:
    index.answers["/simple/tool/"] = lambda _: (503, {}, b"")
    assert reached(tmp_path, index) == f"fail 127.0.0.1:{index.port} answers HTTP 503\n"
    assert len(index.asked) == 3
    del index.answers["/simple/tool/"]
    assert reached(tmp_path, index) == f"fail 127.0.0.1:{index.port} answers HTTP 404\n"
    assert len(index.asked) == 4, "an answer that stays is not asked for again"
