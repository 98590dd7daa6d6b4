"""What is hostile by accident or on purpose: values, files, mirrors and passwords; and where no secret may be.

The tests of one host build on each other: refused programs, a mirror's archive, then a whole first run with
passwords that nobody would choose.
"""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import tarfile
import threading
import time
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from provisioner import schema
from provisioner.checks import local_path
from provisioner.lab import hosts
from provisioner.lab.host import LabHost
from provisioner.lab.identity import PRIVATE_KEY

from .conftest import FIRST_RUN, MINIO, Operator, Ran
from .leaks import every_secret, spellings

ADDRESS = "10.151.0.84"
BUILDS = "/opt/minio/bin"

# --- the inventory ----------------------------------------------------------------------------------

VALUES = {
    "a path out of the folder": "../../../etc/passwd",
    "a command": "$(touch /tmp/pwned)",
    "another command": "x; touch /tmp/pwned #",
    "backticks and a pipe": "`id`|sh",
    "SQL": "mlflow'; DROP DATABASE postgres; --",
    "an option of ssh": "-oProxyCommand=touch /tmp/pwned",
    "two lines of a unit": "x\nExecStartPre=/usr/bin/touch /tmp/pwned",
    "nginx": "x; } server { listen 81; }",
    "terminal control": "x\x1b]0;owned\x07",
    "text that runs backwards": "a\u202eb c",
    "nothing": "",
    "far too much": "A" * 5000,
}


def string_keys() -> list[tuple[str, str]]:
    """(table, key) of every setting that is text and is more than opened on this machine."""
    return [
        (table, name)
        for table, section in schema.SECTIONS.items()
        for name, key in schema.keys(section).items()
        if key.kind in ("string", "list") and key.check is not local_path
    ]


@pytest.mark.parametrize("value", [pytest.param(value, id=name) for name, value in VALUES.items()])
def test_no_setting_takes_a_hostile_value(operator: Operator, tmp_path: Path, value: str) -> None:
    toml = json.dumps(value, ensure_ascii=True)
    assert tomllib.loads(f"x = {toml}")["x"] == value
    keys = string_keys()
    for start in range(0, len(keys), 15):  # a reading ends after so many problems
        refused(operator, tmp_path / f"hostile-{start}.toml", keys[start : start + 15], toml)
    assert not Path("/tmp/pwned").exists()


def refused(operator: Operator, inventory: Path, keys: list[tuple[str, str]], toml: str) -> None:
    """Each of `keys` set to the TOML value `toml` is refused by name and line."""
    tables: dict[str, list[str]] = {}
    for table, name in keys:
        kind = schema.keys(schema.SECTIONS[table])[name].kind
        header = f'[{table}."one"]' if table == "hosts" else f"[{table}]"
        tables.setdefault(header, []).append(f"{name} = " + (f"[{toml}]" if kind == "list" else toml))
    inventory.write_text("".join(f"{header}\n" + "\n".join(lines) + "\n" for header, lines in tables.items()))

    ran = operator.run("plan", "--inventory", str(inventory), "--host", "root@10.151.0.89", "--json")

    assert ran.code == 64, ran.why
    error = ran.json["error"]
    told = f"{error['what']}\n{error['detail']}"
    lines = told.splitlines()
    for table, name in keys:
        key = f"hosts.one.{name}" if table == "hosts" else f"{table}.{name}"
        (line,) = [line for line in lines if f" {key}: " in line]
        number = line.split(":")[1]
        assert inventory.read_text().splitlines()[int(number) - 1].startswith(f"{name} = "), line
    assert all(c.isprintable() or c == "\n" for c in ran.err), ran.err
    assert max(map(len, ran.err.splitlines())) < 1000


HOSTS = ["-oProxyCommand=touch /tmp/pwned", "root@$(id)", "a b", "root@10.151.0.89;id", "root@", "x\ny", "[::1", "../x"]


@pytest.mark.parametrize("host", HOSTS)
def test_no_host_is_taken_for_something_else(operator: Operator, host: str) -> None:
    ran = operator.run("plan", f"--host={host}")
    assert ran.code == 64, ran.why
    assert ran.out == ""
    assert all(c.isprintable() or c == "\n" for c in ran.err), ran.err
    assert not Path("/tmp/pwned").exists()


SETS = [
    "store.bucket=../x",
    "store.expose=9002",
    "database.user=x;y",
    "access.port=99999999999",
    "nonsense",
    "=",
    "store.engin=minio",
    "x.y=1",
]


@pytest.mark.parametrize("argument", SETS)
def test_a_wrong_set_is_one_clear_error(operator: Operator, argument: str) -> None:
    ran = operator.run("plan", "--host", "root@10.151.0.89", "--set", argument)
    assert ran.code == 64, ran.why
    assert "--set" in ran.err
    assert "did you mean store.engine" in ran.err or argument != "store.engin=minio"


