"""The kinds of values that a job file has: how each is read, what is wrong with it, and its JSON Schema.

What comes is as YAML left it: texts, lists and mappings (see `orchestrator.jobfile.yaml_document`). An error never
stops the reading, so that one pass finds everything that is wrong.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from itertools import islice
from typing import Any, ClassVar, Final, NamedTuple, Self, TypeAlias

from orchestrator.core import choice

Path: TypeAlias = tuple[str | int, ...]
"""Where something stands: keys and list positions from the root."""

Schema: TypeAlias = dict[str, Any]
"""A JSON Schema, or a part of one."""

PHRASE: Final = "phrase"
"""Form of an issue whose text goes on with what was written: `digits only, not 'x'`."""

SENTENCE: Final = "sentence"
"""Form of an issue whose text is complete, and may itself quote what was written."""

MISSING: Final = "missing"
"""Form of an issue about a key that has to be there."""

UNKNOWN: Final = "unknown"
"""Form of an issue about a key that nobody knows."""

TOO_MANY = 1000
"""Issues of a list or mapping after which the rest of it is not read: they would cost more memory than the file."""


class Wrong(ValueError):
    """A value that is not as it has to be: a phrase or a sentence about it, and the words of which it had to be one."""

    def __init__(self, form: str, text: str, choices: tuple[str, ...] = ()) -> None:
        super().__init__(text)
        self.form, self.text, self.choices = form, text, choices


class Issue(NamedTuple):
    """An error at a place of the file: at the value there, or at its key."""

    path: Path
    form: str
    text: str = ""
    choices: tuple[str, ...] = ()
    at_key: bool = False


def phrase(text: str) -> Wrong:
    """The error whose text goes on with what was written."""
    return Wrong(PHRASE, text)


def sentence(text: str) -> Wrong:
    """The error whose text is complete."""
    return Wrong(SENTENCE, text)


class Kind(ABC):
    """A kind of value. `entry` is the mapping with known keys that such a value is or holds."""

    entry: type[Entry] | None = None

    @abstractmethod
    def read(self, value: Any, path: Path, issues: list[Issue]) -> Any:
        """The value at this path as the program has it; what is wrong with it is added to the issues."""

    @abstractmethod
    def schema(self, defined: dict[str, Schema]) -> Schema:
        """The JSON Schema, what is referred to being added to the definitions."""


class Scalar(Kind):
    """A text and what is read from it; `read` raises `Wrong`."""

    def __init__(self, read: Callable[[Any], Any], schema: Schema) -> None:
        self._read, self._schema = read, schema

    def read(self, value: Any, path: Path, issues: list[Issue], *, at_key: bool = False) -> Any:
        try:
            return self._read(value)
        except Wrong as wrong:
            issues.append(Issue(path, wrong.form, wrong.text, wrong.choices, at_key))
            return None

    def schema(self, defined: dict[str, Schema]) -> Schema:  # noqa: ARG002 - refers to nothing
        return self._schema


class Words(Scalar):
    """One of some words."""

    def __init__(self, *words: str) -> None:
        self._words = words
        super().__init__(self._find, {"type": "string", "enum": [*words]})

    def _find(self, value: Any) -> str:
        if value not in self._words:
            raise Wrong(PHRASE, f"write {choice(self._words)}", self._words)
        return str(value)


class OneOf(Words):
    """The members of an enumeration, by their words."""

    def __init__(self, members: type[StrEnum]) -> None:
        super().__init__(*members)
        self._members = members

    def _find(self, value: Any) -> StrEnum:
        return self._members(super()._find(value))

    def schema(self, defined: dict[str, Schema]) -> Schema:
        words = super().schema(defined)
        defined[self._members.__name__] = {**words, "description": inspect.getdoc(self._members)}
        return _reference(self._members)


class Many(Kind):
    """A list of values of one kind, as a tuple."""

    def __init__(self, item: Kind) -> None:
        self._item, self.entry = item, item.entry

    def read(self, value: Any, path: Path, issues: list[Issue]) -> Any:
        if not isinstance(value, list):
            issues.append(Issue(path, PHRASE, "write a list, `[…]`"))
            return ()
        return tuple(self._read_items(value, path, issues))

    def _read_items(self, value: list[Any], path: Path, issues: list[Issue]) -> Iterator[Any]:
        most = len(issues) + TOO_MANY
        for at, item in enumerate(value):
            if len(issues) >= most:
                return
            yield self._item.read(item, (*path, at), issues)

    def schema(self, defined: dict[str, Schema]) -> Schema:
        return {"type": "array", "items": self._item.schema(defined)}


class OneOrMany(Many):
    """One value, or a list of them: both become a tuple."""

    def read(self, value: Any, path: Path, issues: list[Issue]) -> Any:
        return super().read(value if isinstance(value, list) else [value], path, issues)

    def schema(self, defined: dict[str, Schema]) -> Schema:
        several = super().schema(defined)
        return {"anyOf": [several["items"], several]}


class Named(Kind):
    """A mapping of the user's own names to values; one that is left empty is None."""

    def __init__(self, name: Scalar, value: Kind, *, may_be_empty: bool = False) -> None:
        self._name, self._value, self._may_be_empty = name, value, may_be_empty
        self.entry = value.entry

    def read(self, value: Any, path: Path, issues: list[Issue]) -> Any:
        if not isinstance(value, dict):
            issues.append(_no_mapping(path))
            return {}
        return dict(self._read_items(value, path, issues))

    def _read_items(self, value: Mapping[str, Any], path: Path, issues: list[Issue]) -> Iterator[Any]:
        most = len(issues) + TOO_MANY
        for name, one in value.items():
            if len(issues) >= most:
                return
            where = (*path, name)
            self._name.read(name, where, issues, at_key=True)
            yield name, None if one is None else self._value.read(one, where, issues)

    def schema(self, defined: dict[str, Schema]) -> Schema:
        value = self._value.schema(defined)
        if self._may_be_empty:
            value = {"anyOf": [value, {"type": "null"}]}
        return {"type": "object", "propertyNames": {"minLength": 1}, "additionalProperties": value}


