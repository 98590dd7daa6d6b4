"""MinIO builds: the one that is installed by default, and which ones are known to be vulnerable."""

from __future__ import annotations

import functools
import re
from pathlib import Path

from provisioner.resources.binary import Fetched
from provisioner.values import dataclass

MEMBERS = ("minio", "silo")
"""What the server is called inside an archive."""

DEFAULT_VERSION = "silo 2026-09-16"
"""pgsty/silo, the maintained fork of MinIO (AGPL-3.0-or-later; same S3 and admin API, same disk format).

MinIO's own site answers 410 since 2026-09-11 and its last own binary (2025-09-07) has known holes."""

_RELEASE = "https://github.com/pgsty/silo/releases/download/RELEASE.2026-09-16T00-00-00Z/silo_20260916000000.0.0_linux_"
# Source of the hashes: the release's checksum list and the project's Homebrew formula, 2026-09.
DEFAULT = {
    "amd64": Fetched(_RELEASE + "amd64.tar.gz", "381e745510a8fb64323d7bb3207f95984b7f4ed826f4fcad318f97683c420c73"),
    "arm64": Fetched(_RELEASE + "arm64.tar.gz", "6e697d3e1d70f2343fe829cd6820a0b840d4619f1dde546424de80e529636ed2"),
}

# The last binaries of minio/minio itself, as its release page serves them.
_LAST_OWN = (
    "7c5bd8512c6e966455b1d198209358b2d191c77a83ab377c4073281065fb855f",
    "5c83cd2cf151717ba0243f73e1c7802ff36e272b67144bdd7f1f7d684fd6f03d",
)

# First release day without it -> what it is. pgsty/silo docs/security/advisories.md.
_HOLES = (
    ("2025-10-15", "CVE-2025-62506, a restricted account can make itself an unrestricted one"),
    ("2026-04-17", "CVE-2026-41145, unsigned-trailer uploads pass without authentication"),
    ("2026-04-17", "CVE-2026-33322, OIDC tokens can be forged"),
    ("2026-09-16", "SN-2026-011, a signed PUT can be turned into a read of any object of its signer"),
)


@dataclass(frozen=True)
class Build:
    """What `minio --version` said: `silo 2026-09-16`."""

    name: str
    day: str
    """`2025-10-15`; empty for a build that does not say."""

    @property
    def holes(self) -> tuple[str, ...]:
        """Known vulnerabilities that are open in it."""
        return tuple(text for fixed, text in _HOLES if self.day and self.day < fixed)

    def __str__(self) -> str:
        return f"{self.name} {self.day}".strip()


def build(version: str, sha256: str = "") -> Build:
    """The build of a version line (`minio version RELEASE.2025-10-15T17-29-55Z (commit-id=…)`), of its own
    name (`minio 2025-10-15`), or of a known hash."""
    if not version and sha256 in _LAST_OWN:
        return Build("minio", "2025-09-07")
    match = re.search(r"(?:RELEASE\.|DEVELOPMENT\.|^(?:minio|silo) )(\d{4}-\d{2}-\d{2})(?:T|$)", version)
    return Build("silo" if "silo" in version.lower() else "minio", match[1] if match else "")


def release_in(path: Path) -> str:
    """The version line that a program would print, read from its bytes; empty when it holds none.

    For a file that was not run yet. A tar.gz tells nothing this way."""
    seen = path.stat()
    return _release(path, (seen.st_ino, seen.st_size, seen.st_mtime_ns))


@functools.lru_cache(maxsize=8)
def _release(path: Path, _stamp: tuple[int, ...]) -> str:
    with path.open("rb") as file:
        tail = b""
        while chunk := file.read(2**22):
            block = tail + chunk
            at = block.find(b"RELEASE.20")
            while at >= 0:
                match = re.match(rb"RELEASE\.\d{4}-\d\d-\d\dT[\d-]{8}Z", block[at : at + 40])
                if match:
                    return f"minio version {match[0].decode()}"
                at = block.find(b"RELEASE.20", at + 1)
            tail = chunk[-64:]
    return ""
