"""YAML text to plain nodes with positions, under a schema of our own: every scalar stays what was typed.

PyYAML scans and parses (libyaml's parser where there is one), but nothing is ever constructed from a type
of YAML's: `0123`, `12:30`, `no`, `1_000` and `1e3` are text, and what a text means is for the grammar to
say. The only other scalar is nothing at all (an empty value, `null` or `~`). Tags, merge keys, keys that
are not words and several documents are errors; size, depth and alias expansion are bounded while events
come in, so that no file costs more than a second or 256 MB.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple, NoReturn, TypeAlias

import yaml

from orchestrator.core import Located, quote, word

MAX_BYTES = 4 * 1024 * 1024
"""The largest file: twenty times one of 20,000 lines with a test id each."""

MAX_DEPTH = 32
"""The deepest nesting, aliases expanded: the grammar needs 6."""

MAX_NODES = 120_000
"""The most keys and values, aliases expanded: 20,000 lines of `{id: …, test_name: …}` are 100,000."""

_MAX_COMPLAINTS = 1000  # more errors than that in one file are not collected, only the file refused

_NOT_PRINTABLE = re.compile(
    "[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"
)  # YAML 1.2, 5.1

_NOT_IN_VALUES = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")  # what an escape could smuggle in

_LINE_BREAKS = ("\n", "\r", "\x85", "\u2028", "\u2029")

_NOTHING = frozenset({"", "~", "null", "Null", "NULL"})

_UTF16 = (b"\xff\xfe", b"\xfe\xff")

_PLAIN_WORDS = {
    "mapping values are not allowed in this context": "a `:` too many, or lines above that are indented wrongly:"
    " write one `key: value` a line and quote values that contain `: `",
    "could not find expected ':'": "a key without its `:`",
    "did not find expected key": "this line does not continue what stands above: check its indentation, and"
    " close quotes and brackets",
    "did not find expected '-' indicator": "this line does not continue the list above: check its indentation",
    "did not find expected ',' or ']'": "a list that was opened with `[` lacks a `,` or its `]`",
    "did not find expected ',' or '}'": "a mapping that was opened with `{` lacks a `,` or its `}`: quote values with braces,"
    ' as "${NAME}"',
    "found unexpected end of stream": "the file ends within a quoted text",
    "block sequence entries are not allowed in this context": "a `- ` cannot stand here: start the list on a"
    " line of its own",
    "found unknown escape character": "an unknown `\\` escape in a text in double quotes: use single quotes",
}


class Scalar(NamedTuple):
    """A text as it was typed; `nothing` when no value was. Lines and columns count from 1."""

    text: str
    nothing: bool
    line: int
    column: int


class Sequence(NamedTuple):
    """A list. `lost` tells that entries with errors were taken out."""

    items: tuple[Node, ...]
    line: int
    column: int
    lost: bool = False


class Entry(NamedTuple):
    """A key of a mapping, with its own place, and its value."""

    key: Scalar
    value: Node


class Mapping(NamedTuple):
    """A mapping in the order of the file. `lost` are keys that were taken out because of an error."""

    entries: dict[str, Entry]
    line: int
    column: int
    lost: frozenset[str] = frozenset()


Node: TypeAlias = Scalar | Sequence | Mapping


class Document(NamedTuple):
    """What a file says, None where it is not YAML, and every error of its YAML."""

    root: Node | None
    errors: tuple[Located, ...]


def parse(content: bytes, *, file: str, loader: Any = None) -> Document:
    """The nodes of one YAML document and all that is wrong with it; never raises for any content.

    `loader` is one of PyYAML's loader classes, by default the fastest there is.
    """
    composer = _Composer(file)
    try:
        root = composer.document(_text(content, composer), loader or _fastest())
    except _Fatal:
        root = None
    return Document(root, tuple(composer.errors))


class _Fatal(Exception):
    """The rest of the file cannot be read."""


class _Frame:
    """A list or mapping that is still open."""

    __slots__ = ("anchor", "before", "column", "entries", "height", "items", "key", "line")

    def __init__(self, event: Any, before: int) -> None:
        self.line, self.column = _at(event)
        self.anchor: str | None = event.anchor
        self.before = before
        self.height = 1
        self.items: list[Node] = []
        self.entries: dict[str, Entry] | None = None if isinstance(event, yaml.SequenceStartEvent) else {}
        self.key: Scalar | None = None


class _Anchored(NamedTuple):
    """A node under an anchor, with what it adds when an alias repeats it; None while it is still open."""

    node: Node | None
    size: int
    height: int


class _Composer:
    """Builds nodes from parser events, counting as it goes."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.errors: list[Located] = []
        self._frames: list[_Frame] = []
        self._anchors: dict[str, _Anchored] = {}
        self._count = 0
        self._root: Node | None = None

    def error(self, line: int, column: int, text: str) -> None:
        self.errors.append(Located(self.file, line, column, text))
        if len(self.errors) >= _MAX_COMPLAINTS:
            raise _Fatal

    def fatal(self, line: int, column: int, text: str) -> NoReturn:
        self.error(line, column, text)
        raise _Fatal

    def document(self, text: str, loader: Any) -> Node | None:
        """The root node of the only document, None when the file has none."""
        documents = 0
        for event in self._events(text, loader):
            kind = type(event)
            if kind is yaml.ScalarEvent:
                self._scalar(event)
            elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
                self._open(event)
            elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
                self._close()
            elif kind is yaml.AliasEvent:
                self._alias(event)
            elif kind is yaml.DocumentStartEvent:
                documents += 1
                if documents > 1:
                    self.fatal(
                        *_at(event), "a second YAML document: write one per file, without `---` between"
                    )
        if self._root is None or (isinstance(self._root, Scalar) and self._root.nothing):
            self.fatal(1, 1, "the file is empty: `tesnap init` writes one to start from")
        return self._root

    def _events(self, text: str, loader: Any) -> Iterator[Any]:
        parser = loader(text)
        try:
            while True:
                event = parser.get_event()
                if event is None or type(event) is yaml.StreamEndEvent:
                    return
                yield event
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
            self.fatal(line, column, _syntax_text(error, text, mark))
        except yaml.YAMLError:
            self.fatal(1, 1, "this is not YAML")
        finally:
            parser.dispose()

    def _scalar(self, event: Any) -> None:
        line, column = _at(event)
        self._refuse_tag(event)
        value = event.value
        if _NOT_IN_VALUES.search(value):
            self.error(line, column, "a control character in a text: write it without")
            value = _NOT_IN_VALUES.sub("?", value)
        nothing = event.implicit[0] and value in _NOTHING
        node = Scalar(value, nothing, line, column)
        self._counted(line, column, 1, 0)
        if event.anchor is not None:
            self._anchors[event.anchor] = _Anchored(node, 1, 0)
        self._add(node)

    def _open(self, event: Any) -> None:
        line, column = _at(event)
        self._refuse_tag(event)
        if self._frames and self._frames[-1].entries is not None and self._frames[-1].key is None:
            self.fatal(line, column, "a key has to be a word, not a list or a mapping")
        self._counted(line, column, 1, 1)
        if event.anchor is not None:
            self._anchors[event.anchor] = _Anchored(None, 0, 0)
        self._frames.append(_Frame(event, self._count - 1))

    def _close(self) -> None:
        frame = self._frames.pop()
        node: Node
        if frame.entries is None:
            node = Sequence(tuple(frame.items), frame.line, frame.column)
        else:
            node = Mapping(frame.entries, frame.line, frame.column)
        if frame.anchor is not None:
            self._anchors[frame.anchor] = _Anchored(node, self._count - frame.before, frame.height)
        if self._frames:
            self._frames[-1].height = max(self._frames[-1].height, frame.height + 1)
        self._add(node)

    def _alias(self, event: Any) -> None:
        line, column = _at(event)
        known = self._anchors.get(event.anchor)
        if known is None:
            self.fatal(line, column, f"the alias `*` has no anchor above: {quote(event.anchor)}")
        if known.node is None:
            self.fatal(line, column, f"the alias `*` stands within its own anchor: {quote(event.anchor)}")
        if self._frames and self._frames[-1].entries is not None and self._frames[-1].key is None:
            self.fatal(line, column, "a key has to be a word, not an alias")
        self._counted(line, column, known.size, known.height)
        if self._frames:
            self._frames[-1].height = max(self._frames[-1].height, known.height + 1)
        self._add(known.node)

    def _add(self, node: Node) -> None:
        """Put a finished node where it belongs: the open list, key or value, or the root."""
        if not self._frames:
            self._root = node
            return
        frame = self._frames[-1]
        if frame.entries is None:
            frame.items.append(node)
        elif frame.key is None:
            assert isinstance(node, Scalar)  # noqa: S101 - _open and _alias refuse the others
            frame.key = node
        else:
            self._pair(frame.entries, frame.key, node)
            frame.key = None

    def _pair(self, entries: dict[str, Entry], key: Scalar, value: Node) -> None:
        first = entries.setdefault(key.text, Entry(key, value))
        if key.text == "<<":
            del entries["<<"]
            text = "merge keys (`<<`) are not read: use `defaults`, or an alias for a whole value"
            self.error(key.line, key.column, text)
        elif first.key is not key:
            text = f"{word(key.text)} is written twice, first in line {first.key.line}: delete one"
            self.error(key.line, key.column, text)

    def _counted(self, line: int, column: int, size: int, height: int) -> None:
        self._count += size
        if self._count > MAX_NODES:
            text = f"more than {MAX_NODES:,} keys and values (aliases count each time): split the file"
            self.fatal(line, column, text)
        if len(self._frames) + height > MAX_DEPTH:
            self.fatal(line, column, f"nested more than {MAX_DEPTH} levels deep: no job file needs that")

    def _refuse_tag(self, event: Any) -> None:
        if event.tag is not None:
            self.error(*_at(event), "a YAML tag (`!…`): tags are not read, delete it")