# --- one host ---------------------------------------------------------------------------------------


@dataclass
class Victim:
    """A host, its operator, and everything that was said about it by anyone."""

    host: LabHost
    operator: Operator
    said: list[Ran] = field(default_factory=list)

    def run(self, *arguments: str, reveals: bool = False, **options: Any) -> Ran:
        ran = self.operator.run(*arguments, "--host", f"root@{ADDRESS}", "-i", str(PRIVATE_KEY), **options)
        if not reveals:
            self.said.append(ran)
        return ran

    def changed_files(self) -> list[str]:
        """Of the system, since `mark`."""
        found = self.host.check(
            "find / -xdev -newer /root/mark -type f -not -path '/var/log/*' -not -path '/run/*' "
            "-not -path '/tmp/*' -not -path '/var/cache/apt/*' -not -path '/var/lib/systemd/*' -not -path '/root/*'"
        )
        return found.splitlines()

    def mark(self) -> None:
        self.host.check("sleep 0.02; touch /root/mark; sleep 0.02")


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victim]:
    if not MINIO:
        pytest.skip("PROVISION_TEST_MINIO names no MinIO binary")
    operator = Operator(tmp_path_factory.mktemp("hostile") / "state")
    with hosts.running("t-hostile", ADDRESS, cache=True) as host:
        victim = Victim(host, operator)
        # Every command line that there ever is, until the host stops.
        host.check(
            "systemd-run -q --unit=watch sh -c 'while :; do cat /proc/[0-9]*/cmdline 2>/dev/null | "
            'tr "\\0" "\\n" | grep -v "^.\\{0,7\\}$" | sort -u >>/root/argv; sleep 0.3; done\''
        )
        yield victim


def arm_binary() -> bytes:
    """The head of the real one, saying AArch64, and long enough."""
    head = bytearray(Path(MINIO).read_bytes()[:100_000])
    head[18:20] = (183).to_bytes(2, "little")
    return bytes(head)


UNFIT = {
    "a text": (b"#!/bin/sh\necho I am MinIO\n" * 2000, "cannot run"),
    "an error page": (b"<!DOCTYPE html><html><body>410 Gone</body></html>" * 100, "cannot run"),
    "another processor's": (b"", "arm64"),
}


@pytest.mark.parametrize("kind", UNFIT)
def test_a_program_that_cannot_run_there_is_refused_before_it_is_sent(
    victim: Victim, tmp_path: Path, kind: str
) -> None:
    content, words = UNFIT[kind]
    (tmp_path / "minio").write_bytes(content or arm_binary())
    victim.mark()
    ran = victim.run("minio", "--set", f"store.binary={tmp_path / 'minio'}", "--json")
    assert ran.code == 4, ran.why
    (check,) = [check for check in ran.host["checks"] if check["id"] == "minio-binary"]
    assert check["status"] == "fail"
    assert words in check["detail"], check
    assert ran.changed() == []
    assert victim.changed_files() == []


