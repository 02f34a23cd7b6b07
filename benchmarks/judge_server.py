"""A stand-in for the judge's server on loopback, for tests and the benchmark: it scores by rule, late or wrongly.

It speaks the chat completions call of the OpenAI interface over HTTP/1.1. Each request's behaviour is the next of
`script`, then `usual`: a float (seconds to wait before a right reply), an int (HTTP status), a str (the reply's
content), or None (the connection is closed without a word).
"""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer
from typing import TypeVar

Server = TypeVar("Server", bound=HTTPServer)


class JudgeServer(ThreadingHTTPServer):
    """Counts requests, keeps what they said, and answers 1 for an answer that equals the reference but for case."""

    daemon_threads = True
    request_queue_size = 256
    allow_reuse_address = True

    def __init__(self, usual: float | int | str | None = 0.0, port: int = 0):
        super().__init__(("127.0.0.1", port), _Handler)
        self.usual = usual
        self.script: list = []
        self.requests: list[dict] = []
        self.headers: list[dict] = []
        self.connections: list[socket.socket] = []
        self.retry_after: str | None = None
        self.in_flight = self.most_in_flight = 0
        self.lock = threading.Lock()

    @property
    def base(self) -> str:
        """The address for OPENAI_API_BASE."""
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hung up is no news."""

    def server_close(self) -> None:
        """Connections that are kept alive end too: else their threads would go on answering."""
        super().server_close()
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        super().setup()
        self.server.connections.append(self.connection)

    def do_POST(self) -> None:
        server = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with server.lock:
            server.requests.append(body)
            server.headers.append({name.lower(): value for name, value in self.headers.items()})
            server.in_flight += 1
            server.most_in_flight = max(server.most_in_flight, server.in_flight)
            behaviour = server.script.pop(0) if server.script else server.usual
        try:
            self._behave(behaviour, body)
        finally:
            with server.lock:
                server.in_flight -= 1

    def _behave(self, behaviour: float | int | str | None, body: dict) -> None:
        if behaviour is None:
            self.close_connection = True
            return
        if isinstance(behaviour, float):
            time.sleep(behaviour)
            try:
                data = json.loads(body["messages"][-1]["content"])
                behaviour = json.dumps({"score": float(data["answer"].lower() == data["reference"].lower())})
            except ValueError:  # upstream's own prompt
                behaviour = "1.0"
        if isinstance(behaviour, int):
            return self._send(behaviour, {"error": {"message": f"refused, key {self.headers['Authorization']}"}})
        message = {"role": "assistant", "content": behaviour}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return self._send(
            200, {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]}
        )

    def _send(self, status: int, body: dict) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        if status == 429 and self.server.retry_after:
            self.send_header("Retry-After", self.server.retry_after)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *arguments: object) -> None:
        """Silent."""


@contextlib.contextmanager
def running(server: Server) -> Iterator[Server]:
    """The server, which answers in a thread; stopped, with its port free again, on exit."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def judge_server(
    usual: float | int | str | None = 0.0, port: int = 0
) -> contextlib.AbstractContextManager[JudgeServer]:
    """A running server of its own."""
    return running(JudgeServer(usual, port))
