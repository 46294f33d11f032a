"""A document becomes the entries that the schema describes, and every error of its grammar is put into words."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from orchestrator.core import choice, holds_secret, is_plain, is_secret_key, looks_secret, quote, word
from orchestrator.jobfile.document import Document
from orchestrator.jobfile.kinds import MISSING, SENTENCE, TOO_MANY, UNKNOWN, Issue, Keyed, Path
from orchestrator.jobfile.schema import FileEntry, keys_at
from orchestrator.jobfile.yaml_document import ListNode, MappingNode, Node, ScalarNode

_ROUNDS = 3  # how often what is wrong is taken out before the rest is left unread

_VARIABLE = re.compile(r"\$(?:\$|\{([A-Za-z_][A-Za-z0-9_]*)\}|\{[^}]*\}?)")

_NAMED = frozenset({"organizations", "windows"})  # mappings whose keys are the user's own names

_NOT_HERE = (
    "a secret does not belong in a job file: put the API token into a file or a variable and write"
    " `token_file` or `token_env`"
)

_ONE_OF_THEM = "this looks like a token, and no job file may hold one: take it out, even if it is not one"

_FILE = Keyed(FileEntry)


def read_entry(document: Document, environ: Mapping[str, str]) -> FileEntry | None:
    """The file's content as far as it is right, every error of its grammar said; None when nothing is."""
    for line, column, text in _secrets(document.whole, set()):
        document.error_at(line, column, text)
    for round_number in range(_ROUNDS):
        if document.root is None:
            return None
        values = _Values(document, environ)
        issues: list[Issue] = []
        entry: FileEntry | None = _FILE.read(values.read(document.root, ()), (), issues)
        if round_number == 0:
            _describe_issues(document, issues, frozenset(values.wrong))
        wrong = values.wrong + [issue.path for issue in issues]
        if not wrong:
            return entry
        if len(issues) >= TOO_MANY:
            document.give_up()
        document.take_out(wrong)
    return None


def _secrets(
    node: Node | None, seen: set[int], *, depth: int = 0, named: bool = False, own: bool = False
) -> Iterator[tuple[int, int, str]]:
    """Line, column and text for each key that asks for a secret itself, and each secret under the user's `own` keys."""
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, ScalarNode) and own and holds_secret(node.text):
        yield node.line, node.column, _ONE_OF_THEM
    if isinstance(node, ListNode):
        for item in node.items:
            yield from _secrets(item, seen, depth=depth + 1, own=own)
    if isinstance(node, MappingNode):
        for key, (written, value) in node.entries.items():
            if not named and is_secret_key(key):
                yield written.line, written.column, f"{word(key)}: {_NOT_HERE}"
                seen.add(id(value))
            below = own or (depth == 0 and key.startswith("x-"))
            yield from _secrets(value, seen, depth=depth + 1, named=depth == 0 and key in _NAMED, own=below)


class _Values:
    """Nodes as plain data, variables filled in; `wrong` are the paths where a value or a variable is missing."""

    def __init__(self, document: Document, environ: Mapping[str, str]) -> None:
        self._document, self._environ = document, environ
        self.wrong: list[Path] = []

    def read(self, node: Node, path: Path) -> Any:
        """The data at and below the node."""
        if isinstance(node, ListNode):
            return [self.read(item, (*path, at)) for at, item in enumerate(node.items)]
        if isinstance(node, MappingNode):
            return {key: self.read(entry.value, (*path, key)) for key, entry in node.entries.items()}
        if not node.nothing:
            return self._fill(node, path)
        if path[:-1] != ("organizations",):
            self._say_nothing(path)
        return None

    def _say_nothing(self, path: Path) -> None:
        text = (
            f"{word(path[-1])} has no value: write one, or leave the key out"
            if isinstance(path[-1], str)
            else "an entry of the list has no value: write one, or leave the entry out"
        )
        self._document.error(path, text, key=True)
        self.wrong.append(path)

    def _fill(self, node: ScalarNode, path: Path) -> str:
        """The text with each `${NAME}` replaced by the variable's value, and `$$` by `$`."""

        def value(match: re.Match[str]) -> str:
            if match[0] == "$$":
                return "$"
            self._document.filled.add(id(node))
            trouble = self._trouble(match)
            if trouble is None:
                return self._environ[match[1]]
            self._document.error(path, trouble)
            self.wrong.append(path)
            return ""

        return _VARIABLE.sub(value, node.text)

    def _trouble(self, match: re.Match[str]) -> str | None:
        """The reason why the variable cannot be filled in, None when it can."""
        name = match[1]
        if name is None:
            return f"{quote(match[0])} is not a variable: write ${{NAME}}, or $$ for a $ itself"
        if name not in self._environ:
            return f"the variable {name} is not set: set it, or write $$ for a $ itself"
        if not is_plain(self._environ[name]):
            return f"the variable {name} has characters that are not printable"
        return None


def _describe_issues(document: Document, issues: list[Issue], unfilled: frozenset[Path]) -> None:
    """Say what the schema has against the document."""
    for issue in issues:
        path = issue.path
        name = word(str(path[-1])) if path else ""
        if issue.form == MISSING:
            if not document.means(path):
                document.error(path[:-1], f"{name} is missing")
        elif issue.form == UNKNOWN:
            if not is_secret_key(str(path[-1])):  # which has been said
                document.error(path, _unknown_key(document, path), key=True)
        elif any(path[:length] in unfilled for length in range(1, len(path) + 1)):
            pass  # has been said: the value is not there
        elif issue.at_key:
            document.error(path, f"{name}: {issue.text}", key=True)
        else:
            document.error(path, _wrong_value(document, issue))


def _unknown_key(document: Document, path: Path) -> str:
    key, known = str(path[-1]), keys_at(path[:-1])
    hint = document.nearest(key, known) or f": the keys here are {choice(known, last='and')}"
    return f"unknown key {word(key)}{hint}"


def _wrong_value(document: Document, issue: Issue) -> str:
    """The error of a value, after the name of the key that it belongs to."""
    keys = [part for part in document.existing_part(issue.path) if isinstance(part, str)]
    about = f"{word(keys[-1])}: " if keys else ""
    quoted = document.quote_value(issue.path)
    if issue.form != SENTENCE:
        return f"{about}{issue.text}, not {quoted}{_near_choice(document, issue)}"
    if document.from_environment(issue.path) or any(map(is_secret_key, keys)):
        return f"{about}{quoted} is not valid with its variables filled in"
    return about + issue.text


def _near_choice(document: Document, issue: Issue) -> str:
    node = document.node(issue.path)
    if not issue.choices or not isinstance(node, ScalarNode) or looks_secret(node.text):
        return ""
    return document.nearest(node.text, issue.choices)
