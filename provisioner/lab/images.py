"""Base images: a minimal Debian per suite, built once, shared read-only by every host.

An image's directory carries the digest of its recipe, so a changed recipe makes a new image and never
pulls the old one from under running hosts.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from provisioner.errors import Refused
from provisioner.lab import mounts, surroundings
from provisioner.lab.machine import run
from provisioner.lab.places import IMAGES, locked
from provisioner.lab.surroundings import Surroundings
from provisioner.values import dataclass

SUITES = ("bookworm", "trixie", "bullseye")
VARIANTS = ("plain", "sudo-rs")
PACKAGES = (
    "systemd", "systemd-sysv", "libpam-systemd", "dbus", "openssh-server", "python3", "sudo", "iproute2",
    "ca-certificates", "curl", "procps",
)  # fmt: skip
# Raised when what `_finish` does changes.
EDITION = 3


@dataclass(frozen=True)
class Recipe:
    """Everything an image depends on; equal recipes are the same image."""

    suite: str
    variant: str
    packages: tuple[str, ...]
    sources: tuple[str, ...]
    apt: tuple[str, ...]
    files: tuple[tuple[str, str], ...]  # path, sha256
    edition: int = EDITION

    @property
    def digest(self) -> str:
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:12]

    @property
    def directory(self) -> Path:
        return IMAGES / f"{self.suite}-{self.variant}-{self.digest}"


def recipe(suite: str, variant: str, packages: Sequence[str], around: Surroundings) -> Recipe:
    """The recipe of an image. Raises Refused for an unknown suite or variant."""
    if suite not in SUITES:
        raise Refused(f"no image for {suite!r}", next=f"use one of {', '.join(SUITES)}")
    if variant not in VARIANTS or (variant == "sudo-rs" and suite != "trixie"):
        raise Refused(f"no variant {variant!r} of {suite}", next="use plain, or sudo-rs with trixie")
    extra = ("sudo-rs", "rust-coreutils") if variant == "sudo-rs" else ()
    return Recipe(
        suite=suite,
        variant=variant,
        packages=(*PACKAGES, *extra, *sorted(set(packages))),
        sources=surroundings.sources(suite, around.mirror, around.security),
        apt=around.apt,
        files=tuple((path, hashlib.sha256(content).hexdigest()) for path, content in sorted(around.files.items())),
    )


def ensure(suite: str = "bookworm", variant: str = "plain", packages: Sequence[str] = ()) -> Path:
    """The root directory of the image, built (about 20 s, 330 MB) when it is not there."""
    around = surroundings.read()
    wanted = recipe(suite, variant, packages, around)
    if not wanted.directory.is_dir():
        with locked(f"image-{suite}-{variant}", seconds=1800) as lock:
            if not wanted.directory.is_dir():
                _build(wanted, around, lock)
    return wanted.directory


def unused(in_use: set[str]) -> list[Path]:
    """Images that none of the directories `in_use` is."""
    return [path for path in sorted(IMAGES.glob("[a-z]*")) if str(path) not in in_use]


def _build(wanted: Recipe, around: Surroundings, lock: int) -> None:
    building = IMAGES / f".building-{wanted.suite}-{wanted.variant}"
    mounts.unmount(building)
    mounts.remove_tree(building)
    settings = [f"--aptopt={line.rstrip(';')}" for line in wanted.apt]
    run(
        (
            "mmdebstrap",
            "--quiet",
            "--mode=root",
            "--variant=minbase",
            f"--include={','.join(wanted.packages)}",
            *settings,
            wanted.suite,
            str(building),
            *wanted.sources,
        ),
        what=f"build the {wanted.suite} image",
        seconds=1500,
        # It outlives a killed caller: the next one must wait for it, not delete what it writes.
        inherit=(lock,),
    )
    _finish(building, wanted, around)
    building.rename(wanted.directory)


def _finish(root: Path, wanted: Recipe, around: Surroundings) -> None:
    for path, content in around.files.items():
        target = root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
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
    programs = Path("/usr/lib/cargo/bin")
    for place in ("/usr/bin/sudo", "/usr/sbin/visudo"):
        program = programs / Path(place).name
        if (root / program.relative_to("/")).exists():
            divert = ("dpkg-divert", "--local", "--rename", "--divert", f"{place}.classic", "--add", place)
            run(("chroot", str(root), *divert), what=f"make sudo-rs's {program.name} the default")
            (root / place.lstrip("/")).symlink_to(program)
    for binary in (root / "usr/lib/cargo/bin/coreutils").glob("*"):
        link = root / "usr/local/bin" / binary.name
        if not link.exists():
            link.symlink_to(programs / "coreutils" / binary.name)
