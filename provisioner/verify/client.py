"""Verification by the MLflow that is installed in a Python of the user's: for addresses that only it understands
(`databricks`, `azureml://...`, `arn:aws:sagemaker:...`), and to judge a server exactly as that client would."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from provisioner.children import Trouble, talk
from provisioner.engine.check import Check, Status
from provisioner.errors import UsageError
from provisioner.secrets import Secret, masked
from provisioner.values import dataclass
from provisioner.verify.clientfaults import Failure, fault_of, readable
from provisioner.verify.context import MARK
from provisioner.verify.environment import scheme_of
from provisioner.verify.faults import Fault, clean
from provisioner.verify.run import Outcome

_SCRIPT = Path(__file__).resolve().parent.parent / "runtime" / "client_check.py"
_ROOM = 2**20
"""Bytes that the script may say; it says some 3 kB."""
_TITLES = {
    "client": ("MLflow's client", "client"),
    "tracking-api": ("first answer", "client"),
    "experiment": ("experiment", "tracking"),
    "run": ("run", "tracking"),
    "parameter": ("parameter", "tracking"),
    "metrics": ("20 metrics", "tracking"),
    "tag": ("tag", "tracking"),
    "read-back": ("read back", "tracking"),
    "search": ("search", "tracking"),
    "artifact-upload": ("upload", "upload"),
    "artifact-list": ("list", "upload"),
    "artifact-download": ("download", "download"),
    "run-kept": ("run ended", "tracking"),
    "tidy": ("older test runs", "tracking"),
}
"""Check -> title and group, in order; the ids are those of the verification by HTTP."""
_HIDDEN = re.compile(r"PASSWORD|PASSWD|TOKEN|SECRET|ACCESS_KEY|API_KEY|ACCOUNT_KEY|CONNECTION_STRING|SAS", re.I)
_RETRIES = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "30"}
"""Where the user sets none: MLflow's own 7 retries take some minutes to say that nobody is there."""


def interpreter(given: str) -> Path:
    """The Python that `--client` names: an interpreter, a virtual environment's folder, or a program on PATH.
    Raises UsageError."""
    path = Path(given).expanduser()
    if path.is_dir():
        inside = [path / "bin" / "python", path / "bin" / "python3", path / "Scripts" / "python.exe"]
        found = next((each for each in inside if each.exists()), None)
        if found is None:
            raise UsageError(f"{given} is no virtual environment.", why="It has no bin/python.", next=_NAME_ONE)
        # Not resolved: the link's own place is what makes it this environment.
        return found.absolute()
    if "/" not in given and not path.exists() and (on_path := shutil.which(given)):
        return Path(on_path).absolute()
    if not path.exists():
        raise UsageError(f"There is no {given}.", next=_NAME_ONE)
    if not os.access(path, os.X_OK):
        raise UsageError(f"{given} is no program that can be run.", next=_NAME_ONE)
    return path.absolute()


_NAME_ONE = "name a Python with MLflow in it: --client .venv"


def shown(uri: str) -> str:
    """A tracking URI for people: without user, password and query."""
    return clean(re.sub(r"//[^/@]*@", "//", uri).partition("?")[0].rstrip("/"), 200)


@dataclass
class _Told:
    """What the script has said so far."""

    on_check: Callable[[Check], None]
    checks: dict[str, Check] = field(default_factory=dict)
    begun: str = ""
    begun_at: float = 0.0
    run_id: str = ""
    experiment_id: str = ""
    failure: Failure | None = None

    def line(self, line: bytes) -> None:
        """One line; what is not as expected is taken for a foreign print and left out."""
        try:
            data = json.loads(line)
        except (ValueError, RecursionError):
            return
        if not isinstance(data, dict):
            return
        name = _text(data, "begin")
        if name in _TITLES:
            self.begun, self.begun_at = name, time.monotonic()
        if data.get("check") == self.begun and data.get("status") in ("ok", "warn", "skip"):
            self.add(data["status"], _text(data, "detail"))
        if "run" in data:
            self.run_id, self.experiment_id = (clean(_text(data, key), 80) for key in ("run", "experiment"))
        if data.get("failed") == self.begun and self.failure is None:
            classes = data.get("classes")
            names = tuple(str(name)[:120] for name in classes[:8]) if isinstance(classes, list) else ()
            said = readable(_text(data, "text"))
            self.failure = Failure(self.begun, names, _text(data, "code")[:80], said, data.get("lost") is True)

    def add(self, status: Status, detail: str, fix: str | None = None) -> None:
        """The check that was begun has ended."""
        if not self.begun or self.begun in self.checks:
            return
        title, group = _TITLES[self.begun]
        text = clean(readable(detail), 200)
        check = Check(self.begun, title, status, time.monotonic() - self.begun_at, text, fix, group)
        self.checks[self.begun] = check
        self.on_check(check)


