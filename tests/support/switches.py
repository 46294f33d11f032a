"""Dead man's switches on loopback, each as the documents of one kind have it: what they take, and what they refuse.

healthchecks: github.com/healthchecks/healthchecks, `hc/api/views.py` and its HTTP API page; cronitor:
cronitor.io/docs/telemetry-api; kuma: the push monitor of Uptime Kuma; plain: any GET.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

CHECK = "6c5a1f0e-2b7d-4c38-9a41-5d0f8e7b3a92"
"""The secret of every address: a check's id, an API key, a push token."""

PATHS = {
    "healthchecks": f"/ping/{CHECK}",
    "cronitor": f"/p/{CHECK}/nightly",
    "kuma": f"/api/push/{CHECK}?status=up&msg=OK&ping=",
    "plain": f"/alive/{CHECK}?who=tesnap",
}
"""The addresses as they are copied from the pages of these services."""

BODY_LIMIT = 10_000
"""Bytes of a body that a healthchecks server of one's own keeps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """One ping that was taken: what it said, of which start, and its words."""

    said: str
    series: str = ""
    text: str = ""
    query: dict[str, list[str]] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Switches:
    """The pings that a receiver took, by the path that they came to, and what it refused."""

    url: str = ""
    taken: list[Signal] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    failing: int = 0  # answers 503 to so many of the next requests

    @property
    def said(self) -> list[str]:
        """What was said, in order."""
        return [one.said for one in self.taken]


def take(switches: Switches, method: str, target: str, body: bytes) -> tuple[int, str]:
    """The answer to one request; notes it."""
    parts = urlsplit(target)
    query = parse_qs(parts.query, keep_blank_values=True)
    if switches.failing:
        switches.failing -= 1
        return 503, "busy"
    kind = parts.path.split("/")[1]
    signal = {"ping": _healthchecks, "p": _cronitor, "api": _kuma, "alive": _plain}[kind](
        method, parts.path, query, body
    )
    if isinstance(signal, str):
        switches.refused.append(f"{target}: {signal}")
        return 400, signal
    switches.taken.append(signal)
    return 200, "OK"


def _healthchecks(method: str, path: str, query: dict[str, list[str]], body: bytes) -> Signal | str:
    _, _, check, *action = path.split("/")
    said = action[0] if action else "success"
    series = query.get("rid", [""])[0]
    if check != CHECK or said not in ("success", "start", "fail", "log"):
        return "not found"
    if method != "POST" or len(body) > BODY_LIMIT:
        return "a check may be set to take POST alone, and keeps so many bytes"
    try:
        uuid.UUID(series)
    except ValueError:
        return "invalid uuid format"
    return Signal(said=said, series=series, text=body.decode(), query=query)


def _cronitor(method: str, path: str, query: dict[str, list[str]], _: bytes) -> Signal | str:
    states = query.get("state", [])
    if method != "GET" or path != f"/p/{CHECK}/nightly" or states[0] not in ("run", "complete", "fail", "ok"):
        return "not found"
    text = query.get("message", [""])[0]
    kinds = {metric.partition(":")[0] for metric in query.get("metric", [])}
    if len(states) > 1 or len(text) > 2000 or not kinds <= {"count", "error_count", "duration"}:
        return "unknown values"
    return Signal(said=states[0], series=query.get("series", [""])[0], text=text, query=query)


def _kuma(method: str, path: str, query: dict[str, list[str]], _: bytes) -> Signal | str:
    if method != "GET" or path != f"/api/push/{CHECK}":
        return "Monitor not found or not active."
    if any(len(values) != 1 for values in query.values()) or query["status"][0] not in ("up", "down"):
        return "each value once, up or down"
    return Signal(said=query["status"][0], text=query["msg"][0], query=query)


def _plain(method: str, path: str, query: dict[str, list[str]], _: bytes) -> Signal | str:
    if method != "GET" or path != f"/alive/{CHECK}" or query != {"who": ["tesnap"]}:
        return "not the address"
    return Signal(said="alive", query=query)


@contextmanager
def serve_switches() -> Iterator[Switches]:
    """A receiver of all kinds on loopback."""
    switches, noting = Switches(), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            with noting:
                status, text = take(switches, self.command, self.path, body)
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        do_GET = do_POST = do_HEAD = _answer  # noqa: N815 - the names of its base class

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - same
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    switches.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield switches
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
