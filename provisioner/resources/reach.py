"""Whether a host gets what it will have to fetch; asked only while that is not there yet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

from provisioner.engine.probe import Probe
from provisioner.engine.quoting import printable, word
from provisioner.runtime import programs

INDEX = "index:"
SECONDS = 10


@dataclass(frozen=True)
class Reached:
    """`asked` False: what it would be fetched for is there."""

    asked: bool = False
    ok: bool = True
    size: int = 0
    """Bytes of the download; 0: not told."""
    why: str = ""


@dataclass(frozen=True)
class ReachProbe(Probe[Reached]):
    """`what`: a URL, of which the first byte is asked for, or `index:PACKAGE` for the host's own package
    index. `unless`: a path; nothing is asked when it is there."""

    what: str
    unless: str

    kind: ClassVar[str] = "reach"

    @classmethod
    def fragment(cls, probes: Sequence[Self]) -> str:
        names = dict.fromkeys("reach_index" if p.what.startswith(INDEX) else "reach" for p in probes)
        lines = [programs.function(name) for name in names]
        for number, probe in enumerate(probes):
            if probe.what.startswith(INDEX):
                ask = f'reach_index "$p" -I - {word(probe.what.removeprefix(INDEX))} {SECONDS}'
            else:
                ask = f'reach "$p" -I - {SECONDS} {word(probe.what)}'
            lines.append(
                f"if ! [ -e {word(probe.unless)} ]; then\n"
                f'  {{ if p=$(command -v python3); then {ask}; else echo "fail this host has no python3"; fi; }} '
                f">\"$T/reach{number}\" 2>/dev/null &\nfi"
            )
        lines.append("wait")
        lines += [
            f"printf '{number} '; cat \"$T/reach{number}\" 2>/dev/null || echo" for number in range(len(probes))
        ]
        return "\n".join(lines)

    @classmethod
    def parse(cls, probes: Sequence[Self], output: bytes) -> Iterable[Reached]:
        found: dict[int, Reached] = {}
        for line in output.decode("utf-8", "replace").splitlines():
            number, _, rest = line.partition(" ")
            if not number.isdigit() or int(number) >= len(probes) or not rest:
                continue
            words = rest.split(" ")
            if not probes[int(number)].what.startswith(INDEX):
                words = words[1:]
            if words[:1] == ["ok"]:
                size = words[1] if len(words) > 1 else "0"
                found[int(number)] = Reached(True, True, int(size) if size.isdigit() else 0)
            else:
                found[int(number)] = Reached(True, False, why=printable(" ".join(words[1:]))[:300])
        return [found.get(number, Reached()) for number in range(len(probes))]
