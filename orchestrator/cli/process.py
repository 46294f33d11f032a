"""The process around every command: its exit code, signals, streams, and the store that it opens."""

from __future__ import annotations

import errno
import io
import math
import os
import re
import shlex
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from orchestrator.core import (
    AccessRefused,
    ApiUnavailable,
    Event,
    ExitCode,
    JobFileError,
    StoreUnavailable,
    SystemClock,
    UsageError,
    hide,
    leaving_text,
    looks_secret,
)

if TYPE_CHECKING:
    from datetime import tzinfo
    from types import FrameType

    import click

    from orchestrator.api import OnPause
    from orchestrator.core import Clock
    from orchestrator.output import Outlet
    from orchestrator.store import Holder, Store


STDERR = 2
"""The number of standard error."""

TERMINATION_LOG = Path("/dev/termination-log")
"""Where Kubernetes takes a container's last words from (its default path)."""

LONGEST_LAST_WORDS = 4096
"""Bytes that Kubernetes keeps of them."""

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ETIMEDOUT)
"""The errors of a stream that takes no more."""

ENDING_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
"""The signals by which a supervisor, a terminal or a login ends a program."""

AGAIN = 1.0
"""Seconds within which a further signal is the same wish: a closed terminal sends two at once."""


NAME_A_STORE = "name one with --store or TESNAP_STORE, such as sqlite:////var/lib/tesnap/tesnap.db"


class Interrupted(BaseException):
    """A signal came while nothing was under way that has to be finished."""


def run_to_exit_code(act: Callable[[Sequence[str]], object], words: Sequence[str]) -> int:
    """Act on these words and turn however that ends into an exit code, with its last words on standard error."""
    try:
        code = act(words)
        sys.stdout.flush()
    except SystemExit:  # click's way to end when whoever read standard output has gone
        return _discard_output()
    except (Exception, Interrupted) as error:  # noqa: BLE001 - the one place where any error ends as an exit code
        _hide_typed(words)
        return exit_code_of(error)
    return code if isinstance(code, int) else ExitCode.DONE


def _hide_typed(words: Sequence[str]) -> None:
    """Keep words that look like a token, typed in the wrong place, out of what is said about the error.

    A path is none: a folder's name may be any hash.
    """
    variables = (value for name, value in os.environ.items() if name.startswith("TESNAP_"))
    for word in (*words, *variables):
        for part in re.split(r"[=\s]", word):
            if "/" not in part and looks_secret(part):
                hide(part)


def open_streams() -> None:
    """Have standard output and error that take any text, and keep no program waiting that is to end.

    A stream that was closed from outside is opened on nothing: else the next file that is opened, such as
    the store's, would get its number.
    """
    from orchestrator.output import Outlet

    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number, which is this one
    sys.stdout = _text_stream(Outlet(1, Signals.is_ending), sys.stdout)
    sys.stderr = _text_stream(Outlet(2, Signals.is_ending, unfailing=True), sys.stderr)


def _text_stream(outlet: Outlet, like: TextIO | None) -> TextIO:
    """The outlet as a text stream in the encoding of this one, with escapes for what the encoding lacks."""
    from orchestrator.output import CleanText

    return CleanText(
        io.BufferedWriter(outlet),
        encoding=like.encoding if like else "utf-8",
        errors="backslashreplace",
        line_buffering=outlet.isatty() or outlet.fileno() == STDERR,
    )


def exit_code_of(error: BaseException) -> int:
    """The exit code of an error, whose last words are printed."""
    import click

    code = find_exit_code(error)
    match error := _name_the_lack(error):
        case click.exceptions.Exit():
            pass
        case click.Abort() | Interrupted():
            _discard_output()  # a part of a result, which may be stuck
            _print_last_words("stopped before anything was sent")
        case click.ClickException():
            _name_variables(error)
            error.show()
        case JobFileError():
            _print_last_words(str(error), prefix="")
        case UsageError() | AccessRefused() | StoreUnavailable() | ApiUnavailable():
            _print_last_words(f"error: {error}")
        case BrokenPipeError():
            _discard_output()
        case OSError() if error.errno in FULL and error.filename is None:
            _discard_output()
            _print_last_words(f"error: the output cannot be written: {error.strerror}")
        case _:
            _report_bug(error)
    return code


