"""A small model hub on this machine: serves a folder over the hub's HTTP interface, for the hub's real client."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "c" * 40


@contextmanager
def serve(folder: Path, refuse: tuple[int, str] | None = None) -> Iterator[str]:
    """Serve `folder` as every repository's only commit; `refuse` answers all API calls with (status, error code)."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer(body=True)

        def answer(self, body: bool) -> None:
            path = self.path.partition("?")[0]
            if path == "/":
                self.reply(200, {}, b"hub", body)
            elif refuse is not None:
                self.reply(refuse[0], {"X-Error-Code": refuse[1], "X-Error-Message": "refused"}, b"{}", body)
            elif "/tree/" in path:
                entries = [self.entry(file) for file in sorted(folder.iterdir())]
                self.reply(200, {"Content-Type": "application/json"}, json.dumps(entries).encode(), body)
            elif path.startswith("/api/models/"):
                info = {"id": "own/model", "sha": COMMIT, "siblings": []}
                self.reply(200, {"Content-Type": "application/json"}, json.dumps(info).encode(), body)
            else:
                self.file(folder / path.rsplit("/", 1)[-1], body)

        def entry(self, file: Path) -> dict[str, object]:
            entry: dict[str, object] = {"type": "file", "path": file.name, "size": file.stat().st_size, "oid": "0" * 40}
            if file.suffix in (".safetensors", ".bin"):
                sha = hashlib.sha256(file.read_bytes()).hexdigest()
                entry["lfs"] = {"oid": sha, "size": file.stat().st_size, "pointerSize": 130}
            return entry

        def file(self, file: Path, body: bool) -> None:
            if not file.is_file():
                self.reply(404, {"X-Error-Code": "EntryNotFound"}, b"", body)
                return
            data = file.read_bytes()
            digest = hashlib.sha256(data).hexdigest()
            etag = digest if file.suffix == ".safetensors" else digest[:40]
            self.reply(200, {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT}, data, body)

        def reply(self, status: int, headers: dict[str, str], data: bytes, body: bool) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if body:
                self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
