"""A folder of three hundred customers: for each a job file, a token file and an organization with one test."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from orchestrator.simulator import World, example_world

CUSTOMERS = 300
REVOKED, STRANGER = "customer-017", "customer-203"
"""The one whose token is revoked, and the one whose file has another's org_id."""

ENVIRON = {"REVOKED_TOKEN": f"token-of-{REVOKED}"}
"""The revoked token is in a variable: one in a file is waited for, two minutes long, whether it is replaced."""


def world() -> World:
    """Organizations that carry a customer's name in all they have; one token is revoked."""
    made = example_world(CUSTOMERS, 1)
    names = [f"customer-{number:03}" for number in range(1, CUSTOMERS + 1)]
    organizations = []
    for name, organization in zip(names, made.organizations, strict=True):
        (group,) = organization.account_groups
        tests = tuple(replace(test, name=f"Shop of {name}") for test in group.tests)
        groups = (replace(group, name=f"Group of {name}", tests=tests),)
        organizations.append(replace(organization, name=name, account_groups=groups))
    bearers = [
        replace(bearer, name=name, token=f"token-of-{name}", expired=name == REVOKED)
        for name, bearer in zip(names, made.bearers, strict=True)
    ]
    return replace(made, organizations=tuple(organizations), bearers=tuple(bearers))


def write_files(folder: Path, world: World, url: str) -> Path:
    """A job file and a token file for each customer."""
    jobs, tokens = folder / "jobs", folder / "tokens"
    jobs.mkdir()
    tokens.mkdir()
    for organization, bearer in zip(world.organizations, world.bearers, strict=True):
        name, (test,) = organization.name, organization.account_groups[0].tests
        org_id = "1" if name == STRANGER else organization.org_id
        (tokens / name).write_text(f"{bearer.token}\n")
        token = "token_env: REVOKED_TOKEN" if name == REVOKED else f"token_file: {tokens / name}"
        (jobs / f"{name}.yaml").write_text(
            f"version: 1\nname: nightly\n"
            f"organizations: {{{name}: {{{token}, org_id: '{org_id}', base_url: '{url}'}}}}\n"
            f"jobs: [{{name: '{name}', organization: {name}, tests: ['{test.test_id}'], windows: [{{last: 1h}}]}}]\n"
        )
    return jobs
