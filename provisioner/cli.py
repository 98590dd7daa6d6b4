"""The command line: parse, call, print. What a command does is in provisioner/commands."""

from __future__ import annotations

import inspect
import io
import os
import re
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from provisioner.cli_options import Call, Commands, command, ended, group, parameters, sign
from provisioner.errors import Exit

app = typer.Typer(
    name="provision",
    help="Turn bare Ubuntu and Debian servers into a working MLflow tracking platform, over SSH.",
    epilog="A first server: provision --host ADDRESS. No server at hand: provision demo",
    invoke_without_command=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
commands = Commands()
secrets_app = group("The stack's secrets: names, values, copies.")
user_app = group("Accounts that clients log in with.")


@app.callback()
def _root(ctx: typer.Context, **values: Any) -> None:
    version = values.pop("version", False)
    if version:
        from importlib.metadata import version as of

        typer.echo(f"provision {of('provision')}")
        raise typer.Exit(0)
    ctx.obj = values
    if ctx.invoked_subcommand is None:
        raise typer.Exit(ended(lambda: _apply(Call(values), ())))


def _root_signature() -> None:
    context = inspect.Parameter("ctx", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
    version = inspect.Parameter(
        "version",
        inspect.Parameter.KEYWORD_ONLY,
        default=False,
        annotation=Annotated[bool, typer.Option("--version", help="Show the version.")],
    )
    sign(_root, [context, *parameters(), version])


_root_signature()


def _apply(call: Call, steps: tuple[str, ...]) -> Exit:
    from provisioner.commands.apply import apply

    return apply(call.options, call.reporter, steps)


@command(commands, "apply")
def _(call: Call) -> Exit:
    """Every step in order; the same as no command at all."""
    return _apply(call, ())


@command(commands, "plan")
def _(
    call: Call,
    diff: Annotated[bool, typer.Option("--diff", help="Show the lines that would change.")] = False,
    exit_code: Annotated[bool, typer.Option("--exit-code", help="Exit 2 when something would change.")] = False,
) -> Exit:
    """What a run would change; changes nothing."""
    from provisioner.commands.plan import plan

    return plan(call.options, call.reporter, diff=diff, exit_code=exit_code)


@command(commands, "status")
def _(call: Call) -> Exit:
    """One screen: services, versions, address, disk, drift."""
    from provisioner.commands.status import status

    return status(call.options, call.reporter)


@command(commands, "verify")
def _(
    call: Call,
    tracking_uri: Annotated[str, typer.Option(metavar="URL", help="Any MLflow server, instead of --host.")] = "",
    client: Annotated[
        str, typer.Option(metavar="PYTHON", help="Let the MLflow in this Python or virtual environment do it.")
    ] = "",
    experiment: Annotated[str, typer.Option(metavar="NAME", help="With --client: where the test run goes.")] = "",
) -> Exit:
    """Log a test run the way a client does and read it back."""
    from provisioner.commands.verify import verify

    return verify(call.options, call.reporter, tracking_uri, client, experiment)


@command(commands, "env")
def _(
    call: Call,
    format: Annotated[str, typer.Option(metavar="FORMAT", help="shell, dotenv, json or python.")] = "shell",
    ca: Annotated[
        str | None, typer.Option(metavar="FILE", help="With TLS: write the roots that clients must trust there.")
    ] = None,
) -> Exit:
    """What a client must set:  eval "$(provision env)"."""
    from provisioner.commands.env import env

    return env(call.options, "json" if call["json"] else format, ca)


@command(commands, "open")
def _(
    call: Call,
    page: Annotated[str, typer.Argument(metavar="[mlflow|console]", help="Which page.")] = "mlflow",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of this machine; 0: a free one.")] = 0,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Only print the URL.")] = False,
) -> Exit:
    """Open a page of the server in the browser, through SSH."""
    from provisioner.commands.open import open_page

    return open_page(call.options, page, port, browser=not no_browser)


@command(commands, "init")
def _(
    call: Call,
    output: Annotated[str, typer.Option("--output", "-o", metavar="FILE", help="Where to write.")] = "inventory.toml",
) -> Exit:
    """Write an inventory: a stack's settings, or an example."""
    from provisioner.commands.init import init

    return init(call.options, output)


@command(commands, "forget-key")
def _(call: Call, name: Annotated[str, typer.Argument(metavar="HOST", help="Host whose key has changed.")]) -> Exit:
    """Forget a host's SSH key, after a rebuild for example."""
    from provisioner.commands.forget import forget_key

    return forget_key(call.options, name)


