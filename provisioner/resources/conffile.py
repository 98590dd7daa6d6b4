"""A distribution's example that a package of ours switches on, taken away as long as nobody edited it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Self

from provisioner.engine.probe import Probe, Seen
from provisioner.engine.quoting import word
from provisioner.engine.resource import UNKNOWN, Change, HostResource
from provisioner.resources.package import PackageProbe
from provisioner.resources.paths import checked
from provisioner.values import dataclass


@dataclass(frozen=True)
class ExampleState:
    """A distribution's example as it was seen."""

    on: bool = False
    """The link is there and leads to the example."""
    edited: bool = False
    """The example is not as its package delivered it."""
    settled: bool = False
    """In a plan: taken away as soon as its package brings it."""


@dataclass(frozen=True)
class ExampleProbe(Probe[ExampleState]):
    """Looks whether a distribution's example is on, and unmodified."""

    link: str
    example: str
    package: str
    """The package whose configuration file the example is."""

    kind: ClassVar[str] = "examples"

    @classmethod
    def fragment(cls, probes: Sequence[Self]) -> str:
        lines = []
        for number, probe in enumerate(probes):
            link, example = word(checked(probe.link)), word(checked(probe.example))
            lines.append(
                f'if [ -L {link} ] && [ "$(readlink -f {link})" = {example} ]; then\n'
                f"  w=$(dpkg-query -W -f '${{Conffiles}}\\n' {word(probe.package)} 2>/dev/null |\n"
                f'    while read -r p m rest; do if [ "$p" = {example} ]; then echo "$m"; fi; done)\n'
                f'  h=$(md5sum <{example}); if [ "${{h%% *}}" = "$w" ]; then echo "{number} same"; '
                f'else echo "{number} edited"; fi\nfi'
            )
        return "\n".join([*lines, ":"])

    @classmethod
    def parse(cls, probes: Sequence[Self], output: bytes) -> Iterable[ExampleState]:
        found = dict(line.split(" ") for line in output.decode("ascii", "replace").splitlines())
        words = [found.get(str(number)) for number in range(len(probes))]
        return [ExampleState(word is not None, word == "edited") for word in words]


@dataclass(frozen=True, kw_only=True)
class ExampleOff(HostResource):
    """The example is off. One that somebody edited is theirs and stays on."""

    link: str
    example: str
    package: str
    brought_by: str
    """The package whose installation switches it on."""

    @property
    def probe(self) -> ExampleProbe:
        return ExampleProbe(self.link, self.example, self.package)

    def probes(self) -> tuple[Probe[Any], ...]:
        return (self.probe, PackageProbe(self.brought_by))

    def diff(self, seen: Seen) -> Change | None:
        state = seen[self.probe]
        if state.settled:
            return None
        if seen[PackageProbe(self.brought_by)].version is UNKNOWN:
            return Change("remove", f"comes with the package {self.brought_by}", title=self.link)
        if state.on and not state.edited:
            return Change("remove", "the distribution's example, as it came", title=self.link)
        return None

    def after(self, seen: Seen) -> Seen:
        return seen.put(self.probe, replace(seen[self.probe], on=False, settled=True))

    @classmethod
    def apply(cls, items: Sequence[tuple[Self, Change]]) -> str:
        lines = []
        for example, _ in items:
            # Decided here: when the plan was made the package had not brought it yet.
            lines.append(f"s=$(\n{ExampleProbe.fragment([example.probe])}\n)")
            lines.append(f'if [ "$s" = "0 same" ]; then keep {word(example.link)}; rm -f -- {word(example.link)}; fi')
        return "\n".join(lines)
