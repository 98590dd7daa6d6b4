"""Whole runs by every way in: sudo with a password, a jump host, no forwarding, Rust's tools, several hosts."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from provisioner.lab import hosts
from provisioner.lab.host import LabHost
from provisioner.lab.identity import PRIVATE_KEY
from provisioner.secrets import Secret

from . import terminal as terminals
from .conftest import FIRST_RUN, Operator, Ran
from .terminal import Terminal

TIGHT, BASTION, RUSTY, NOBODY = "10.151.0.86", "10.151.0.87", "10.151.0.88", "10.151.0.89"
PASSWORD = Secret("a sudo pä'ss \"w$(id)%d\\")
NAME = "mlflow.lab.internal"
"""A name that only the server itself resolves."""
ENGINE = ("--set", "store.engine=seaweedfs")


@dataclass
class Site:
    """One host and one operator, a user whose every privilege goes through sudo."""

    host: LabHost
    operator: Operator
    user: str = "ops"

    def run(self, *arguments: str, key: Path = PRIVATE_KEY, **options: Any) -> Ran:
        reach = ("--host", f"{self.user}@{self.host.address}", "-i", str(key))
        options.setdefault("PROVISION_SUDO_PASSWORD", PASSWORD.reveal())
        ran = self.operator.run(*arguments, *reach, **options)
        assert PASSWORD.reveal() not in ran.out + ran.err
        return ran


@pytest.fixture(scope="module")
def tight(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Debian 12: sudo asks for a password, sshd refuses forwarding and root."""
    user = hosts.SudoUser("ops", PASSWORD, nopasswd=False)
    sshd = ("AllowTcpForwarding no", "AllowStreamLocalForwarding no", "PermitRootLogin no", "LogLevel VERBOSE")
    with hosts.running("t-sudo", TIGHT, sudo_user=user, sshd=sshd, cache=True) as host:
        host.check(f"echo '{TIGHT} {NAME}' >>/etc/hosts")
        yield Site(host, Operator(tmp_path_factory.mktemp("sudo") / "state"))


@pytest.fixture(scope="module")
def made(tight: Site) -> Ran:
    return tight.run(*ENGINE, "--json", timeout=FIRST_RUN)


def empty(host: LabHost) -> bool:
    """Nothing of this tool's is there."""
    return host.exec("ls -d /etc/provision /opt/mlflow /opt/seaweedfs /var/log/provision /run/provision").stdout == ""


