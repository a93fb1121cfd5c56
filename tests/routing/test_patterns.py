"""Topic patterns and their trie."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import InvalidAddress
from actors.routing.patterns import Trie, pattern_of, words_of

WORD = st.sampled_from(["a", "b", "c"])
TOPIC = st.lists(WORD, min_size=1, max_size=4).map(".".join)
PATTERN = st.builds(
    lambda words, rest: ".".join([*words, *rest]),
    st.lists(st.sampled_from(["a", "b", "c", "*"]), min_size=1, max_size=4),
    st.sampled_from([[], ["**"]]),
)


def matches(pattern: str, topic: str) -> bool:
    """What the documentation says, by a regular expression."""
    text = re.escape(pattern).replace(r"\.\*\*", r"(\.[^.]+)*").replace(r"\*", "[^.]+")
    return re.fullmatch(text, topic) is not None


@given(st.lists(PATTERN, max_size=8), TOPIC)
def test_a_trie_matches_what_the_patterns_say(patterns: list[str], topic: str) -> None:
    trie: Trie[str] = Trie()
    for pattern in patterns:
        trie.add(pattern_of(pattern), pattern)
    found = list(trie.match(words_of(topic)))
    assert sorted(set(found)) == sorted({p for p in patterns if matches(p, topic)})
    assert len(found) == len(set(found))


@given(st.lists(PATTERN, max_size=8), st.data())
def test_nothing_is_left_of_what_was_removed(patterns: list[str], data: st.DataObject) -> None:
    trie: Trie[str] = Trie()
    for pattern in patterns:
        trie.add(pattern_of(pattern), pattern)
    for pattern in data.draw(st.permutations(patterns)):
        trie.remove(pattern_of(pattern), pattern)
        trie.remove(pattern_of(pattern), "another")
    assert trie._root.is_empty


def test_two_stars_alone_match_everything() -> None:
    trie: Trie[int] = Trie()
    trie.add(pattern_of("**"), 1)
    assert list(trie.match(words_of("a"))) == [1]
    assert list(trie.match(words_of("a.b.c"))) == [1]


@pytest.mark.parametrize("text", ["", "a..b", "a.**.b", "a b", "a.*b", ".a"])
def test_what_is_no_pattern_is_refused(text: str) -> None:
    with pytest.raises(InvalidAddress):
        pattern_of(text)


@pytest.mark.parametrize("text", ["", "a.*", "**", "a/b"])
def test_what_is_no_topic_is_refused(text: str) -> None:
    with pytest.raises(InvalidAddress):
        words_of(text)
