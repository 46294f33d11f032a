"""A canary for the token, the passwords and the webhooks' addresses, carried through every command and every failure.

Real processes, a real PostgreSQL that asks for a password, real sockets: nothing of a secret may be found in what is
printed, in any file, in the store, in the list of processes or in a child's environment.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import struct
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from orchestrator.cli import COMMANDS
from orchestrator.simulator import Simulator, example_world, serve
from tests.support.canary import (
    HOOK,
    LONGEST,
    PROXY_PASSWORD,
    SECRETS,
    STORE_PASSWORD,
    TOKEN,
    Watched,
    leaks,
    leaks_in_files,
    spellings,
    watched,
)
from tests.support.postgres import own_server

pytestmark = [pytest.mark.process, pytest.mark.postgres]

AT_ONCE = 2
"""Processes side by side."""

PATIENCE = 20.0
"""Real seconds after which a process that waits for better times is told to end; nothing hangs on how far it got."""

JOBFILE = """\
version: 1
name: canary
organizations: {{acme: {{token_file: {folder}/token}}}}
notify: [{{format: slack, url_file: {folder}/hook}}, {{format: json, url_file: {folder}/hook}}]
ping: {{url_file: {folder}/hook}}
retry: {{attempts: 2}}
jobs: [{{name: a, tests: ["{test}"], windows: [{{start: 2026-11-20T14:00:00Z, end: 2026-11-20T16:00:00Z}}]}}]
"""

BAD_JOBFILES = (
    f"version: 1\norganizations: {{acme: {{token: {TOKEN}}}}}\njobs: []\n",
    f"version: 1\norganizations: {{acme: {{token_file: {TOKEN}, token_env: {TOKEN}}}}}\njobs: []\n",
    f"version: 1\nx-mine: Bearer {TOKEN}\n{TOKEN}: 1\njobs: [{{name: {TOKEN}\n",
    f"version: 1\nhttp: {{proxy: 'http://u:{PROXY_PASSWORD}@@h:port'}}\nnotify: [{{format: slack, url_file: 'https://h/{HOOK}'}}]\n",
    f"version: 1\norganizations: {{acme: {{token_env: T, base_url: 'https://u:{PROXY_PASSWORD}@h/v7'}}}}\njobs: []\n",
    f"version: 1\norganizations: {{acme: {{token_file: t, account_group: {TOKEN}}}}}\ntimezone: {TOKEN}\njobs: []\n",
    f"version: 1\njobs: [{{name: a, tests: [{TOKEN}], windows: [{{last: {TOKEN}}}], priority: {TOKEN}}}]\n",
)

BROKEN = """
import sys
from orchestrator.api import read_bearer
from orchestrator.cli.process import open_streams, run_to_exit_code
from orchestrator.core import CredentialSource

def broken(words):
    bearer = read_bearer(CredentialSource(file=sys.argv[1]), environ={})
    raise RuntimeError("a bug with " + bearer.reveal() + " and Bearer%20" + bearer.reveal())

open_streams()
sys.exit(run_to_exit_code(broken, []))
"""


class Echo(BaseHTTPRequestHandler):
    """A server that answers with a page in which everything that was sent stands, headers too; 0 resets."""

    status = 500

    def answer(self) -> None:
        """Answer, or reset the connection."""
        if not self.status:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            return
        sent = f"{self.requestline}\n{self.headers}"
        page = f"<html><title>{sent}</title><h1>trouble</h1><pre>{sent}</pre></html>".encode()
        self.send_response(self.status, " ".join(sent.split())[:200])
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(page)))
        self.send_header("X-Echo", " ".join(sent.split()))
        self.send_header("Location", f"https://elsewhere.example/?{' '.join(sent.split())}")
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(page)

    do_GET = do_POST = do_CONNECT = answer  # noqa: N815 - the names that the server calls

    def log_message(self, *_args: object) -> None:
        """Nothing is printed by the test itself."""


@contextlib.contextmanager
def echoing(status: int) -> Iterator[str]:
    """The host and port of such a server."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Echo", (Echo,), {"status": status}))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def database() -> Iterator[tuple[str, str]]:
    """The address of a database as its superuser has it, and as a user has it who needs the password."""
    with own_server() as running:
        where = running.url.partition("@")[2]
        with psycopg.connect(f"{running.url}/postgres", autocommit=True) as connection:
            connection.execute(f"CREATE ROLE canary LOGIN PASSWORD '{STORE_PASSWORD}'".encode())
            connection.execute("CREATE DATABASE canary OWNER canary")
            row = connection.execute("SHOW hba_file").fetchone()
            assert row is not None
            hba = Path(row[0])
            hba.write_text(f"host all canary 127.0.0.1/32 scram-sha-256\n{hba.read_text()}")
            connection.execute("SELECT pg_reload_conf()")
        yield f"{running.url}/canary", f"postgresql://canary:{quote(STORE_PASSWORD, safe='')}@{where}/canary"


