"""The work lock for what a client library writes: as for an exec, no other run may have taken the host."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from provisioner.engine import batch
from provisioner.engine.quoting import encode, word
from provisioner.transport.base import Session

_CLAIM = """main() {
mkdir -p -m 0700 @RUN@
exec 9>>@RUN@/work
if flock -s -n 9 && [ "$(head -n 1 @RUN@/owner 2>/dev/null)" = @OWNER@ ]; then echo ours; else echo taken; exit 0; fi
while [ "$(timeout 13 head -c 1 | wc -c)" -eq 1 ]; do :; done
}
main
"""


@contextmanager
def claimed(session: Session, owner: str) -> Iterator[None]:
    """The work lock, held as a writing exec holds it, while a client library writes. Locked when another
    run has taken the host."""
    held = session.hold(encode(_CLAIM.replace("@RUN@", word(batch.RUN)).replace("@OWNER@", word(owner))))
    try:
        line = held.read_line(20)
        if line is None or line.strip() != "ours":
            raise batch.taken(session.host)
        yield
    finally:
        held.release()
