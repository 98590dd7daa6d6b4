"""Watches, on a host, what a transfer costs its services: memory of their own and files of theirs, every 0.2 s."""

from __future__ import annotations

from dataclasses import dataclass

from provisioner.lab.host import LabHost

_PROGRAM = """\
import os, sys, time
places = ("/var/lib/nginx", "/var/cache/nginx", "/var/lib/mlflow", "/tmp", "/var/tmp")
units = sys.argv[1:]

def used(top):
    total = 0
    for folder, _, names in os.walk(top):
        for name in names:
            try:
                total += os.lstat(os.path.join(folder, name)).st_blocks * 512
            except OSError:
                pass
    return total

def processes(unit):
    try:
        return open("/sys/fs/cgroup/system.slice/%s/cgroup.procs" % unit).read().split()
    except OSError:
        return []

def unlinked(unit):
    "Files that are open and have no name: nginx spools to such."
    total = 0
    for pid in processes(unit):
        try:
            names = os.listdir("/proc/%s/fd" % pid)
        except OSError:
            continue
        for name in names:
            path = "/proc/%s/fd/%s" % (pid, name)
            try:
                link = os.readlink(path)
                if link.endswith(" (deleted)") and link.startswith("/") and not link.startswith(("/memfd:", "/dev/")):
                    total += os.stat(path).st_blocks * 512
            except OSError:
                pass
    return total

def anonymous(unit):
    total = 0
    for pid in processes(unit):
        try:
            for line in open("/proc/%s/status" % pid):
                if line.startswith("RssAnon:"):
                    total += int(line.split()[1]) * 1024
        except OSError:
            pass
    return total

with open("/root/gauge", "w", buffering=1) as out:
    while True:
        told = [sum(map(used, places)), sum(map(unlinked, units))] + [anonymous(unit) for unit in units]
        print(*told, file=out)
        time.sleep(0.2)
"""


@dataclass(frozen=True)
class Costs:
    """The most that was seen above what was there before, in bytes."""

    samples: int
    files: int
    unlinked: int
    memory: dict[str, int]


def start(host: LabHost, *units: str) -> None:
    (host.root / "root/gauge.py").write_text(_PROGRAM)
    host.exec("systemctl stop gauge.service; rm -f /root/gauge")
    host.check(f"systemd-run -q --unit=gauge python3 /root/gauge.py {' '.join(units)}")
    host.check("i=0; until [ -s /root/gauge ]; do i=$((i+1)); [ $i -lt 400 ] || exit 1; sleep 0.05; done")


def stop(host: LabHost, *units: str) -> Costs:
    host.exec("systemctl stop gauge.service")
    lines = (host.root / "root/gauge").read_text().splitlines()
    rows = [[int(word) for word in line.split()] for line in lines]
    rows = [row for row in rows if len(row) == 2 + len(units)]
    most = [max(column) - column[0] for column in zip(*rows, strict=True)]
    return Costs(len(rows), most[0], most[1], dict(zip(units, most[2:], strict=True)))