def _at(event: Any) -> tuple[int, int]:
    mark = event.start_mark
    return mark.line + 1, mark.column + 1


def _fastest() -> Any:
    """The parser of libyaml is ten times faster than the one in Python, and not on every machine."""
    return yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader


def _text(content: bytes, composer: _Composer) -> str:
    """The file's characters, all of them allowed in YAML."""
    if len(content) > MAX_BYTES:
        composer.fatal(1, 1, f"the file is larger than {MAX_BYTES // 1024**2} MiB: split it")
    if content.startswith(_UTF16):
        composer.fatal(1, 1, "the file is UTF-16: save it as UTF-8")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8")
        composer.fatal(
            *_place(before), f"the byte 0x{content[error.start]:02x} is not UTF-8: save the file as UTF-8"
        )
    text = text.removeprefix("\ufeff")
    odd = _NOT_PRINTABLE.search(text)
    if odd:
        place = _place(text[: odd.start()])
        composer.fatal(*place, f"the control character U+{ord(odd[0]):04X} cannot stand in a file: delete it")
    return text


def _place(before: str) -> tuple[int, int]:
    """The line and column after this text, counted as the parser counts them."""
    before = before.removeprefix("\ufeff")
    breaks = sum(map(before.count, _LINE_BREAKS)) - before.count("\r\n")
    start = 1 + max(map(before.rfind, _LINE_BREAKS))
    return breaks + 1, len(before) - start + 1


def _syntax_text(error: yaml.MarkedYAMLError, text: str, mark: Any) -> str:
    """What the parser says, in words for people who do not know its grammar."""
    problem = error.problem or "unknown"
    line = text[mark.index - mark.column :][:200].split("\n", 1)[0] if mark else ""
    indent = len(line) - len(line.lstrip())
    at = mark.column if mark else 0
    if "\t" in line[:indent] or line[at : at + 1] == "\t":
        return "a tab: YAML is indented with spaces"
    if "cannot start any token" in problem:
        return f"a value cannot start with {quote(line[at : at + 1])}: quote it"
    known = next((words for start, words in _PLAIN_WORDS.items() if problem.startswith(start)), None)
    return f"not valid YAML: {known or problem}"
