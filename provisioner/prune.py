"""What a changing run clears away on a host, as soon as both locks are its own.

Of the backups nothing goes that could be the only copy of somebody's work: the first copy of each path (what
was there before this tool), the newest 20 and whatever is younger than 90 days stay.
"""

from __future__ import annotations

from collections.abc import Sequence

from provisioner.engine import batch
from provisioner.engine.quoting import word, words

KEPT = 20
DAYS = 90
PLACES = ("/var/tmp", "/tmp", "/run")  # noqa: S108  where scripts and transfers make their folders

# Nothing here may keep a run from working. A folder of a script or a transfer is younger than a day or its
# run was killed; root or the account that sudo was called from has made it.
_TIDY = r"""
tidy() {
  find @PLACES@ -maxdepth 1 -type d -regextype posix-extended -regex '.*/provision\.[A-Za-z0-9]{6}([A-Za-z0-9]{4})?' \
    '(' -user 0 -o -user "${SUDO_UID:-0}" ')' -mmin +1440 -exec rm -rf -- {} +
  cd @BACKUPS@ || return 0
  find . -mindepth 2 '(' -type f -o -type l ')' -path './20??-??-??T??????Z/*' ! -path '*[[:cntrl:]]*' -printf '%P\n' |
    sort | awk -v old="$(date -u -d '@DAYS@ days ago' +%Y-%m-%dT%H%M%SZ)" '
      { i = index($0, "/"); path = substr($0, i); stamps[path, ++copies[path]] = substr($0, 1, i - 1) }
      END {
        for (path in copies)
          for (n = 2; n <= copies[path] - @KEPT@; n++)
            if (stamps[path, n] < old) print stamps[path, n] path
      }' | while IFS= read -r copy; do
        rm -f -- "./$copy"
        rmdir -p --ignore-fail-on-non-empty -- "$(dirname -- "$copy")"
      done
}
( tidy ) >/dev/null 2>&1 </dev/null || :
"""


def tidy(places: Sequence[str] = PLACES) -> str:
    """sh that removes folders of killed runs in `places`, and copies that nobody expects to be there still."""
    values = {"@PLACES@": words(*places), "@BACKUPS@": word(batch.BACKUPS), "@DAYS@": str(DAYS), "@KEPT@": str(KEPT)}
    text = _TIDY
    for place, value in values.items():
        text = text.replace(place, value)
    return text
