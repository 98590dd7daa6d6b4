"""The machine the lab runs on: whether it can, what it lacks, and how programs are run there."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from provisioner.errors import ProvisionError, Refused

# program -> Debian and Ubuntu package
NEEDS = {
    "systemd-nspawn": "systemd-container",
    "mmdebstrap": "mmdebstrap",
    "nft": "nftables",
    "ip": "iproute2",
    "ssh-keygen": "openssh-client",
}

# Ubuntu has it in a package of its own.
DEBIAN_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")

_INSTEAD = "use any Debian or Ubuntu machine or virtual machine as root, or give --host a real server"


def run(
    argv: Sequence[str],
    *,
    what: str,
    seconds: float = 60.0,
    stdin: str = "",
    env: dict[str, str] | None = None,
    check: bool = True,
    inherit: Sequence[int] = (),
) -> subprocess.CompletedProcess[str]:
    """Run a program of this machine to its end; `what` names the deed in the error.

    `stdin` is text and may hold a secret; argv may not. Raises ProvisionError when it is missing, takes
    longer than `seconds`, or (with `check`) exits non-zero. `inherit` are descriptors the program keeps.
    """
    try:
        done = subprocess.run(
            list(argv),
            input=stdin,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            env={**os.environ, "PATH": _path(), "LC_ALL": "C.UTF-8", **(env or {})},
            check=False,
            pass_fds=inherit,
        )
    except FileNotFoundError:
        raise ProvisionError(f"cannot {what}", why=f"{argv[0]} is not installed") from None
    except subprocess.TimeoutExpired:
        raise ProvisionError(f"cannot {what}", why=f"{argv[0]} took longer than {seconds:.0f} s") from None
    if check and done.returncode:
        tail = "\n".join((done.stderr.strip() or done.stdout.strip()).splitlines()[-12:])
        raise ProvisionError(f"cannot {what}", why=f"{argv[0]} exited with {done.returncode}", detail=tail)
    return done


def require_root() -> None:
    """Raises Refused when the machine is not Linux or not ours to change."""
    if platform.system() != "Linux":
        raise Refused(
            "disposable hosts need Linux",
            why=f"this is {platform.system()}; systemd-nspawn starts Linux hosts on a Linux kernel only",
            next=_INSTEAD,
        )
    if os.geteuid() != 0:
        raise Refused(
            "disposable hosts need root",
            why="they mount filesystems, add a network bridge and start systemd",
            next="run the same command with sudo, or give --host a real server",
        )


def require() -> None:
    """Make sure that systemd hosts can be started here, installing what is missing with apt.

    Raises Refused when the machine is not Linux, not ours to change (not root), or has no apt.
    """
    require_root()
    missing = sorted({package for program, package in NEEDS.items() if not _present(program)})
    if not DEBIAN_KEYRING.exists():
        missing.append("debian-archive-keyring")
    if missing:
        install(missing)
        still = sorted(program for program in NEEDS if not _present(program))
        if still:
            raise ProvisionError(f"installed {', '.join(missing)}, yet {', '.join(still)} is missing", next=_INSTEAD)


def install(packages: Sequence[str]) -> None:
    """Install packages with apt, without questions. The lists are refreshed only when that is needed,
    and one broken third-party source does not stop it: what counts is whether the packages arrive."""
    if not _present("apt-get"):
        raise Refused(
            "cannot install what disposable hosts need",
            why=f"missing: {', '.join(packages)}; and there is no apt-get here",
            next=_INSTEAD,
        )
    command = (
        "apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=120", "install", "--no-install-recommends", *packages,
    )  # fmt: skip
    quiet = {"DEBIAN_FRONTEND": "noninteractive", "NEEDRESTART_MODE": "l"}
    what = f"install {' '.join(packages)}"
    if run(command, what=what, seconds=900, env=quiet, check=False).returncode == 0:
        return
    refresh = ("apt-get", "-q", "-o", "DPkg::Lock::Timeout=120", "update")
    run(refresh, what="refresh apt's lists", seconds=300, env=quiet, check=False)
    run(command, what=what, seconds=900, env=quiet)


def _present(program: str) -> bool:
    return shutil.which(program, path=_path()) is not None


def _path() -> str:
    """PATH with the administrator's directories, which `su` without a dash leaves out."""
    return os.environ.get("PATH", "/usr/bin:/bin") + ":/usr/local/sbin:/usr/sbin:/sbin"
