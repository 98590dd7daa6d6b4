"""Which PostgreSQL clusters a host has, read from files; nothing is asked of a server."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import ClassVar, Self

from provisioner.engine.probe import Probe
from provisioner.resources.package import OWNED
from provisioner.values import dataclass

RELEASES = {
    ("debian", "11"): "13",
    ("debian", "12"): "15",
    ("debian", "13"): "17",
    ("ubuntu", "22.04"): "14",
    ("ubuntu", "24.04"): "16",
    ("ubuntu", "26.04"): "18",
}
"""(distribution, release) -> the PostgreSQL version that its package `postgresql` brings."""
VERSIONS = tuple(sorted(set(RELEASES.values())))
NEWEST = "18"
OWN_CONF = "50-mlflow.conf"


@dataclass(frozen=True)
class Cluster:
    """`/etc/postgresql/VERSION/main`."""

    version: str
    port: int = 5432
    data: str = ""
    """Data directory."""
    initialised: bool = True
    """The data directory holds a database system."""
    running: bool = False
    programs: bool = True
    """The server of this version is installed."""
    marked: bool = False
    """Our own file is in its conf.d."""
    includes: bool = True
    """Its postgresql.conf reads conf.d."""
    start: str = "auto"
    """What start.conf says: auto, manual, disabled."""
    name: str = "main"

    @property
    def id(self) -> str:
        return f"{self.version}-{self.name}"

    @property
    def unit(self) -> str:
        return f"postgresql@{self.id}.service"

    @property
    def directory(self) -> str:
        return f"/etc/postgresql/{self.version}/{self.name}"

    @property
    def conf(self) -> str:
        return f"{self.directory}/conf.d/{OWN_CONF}"

    @property
    def hba(self) -> str:
        return f"{self.directory}/pg_hba.conf"


@dataclass(frozen=True)
class Clusters:
    """The clusters that a host has configured."""

    found: tuple[Cluster, ...] = ()
    others: tuple[str, ...] = ()
    """Clusters of another name than main, as VERSION/NAME."""
    candidate: str = ""
    """Version that apt would install; asked only where there is no cluster."""
    ours: bool = False
    """PostgreSQL was installed by this tool."""
    installed: bool = False
    """The package postgresql is installed, with or without a cluster."""


@dataclass(frozen=True)
class ClustersProbe(Probe[Clusters]):
    """Finds clusters by their files."""

    kind: ClassVar[str] = "postgresql-clusters"

    @classmethod
    def fragment(cls, probes: Sequence[Self]) -> str:
        return _FRAGMENT

    @classmethod
    def parse(cls, probes: Sequence[Self], output: bytes) -> Iterable[Clusters]:
        values: dict[str, str] = {}
        found: list[Cluster] = []
        others: list[str] = []
        for line in output.decode("utf-8", "replace").splitlines():
            name, _, value = line.partition("=")
            if name == "cluster":
                cluster = _cluster(value.split("|"))
                if cluster is not None:
                    found.append(cluster)
            elif name == "other":
                others.append(value[:80])
            else:
                values[name] = value
        clusters = Clusters(
            found=tuple(sorted(found, key=lambda c: int(c.version))),
            others=tuple(others),
            candidate=values.get("candidate", "") if re.fullmatch(r"\d{2}", values.get("candidate", "")) else "",
            ours=values.get("ours") == "yes",
            installed=values.get("installed") == "yes",
        )
        return [clusters for _ in probes]


# One sed for a cluster and else the shell's own words: forks are what a look costs. Of a setting the
# last line wins; `port` in postgresql.auto.conf is rare and the running server is found by its socket.
_FRAGMENT = rf"""
[ -e {OWNED}/postgresql ] && echo ours=yes
[ -e /usr/share/doc/postgresql ] && echo installed=yes
n=0
for d in /etc/postgresql/*/*; do
  [ -f "$d/postgresql.conf" ] || continue
  c=${{d#/etc/postgresql/}}; v=${{c%%/*}}
  if [ "${{c#*/}}" != main ]; then echo "other=$c"; continue; fi
  n=1
  data=/var/lib/postgresql/$c; port=5432; includes=no
  sed -n -e "s/^[[:space:]]*data_directory[[:space:]=][[:space:]=]*'*\([^'#]*\).*/data \1/p" \
    -e "s/^[[:space:]]*port[[:space:]=][[:space:]=]*'*\([0-9]*\).*/port \1/p" \
    -e "s/^[[:space:]]*include_dir[[:space:]=][[:space:]=]*'\(.*\)conf\.d\/*'.*/includes \1/p" \
    -e "s/^[[:space:]]*include_if_exists[[:space:]=][[:space:]=]*'\(.*\)conf\.d\/{OWN_CONF}'.*/includes \1/p" \
    "$d/postgresql.conf" "$d"/conf.d/*.conf >"$T/clusters" 2>/dev/null || :
  while read -r key value; do
    case $key in
      data) data=$value ;;
      port) port=$value ;;
      includes) case $value in ''|"$d/") includes=yes ;; esac ;;
    esac
  done <"$T/clusters"
  pid=; running=no; programs=no; initialised=no; marked=no; start=auto
  [ ! -s "/run/postgresql/$v-main.pid" ] || read -r pid <"/run/postgresql/$v-main.pid" || :
  [ -n "$pid" ] && [ -d "/proc/$pid" ] && running=yes
  [ -x "/usr/lib/postgresql/$v/bin/postgres" ] && programs=yes
  [ -f "$data/PG_VERSION" ] && initialised=yes
  [ -f "$d/conf.d/{OWN_CONF}" ] && marked=yes
  [ ! -f "$d/start.conf" ] || while read -r line; do
    case $line in [a-z]*) start=${{line%%[!a-z]*}} ;; esac
  done <"$d/start.conf"
  echo "cluster=$v|$port|$initialised|$running|$programs|$marked|$includes|$start|$data"
done
if [ $n = 0 ]; then
  echo "candidate=$(apt-cache policy postgresql 2>/dev/null | sed -n 's/^  Candidate: \([0-9]*\)+.*/\1/p')"
fi
:"""


def _cluster(fields: list[str]) -> Cluster | None:
    version, port, initialised, running, programs, marked, includes, start, *data = fields
    if not re.fullmatch(r"\d{2}", version):
        return None
    return Cluster(
        version=version,
        port=int(port) if port.isdigit() and 0 < int(port) < 65536 else 5432,
        data="|".join(data)[:1000],
        initialised=initialised == "yes",
        running=running == "yes",
        programs=programs == "yes",
        marked=marked == "yes",
        includes=includes == "yes",
        start=start,
    )


def expected(distribution: str, release: str, candidate: str = "") -> str:
    """The version that a host without PostgreSQL will get."""
    return candidate or RELEASES.get((distribution, release), NEWEST)


def choose(clusters: Clusters) -> tuple[Cluster, str] | None:
    """The cluster to use, and why it when there are several: ours, else the one on port 5432, else the newest
    that runs. None when there is no cluster."""
    if not clusters.found:
        return None
    if len(clusters.found) == 1:
        return clusters.found[0], ""
    for cluster in clusters.found:
        if cluster.marked:
            return cluster, "it has this stack's settings"
    for cluster in clusters.found:
        if cluster.port == 5432:
            return cluster, "it is on port 5432"
    running = [cluster for cluster in clusters.found if cluster.running]
    return (running or list(clusters.found))[-1], "it is the newest"
