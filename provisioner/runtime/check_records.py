"""Which installed packages are not as their RECORD says: `python3 -I - SITE_PACKAGES`, one name a line.

Runs on the host (standard library only) and reads every file, so only before a repair. Needed because
two packages may own one file: taking mlflow-skinny out by hand also takes files of mlflow, whose
metadata stays and looks whole.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import sys
from pathlib import Path


def _altered(file: Path, wanted: str, size: str) -> bool:
    try:
        if size and file.stat().st_size != int(size):
            return True
        if not wanted.startswith("sha256="):
            return not file.exists()
        digest = hashlib.sha256(file.read_bytes()).digest()
    except (OSError, ValueError):
        return True
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != wanted[7:]


def damaged(site: Path) -> list[str]:
    """Names (as the dist-info folders spell them) with a missing or altered file; .pyc files do not count."""
    found = []
    for info in sorted(site.glob("*.dist-info")):
        try:
            with (info / "RECORD").open(newline="", encoding="utf-8") as file:
                rows = [row for row in csv.reader(file) if len(row) >= 3]
        except (OSError, ValueError):
            rows = [["RECORD", "sha256=", ""]]
        if any(_altered(site / path, wanted, size) for path, wanted, size, *_ in rows if path[-4:] != ".pyc"):
            found.append(info.name.rsplit("-", 2)[0])
    return found


def main(arguments: list[str]) -> int:
    """Prints the names; 64 when called wrongly."""
    if len(arguments) != 1:
        return 64
    for name in damaged(Path(arguments[0])):
        print(name)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
