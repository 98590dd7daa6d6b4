"""Downloaded packages shared between hosts, so that a test suite downloads each once.

apt locks its archive directory, so hosts cannot share one: each gets hard links to what is known before it
boots (apt only ever renames files into that directory, it never writes into one), and what it downloaded is
linked back after it stopped. uv and pip lock their own caches, which are bound into the host as they are.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from provisioner.lab.places import CACHE, locked

_ARCHIVES = Path("var/cache/apt/archives")


def seed(upper: Path) -> None:
    """Put every known .deb into a host's writable layer before it is mounted."""
    target = upper / _ARCHIVES
    target.mkdir(parents=True, exist_ok=True)
    _link(_shared(), target)


def harvest(upper: Path) -> None:
    """Keep what a stopped host downloaded."""
    source = upper / _ARCHIVES
    if source.is_dir():
        with locked("packages"):
            _link(source, _shared())


def binds() -> list[tuple[str, str]]:
    """Directories bound into a host: (on this machine, in the host)."""
    pairs = [(CACHE / name, f"/root/.cache/{name}") for name in ("uv", "pip")]
    for source, _ in pairs:
        source.mkdir(mode=0o700, parents=True, exist_ok=True)
    return [(str(source), target) for source, target in pairs]


def _shared() -> Path:
    directory = CACHE / "apt"
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    return directory


def _link(source: Path, target: Path) -> None:
    for package in source.glob("*.deb"):
        if package.is_file() and not package.is_symlink():
            with contextlib.suppress(FileExistsError):
                os.link(package, target / package.name)
