"""The search for hidden secrets: all of them, at a cost that does not grow with their number."""

from __future__ import annotations

import random
import re
import string
import uuid
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.hidden import MASK, SHORTEST_SECRET, Hidden

RECORD = (
    '{"event": "snapshot.created", "time": "2026-11-20T14:01:42.500Z", "schema": 1, "run_id": "k7f2", '
    '"task": "0123456789abcdef", "organization": "acme", "test_id": "202701", "test_name": "Checkout EU", '
    '"snapshot_id": "8f3a5b1c-0d2e-4f6a-8b9c-0d1e2f3a4b5c", '
    '"link": "https://app.example.com/share/8f3a5b1c-0d2e-4f6a-8b9c-0d1e2f3a4b5c", "http_status": 201}\n'
)


def hidden(secrets: Sequence[str]) -> Hidden:
    """A set of these secrets."""
    made = Hidden()
    for secret in secrets:
        made.add(secret)
    return made


def masked_naively(text: str, secrets: Sequence[str]) -> str:
    """Each stretch in which secrets overlap as one mask, found by looking for each secret at each place."""
    found = sorted(
        (at, at + len(secret))
        for secret in secrets
        if len(secret) >= SHORTEST_SECRET
        for at in range(len(text))
        if text.startswith(secret, at)
    )
    joined: list[tuple[int, int]] = []
    for first, last in found:
        if joined and first < joined[-1][1]:
            joined[-1] = joined[-1][0], max(last, joined[-1][1])
        else:
            joined.append((first, last))
    for first, last in reversed(joined):
        text = text[:first] + MASK + text[last:]
    return text


ALPHABETS = ["ab", "01a-", string.ascii_letters + string.digits, "a b\"'\\\n", "é日a]^-\\"]
SECRETS = st.sampled_from(ALPHABETS).flatmap(lambda letters: st.text(letters, min_size=1, max_size=40))


@given(st.data())
def test_every_secret_is_found_wherever_it_stands(data: st.DataObject) -> None:
    """Within longer runs of its own characters, beside and over other secrets: as the naive search finds it."""
    secrets = data.draw(st.lists(SECRETS, max_size=5))
    parts = st.sampled_from(secrets) | SECRETS if secrets else SECRETS
    cut = parts.flatmap(lambda part: st.sampled_from([part, part[1:], part[:-1], part + part[-1:]]))
    text = "".join(data.draw(st.lists(parts | cut, max_size=8)))
    assert hidden(secrets).without(text) == masked_naively(text, secrets)


def test_a_secret_within_another_one_uncovers_nothing_of_it() -> None:
    """The mask reaches to the end of the longer one."""
    longer, within = "begins-0123456789-and-goes-on-to-its-end", "0123456789"
    assert hidden([longer, within]).without(f"a {longer} b") == f"a {MASK} b"


def test_a_text_costs_the_same_with_ten_secrets_and_with_ten_thousand() -> None:
    """Counted in places at which something is looked up, of which an ordinary line has next to none."""
    chance = random.Random(0)
    tokens = [str(uuid.UUID(int=chance.getrandbits(128))) for _ in range(10_000)]
    few, many = hidden(tokens[:10]), hidden(tokens)
    assert len(few.places(RECORD)) == len(many.places(RECORD)) <= 10
    assert many.without(RECORD) == RECORD
    assert many.without(f"x{tokens[-1]}y") == f"x{MASK}y"


def test_a_strange_secret_makes_no_sentence_dear() -> None:
    """One with spaces is looked for on its own: what may hold a token is looked at as before."""
    token, phrase = "0123456789abcdef" * 2, "a pass phrase of quite a few words in its time"
    secrets = hidden([token, phrase])
    sentence = "0123 4567 89 " * 20
    assert not hidden([token]).places(sentence)
    assert not secrets.places(sentence)
    assert secrets.without(f"by {phrase}, {token}") == f"by {MASK}, {MASK}"


def test_the_cost_of_a_text_grows_with_its_length_alone() -> None:
    """Even where every place may be the end of a secret."""
    secrets = hidden([f"{number:032x}" for number in range(500)])
    text = "0123456789abcdef" * 500
    assert len(secrets.places(text)) == len(text) - 31
    assert len(secrets.places(text * 2)) == len(text) * 2 - 31


def test_secrets_that_begin_alike_are_told_apart_by_their_ends() -> None:
    """Addresses of webhooks and JSON Web Tokens do: with many of them a link would be compared with each."""
    addresses = [f"https://hooks.example.com/services/T0001/B0001/{number:024x}" for number in range(1000)]
    secrets = hidden(addresses)
    compared = [text for shape in secrets._shapes.values() for text in shape._secrets.values()]
    assert max(map(len, compared)) == 1
    assert secrets.without(f"to {addresses[7]}: 404") == f"to {MASK}: 404"
    assert re.search("services", secrets.without(addresses[0][:-1]))
