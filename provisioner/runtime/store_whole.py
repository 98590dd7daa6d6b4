"""Whether a store over several servers is whole: each of them writes, reads and removes objects. `python3 -I -`.

Runs on the host (standard library only). What is asked comes in the variable PROVISION_STORE, as JSON: servers (hosts,
the asking one first), name (of the asking one), port, region, bucket, access, secret, root (PEM file of the only root
that is trusted), rounds, spare (whether each server must also see so many drives that any host could be missed). Ends
with 0 as soon as all is well, with 1 after 3 s without; stdout: one line, what is in the way.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import ssl
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from provisioner.runtime.s3_request import Bucket

PATIENCE = 3.0
"""Seconds."""
LOOK = {"recursive": False, "dryRun": True, "remove": False, "recreate": False, "scanMode": 1}
"""Of MinIO's healing (`mc admin heal --dry-run`): it looks at each drive for its part of an object."""


class Wrong(Exception):
    """What a server does not do."""


class NoBucket(Exception):
    """There is nothing in the store yet."""


class Server(Bucket):
    """One of the servers, which all have the same objects."""

    def done(self, method: str, key: str, body: bytes = b"") -> bytes:
        """What it answers. Raises Wrong, NoBucket."""
        try:
            status, headers, said = self.request(method, key, None, body)
        except (OSError, ssl.SSLError, http.client.HTTPException) as error:
            raise Wrong(f"{self.host}: {method}: {error or type(error).__name__}") from None
        if status in (200, 204):
            return said
        told = self.tell(status, headers, said)
        if told.startswith("missing"):
            raise NoBucket
        raise Wrong(f"{self.host}: {method}: {told}")

    def spares(self, key: str) -> None:
        """Whether it sees so many drives with a part of an object that any host could be missed: for up to 15 s after
        a start it goes on without a drive that it did not find then (monitorAndConnectEndpoints), and nothing else
        tells. Raises Wrong."""
        admin = Server({**self.asked, "bucket": ""})
        path = f"minio/admin/v3/heal/{self.asked['bucket']}/{key}"
        token = admin.json("POST", path, {"forceStart": "true"}, json.dumps(LOOK).encode()).get("clientToken")
        end = time.monotonic() + PATIENCE
        while True:
            told = admin.json("POST", path, {"clientToken": str(token)})
            for item in told.get("Items") or ():
                if item.get("type") == "object":
                    return self._enough(item)
            if told.get("Summary") in ("finished", "stopped") or time.monotonic() > end:
                raise Wrong(f"{self.host}: does not tell its drives: {told.get('Detail') or told.get('Summary')}")
            time.sleep(0.05)

    def _enough(self, item: dict[str, Any]) -> None:
        drives = item["before"]["drives"]
        well = [urlsplit(each["endpoint"]).netloc for each in drives if each["state"] == "ok"]
        data, parity = item.get("dataBlocks", 0), item.get("parityBlocks", 0)
        needed = data + (data == parity)
        for host in {urlsplit(each["endpoint"]).netloc for each in drives}:
            if len([each for each in well if each != host]) < needed:
                ailing = ", ".join(f"{each['endpoint']} {each['state']}" for each in drives if each["state"] != "ok")
                raise Wrong(f"{self.host}: could not do without {host}: {ailing or 'all its drives are needed'}")

    def json(self, method: str, key: str, query: dict[str, str], body: bytes = b"") -> dict[str, Any]:
        """The document that it answers. Raises Wrong."""
        try:
            status, headers, said = self.request(method, key, query, body)
            if status == 200:
                found = json.loads(said)
                return found if isinstance(found, dict) else {}
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise Wrong(f"{self.host}: {error or type(error).__name__}") from None
        raise Wrong(f"{self.host}: {self.tell(status, headers, said)}")


def once(servers: list[Server], rounds: int, spare: bool) -> None:
    """Every server writes an object in each round, it and another one read it at once, and one removes it. Raises
    Wrong, NoBucket."""
    count = len(servers)
    for number in range(rounds):
        for index, writer in enumerate(servers):
            # Names that stay the same: whatever a pass that failed left behind is written over by the next one.
            key = f".provision-check/whole-{servers[0].asked['name']}-{index}-{number}"
            data = os.urandom(1000)
            writer.done("PUT", key, data)
            for reader in dict.fromkeys((writer, servers[(index + 1 + number) % count])):
                if reader.done("GET", key) != data:
                    raise Wrong(f"{reader.host}: GET: not what {writer.host} has just written")
            if spare:
                writer.spares(key)
            servers[(index + 1 + 2 * number) % count].done("DELETE", key)


def main() -> int:
    """Prints the line."""
    asked = json.loads(os.environ["PROVISION_STORE"])
    root = Path(asked["root"]).read_text(encoding="ascii")
    servers = []
    for host in asked["servers"]:
        endpoint = f"https://[{host}]:{asked['port']}" if ":" in host else f"https://{host}:{asked['port']}"
        servers.append(Server({**asked, "endpoint": endpoint, "virtual": "", "ca": root}))
    end = time.monotonic() + PATIENCE
    while True:
        try:
            once(servers, int(asked["rounds"]), bool(asked["spare"]))
        except NoBucket:
            return 0
        except Wrong as wrong:
            if time.monotonic() > end:
                print(re.sub(r"\s+", " ", str(wrong))[:300])
                return 1
            time.sleep(0.2)
        else:
            return 0


if __name__ == "__main__":
    sys.exit(main())
