"""Looks for secrets where none may be: as the operator, as root on the host, and as somebody else there."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import quote, quote_plus

from provisioner.lab.host import LabHost

from .conftest import Ran

SNOOP = "snoop"
"""A user of the host without any rights, who sees what everybody sees."""
SEEN = f"/home/{SNOOP}/seen"
"""Every command line and every environment that this user could read while it watched, each once."""
PUBLIC = "/etc /opt /var /usr/local /run /tmp /dev/shm /root /home"
"""Where `SNOOP` reads what it can."""
CLOSED = "/tmp /var/tmp /dev/shm /var/log /var/spool /root /home /var/lib/postgresql/.psql_history"
"""Where root finds nothing either. The journal's files may be compressed: they are asked for besides."""
_WATCH = f"""\
import os, time
known, mine = set(), str(os.getpid())
with open("{SEEN}", "wb", buffering=0) as out:
    end = time.monotonic() + 3600
    while time.monotonic() < end and out.tell() < 1 << 26:
        for pid in os.listdir("/proc"):
            for name in ("cmdline", "environ") if pid.isdigit() and pid != mine else ():
                try:
                    with open("/proc/%s/%s" % (pid, name), "rb") as file:
                        text = name.encode() + b" " + file.read(1 << 20).replace(b"\\0", b"\\n") + b"\\n"
                except OSError:
                    continue
                if text not in known:
                    known.add(text)
                    out.write(text)
        time.sleep(0.05)
"""
_JOURNAL = ("/var/log/journal/", "/run/log/journal/")
# Names of accounts are in every signed request and in every log; their keys are not.
_NAMES = ("store.root.user", "store.user.key", "store.user.before")


def watch(host: LabHost) -> None:
    """From now on until the host stops: what another user sees of processes."""
    host.check(f"id {SNOOP} >/dev/null 2>&1 || useradd -m {SNOOP}; cat >/home/{SNOOP}/watch.py", stdin=_WATCH)
    host.check(f"systemd-run -q --unit=snoop -p User={SNOOP} python3 /home/{SNOOP}/watch.py")
    host.check(f"i=0; until [ -s {SEEN} ]; do i=$((i+1)); [ $i -lt 400 ] || exit 1; sleep 0.05; done")


def every_secret(state: Path, host: LabHost) -> dict[str, str]:
    """Name and number -> value: what the operator has now, and every earlier document in the host's backups."""
    texts = [file.read_text() for file in sorted(state.glob("provision/*/secrets.json"))]
    texts.append(host.check("cat $(find /var/backups/provision -name 'secrets.json*') </dev/null 2>/dev/null || :"))
    found: dict[str, dict[str, None]] = {}
    decoder = json.JSONDecoder()
    for text in texts:
        at = 0
        while at < len(text.rstrip()):
            document, end = decoder.raw_decode(text[at:])
            at += end + 1
            for name, entry in document["secrets"].items():
                if name not in _NAMES and "value" in entry:
                    found.setdefault(name, {})[entry["value"]] = None
    assert sum(map(len, found.values())) > 8, "today's, and those that were replaced"
    return {f"{name} {number}": value for name, values in found.items() for number, value in enumerate(values)}


def spellings(value: str) -> set[str]:
    """A secret as it is, in JSON, in a URL, in a shell word, and inside of any text in base64 (whose letters depend
    on where in the text it begins)."""
    found = {value, json.dumps(value)[1:-1], value.replace("'", "'\\''"), repr(value)[1:-1]}
    found |= {quote(value, safe=""), quote(value), quote_plus(value)}
    for before in range(3):
        # The first and the last group of four also say what stands beside it.
        data = b"\0" * before + value.encode()
        groups = base64.b64encode(data).decode()
        inner = groups[4 if before else 0 : len(groups) - (4 if len(data) % 3 else 0)]
        found |= {inner, inner.replace("+", "-").replace("/", "_")}
    return {each for each in found if len(each) >= 8}


def finds(host: LabHost, state: Path, said: Iterable[Ran], secrets: Mapping[str, str]) -> list[str]:
    """The places that hold one of `secrets` and should not."""
    patterns = sorted({each for value in secrets.values() for each in spellings(value) if "\n" not in each})
    assert len(patterns) >= len(secrets)
    lines = "\n".join(patterns) + "\n"
    places = {
        "the operator's terminal": "\n".join(ran.out + ran.err for ran in said),
        "the operator's files": "\n".join(
            path.read_text(errors="replace")
            for path in state.rglob("*")
            if path.is_file() and path.name != "secrets.json"
        ),
    }
    found = [place for place, text in places.items() if any(each in text for each in patterns)]
    # grep says 1 for nothing found and 2 where something could not be read, which is the point of asking as another.
    listed = "grep -rlFs -D skip -f - {} || [ $? -le 2 ]"
    public = f"cd /; export LC_ALL=C; runuser -u {SNOOP} -- {listed.format(PUBLIC)}"
    closed = f"export LC_ALL=C; {listed.format(CLOSED)}"
    journal = (
        "umask 077; cat >/run/patterns; journalctl --no-pager --all -o export | "
        "LC_ALL=C grep -qaF -f /run/patterns && echo journal; rm /run/patterns"
    )
    for command in (public, closed, journal):
        found += host.check(command, stdin=lines, seconds=300).splitlines()
    return sorted({"journal" if path.startswith(_JOURNAL) else path for path in found})
