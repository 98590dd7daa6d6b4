"""The files that land on a host: Jinja2 templates of `units/`, statements of `sql/`, and their quoting."""

from __future__ import annotations

import functools
import re
import string
from pathlib import Path
from typing import TYPE_CHECKING, Any

from provisioner.secrets import Secret

if TYPE_CHECKING:
    from jinja2 import Environment

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._@/-]*")
_PLAIN = frozenset(string.ascii_letters + string.digits + "_./:@%+,=^-~")
_UNIT_PLAIN = frozenset(string.ascii_letters + string.digits + ":_.")


def folder(kind: str) -> Path:
    """`units` or `sql`: inside the package when it was installed, else beside it in a checkout."""
    package = Path(__file__).resolve().parent
    inside = package / kind
    return inside if inside.is_dir() else package.parent / kind


def render(name: str, **values: Any) -> str:
    """The template `units/NAME` with `values`. A name that the template uses and nobody gave is an
    error, and so is a bare Secret: write `{{ password | reveal }}` or `{{ password | env_value }}`.
    """
    return _environment().get_template(_checked(name)).render(**values)


def sql(name: str) -> str:
    """The text of `sql/NAME`."""
    return (folder("sql") / _checked(name)).read_text(encoding="utf-8")


def example() -> str:
    """The commented example inventory, the one that the tests load."""
    package = Path(__file__).resolve().parent
    inside = package / "inventory.example.toml"
    return (inside if inside.is_file() else package.parent / inside.name).read_text(encoding="utf-8")


def env_value(value: object) -> str:
    """`value` as the right side of a systemd EnvironmentFile line; a Secret is revealed.

    Plain where systemd needs no quotes, so that `KEY=value` stays greppable, else in double quotes
    with `\\`, `"`, `$` and the backtick escaped: what systemd (env-file.c, 247 to 257) and a shell
    read alike. Raises ValueError for control characters: systemd drops or splits such lines.
    """
    text = _text(value)
    if all(c in _PLAIN for c in text) and not text.startswith("~"):
        return text
    return '"' + re.sub(r'([\\"$`])', r"\\\1", text) + '"'


def unit_value(value: object) -> str:
    """`value` inside a unit file's ordinary setting (Description=, a path): specifiers are literal."""
    return _text(value).replace("%", "%%")


def exec_arg(value: object) -> str:
    """One word of an ExecStart= line: quoted, with specifiers and variables taken literally."""
    text = _text(value).replace("%", "%%").replace("$", "$$")
    if text and re.fullmatch(r"[A-Za-z0-9_./:@%+,=$-]+", text):
        return text
    return '"' + re.sub(r'([\\"])', r"\\\1", text) + '"'


def systemd_escape(value: object, path: bool = False) -> str:
    """`value` as a part of a unit's name, like systemd-escape(1); with `path` like its --path."""
    text = _text(value)
    if path:
        text = "/".join(part for part in text.split("/") if part)
        if not text:
            return "-"
    escaped = []
    for position, byte in enumerate(text.encode()):
        char = chr(byte)
        if char == "/":
            escaped.append("-")
        elif char in _UNIT_PLAIN and not (position == 0 and char == "."):
            escaped.append(char)
        else:
            escaped.append(f"\\x{byte:02x}")
    return "".join(escaped)


def _text(value: object) -> str:
    if isinstance(value, bool):
        text = "true" if value else "false"
    else:
        text = value.reveal() if isinstance(value, Secret) else str(value)
    if re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]", text):
        raise ValueError("a value for a unit or an environment file has a control character in it")
    return text


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name) or ".." in name:
        raise ValueError(f"not the name of a template: {name!r}")
    return name


def _no_bare_secret(value: object) -> object:
    if isinstance(value, Secret):
        raise TypeError("a template prints a secret without | reveal or | env_value")
    return value


@functools.cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    from provisioner.compiled import CompiledTemplates

    environment = Environment(
        loader=FileSystemLoader(folder("units"), encoding="utf-8"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701  unit files, not HTML; quoting is explicit by filter
        finalize=_no_bare_secret,
        bytecode_cache=CompiledTemplates(__file__),
    )
    environment.filters |= {
        "env_value": env_value,
        "unit_value": unit_value,
        "exec_arg": exec_arg,
        "systemd_escape": systemd_escape,
        "reveal": lambda value: value.reveal() if isinstance(value, Secret) else value,
    }
    return environment
