"""A page that follows a run while it trains, served on this machine; it reads the files that the run writes.

    python -m overlay.pages.watch RUN [--port 8123]      (make watch RUN=)

RUN is a training output folder, which need not be there yet. The page asks again every two seconds, or
`?every=` milliseconds. On another machine: `ssh -L 8123:127.0.0.1:8123 host`.
"""

import argparse
import json
import sys
import threading
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

from overlay.checks import at_least
from overlay.data.images import encode, open_image
from overlay.errors import Arguments, DataError, SettingError, command
from overlay.pages.groups import SIDE
from overlay.pages.render import rendered
from overlay.pages.watch.state import Watched

HERE = "127.0.0.1"
NAMES = (HERE, "localhost", "[::1]")  # of this machine, as a browser here says it
POLICY = (
    "default-src 'none'; img-src 'self' data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "connect-src 'self'"
)


@lru_cache(maxsize=512)
def small(path: str) -> bytes:
    """A screenshot as a JPEG of at most SIDE pixels. Raises DataError."""
    image = open_image(path)
    image.thumbnail((SIDE, SIDE))
    return encode(image, "jpeg", quality=80).data


class Handler(BaseHTTPRequestHandler):
    """`/`: the page; `/state`: what `Watched.look` says; `/screen?path=`: a screenshot that the page shows."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer; 403 for a page of elsewhere that asks through the user's browser under a name of its own."""
        server, asked = cast(Server, self.server), urlsplit(self.path)
        if self.headers.get("Host", "").rpartition(":")[0] not in NAMES:
            return self._send(403, b"ask 127.0.0.1\n", "text/plain")
        if asked.path == "/":
            return self._send(200, server.page, "text/html; charset=utf-8")
        if asked.path == "/state":
            return self._send(200, server.state(), "application/json")
        path = parse_qs(asked.query).get("path", [""])[0]
        if asked.path != "/screen" or path not in server.watched.images:
            return self._send(404, b"no such thing\n", "text/plain")
        try:
            data = small(path)
        except DataError as error:
            return self._send(404, f"{error}\n".encode(errors="replace"), "text/plain; charset=utf-8")
        return self._send(200, data, "image/jpeg", {"Cache-Control": "max-age=86400"})

    def _send(self, status: int, body: bytes, kind: str, more: dict[str, str] | None = None) -> None:
        self.send_response(status)
        heads = {"Content-Type": kind, "Content-Length": str(len(body)), "Content-Security-Policy": POLICY}
        for name, value in ({"Cache-Control": "no-store"} | heads | (more or {})).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the page asks every two seconds."""


class Server(ThreadingHTTPServer):
    """Serves one run's page on this machine."""

    daemon_threads = True

    def __init__(self, folder: Path, port: int):
        self.watched, self.lock = Watched(folder), threading.Lock()
        self.page = rendered("watch.html", run=folder.name, folder=str(folder)).encode(errors="replace")
        super().__init__((HERE, port), Handler)

    def state(self) -> bytes:
        """The run as it is now; one look at a time."""
        with self.lock:
            return json.dumps(self.watched.look()).encode()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing for a browser that went away while it was answered; the rest is the base's."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def server_of(args: argparse.Namespace) -> Server:
    """The server that the flags ask for. SettingError for a port that is taken or may not be had."""
    try:
        return Server(args.run, args.port)
    except OSError as error:
        raise SettingError(f"--port {args.port}: {error.strerror}: choose another (make watch PORT=)") from error


@command("watch")
def main(argv: list[str] | None = None) -> int:
    """Serve the page until Ctrl-C."""
    parser = Arguments(description=str(__doc__).splitlines()[0])
    parser.add_argument("run", type=Path, help="training output folder")
    parser.add_argument("--port", type=int, default=8123, help="of this machine; 0: any that is free")
    args = parser.parse_args(argv)
    at_least(args, port=0)
    if args.port > 65535:
        raise SettingError(f"--port {args.port}: at most 65535")
    if args.run.exists() and not args.run.is_dir():
        raise SettingError(f"{args.run}: give the output folder of a training run")
    args.run = args.run.absolute()
    with server_of(args) as server:
        print(f"watching {args.run} at http://{HERE}:{server.server_address[1]}/ (Ctrl-C ends it)", flush=True)
        server.serve_forever()
    return 0