@command(commands, "demo")
def _(
    call: Call,
    action: Annotated[str, typer.Argument(metavar="[up|down|status]", help="What to do.")] = "up",
) -> Exit:
    """A disposable server on this machine, set up over SSH."""
    from provisioner.commands.demo import demo

    return demo(call.options, call.reporter, action)


@command(secrets_app, "list")
def _(call: Call) -> Exit:
    """Names, generations and what each is for; no values."""
    from provisioner.commands.secrets import list_secrets

    return list_secrets(call.options)


@command(secrets_app, "show")
def _(call: Call, name: Annotated[str, typer.Argument(metavar="NAME")]) -> Exit:
    """One secret's value on stdout."""
    from provisioner.commands.secrets import show_secret

    return show_secret(call.options, name)


@command(secrets_app, "export")
def _(call: Call) -> Exit:
    """The whole document on stdout: keep it where secrets are kept."""
    from provisioner.commands.secrets import export_secrets

    return export_secrets(call.options)


@command(secrets_app, "import")
def _(
    call: Call, file: Annotated[str, typer.Argument(metavar="FILE", help="An exported document; - for stdin.")]
) -> Exit:
    """Take over an exported document; the next run applies it."""
    from provisioner.commands.secrets import import_secrets

    return import_secrets(call.options, file)


_Name = Annotated[str, typer.Argument(metavar="NAME")]
_Stdin = Annotated[bool, typer.Option("--password-stdin", help="Read the password from stdin.")]
_Ask = Annotated[bool, typer.Option("--ask-password", help="Ask for the password on the terminal.")]


@command(user_app, "add")
def _(call: Call, name: _Name, password_stdin: _Stdin = False, ask_password: _Ask = False) -> Exit:
    """A new account; its generated password is shown once."""
    from provisioner.commands.user import add, password_given

    return add(call.options, name, password_given(stdin=password_stdin, ask=ask_password))


@command(user_app, "passwd")
def _(call: Call, name: _Name, password_stdin: _Stdin = False, ask_password: _Ask = False) -> Exit:
    """Another password for an account."""
    from provisioner.commands.user import passwd, password_given

    return passwd(call.options, name, password_given(stdin=password_stdin, ask=ask_password))


@command(user_app, "remove")
def _(call: Call, name: _Name) -> Exit:
    """End an account at once."""
    from provisioner.commands.user import remove

    return remove(call.options, name)


@command(user_app, "list")
def _(call: Call) -> Exit:
    """The accounts that there are; no passwords."""
    from provisioner.commands.user import list_users

    return list_users(call.options)


@command(secrets_app, "rotate")
def _(
    call: Call, name: Annotated[str, typer.Argument(metavar="NAME", help="A secret of `secrets list`, or all.")]
) -> Exit:
    """A new value on both sides, and what must restart; verified, or the earlier one is back."""
    from provisioner.commands.rotate import rotate

    return rotate(call.options, call.reporter, name)


def _steps() -> None:
    """A command for each module of provisioner/steps that has a STEP; its help is the step's summary.
    Read as text: importing them would cost more than the whole of `--help`."""
    for path in sorted((Path(__file__).parent / "steps").glob("[a-z]*.py")):
        text = path.read_text(encoding="utf-8")
        summary = re.search(r'^    summary: str = "(.+)"$', text, re.MULTILINE)
        if "\nSTEP" in text and summary:
            _step(path.stem.replace("_", "-"), summary[1])


def _step(name: str, line: str) -> None:
    def run(call: Call) -> Exit:
        return _apply(call, (name,))

    command(commands, name, help=f"Step: {line}.")(run)


_steps()
commands.add("secrets", secrets_app)
commands.add("user", user_app)


def program() -> Any:
    """The whole command line."""
    return commands.below(app)


def main(arguments: list[str] | None = None) -> None:
    """The program. Exit codes are errors.Exit; usage errors are 64, an interrupt is 130."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal of another encoding shall not end a run
            stream.reconfigure(errors="backslashreplace")
    try:
        code = program()(args=arguments, standalone_mode=False)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        code = Exit.FAILED
    except (Exception, KeyboardInterrupt) as error:
        from provisioner.ending import code_of

        code = code_of(error, sys.argv[1:] if arguments is None else arguments)
    if code == Exit.INTERRUPTED:
        from provisioner.ending import leave

        leave(int(code))
    sys.exit(int(code or 0))


if __name__ == "__main__":
    main()