def find_exit_code(error: BaseException) -> int:
    """The exit code of an error."""
    import click

    match _name_the_lack(error):
        case click.exceptions.Exit(exit_code=code):
            return int(code)
        case click.ClickException() | UsageError():
            return ExitCode.WRONG_USAGE
        case AccessRefused():
            return ExitCode.REFUSED
        case click.Abort() | Interrupted() | StoreUnavailable() | ApiUnavailable():
            return ExitCode.STOPPED_EARLY
        case BrokenPipeError():
            return ExitCode.DONE
        case _:
            return ExitCode.BROKEN


def _name_the_lack(error: BaseException) -> BaseException:
    """The error; a usage error instead where a file is missing that any program may count on."""
    if not isinstance(error, FileNotFoundError):
        return error
    from tempfile import gettempdir

    try:
        os.getcwd()  # noqa: PTH109 - whether there is one, not which
    except FileNotFoundError:
        return UsageError("the folder in which this was started has been removed: change to another one")
    try:
        gettempdir()
    except FileNotFoundError:
        return UsageError("no folder for temporary files can be written: name one with TMPDIR")
    return error


def _name_variables(error: click.ClickException) -> None:
    """Let a usage error name the variable where that, and no option, was given."""
    import click

    ctx = error.ctx if isinstance(error, click.UsageError) else None
    if ctx is None:
        return
    text = error.message
    for param in ctx.command.params:
        if ctx.get_parameter_source(str(param.name)) is click.core.ParameterSource.ENVIRONMENT:
            variable = str(param.envvar)
            if isinstance(error, click.BadParameter) and error.param is param:
                error.param_hint = variable
            for name in param.opts:
                text = re.sub(rf"(?<![\w-]){name}(?![\w-])", variable, text)
    error.message = text  # type: ignore[misc]  # there is no other way to its text, and no other reader of it


def _print_last_words(text: str, *, prefix: str = "tesnap: ") -> None:
    """Say why the command ends; without a prefix the lines stay as they are: editors know their places."""
    (print_text if prefix else print_lines)(f"{prefix}{text}".split("\n"), file=sys.stderr)
    leave_last_words(text)


def _discard_output() -> int:
    """Standard output is read no more: keep what is left in its buffers from failing, now and at Python's own exit."""
    from orchestrator.output import Outlet

    outlet = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    if isinstance(outlet, Outlet):
        outlet.discard()
    sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - open to the end
    return ExitCode.DONE


def _report_bug(error: BaseException) -> None:
    """Say where an error that nobody foresaw was raised, without its values, which may be secret."""
    import traceback

    last = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{Path(last.filename).name}:{last.lineno} in {last.name}"
    text = f"internal error: {type(error).__name__} at {place}: please report it; the store is intact, `tesnap status` shows the run"
    if os.environ.get("TESNAP_DEBUG"):
        traceback.print_exc()
    _print_last_words(text)


def leave_last_words(text: str) -> None:
    """Write to Kubernetes' termination log, if there is one."""
    try:
        if TERMINATION_LOG.exists():
            TERMINATION_LOG.write_bytes(leaving_text(text).encode()[-LONGEST_LAST_WORDS:])
    except OSError:
        return  # last words are a courtesy


