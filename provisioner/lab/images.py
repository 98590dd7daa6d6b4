"""Base images: a minimal Debian per suite, built once, shared read-only by every host.

An image's directory carries the digest of its recipe, so a changed recipe makes a new image and never
pulls the old one from under running hosts.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from provisioner.errors import Refused
from provisioner.lab import mounts
from provisioner.lab.machine import run
from provisioner.lab.places import IMAGES, locked

SUITES = ("bookworm", "trixie", "bullseye")
VARIANTS = ("plain", "sudo-rs")
PACKAGES = (
    "systemd", "systemd-sysv", "libpam-systemd", "dbus", "openssh-server", "python3", "sudo", "iproute2",
    "ca-certificates", "curl", "procps",
)  # fmt: skip
MIRROR = "http://mirror.example/debian"
SECURITY = "http://mirror.example/debian-security"
# Raised when what `_finish` does changes.
EDITION = 1

_CERTIFICATES = Path("/usr/local/share/ca-certificates")
_COPIED = (Path("/etc/pip.conf"), Path("/etc/uv/uv.toml"))


@dataclass(frozen=True)
class Recipe:
    """Everything an image depends on; equal recipes are the same image."""

    suite: str
    variant: str
    packages: tuple[str, ...]
    sources: tuple[str, ...]
    files: tuple[tuple[str, str], ...]
    edition: int = EDITION

    @property
    def digest(self) -> str:
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:12]

    @property
    def directory(self) -> Path:
        return IMAGES / f"{self.suite}-{self.variant}-{self.digest}"


def recipe(suite: str, variant: str = "plain", packages: Sequence[str] = ()) -> Recipe:
    """The recipe of an image on this machine. Raises Refused for an unknown suite or variant."""
    if suite not in SUITES:
        raise Refused(f"no image for {suite!r}", next=f"use one of {', '.join(SUITES)}")
    if variant not in VARIANTS or (variant == "sudo-rs" and suite != "trixie"):
        raise Refused(f"no variant {variant!r} of {suite}", next="use plain, or sudo-rs with trixie")
    extra = ("sudo-rs", "rust-coreutils") if variant == "sudo-rs" else ()
    files = [(str(path), _digest(path)) for path in (*sorted(_CERTIFICATES.glob("*.crt")), *_COPIED) if path.is_file()]
    return Recipe(
        suite=suite,
        variant=variant,
        packages=(*PACKAGES, *extra, *sorted(set(packages))),
        sources=sources(suite),
        files=tuple(files),
    )


def sources(suite: str, mirror: str = MIRROR, security: str = SECURITY) -> tuple[str, ...]:
    """One-line apt sources of a suite: release, updates and security."""
    keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
    lines = [f"deb [signed-by={keyring}] {mirror} {name} main" for name in (suite, f"{suite}-updates")]
    return (*lines, f"deb [signed-by={keyring}] {security} {suite}-security main")


def ensure(suite: str = "bookworm", variant: str = "plain", packages: Sequence[str] = ()) -> Path:
    """The root directory of the image, built (about 20 s, 330 MB) when it is not there."""
    wanted = recipe(suite, variant, packages)
    if wanted.directory.is_dir():
        return wanted.directory
    with locked(f"image-{suite}-{variant}", seconds=1800):
        if not wanted.directory.is_dir():
            _build(wanted)
    return wanted.directory


def _build(wanted: Recipe) -> None:
    building = IMAGES / f".building-{wanted.suite}-{wanted.variant}"
    mounts.unmount(building)
    mounts.remove_tree(building)
    run(
        (
            "mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(wanted.packages)}",
            "--aptopt=Acquire::Check-Valid-Until \"false\"", wanted.suite, str(building), *wanted.sources,
        ),  # fmt: skip
        what=f"build the {wanted.suite} image",
        seconds=1500,
    )
    _finish(building, wanted)
    building.rename(wanted.directory)


def _finish(root: Path, wanted: Recipe) -> None:
    for path, _ in wanted.files:
        target = root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    inside = ("chroot", str(root))
    run((*inside, "update-ca-certificates"), what="install the machine's certificates in the image")
    run((*inside, "systemctl", "enable", "systemd-networkd.service", "ssh.service"), what="enable the image's network")
    # Unattended apt runs would hold dpkg's lock at random times.
    run((*inside, "systemctl", "mask", "apt-daily.timer", "apt-daily-upgrade.timer"), what="mask apt's timers")
    for key in (root / "etc/ssh").glob("ssh_host_*"):
        key.unlink()
    (root / "etc/machine-id").write_text("")
    if wanted.variant == "sudo-rs":
        _prefer_rust(root)


def _prefer_rust(root: Path) -> None:
    """Make sudo-rs the sudo and the Rust coreutils the first in PATH, as Ubuntu 26.04 has them."""
    programs = root / "usr/lib/cargo/bin"
    for name in ("sudo", "visudo", "su"):
        if (programs / name).exists():
            place = f"/usr/{'sbin' if name == 'visudo' else 'bin'}/{name}"
            divert = ("dpkg-divert", "--local", "--rename", "--divert", f"{place}.classic", "--add", place)
            run(("chroot", str(root), *divert), what=f"make sudo-rs the {name}")
            os.symlink(f"/usr/lib/cargo/bin/{name}", root / place.lstrip("/"))
    for program in (programs / "coreutils").glob("*"):
        link = root / "usr/local/bin" / program.name
        if not link.exists():
            os.symlink(f"/usr/lib/cargo/bin/coreutils/{program.name}", link)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
