"""A real proxy: tinyproxy on loopback, with a name and password or without, under an address of either kind."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.programs import find_program, wait_for_port
from tests.support.wire import LOOPBACK, closed_port

NAME, PASSWORD = "me", "open-sesame"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """A running proxy: `address` is its HOST:PORT as a URL writes it, `log` what it wrote about its requests."""

    address: str
    log: Path

    def url(self, login: str = "") -> str:
        """Its URL, with this NAME:PASSWORD in it."""
        return f"http://{login}@{self.address}" if login else f"http://{self.address}"

    @property
    def asked(self) -> int:
        """How often it was asked to open a way."""
        return self.log.read_text().count("): CONNECT ")


@contextmanager
def tinyproxy(folder: Path, *settings: str, host: str = LOOPBACK, login: bool = False) -> Iterator[Proxy]:
    """A tinyproxy that listens there; with `login` it wants NAME and PASSWORD. The settings are lines of its file."""
    port, program = closed_port(host), find_program("tinyproxy", "tinyproxy")
    log, file = folder / "tinyproxy.log", folder / "tinyproxy.conf"
    lines = [
        f"Port {port}",
        f"Listen {host}",
        "Timeout 60",
        f'LogFile "{log}"',
        "LogLevel Connect",
        *settings,
    ]
    lines += [f"BasicAuth {NAME} {PASSWORD}"] if login else []
    file.write_text("\n".join(lines) + "\n")
    server = subprocess.Popen(
        [program, "-d", "-c", file], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_for_port(server, host, port)
        yield Proxy(address=f"[{host}]:{port}" if ":" in host else f"{host}:{port}", log=log)
    finally:
        server.kill()
        server.wait()
