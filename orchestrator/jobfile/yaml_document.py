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
from itertools import islice
from typing import Any, NamedTuple, NoReturn, TypeAlias

import yaml

from orchestrator.core import Located, quote, word

MAX_BYTES = 4 * 1024 * 1024
"""The largest file: twenty times one of 20,000 lines with a test id each."""

MAX_DEPTH = 32
"""The deepest nesting, aliases expanded: the grammar needs 6."""

MAX_NODES = 120_000
"""The most keys and values, aliases expanded: 20,000 lines of `{id: …, test_name: …}` are 100,000."""

_MAX_ERRORS = 1000  # more errors than that in one file are not collected, only the file refused

_TOO_DEEP = "exceeded maximum nesting depth"  # libyaml's own bound, 1,000 levels, since PyYAML 6.0.4

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
    "did not find expected key": "this line does not continue the lines above: check its indentation, and"
    " close quotes and brackets",
    "did not find expected '-' indicator": "this line does not continue the list above: check its indentation",
    "did not find expected ',' or ']'": "a list that was opened with `[` lacks a `,` or its `]`",
    "did not find expected ',' or '}'": "a mapping that was opened with `{` lacks a `,` or its `}`: quote values with braces,"
    ' as "${NAME}"',
    "found unexpected end of stream": "the file ends within a quoted text",
    "block sequence entries are not allowed in this context": "a `- ` is not allowed here: start the list on a"
    " line of its own",
    "found unknown escape character": "an unknown `\\` escape in a text in double quotes: use single quotes",
}


class ScalarNode(NamedTuple):
    """A text as it was typed; `nothing` when no value was. Lines and columns count from 1."""

    text: str
    nothing: bool
    line: int
    column: int


class ListNode(NamedTuple):
    """A list. `lost` tells that entries with errors were taken out."""

    items: tuple[Node, ...]
    line: int
    column: int
    lost: bool = False


class KeyedNode(NamedTuple):
    """A key of a mapping, with its own place, and its value."""

    key: ScalarNode
    value: Node


class MappingNode(NamedTuple):
    """A mapping in the order of the file. `lost` are keys that were taken out because of an error."""

    entries: dict[str, KeyedNode]
    line: int
    column: int
    lost: frozenset[str] = frozenset()


Node: TypeAlias = ScalarNode | ListNode | MappingNode


class YamlDocument(NamedTuple):
    """The root of a file, None where it is not YAML, and every error of its YAML."""

    root: Node | None
    errors: tuple[Located, ...]


def parse(content: bytes, *, file: str, loader: Any = None) -> YamlDocument:
    """The nodes of one YAML document and all that is wrong with it; never raises for any content.

    `loader` is one of PyYAML's loader classes, by default the fastest there is.
    """
    composer = _Composer(file)
    try:
        root = composer.compose(_text(content, composer), loader or _fastest())
    except _Unreadable:
        root = None
    return YamlDocument(root, tuple(composer.errors))


class _Unreadable(Exception):
    """The rest of the file cannot be read."""


class _Anchored(NamedTuple):
    """A node under an anchor, with what it adds when an alias repeats it."""

    node: Node
    size: int
    height: int