@dataclass(frozen=True, slots=True)
class Place:
    """A folder with the secrets in their files, and how a process is started in it."""

    folder: Path
    test: str

    @property
    def planted(self) -> list[Path]:
        """The files that hold secrets because somebody put them there."""
        return [
            self.folder / name
            for name in ("token", "hook", *(f"bad{at}.yaml" for at in range(len(BAD_JOBFILES))))
        ]

    def environ(self, **more: str) -> dict[str, str]:
        """The environment of a process, the token in a file."""
        base = {
            "PATH": os.defpath,
            "HOME": str(self.folder),
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "PYTHONDONTWRITEBYTECODE": "1",
            "TE_TOKEN_FILE": str(self.folder / "token"),
            "TESNAP_PER": "300ms",
            "TESNAP_GUARD": "10ms",
            "TESNAP_DEBUG": "1",
        }
        return base | more

    def runs(
        self, words: Sequence[str], environ: Mapping[str, str], *, stdin: str = "", patience: float = LONGEST
    ) -> Watched:
        """A command as a process, watched to its end; told to end after so many seconds."""
        return watched(
            [sys.executable, "-m", "orchestrator", *words],
            cwd=self.folder,
            env=self.environ(**environ),
            stdin=stdin,
            stop_after=patience,
        )

    def check(self, done: Sequence[Watched], *databases: str) -> None:
        """Nothing of a secret is anywhere, and each process ended by itself or when it was told to."""
        for one in done:
            assert leaks(one.output) == [], one.words
            assert leaks(one.seen) == [], one.words
            assert one.code in (0, 1, 2, 3, 4, 5), (one.words, one.output)
        assert leaks_in_files(self.folder, but=self.planted) == []
        for url in databases:
            assert leaks(contents(url)) == []


@pytest.fixture
def simulator() -> Simulator:
    """The API, which takes the canary for its token."""
    made = example_world()
    return Simulator(
        replace(made, bearers=(replace(made.bearers[0], token=TOKEN),)), period=0.3, latency=(0.005, 0.0)
    )


@pytest.fixture
def place(tmp_path: Path, simulator: Simulator) -> Place:
    """The folder."""
    test = simulator._origin.world.organizations[0].account_groups[0].tests[0].test_id
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    (tmp_path / "hook").write_text(f"http://127.0.0.1:1/{HOOK}\n")
    (tmp_path / "jobs.yaml").write_text(JOBFILE.format(folder=tmp_path, test=test))
    for at, text in enumerate(BAD_JOBFILES):
        (tmp_path / f"bad{at}.yaml").write_text(text)
    return Place(tmp_path, test)


def contents(url: str) -> str:
    """All rows of all tables of a store in PostgreSQL."""
    with psycopg.connect(url) as connection:
        names = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'tesnap'").fetchall()
        tables = [
            connection.execute(SQL("SELECT t::text FROM tesnap.{} AS t").format(Identifier(name))).fetchall()
            for (name,) in names
        ]
    return "\n".join(row[0] for table in tables for row in table)


