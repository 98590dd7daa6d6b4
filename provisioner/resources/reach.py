"""Whether the host's own package index lists a package; asked only while what comes from it is not there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar, Self

from provisioner.engine.probe import Probe
from provisioner.engine.quoting import printable, word
from provisioner.runtime import programs
from provisioner.values import dataclass

SECONDS = 20


@dataclass(frozen=True)
class ListedProbe(Probe[str]):
    """Gives `ok`, empty when `unless` (a path) is there and nothing was asked, or why not."""

    package: str
    unless: str

    kind: ClassVar[str] = "index-lists"

    @classmethod
    def fragment(cls, probes: Sequence[Self]) -> str:
        lines = [programs.function("reach_index")]
        for probe in probes:
            lines.append(
                f"if [ -e {word(probe.unless)} ]; then echo; elif ! p=$(command -v python3); then\n"
                f'  echo "fail this host has no python3"\n'
                f'else reach_index "$p" -I - {word(probe.package)} {SECONDS} || echo "fail it gave no answer"; fi'
            )
        return "\n".join(lines)

    @classmethod
    def parse(cls, probes: Sequence[Self], output: bytes) -> Iterable[str]:
        return [printable(line).removeprefix("fail ")[:300] for line in output.decode("utf-8", "replace").splitlines()]
