"""The options that every command takes, before its name or after it."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Iterator, MutableMapping
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any

import typer

from provisioner.errors import Exit, ProvisionError

if TYPE_CHECKING:
    from provisioner.commands.options import Options
    from provisioner.report.model import Reporter

_OPTIONS: dict[str, tuple[Any, Any]] = {
    "host": (
        list[str],
        typer.Option("--host", metavar="[USER@]HOST[:PORT]", help="Server; repeatable."),
    ),
    "stack": (list[str], typer.Option("--stack", metavar="NAME", help="Of the inventory's [stacks]; repeatable.")),
    "inventory": (str, typer.Option(metavar="FILE", help="Inventory; by default inventory.toml, if it exists.")),
    "ssh_user": (str, typer.Option(metavar="NAME", help="User that logs in.")),
    "ssh_port": (int, typer.Option(metavar="PORT", min=1, max=65535, help="sshd's port.")),
    "identity": (str, typer.Option("-i", "--identity", metavar="FILE", help="Private key file.")),
    "ask_sudo_password": (
        bool,
        typer.Option("-K", "--ask-sudo-password", help="Ask for sudo's password (or set PROVISION_SUDO_PASSWORD)."),
    ),
    "set_": (
        list[str],
        typer.Option("--set", metavar="KEY=VALUE", help="Any inventory key; repeatable."),
    ),
    "json": (bool, typer.Option("--json", help="One JSON document on stdout.")),
    "quiet": (bool, typer.Option("--quiet", "-q", help="Errors and results only.")),
    "verbose": (
        int,
        typer.Option("-v", "--verbose", count=True, show_default=False, help="More; -vv with tracebacks."),
    ),
    "yes": (bool, typer.Option("--yes", "-y", help="Replace what this tool did not make, where a run asks for it.")),
    "verify_": (bool, typer.Option("--verify", help="End with the full verification in any case.")),
    "deep": (bool, typer.Option("--deep", help="Read programs and packages whole instead of trusting their stamps.")),
    "no_auth": (bool, typer.Option("--no-auth", help="No login: whoever reaches the port is in.")),
    "allow_public_http": (
        bool,
        typer.Option("--allow-public-http", help="Allow a public address without TLS."),
    ),
    "no_color": (bool, typer.Option("--no-color", help="No colour (also NO_COLOR).")),
}
_EMPTY: dict[type, Any] = {bool: False, int: None, str: None}


class Commands(MutableMapping[str, Any]):
    """A group's commands by name, each made when it is asked for: that takes 2 ms each, and a call has one."""

    def __init__(self) -> None:
        self._apps: dict[str, typer.Typer] = {}
        self._made: dict[str, Any] = {}

    def add(self, name: str, app: typer.Typer) -> typer.Typer:
        """`app` is the command `name`, or the group when it has several."""
        return self._apps.setdefault(name, app)

    def below(self, app: typer.Typer) -> Any:
        """`app`, which has a callback and no command of its own, as the group of these."""
        group: Any = typer.main.get_command(app)
        group.commands = self
        return group

    def __getitem__(self, name: str) -> Any:
        if name not in self._made:
            self._made[name] = typer.main.get_command(self._apps[name])
        return self._made[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self._made[name] = command

    def __delitem__(self, name: str) -> None:
        del self._apps[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._apps)

    def __len__(self) -> int:
        return len(self._apps)


def part(help: str | None = None) -> typer.Typer:
    """An app that becomes one of `Commands`."""
    return typer.Typer(help=help, rich_markup_mode=None, add_completion=False)


def command(
    on: Commands | typer.Typer, name: str, help: str | None = None
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a command that takes the common options too: they stand before or after its name."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        own = [p for p in inspect.signature(function, eval_str=True).parameters.values() if p.name not in {"call"}]

        def run(ctx: typer.Context, **values: Any) -> None:
            common = {key: values.pop(key) for key in _OPTIONS}
            call = Call(_merged(ctx, common))
            raise typer.Exit(ended(lambda: function(call, **values)))

        context = inspect.Parameter("ctx", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
        sign(run, [context, *(p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own), *parameters()])
        run.__doc__ = help or function.__doc__
        app = on if isinstance(on, typer.Typer) else on.add(name, part())
        app.command(name, help=help or inspect.cleandoc(function.__doc__ or ""))(run)
        return function

    return register


def group(help: str) -> typer.Typer:
    """An app for several commands; the common options stand before its name, after it, or after the command's."""
    made = part(help)

    def keep(ctx: typer.Context, **values: Any) -> None:
        ctx.obj = _merged(ctx, values)

    context = inspect.Parameter("ctx", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
    sign(keep, [context, *parameters()])
    made.callback()(keep)
    return made


def ended(command: Callable[[], Any]) -> int:
    """The exit code of `command`; an interrupt is told, which the command-line library would not do."""
    try:
        return int(command())
    except KeyboardInterrupt:
        raise interrupted() from None


def interrupted() -> ProvisionError:
    """Ctrl-C, or the end of what is typed."""
    return ProvisionError(
        "interrupted", next="run the same command again: it continues from what is there", exit=Exit.INTERRUPTED
    )


def sign(function: Callable[..., Any], taken: list[inspect.Parameter]) -> None:
    """Let `function` seem to take `taken`: that is where the command-line library looks."""
    function.__signature__ = inspect.Signature(taken)  # type: ignore[attr-defined]
    function.__annotations__ = {p.name: p.annotation for p in taken}


def parameters() -> list[inspect.Parameter]:
    """The common options, as parameters of a function."""
    found = []
    for name, (kind, option) in _OPTIONS.items():
        default: Any = 0 if name == "verbose" else _EMPTY.get(kind)
        annotation = kind if kind in {bool} or name == "verbose" else kind | None
        found.append(
            inspect.Parameter(
                name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[annotation, option]
            )
        )
    return found


def _merged(ctx: typer.Context, common: dict[str, Any]) -> dict[str, Any]:
    """Options given before the command and after it; lists add up, the later one wins."""
    before: dict[str, Any] = ctx.obj or {}
    merged: dict[str, Any] = {}
    for name, value in common.items():
        earlier = before.get(name)
        if isinstance(value, list) or isinstance(earlier, list):
            merged[name] = [*(earlier or []), *(value or [])]
        elif name == "verbose":
            merged[name] = (value or 0) + (earlier or 0)
        else:
            merged[name] = value if value not in (None, False) else earlier
    return merged


class Call:
    """The common options of one call, as commands take them."""

    def __init__(self, values: dict[str, Any]):
        self._values = values

    def __getitem__(self, name: str) -> Any:
        return self._values.get(name)

    @cached_property
    def options(self) -> Options:
        from provisioner.commands.options import Options

        v = self._values
        return Options(
            hosts=tuple(v["host"] or ()),
            names=tuple(v["stack"] or ()),
            inventory=v["inventory"],
            sets=tuple(v["set_"] or ()),
            ssh_user=v["ssh_user"],
            ssh_port=v["ssh_port"],
            identity=v["identity"],
            sudo_password=_sudo_password(bool(v["ask_sudo_password"])),
            no_auth=bool(v["no_auth"]),
            allow_public_http=bool(v["allow_public_http"]),
            yes=bool(v["yes"]),
            verify=bool(v["verify_"]),
            deep=bool(v["deep"]),
            verbose=v["verbose"] or 0,
            interactive=sys.stdin.isatty() and sys.stderr.isatty(),
            json=bool(v["json"]),
            say=None if v["quiet"] else _say,
        )

    @property
    def reporter(self) -> Reporter:
        from provisioner.report import choose

        v = self._values
        return choose(json=bool(v["json"]), quiet=bool(v["quiet"]), verbose=v["verbose"] or 0, color=not v["no_color"])


def _sudo_password(ask: bool) -> Any:
    from provisioner.secrets import Secret

    if ask:
        from provisioner.asking import secretly

        return Secret(secretly("sudo password: ", "-K", "set PROVISION_SUDO_PASSWORD instead"))
    # Taken out of the environment: no child process shall see it.
    given = os.environ.pop("PROVISION_SUDO_PASSWORD", None)
    return Secret(given) if given else None


def _say(line: str) -> None:
    print(line, file=sys.stderr)
