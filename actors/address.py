"""Addresses: where a message goes, as text that works in one process and across many."""

from __future__ import annotations

import re
from typing import Final

import attrs

from actors.errors import InvalidAddress

SCHEMES: Final = ("actor", "topic", "queue", "service")

MOST: Final = 4_000
"""Characters of an address: with what stands around it, it fits into every frame."""
MOST_OF_NAME: Final = 1_000
"""Characters of one name in it, or of a version."""

# `~` marks the names that the runtime makes ("account~17"), so that no user's name meets one.
_NAME: Final = re.compile(r"[\w.\-:@=+,]+")
_VERSION: Final = re.compile(r"[\w\-+]+(\.[\w\-+]+)*")
_OWN_NAME: Final = re.compile(r"[\w.\-:@=+,~]+")


def check_name(name: object, what: str = "name") -> str:
    """Return `name` if an address can hold it.

    Raises:
        InvalidAddress: it is no str, is empty, is "." or "..", has a character other than
            letters, digits and ``_ . - : @ = + ,``, or more than MOST_OF_NAME of them.
    """
    if not isinstance(name, str):
        raise InvalidAddress(name, f"a {what} is a str, not {type(name).__name__}")
    if len(name) > MOST_OF_NAME:
        raise InvalidAddress(name, f"a {what} has at most {MOST_OF_NAME} characters")
    if not _NAME.fullmatch(name) or name in {".", ".."}:
        raise InvalidAddress(
            name, f"a {what} has only letters, digits and _ . - : @ = + , and at least one of them"
        )
    return name


def check_version(version: object) -> str:
    """Return `version` if it is one of a service: "1.4.0", or a prefix of such, "1".

    Raises:
        ValueError: it is no words joined by dots, of letters, digits and ``_ - +``, or has more
            than MOST_OF_NAME characters.
        TypeError: it is no str.
    """
    if not isinstance(version, str):
        raise TypeError(f"a version is a str, not {version!r}")
    if len(version) > MOST_OF_NAME:
        raise ValueError(f"a version has at most {MOST_OF_NAME} characters, not {len(version)}")
    if not _VERSION.fullmatch(version):
        raise ValueError(
            f"a version is words of letters, digits and _ - + joined by dots, as 1.4.0: {version!r}"
        )
    return version


@attrs.frozen(slots=True, order=True)
class Address:
    """One address: ``actor://node/path`` or ``topic://name``, ``queue://name``, ``service://name``.

    A service's may demand a version: ``service://name?version=1``.

    `scheme` is one of SCHEMES; `node` is the actor system's name (empty for the other schemes);
    `path` is the actor's path without a leading slash, or the topic's, queue's or service's name;
    `version` is what is demanded of a service's instances (empty: nothing).
    """

    scheme: str
    node: str
    path: str
    version: str = ""

    @classmethod
    def parse(cls, text: str | Address) -> Address:
        """Read an address.

        Raises:
            InvalidAddress: it is not of one of the forms above, or has more than MOST characters,
                with what is wrong with it.
        """
        if isinstance(text, Address):
            return text
        if not isinstance(text, str):
            raise InvalidAddress(text, f"an address is a str, not {type(text).__name__}")
        if len(text) > MOST:
            raise InvalidAddress(text, f"an address has at most {MOST} characters, not {len(text)}")
        scheme, separator, rest = text.partition("://")
        if not separator or scheme not in SCHEMES:
            raise InvalidAddress(
                text, "an address starts with actor://, topic://, queue:// or service://"
            )
        if scheme != "actor":
            version = ""
            if scheme == "service" and "?" in rest:
                rest, _, query = rest.partition("?")
                version = _version_in(text, query)
            for word in rest.split("."):
                if word not in {"*", "**"} and not _NAME.fullmatch(word):
                    raise InvalidAddress(text, f"a {scheme}'s name is words joined by single dots")
            return cls(scheme, "", rest, version)
        node, separator, path = rest.partition("/")
        if not node or not separator or not path:
            raise InvalidAddress(text, "an actor's address is actor://system/name, or deeper")
        for word in (node, *path.split("/")):
            if not _OWN_NAME.fullmatch(word) or word in {".", ".."}:
                raise InvalidAddress(
                    text,
                    f"{word!r} cannot stand in an address: "
                    "names have only letters, digits and _ . - : @ = + ,",
                )
        return cls(scheme, node, path)

    def __str__(self) -> str:
        if self.scheme == "actor":
            return f"actor://{self.node}/{self.path}"
        version = f"?version={self.version}" if self.version else ""
        return f"{self.scheme}://{self.path}{version}"


def _version_in(text: str, query: str) -> str:
    """What stands behind the question mark of a service's address."""
    key, _, version = query.partition("=")
    if key != "version":
        raise InvalidAddress(text, "after the ? of a service only version=... can stand")
    try:
        return check_version(version)
    except ValueError as error:
        raise InvalidAddress(text, str(error)) from None
