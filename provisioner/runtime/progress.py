"""What uv and `fetch_wheel` say on stderr while they work, as figures to draw.

uv 0.13 writes plain lines when it has no terminal: `Resolved 93 packages in 1.24s`, `Downloading pyarrow
(47.7MiB)` for files from 1 MiB, ` Downloaded pyarrow`, `Prepared 93 packages`, `Installed 93 packages`,
` + pyarrow==25.0.1`. It never says how far one file is.
"""

from __future__ import annotations

import re
from dataclasses import field, replace

from provisioner.values import dataclass

_UNITS = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_DOWNLOADING = re.compile(r"Downloading (\S+) \((\d+(?:\.\d+)?)(KiB|MiB|GiB)\)")
_DOWNLOADED = re.compile(r"Downloaded (\S+)$")
_COUNT = re.compile(r"(Resolved|Prepared|Installed|Checked) (\d+) packages?")
_FETCHED = re.compile(r"progress (\d{1,18}) (\d{1,18})$")


@dataclass(frozen=True)
class Progress:
    """How far an installation is; sizes in bytes, 0 when not known."""

    phase: str = "starting"  # resolving is over: downloading, installing, installed
    packages: int = 0
    done: int = 0
    total: int = 0
    changed: int = 0  # packages added to or taken from the environment
    sizes: dict[str, int] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The few words of a progress line, sizes in MB; ASCII."""
        size = f"{self.done // 10**6} of {max(self.total, self.done) // 10**6} MB" if self.total else ""
        count = f"{self.packages} packages" if self.packages else ""
        return ", ".join(word for word in (self.phase, count, size) if word)


def advance(now: Progress, line: str) -> Progress:
    """The progress after one more line; a line that says nothing about it changes nothing."""
    line = line.strip()[:500]
    if found := _FETCHED.match(line):
        return replace(now, phase="downloading", done=int(found[1]), total=int(found[2]))
    if found := _DOWNLOADING.match(line):
        size = int(float(found[2]) * _UNITS[found[3]])
        # Growing: uv announces a file when its download begins.
        return replace(now, phase="downloading", total=now.total + size, sizes={**now.sizes, found[1]: size})
    if found := _DOWNLOADED.match(line):
        return replace(now, done=now.done + now.sizes.get(found[1], 0))
    if found := _COUNT.match(line):
        phase = {"Resolved": "downloading", "Prepared": "installing"}.get(found[1], "installed")
        return replace(now, phase=phase, packages=int(found[2]))
    if re.match(r"[+~-] \S+==\S", line):
        return replace(now, changed=now.changed + 1)
    return now
