"""The network between the program and the API: `python -m tests.chaos.gateway UPSTREAM_HOST UPSTREAM_PORT`.

The first line on standard output is its port; each line on standard input is a mode from then on:

    through      every byte is passed on
    away         connections are refused, those that stand are reset
    page         a sign-in page instead of the API: nothing is passed on
    page-after   the request is passed on, and its answer replaced by that page
    stall        requests are swallowed, nothing is answered
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import sys

MODES = ("through", "away", "page", "page-after", "stall")

_HTML = b"<html><head><title>Sign in</title></head><body><h1>Please sign in</h1></body></html>"

PAGE = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: "
    + str(len(_HTML)).encode()
    + b"\r\nConnection: close\r\n\r\n"
    + _HTML
)

CHUNK = 65536


class Gateway:
    """A relay that listens on loopback and does to its connections what its mode says."""

    def __init__(self, host: str, port: int) -> None:
        self._upstream = host, port
        self._mode = "through"
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None] | None] = set()  # the loop itself keeps no task alive
        self.port = 0

    async def listen(self) -> None:
        """Take connections, at the same port as before if there was one."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def turn(self, mode: str) -> None:
        """Treat connections in this way from now on; those that stand are reset."""
        before, self._mode = self._mode, mode
        for writer in list(self._open):
            _reset(writer)
        if mode == "away" and self._server is not None:
            self._server.close()
            self._server = None
        elif before == "away" and mode != "away":
            await self.listen()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        self._open.add(writer)
        self._tasks.add(task)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                await self._treat(reader, writer)
        finally:
            self._open.discard(writer)
            self._tasks.discard(task)
            writer.close()

    async def _treat(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._mode == "stall":
            while await reader.read(CHUNK):
                pass
        elif self._mode == "page":
            await _read_request(reader)
            await _answer_page(writer)
        elif self._mode == "page-after":
            await self._replace_answer(reader, writer)
        else:
            await self._pass_on(reader, writer)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(*self._upstream)
        try:
            await asyncio.gather(_pump(reader, back), _pump(there, writer))
        finally:
            back.close()

    async def _replace_answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await _read_request(reader)
        there, back = await asyncio.open_connection(*self._upstream)
        try:
            back.write(request)
            await back.drain()
            await there.read(1)
            await _answer_page(writer)
        finally:
            back.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(CHUNK):
        writer.write(data)
        await writer.drain()
    writer.close()


async def _read_request(reader: asyncio.StreamReader) -> bytes:
    """One request, whole: the head, and as much as its Content-Length says."""
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    length = next((int(line.partition(b":")[2]) for line in lines if line.startswith(b"content-length:")), 0)
    return head + await reader.readexactly(length)


async def _answer_page(writer: asyncio.StreamWriter) -> None:
    writer.write(PAGE)
    await writer.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with a reset instead of an end."""
    connection = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def main() -> None:
    """Relay until standard input ends."""
    gateway = Gateway(sys.argv[1], int(sys.argv[2]))
    await gateway.listen()
    sys.stdout.write(f"{gateway.port}\n")
    sys.stdout.flush()
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := (await lines.readline()).decode().strip():
        await gateway.turn(line)


if __name__ == "__main__":
    asyncio.run(main())
