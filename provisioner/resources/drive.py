"""A directory that shall be a drive: which disk it is on, and whose what is in it is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar, Self

from provisioner.engine.probe import Probe
from provisioner.engine.quoting import word
from provisioner.resources.tree import MARK
from provisioner.values import dataclass


@dataclass(frozen=True)
class DriveState:
    """`rooted`: on the device of `/` (mountpoint and findmnt lie for a bind of it; MinIO looks at this too).
    `foreign`: a name in it, where something is there and no mark of this tool's."""

    rooted: bool = False
    foreign: str = ""


@dataclass(frozen=True)
class DriveProbe(Probe[DriveState]):
    """Looks at one drive, or where it would be made."""

    path: str

    kind: ClassVar[str] = "drives"

    @classmethod
    def fragment(cls, probes: Sequence[Self]) -> str:
        lines = ["root=$(stat -c %d /)"]
        for probe in probes:
            path = word(probe.path)
            lines.append(
                f'at={path}; while ! [ -e "$at" ]; do at=${{at%/*}}; at=${{at:-/}}; done\n'
                'if [ "$(stat -L -c %d -- "$at")" = "$root" ]; then one=1; else one=0; fi\n'
                f"other=; if ! [ -e {path}/{MARK} ]; then\n"
                f"  other=$(ls -A -- {path} 2>/dev/null | sed -n '/^lost+found$/d; s/[^ -~]/?/g; p; q' |\n"
                "    cut -c1-80) || :\n"
                'fi\nprintf \'%s|%s\\n\' "$one" "$other"'
            )
        return "\n".join(lines)

    @classmethod
    def parse(cls, probes: Sequence[Self], output: bytes) -> Iterable[DriveState]:
        for line in output.decode("utf-8", "replace").splitlines():
            rooted, _, foreign = line.partition("|")
            yield DriveState(rooted == "1", foreign)
