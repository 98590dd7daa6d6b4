"""Whether the host reaches addresses it will fetch from: `python3 -I - SECONDS URL...`, all at once.

Standard library only, with the host's own proxy and certificates. stdout: `URL ok SIZE` (bytes, 0: not told)
or `URL fail REASON`, one line each in the order given. Nothing is downloaded: the first byte is asked for.
"""

from __future__ import annotations

import os
import re
import sys
import time
import urllib.error
from concurrent.futures import ThreadPoolExecutor

from provisioner.runtime.host_index import discover, without_credentials
from provisioner.runtime.http_client import Client, host_of


def reach(url: str, seconds: float) -> str:
    """One answer line without the URL."""
    client = Client(discover(dict(os.environ)), time.monotonic() + seconds, seconds)
    try:
        response, final = client.open(url, "*/*", first_byte=True)
        with response:
            total = re.search(r"/(\d+)$", response.headers.get("Content-Range") or "")
            length = total.group(1) if total else response.headers.get("Content-Length") or "0"
            if (response.headers.get("Content-Type") or "").startswith("text/html"):
                return f"fail {host_of(final)} answers with a web page"
            return f"ok {length if length.isdigit() else 0}"
    except urllib.error.HTTPError as error:
        return f"fail {host_of(url)} answers HTTP {error.code}"
    except Exception as error:  # whatever it is, it is the answer
        cause = getattr(error, "reason", error)
        text = without_credentials(str(cause)) or type(cause).__name__
        return "fail " + re.sub(r"\s+", " ", text)[:200]


def main(arguments: list[str]) -> int:
    """Prints the lines; always 0."""
    seconds, urls = float(arguments[0]), arguments[1:]
    with ThreadPoolExecutor(len(urls) or 1) as pool:
        for line in pool.map(lambda url: f"{without_credentials(url)} {reach(url, seconds)}", urls):
            print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