def every_command(test: str) -> dict[str, list[list[str]]]:
    """How each command is called, at its highest verbosity and in each of its forms."""
    reports = [word for suffix in ("html", "md", "csv", "jsonl") for word in ("--report", f"report.{suffix}")]
    shown = ["-v", "--log-format", "json"]
    return {
        "run": [
            ["jobs.yaml", "-v", "--metrics", "canary.prom", *reports],
            ["jobs.yaml", *shown, "--again", "--format", "table"],
        ],
        "plan": [["jobs.yaml"], ["jobs.yaml", "--json"]],
        "validate": [["jobs.yaml"], ["jobs.yaml", "--json"]],
        "tests": [[], ["--json"], ["--format", "yaml"]],
        "snap": [
            [test, "--last", "1h", *shown],
            ["--test-name", "*", "--last", "1h", "-v", "--format", "csv"],
        ],
        "rehearse": [["jobs.yaml", "--speed", "300", "-v"]],
        "resume": [["-v"]],
        "status": [[], ["--json"]],
        "runs": [[], ["--json"]],
        "metrics": [[], ["--metrics-organizations"]],
        "config": [["jobs.yaml"], ["jobs.yaml", "--json"]],
        "settle": [["last"]],
        "report": [["--format", form] for form in ("md", "html", "csv", "table")] + [["-o", "late.html"]],
        "list": [[], ["--json"]],
        "doctor": [["jobs.yaml"], ["jobs.yaml", "--json"]],
        "init": [["new.yaml"]],
        "schema": [[]],
        "completion": [["bash"]],
        "cancel": [["last"]],
        "prune": [["--yes", "--archive", "old.jsonl"], ["--yes", "--json"]],
        "backup": [["copy.db"], ["-"]],
        "restore": [["copy.db"], ["--declare", "1h ago"]],
    }


def side_by_side(
    calls: Sequence[tuple[Place, list[str], dict[str, str]]], patience: float = LONGEST
) -> list[Watched]:
    """Several processes, some at once."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        waiting = [pool.submit(place.runs, words, more, patience=patience) for place, words, more in calls]
        return [one.result() for one in waiting]


def test_the_search_finds_a_secret_in_every_spelling() -> None:
    """Else it would find none anywhere."""
    for secret in SECRETS:
        for spelling in spellings(secret):
            assert leaks(b"x" + spelling + b"y"), spelling
    assert not leaks("nothing of it")


def test_every_command_keeps_the_secrets(
    place: Place, simulator: Simulator, database: tuple[str, str]
) -> None:
    """All of them, one after the other on one store, where everything goes well."""
    superuser, store = database
    calls = every_command(place.test)
    assert set(calls) == set(COMMANDS), "a new command is to be added here"
    with serve(simulator) as url:
        done = [
            place.runs([command, *words], {"TESNAP_STORE": store, "TE_BASE_URL": url})
            for command, forms in calls.items()
            for words in forms
        ]
    place.check(done, superuser)
    assert any(b"snapshot.created" in one.output for one in done)
    assert simulator.log


@pytest.mark.parametrize(
    "failure", [401, 403, 404, 429, 500, 200, 302, 0, "refused", "tls", "proxy", "proxy refused"]
)
def test_no_failure_of_the_api_shows_a_secret(place: Place, failure: int | str) -> None:
    """Pages that echo every header, resets, nobody there, a wrong certificate, a proxy that does not take the password."""
    with echoing(failure if isinstance(failure, int) else 407) as where:
        (place.folder / "hook").write_text(f"http://{where}/{HOOK}\n")
        environ = {"TE_BASE_URL": f"http://{where}/v7"}
        if failure == "refused":
            environ = {"TE_BASE_URL": "http://127.0.0.1:1/v7"}
        elif failure == "tls":
            environ = {"TE_BASE_URL": f"https://{where}/v7"}
        elif isinstance(failure, str):
            through = where if failure == "proxy" else "127.0.0.1:1"
            proxy = f"http://canary:{quote(PROXY_PASSWORD, safe='')}@{through}"
            environ = {"TE_BASE_URL": "https://api.example/v7", "HTTPS_PROXY": proxy}
        words = [
            ["run", "jobs.yaml", "-v", "--report", "report.html", "--report", "report.md"],
            ["snap", place.test, "--last", "1h", "-v", "--log-format", "json"],
        ]
        done = side_by_side(
            [
                (place, one, {**environ, "TESNAP_STORE": str(place.folder / f"{at}.db")})
                for at, one in enumerate(words)
            ],
            PATIENCE,
        )
    place.check(done)
    assert all(one.output for one in done)


@pytest.mark.parametrize("trouble", ["wrong password", "away", "no database", "not split"])
def test_no_trouble_of_the_store_shows_its_password(
    place: Place, trouble: str, database: tuple[str, str]
) -> None:
    """By the option's variable, where everything else is right."""
    store = {
        "wrong password": database[1].replace("canary:", "canary:not-"),
        "away": re.sub(r":\d+/", ":1/", database[1]),
        "no database": f"{database[1]}-none",
        "not split": f"postgresql://canary:{STORE_PASSWORD}@127.0.0.1/canary",
    }[trouble]
    words = [
        ["run", "jobs.yaml", "-v"],
        ["status"],
        ["list", "--json"],
        ["doctor"],
        ["settle"],
        ["cancel", "last"],
    ]
    environ = {"TESNAP_STORE": store, "TE_BASE_URL": "http://127.0.0.1:1/v7"}
    done = side_by_side([(place, one, environ) for one in words])
    place.check(done)
    assert all(one.code for one in done)


