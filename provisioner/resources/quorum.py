"""That a server of a store over several hosts finds enough of the others to read and to write."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import field, replace
from typing import Any, ClassVar, Self

from provisioner.engine.probe import Probe, Seen
from provisioner.engine.quoting import word
from provisioner.engine.resource import Change, HostResource
from provisioner.resources.answers import PYTHON
from provisioner.resources.unit import PLANNED, UnitProbe
from provisioner.values import dataclass

CLUSTER = "/minio/health/cluster"
"""200 while so many drives are there that objects can be written; no key is asked for."""

_PROGRAM = """
import http.client, ssl, sys
try:
    context = ssl.create_default_context(cafile=sys.argv[2])
    connection = http.client.HTTPSConnection("127.0.0.1", int(sys.argv[1]), timeout=5, context=context)
    connection.request("GET", sys.argv[3])
    print(connection.getresponse().status)
except (OSError, ValueError, http.client.HTTPException):
    print(0)
"""


def _ask(port: int, root: str) -> str:
    """sh that prints the status of the server on this host, 0 for none."""
    return f"{PYTHON} -I - {port} {word(root)} {CLUSTER} <<'end-of-question'\n{_PROGRAM.strip()}\nend-of-question"


@dataclass(frozen=True)
class QuorumProbe(Probe[bool]):
    """Asks the server on this host, with TLS by the root in the file `root`."""

    port: int
    root: str

    kind: ClassVar[str] = "quorum"

    @classmethod
    def fragment(cls, probes: Sequence[Self]) -> str:
        return "\n".join(
            f"if [ -f {word(each.root)} ]; then\n{_ask(each.port, each.root)}\nelse echo 0; fi" for each in probes
        )

    @classmethod
    def parse(cls, probes: Sequence[Self], output: bytes) -> Iterable[bool]:
        return [line == "200" for line in output.decode("ascii", "replace").split()]


@dataclass(frozen=True, kw_only=True)
class Quorum(HostResource):
    """Nothing is changed for it but the time: it is waited for."""

    patience: ClassVar[float] = 900.0

    unit: str
    root: str
    port: int
    hosts: int
    seconds: int
    """For how long it is waited for."""
    proof: str = field(default="true", repr=False)
    """sh that ends with 0 once this host's server also does what is asked of it."""

    @property
    def probe(self) -> QuorumProbe:
        return QuorumProbe(self.port, self.root)

    @property
    def hint(self) -> str:
        return f"journalctl -u {self.unit} -e"

    def probes(self) -> tuple[Probe[Any], ...]:
        return self.probe, UnitProbe(self.unit)

    def diff(self, seen: Seen) -> Change | None:
        restarts = seen[UnitProbe(self.unit)].invocation == PLANNED
        if seen[self.probe] and not restarts:
            return None
        reason = "its servers are restarted" if seen[self.probe] else "not enough of its drives are there"
        return Change("run", reason, title=f"the store on {self.hosts} hosts")

    def after(self, seen: Seen) -> Seen:
        unit = UnitProbe(self.unit)
        return seen.put(self.probe, True).put(unit, replace(seen[unit], invocation=""))

    @classmethod
    def apply(cls, items: Sequence[tuple[Self, Change]]) -> str:
        lines = []
        for item, _ in items:
            lines.append(
                f"said=; t=$(($(date +%s) + {item.seconds}))\n"
                f'until [ "$({_ask(item.port, item.root)}\n)" = 200 ] && said=$( ( {item.proof}\n) 2>&1 ); do\n'
                '  if [ "$(date +%s)" -ge $t ]; then\n'
                f'    echo "not enough of the drives on its {item.hosts} hosts came within {item.seconds} s'
                """${said:+: $(printf '%s' "$said" | tail -n 1 | tr -d '\\000-\\037' | cut -c1-200)}" >&2\n"""
                f"    journalctl -u {word(item.unit)} -n 20 --no-pager -o cat; exit 1\n  fi\n  sleep 1\ndone"
            )
        return "\n".join(lines)
