"""What kind of machine a host is."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import field
from typing import Any, ClassVar, Self

from provisioner.engine.probe import Probe
from provisioner.values import dataclass

_ARCHITECTURES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
_ADDRESS = re.compile(r"\d+: \S+ +inet6? ([0-9a-fA-F.:]+)")


@dataclass(frozen=True)
class Listener:
    """A listening TCP socket and whose it is."""

    address: str
    port: int
    process: str
    """`nginx, pid 812`; empty when the kernel does not tell."""


@dataclass(frozen=True)
class Facts:
    """A host: system, hardware, addresses, listeners, clock."""

    distribution: str = "debian"
    release: str = "12"
    pretty: str = ""
    architecture: str = "amd64"
    kernel_machine: str = "x86_64"
    cores: int = 1
    memory: int = 0
    """Bytes."""
    free: dict[str, int] = field(default_factory=dict, hash=False)
    """Mount point of /opt, /var, /tmp … -> free bytes, by the path asked for."""
    systemd: int = 0
    python: tuple[int, int] = (0, 0)
    python_path: str = ""
    now: float = 0.0
    """The host's clock, Unix seconds."""
    addresses: tuple[str, ...] = ()
    listeners: tuple[Listener, ...] = ()
    root: bool = True
    apt_lock: str = ""
    """Who holds dpkg's lock: `unattended-upgr, pid 812`; empty when nobody does."""
    booted: bool = True
    """systemd is process 1."""
    hostname: str = ""
    boot_id: str = ""


@dataclass(frozen=True)
class FactsProbe(Probe[Facts]):
    """Reads all facts at once."""

    kind: ClassVar[str] = "facts"

    @classmethod
    def fragment(cls, probes: Sequence[Self]) -> str:
        # Few processes: what the shell can read it reads itself, and what comes as a table goes home as it is.
        return r"""
. /etc/os-release 2>/dev/null || :
echo "os=${ID:-}|${VERSION_ID:-}|${PRETTY_NAME:-}"
echo "names=$(uname -nm)"
echo "cores=$(getconf _NPROCESSORS_ONLN)"
echo "uid=$(id -u)"
echo "now=$(date +%s.%N)"
while read -r name value _; do
  if [ "$name" = MemTotal: ]; then echo "memory=$value"; break; fi
done </proc/meminfo
{ read -r boot </proc/sys/kernel/random/boot_id; } 2>/dev/null || boot=
echo "boot=$boot"
if [ -d /run/systemd/system ]; then
  version=$(systemctl --version) || :
  version=${version#* }
  echo "systemd=${version%%[!0-9]*}"
fi
for p in python3.14 python3.13 python3.12 python3.11 python3.10 python3; do
  q=$(command -v $p) || continue
  v=$("$q" -I -S -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue
  echo "python=$v|$q"
  break
done
set --
for p in / /opt /var/lib /var/cache /tmp /etc; do
  d=$p; while ! [ -d "$d" ]; do d=${d%/*}; d=${d:-/}; done
  echo "below=$p|$d"
  set -- "$@" "$d"
done
df -k --output=avail,file -- "$@" 2>/dev/null | sed 's/^ *\([0-9][0-9]*\) */free=\1|/'
ip -o addr show 2>/dev/null
ss -Hltnp 2>/dev/null | head -n 200
if [ -e /var/lib/dpkg/lock-frontend ]; then
  n=$(stat -c %i /var/lib/dpkg/lock-frontend)
  while read -r _ _ _ mode pid where _; do
    [ "$mode ${where##*:}" = "WRITE $n" ] || continue
    { read -r comm <"/proc/$pid/comm"; } 2>/dev/null || comm=
    echo "apt=$comm, pid $pid"
    break
  done </proc/locks
fi
:"""

    @classmethod
    def parse(cls, probes: Sequence[Self], output: bytes) -> Iterable[Facts]:
        values: dict[str, Any] = {}
        free: dict[str, int] = {}
        below: dict[str, str] = {}
        addresses: list[str] = []
        listeners: list[Listener] = []
        for line in output.decode("utf-8", "replace").splitlines():
            name, _, value = line.partition("=")
            if address := _ADDRESS.match(line):
                addresses.append(address[1])
            elif line.startswith("LISTEN "):
                listener = _listener(line)
                if listener:
                    listeners.append(listener)
            elif name == "below":
                path, _, folder = value.partition("|")
                below[path] = folder
            elif name == "free":
                kilobytes, _, folder = value.partition("|")
                if kilobytes.isdigit():
                    free[folder] = int(kilobytes) * 1024
            else:
                values[name] = value
        os_id, release, pretty = [*values.get("os", "||").split("|", 2), "", ""][:3]
        version, _, path = values.get("python", "|").partition("|")
        major, _, minor = version.partition(".")
        hostname, _, machine = values.get("names", "").partition(" ")
        facts = Facts(
            distribution=os_id,
            release=release,
            pretty=pretty[:80],
            architecture=_ARCHITECTURES.get(machine, machine),
            kernel_machine=machine,
            cores=int(values.get("cores") or 1),
            memory=int(values.get("memory") or 0) * 1024,
            free={path: free[folder] for path, folder in below.items() if folder in free},
            systemd=int(values.get("systemd") or 0),
            python=(int(major), int(minor)) if major.isdigit() and minor.isdigit() else (0, 0),
            python_path=path,
            now=float(values.get("now") or 0),
            addresses=tuple(addresses),
            listeners=tuple(listeners),
            root=values.get("uid") == "0",
            apt_lock=values.get("apt", "")[:80],
            booted="systemd" in values,
            hostname=hostname[:64],
            boot_id=values.get("boot", "")[:40],
        )
        return [facts for _ in probes]


def _listener(line: str) -> Listener | None:
    match = re.match(r"LISTEN +\d+ +\d+ +(\S+):(\d+) +\S+ *(?:users:\(\(\"([^\"]{1,40})\",pid=(\d+))?", line)
    if not match:
        return None
    process = f"{match[3]}, pid {match[4]}" if match[3] else ""
    return Listener(match[1].strip("[]").split("%")[0], int(match[2]), process)