def test_a_job_file_with_a_secret_in_it_is_not_quoted(place: Place) -> None:
    """Wherever in the file it stands."""
    files = [f"bad{at}.yaml" for at in range(len(BAD_JOBFILES))]
    calls = [[command, name] for name in files for command in ("validate", "run")] + [
        ["validate", "--json", *files]
    ]
    done = side_by_side([(place, one, {"TE_BASE_URL": "http://127.0.0.1:1/v7"}) for one in calls])
    place.check(done)
    assert [(one.words, one.output) for one in done if one.code != 2] == []


def test_a_token_that_is_typed_in_the_wrong_place_is_not_printed_back(place: Place) -> None:
    """As an argument and as an option's value of each command: the shell has it, and nobody else gets it."""
    calls = [[command, TOKEN] for command in COMMANDS if command not in ("init", "rehearse")]
    calls += [
        ["list", f"--organization={TOKEN}"],
        ["settle", TOKEN, TOKEN, "created", TOKEN],
        ["snap", f"--{TOKEN}"],
    ]
    environ = {"TE_BASE_URL": "http://127.0.0.1:1/v7", "TE_TOKEN_FILE": "", "TESNAP_STORE": "t.db"}
    done = side_by_side([(place, one, environ) for one in calls])
    assert [(one.words, leak) for one in done for leak in leaks(one.output)] == []
    assert leaks_in_files(place.folder, but=place.planted) == []


def test_a_bug_does_not_show_the_token(place: Place) -> None:
    """With TESNAP_DEBUG there is a traceback, and the token is masked in it."""
    command = [sys.executable, "-c", BROKEN, str(place.folder / "token")]
    done = watched(command, cwd=place.folder, env=place.environ(), stop_after=LONGEST)
    assert b"RuntimeError: a bug with [masked]" in done.output
    assert b"internal error" in done.output
    assert done.code == 1
    place.check([done])


def test_a_token_from_the_environment_or_standard_input_is_kept_too(
    place: Place, simulator: Simulator
) -> None:
    """Wherever it comes from."""
    text = (place.folder / "jobs.yaml").read_text()
    (place.folder / "piped.yaml").write_text(text.replace(f"{place.folder}/token", "/dev/stdin"))
    (place.folder / "named.yaml").write_text(
        text.replace(f"token_file: {place.folder}/token", "token_env: NAMED")
    )
    with serve(simulator) as url:
        environ = {"TE_BASE_URL": url, "TESNAP_STORE": str(place.folder / "t.db"), "TE_TOKEN_FILE": ""}
        done = [
            place.runs(["run", "piped.yaml", "-v"], environ, stdin=f"{TOKEN}\n"),
            place.runs(["run", "named.yaml", "-v", "--again"], environ | {"NAMED": TOKEN}),
            place.runs(["snap", place.test, "--last", "1h", "-v"], environ | {"TE_TOKEN": TOKEN}),
        ]
    place.check(done)
    assert [one.code for one in done] == [0, 0, 0], [one.output for one in done]