REFUSED = {
    "no password": ("", "needs a password", "PROVISION_SUDO_PASSWORD"),
    "a wrong password": ("not the password", "does not accept the password", "-K"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_without_sudos_password_nothing_happens(tight: Site, kind: str) -> None:
    password, words, way = REFUSED[kind]
    ran = tight.run(*ENGINE, "--json", PROVISION_SUDO_PASSWORD=password)
    assert ran.code == 3, ran.why
    error = ran.host["error"]
    assert "sudo" in error["what"] + error["why"], error
    assert words in error["what"] + error["why"], error
    assert way in error["next"], error
    assert password == "" or password not in ran.out + ran.err
    assert empty(tight.host)


def test_a_wrong_key_is_told_and_so_is_a_host_that_is_not_there(tight: Site, tmp_path: Path) -> None:
    key = tmp_path / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    wrong = tight.run(*ENGINE, "--json", key=key)
    assert wrong.code == 3
    assert "ops" in wrong.host["error"]["what"] + wrong.host["error"]["why"], wrong.out
    assert str(key) in str(wrong.host["error"]), wrong.out
    begun = time.monotonic()
    nobody = tight.operator.run(*ENGINE, "--host", f"root@{NOBODY}", "--json")
    assert nobody.code == 3
    assert NOBODY in nobody.host["error"]["what"]
    assert nobody.host["error"]["next"]
    assert time.monotonic() - begun < 60
    assert empty(tight.host)


def test_a_whole_run_through_sudo_and_without_forwarding(tight: Site, made: Ran) -> None:
    assert made.code == 0, made.why
    assert made.host["vantage"] == "direct"
    assert set(made.checks.values()) <= {"ok", "warn"}, made.checks
    assert any(warning.startswith("forwarding: sshd forbids it") for warning in made.host["warnings"])
    # What goes through a forward elsewhere: the database, the store as MLflow's user.
    assert {made.checks[check] for check in ("database-row", "bucket-object", "bucket-policy")} == {"ok"}
    again = tight.run("--json")
    assert again.code == 0, again.why
    assert again.changed() == []
    assert (again.host["connections"], again.host["channels"]) <= (1, 2)
    assert tight.host.check("stat -c '%U %a' /etc/provision/secrets.json").split() == ["root", "600"]
    assert tight.host.check("find / -xdev -user ops -newer /etc/hostname -not -path '/home/*' -type f") == ""
    assert PASSWORD.reveal() not in tight.host.check(
        "journalctl --no-pager -o cat; cat /var/log/provision/*", seconds=90
    )


def test_what_was_broken_is_mended_through_sudo(tight: Site, made: Ran) -> None:
    assert made.code == 0
    tight.host.check("systemctl stop mlflow-server; runuser -u postgres -- psql -qc \"ALTER ROLE mlflow PASSWORD 'x'\"")
    ran = tight.run("--json")
    assert ran.code == 0, ran.why
    assert {"unit:mlflow-server.service", "role:mlflow"} <= set(ran.changed())


@pytest.fixture
def at_the_prompt(tight: Site, made: Ran, tmp_path: Path) -> Callable[..., AbstractContextManager[Terminal]]:
    """`provision -K ARGUMENTS` for the host, on a terminal."""
    assert made.code == 0
    (tmp_path / ".ssh").mkdir(mode=0o700)
    shutil.copy(PRIVATE_KEY, tmp_path / ".ssh" / "id_ed25519")
    (tmp_path / ".ssh" / "id_ed25519").chmod(0o600)

    def opened(*arguments: str) -> AbstractContextManager[Terminal]:
        call = ("provision", *arguments, "-K", "--host", f"ops@{TIGHT}")
        return terminals.terminal(100, *call, home=tmp_path, XDG_STATE_HOME=str(tight.operator.state))

    return opened


ASKED = "sudo password:"


@pytest.mark.skipif(not terminals.available(), reason="tmux is not installed")
def test_a_password_is_asked_for_once_whatever_the_number_of_hosts_and_never_shown(
    at_the_prompt: Callable[..., AbstractContextManager[Terminal]],
) -> None:
    for others, code in (((), 0), (("--host", f"ops@{NOBODY}"), 3)):
        with at_the_prompt(*others) as window:
            window.shows(ASKED)
            window.type(PASSWORD.reveal())
            assert window.ends() == code, window.lines()
            text = "\n".join(window.lines())
        assert text.count(ASKED) == 1
        assert PASSWORD.reveal() not in text
        assert PASSWORD.reveal()[:8] not in text
        assert "nothing to change" in text
        assert (NOBODY in text) is bool(others)


@pytest.mark.skipif(not terminals.available(), reason="tmux is not installed")
@pytest.mark.parametrize(("key", "code"), [("", 3), ("C-c", 130), ("C-d", 130)])
def test_a_wrong_password_is_refused_once_and_no_answer_ends_the_call(
    tight: Site, at_the_prompt: Callable[..., AbstractContextManager[Terminal]], key: str, code: int
) -> None:
    since = tight.host.check("date '+%F %T'").strip()
    with at_the_prompt() as window:
        window.shows(ASKED)
        if key:
            window.press(key)
        else:
            window.type("not the password")
        assert window.ends() == code, window.lines()
        text = "\n".join(window.lines())
    assert text.count(ASKED) == 1
    if not key:
        assert "does not accept the password of ops" in text
        assert "-K" in text
        assert "not the password" not in text
        tried = tight.host.check(f"journalctl --no-pager -o cat --since '{since}' | grep -c 'authentication failure'")
        assert int(tried) == 1, "accounts are locked after several"
    else:
        assert "interrupted" in text


@pytest.fixture(scope="module")
def bastion(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabHost]:
    with hosts.running("t-bastion", BASTION) as host:
        yield host


def through(bastion: LabHost, site: Site) -> None:
    """Their ~/.ssh/config: the server is reached by way of the bastion."""
    home = site.operator.state.parent / (site.operator.state.name + ".home")
    (home / ".ssh").mkdir(mode=0o700, exist_ok=True)
    (home / ".ssh/config").write_text(
        f"Host bastion\n  HostName {BASTION}\n  User root\n  IdentityFile {PRIVATE_KEY}\n"
        f"Host {TIGHT}\n  ProxyJump bastion\n"
    )


def test_a_jump_host_is_gone_through_and_its_key_is_kept_too(bastion: LabHost, tight: Site, made: Ran) -> None:
    assert made.code == 0
    through(bastion, tight)
    # Clients do not know this name: the address that they shall use is one of a closed network.
    moved = tight.run("--json", "--set", f'access.names=["{NAME}"]')
    assert moved.code == 0, moved.why
    assert moved.host["vantage"] == "ssh"
    assert moved.host["url"] == f"http://{NAME}:5000"
    assert moved.checks["artifact-download"] == "ok"
    seen = tight.host.check("journalctl --no-pager -u ssh -o cat | grep 'Accepted publickey for ops' | tail -n 1")
    assert f"from {BASTION} " in seen

    verified = tight.run("verify")
    assert verified.code == 0, verified.why
    assert "not proven from a client's network" in verified.out + verified.err
    again = tight.run("--json")
    assert again.changed() == []
    assert again.host["connections"] <= 2

    direct = tight.run("--json", "--set", f'access.names=["{TIGHT}"]')
    assert direct.code == 0, direct.why
    assert direct.host["vantage"] == "direct", "the address is reached from here, jump or not"


def test_a_changed_key_of_the_jump_host_is_refused(bastion: LabHost, tight: Site, made: Ran) -> None:
    assert made.code == 0
    through(bastion, tight)
    hosts.reset("t-bastion")
    ran = tight.run("--json")
    assert ran.code == 3, ran.why
    assert BASTION in str(ran.host["error"]) or "bastion" in str(ran.host["error"])
    assert "forget-key" in ran.host["error"]["next"]
    (tight.operator.state.parent / (tight.operator.state.name + ".home") / ".ssh/config").unlink()


def test_of_several_hosts_the_good_one_is_done(tight: Site, made: Ran) -> None:
    assert made.code == 0
    tight.host.check("systemctl stop nginx")
    ran = tight.run("--json", "--host", f"ops@{NOBODY}")
    assert ran.code == 3, ran.why
    by_name = {host["host"]: host for host in ran.json["hosts"]}
    assert by_name[NOBODY]["error"]["what"]
    assert by_name[NOBODY]["changes"] == []
    assert by_name[TIGHT]["error"] is None
    assert [change["resource"] for change in by_name[TIGHT]["changes"]] == ["unit:nginx.service"]
    assert tight.host.check("systemctl is-active nginx").strip() == "active"
    told = tight.run("--host", f"ops@{NOBODY}")
    assert told.code == 3
    assert NOBODY in told.out + told.err
    assert TIGHT in told.out + told.err


# --- Debian 13, with sudo-rs, and Rust's coreutils first in PATH -------------------------------------


@pytest.fixture(scope="module")
def rusty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    user = hosts.SudoUser("ops", PASSWORD, nopasswd=False)
    lines = ("LogLevel VERBOSE",)
    with hosts.running(
        "t-rust", RUSTY, suite="trixie", variant="sudo-rs", sudo_user=user, sshd=lines, cache=True
    ) as host:
        yield Site(host, Operator(tmp_path_factory.mktemp("rust") / "state"))


def test_a_whole_run_on_debian_13_with_rusts_tools(rusty: Site) -> None:
    assert "GNU" not in rusty.host.check("stat --version; mv --version; sha256sum --version")
    assert "sudo-rs" in rusty.host.check("sudo -V 2>&1")
    made = rusty.run(*ENGINE, "--json", timeout=FIRST_RUN)
    assert made.code == 0, made.why
    assert set(made.checks.values()) <= {"ok", "warn"}, made.checks

    again = rusty.run("--json")
    assert again.code == 0, again.why
    assert again.changed() == []
    assert (again.host["connections"], again.host["channels"]) <= (1, 2)

    version = rusty.host.check("ls /etc/postgresql").strip()
    rusty.host.check(
        "sed -i 's/^MemoryMax=.*/MemoryMax=1G/' /etc/systemd/system/mlflow-server.service;"
        "chmod 644 /etc/mlflow/mlflow.env;"
        f"systemctl stop postgresql@{version}-main; rm /etc/nginx/conf.d/provision-mlflow.conf; systemctl daemon-reload"
    )
    broken = rusty.run("verify", "--json")
    assert broken.code == 5, broken.why
    mended = rusty.run("--json")
    assert mended.code == 0, mended.why
    wanted = {
        "file:mlflow-server.service",
        "file:mlflow.env",
        "file:nginx-site",
        f"unit:postgresql@{version}-main.service",
    }
    assert wanted <= set(mended.changed())
    assert rusty.run("--json").changed() == []
    for unit in ("mlflow-server", "seaweedfs", "nginx", f"postgresql@{version}-main"):
        assert rusty.host.check(f"systemctl is-active {unit}").strip() == "active"
