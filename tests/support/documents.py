"""The command lines that the documents show, read as a Markdown renderer and a shell read them."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

COMMAND = "tesnap"

AdhocRequest = tuple[str, ...]


def code_of(path: Path) -> tuple[list[str], list[str]]:
    """The lines of a document's code blocks, and the pieces of code within its sentences and tables."""
    tokens = MarkdownIt("commonmark").enable("table").parse(path.read_text(encoding="utf-8"))
    blocks = [token.content for token in tokens if token.type in ("code_block", "fence")]
    return "\n".join(blocks).splitlines(), list(_inline(tokens))


def _inline(tokens: Iterable[Token]) -> Iterator[str]:
    for token in tokens:
        yield from (child.content for child in token.children or () if child.type == "code_inline")


def pipelines(lines: Iterable[str]) -> list[list[AdhocRequest]]:
    """The commands of each line that starts `tesnap`, without its comment and where its output goes."""
    bare = (line.strip().removeprefix("$ ") for line in lines)
    return [_pipeline(line) for line in bare if line.partition(" ")[0] == COMMAND]


def _pipeline(line: str) -> list[AdhocRequest]:
    words = shlex.shlex(line, posix=True, punctuation_chars="|>")
    words.whitespace_split = True
    commands: list[list[str]] = [[]]
    for word in words:
        if word == ">":
            break
        if word == "|":
            commands.append([])
        else:
            commands[-1].append(word)
    return [tuple(command[1:]) for command in commands if command[0] == COMMAND]
