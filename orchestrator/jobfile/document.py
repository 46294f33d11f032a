"""One job file while it is read: where everything stands in it, and all there is to say against it.

Errors never stop the reading: what is wrong is said and taken out, and what remains is checked on, so that
one look at a file finds everything that is wrong with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

from orchestrator.core import (
    Located,
    choice,
    holds_secret,
    is_plain,
    is_secret_key,
    looks_secret,
    nearest_word,
    quote,
    word,
)
from orchestrator.jobfile import schema, types, yaml_document
from orchestrator.jobfile.yaml_document import KeyedNode, ListNode, MappingNode, Node, ScalarNode

Path: TypeAlias = tuple[str | int, ...]
"""Where something stands: keys and list positions from the root."""

_SHOWN = 100  # errors of one file: nobody reads more before mending the first ones

_COLLECTED = 1000  # errors of one file after which the rest of it is not looked at

_SUGGESTED = 200  # errors of one file that come with a suggestion, which takes time to find

_ROUNDS = 3  # how often what is wrong is taken out before the rest is left unread

_FILL = re.compile(r"\$(?:\$|\{([A-Za-z_][A-Za-z0-9_]*)\}|\{[^}]*\}?)")

_NAMED = frozenset({("organizations",), ("windows",)})  # mappings whose keys are the user's own names

_NOT_HERE = (
    "a secret does not belong into a job file: put the API token into a file or a variable and write"
    " `token_file` or `token_env`"
)

_ONE_OF_THEM = "this looks like a token, and no job file may hold one: take it out, even if it is none"

_OWN: Path = ("x-",)
"""What stands for any place under a key of the user's own; `_below` any other one for any place below it."""


class Enough(Exception):
    """So much is wrong with a file that nobody wants to know the rest."""


