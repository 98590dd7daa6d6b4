"""What libpq would take from the operator's own environment and home, where a call does not say it."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def nothing_else(folder: Path) -> dict[str, Any]:
    """Parameters of a connection that has nothing of the operator's own: PGHOSTADDR alone leads a login to another
    server than was named, PGPASSFILE gives another password, PGCHANNELBINDING and a dozen more break it. What the
    call itself means goes over them. `folder`: one in which there is no file `none`.

    No parameter undoes PGSERVICE: of a service that is known nothing is left to take, an unknown one is an error.
    """
    import psycopg2.extensions

    none = str(folder / "none")
    given: dict[str, Any] = {
        "hostaddr": "",
        "passfile": none,
        "options": "",
        "client_encoding": "UTF8",
        "target_session_attrs": "any",
        "load_balance_hosts": "disable",
        "require_auth": "!gss,!sspi",
        "requirepeer": "",
        "channel_binding": "prefer",
        "gssencmode": "disable",
        "sslmode": "disable",
        "sslcertmode": "disable",
        "sslrootcert": none,
        "sslcrl": none,
        "sslcrldir": "",
        "sslsni": "1",
        "ssl_min_protocol_version": "TLSv1.2",
        "ssl_max_protocol_version": "",
    }
    # Since libpq 17; an earlier one takes it for a mistake.
    return {**given, "sslnegotiation": "postgres"} if psycopg2.extensions.libpq_version() >= 170000 else given
