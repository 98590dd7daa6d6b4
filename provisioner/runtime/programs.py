"""The Python programs and shell fragments that run on a host, as text ready to be sent on stdin."""

from __future__ import annotations

import re
import shlex
from functools import cache
from pathlib import Path

from provisioner.runtime.public_index import public_index

_HERE = Path(__file__).parent
_PARTS = {
    "fetch_wheel": ("host_index", "http_client", "fetch_wheel"),
    "fetch_file": ("host_index", "http_client", "fetch_file"),
    "reach": ("host_index", "http_client", "reach"),
    "reach_index": ("host_index", "http_client", "reach_index"),
    "run_uv": ("host_index", "run_uv"),
    "s3_bucket": ("s3_request", "s3_bucket"),
    "store_whole": ("s3_request", "store_whole"),
}
_OWN_IMPORT = re.compile(r"^from provisioner\.runtime\.\w+ import .*\n", re.MULTILINE)
_FUTURE = "from __future__ import annotations\n"


@cache
def program(name: str) -> str:
    """One self-contained Python program for `python3 -I -`: its modules in a row, as they stand here."""
    texts = [(_HERE / f"{part}.py").read_text(encoding="utf-8") for part in _PARTS.get(name, (name,))]
    text = _FUTURE + "\n".join(_OWN_IMPORT.sub("", text).replace(_FUTURE, "") for text in texts)
    return text.replace('PUBLIC_INDEX = ""\n', f"PUBLIC_INDEX = {public_index()!r}\n", 1)


def text(name: str) -> str:
    """A file of this folder as it stands."""
    return (_HERE / name).read_text(encoding="utf-8")


def _here_document(name: str) -> str:
    # Quoted: the shell expands nothing in it, and stdin of the rest of the script stays what it is.
    return f"<<'end-of-{name}'\n{program(name)}\nend-of-{name}\n"


def call(name: str, *arguments: str, interpreter: str = "/usr/bin/python3") -> str:
    """A shell command that runs a program. Arguments are public: every user of the host can read them."""
    words = " ".join(shlex.quote(word) for word in (interpreter, "-I", "-", *arguments))
    return f"{words} {_here_document(name)}"


def function(name: str) -> str:
    """A shell function of the program's name that gives it to a command: NAME python3 -I - ARGUMENT..."""
    return f'{name}() {{\n"$@" {_here_document(name)}}}\n'


def fragment(name: str, *, uses: tuple[str, ...] = (), **values: str) -> str:
    """A POSIX sh fragment in a subshell, its parameters and the functions it uses in front of it.

    `name` is a file of this folder without `.sh`, `uses` are files of this folder (.py: a program as a
    function; .sh: functions), `values` the upper-case parameters listed at the fragment's head.
    """
    parts = [f"{key}={shlex.quote(value)}\n" for key, value in values.items()]
    for used in uses:
        stem, _, kind = used.rpartition(".")
        parts.append(function(stem) if kind == "py" else (_HERE / used).read_text(encoding="utf-8"))
    parts.append((_HERE / f"{name}.sh").read_text(encoding="utf-8"))
    return "(\n" + "".join(parts) + ")\n"