class Key(NamedTuple):
    """A key of an entry: what it holds, and a sentence about it."""

    kind: Kind
    about: str
    required: bool = False


def key(kind: Kind, about: str, *, required: bool = False) -> Any:
    """A key of an entry, declared as an attribute of the type that its value has."""
    return Key(kind, about, required)


class Entry:
    """A mapping whose keys are all known; an attribute is None where its key was left out."""

    keys: ClassVar[dict[str, Key]] = {}

    def __init_subclass__(cls) -> None:
        cls.keys = {name: found for name, found in vars(cls).items() if isinstance(found, Key)}
        for name in cls.keys:
            setattr(cls, name, None)

    def __init__(self, values: Mapping[str, Any] | None = None) -> None:
        self.__dict__.update(values or {})

    def written(self) -> dict[str, Any]:
        """The keys that were written, with their values."""
        return dict(self.__dict__)

    @classmethod
    def read(cls, value: Mapping[str, Any], path: Path, issues: list[Issue]) -> Self:
        """The entry of this mapping, as far as it is right; of unknown keys a thousand stand for all."""
        values = {}
        for name, known in cls.keys.items():
            if value.get(name) is not None:
                values[name] = known.kind.read(value[name], (*path, name), issues)
            elif known.required and name not in value:
                issues.append(Issue((*path, name), MISSING))
        unknown = islice((name for name in value if name not in cls.keys), TOO_MANY)
        issues += [Issue((*path, name), UNKNOWN, at_key=True) for name in unknown]
        return cls(values)

    @classmethod
    def schema(cls, defined: dict[str, Schema]) -> Schema:
        """The JSON Schema of the mapping itself."""
        properties = {
            name: {**known.kind.schema(defined), "description": known.about}
            for name, known in cls.keys.items()
        }
        required = [name for name, known in cls.keys.items() if known.required]
        return {
            "type": "object",
            "description": inspect.getdoc(cls),
            "properties": properties,
            "additionalProperties": False,
            **({"required": required} if required else {}),
        }


class Keyed(Kind):
    """A mapping with the keys of an entry."""

    def __init__(self, entry: type[Entry]) -> None:
        self._type = self.entry = entry

    def read(self, value: Any, path: Path, issues: list[Issue]) -> Any:
        if not isinstance(value, dict):
            issues.append(_no_mapping(path))
            return None
        return self._type.read(value, path, issues)

    def schema(self, defined: dict[str, Schema]) -> Schema:
        defined[self._type.__name__] = self._type.schema(defined)
        return _reference(self._type)


def _reference(named: type) -> Schema:
    return {"$ref": f"#/$defs/{named.__name__}"}


def _no_mapping(path: Path) -> Issue:
    return Issue(path, PHRASE, "write a mapping, `key: value`")
