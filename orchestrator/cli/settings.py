"""`tesnap config`: every setting with its value and where it comes from, secrets masked."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.follow import watch_options
from orchestrator.cli.options import (
    STORE_FILE,
    OutputOptions,
    Pacing,
    duration,
    output_options,
    pacing_options,
    part_options,
    store_option,
)
from orchestrator.cli.process import default_store, document_lines, print_lines, standard_input
from orchestrator.cli.run import start_options
from orchestrator.core import DEFAULT_BASE_URL, UsageError, harmless, mask_secrets

if TYPE_CHECKING:
    from orchestrator.core import CredentialSource
    from orchestrator.jobfile import CheckedJobFile

TOLD = ("TE_TOKEN", "TE_TOKEN_FILE", "TE_BASE_URL", "PGPASSFILE", "TRACEPARENT", "NO_COLOR", "TZ")
"""Variables of others that mean something here; of the first only that it is set."""

_USER = re.compile(r"//[^/@\s]*@")
"""A user and a password in an address, such as a proxy's."""

SECRET_VALUES = frozenset({"TE_TOKEN"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One setting, its value as it may be shown, and its origin: an option, a variable, `file:line:column`, `default`."""

    name: str
    value: str
    origin: str


@click.command("config")
@click.argument("jobfiles", nargs=-1, metavar="[JOBFILE...]")
@part_options
@start_options
@store_option
@output_options
@pacing_options
@watch_options
def config_command(
    jobfiles: tuple[str, ...],
    *,
    output: OutputOptions,
    pacing: Pacing,
    store_url: str | None,
    **_others: Any,  # are in the context, as all others
) -> None:
    """Show every setting of a run with its value and where it comes from: option, variable, file and line, or default."""
    from orchestrator.jobfile import read_jobfiles

    ctx, reading = click.get_current_context(), None
    if jobfiles:
        reading = read_jobfiles(jobfiles, environ=os.environ, stdin=standard_input(jobfiles))
        pacing.apply(reading.jobfile)
    settings = [
        *_option_settings(ctx, store_url),
        *_variable_settings(os.environ),
        *([] if reading is None else _file_settings(reading)),
    ]
    if output.as_json:
        documents = [{"name": one.name, "value": one.value, "origin": one.origin} for one in settings]
        print_lines(document_lines(documents))
    else:
        print_lines(_rows(settings))


def _option_settings(ctx: click.Context, store_url: str | None) -> Iterator[Setting]:
    """The settings that an option or its variable may have."""
    yield _store_setting(ctx, store_url)
    for param in ctx.command.params:
        if not isinstance(param, click.Option) or param.name in ("store_url", "as_json"):
            continue
        value, origin = ctx.params.get(str(param.name)), _origin(ctx, param)
        if origin == "default" and value in (None, (), False):
            value = _told_default(param)
        elif getattr(param.type, "func", None) is duration:
            value = f"{value:g}s"
        yield Setting(name=_long_name(param), value=_shown(value), origin=origin)


def _store_setting(ctx: click.Context, store_url: str | None) -> Setting:
    from orchestrator.store import shown_address

    if store_url is None:
        return Setting(name="--store", value=_default_place(), origin="default")
    param = next(one for one in ctx.command.params if one.name == "store_url")
    origin = _origin(ctx, param)
    return Setting(
        name="--store",
        value=mask_secrets(shown_address(store_url)),
        origin=STORE_FILE if origin == "default" else origin,
    )


def _default_place() -> str:
    try:
        return default_store()
    except UsageError as error:
        return f"none: {error}"


def _origin(ctx: click.Context, param: click.Parameter) -> str:
    source = ctx.get_parameter_source(str(param.name))
    if source is click.core.ParameterSource.COMMANDLINE:
        return "option"
    return str(param.envvar) if source is click.core.ParameterSource.ENVIRONMENT else "default"


def _long_name(param: click.Option) -> str:
    return next(name for name in param.opts if name.startswith("--"))


def _told_default(param: click.Option) -> str:
    """The default as the option's help tells it, in brackets at its end."""
    _, bracket, told = (param.help or "").rstrip(".").rpartition("[")
    return told.rstrip("]").removeprefix("default: ") if bracket else "not set"


def _variable_settings(environ: Mapping[str, str]) -> Iterator[Setting]:
    """Variables that are not ours and are heeded."""
    for name in TOLD:
        if environ.get(name):
            value = "set, not shown" if name in SECRET_VALUES else _shown(environ[name])
            yield Setting(name=name, value=value, origin="environment")


def _file_settings(reading: CheckedJobFile) -> Iterator[Setting]:
    """What the job files say outside of their jobs, and the defaults of what they leave out."""
    jobfile = reading.jobfile
    places = reading.settings
    for key, (value, place) in places.items():
        yield Setting(name=key, value=_shown(value), origin=place)
    plain = {
        "name": jobfile.name,
        "timezone": jobfile.timezone or "times need Z or an offset",
        "http.timeout": f"{jobfile.http.timeout:g}s",
        "retry.attempts": jobfile.retry.attempts,
        "retry.within": f"{jobfile.retry.within:g}s",
    }
    for key, known in plain.items():
        if key not in places:
            yield Setting(name=key, value=_shown(known), origin="default")
    for name, one in jobfile.organizations.items():
        start = f"organizations.{name}"
        if places.keys().isdisjoint({f"{start}.token_file", f"{start}.token_env"}):
            yield _token_setting(f"{start}.token", one.credential, places)
        if one.base_url == DEFAULT_BASE_URL:
            yield Setting(name=f"{start}.base_url", value=one.base_url, origin="default")


def _token_setting(name: str, source: CredentialSource, places: Mapping[str, tuple[Any, str]]) -> Setting:
    """The token's place of an organization that names none itself: that of all organizations, or of the environment."""
    kind, shown = ("file", source.file) if source.file else ("variable", source.env or "none")
    shared = places.get("organization_defaults.token_file") or places.get("organization_defaults.token_env")
    return Setting(
        name=name,
        value=f"{kind} {_shown(shown)}",
        origin=shared[1] if shared else "TE_TOKEN_FILE" if source.file else "TE_TOKEN",
    )


def _shown(value: Any) -> str:
    """The value as it may be shown on one line."""
    if isinstance(value, list | tuple):
        return ", ".join(map(_shown, value)) or "not set"
    if isinstance(value, bool):
        return str(value).lower()
    return harmless(mask_secrets(_USER.sub("//[masked]@", str(value))))


def _rows(settings: list[Setting]) -> Iterator[str]:
    """The settings as lines that may be read and searched: name, value, origin."""
    width = max(len(one.name) for one in settings)
    return (f"{one.name:{width}}  {one.value}  ({one.origin})" for one in settings)
