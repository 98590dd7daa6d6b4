"""psql as the administrator of a cluster, inside a shell fragment.

SQL travels on stdin, its values as psql variables on top of it, so that nothing of it stands in
an argv or an environment. The programs of the cluster's own version are called directly: the
wrappers in /usr/bin are Perl and cost 40 ms each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from provisioner import assets
from provisioner.engine.quoting import emit, word, words

SOCKETS = "/var/run/postgresql"

# search_path: nobody's objects in `public` may shadow what a superuser calls. Errors of statements
# that carry a verifier must not be logged with it.
_OPTIONS = (
    "-c search_path=pg_catalog -c jit=off -c statement_timeout=120s -c log_statement=none "
    "-c log_min_duration_statement=-1 -c log_min_error_statement=panic"
)
_READ_ONLY = "-c default_transaction_read_only=on -c statement_timeout=10s"


def functions(version: str) -> str:
    """Shell functions: `as_postgres COMMAND…` runs one as that user; `administer DATABASE` reads SQL
    from stdin, `$port` must be set; `accepted` fails with the reason when the server would not
    start with the files that are on disk."""
    return _FUNCTIONS.replace("@VERSION@", version)


_FUNCTIONS = rf"""
bin=/usr/lib/postgresql/@VERSION@/bin
as_postgres() {{
  ( cd / && exec setpriv --reuid=postgres --regid=postgres --init-groups env -i PATH=/usr/bin:/bin LC_ALL=C.UTF-8 \
    PGCLIENTENCODING=UTF8 PGCONNECT_TIMEOUT=10 PGAPPNAME=provision "PGOPTIONS=${{options:-{_OPTIONS}}}" "$@" )
}}
administer() {{
  as_postgres "$bin/psql" -X -q -A -t -v ON_ERROR_STOP=1 -h {SOCKETS} -p "$port" -U postgres -d "$1"
}}
accepted() {{
  # Not pg_file_settings: it has one and the same error for a bad value and for one that waits for a restart.
  as_postgres "$bin/postgres" -C port -c "config_file=/etc/postgresql/@VERSION@/main/postgresql.conf" \
    >/dev/null 2>"$T/accepted" && return 0
  sed 's/^.* \([A-Z]*\):  /\1: /' "$T/accepted" >&2
  sed -n 's/^.* \(LOG\|FATAL\):  /why /p' "$T/accepted" | head -n 1 >&2
  return 1
}}
"""

READ_ONLY = f"options={word(_OPTIONS + ' ' + _READ_ONLY)}\n"


def find_port(version: str, cluster: str = "main") -> str:
    """Sets `$port` of a running cluster: its pid file has the port on line 4. Empty when it does not run."""
    return (
        f"port=; pidfile=/var/run/postgresql/{version}-{cluster}.pid\n"
        'if [ -s "$pidfile" ] && pid=$(head -n 1 "$pidfile") && [ -d "/proc/${pid:-x}" ]; then\n'
        f"  for s in {SOCKETS}/.s.PGSQL.*.lock; do\n"
        '    [ -f "$s" ] && [ "$(head -n 1 "$s")" = "$pid" ] || continue\n'
        "    port=${s##*.PGSQL.}; port=${port%.lock}\n"
        "  done\nfi"
    )


def running(version: str) -> str:
    """The shell functions, and `$port` of the running cluster main."""
    return f"{functions(version)}\n{find_port(version)}"


def quoted(value: str) -> str:
    """`value` in single quotes for psql's \\set."""
    if any(c in value for c in "\0\n\r"):
        raise ValueError("a psql variable cannot hold a line break")
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def feed(statements: str, variables: Mapping[str, str] | None = None) -> str:
    """A command that writes `statements` with `variables` set to stdout, for `| administer DATABASE`."""
    head = "".join(f"\\set {name} {quoted(value)}\n" for name, value in (variables or {}).items())
    return emit((head + statements).encode())


def shows(certificate: str) -> str:
    """A command that is true once the server on `$port` shows the first certificate of that file. A reload says
    yes to everything: of a file that it cannot use the server only writes to its log."""
    path = word(certificate)
    return (
        '[ "$(timeout 10 openssl s_client -starttls postgres -connect "127.0.0.1:$port" </dev/null 2>/dev/null | '
        'openssl x509 -noout -fingerprint -sha256 2>/dev/null)" = '
        f'"$(openssl x509 -in {path} -noout -fingerprint -sha256)" ]'
    )


def reload(unit: str, changed: Sequence[str]) -> str:
    """Reload a cluster through systemd (which records it) and wait until the server has read its
    files; nothing when it does not run. Needs `functions` and `find_port`.

    Not before the server has nothing against its files as they are on disk: a reload says yes to
    everything. Else `changed` are put back as they were.
    """
    return (
        _RELOAD.replace("@UNIT@", word(unit))
        .replace("@LOADED@", feed(assets.sql("postgresql/loaded.sql")))
        .replace("@HBA@", feed(assets.sql("postgresql/hba_errors.sql")))
        .replace("@CHANGED@", words(*changed))
    )


# The signal is asynchronous; a new backend inherits the postmaster's pg_conf_load_time.
_RELOAD = r"""
if [ -n "$port" ]; then
  @HBA@ | administer postgres >"$T/reload.errors" || echo 'pg_hba.conf could not be checked' >>"$T/reload.errors"
  if ! accepted || [ -s "$T/reload.errors" ]; then
    put_back @CHANGED@
    sed 's/^/why /' "$T/reload.errors" >&2
    exit 1
  fi
  loaded() { @LOADED@ | administer postgres; }
  before=$(loaded)
  systemctl daemon-reload
  systemctl reload @UNIT@
  n=0
  while [ "$(loaded)" = "$before" ]; do
    n=$((n + 1))
    if [ $n -ge 50 ]; then
      echo 'the server did not read its files' >&2
      exit 1
    fi
    sleep 0.1
  done
  # The record is of this reload, not of an earlier one.
  touch -c /run/provision/@UNIT@
fi
"""
