"""A running host as a test holds it: where it is, and how to do things in it by hand."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

from provisioner.errors import ProvisionError
from provisioner.lab.places import SSH
from provisioner.values import dataclass

_ENVIRONMENT = {
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
}


@dataclass(frozen=True)
class Result:
    """What a command in a host said; `rc` 124 means that it was ended at its time limit."""

    stdout: str
    stderr: str
    rc: int


@dataclass(frozen=True)
class LabHost:
    """A running host.

    `root` is its filesystem seen from this machine: reading and writing below it acts on the live host,
    except where the host has a mount of its own (/run, /tmp on Debian 13, /proc). `pid` is its nspawn's,
    and changes with every boot.
    """

    name: str
    address: str
    root: Path
    pid: int

    def exec(self, command: str, *, seconds: float = 60.0, stdin: str = "") -> Result:
        """Run a shell command as root inside, without SSH: works with sshd or the network broken.

        Raises ProvisionError when the host is not running.
        """
        argv = ("nsenter", f"--target={self._init()}", "--mount", "--uts", "--ipc", "--net", "--pid", "--")
        child = subprocess.Popen(
            (*argv, "sh", "-c", command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env=_ENVIRONMENT,
            start_new_session=True,  # so that ending it ends what it started inside, too
        )
        rc = None
        try:
            stdout, stderr = child.communicate(stdin, timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            stdout, stderr = child.communicate(timeout=10)
            rc = 124
        except BaseException:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait(10)
            raise
        return Result(stdout, stderr, child.returncode if rc is None else rc)

    def check(self, command: str, *, seconds: float = 60.0, stdin: str = "") -> str:
        """`exec`, but a non-zero exit raises ProvisionError; returns stdout."""
        result = self.exec(command, seconds=seconds, stdin=stdin)
        if result.rc:
            raise ProvisionError(
                f"a command failed in host {self.name}",
                why=f"exit {result.rc}: {command}",
                detail=result.stderr[-2000:],
            )
        return result.stdout

    def ssh(self, user: str = "root", *options: str) -> list[str]:
        """The argv of an OpenSSH client for this host, to which a command can be appended. It reads neither
        the caller's configuration nor known hosts, and trusts exactly the host's present keys."""
        known = self.root.parent / "known_hosts"
        known.write_text("".join(f"{self.address} {key}\n" for key in self.host_keys()))
        fixed = (
            "BatchMode=yes",
            "StrictHostKeyChecking=yes",
            f"UserKnownHostsFile={known}",
            "IdentitiesOnly=yes",
            "ConnectTimeout=10",
        )
        given = [part for option in fixed for part in ("-o", option)]
        return ["ssh", "-F", "none", "-i", str(SSH / "id_ed25519"), *given, *options, f"{user}@{self.address}"]

    def host_keys(self) -> list[str]:
        """The host's public keys, "type base64", as they are now."""
        paths = sorted((self.root / "etc/ssh").glob("ssh_host_*_key.pub"))
        return [" ".join(path.read_text().split()[:2]) for path in paths]

    def _init(self) -> int:
        """The host's own first process: nspawn's only child."""
        try:
            children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        except OSError:
            children = []
        if not children:
            raise ProvisionError(f"host {self.name} is not running", next=f"python -m provisioner.lab boot {self.name}")
        return int(children[0])
