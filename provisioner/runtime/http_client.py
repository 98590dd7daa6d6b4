"""HTTP on a host, with Python's own library: proxies, private authorities, credentials, redirects, retries.

Part of the program that `fetch_wheel` is (Python 3.8 or newer).
"""

from __future__ import annotations

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

from provisioner.runtime.host_index import HostIndex, without_credentials

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
