"""The MLflow environment: its version, lock and schema, how it is made, looked at and judged."""

from __future__ import annotations

import hashlib
import re
from functools import cache
from importlib import resources

from provisioner.engine.quoting import emit, word
from provisioner.runtime import programs
from provisioner.secrets import Secret
from provisioner.values import dataclass

VERSION = "3.17.2"
SCHEMA_HEAD = "dc11669786a5"  # `alembic_version` of a database that VERSION works with
ACCOUNTS_HEAD = "f1a2b3c4d5e6"  # the same of `alembic_version_auth`, for the database of MLflow's own accounts
HOME = "/opt/mlflow"
UV_CACHE = "/var/cache/provision/uv"  # used when somebody made it; see venv.sh
PYTHON = "/usr/bin/python3"


@cache
def lock(version: str = VERSION) -> str:
    """The universal lock with hashes, 300 kB; FileNotFoundError for a version that has none."""
    folder = resources.files("provisioner") / "locks"
    return (folder / f"mlflow-{version}.txt").read_text(encoding="utf-8")


def lock_sha256(version: str = VERSION) -> str:
    """sha256 of the lock as it is sent; what a finished environment records."""
    return hashlib.sha256(lock(version).encode()).hexdigest()


def upgrade(
    venv: str, *, env_file: str, wait: int = 30, limit: int = 900, migrate: bool = False, accounts: str = ""
) -> str:
    """The fragment that makes the tables, or with `migrate` moves them; times in seconds. `accounts`: those of
    MLflow's own accounts, in the database of that name.

    Codes and output are those of db_upgrade.py and db_upgrade.sh. No secret is in the text.
    """
    return programs.fragment(
        "db_upgrade",
        uses=("db_upgrade.py",),
        VENV=venv,
        ENV_FILE=env_file,
        WAIT=str(wait),
        LIMIT=str(limit),
        MIGRATE="migrate" if migrate else "",
        ACCOUNTS=accounts,
    )


def rewrap(venv: str, *, env_file: str, before: tuple[str, int], wanted: tuple[str, int], database: Secret) -> str:
    """A command that moves MLflow's stored keys from one passphrase and version to another (rewrap_keys.py).

    The secrets are in the text: they reach Python on stdin. The service must not run meanwhile. `database`:
    the address that is tried when the one in `env_file` is refused.
    """
    program = _given("rewrap_keys", CHANGE=(before, wanted), DATABASE=database.reveal())
    return f"{emit(program)} | {_as_service(venv, env_file, 300, 'provision-rewrap-keys')}"


def give_password(venv: str, *, env_file: str, database: str, account: str, digest: Secret) -> str:
    """A command that gives an account of MLflow's own a password (account_password.py). `digest`: as Werkzeug stores
    it; it is in the text, and reaches Python on stdin."""
    program = _given("account_password", ACCOUNT=(account, digest.reveal()), DATABASE=database)
    return f"{emit(program)} | {_as_service(venv, env_file, 60)}"


def _given(name: str, **values: object) -> bytes:
    """A program of this folder with values in the place of those that stand at its head."""
    program = programs.program(name)
    for variable, value in values.items():
        head, mark, tail = re.split(rf"^({variable}\b[^=\n]*= ).*$", program, maxsplit=1, flags=re.MULTILINE)
        program = f"{head}{mark}{value!r}{tail}"
    return program.encode()


def _as_service(venv: str, env_file: str, seconds: int, unit: str = "") -> str:
    """A command: Python of the environment, with a program on stdin and what the service has."""
    options = " ".join(
        f"-p {word(each)}"
        for each in (
            "User=mlflow",
            f"EnvironmentFile={env_file}",
            f"RuntimeMaxSec={seconds}",
            "PrivateTmp=yes",
            "NoNewPrivileges=yes",
            "ProtectSystem=strict",
            "ProtectHome=yes",
            "WorkingDirectory=/",
        )
    )
    named = f"--unit={unit} " if unit else ""
    return f"systemd-run --quiet --wait --pipe --collect {named}{options} -- {word(venv + '/bin/python')} -I -"