class _Composer:
    """Nodes from a parser's events, counted as they come in: PyYAML's own composer knows no bounds."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.errors: list[Located] = []
        self._events: Iterator[Any] = iter(())
        self._anchors: dict[str, _Anchored | None] = {}  # None: its node is still open
        self._count = 0
        self._deepest = 0

    def error(self, place: tuple[int, int], text: str) -> None:
        self.errors.append(Located(self.file, *place, text))
        if len(self.errors) >= _MAX_ERRORS:
            raise _Unreadable

    def fail(self, place: tuple[int, int], text: str) -> NoReturn:
        self.error(place, text)
        raise _Unreadable

    def compose(self, text: str, loader: Any) -> Node:
        """The root node of the only document."""
        self._events = self._parse(text, loader)
        root: Node | None = None
        for event in self._events:
            if root is not None and type(event) is yaml.DocumentStartEvent:
                self.fail(_at(event), "a second YAML document: write one per file, without `---` between")
            if isinstance(event, yaml.NodeEvent):
                root = self._node(event, 0)
        if root is None or (isinstance(root, ScalarNode) and root.nothing):
            self.fail((1, 1), "the file is empty: `tesnap init` writes one to start from")
        return root

    def _parse(self, text: str, loader: Any) -> Iterator[Any]:
        parser, number = loader(text), 0
        try:
            while (event := parser.get_event()) is not None:
                number += 1
                yield event
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            if mark and error.problem == _TOO_DEEP:
                # libyaml looks ahead. Up to there the text is read once more, which ends at the bound of ours.
                yield from islice(self._parse(text[: mark.index], loader), number, None)
            self.fail((mark.line + 1, mark.column + 1) if mark else (1, 1), _syntax_text(error, text, mark))
        except yaml.YAMLError:
            self.fail((1, 1), "this is not YAML")
        finally:
            parser.dispose()

    def _node(self, event: Any, depth: int) -> Node:
        """The node that begins with this event, inside so many lists and mappings."""
        if isinstance(event, yaml.AliasEvent):
            return self._repeat(event, depth)
        self._refuse_tag(event)
        before, deepest, self._deepest = self._count, self._deepest, depth
        self._count_node(event, 1, depth + isinstance(event, yaml.CollectionStartEvent))
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        node = self._content(event, depth + 1)
        if event.anchor is not None:
            self._anchors[event.anchor] = _Anchored(node, self._count - before, self._deepest - depth)
        self._deepest = max(deepest, self._deepest)
        return node

    def _content(self, event: Any, depth: int) -> Node:
        line, column = _at(event)
        if isinstance(event, yaml.ScalarEvent):
            text = self._plain(event)
            return ScalarNode(text, event.implicit[0] and text in _NOTHING, line, column)
        if isinstance(event, yaml.SequenceStartEvent):
            return ListNode(tuple(self._node(item, depth) for item in self._inner_events()), line, column)
        entries: dict[str, KeyedNode] = {}
        for event_of_key in self._inner_events():
            key = self._key(event_of_key, depth)
            self._add(entries, KeyedNode(key, self._node(next(self._events), depth)))
        return MappingNode(entries, line, column)

    def _inner_events(self) -> Iterator[Any]:
        """The events up to the end of the list or mapping that is open, but for those that others take."""
        while not isinstance(event := next(self._events), yaml.CollectionEndEvent):
            yield event

    def _plain(self, event: Any) -> str:
        text: str = event.value
        if _NOT_IN_VALUES.search(text):
            self.error(_at(event), "a control character in a text: write it without")
            text = _NOT_IN_VALUES.sub("?", text)
        return text

    def _key(self, event: Any, depth: int) -> ScalarNode:
        if isinstance(event, yaml.CollectionStartEvent):
            self._refuse_tag(event)
            self.fail(_at(event), "a key has to be a word, not a list or a mapping")
        node = self._node(event, depth)
        if isinstance(event, yaml.AliasEvent) or not isinstance(node, ScalarNode):
            self.fail(_at(event), "a key has to be a word, not an alias")
        return node

    def _add(self, entries: dict[str, KeyedNode], entry: KeyedNode) -> None:
        key = entry.key
        first = entries.setdefault(key.text, entry)
        if key.text == "<<":
            del entries["<<"]
            text = "merge keys (`<<`) are not read: use `defaults`, or an alias for a whole value"
            self.error((key.line, key.column), text)
        elif first is not entry:
            text = f"{word(key.text)} is written twice, first in line {first.key.line}: delete one"
            self.error((key.line, key.column), text)

    def _repeat(self, event: Any, depth: int) -> Node:
        """The node that an alias stands for."""
        if event.anchor not in self._anchors:
            self.fail(_at(event), f"the alias `*` has no anchor above: {quote(event.anchor)}")
        known = self._anchors[event.anchor]
        if known is None:
            self.fail(_at(event), f"the alias `*` is inside its own anchor: {quote(event.anchor)}")
        self._count_node(event, known.size, depth + known.height)
        return known.node

    def _refuse_tag(self, event: Any) -> None:
        if event.tag is not None:
            self.error(_at(event), "a YAML tag (`!…`): tags are not read, delete it")

    def _count_node(self, event: Any, size: int, depth: int) -> None:
        self._count += size
        self._deepest = max(self._deepest, depth)
        if self._count > MAX_NODES:
            text = f"more than {MAX_NODES:,} keys and values (aliases count each time): split the file"
            self.fail(_at(event), text)
        if depth > MAX_DEPTH:
            self.fail(_at(event), f"nested more than {MAX_DEPTH} levels deep: no job file needs that")


def _at(event: Any) -> tuple[int, int]:
    mark = event.start_mark
    return mark.line + 1, mark.column + 1


def _fastest() -> Any:
    """The parser of libyaml is ten times faster than the one in Python, and not on every machine."""
    return yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader


def _text(content: bytes, composer: _Composer) -> str:
    """The file's characters, all of them allowed in YAML."""
    if len(content) > MAX_BYTES:
        composer.fail((1, 1), f"the file is larger than {MAX_BYTES // 1024**2} MiB: split it")
    if content.startswith(_UTF16):
        composer.fail((1, 1), "the file is UTF-16: save it as UTF-8")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8")
        composer.fail(
            _place(before), f"the byte 0x{content[error.start]:02x} is not UTF-8: save the file as UTF-8"
        )
    text = text.removeprefix("\ufeff")
    odd = _NOT_PRINTABLE.search(text)
    if odd:
        place = _place(text[: odd.start()])
        composer.fail(place, f"the control character U+{ord(odd[0]):04X} is not allowed in a file: delete it")
    return text


def _place(before: str) -> tuple[int, int]:
    """The line and column after this text, counted as the parser counts them."""
    before = before.removeprefix("\ufeff")
    breaks = sum(map(before.count, _LINE_BREAKS)) - before.count("\r\n")
    start = 1 + max(map(before.rfind, _LINE_BREAKS))
    return breaks + 1, len(before) - start + 1


def _syntax_text(error: yaml.MarkedYAMLError, text: str, mark: Any) -> str:
    """The parser's message, in words for people who do not know its grammar."""
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
