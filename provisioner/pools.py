"""The pools of a MinIO store over several hosts: the drives that it was given at one time. They stay as they are and
in their order; what is added is one pool more."""

from __future__ import annotations

from collections.abc import Sequence

from provisioner.errors import Refused
from provisioner.values import dataclass

_SIZES = range(2, 17)
_WORDS = {2: "second", 3: "third", 4: "fourth", 5: "fifth", 6: "sixth"}


@dataclass(frozen=True)
class Pool:
    """Each of `drives` on each of `hosts`, which are addresses."""

    hosts: tuple[str, ...]
    drives: tuple[str, ...]

    @property
    def count(self) -> int:
        """Its drives in all."""
        return len(self.hosts) * len(self.drives)


def grown(before: Sequence[Pool], hosts: Sequence[str], drives: Sequence[str]) -> tuple[Pool, ...] | None:
    """The pools of a store that has `before` and shall have `drives` on each of `hosts`; None where something of
    `before` would have to go or to change, or other hosts are named. Refused (exit 4) where what is added makes no
    pool."""
    had = tuple(dict.fromkeys(drive for pool in before for drive in pool.drives))
    if set(hosts) != set(before[0].hosts) or tuple(drives[: len(had)]) != had:
        return None
    if len(drives) == len(had):
        return tuple(before)
    added = Pool(before[0].hosts, tuple(drives[len(had) :]))
    _judge(before[0], added, len(before) + 1)
    return (*before, added)


def _judge(first: Pool, added: Pool, number: int) -> None:
    """Refused (exit 4) where MinIO would not start with it: every pool has the first one's parity
    (newErasureServerPools), which is half of a set at most."""
    parity, size = _parity(_size(first.count)), _size(added.count)
    if size < 2 * parity:
        most = f"sets of {size} drives" if size else "no sets of one size, of 2 to 16 drives"
        raise Refused(
            f"{added.count} more drives make no {ordinal(number)} pool",
            why=f"each object has {parity} parts to spare, as in the first pool, which takes sets of {2 * parity} "
            f"drives or more; these make {most}",
            next=f"add more at once: as many as make a multiple of {2 * parity} in all",
        )


def _size(count: int) -> int:
    """Drives in each set that MinIO makes of so many: the most that divide them (commonSetDriveCount); 0 for none."""
    return max((size for size in _SIZES if count % size == 0), default=0)


def _parity(size: int) -> int:
    """MinIO's default for a set of so many drives (storageclass.DefaultParityBlocks)."""
    return 1 if size < 4 else min(size // 2, 4)


def ordinal(number: int) -> str:
    """`second`, from 2."""
    return _WORDS.get(number, f"{number}th")
