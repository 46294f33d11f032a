"""A real TLS server, the openssl command's, that follows its options, with certificates of an authority of the tests' own."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.programs import find_program, wait_for_port
from tests.support.wire import LOOPBACK, closed_port


@contextmanager
def tls_server(folder: Path, *options: str, certificate: str = "good") -> Iterator[str]:
    """The base URL of a server that answers every GET with a page; `folder` is that of `make_certificates`.

    The certificate is `good`, `expired`, `misnamed` or `self`; the options are those of `openssl s_server`.
    """
    port, openssl = closed_port(), find_program("openssl", "openssl")
    files = ("-cert", f"{certificate}.pem", "-key", f"{certificate}.key")
    server = subprocess.Popen(
        [openssl, "s_server", "-accept", f"{LOOPBACK}:{port}", *files, "-www", *options],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for_port(server, LOOPBACK, port)
        yield f"https://{LOOPBACK}:{port}/v7"
    finally:
        server.kill()
        server.wait()
