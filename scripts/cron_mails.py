"""The mails that cron sends about a run: `cron_mails.py` prints them from real runs into docs/unattended.md.

cron mails what a command prints. So the line of that page is run as cron runs it, by /bin/sh with its few variables,
against a simulator in which something goes wrong, and what it prints is the mail's text.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from orchestrator.simulator import FaultPlan, Simulator, example_world, script_faults, serve

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "unattended.md"
LINE = re.compile(r"^\d[^\n]* \* \* \*  +(tesnap run [^\n]+)$", re.MULTILINE)
"""The crontab line of the page: its five fields, then the command."""

UPKEEP = re.compile(r"^\d[^\n]* \* \* [*\d]  +(tesnap (?:prune|backup) [^\n]+)$", re.MULTILINE)
"""Its lines that keep the store."""

JOBS = """\
version: 1
name: nightly
organizations:
  acme:
    base_url: "{url}"
    token_file: {folder}/token
    limit: {{per: 500ms, guard: 10ms, grace: 1s}}
http: {{timeout: 1s}}
retry: {{within: {within}}}
jobs:
  - {{name: shop, tests: [{tests}], windows: [{{last: 24h, until: "00:00"}}]}}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Night:
    """One night: what is wrong in it. `prepare` changes the folder that the files are in."""

    tests: str = '"202701", "202702", "202703"'
    faults: FaultPlan | None = None
    within: str = "2s"
    times: int = 1
    is_away: bool = False
    prepare: Callable[[Path], object] = lambda _: None


def write_token(folder: Path, text: str) -> None:
    """Another token into the token file."""
    (folder / "token").write_text(text + "\n")


def spoil_jobs(folder: Path) -> None:
    """A key that somebody misspelt in the evening."""
    file = folder / "jobs.yaml"
    file.write_text(file.read_text().replace("windows:", "window:"))


NIGHTS = {
    "every snapshot was made": Night(),
    "they existed already: it was started twice": Night(times=2),
    "a test is gone": Night(tests='"202701", "202702", "999999"'),
    "an answer was lost": Night(faults=script_faults([None, "reset-after"])),
    "the token was refused": Night(prepare=lambda folder: write_token(folder, "an-old-token")),
    "the token is missing": Night(prepare=lambda folder: (folder / "token").unlink()),
    "the job file is wrong": Night(prepare=spoil_jobs),
    "the API was out of reach": Night(is_away=True),
}
"""Eight situations, in the order of the page."""


def command() -> str:
    """The command of the page's crontab line."""
    match = LINE.search(PAGE.read_text("utf-8"))
    if match is None:
        raise SystemExit(f"{PAGE.name} has no crontab line")
    return match[1]


def mail(night: Night) -> str:
    """What cron mails after this night; empty when it sends none."""
    simulator = Simulator(
        example_world(1, 5), period=0.5, latency=(0.0, 0.0), faults=night.faults or FaultPlan()
    )
    with tempfile.TemporaryDirectory(prefix="night-") as name:
        folder = Path(name)
        with serve(simulator, hang=1.0) as url:
            place = "http://127.0.0.1:9/v7" if night.is_away else url  # discard: nobody listens
            text = JOBS.format(url=place, folder=folder, tests=night.tests, within=night.within)
            (folder / "jobs.yaml").write_text(text)
            write_token(folder, "token-1")
            night.prepare(folder)
            said = [run_as_cron(command(), folder) for _ in range(night.times)][-1]
    return said.replace(str(folder), "/etc/tesnap")


def run_as_cron(line: str, folder: Path) -> str:
    """Run a line's command in this folder as cron does; what it prints."""
    words = line.replace("tesnap", f"{sys.executable} -m orchestrator", 1).replace(r"\%", "%")
    for place in ("/etc/tesnap", "/var/log/tesnap", "/var/backups/tesnap"):
        words = words.replace(place, str(folder))
    environ = {"HOME": str(folder), "LOGNAME": "tesnap", "PATH": "/usr/bin:/bin", "SHELL": "/bin/sh"}
    done = subprocess.run(
        ["/bin/sh", "-c", words],
        cwd=folder,
        env={**environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.stdout


def written(mails: dict[str, str]) -> Iterator[str]:
    """The part of the page: each situation with its mail."""
    for number, (name, text) in enumerate(mails.items(), 1):
        yield f"{number}. **{name[0].upper()}{name[1:]}.**" + ("" if text else " No mail.")
        if text:
            yield ""
            yield "   ```"
            yield from (f"   {line}".rstrip() for line in text.rstrip().split("\n"))
            yield "   ```"
        yield ""


def main() -> int:
    """Run the eight nights and write their mails into the page."""
    block = "\n".join(written({name: mail(night) for name, night in NIGHTS.items()}))
    text = PAGE.read_text("utf-8")
    marked = f"<!-- mails: begin -->\n{block}<!-- mails: end -->"
    PAGE.write_text(
        re.sub(r"<!-- mails: begin -->.*<!-- mails: end -->", lambda _: marked, text, flags=re.DOTALL),
        "utf-8",
    )
    print(block)
    return 0


if __name__ == "__main__":
    sys.exit(main())
