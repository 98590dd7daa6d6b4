"""Packages of the distribution, installed by one apt transaction."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Self

from provisioner.engine.probe import Probe, Seen
from provisioner.engine.quoting import words
from provisioner.engine.resource import UNKNOWN, Change, HostResource, Unknown
from provisioner.values import dataclass

OWNED = "/etc/provision/owned"
"""A mark a package, made just before this tool installs it: a killed run keeps what it owns."""


@dataclass(frozen=True)
class PackageState:
    """A package as dpkg has it."""

    installed: bool
    version: str | Unknown = ""
    broken: bool = False
    """Unpacked or half-configured: a transaction was cut short."""
    ours: bool = False
    """This tool installed it; one that was there before is a guest (OWNED has no mark of it)."""


@dataclass(frozen=True)
class PackageProbe(Probe[PackageState]):
    """Asks dpkg for one package."""

    name: str

    kind: ClassVar[str] = "packages"

    @classmethod
    def fragment(cls, probes: Sequence[Self]) -> str:
        names = words(*(p.name for p in probes))
        form = "'${Package} ${db:Status-Status} ${Version}\\n'"
        return f"ls {OWNED} 2>/dev/null | sed 's/$/ ours/' || :\ndpkg-query -W -f {form} {names} 2>/dev/null || :"

    @classmethod
    def parse(cls, probes: Sequence[Self], output: bytes) -> Iterable[PackageState]:
        states: dict[str, PackageState] = {}
        ours: set[str] = set()
        for line in output.decode("utf-8", "replace").splitlines():
            name, status, *version = line.split(" ")
            if name in states and states[name].installed:  # the same of another architecture
                continue
            if status == "ours":
                ours.add(name)
                continue
            broken = status in {"unpacked", "half-configured", "half-installed", "triggers-awaited", "triggers-pending"}
            states[name] = PackageState(status == "installed", version[0] if version else "", broken, name in ours)
        return [states.get(p.name, PackageState(False, ours=p.name in ours)) for p in probes]


# One at a time, never asking, never restarting services behind our back (needrestart), waiting for
# unattended-upgrades instead of failing. Progress from apt's status descriptor.
_APT = r"""
export DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=l NEEDRESTART_SUSPEND=1
export LC_ALL=C.UTF-8 APT_LISTCHANGES_FRONTEND=none
apt_get() {
  { { apt-get -q -y -o DPkg::Lock::Timeout=600 -o APT::Status-Fd=4 -o Dpkg::Use-Pty=0 \
      -o Acquire::Retries=2 -o Acquire::Languages=none -o APT::Install-Recommends=false \
      -o Dpkg::Options::=--force-confold -o Dpkg::Options::=--force-confdef "$@" 4>&1 >&5 9>&-
    echo "rc:$?"; } 5>>"$T/apt.log" 2>&1 | while IFS=: read -r kind name percent text; do
      case $kind in
        rc) echo "$name" >"$T/apt.rc" ;;
        dlstatus) say "apt: ${percent%%.*} % downloaded" ;;
        pmstatus) say "apt: $name" ;;
        E\ *|E) echo "$kind:$name:$percent:$text" >>"$T/apt.log" ;;
      esac
    done; }
  r=$(cat "$T/apt.rc"); rm -f "$T/apt.rc"
  [ "$r" -eq 0 ]
}
: >"$T/apt.log"
[ -z "$(dpkg --audit 2>/dev/null | head -c 1)" ] || dpkg --configure -a --force-confold >>"$T/apt.log" 2>&1 9>&- || :
fresh() { [ -n "$(find /var/lib/apt/lists -maxdepth 1 -name '*Packages*' -mmin -1440 2>/dev/null | head -n 1)" ]; }
"""


@dataclass(frozen=True, kw_only=True)
class Package(HostResource):
    """An installed package. Its version is the distribution's; upgrading is theirs as well."""

    patience: ClassVar[float] = 900.0

    name: str
    before: str = ""
    """sh that runs just before the transaction that installs it."""
    size: int = 0
    """Bytes to download with its dependencies, about."""

    @property
    def probe(self) -> PackageProbe:
        return PackageProbe(self.name)

    def probes(self) -> tuple[Probe[Any], ...]:
        return (self.probe,)

    def diff(self, seen: Seen) -> Change | None:
        state = seen[self.probe]
        if state.installed:
            return None
        reason = "its installation was cut short" if state.broken else "absent"
        return Change("create", reason, title=f"package {self.name}", download=self.size)

    def after(self, seen: Seen) -> Seen:
        return seen.put(self.probe, PackageState(True, UNKNOWN, ours=True))

    @classmethod
    def apply(cls, items: Sequence[tuple[Self, Change]]) -> str:
        names = words(*(package.name for package, _ in items))
        before = "\n".join(package.before for package, _ in items if package.before)
        marks = words(*(f"{OWNED}/{package.name}" for package, _ in items))
        return (
            f"{_APT}\nmkdir -p -m 0755 {OWNED}\ntouch -- {marks}\n{before}\n"
            f"if ! fresh; then say 'apt: reading package lists'; apt_get update || :; fi\n"
            f"if ! apt_get install {names}; then\n"
            f"  say 'apt: reading package lists again'; apt_get update || :\n"
            f'  apt_get install {names} || {{ tail -n 25 "$T/apt.log" >&2; exit 1; }}\n'
            "fi"
        )
