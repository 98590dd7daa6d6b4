"""A tracking server in memory, over real HTTP on loopback: enough of MLflow's REST API for verify."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

Reply = tuple[int, dict[str, str], bytes]
Hook = Callable[["FakeMlflow", str, str, dict[str, str], bytes], Reply | None]

ABSENT = (404, {}, b'{"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "absent"}')
EXISTS = (400, {}, b'{"error_code": "RESOURCE_ALREADY_EXISTS", "message": "exists"}')


class FakeMlflow:
    """`hook` sees every request first and may answer it; `requests` records (method, path)."""

    def __init__(self, hook: Hook | None = None, *, presigned: bool = True, login: str = ""):
        self.hook = hook
        self.presigned = presigned
        self.login = login
        self.presign_origin = ""
        self.root = "mlflow-artifacts:"
        """Where new runs keep their artifacts; `s3://bucket` for a server whose clients do that themselves."""
        self.keys: set[str] = set()
        """Access keys that the store knows."""
        self.requests: list[tuple[str, str]] = []
        self.connections = 0
        self.experiments: dict[str, dict[str, Any]] = {}
        self.runs: dict[str, dict[str, Any]] = {}
        self.metrics: dict[str, list[dict[str, Any]]] = {}
        self.objects: dict[str, bytes] = {}
        self.models: dict[str, dict[str, Any]] = {}
        self.versions: dict[str, dict[str, Any]] = {}
        self.alias = ""
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = 65536

            def setup(self) -> None:
                super().setup()
                fake.connections += 1

            def handle_one_request(self) -> None:
                try:
                    super().handle_one_request()
                except OSError:
                    self.close_connection = True

            def answer(self) -> None:
                length = int(self.headers.get("Content-Length", 0))
                body = self.rfile.read(length) if length else b""
                headers = {name.lower(): value for name, value in self.headers.items()}
                fake.requests.append((self.command, self.path))
                reply = fake.hook(fake, self.command, self.path, headers, body) if fake.hook else None
                status, extra, data = reply or fake.respond(self.command, self.path, headers, body)
                self.send_response(status)
                for name, value in {"Content-Length": str(len(data)), **extra}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PUT = do_DELETE = answer

            def log_message(self, format: str, *args: object) -> None:
                return

        class Server(ThreadingHTTPServer):
            daemon_threads = True

        self.server = Server(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def add_run(self, run_id: str, experiment: str, tags: dict[str, str], **info: Any) -> None:
        self.runs[run_id] = {
            "info": {
                "run_id": run_id,
                "experiment_id": experiment,
                "artifact_uri": f"{self.root}/{experiment}/{run_id}/artifacts",
                "status": "FINISHED",
                "start_time": 0,
                "lifecycle_stage": "active",
                **info,
            },
            "data": {"tags": [{"key": k, "value": v} for k, v in tags.items()], "params": []},
        }

    def respond(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Reply:
        parts = urlsplit(path)
        if parts.path.startswith("/bucket/"):
            return self.store(parts.path.removeprefix("/bucket/"), headers)
        if self.keys and parts.path.split("/")[1] == "direct":
            return self.direct(method, parts.path.removeprefix("/direct"), parts.query, headers, body)
        if self.login and headers.get("authorization") != self.login:
            return 401, {}, b"login wanted"
        origin = headers.get("origin", "")
        if origin and "127.0.0.1" not in origin and "10.0.0." not in origin:
            return 403, {}, b"Cross-origin request blocked"
        if "/mlflow-artifacts/" in parts.path:
            return self.artifacts(method, parts.path, body, f"http://{headers['host']}")
        fields = json.loads(body) if body else {k: v[0] for k, v in parse_qs(parts.query).items()}
        name = parts.path.split("/mlflow/")[-1].replace("/", "_").replace("-", "_")
        handler = getattr(self, f"do_{name}", None)
        if parts.path == "/version":
            return 200, {}, b"3.17.2"
        if handler is None:
            return 404, {}, b"<html>Not Found</html>"
        result = handler(fields, method) if name == "registered_models_alias" else handler(fields)
        if isinstance(result, tuple):
            return result
        return 200, {"Content-Type": "application/json"}, json.dumps(result).encode()

    def store(self, key: str, headers: dict[str, str]) -> Reply:
        if "authorization" in headers:
            return 400, {}, b"<Error><Code>InvalidRequest</Code></Error>"
        if key not in self.objects:
            return 404, {}, b"<Error><Code>NoSuchKey</Code></Error>"
        return 206, {}, self.objects[key]

    def direct(self, method: str, key: str, query: str, headers: dict[str, str], body: bytes) -> Reply:
        """The bucket `direct` as a client with a key of its own sees it."""
        key = key.removeprefix("/")
        signed = headers.get("authorization", "")
        if not any(signed.startswith(f"AWS4-HMAC-SHA256 Credential={known}/") for known in self.keys):
            return 403, {}, b"<Error><Code>InvalidAccessKeyId</Code></Error>"
        if headers["x-amz-content-sha256"] != hashlib.sha256(body).hexdigest():
            return 400, {}, b"<Error><Code>XAmzContentSHA256Mismatch</Code></Error>"
        if not key:
            folder = parse_qs(query)["prefix"][0]
            found = "".join(f"<Key>{each}</Key>" for each in self.objects if each.startswith(folder))
            # A store that lists more than it was asked for: what verify removes must not depend on it.
            return 200, {}, f"<R>{found}<Key>somebody/else</Key></R>".encode()
        if method == "PUT":
            self.objects[key] = body
            return 200, {}, b""
        if method == "DELETE":
            self.objects.pop(key, None)
            return 204, {}, b""
        return (200, {}, self.objects[key]) if key in self.objects else (404, {}, b"<Code>NoSuchKey</Code>")

    def artifacts(self, method: str, path: str, body: bytes, door: str) -> Reply:
        kind, key = path.split("/mlflow-artifacts/")[1].split("/", 1)
        if kind == "presigned":
            if key not in self.objects:
                return ABSENT
            url = f"{self.presign_origin or door}/bucket/{key}?X-Amz-Signature=topsecretsignature"
            data = {"url": url, "headers": {}, "file_size": len(self.objects[key])}
            return 200, {}, json.dumps(data).encode()
        if method == "PUT":
            self.objects[key] = body
            return 200, {}, b""
        if method == "DELETE":
            self.objects = {k: v for k, v in self.objects.items() if not k.startswith(key + "/")}
            return 200, {}, b"{}"
        return (200, {}, self.objects[key]) if key in self.objects else ABSENT

    def do_server_info(self, f: dict[str, Any]) -> Any:
        return {"multipart_downloads_enabled": self.presigned}

    def do_experiments_search(self, f: dict[str, Any]) -> Any:
        return {"experiments": list(self.experiments.values())}

    def do_experiments_get_by_name(self, f: dict[str, Any]) -> Any:
        found = [e for e in self.experiments.values() if e["name"] == f["experiment_name"]]
        return {"experiment": found[0]} if found else ABSENT

    def do_experiments_create(self, f: dict[str, Any]) -> Any:
        number = str(len(self.experiments) + 1)
        self.experiments[number] = {"experiment_id": number, "lifecycle_stage": "active", **f}
        return {"experiment_id": number}

    def do_experiments_restore(self, f: dict[str, Any]) -> Any:
        self.experiments[f["experiment_id"]]["lifecycle_stage"] = "active"
        return {}

    def do_experiments_set_experiment_tag(self, f: dict[str, Any]) -> Any:
        tags = self.experiments[f["experiment_id"]].setdefault("tags", [])
        tags[:] = [t for t in tags if t["key"] != f["key"]] + [{"key": f["key"], "value": f["value"]}]
        return {}

    def do_runs_create(self, f: dict[str, Any]) -> Any:
        run_id = f"run{len(self.runs):029d}"
        tags = {t["key"]: t["value"] for t in f["tags"]}
        self.add_run(run_id, f["experiment_id"], tags, status="RUNNING", start_time=f["start_time"])
        return {"run": self.runs[run_id]}

    def do_runs_log_parameter(self, f: dict[str, Any]) -> Any:
        self.runs[f["run_id"]]["data"]["params"].append({"key": f["key"], "value": f["value"]})
        return {}

    def do_runs_log_batch(self, f: dict[str, Any]) -> Any:
        self.metrics[f["run_id"]] = f["metrics"]
        return {}

    def do_runs_set_tag(self, f: dict[str, Any]) -> Any:
        self.runs[f["run_id"]]["data"]["tags"].append({"key": f["key"], "value": f["value"]})
        return {}

    def do_runs_get(self, f: dict[str, Any]) -> Any:
        return {"run": self.runs[f["run_id"]]}

    def do_metrics_get_history(self, f: dict[str, Any]) -> Any:
        return {"metrics": self.metrics[f["run_id"]]}

    def do_runs_search(self, f: dict[str, Any]) -> Any:
        # The mark's filter is deliberately ignored: what verify removes must not depend on it.
        runs = [r for r in self.runs.values() if r["info"]["lifecycle_stage"] == "active"]
        if f["filter"].startswith("params.nonce"):
            nonce = f["filter"].split("'")[1]
            runs = [r for r in runs if {"key": "nonce", "value": nonce} in r["data"]["params"]]
        return {"runs": runs}

    def do_runs_update(self, f: dict[str, Any]) -> Any:
        self.runs[f["run_id"]]["info"]["status"] = f["status"]
        return {}

    def do_runs_delete(self, f: dict[str, Any]) -> Any:
        self.runs[f["run_id"]]["info"]["lifecycle_stage"] = "deleted"
        return {}

    def do_artifacts_list(self, f: dict[str, Any]) -> Any:
        uri = self.runs[f["run_id"]]["info"]["artifact_uri"].removeprefix(f"{self.root}/") + "/"
        files = {k.removeprefix(uri): len(v) for k, v in self.objects.items() if k.startswith(uri)}
        return {"files": [{"path": k, "is_dir": False, "file_size": v} for k, v in files.items()]}

    def do_registered_models_create(self, f: dict[str, Any]) -> Any:
        if f["name"] in self.models:
            return EXISTS
        self.models[f["name"]] = f
        return {"registered_model": f}

    def do_registered_models_get(self, f: dict[str, Any]) -> Any:
        return {"registered_model": self.models[f["name"]]}

    def do_model_versions_create(self, f: dict[str, Any]) -> Any:
        number = str(len(self.versions) + 1)
        self.versions[number] = {**f, "version": number}
        return {"model_version": self.versions[number]}

    def do_model_versions_get(self, f: dict[str, Any]) -> Any:
        return {"model_version": self.versions[f["version"]]}

    def do_model_versions_get_download_uri(self, f: dict[str, Any]) -> Any:
        return {"artifact_uri": self.versions[f["version"]]["source"]}

    def do_model_versions_search(self, f: dict[str, Any]) -> Any:
        return {"model_versions": [v for v in self.versions.values() if not v.get("gone")]}

    def do_model_versions_delete(self, f: dict[str, Any]) -> Any:
        self.versions[f["version"]]["gone"] = True
        return {}

    def do_registered_models_alias(self, f: dict[str, Any], method: str) -> Any:
        if method == "POST":
            self.alias = f["version"]
            return {}
        return {"model_version": self.versions[self.alias]}