@dataclass(frozen=True)
class VenvSeen:
    """What `venv_probe` saw. The two name -> state maps are only filled for a complete environment."""

    state: str  # absent, unfinished, foreign, complete
    interpreter: str = ""
    lock_sha256: str = ""
    python: str = ""
    recorded: frozenset[str] = frozenset()
    present: frozenset[str] = frozenset()
    altered: frozenset[str] = frozenset()
    """Packages with a file that is not as their RECORD says; only a deep look reads that far."""


def probe(venv: str, *, deep: bool = False, python: str = PYTHON) -> str:
    """The read-only fragment that looks at an environment; `deep`: reads every file in it, with `python`."""
    fragment = programs.fragment("venv_probe", uses=("environment_state.sh",), VENV=venv)
    if deep:
        fragment += programs.fragment("venv_altered", uses=("check_records.py",), VENV=venv, PYTHON=python)
    return fragment


def make(venv: str, *, lock_path: str, uv: str, python: str = PYTHON, version: str = VERSION) -> str:
    """The fragment that makes or repairs an environment; `lock_path` holds `lock(version)` on the host."""
    return programs.fragment(
        "venv",
        uses=("run_uv.py", "warm.py", "check_records.py", "environment_state.sh"),
        VENV=venv,
        LOCK=lock_path,
        LOCK_SHA256=lock_sha256(version),
        UV=uv,
        PYTHON=python,
        CACHE=UV_CACHE,
    )


def seen_from(text: str) -> VenvSeen:
    """The probe's output as a record; anything malformed is ignored and shows up as a difference."""
    head, _, rest = text.partition("== recorded\n")
    recorded, _, present = rest.partition("== present\n")
    fields = dict(line.split(" ", 1) for line in (head + recorded).splitlines() if " " in line)

    def states(lines: str) -> frozenset[str]:
        return frozenset(line for line in lines.splitlines() if line.startswith(("record ", "name ")))

    return VenvSeen(
        state=fields.get("state", "absent"),
        interpreter=fields.get("interpreter", ""),
        lock_sha256=fields.get("lock", ""),
        python=fields.get("python", ""),
        recorded=states(recorded),
        present=states(present),
        altered=frozenset(line[8:] for line in present.splitlines() if line.startswith("altered ")),
    )


def _package(line: str) -> str:
    path = line.split(" ")[1]
    return path.split("/")[-1] if path.startswith("..") else path.split(".dist-info")[0].rsplit("-", 1)[0]


def difference(seen: VenvSeen, *, python: str, version: str = VERSION) -> str:
    """Why the environment is not as wanted, in the reader's words; empty when it is.

    `python` is what the wanted interpreter resolves to on the host.
    """
    if seen.state == "absent":
        return "absent"
    if seen.state == "unfinished":
        return "an earlier installation did not finish"
    if seen.state == "foreign":
        return "not made by this tool"
    if seen.interpreter != python or seen.python != python:
        return f"made for {seen.python}, wanted {python}"
    if seen.lock_sha256 != lock_sha256(version):
        return "installed from another lock"
    gone = sorted({_package(line) for line in seen.recorded - seen.present} | seen.altered)
    if not gone:
        return ""  # what somebody added is theirs
    names = ", ".join(gone[:3]) + (f" and {len(gone) - 3} more" if len(gone) > 3 else "")
    return f"removed or altered: {names}"


def added(seen: VenvSeen) -> tuple[str, ...]:
    """Packages that somebody installed besides the lock's; they stay, and are worth a line."""
    extra = {line for line in seen.present - seen.recorded if line.startswith("record ")}
    return tuple(sorted({_package(line) for line in extra} - {_package(line) for line in seen.recorded}))