class Signals:
    """Where the signals go that end a program: to a receiver while there is one, else they end the command.

    A second one that comes when the command is ending anyway, and does not get there, ends the process.
    `ends_at` is the boot clock's time at which the program is to end by itself.
    """

    receiver: Callable[[str], None] | None = None
    over = False
    heard_at = ends_at = math.inf

    @classmethod
    def hear(cls) -> None:
        """Hear them from now on, but for those that whoever started the program has it ignore, as `nohup` does."""
        for number in ENDING_SIGNALS:
            if number == signal.SIGTERM or signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, cls.receive)

    @classmethod
    def ignore(cls) -> None:
        """Hear none that a supervisor or a terminal sends from now on."""
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)

    @classmethod
    def receive(cls, number: int, frame: FrameType | None) -> None:  # noqa: ARG003 - the signature of a handler
        """Pass a signal on, by name."""
        now = SystemClock().boot()
        since = now - cls.heard_at  # minus infinity for the first one
        cls.heard_at = min(cls.heard_at, now)
        if cls.receiver is not None:
            cls.receiver(signal.Signals(number).name)
        elif since < 0 and not cls.over:
            raise Interrupted
        elif since >= AGAIN and number != signal.SIGHUP:
            os._exit(ExitCode.STOPPED_EARLY)

    @classmethod
    def is_ending(cls) -> bool:
        """True if the program is to end, by a signal or at its deadline."""
        return cls.heard_at < math.inf or SystemClock().boot() >= cls.ends_at

    @classmethod
    @contextmanager
    def send_to(cls, receiver: Callable[[str], None]) -> Iterator[None]:
        """Send signals to this function for a while; afterwards the command ends by itself."""
        cls.receiver = receiver
        try:
            yield
        finally:
            cls.receiver, cls.over = None, True


@contextmanager
def yield_terminal(step_aside: Callable[[], None]) -> Iterator[None]:
    """Call this function before Ctrl-Z hands the terminal to the shell, for a while."""

    def suspend(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature of a handler
        step_aside()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)  # goes on from here with `fg`
        signal.signal(number, suspend)

    before = signal.getsignal(signal.SIGTSTP)
    if before is not signal.SIG_IGN:
        signal.signal(signal.SIGTSTP, suspend)
    try:
        yield
    finally:
        signal.signal(signal.SIGTSTP, before)


def use_store(
    store_url: str | None, clock: Clock, *, read_only: bool = False, must_exist: bool = False
) -> closing[Store]:
    """Open the store of this option or of the default place for a while; UsageError where it `must_exist` and does not."""
    from orchestrator.store import open_store, store_exists

    address = default_store() if store_url is None else store_url
    if must_exist and not store_exists(address):
        raise UsageError("nothing has been run with this store yet")
    return closing(open_store(address, clock=clock, read_only=read_only, on_held=tell_of_holder))


def tell_of_holder(holder: Holder | None) -> None:
    """Say on standard error, as the command's options have it, which process has the store that is waited for."""
    import click

    from orchestrator.cli.timezone import terminal_zone
    from orchestrator.output import Lines, event_log, find_trace_id, holder_text, write_event

    ctx = click.get_current_context(silent=True)
    given = {} if ctx is None else ctx.params
    if given.get("quiet"):
        return
    now, zone = SystemClock().wall(), terminal_zone(given.get("timezone"), os.environ)[0]
    log = event_log(
        Lines(sys.stderr), as_json=given.get("log_format") == "json", trace_id=find_trace_id(os.environ)
    )
    write_event(log, Event(name="store.held", text=holder_text(holder, now, zone)), now=now)


@contextmanager
def look_into_store(store_url: str | None, clock: Clock) -> Iterator[Store]:
    """Open the store for a while, read only; an empty one in a temporary folder where there is none yet."""
    from orchestrator.store import sqlite_address, store_exists

    there = store_exists(default_store() if store_url is None else store_url)
    with ExitStack() as ended:
        if not there:
            from tempfile import TemporaryDirectory

            folder = ended.enter_context(TemporaryDirectory(prefix="tesnap-"))
            store_url = sqlite_address(Path(folder) / "empty.db")
        yield ended.enter_context(use_store(store_url, clock, read_only=there))


