"""`open`: a page that only the server itself can reach, in the browser here, through the SSH connection."""

from __future__ import annotations

import socket
import sys
import time
import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from provisioner.commands.options import Options, one_stack, select, session
from provisioner.commands.view import View, look_at_record
from provisioner.errors import Exit, Refused, Unreachable, UsageError
from provisioner.report.text import clean
from provisioner.transport import forward
from provisioner.values import dataclass

if TYPE_CHECKING:
    from provisioner.transport.base import Session

HERE = "127.0.0.1"
_CONSOLE = 9001
_LOOK = 0.5
"""Seconds between two looks at the link."""


@dataclass(frozen=True)
class Page:
    """A page on the server's loopback: its port there, whether it speaks TLS, and who may log in."""

    name: str
    port: int
    tls: str = ""
    """The name that its certificate bears; empty without TLS."""
    user: str = ""
    """Who logs in, or the command that shows it; empty where nobody is asked."""
    password: str = ""
    """The command that shows it; the password itself is never told here."""


def open_page(options: Options, name: str, port: int, *, browser: bool) -> Exit:
    """Keep the page open until Ctrl-C (exit 0) or until the link dies (Unreachable, exit 3)."""
    if name not in PAGES:
        raise UsageError(f"{name} is no page that can be opened", next=f"one of: {', '.join(PAGES)}")
    if options.json:
        raise UsageError("open has no JSON: it lasts until it is interrupted", next=f"provision open {name}")
    request = one_stack(options).at("store" if name == "console" else "proxy")
    listener = _listener(port)
    with listener, session(request, options) as connection:
        page = PAGES[name](look_at_record(connection, request))
        with connection.forward(page.port) as path, forward.served(listener, _opener(page, path)):
            url = f"http://{HERE}:{listener.getsockname()[1]}/"
            try:
                _tell(page, url, connection)
                if browser:
                    # Never the password: the browser's arguments are everybody's to read on this machine.
                    webbrowser.open(url)
                while connection.alive:
                    time.sleep(_LOOK)
            except KeyboardInterrupt:
                print("closed", file=sys.stderr)
                return Exit.OK
    raise Unreachable(
        f"the connection to {request.host.name} was lost",
        why=f"nothing answers there any more, and {url} with it",
        next=f"provision open {name} {select(request)}",
    )


def _mlflow(view: View) -> Page:
    """Through nginx on the server's loopback, not MLflow's own port: the accounts count, and what nginx
    closes (MLflow's assistant can run commands) stays closed to other users of this machine."""
    door = view.context.door
    name = door.name if door.scheme == "https" else ""
    if view.settings.access.auth == "none":
        return Page("MLflow", door.port, name)
    return Page("MLflow", door.port, name, "mlflow", f"provision secrets show login {select(view.request)}")


def _console(view: View) -> Page:
    if view.settings.store.engine != "minio":
        names = {"seaweedfs": "SeaweedFS", "external": "a store that this tool did not make"}
        engine = view.settings.store.engine
        raise Refused(
            f"{names.get(engine, engine)} has no console that could be opened",
            why="only MinIO's server brings a page of its own",
            next=f"provision open mlflow {select(view.request)}  shows artifacts",
        )
    user = view.context.secrets["store.root.user"].reveal()
    return Page(
        "MinIO's console",
        _CONSOLE,
        "127.0.0.1" if view.settings.topology.spread("store") else "",
        user,
        f"provision secrets show store.root.password {select(view.request)}",
    )


PAGES: dict[str, Callable[[View], Page]] = {"mlflow": _mlflow, "console": _console}


def _listener(port: int) -> socket.socket:
    """Bound before anything is asked of the server: a port that is taken is told at once."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HERE, port))
    except OSError as error:
        listener.close()
        raise UsageError(
            f"port {port} of this machine cannot be used: {(error.strerror or str(error)).lower()}",
            next="leave out --port, a free one is taken",
        ) from error
    return listener


def _opener(page: Page, path: Path) -> Callable[[], tuple[forward.Stream, Callable[[], None]]]:
    def opened() -> tuple[forward.Stream, Callable[[], None]]:
        sock, end = forward.joined(path)
        try:
            stream: forward.Stream = _unwrapped(sock, page.tls) if page.tls else sock
        except BaseException:
            sock.close()
            raise
        return stream, end

    return opened


def _unwrapped(sock: socket.socket, name: str) -> forward.Stream:
    """The browser speaks plain HTTP to this process. SSH has proven who the server is, and the stream ends on its
    loopback: a certificate would prove less."""
    import ssl

    from provisioner.transport.tls import TlsStream

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return TlsStream(sock, context, name)


def _tell(page: Page, url: str, connection: Session) -> None:
    print(url, flush=True)
    print(clean(f"{page.name} of {connection.host}, through SSH; Ctrl-C ends it"), file=sys.stderr)
    if page.user:
        print(clean(f"user       {page.user}"), file=sys.stderr)
        print(clean(f"password   {page.password}"), file=sys.stderr)
    sys.stderr.flush()
