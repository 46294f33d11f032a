"""The way to the API as real processes meet it: proxies, certificates and addresses of both kinds."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.commands import LONGEST, ROOT, Ran, environment, run_tesnap
from tests.support.http import simulated
from tests.support.programs import PATIENCE, find_program, skip_outside_ci
from tests.support.proxies import NAME, tinyproxy
from tests.support.tls import tls_server
from tests.support.wire import ELSEWHERE, Server, always, answer, make_certificates

pytestmark = [pytest.mark.process, pytest.mark.scaled]

TEST = "202701"
"""The first test of the simulator's example."""

FOREVER = ("--deadline", "90s")
"""The longest that a run may take which should stop at once: beyond it the exit code is 5."""


def write_file(folder: Path, *organizations: tuple[str, str], more: str = "") -> Path:
    """A job file that makes one snapshot for each of these organizations (name, base URL)."""
    listed = "".join(f"  {name}: {{token_env: TE_TOKEN, base_url: '{url}'}}\n" for name, url in organizations)
    jobs = "".join(
        f"  - {{name: {name}, organization: {name}, tests: ['{TEST}'], windows: [{{last: 1h}}]}}\n"
        for name, _ in organizations
    )
    path = folder / "jobs.yaml"
    path.write_text(f"version: 1\nname: ways\n{more}organizations:\n{listed}jobs:\n{jobs}")
    return path


def finished(ran: Ran) -> dict[str, object]:
    """The last record of a run."""
    found = json.loads(ran.stdout.splitlines()[-1])
    assert found["event"] == "run.finished"
    return dict(found)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_wrong_proxy_password_stops_the_run_after_one_attempt(tmp_path: Path, host: str) -> None:
    """Exit code 4 at once, the task pending, and the proxy was asked once; nobody's account is locked."""
    file = write_file(tmp_path, ("acme", "https://api.invalid/v7"))
    with tinyproxy(tmp_path, host=host, login=True) as proxy:
        ran = run_tesnap(tmp_path, "run", *FOREVER, str(file), https_proxy=proxy.url(f"{NAME}:wrong-secret"))
        assert proxy.asked == 1
    assert ran.code == 4
    assert finished(ran)["pending_reasons"] == {"connection_refused": 1}
    assert f"The proxy {proxy.address} refuses the name and password it was given (401)" in ran.stderr
    last = "1 pending (connection refused), 1 organization REFUSED: acme (connection refused): tesnap resume"
    assert last in ran.stderr
    assert "wrong-secret" not in ran.stdout + ran.stderr


def test_an_untrusted_certificate_stops_its_organization_alone(tmp_path: Path) -> None:
    """The other one's snapshot is made; with the bundle in the file the run is carried on."""
    make_certificates(tmp_path)
    with tls_server(tmp_path) as untrusted, simulated() as (_, url):
        file = write_file(tmp_path, ("bad", untrusted), ("good", url))
        ran = run_tesnap(tmp_path, "run", *FOREVER, str(file))
    assert ran.code == 4
    end = finished(ran)
    assert end["pending_reasons"] == {"connection_refused": 1}
    assert end["counts"] == {"created": 1, "existing": 0, "failed": 0, "uncertain": 0, "pending": 1}
    assert "bad: the connection to the API is refused" in ran.stderr
    assert "(a company's own CA goes into http.ca_bundle)" in ran.stderr


@pytest.mark.parametrize(
    "command", [("doctor",), ("run", *FOREVER), ("plan",)], ids=["doctor", "run", "plan"]
)
def test_commands_agree_about_a_refused_way(tmp_path: Path, command: tuple[str, ...]) -> None:
    """Exit code 4, and the reason in the same words."""
    make_certificates(tmp_path)
    with tls_server(tmp_path) as url:
        file = write_file(tmp_path, ("acme", url))
        ran = run_tesnap(tmp_path, *command, str(file))
    assert "(a company's own CA goes into http.ca_bundle)" in ran.stdout + ran.stderr
    assert ran.code == 4, ran


@pytest.mark.parametrize("command", [("tests",), ("snap", TEST, "--last", "1h")], ids=["tests", "snap"])
def test_commands_without_a_file_agree_too(tmp_path: Path, command: tuple[str, ...]) -> None:
    """As those with one do."""
    make_certificates(tmp_path)
    with tls_server(tmp_path) as url:
        ran = run_tesnap(tmp_path, *command, TE_BASE_URL=url)
    assert "(a company's own CA goes into http.ca_bundle)" in ran.stderr
    assert ran.code == 4, ran