class Draft:
    """One file's nodes, with the errors and warnings found so far."""

    def __init__(self, content: bytes, *, file: str, environ: Mapping[str, str]) -> None:
        document = yaml_document.parse(content, file=file)
        self.file = file
        self.errors = list(document.errors)
        self.warnings: list[Located] = []
        self.filled: set[int] = set()
        self._environ = environ
        self._full = False
        self._root = _without_own_keys(document.root)
        self._said: set[Located] = set(self.errors)
        if document.root is not None:
            self._find_secrets((), document.root, set())

    def entry(self) -> schema.FileEntry | None:
        """The file's content as far as it is right, every error of its grammar said; None when nothing is."""
        for round_number in range(_ROUNDS):
            if self._root is None:
                return None
            unfilled: list[Path] = []
            data = self._data(self._root, (), unfilled)
            try:
                entry = schema.FileEntry.model_validate(data)
            except schema.ValidationError as error:
                found = error.errors(include_url=False, include_context=True, include_input=False)
            else:
                found = []
            if round_number == 0:
                self._say(found, frozenset(unfilled))
            wrong = unfilled + [_untagged(issue["loc"]) for issue in found]
            if not wrong:
                return entry
            if len(found) >= types.TOO_MANY:
                self._full = True
                return None
            self._root = _pruned(self._root, _tree(wrong))
        return None

    def error(self, path: Path, text: str, *, key: bool = False) -> None:
        """Say an error at the value at this path, or at its key."""
        self._add(Located(self.file, *self.place(path, key=key), text))

    def warn(self, path: Path, text: str) -> None:
        """Say a warning."""
        self.warnings.append(Located(self.file, *self.place(path), text, "warning"))

    def place(self, path: Path, *, key: bool = False) -> tuple[int, int]:
        """Line and column of the value, or key, at this path, or of the nearest thing around it."""
        found = self._root
        for entry, node in _walk(self._root, path):
            found = entry.key if key and entry is not None else node
        return (found.line, found.column) if found is not None else (1, 1)

    def located(self, path: Path) -> str:
        """`file:line:column` of the value at this path."""
        line, column = self.place(path)
        return f"{self.file}:{line}:{column}"

    def quoted(self, path: Path) -> str:
        """What stands at this path, as an error may show it."""
        node = self._at(path)
        if any(isinstance(part, str) and is_secret_key(part) for part in path):
            return "a value that is not shown"
        if isinstance(node, ScalarNode):
            return "nothing" if node.nothing else quote(node.text)
        return "a list" if isinstance(node, ListNode) else "a mapping"

    def has(self, path: Path) -> bool:
        """Whether the key was written, even if what it held was wrong."""
        parent, key = self._at(path[:-1]), path[-1]
        return isinstance(parent, MappingNode) and (key in parent.entries or key in parent.lost)

    def meant(self, path: Path) -> bool:
        """Whether the key was written, perhaps misspelt."""
        parent, known = self._at(path[:-1]), schema.keys_at(path[:-1])
        written = {*parent.entries, *parent.lost} if isinstance(parent, MappingNode) else ()
        return any(
            key == path[-1] or (key not in known and nearest_word(key, known) == path[-1]) for key in written
        )

    def lost(self, path: Path) -> bool:
        """Whether the value, or part of the list, at this path was wrong and has been taken out."""
        parent, node = self._at(path[:-1]), self._at(path)
        if isinstance(parent, MappingNode) and path[-1] in parent.lost:
            return True
        return isinstance(node, ListNode) and node.lost

    def lost_keys(self, path: Path) -> frozenset[str]:
        """The keys of the mapping at this path that were taken out."""
        node = self._at(path)
        return node.lost if isinstance(node, MappingNode) else frozenset()

    def from_environment(self, path: Path) -> bool:
        """Whether anything at or below this path was filled in from a variable."""
        node = self._at(path)
        return node is not None and any(id(scalar) in self.filled for scalar in _scalars(node))

    def nearest(self, text: str, known: Any) -> str:
        """A hint at the known word that was meant, empty when there is none, or too much else is wrong."""
        near = nearest_word(text, known) if len(self.errors) < _SUGGESTED else None
        return f": did you mean {word(near)}?" if near else ""

    def shown_errors(self) -> tuple[Located, ...]:
        """The errors in the order of the file, and the number of those that are too many to show."""
        ordered = sorted(self.errors)
        more = len(ordered) - _SHOWN
        if more <= 0:
            return tuple(ordered)
        last = ordered[_SHOWN - 1]
        number = f"more than {more}" if self._full else more
        return (*ordered[:_SHOWN], replace(last, text=f"and {number} more errors in this file"))

    def _add(self, error: Located) -> None:
        if error not in self._said:
            self._said.add(error)
            self.errors.append(error)
            if len(self.errors) > _COLLECTED:
                self._full = True
                raise Enough

    def _at(self, path: Path) -> Node | None:
        """The node at this path."""
        nodes = [self._root, *(node for _, node in _walk(self._root, path))]
        # A text stands for a list of one, or for a mapping with an id, in the grammar: it has no parts.
        return nodes[-1] if len(nodes) == len(path) + 1 or isinstance(nodes[-1], ScalarNode) else None

    def _data(self, node: Node, path: Path, wrong: list[Path]) -> Any:
        """Plain data with variables filled in; where a value or a variable is missing, it says so."""
        if isinstance(node, ScalarNode):
            if node.nothing and path[:-1] != ("organizations",):
                self._say_nothing(path)
                wrong.append(path)
            return None if node.nothing else self._fill(node, path, wrong)
        if isinstance(node, ListNode):
            return [self._data(item, (*path, at), wrong) for at, item in enumerate(node.items)]
        return {key: self._data(entry.value, (*path, key), wrong) for key, entry in node.entries.items()}

    def _say_nothing(self, path: Path) -> None:
        if isinstance(path[-1], str):
            self.error(path, f"{word(path[-1])} has no value: write one, or leave the key out", key=True)
        else:
            self.error(path, "an entry of the list has no value: write one, or leave the entry out")

    def _fill(self, node: ScalarNode, path: Path, wrong: list[Path]) -> str:
        """The text with each `${NAME}` replaced by the variable's value, and `$$` by `$`."""
        if "$" not in node.text:
            return node.text

        def value(match: re.Match[str]) -> str:
            if match[0] == "$$":
                return "$"
            self.filled.add(id(node))
            trouble = self._trouble(match)
            if trouble is None:
                return self._environ[match[1]]
            self.error(path, trouble)
            wrong.append(path)
            return ""

        return _FILL.sub(value, node.text)

    def _trouble(self, match: re.Match[str]) -> str | None:
        """Why the variable cannot be filled in, None when it can."""
        name = match[1]
        if name is None:
            return f"{quote(match[0])} is no variable: write ${{NAME}}, or $$ for a $ itself"
        if name not in self._environ:
            return f"the variable {name} is not set: set it, or write $$ for a $ itself"
        if not is_plain(self._environ[name]):
            return f"the variable {name} has characters that are not printable"
        return None

    def _find_secrets(self, path: Path, node: Node, seen: set[int]) -> None:
        """Say an error at each key that asks for a secret itself, and at what is one under the user's own keys."""
        if id(node) in seen:
            return
        seen.add(id(node))
        if isinstance(node, ScalarNode):
            if path == _OWN and holds_secret(node.text):
                self._add(Located(self.file, node.line, node.column, _ONE_OF_THEM))
        elif isinstance(node, ListNode):
            for item in node.items:
                self._find_secrets(_below(path), item, seen)
        elif isinstance(node, MappingNode):
            for key, (written, value) in node.entries.items():
                if path not in _NAMED and is_secret_key(key):
                    self._add(Located(self.file, written.line, written.column, f"{word(key)}: {_NOT_HERE}"))
                    seen.add(id(value))
                own = path == () and key.startswith("x-")
                self._find_secrets(_OWN if own else (key,) if path == () else _below(path), value, seen)

    def _say(self, found: list[Any], unfilled: frozenset[Path]) -> None:
        """Put the grammar's errors into words."""
        for issue in found:
            path = _untagged(issue["loc"])
            if issue["type"] == "missing":
                if not self.meant(path):
                    self.error(path[:-1], f"{word(str(path[-1]))} is missing")
            elif issue["type"] == "extra_forbidden":
                if not is_secret_key(str(path[-1])):
                    self.error(path, self._unknown_key(path), key=True)
            elif any(path[:length] in unfilled for length in range(1, len(path) + 1)):
                pass  # has been said: the value is not there
            elif "[key]" in issue["loc"]:
                self.error(path, f"{word(str(path[-1]))}: {_expected(issue)}", key=True)
            else:
                self.error(path, self._wrong_value(path, issue))

    def _unknown_key(self, path: Path) -> str:
        key, known = str(path[-1]), schema.keys_at(path[:-1])
        hint = self.nearest(key, known) or f": the keys here are {choice(known, last='and')}"
        return f"unknown key {word(key)}{hint}"

    def _wrong_value(self, path: Path, issue: Any) -> str:
        """What is wrong with a value, after the name of the key that it belongs to."""
        written = path[: len(list(_walk(self._root, path)))]
        keys = [part for part in written if isinstance(part, str)]
        about = f"{word(keys[-1])}: " if keys else ""
        if issue["type"] == types.SENTENCE:
            if self.from_environment(path) or any(map(is_secret_key, keys)):
                return f"{about}{self.quoted(path)} is not right as filled in from the environment"
            return about + str(issue["ctx"]["text"])
        return f"{about}{_expected(issue)}, not {self.quoted(path)}{self._near_choice(path, issue)}"

    def _near_choice(self, path: Path, issue: Any) -> str:
        node = self._at(path)
        if (
            not isinstance(node, ScalarNode)
            or issue["type"] not in ("enum", "literal_error")
            or looks_secret(node.text)
        ):
            return ""
        return self.nearest(node.text, _choices(issue))


