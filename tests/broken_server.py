"""A server that answers each request in one of the ways in which servers are broken, and what each costs."""

import contextlib
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from benchmarks.judge_server import running

WAIT = '<think>{}</think><answer>{"action_type": "wait", "action_parameter": {"wait": ""}}</answer>'


def message(content: Any, finish: Any = "stop", **more: Any) -> dict[str, Any]:
    """The body of a usual reply."""
    choice = {"index": 0, "message": {"role": "assistant", "content": content, **more}, "finish_reason": finish}
    return {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]}


def body(value: Any) -> dict[str, Any]:
    """A reply of status 200; bytes go out as they are."""
    return {"body": value if isinstance(value, bytes) else json.dumps(value).encode()}


ERROR = {"error": {"message": "no such thing", "code": 1}}
TOOLS = [{"id": "1", "type": "function", "function": {"name": "click", "arguments": "{}"}}]
# name: (what the server does with a good text, the reason for no answer; None where it is one all the same)
KINDS: dict[str, tuple[Any, str | None]] = {
    "as usual": (lambda text: body(message(text)), None),
    "choices null": (lambda _: body({"choices": None}), "no choices"),
    "choices empty": (lambda _: body({"choices": []}), "no choices"),
    "choices of null": (lambda _: body({"choices": [None]}), "no choices"),
    "an empty object": (lambda _: body({}), "no choices"),
    "a list": (lambda _: body([1]), "no choices"),
    "message null": (lambda _: body({"choices": [{"message": None}]}), "no message"),
    "HTML": (lambda _: body(b"<!doctype html><p>Welcome"), "the reply is HTML"),
    "a stream": (lambda _: body(b'data: {"choices": []}\n\ndata: [DONE]\n\n'), "the reply is a stream"),
    "not JSON": (lambda _: body(b"OK"), "the reply is not JSON"),
    "nothing": (lambda _: body(b""), "the reply is not JSON"),
    "JSON that was cut": (lambda text: body(json.dumps(message(text)).encode()[:-9]), "the reply is not JSON"),
    "brackets": (lambda _: body(b"[" * 200_000), "the reply is not JSON"),
    "an error of status 200": (lambda _: body(ERROR), "an error in a reply of status 200"),
    "another type": (lambda text: body(message(text)) | {"headers": {"Content-Type": "text/html"}}, None),
    "no type": (lambda text: body(message(text)) | {"headers": {}}, None),
    "no UTF-8": (lambda text: body(json.dumps(message(text)).encode().replace(b"chat.", b"\xff\xfe")), None),
    "content a list": (lambda text: body(message([{"type": "text", "text": text}])), None),
    "content an object": (lambda text: body(message({"text": text}, None)), "no text"),
    "content null": (lambda _: body(message(None, None)), "no text"),
    "usage a list": (lambda text: body(message(text) | {"usage": []}), None),
    "usage wrong": (lambda text: body(message(text) | {"usage": {"prompt_tokens": "many"}}), None),
    "cut at the limit": (lambda text: body(message(text, "length")), None),
    "all of it reasoning": (lambda text: body(message(None, reasoning_content=text)), None),
    "tool calls only": (lambda _: body(message(None, "tool_calls", tool_calls=TOOLS)), "tool calls only"),
    "refusal": (lambda _: body(message(None, refusal="I cannot.")), "refusal"),
    "filtered": (lambda _: body(message("", "content_filter")), "ended by the server (content_filter)"),
    "aborted": (lambda text: body(message(text[:9], "abort")), "ended by the server (abort)"),
    "redirect": (lambda _: {"status": 307, "headers": {"Location": "/v1/good"}}, None),
    "redirect for ever": (lambda _: {"status": 307, "headers": {"Location": "/v1/chat/completions"}}, "connection"),
    "redirect nowhere": (lambda _: {"status": 302}, "HTTP 302"),
    **{
        f"status {n}": (lambda _, n=n: body(ERROR) | {"status": n}, f"HTTP {n}") for n in (400, 401, 403, 404, 500, 503)
    },
    "status 502 in HTML": (lambda _: body(b"<html>bad gateway") | {"status": 502}, "HTTP 502"),
    "status 429": (lambda _: body(ERROR) | {"status": 429, "headers": {"Retry-After": "1"}}, "HTTP 429"),
    "not HTTP": (lambda _: {"raw": b"SSH-2.0-OpenSSH_9.6\r\n"}, "connection"),
    "closed without a word": (lambda _: {"raw": b""}, "connection"),
    "closed in the middle": (lambda text: body(message(text)) | {"short": 40}, "connection"),
    "packed wrongly": (lambda text: body(message(text)) | {"headers": {"Content-Encoding": "gzip"}}, "connection"),
    "slow drip": (lambda text: body(message(text)) | {"drip": 0.2}, "timeout"),
    "silence": (lambda _: {"raw": b"", "wait": 3.0}, "timeout"),
}


class BrokenServer(ThreadingHTTPServer):
    """Behaves as `kind` says, or as the next of `KINDS` for each new request body; `models` is what /models gives."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.kind: str | None = None
        self.says = WAIT
        self.models: dict[str, Any] = body({"data": [{"id": "m"}]})
        self.kinds: dict[bytes, str] = {}
        self.requests: list[dict[str, Any]] = []
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        """Its address, .../v1."""
        return f"http://127.0.0.1:{self.server_port}/v1"

    def handle_error(self, *_: Any) -> None:
        """A client that hung up is no news."""


class _Handler(BaseHTTPRequestHandler):
    server: BrokenServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._send(**self.server.models)

    def do_POST(self) -> None:
        asked, server = self.rfile.read(int(self.headers["Content-Length"])), self.server
        with server.lock:
            server.requests.append(json.loads(asked))
            kind = server.kind or server.kinds.setdefault(asked, list(KINDS)[len(server.kinds) % len(KINDS)])
        self._send(**(body(message(server.says)) if self.path.endswith("good") else KINDS[kind][0](server.says)))

    def _send(
        self, body: bytes = b"", status: int = 200, headers: dict[str, str] | None = None, raw: bytes | None = None,
        wait: float = 0.0, drip: float = 0.0, short: int = 0,
    ) -> None:  # fmt: skip
        if raw is not None:
            time.sleep(wait)
            self.wfile.write(raw)
            self.close_connection = True
            return
        self.send_response(status)
        for name, value in ({"Content-Type": "application/json"} if headers is None else headers).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        for part in [body[n : n + 20] for n in range(0, len(body), 20)] if drip else [body[: len(body) - short]]:
            self.wfile.write(part)
            time.sleep(drip)
        self.close_connection = bool(short)


def broken_server() -> contextlib.AbstractContextManager[BrokenServer]:
    """One that runs, stopped afterwards."""
    return running(BrokenServer())
