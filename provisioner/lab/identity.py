"""What makes a copy of an image this host: name, address, keys, users. Written before every first boot."""

from __future__ import annotations

import contextlib
import ipaddress
import shutil
import uuid
from pathlib import Path

from provisioner.lab import network
from provisioner.lab.machine import run
from provisioner.lab.places import SSH, locked
from provisioner.lab.spec import Spec
from provisioner.secrets import Secret

PRIVATE_KEY = SSH / "id_ed25519"


def public_key() -> str:
    """The lab's own public key; every host lets its owner in as root. Made at first use."""
    with locked("ssh"):
        if not PRIVATE_KEY.exists():
            argv = ("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "provision-lab", "-f", str(PRIVATE_KEY))
            run(argv, what="make the lab's key pair")
        return PRIVATE_KEY.with_suffix(".pub").read_text().strip()


def install(spec: Spec, root: Path, *, keep_host_keys: bool = False) -> None:
    """Write the identity of `spec` into the mounted tree `root`, replacing any that a layer brought."""
    _network(spec, root)
    _write(root / "etc/machine-id", uuid.uuid4().hex + "\n")
    _ssh(spec, root, keep_host_keys=keep_host_keys)
    if spec.account:
        _account(spec, root)


def networkd(address: str) -> str:
    """The systemd-networkd file of a host's only interface.

    The hardware address follows from the IP address: nspawn's own follows from the name, and a new host at
    an old address would be unreachable for half a minute, until every neighbour forgot the old one.
    """
    hardware = ":".join(f"{byte:02x}" for byte in (0x02, 0x00, *ipaddress.IPv4Address(address).packed))
    return (
        f"[Match]\nName=host0\n\n[Link]\nMACAddress={hardware}\n\n[Network]\n"
        f"Address={address}/{network.RANGE.prefixlen}\nGateway={network.GATEWAY}\n"
        "DHCP=no\nIPv6AcceptRA=no\nLinkLocalAddressing=no\n"
    )


def usable_resolver(text: str) -> bool:
    """Whether a resolv.conf names a server that a host, with its own loopback, can reach too."""
    servers = [line.split()[1] for line in text.splitlines() if line.startswith("nameserver") and line.split()[1:]]
    return any(not _loopback(server) for server in servers)


def _loopback(server: str) -> bool:
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(server.partition("%")[0]).is_loopback
    return False


def resolver() -> str:
    """The machine's resolv.conf; systemd-resolved's real servers when it only names the local stub."""
    for path in (Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf")):
        if path.is_file() and usable_resolver(path.read_text(errors="replace")):
            return path.read_text(errors="replace")
    return ""


def password_hash(root: Path, password: Secret) -> str:
    """A crypt(5) hash made by the image's own openssl (Python's crypt is gone); the secret goes by stdin."""
    argv = ("chroot", str(root), "openssl", "passwd", "-6", "-stdin")
    return run(argv, what="hash a password", stdin=password.reveal() + "\n").stdout.strip()


def _network(spec: Spec, root: Path) -> None:
    _write(root / "etc/hostname", spec.name + "\n")
    _write(root / "etc/hosts", f"127.0.0.1 localhost\n::1 localhost\n{spec.address} {spec.name}\n")
    _write(root / "etc/resolv.conf", resolver())
    _write(root / "etc/systemd/network/10-lab.network", networkd(spec.address))


def _ssh(spec: Spec, root: Path, *, keep_host_keys: bool) -> None:
    keys = "".join(f"{key}\n" for key in (public_key(), *spec.ssh_public_keys))
    _write(root / "root/.ssh/authorized_keys", keys, 0o600)
    (root / "root/.ssh").chmod(0o700)
    _write(root / "etc/ssh/sshd_config.d/00-lab.conf", "".join(f"{line}\n" for line in spec.sshd))
    present = list((root / "etc/ssh").glob("ssh_host_*"))
    if keep_host_keys and present:
        return
    for path in present:
        path.unlink()
    for kind in spec.host_key_types:
        path = root / f"etc/ssh/ssh_host_{kind}_key"
        argv = ("ssh-keygen", "-q", "-t", kind, "-N", "", "-C", f"root@{spec.name}", "-f", str(path))
        run(argv, what=f"make {spec.name}'s {kind} host key")


def _account(spec: Spec, root: Path) -> None:
    account = spec.account
    assert account is not None
    inside = ("chroot", str(root))
    what = f"add user {account.name}"
    if not (root / "home" / account.name).exists():
        run((*inside, "useradd", "--create-home", "--shell", "/bin/bash", account.name), what=what)
    if account.hash:
        run((*inside, "chpasswd", "--encrypted"), what=what, stdin=f"{account.name}:{account.hash}\n")
    rule = "NOPASSWD: ALL" if account.nopasswd else "ALL"
    _write(root / f"etc/sudoers.d/lab-{account.name}", f"{account.name} ALL=(ALL:ALL) {rule}\n", 0o440)
    home = root / "home" / account.name / ".ssh"
    home.mkdir(mode=0o700, exist_ok=True)
    shutil.copyfile(root / "root/.ssh/authorized_keys", home / "authorized_keys")
    run((*inside, "chown", "-R", f"{account.name}:", f"/home/{account.name}/.ssh"), what=what)


def _write(path: Path, text: str, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)  # may be a link; what it points at is not ours
    path.touch(mode=mode)
    path.chmod(mode)
    path.write_text(text)
