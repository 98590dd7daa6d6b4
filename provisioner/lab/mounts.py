"""Overlay mounts, and deleting trees without ever reaching through a mount."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from provisioner.errors import ProvisionError, Refused
from provisioner.lab.machine import run


def parse_mountinfo(text: str) -> list[str]:
    """The mount points of /proc/self/mountinfo in mount order, octal escapes undone."""
    return [_unescape(line.split(" ")[4]) for line in text.splitlines() if line.count(" ") > 4]


def _unescape(field: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found.group(1), 8)), field)


def at_or_below(path: Path) -> list[str]:
    """Mount points at `path` or below it, the deepest (latest) first."""
    prefix = str(path)
    points = parse_mountinfo(Path("/proc/self/mountinfo").read_text())
    return [point for point in reversed(points) if point == prefix or point.startswith(prefix + "/")]


def overlay_options(lower: Sequence[Path], upper: Path, work: Path) -> str:
    """Options of an overlay mount, `lower` from the topmost down.

    redirect_dir=on, because without it renaming a directory of a lower layer fails with EXDEV, which no
    real server does. metacopy and index stay off, so that an upper directory can become a lower one.
    """
    for path in (*lower, upper, work):
        if re.search(r"[,:\\]", str(path)):
            raise ValueError(f"overlay options cannot carry {path}")
    joined = ":".join(str(path) for path in lower)
    return f"lowerdir={joined},upperdir={upper},workdir={work},redirect_dir=on,metacopy=off,index=off"


def mount_overlay(lower: Sequence[Path], upper: Path, work: Path, root: Path) -> None:
    options = overlay_options(lower, upper, work)
    argv = ("mount", "-t", "overlay", "provision-lab", "-o", options, str(root))
    done = run(argv, what=f"mount an overlay at {root}", check=False)
    if done.returncode:
        raise Refused(
            "disposable hosts need overlay mounts",
            why=f"{root} could not be mounted (a container's own filesystem cannot carry an overlay)",
            next="use a machine or a virtual machine, or put a real filesystem at /var/lib/provision-lab",
            detail=done.stderr.strip()[-1000:],
        )


def unmount(path: Path) -> None:
    """Unmount everything at or below `path`; raises ProvisionError when something stays mounted."""
    for point in at_or_below(path):
        if run(("umount", point), what=f"unmount {point}", check=False).returncode:
            run(("umount", "--lazy", point), what=f"unmount {point}", check=False)
    left = at_or_below(path)
    if left:
        raise ProvisionError(f"{left[0]} is still mounted", next=f"end what uses it: fuser -vm {left[0]}")


def remove_tree(path: Path) -> None:
    """Delete a tree; refuses while anything is mounted below, and never crosses filesystems."""
    if not path.exists():
        return
    left = at_or_below(path)
    if left:
        raise ProvisionError(f"not deleting {path}", why=f"{left[0]} is mounted", next=f"umount {left[0]}")
    run(("rm", "-rf", "--one-file-system", "--", str(path)), what=f"delete {path}", seconds=300)