def typed_store() -> str:
    """The store's option for the command that comes next, without a password; empty when it was not typed."""
    import click

    from orchestrator.store import shown_address

    if not is_typed("store_url"):
        return ""
    return f" --store {shlex.quote(shown_address(click.get_current_context().params['store_url']))}"


def is_typed(parameter: str) -> bool:
    """True if an option was written on the command line: it goes before any variable."""
    import click

    source = click.get_current_context().get_parameter_source(parameter)
    return source is click.core.ParameterSource.COMMANDLINE


def default_store() -> str:
    """One file under the user's state directory; UsageError where there is none."""
    from platformdirs import user_state_path

    from orchestrator.store import sqlite_address

    try:
        folder = user_state_path("tesnap")
    except RuntimeError:  # neither an absolute HOME nor an entry for this user id
        raise UsageError(f"this user has no home folder, so the store has no place: {NAME_A_STORE}") from None
    if not folder.is_absolute():  # each folder would have a store, and so a limit, of its own
        raise UsageError(f"the home folder, {folder}, is not an absolute path: {NAME_A_STORE}")
    return sqlite_address(folder / "tesnap.db")


def pause_printer(zone: tzinfo, *, quiet: bool = False) -> OnPause | None:
    """A function that says on standard error what reading waits for; None when it is to be quiet."""
    from orchestrator.output import pause_text

    return None if quiet else lambda pause: print(pause_text(pause, zone), file=sys.stderr, flush=True)


def standard_input(words: Sequence[str]) -> TextIO:
    """Standard input; where one of the words asks for it on a terminal, it is said that somebody has to type."""
    if "-" in words and sys.stdin is not None and sys.stdin.isatty():
        print("tesnap: reading standard input: type it, then Ctrl-D on a line of its own", file=sys.stderr)
    return sys.stdin


def print_lines(lines: Iterable[object], *, file: TextIO | None = None) -> None:
    """Print each line on standard output, or into this file."""
    for line in lines:
        print(line, file=file)


def print_text(lines: Iterable[str], *, file: TextIO | None = None) -> None:
    """Print sentences, on a terminal wrapped between words."""
    from orchestrator.output import terminal_room, wrap_line

    room = terminal_room(file or sys.stdout)
    print_lines((part for line in lines for part in wrap_line(line, room)), file=file)


def array_lines(values: Iterable[Any]) -> Iterator[str]:
    """The lines of a JSON array whose members are taken one by one, as they are printed."""
    before = "["
    for value in values:
        yield before
        *lines, before = (f"  {line}" for line in document_lines(value))
        yield from lines
        before += ","
    yield from (before.removesuffix(","), "]") if before != "[" else ("[]",)


def document_lines(value: Any) -> list[str]:
    """The lines of a JSON document, with escapes where standard output's encoding lacks a character."""
    import json

    text = json.dumps(value, indent=2, ensure_ascii=False)
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(value, indent=2)
    return text.split("\n")


def stream_document(pairs: Iterable[tuple[str, object]]) -> Iterator[str]:
    """The lines of a JSON object, made pair by pair; the items of an iterator among the values come one by one, too."""
    yield "{"
    before = ""  # a line that may need a comma behind it
    for key, value in pairs:
        (name,) = document_lines(key)
        if before:
            yield f"{before},"
        if isinstance(value, Iterator):
            yield f"  {name}: ["
            yield from _stream_items(value)
            before = "  ]"
            continue
        first, *rest = document_lines(value)
        *lines, before = [f"  {name}: {first}", *(f"  {line}" for line in rest)]
        yield from lines
    yield before
    yield "}"


def _stream_items(items: Iterator[object]) -> Iterator[str]:
    """The lines of a list's items, each but the last with a comma behind it."""
    before = ""
    for item in items:
        if before:
            yield f"{before},"
        *lines, before = [f"    {line}" for line in document_lines(item)]
        yield from lines
    if before:
        yield before
