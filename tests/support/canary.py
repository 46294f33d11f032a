"""Recognisable secrets, and a search for them in every spelling: in texts, files, databases and other processes."""

from __future__ import annotations

import base64
import contextlib
import json
import re
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from urllib.parse import quote

TOKEN = "ca9a7e00-1111-4222-8333-c0ffee5ec2e7"
STORE_PASSWORD = "store-canary/pw@9"
PROXY_PASSWORD = "proxy-canary:pw@7"
HOOK = "services/T0CANARY9/B0CANARY9/hook-canary-path?key=hook-canary-query"

SECRETS = (TOKEN, STORE_PASSWORD, PROXY_PASSWORD, HOOK, "hook-canary-path", "hook-canary-query")

LONGEST = 240.0
"""Real seconds after which a process is given up."""


def spellings(secret: str) -> Iterator[bytes]:
    """The secret as it could stand somewhere: as it is, escaped, percent-encoded, in hexadecimal, in base64 within more."""
    quoted = quote(secret, safe="")
    texts = {secret, quoted, quoted.lower(), quote(quoted, safe=""), json.dumps(secret)[1:-1], escape(secret)}
    yield from (text.encode() for text in texts)
    yield secret.encode().hex().encode()
    for before in range(
        3
    ):  # base64 has three faces, by where the secret begins; its ends hang on what is beside it
        face = base64.b64encode(b"\0" * before + secret.encode())
        start, end = -(-before * 8 // 6), (before + len(secret)) * 8 // 6
        yield face[start:end]


_FOUND = re.compile(b"|".join(re.escape(one) for secret in SECRETS for one in spellings(secret)))


def leaks(data: bytes | str) -> list[bytes]:
    """The secrets that are found, with some of what stands around them."""
    raw = data.encode("utf-8", "replace") if isinstance(data, str) else data
    return [raw[max(0, found.start() - 60) : found.end() + 20] for found in _FOUND.finditer(raw)]


def leaks_in_files(folder: Path, *, but: Sequence[Path]) -> list[bytes]:
    """The secrets in all files below the folder, and in their names, but in these."""
    files = [path for path in folder.rglob("*") if path.is_file() and path not in but]
    return [
        leak for path in files for leak in (*leaks(path.read_bytes()), *leaks(str(path.relative_to(folder))))
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """A process that has ended: its outputs, and what other processes could see of it and of its children."""

    words: tuple[str, ...]
    code: int
    output: bytes
    seen: bytes


def watched(
    command: Sequence[str], *, cwd: Path, env: Mapping[str, str], stdin: str = "", stop_after: float
) -> Watched:
    """Run a process and look at its command line and its children's all the time; SIGTERM after so many seconds."""
    seen: set[bytes] = set()
    with subprocess.Popen(
        command, cwd=cwd, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(stdin.encode())
            process.stdin.close()
        begun = time.monotonic()
        stopped = False
        while process.poll() is None:
            seen |= _look_at(process.pid)
            if not stopped and time.monotonic() - begun > stop_after:
                process.terminate()
                stopped = True
            if time.monotonic() - begun > LONGEST:
                process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.05)
        output = process.stdout.read()
    return Watched(words=tuple(command), code=process.returncode, output=output, seen=b"\n".join(seen))


def _look_at(pid: int) -> set[bytes]:
    """The command line of a process, and of its children with their environment."""
    found: set[bytes] = set()
    with contextlib.suppress(OSError):
        found.add(Path(f"/proc/{pid}/cmdline").read_bytes())
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            for child in children.read_text().split():
                with contextlib.suppress(OSError):
                    found.add(Path(f"/proc/{child}/environ").read_bytes())
                    found |= _look_at(int(child))
    return found