def _text(data: Mapping[str, Any], key: str) -> str:
    value = data.get(key)
    return value[:4000] if isinstance(value, str) else ""


def verify(
    uri: str,
    python: Path,
    experiment: str,
    env: Mapping[str, str],
    *,
    on_check: Callable[[Check], None] = lambda check: None,
    budget_seconds: float = 180.0,
) -> Outcome:
    """A test run by that Python's MLflow in the user's environment, read back. Ends within `budget_seconds`.

    Raises UsageError where that Python cannot be used at all."""
    begun = time.monotonic()
    _hide(uri, env)
    told = _Told(on_check)
    # The address and the rest go by the environment: arguments are everybody's to read.
    given = {"experiment": experiment, "mark": MARK}
    its = {**_RETRIES, **env, "MLFLOW_TRACKING_URI": uri, "PROVISION_VERIFY": json.dumps(given)}
    fault: Fault | None = None
    words = (str(python), "-")
    try:
        code, said = talk(
            words, Path.cwd(), env=its, script=_SCRIPT, seconds=budget_seconds, room=_ROOM, on_line=told.line
        )
    except Trouble as trouble:
        if not told.begun:
            raise UsageError(f"{python} {trouble.how}.", why=_last(trouble.said), next=_NAME_ONE) from None
        fault = Fault(
            "time",
            trouble.how,
            what=f"MLflow's client does not come to an end at: {_TITLES[told.begun][0]}.",
            why=_last(trouble.said) or "The server, or something on the way to it, does not answer.",
        )
    else:
        if told.failure is not None:
            fault = fault_of(told.failure, uri, shown(uri), str(python))
        elif code or len(told.checks) < len(_TITLES):
            if not told.begun:
                raise UsageError(f"{python} is no Python that can be used.", why=_last(said), next=_NAME_ONE)
            ended = f"ended with exit code {code}" if code >= 0 else f"was ended by signal {-code}"
            fault = Fault("unexpected", ended, what=f"The client {ended}.", why=_last(said))
    if fault is not None:
        told.add("fail", fault.detail, fault.owner or None)
    return _outcome(told, fault, uri, begun)


def _last(said: str) -> str:
    """The end of what it said on stderr; masked before it is cut, or the rest of a secret would be left."""
    return clean(masked(said)[-300:], 300)


def _outcome(told: _Told, fault: Fault | None, uri: str, begun: float) -> Outcome:
    checks = list(told.checks.values())
    last = next((check.id for check in checks if check.status == "fail"), "")
    for id, (title, group) in _TITLES.items():
        if id not in told.checks:
            checks.append(Check(id, title, "skip", 0.0, f"needs {last}", None, group))
    page = f"{shown(uri)}/#/experiments/{told.experiment_id}/runs/{told.run_id}"
    kept = fault is None and bool(told.run_id)
    return Outcome(
        checks=tuple(checks),
        vantage="direct",
        seconds=time.monotonic() - begun,
        run_url=page if kept and scheme_of(uri) in ("http", "https") else None,
        experiment_id=told.experiment_id,
        run_id=told.run_id if kept else "",
        fault=fault.id if fault else "",
        what=fault.what if fault else "",
        why=fault.why if fault else "",
        next=fault.owner if fault else "",
    )


def _hide(uri: str, env: Mapping[str, str]) -> None:
    """Whatever the client may print of its login is masked from here on."""
    for name, value in env.items():
        if _HIDDEN.search(name) and len(value) >= 6 and not value.isdigit():
            Secret(value)
    found = re.search(r"//[^/@:]*:([^/@]*)@", uri)
    if found:
        Secret(found[1])
        Secret(unquote(found[1]))