@pytest.mark.parametrize(
    "variables",
    [
        {"https_proxy": "http://me:wrong-secret@proxy.example\n:3128"},
        {"HTTPS_PROXY": "http://me:wrong-secret/x@proxy.example:3128"},
        {"REQUESTS_CA_BUNDLE": "/dev/null"},
        {"SSL_CERT_FILE": "/nowhere/ca.pem"},
    ],
    ids=lambda variables: next(iter(variables)),
)
def test_a_way_that_cannot_be_read_is_wrong_usage(tmp_path: Path, variables: dict[str, str]) -> None:
    """Exit code 2 before anything: nothing on standard output, and no password anywhere."""
    file = write_file(tmp_path, ("acme", "https://api.invalid/v7"))
    ran = run_tesnap(tmp_path, "run", *FOREVER, str(file), **variables)
    assert (ran.code, ran.stdout) == (2, "")
    assert "wrong-secret" not in ran.stderr
    assert next(iter(variables)) in ran.stderr or "/nowhere/ca.pem" in ran.stderr or "/dev/null" in ran.stderr


@pytest.mark.parametrize(
    "page",
    [b"<title>" * 140_000, b"<h1" * 300_000, b"<title>" + b"<" * 900_000 + b"</title>", b"bearer+" * 140_000],
    ids=["titles", "open tags", "tags in a title", "credentials"],
)
def test_a_signal_is_heard_while_a_hostile_page_is_read(tmp_path: Path, page: bytes) -> None:
    """An answer below 1 MiB that patterns may take minutes for: it is read in no time, and SIGTERM ends the run."""
    with Server(always(answer("502 Bad Gateway", page))) as server:
        file = write_file(tmp_path, ("acme", server.url))
        run = subprocess.Popen(
            [sys.executable, "-m", "orchestrator", "run", str(file)],
            cwd=ROOT,
            env=environment(tmp_path),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            end = time.monotonic() + PATIENCE
            while not any(request.startswith(b"POST") for request in server.requests):
                assert time.monotonic() < end, "the first lists are still being read"
                time.sleep(0.05)
            run.terminate()
            out, err = run.communicate(timeout=PATIENCE)
        finally:
            run.kill()
            run.wait()
    assert run.returncode == 5, err
    assert json.loads(out.splitlines()[-1])["counts"]["pending"] == 1


def test_an_api_at_an_ipv6_address_is_served(tmp_path: Path) -> None:
    """Plain HTTP at the loopback of IPv6; its Host has the brackets, and no proxy is asked."""
    with Server(always(answer("401 Unauthorized", b"{}")), host="::1") as server:
        file = write_file(tmp_path, ("acme", server.url))
        ran = run_tesnap(tmp_path, "run", *FOREVER, str(file), https_proxy="http://proxy.invalid:3128")
    assert ran.code == 4
    assert f"\r\nHost: [::1]:{server.port}\r\n".encode() in server.requests[0]


def test_an_ipv6_address_is_reached_through_a_proxy_at_another_one(tmp_path: Path) -> None:
    """In a network of its own: CONNECT, Host and the certificate's check have the address as each wants it."""
    script = (
        "ip link set lo up && ip -6 address add $1/128 dev lo nodad && "
        "exec $2 -m tests.scenarios.test_ways $1 $3"
    )
    unshare = find_program("unshare", "util-linux")
    if subprocess.run([unshare, "-n", "true"], check=False, capture_output=True).returncode != 0:
        skip_outside_ci("this user may not make a network of its own (unshare -n)")
    done = subprocess.run(
        [unshare, "-n", "sh", "-c", script, "sh", ELSEWHERE, sys.executable, tmp_path],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=LONGEST,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"code": 4, "asked": 1, "host": f"[{ELSEWHERE}]"}, done.stdout


def _run_behind_proxy(host: str, folder: Path) -> None:
    """Run a file whose API is at this address, through a proxy at the loopback of IPv6; print what came of it."""
    certificates = make_certificates(folder)
    refusal = always(answer("401 Unauthorized", b"{}"))
    with Server(refusal, tls=certificates.good, host=host) as server, tinyproxy(folder, host="::1") as proxy:
        file = write_file(folder, ("acme", server.url), more=f"http: {{ca_bundle: {certificates.ca}}}\n")
        ran = run_tesnap(folder, "run", *FOREVER, str(file), https_proxy=proxy.url())
        asked = proxy.asked
        fields = [line for request in server.requests for line in request.decode().split("\r\n")]
    sys.stderr.write(ran.stderr)
    found = {
        line.removeprefix("Host: ").removesuffix(f":{server.port}") for line in fields if line[:6] == "Host: "
    }
    print(json.dumps({"code": ran.code, "asked": asked, "host": ", ".join(found)}))


if __name__ == "__main__":
    _run_behind_proxy(sys.argv[1], Path(sys.argv[2]))
