"""One job file while it is read: where everything stands in it, and all there is to say against it.

Errors never stop the reading: what is wrong is said and taken out, and what remains is checked on, so that
one look at a file finds everything that is wrong with it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from typing import TypeAlias

from orchestrator.core import Located, is_secret_key, nearest_word, quote, word
from orchestrator.jobfile.kinds import Path
from orchestrator.jobfile.schema import keys_at
from orchestrator.jobfile.yaml_document import KeyedNode, ListNode, MappingNode, Node, ScalarNode, parse

_SHOWN = 100  # errors of one file: nobody reads more before mending the first ones

_COLLECTED = 1000  # errors of one file after which the rest of it is not looked at

_SUGGESTED = 200  # errors of one file that come with a suggestion, which takes time to find


class StopReading(Exception):
    """So much is wrong with a file that nobody wants to know the rest."""


class Document:
    """One file's nodes, with the errors and warnings found so far."""

    def __init__(self, content: bytes, *, file: str) -> None:
        document = parse(content, file=file)
        self.file = file
        self.warnings: list[Located] = []
        self.filled: set[int] = set()
        """Identities of the texts that have a variable in them."""
        self.whole = document.root
        """The root with the user's own keys, which start with `x-`; `root` is without them and what is wrong."""
        self.root = _without_own_keys(document.root)
        self._errors = dict.fromkeys(document.errors)
        self._incomplete = False

    def error(self, path: Path, text: str, *, key: bool = False) -> None:
        """Say an error at the value at this path, or at its key."""
        self.error_at(*self.place(path, key=key), text)

    def error_at(self, line: int, column: int, text: str) -> None:
        """Say an error at this place, once; StopReading when there are too many."""
        self._errors[Located(self.file, line, column, text)] = None
        if len(self._errors) > _COLLECTED:
            self.give_up()

    def warn(self, path: Path, text: str) -> None:
        """Say a warning."""
        self.warnings.append(Located(self.file, *self.place(path), text, "warning"))

    def give_up(self) -> None:
        """Leave the rest unread, which may have more errors."""
        self._incomplete = True
        raise StopReading

    def shown_errors(self) -> tuple[Located, ...]:
        """The errors in the order of the file, and the number of those that are too many to show."""
        ordered = sorted(self._errors)
        more = len(ordered) - _SHOWN
        if more <= 0:
            return tuple(ordered)
        last = ordered[_SHOWN - 1]
        number = f"more than {more}" if self._incomplete else more
        return (*ordered[:_SHOWN], replace(last, text=f"and {number} more errors in this file"))

    def place(self, path: Path, *, key: bool = False) -> tuple[int, int]:
        """Line and column of the value, or key, at this path, or of the nearest thing around it."""
        found = self.root
        for entry, node in _walk(self.root, path):
            found = entry.key if key and entry is not None else node
        return (found.line, found.column) if found is not None else (1, 1)

    def locate(self, path: Path) -> str:
        """`file:line:column` of the value at this path."""
        line, column = self.place(path)
        return f"{self.file}:{line}:{column}"

    def existing_part(self, path: Path) -> Path:
        """The path as far as the file goes along it."""
        return path[: len(list(_walk(self.root, path)))]

    def node(self, path: Path) -> Node | None:
        """The node at this path."""
        nodes = [self.root, *(node for _, node in _walk(self.root, path))]
        # A text stands for a list of one, or for a mapping with an id, in the grammar: it has no parts.
        return nodes[-1] if len(nodes) == len(path) + 1 or isinstance(nodes[-1], ScalarNode) else None

    def quote_value(self, path: Path) -> str:
        """The value at this path, as an error may show it."""
        node = self.node(path)
        if any(isinstance(part, str) and is_secret_key(part) for part in path):
            return "a value that is not shown"
        if isinstance(node, ScalarNode):
            return "nothing" if node.nothing else quote(node.text)
        return "a list" if isinstance(node, ListNode) else "a mapping"

    def has(self, path: Path) -> bool:
        """True if the key was written, even if what it held was wrong."""
        return path[-1] in self._written_keys(path[:-1])

    def means(self, path: Path) -> bool:
        """True if the key was written, perhaps misspelt."""
        known = keys_at(path[:-1])
        return any(
            key == path[-1] or (key not in known and nearest_word(key, known) == path[-1])
            for key in self._written_keys(path[:-1])
        )

    def is_lost(self, path: Path) -> bool:
        """True if the value, or part of the list, at this path was wrong and has been taken out."""
        node = self.node(path)
        return path[-1] in self.lost_keys(path[:-1]) or (isinstance(node, ListNode) and node.lost)

    def lost_keys(self, path: Path) -> frozenset[str]:
        """The keys of the mapping at this path that were taken out."""
        node = self.node(path)
        return node.lost if isinstance(node, MappingNode) else frozenset()

    def take_out(self, paths: Iterable[Path]) -> None:
        """Go on without what stands at these paths."""
        if self.root is not None:
            self.root = _prune(self.root, _tree(paths))

    def from_environment(self, path: Path) -> bool:
        """True if anything at or below this path was filled in from a variable."""
        node = self.node(path)
        return node is not None and any(id(scalar) in self.filled for scalar in _scalars(node))

    def nearest(self, text: str, known: Iterable[str]) -> str:
        """A hint at the known word that was meant, empty when there is none, or too much else is wrong."""
        near = nearest_word(text, known) if len(self._errors) < _SUGGESTED else None
        return f": did you mean {word(near)}?" if near else ""

    def _written_keys(self, path: Path) -> frozenset[str]:
        node = self.node(path)
        return node.lost.union(node.entries) if isinstance(node, MappingNode) else frozenset()


def written_values(document: Document, *, without: Collection[str]) -> Iterator[tuple[Path, str]]:
    """The path and the text of each value as it was written, but those below some keys of the top."""
    if isinstance(document.root, MappingNode):
        for key, entry in document.root.entries.items():
            if key not in without:
                yield from _values_below(entry.value, (key,))


def _values_below(node: Node, path: Path) -> Iterator[tuple[Path, str]]:
    if isinstance(node, ScalarNode):
        yield path, "" if node.nothing else node.text
    elif isinstance(node, MappingNode):
        for key, entry in node.entries.items():
            yield from _values_below(entry.value, (*path, key))
    elif isinstance(node, ListNode):
        for at, item in enumerate(node.items):
            yield from _values_below(item, (*path, at))


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


def _scalars(node: Node) -> Iterator[ScalarNode]:
    """All texts at or below the node."""
    if isinstance(node, ScalarNode):
        yield node
        return
    inner = node.items if isinstance(node, ListNode) else [entry.value for entry in node.entries.values()]
    for one in inner:
        yield from _scalars(one)


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


def _prune(node: Node, wrong: _Tree) -> Node | None:
    """The node without what is wrong below it: None when that is the node itself."""
    if isinstance(node, MappingNode) and wrong and all(part in node.entries for part in wrong):
        values = {key: _prune(node.entries[str(key)].value, below) for key, below in wrong.items()}
        lost = {str(key) for key, value in values.items() if value is None}
        kept = {
            key: KeyedNode(entry.key, values.get(key) or entry.value)
            for key, entry in node.entries.items()
            if key not in lost
        }
        return node._replace(entries=kept, lost=node.lost | lost)
    if isinstance(node, ListNode) and wrong and all(isinstance(part, int) for part in wrong):
        items = [_prune(item, wrong[at]) if at in wrong else item for at, item in enumerate(node.items)]
        kept_items = tuple(item for item in items if item is not None)
        return node._replace(items=kept_items, lost=node.lost or None in items)
    return None
