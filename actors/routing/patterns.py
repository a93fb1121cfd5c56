"""Topic patterns, and a trie of them: the cost of a match grows with what matches.

A topic is words with dots between: ``orders.eu.new``. In a pattern ``*`` stands for one word, and
``**``, at the end only, for any number of words, none included.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Generic, TypeVar

from actors.address import check_name
from actors.errors import InvalidAddress

ANY_WORD: Final = "*"
ANY_REST: Final = "**"

ValueT = TypeVar("ValueT")


def words_of(topic: str) -> tuple[str, ...]:
    """The words of a topic.

    Raises:
        InvalidAddress: a word is empty, or has a character that an address cannot hold.
    """
    words = tuple(topic.split("."))
    for word in words:
        check_name(word, f"word of the topic {topic!r}")
    return words


def pattern_of(text: str) -> tuple[str, ...]:
    """The words of a pattern.

    Raises:
        InvalidAddress: a word is neither a wildcard nor one of a topic, or ``**`` is not the last.
    """
    words = tuple(text.split("."))
    for place, word in enumerate(words):
        if word == ANY_REST and place + 1 < len(words):
            raise InvalidAddress(text, "`**` stands for the rest, so it is the last word")
        if word not in (ANY_WORD, ANY_REST):
            check_name(word, f"word of the pattern {text!r}")
    return words


class _Node(Generic[ValueT]):
    __slots__ = ("below", "here", "rest")

    def __init__(self) -> None:
        self.below: dict[str, _Node[ValueT]] = {}
        self.here: dict[ValueT, None] = {}
        self.rest: dict[ValueT, None] = {}

    @property
    def is_empty(self) -> bool:
        return not (self.below or self.here or self.rest)


class Trie(Generic[ValueT]):
    """Values by pattern. A value may be under many patterns."""

    def __init__(self) -> None:
        self._root: _Node[ValueT] = _Node()

    def add(self, pattern: tuple[str, ...], value: ValueT) -> None:
        """Put a value under a pattern. Twice is once."""
        node = self._root
        for word in pattern:
            if word == ANY_REST:
                node.rest[value] = None
                return
            node = node.below.setdefault(word, _Node())
        node.here[value] = None

    def remove(self, pattern: tuple[str, ...], value: ValueT) -> None:
        """Take it away; nothing is left of a pattern without values. Not there is no error."""
        path = [self._root]
        for word in pattern:
            if word == ANY_REST:
                path[-1].rest.pop(value, None)
                break
            node = path[-1].below.get(word)
            if node is None:
                return
            path.append(node)
        else:
            path[-1].here.pop(value, None)
        for depth in range(len(path) - 1, 0, -1):
            if not path[depth].is_empty:
                return
            del path[depth - 1].below[pattern[depth - 1]]

    def match(self, topic: tuple[str, ...]) -> Iterator[ValueT]:
        """The values whose pattern matches; one under two such patterns comes twice."""
        nodes = [self._root]
        for word in topic:
            below = []
            for node in nodes:
                yield from node.rest
                exact = node.below.get(word)
                if exact is not None:
                    below.append(exact)
                any_word = node.below.get(ANY_WORD)
                if any_word is not None:
                    below.append(any_word)
            nodes = below
            if not nodes:
                return
        for node in nodes:
            yield from node.here
            yield from node.rest
