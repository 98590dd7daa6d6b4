"""Whether the host's own package index lists a package: `python3 -I - PACKAGE SECONDS`.

Runs on the host (standard library only). stdout: one line, `ok`, or `fail REASON` for the last index asked.
What may pass by itself (a busy index, a lost packet) is asked again: an installation would do so too.
"""

from __future__ import annotations

import os
import re
import ssl
import sys
import time
import urllib.error

from provisioner.runtime.host_index import HostIndex, discover, without_credentials
from provisioner.runtime.http_client import PAUSES, Client, host_of


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