def test_a_program_that_is_not_there_is_a_usage_error(victim: Victim, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    for path in (tmp_path / "missing", tmp_path, tmp_path / "empty"):
        ran = victim.run("minio", "--set", f"store.binary={path}")
        assert ran.code == 64, ran.why
        assert str(path) in ran.err + ran.out


class Mirror(BaseHTTPRequestHandler):
    """Serves `files`; an error page with status 200 for everything below /page/."""

    files: ClassVar[dict[str, bytes]] = {}

    def do_GET(self) -> None:
        content = self.files.get(self.path)
        if self.path.startswith("/page/"):
            content = b"<!DOCTYPE html><html><body>This download has moved.</body></html>" * 2000
        self.send_response(404 if content is None else 200)
        content = content if content is not None else b"<html>no such file</html>"
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


@dataclass(frozen=True)
class Served:
    url: str
    archive: str
    """sha256 of the tar.gz."""
    program: str
    """sha256 of the `silo` inside."""


@pytest.fixture(scope="module")
def mirror(victim: Victim) -> Iterator[Served]:
    """A mirror on this machine that has the real program as `silo` in a tar.gz."""
    program = Path(MINIO).read_bytes()
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=1) as archive:
        for name, content in (("silo_linux_amd64/README.md", b"read me"), ("silo_linux_amd64/silo", program)):
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), 0o755
            archive.addfile(info, io.BytesIO(content))
    Mirror.files = {"/silo.tar.gz": packed.getvalue(), "/half.tar.gz": packed.getvalue()[: len(packed.getvalue()) // 2]}
    server = ThreadingHTTPServer(("10.151.0.254", 0), Mirror)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield Served(
            f"http://10.151.0.254:{server.server_port}",
            hashlib.sha256(packed.getvalue()).hexdigest(),
            hashlib.sha256(program).hexdigest(),
        )
    finally:
        server.shutdown()
        server.server_close()
        Mirror.files = {}


def by_url(url: str, sha256: str) -> tuple[str, ...]:
    return ("minio", "--set", f"store.url={url}", "--set", f"store.sha256={sha256}")


@pytest.mark.parametrize("path", ["/page/silo.tar.gz", "/half.tar.gz"])
def test_what_a_broken_mirror_serves_is_never_saved(victim: Victim, mirror: Served, path: str) -> None:
    ran = victim.run(*by_url(mirror.url + path, mirror.archive), "--json")
    assert ran.code == 1, ran.why
    error = ran.host["error"]
    assert "sha256" in error["why"], error
    assert "store.binary=" in error["next"], error
    left = victim.host.check(f"find {BUILDS} /usr/local/bin /var/cache/provision -type f 2>/dev/null || :")
    assert left.split() == []


def test_a_mirror_without_the_file_is_refused_before_anything_changes(victim: Victim, mirror: Served) -> None:
    victim.mark()
    ran = victim.run(*by_url(f"{mirror.url}/nothing.tar.gz", mirror.archive), "--json")
    assert ran.code == 4, ran.why
    (check,) = [check for check in ran.host["checks"] if check["id"] == "download"]
    assert check["status"] == "fail"
    assert "404" in check["detail"]
    for way in ("store.binary=", "store.url=", "store.engine=seaweedfs"):
        assert way in check["fix"]
    assert victim.changed_files() == []


@pytest.fixture(scope="module")
def installed(victim: Victim, mirror: Served) -> Ran:
    """MinIO from the mirror's archive, nothing else yet."""
    return victim.run(*by_url(f"{mirror.url}/silo.tar.gz", mirror.archive), "--json")


def test_the_archive_of_a_mirror_gives_the_program_inside(victim: Victim, mirror: Served, installed: Ran) -> None:
    assert installed.code == 0, installed.why
    assert victim.host.check("sha256sum </usr/local/bin/minio").split()[0] == mirror.program
    assert victim.host.check("systemctl is-active minio.service").strip() == "active"
    assert mirror.archive[:12] in victim.host.check("readlink -f /usr/local/bin/minio")
    again = victim.run("minio", "--json")
    assert again.code == 0
    assert again.changed() == []


PASSWORDS = {
    "login": "pä'ss \"w$(id)%d\\n`x`;&|<> ~*#日本!",
    "database.password": "a'b\"c\\d%20%s @:/?#[]  ü $HOME ${x} ';--",
    "store.root.password": "r'o\"o\\t %h $x `y` #é;&|<>= ~",
    "store.user.secret": "s'e\"c\\r %t $x `z` #é;&|<>= ~+/",
    "mlflow.flask-key": "f'l\"a\\s %k $y ${z} `id` # ключ =~",
    "mlflow.kek": "k'e\"k\\ %K $y ${z} `id` # ключ =~ \U0001f511",
}
"""Within each secret's length: quotes, percent signs, spaces, backslashes, dollars, other scripts."""


def test_a_newline_in_a_password_is_refused(victim: Victim, installed: Ran, tmp_path: Path) -> None:
    document = json.loads(victim.run("secrets", "export", reveals=True).out)
    before = victim.run("secrets", "list").out
    for bad in ("two\nlines-of-a-password", "a-carriage\rreturn", "an-escape\x1b[2J", "short"):
        document["secrets"]["login"] = {"value": bad, "generation": 9}
        (tmp_path / "bad.json").write_text(json.dumps(document))
        ran = victim.run("secrets", "import", str(tmp_path / "bad.json"))
        assert ran.code == 64, ran.why
        assert "login" in ran.err
        assert bad not in ran.err + ran.out
    assert victim.run("secrets", "list").out == before


@pytest.fixture(scope="module")
def hostile(victim: Victim, installed: Ran, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """A whole first run, with passwords that were imported before it."""
    document = json.loads(victim.run("secrets", "export", reveals=True).out)
    for name, value in PASSWORDS.items():
        document["secrets"][name] = {"value": value, "generation": 1}
    path = tmp_path_factory.mktemp("secrets") / "hostile.json"
    path.write_text(json.dumps(document))
    imported = victim.run("secrets", "import", str(path))
    assert imported.code == 0, imported.why
    return victim.run("--json", "--set", 'mlflow.env.MY_TEXT=it\'s "100 %" $HOME\\', timeout=FIRST_RUN)


def test_a_run_with_hostile_passwords_ends_verified(victim: Victim, hostile: Ran) -> None:
    assert hostile.code == 0, hostile.why
    assert set(hostile.checks.values()) <= {"ok", "warn"}, hostile.checks
    for name, value in PASSWORDS.items():
        assert victim.run("secrets", "show", name, reveals=True).out == value + "\n"
    again = victim.run("--json")
    assert again.code == 0, again.why
    assert again.changed() == []
    server = victim.host.check("systemctl show -P MainPID mlflow-server.service").strip()
    told = victim.host.check(f"tr '\\0' '\\n' </proc/{server}/environ")
    assert 'MY_TEXT=it\'s "100 %" $HOME\\' in told.splitlines()


LOGIN = "MLFLOW_TRACKING_PASSWORD"
READERS = {
    "shell": ["sh", "-c", 'eval "$(cat)"; printf %s "$MLFLOW_TRACKING_PASSWORD"'],
    "python": [sys.executable, "-c", f"import sys\nexec(sys.stdin.read())\nprint(os.environ[{LOGIN!r}], end='')"],
    "json": [sys.executable, "-c", f"import json, sys\nprint(json.load(sys.stdin)[{LOGIN!r}], end='')"],
}


@pytest.mark.parametrize("format", READERS)
def test_what_env_prints_arrives_as_it_is(victim: Victim, hostile: Ran, format: str) -> None:
    told = victim.run("env", "--format", format, reveals=True)
    assert told.code == 0, told.err
    environment = {"PATH": "/usr/bin:/bin", "PYTHONIOENCODING": "utf-8", "PYTHONUTF8": "1"}
    read = subprocess.run(READERS[format], input=told.out, capture_output=True, text=True, env=environment, timeout=60)
    assert (read.returncode, read.stderr) == (0, "")
    assert read.stdout == PASSWORDS["login"]


def test_a_shell_with_envs_output_verifies_the_server(victim: Victim, hostile: Ran) -> None:
    told = victim.run("env", reveals=True).out
    script = f'{told}exec {sys.executable} -m provisioner verify --tracking-uri "$MLFLOW_TRACKING_URI" --json'
    home = victim.operator.state.parent / "other"
    home.mkdir()
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(home), "PYTHONPATH": str(Path(schema.__file__).parents[1])}
    ran = subprocess.run(["sh", "-c", script], capture_output=True, text=True, env=environment, timeout=120, cwd=home)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    victim.said.append(Ran(ran.returncode, ran.stdout, ran.stderr))


# --- no secret where it does not belong -------------------------------------------------------------

KEEPERS = (
    "/etc/provision/secrets.json",
    "/etc/mlflow/mlflow.env",
    "/etc/default/minio",
    "/var/backups/provision/",
    "/opt/minio/data/.minio.sys/",
    "/var/lib/postgresql/",
)
"""What may hold one on the host; all of it closed to everybody but its service."""


def test_no_secret_is_told_anywhere(victim: Victim, hostile: Ran) -> None:
    assert hostile.code == 0
    time.sleep(0.5)
    host = victim.host
    host.check("systemctl stop watch.service")
    places = {
        "argv": host.check("sort -u /root/argv"),
        "the host's journal": host.check("journalctl -o json --no-pager --all", seconds=120),
        "the host's logs": host.check("cat $(find /var/log -type f -size -2M -not -path '*/journal/*')", seconds=60),
        "the terminal and JSON": "\n".join(ran.out + ran.err for ran in victim.said),
        "the operator's other files": "\n".join(
            path.read_text(errors="replace")
            for path in victim.operator.state.rglob("*")
            if path.is_file() and path.name != "secrets.json"
        ),
    }
    assert "provision" in places["the terminal and JSON"]
    assert "mlflow" in places["argv"]
    assert (victim.operator.state / "provision").stat().st_mode & 0o077 == 0
    told = [
        f"{name} in {place}"
        for name, value in every_secret(victim.operator.state, victim.host).items()
        for place, text in places.items()
        if any(spelling in text for spelling in spellings(value))
    ]
    assert told == []


def test_files_with_a_secret_are_closed(victim: Victim, hostile: Ran) -> None:
    patterns = {
        s.encode()
        for value in every_secret(victim.operator.state, victim.host).values()
        for s in spellings(value)
        if "\n" not in s
    }
    listed = b"\n".join(sorted(patterns)).decode()
    found = victim.host.check(
        "cat >/run/patterns; chmod 600 /run/patterns; LC_ALL=C grep -rlFs -f /run/patterns "
        "/etc /opt/minio /opt/mlflow/current /usr/local /var/lib /var/log /var/backups /var/cache /tmp /root /home; "
        "rm /run/patterns",
        stdin=listed,
        seconds=180,
    ).split()
    assert "/etc/provision/secrets.json" in found
    assert [path for path in found if not path.startswith(KEEPERS)] == []
    for path in found:
        closed = victim.host.check(f"runuser -u nobody -- cat {path} >/dev/null 2>&1 && echo open || echo closed")
        assert closed.strip() == "closed", path