def _expected(issue: Any) -> str:
    """What the grammar wants instead."""
    kind = issue["type"]
    if kind in (types.PHRASE, types.SENTENCE):
        return str(issue["ctx"]["text"])
    if kind in ("enum", "literal_error"):
        return f"write {choice(_choices(issue))}"
    if kind in ("list_type", "tuple_type"):
        return "write a list, `[…]`"
    if kind in ("dict_type", "model_type", "model_attributes_type"):
        return "write a mapping, `key: value`"
    return "write a text"


def _choices(issue: Any) -> list[str]:
    return re.findall(r"'([^']*)'", str(issue["ctx"]["expected"]))


def _untagged(path: tuple[str | int, ...]) -> Path:
    """An error's path without the names that the grammar gives to alternatives."""
    return tuple(part for part in path if part not in ("<text>", "<mapping>", "[key]"))


def _walk(root: Node | None, path: Path) -> Iterator[tuple[KeyedNode | None, Node]]:
    """The nodes along the path, with the mapping's entry for each, as far as there are any."""
    node = root
    for part in path:
        if isinstance(node, MappingNode) and part in node.entries:
            entry = node.entries[str(part)]
            node = entry.value
            yield entry, node
        elif isinstance(node, ListNode) and isinstance(part, int) and part < len(node.items):
            node = node.items[part]
            yield None, node
        else:
            return


def _below(path: Path) -> Path:
    return path if path == _OWN else ("",)


def _scalars(node: Node) -> Iterator[ScalarNode]:
    """All texts at or below the node."""
    if isinstance(node, ScalarNode):
        yield node
    elif isinstance(node, ListNode):
        for item in node.items:
            yield from _scalars(item)
    else:
        for entry in node.entries.values():
            yield from _scalars(entry.value)


def _without_own_keys(root: Node | None) -> Node | None:
    """The root without the keys that start with `x-`, which are the user's own."""
    if not isinstance(root, MappingNode):
        return root
    kept = {key: entry for key, entry in root.entries.items() if not key.startswith("x-")}
    return root._replace(entries=kept)


_Tree: TypeAlias = "dict[str | int, _Tree]"


def _tree(paths: Iterable[Path]) -> _Tree:
    """The paths as nested mappings by their parts."""
    tree: _Tree = {}
    for path in paths:
        branch = tree
        for part in path:
            branch = branch.setdefault(part, {})
    return tree


def _pruned(node: Node, wrong: _Tree) -> Node | None:
    """The node without what is wrong below it: None when that is the node itself."""
    if isinstance(node, MappingNode) and wrong and all(part in node.entries for part in wrong):
        kept, lost = {}, set(node.lost)
        for key, entry in node.entries.items():
            value = _pruned(entry.value, wrong[key]) if key in wrong else entry.value
            if value is None:
                lost.add(key)
            else:
                kept[key] = KeyedNode(entry.key, value)
        return node._replace(entries=kept, lost=frozenset(lost))
    if isinstance(node, ListNode) and wrong and all(isinstance(part, int) for part in wrong):
        values = [_pruned(item, wrong[at]) if at in wrong else item for at, item in enumerate(node.items)]
        return node._replace(
            items=tuple(item for item in values if item is not None), lost=node.lost or None in values
        )
    return None
