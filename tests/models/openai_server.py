"""A small OpenAI-compatible server on this machine: `/v1/models`, and `/v1/chat/completions` by a real engine."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from copsd_bench.engine.protocol import Sampling
from copsd_bench.engine.worker import Worker


@contextmanager
def serve(worker: Worker, name: str, key: str | None = None, root: list[str] | None = None) -> Iterator[str]:
    """Serve `worker` as model `name`; with a `key`, requests without it are refused. Gives the base URL.

    As vLLM, it goes on with an answer only if asked to, and tells where its weights are from (the last of `root`).
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # connections are kept, as real servers do

        def do_HEAD(self) -> None:
            self.reply(404, None)

        def do_GET(self) -> None:
            known = self.path == "/v1/models"
            listed = {"id": name, "object": "model", "root": name if root is None else root[-1]}
            self.reply(200 if known else 404, {"object": "list", "data": [listed]})

        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            begun = request.get("messages", [{}])[-1].get("role") == "assistant"
            if self.path != "/v1/chat/completions" or request["model"] != name:
                self.reply(404, {"error": {"message": "not found"}})
            elif begun != (request.get("continue_final_message") is True and request["add_generation_prompt"] is False):
                self.reply(400, {"error": {"message": "this would close or continue the wrong turn"}})
            else:
                self.reply(200, completion(worker, request))

        def reply(self, status: int, body: Any) -> None:
            if key is not None and self.headers["Authorization"] != f"Bearer {key}":
                status, body = 401, {"error": {"message": "wrong key"}}
            data = b"" if self.command == "HEAD" else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        server.server_close()


def completion(worker: Worker, request: dict[str, Any]) -> dict[str, Any]:
    """A chat completion in the OpenAI protocol's form."""
    prompt = worker.engine.encode(request["messages"])
    sampling = Sampling(max_tokens=request["max_tokens"], temperature=request["temperature"])
    done = worker.submit(prompt, sampling, request["seed"]).result()
    reason = "stop" if done.stop_reason == "stop" else "length"
    message = {"role": "assistant", "content": done.text}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 0,
        "model": request["model"],
        "choices": [{"index": 0, "message": message, "finish_reason": reason}],
        "usage": {
            "prompt_tokens": len(prompt.ids),
            "completion_tokens": len(done.ids),
            "total_tokens": len(prompt.ids) + len(done.ids),
        },
    }
