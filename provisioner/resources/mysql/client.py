"""The server's own client as its administrator, inside a shell fragment.

SQL travels on stdin, its values in it as quoted text, so that nothing of it stands in an argv or an environment.
The administrator is root of the operating system over the local socket: no password exists for it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from provisioner.engine.quoting import emit, word

SOCKET = "/run/mysqld/mysqld.sock"
_NAME = re.compile(r"[a-z_][a-z0-9_]{0,63}")

FUNCTIONS = rf"""
if [ -x /usr/bin/mariadb ]; then client=/usr/bin/mariadb; else client=/usr/bin/mysql; fi
administer() {{
  ( cd / && exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/nonexistent LC_ALL=C.UTF-8 "$client" --no-defaults \
    --protocol=socket --socket={SOCKET} --user=root --batch --raw --skip-column-names --skip-reconnect \
    --default-character-set=utf8mb4 --connect-timeout=10 )
}}
as_mysql() {{
  ( cd / && exec setpriv --reuid=mysql --regid=mysql --clear-groups env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    LC_ALL=C.UTF-8 "$@" )
}}
accepted() {{
  # MariaDB has no --validate-config; its --help reads the files and goes on after a bad value of a plugin.
  if [ -x /usr/sbin/mariadbd ]; then set -- mariadbd --help --verbose; else set -- mysqld --validate-config; fi
  as_mysql "$@" >/dev/null 2>"$T/accepted" && ! grep -q '\[ERROR\]' "$T/accepted" && return 0
  sed -n 's/^.*\[ERROR\] */why /p' "$T/accepted" | head -n 1 >&2
  return 1
}}
"""
"""Shell functions: `administer` reads SQL from stdin; `accepted` fails with the reason when the server would not
start with the files that are on disk."""


def shows(certificate: str) -> str:
    """A command that is true once the server shows the first certificate of that file. Through its socket, where it
    greets its administrator: by TCP it turns away who has no login, before any TLS."""
    path = word(certificate)
    return (
        f'[ "$(timeout 10 openssl s_client -starttls mysql -unix {SOCKET} </dev/null 2>/dev/null | '
        'openssl x509 -noout -fingerprint -sha256 2>/dev/null)" = '
        f'"$(openssl x509 -in {path} -noout -fingerprint -sha256)" ]'
    )


def literal(text: str) -> str:
    """`text` as a string of SQL whatever the session's mode: no backslash, no control character."""
    if any(c in text for c in "\\\0\n\r"):
        raise ValueError("not text that goes into a statement")
    return "'" + text.replace("'", "''") + "'"


def identifier(name: str) -> str:
    """The name of a database, which the settings let through only when it needs no quotes."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"not a name: {name!r}")
    return f"`{name}`"


def pattern(name: str) -> str:
    r"""A database's name in a grant, where `_` and `%` stand for others: `ml\_flow`."""
    return f"`{grantable(name)}`"


def grantable(name: str) -> str:
    """As `pattern`, without the quotes: so the catalogue shows it."""
    identifier(name)
    return name.replace("_", "\\_")


def statements(text: str, values: Mapping[str, str]) -> str:
    """`text` with `:'name'` as a string, `:"name"` as an identifier, `:pattern"name"` as one in a grant, and
    `:name:` as a plain number. KeyError for a value that is missing."""

    def value(match: re.Match[str]) -> str:
        if match["string"]:
            return literal(values[match["string"]])
        if match["identifier"]:
            return identifier(values[match["identifier"]])
        if match["pattern"]:
            return pattern(values[match["pattern"]])
        return str(int(values[match["number"]]))

    form = r""":'(?P<string>\w+)'|:"(?P<identifier>\w+)"|:pattern"(?P<pattern>\w+)"|:(?P<number>\w+):"""
    return re.sub(form, value, text)


def feed(text: str, values: Mapping[str, str] | None = None) -> str:
    """A command that writes the statements to stdout, for `| administer`."""
    return emit(statements(text, values or {}).encode())
