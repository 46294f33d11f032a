"""What a container prints when something about it is not as it should be: docs/container.md has the table, this tries each row."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.container.engine import Ended, Engine
from tests.container.pods import AT_ONCE, World, serve_world

pytestmark = pytest.mark.container

PAGE = Path(__file__).resolve().parents[2] / "docs" / "container.md"
ROW = re.compile(r"^\| (?P<name>[^|]+?) \| (?P<code>\d+) \| `(?P<text>[^|]+)` \|", re.MULTILINE)
"""A row of the page's table: the mistake, the exit code, a part of what is printed, what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """What a container of a mistake is started with."""

    options: list[str]
    words: tuple[str, ...] = ()


def write(world: World, name: str, text: str) -> Path:
    """A folder with one job file of this text."""
    folder = world.folder / f"jobs-{name}"
    folder.mkdir()
    (folder / "jobs.yaml").write_text(text.format(url=world.url))
    return folder


def mounted(world: World, volume: str, **instead: str) -> list[str]:
    """The mounts of the README's command, some of them replaced; an empty text leaves one out."""
    usual = {
        "jobs": f"{world.job_folder(1)}:/jobs:ro",
        "token": f"{world.token_file()}:/run/secrets/te/token:ro",
        "store": f"{volume}:/var/lib/tesnap",
    }
    return [word for mount in {**usual, **instead}.values() if mount for word in ("--volume", mount)]


def forget_jobs(world: World, volume: str) -> Started:
    return Started(options=mounted(world, volume, jobs=""))


def mount_an_empty_folder(world: World, volume: str) -> Started:
    (world.folder / "empty").mkdir()
    return Started(options=mounted(world, volume, jobs=f"{world.folder / 'empty'}:/jobs:ro"))


def forget_the_token(world: World, volume: str) -> Started:
    return Started(options=mounted(world, volume, token=""))


def keep_the_token_to_oneself(world: World, volume: str) -> Started:
    options = mounted(world, volume)
    world.token_file(mode=0o400)
    return Started(options=options)


def mount_a_folder_of_roots(world: World, volume: str) -> Started:
    (world.folder / "store").mkdir(mode=0o755)
    return Started(options=mounted(world, volume, store=f"{world.folder / 'store'}:/var/lib/tesnap"))


def mount_the_store_without_its_folder(world: World, volume: str) -> Started:
    file = world.folder / "tesnap.db"
    file.touch(mode=0o666)
    file.chmod(0o666)
    return Started(options=mounted(world, volume, store=f"{file}:/var/lib/tesnap/tesnap.db"))


def quote_in_an_env_file(world: World, volume: str) -> Started:
    file = world.folder / "settings.env"
    file.write_text('TESNAP_STORE="sqlite:////var/lib/tesnap/tesnap.db"\n')
    return Started(options=[*mounted(world, volume), "--env-file", str(file)])


def name_a_place_that_is_read_only(world: World, volume: str) -> Started:
    return Started(options=[*mounted(world, volume), "--env", "TESNAP_STORE=sqlite:////data/tesnap.db"])


def forget_the_command(world: World, volume: str) -> Started:
    return Started(options=mounted(world, volume), words=("/jobs",))


def write_the_token_into_the_job_file(world: World, volume: str) -> Started:
    jobs = write(
        world,
        "secret",
        'version: 1\norganizations: {{acme: {{base_url: "{url}", token: abcdef}}}}\n'
        "jobs: [{{name: one, tests: [1], windows: [{{last: 1h}}]}}]\n",
    )
    return Started(options=mounted(world, volume, jobs=f"{jobs}:/jobs:ro"))


def give_one_token_to_two(world: World, volume: str) -> Started:
    jobs = write(
        world,
        "two",
        'version: 1\norganizations: {{acme: {{base_url: "{url}"}}, umbrella: {{base_url: "{url}"}}}}\n'
        "jobs: [{{name: one, organization: '*', tests: [1], windows: [{{last: 1h}}]}}]\n",
    )
    return Started(options=[*mounted(world, volume, jobs=f"{jobs}:/jobs:ro"), "--env", "TE_TOKEN=token-1"])


def use_an_old_token(world: World, volume: str) -> Started:
    options = mounted(world, volume)
    world.token_file("an-old-token")
    # A file is read again for two minutes; a variable cannot change.
    jobs = write(
        world,
        "old",
        'version: 1\norganizations: {{acme: {{base_url: "{url}", token_env: TE_TOKEN}}}}\n'
        "jobs: [{{name: one, tests: [202701], windows: [{{last: 1h}}]}}]\n",
    )
    options = mounted(world, volume, jobs=f"{jobs}:/jobs:ro")
    return Started(options=[*options, "--env", "TE_TOKEN=an-old-token"])


def be_cut_off(world: World, volume: str) -> Started:
    jobs = write(
        world,
        "away",
        'version: 1\norganizations: {{acme: {{base_url: "http://127.0.0.1:9/v7", token_env: TE_TOKEN}}}}\n'
        "retry: {{within: 3s}}\njobs: [{{name: one, tests: [202701], windows: [{{last: 1h}}]}}]\n",
    )
    options = mounted(world, volume, jobs=f"{jobs}:/jobs:ro")
    return Started(options=[*options, "--env", "TE_TOKEN=token-1"])


MISTAKES: dict[str, Callable[[World, str], Started]] = {
    "no folder is mounted at /jobs": forget_jobs,
    "the folder at /jobs is empty": mount_an_empty_folder,
    "no token is mounted": forget_the_token,
    "the token can be read by its owner alone, and the container is another user": keep_the_token_to_oneself,
    "the store's folder belongs to root": mount_a_folder_of_roots,
    "the store's file is mounted without its folder": mount_the_store_without_its_folder,
    "a value has quotes in an env file": quote_in_an_env_file,
    "`TESNAP_STORE` names a place outside of a volume": name_a_place_that_is_read_only,
    "files are named without the command": forget_the_command,
    "the token is written into the job file": write_the_token_into_the_job_file,
    "`TE_TOKEN` is meant for two organizations": give_one_token_to_two,
    "the token is an old one": use_an_old_token,
    "the network has no way to the API": be_cut_off,
}


def rows() -> dict[str, tuple[int, str]]:
    """The page's table."""
    return {row["name"]: (int(row["code"]), row["text"]) for row in ROW.finditer(PAGE.read_text("utf-8"))}


def test_the_page_has_a_row_for_each_mistake() -> None:
    """And none that nobody tries."""
    assert list(rows()) == list(MISTAKES)


def make(engine: Engine, image: str, folder: Path, name: str) -> Ended:
    """Make one of the mistakes in a folder of its own."""
    folder.mkdir()
    with serve_world(folder) as world, engine.volume() as volume:
        started = MISTAKES[name](world, volume)
        return engine.run(image, *started.words, options=[*started.options, "--user", "12345:12345"])


@pytest.fixture(scope="module")
def made(
    engine: Engine, image: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[Ended]]]:
    """Every mistake, several side by side."""
    folder = tmp_path_factory.mktemp("mistakes")
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield {
            name: pool.submit(make, engine, image, folder / str(number), name)
            for number, name in enumerate(MISTAKES)
        }


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_told_as_the_page_says(made: dict[str, Future[Ended]], name: str) -> None:
    """The exit code and the words of the page, nothing on standard output before a run starts, and no token anywhere."""
    code, text = rows()[name]
    ended = made[name].result()
    print(ended.stderr)
    assert ended.code == code, ended
    assert text in " ".join(ended.stderr.split()), ended.stderr
    assert ended.stdout == "" or code != 2
    assert "an-old-token" not in ended.stderr
