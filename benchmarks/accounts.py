"""One client's log loop with accounts and without, on one stack in one run.

    python benchmarks/accounts.py [--calls 500] [--rounds 3] [--kinds password,none,mlflow] -- --host root@ADDRESS …

What follows `--` chooses the stack, as for `provision`; its `access.auth` is switched back and forth and is in the
end what it was. A loop is so many log-metric calls on one connection; the best of the rounds counts. nginx
checks a password at every request, MLflow itself once in 5 s: the ratio to no accounts shall be 1.3 at most.
"""

from __future__ import annotations

import argparse
import base64
import http.client
import json
import subprocess
import sys
import time
from urllib.parse import urlsplit

BUDGET = 1.3


def provision(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "provisioner", *arguments], capture_output=True, text=True, timeout=900, check=False
    )
    if done.returncode:
        raise SystemExit(f"provision {arguments[0]} exited with {done.returncode}\n{done.stderr}")
    return done.stdout


class Client:
    """MLflow's API on one connection that is kept."""

    def __init__(self, env: dict[str, str]):
        url = urlsplit(env["MLFLOW_TRACKING_URI"])
        kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
        self._connection = kind(url.netloc, timeout=60)
        self._headers = {"Content-Type": "application/json"}
        if "MLFLOW_TRACKING_USERNAME" in env:
            pair = f"{env['MLFLOW_TRACKING_USERNAME']}:{env['MLFLOW_TRACKING_PASSWORD']}"
            self._headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()

    def call(self, name: str, fields: dict[str, object]) -> dict[str, dict[str, dict[str, str]]]:
        self._connection.request("POST", f"/api/2.0/mlflow/{name}", json.dumps(fields), self._headers)
        answer = self._connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise SystemExit(f"{name}: HTTP {answer.status} {body[:300]!r}")
        found: dict[str, dict[str, dict[str, str]]] = json.loads(body)
        return found


def loop(env: dict[str, str], calls: int) -> float:
    """Seconds for `calls` metrics of a new run, the run itself not counted."""
    client = Client(env)
    now = int(time.time() * 1000)
    run = client.call("runs/create", {"experiment_id": "0", "start_time": now})["run"]["info"]["run_id"]
    metric = {"run_id": run, "key": "loss", "timestamp": now}
    for step in range(20):
        client.call("runs/log-metric", {**metric, "value": 1.0, "step": step})
    begun = time.monotonic()
    for step in range(calls):
        client.call("runs/log-metric", {**metric, "value": 1.0 / (step + 1), "step": step + 20})
    took = time.monotonic() - begun
    client.call("runs/delete", {"run_id": run})
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--calls", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kinds", default="password,none")
    own = sys.argv[1:]
    cut = own.index("--") if "--" in own else len(own)
    options, stack = parser.parse_args(own[:cut]), own[cut + 1 :]
    before = (
        "password" if "MLFLOW_TRACKING_USERNAME" in json.loads(provision("env", "--format", "json", *stack)) else "none"
    )
    best: dict[str, float] = {}
    try:
        for number in range(options.rounds):
            for kind in options.kinds.split(","):
                provision("--quiet", "--set", f"access.auth={kind}", *stack)
                took = loop(json.loads(provision("env", "--format", "json", *stack)), options.calls)
                best[kind] = min(best.get(kind, took), took)
                print(f"round {number + 1}  {kind:<9} {took / options.calls * 1000:6.2f} ms a call", file=sys.stderr)
    finally:
        provision("--quiet", "--set", f"access.auth={before}", *stack)
    for kind, took in best.items():
        ratio = took / best["none"] if "none" in best else 0.0
        print(f"{kind:<9} {took / options.calls * 1000:6.2f} ms a call   ratio {ratio:.2f} (at most {BUDGET})")


if __name__ == "__main__":
    main()
