"""YAML to nodes: what was typed stays, everything has its place, nothing costs too much."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.jobfile.yaml_document import (
    MAX_BYTES,
    ListNode,
    MappingNode,
    Node,
    ScalarNode,
    YamlDocument,
    parse,
)

LOADERS = [pytest.param(yaml.SafeLoader, id="python")] + [
    pytest.param(loader, id="libyaml") for loader in [getattr(yaml, "CSafeLoader", None)] if loader
]


def plain(node: Node | None) -> object:
    """Nodes as plain data, without places."""
    if node is None or isinstance(node, ScalarNode):
        return None if node is None or node.nothing else node.text
    if isinstance(node, ListNode):
        return [plain(item) for item in node.items]
    return {key: plain(entry.value) for key, entry in node.entries.items()}


def texts(document: YamlDocument) -> list[str]:
    return [str(error) for error in document.errors]


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize(
    "text", ["0123", "12:30", "no", "yes", "true", "1_000", "1e3", "0x10", ".inf", "2026-11-20", "=", "0o7"]
)
def test_a_plain_scalar_is_the_text_that_was_typed(text: str, loader: object) -> None:
    """Nothing of YAML's types is ever constructed."""
    assert plain(parse(f"- {text}".encode(), file="f", loader=loader).root) == [text]


@pytest.mark.parametrize("loader", LOADERS)
def test_only_an_unquoted_nothing_is_nothing(loader: object) -> None:
    """An empty value, `~` and `null` are nothing; in quotes they are texts."""
    root = parse(b"[~, null, Null, 'null', \"~\", '', {a: }]", file="f", loader=loader).root
    assert plain(root) == [None, None, None, "null", "~", "", {"a": None}]


@pytest.mark.parametrize("loader", LOADERS)
def test_every_node_knows_its_line_and_column(loader: object) -> None:
    """Lines and columns count from 1, in characters."""
    root = parse("ä: ö\nb:\n  - {c: 'd'}\n".encode(), file="f", loader=loader).root
    assert isinstance(root, MappingNode)
    key, value = root.entries["ä"]
    assert (key.line, key.column, value.line, value.column) == (1, 1, 1, 4)
    inner = root.entries["b"].value
    assert isinstance(inner, ListNode)
    assert (inner.items[0].line, inner.items[0].column) == (3, 5)


def test_an_alias_repeats_its_node() -> None:
    """An anchor's value can be used again."""
    assert plain(parse(b"a: &x [1, {b: 2}]\nc: *x\n", file="f").root) == {
        "a": ["1", {"b": "2"}],
        "c": ["1", {"b": "2"}],
    }


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"a: 1\na: 2\n", "f:2:1: error: `a` is written twice, first in line 1: delete one"),
        (
            b"\xef\xbb\xbfa: \x01",
            "f:1:4: error: the control character U+0001 is not allowed in a file: delete it",
        ),
        (
            "ä: ü\r\nb: ".encode() + b"\xff",
            "f:2:4: error: the byte 0xff is not UTF-8: save the file as UTF-8",
        ),
        (b"a: !!str b", "f:1:4: error: a YAML tag (`!…`): tags are not read, delete it"),
        (b"*a : b", "f:1:1: error: the alias `*` has no anchor above: 'a'"),
        (b"- &a b\n- {*a : c}", "f:2:4: error: a key has to be a word, not an alias"),
        (b"x" * (MAX_BYTES + 1), "f:1:1: error: the file is larger than 4 MiB: split it"),
        (b"", "f:1:1: error: the file is empty: `tesnap init` writes one to start from"),
        (b"~", "f:1:1: error: the file is empty: `tesnap init` writes one to start from"),
    ],
)
@pytest.mark.parametrize("loader", LOADERS)
def test_what_is_wrong_is_said_with_its_place(content: bytes, error: str, loader: object) -> None:
    """Both parsers lead to the same words."""
    assert texts(parse(content, file="f", loader=loader)) == [error]


@pytest.mark.parametrize("loader", LOADERS)
def test_aliases_count_towards_the_depth(loader: object) -> None:
    """A chain of anchors cannot nest deeper than brackets may."""
    lines = ["a0: &a0 [x]"] + [f"a{i}: &a{i} [*a{i - 1}]" for i in range(1, 40)]
    assert "nested more than 32 levels" in texts(parse("\n".join(lines).encode(), file="f", loader=loader))[0]


class BoundedLoader(yaml.SafeLoader):
    """As libyaml since PyYAML 6.0.4: looks ahead, and refuses a depth of its own before anything is read."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def get_event(self) -> object:
        if self.text.count("[") > 1000:
            at = [place for place, char in enumerate(self.text) if char == "["][1000]
            mark = yaml.Mark("f", at, 0, at, self.text, at)
            raise yaml.scanner.ScannerError(
                "while increasing flow level", mark, "exceeded maximum nesting depth", mark
            )
        return super().get_event()  # type: ignore[no-untyped-call]  # PyYAML has no types for it


@pytest.mark.parametrize(
    "loader", [*LOADERS, pytest.param(BoundedLoader, id="libyaml of PyYAML 6.0.4, on any machine")]
)
@pytest.mark.parametrize("text", ["a: " + "[" * 1200, "a: " + "[" * 1200 + "]" * 1200 + "\nb: c"])
def test_too_deep_nesting_is_said_in_our_words(text: str, loader: object) -> None:
    """A parser that has a bound of its own, and looks ahead, does not overtake ours."""
    error = "f:1:35: error: nested more than 32 levels deep: no job file needs that"
    assert texts(parse(text.encode(), file="f", loader=loader)) == [error]


@pytest.mark.parametrize("loader", LOADERS)
def test_too_deep_blocks_are_said_in_our_words(loader: object) -> None:
    """Indentation nests as brackets do."""
    text = "- " * 1200 + "x"
    error = "f:1:65: error: nested more than 32 levels deep: no job file needs that"
    assert texts(parse(text.encode(), file="f", loader=loader)) == [error]


@settings(max_examples=150, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=200),
        st.text("ab:-[]{}&*!|>'\"%@#,?~ \n\t\\<0\ufeff\x85", max_size=80).map(str.encode),
    )
)
def test_any_bytes_are_nodes_or_errors(content: bytes) -> None:
    """No content raises, and no content gives neither."""
    for loader in (yaml.SafeLoader, None):
        document = parse(content, file="f", loader=loader)
        assert document.root is not None or document.errors
