"""Whether the host's own package index lists a package: `python3 -I - PACKAGE SECONDS`.

Runs on the host (standard library only). stdout: one line, `ok`, or `fail REASON` for the last index asked.
"""

from __future__ import annotations

import os
import re
import sys
import time
import urllib.error

from provisioner.runtime.host_index import HostIndex, discover, without_credentials
from provisioner.runtime.http_client import Client, host_of


def listed(settings: HostIndex, package: str, seconds: float) -> str:
    """The answer line. A folder named by find-links may hold everything: that is only known when it is needed."""
    if settings.links:
        return "ok"
    line = "fail the host's settings say no-index"
    for index in settings.indexes:
        client = Client(settings, time.monotonic() + seconds, seconds)
        try:
            response, _ = client.open(f"{index}/{package}/", "*/*", first_byte=True)
            response.close()
            return "ok"
        except urllib.error.HTTPError as error:
            line = f"fail {host_of(index)} answers HTTP {error.code}"
        except Exception as error:  # whatever it is, it is the answer
            cause = getattr(error, "reason", error)
            text = without_credentials(str(cause)) or type(cause).__name__
            line = "fail " + re.sub(r"\s+", " ", f"{host_of(index)}: {text}")[:200]
    return line


def main(arguments: list[str]) -> int:
    """Prints the line; always 0."""
    print(listed(discover(dict(os.environ)), arguments[0], float(arguments[1])))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
