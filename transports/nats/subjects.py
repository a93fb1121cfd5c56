"""Subjects: which are valid, and names of any kind as one token of a subject.

A subject is tokens with "." between; in a pattern a token may be "*", and the last one ">". The
server itself checks little: what is refused here would be a second line of the protocol, a wildcard
that nobody meant, or a subject that no subscription matches.
"""

from __future__ import annotations

import re
from typing import Final

from transports.nats.errors import InvalidSubject

MOST_OF_SUBJECT: Final = 1_500
"""Bytes. A server reads lines of 4,096 bytes: room for a subject, a reply subject and numbers."""

_SUBJECT: Final = re.compile(r"[^\s\x00-\x20\x7f.*>]+(?:\.[^\s\x00-\x20\x7f.*>]+)*")
_TOKEN: Final = r"(?:\*|[^\s\x00-\x20\x7f.*>]+)"
_PATTERN: Final = re.compile(rf"(?:{_TOKEN}\.)*(?:>|{_TOKEN})")
_PLAIN: Final = re.compile(r"[A-Za-z0-9_-]+")
_ESCAPED: Final = re.compile(r"=|(?:[A-Za-z0-9_-]|=[0-9A-F]{2})+")
_SAFE: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")


def check_subject(subject: str) -> bytes:
    """The bytes of a subject that a message can have.

    Raises:
        InvalidSubject: it has white space, a wildcard, an empty token, or is too long.
    """
    return _check(subject, _SUBJECT, "no wildcards")


def check_pattern(pattern: str) -> bytes:
    """The bytes of a subject that a subscription can have.

    Raises:
        InvalidSubject: as `check_subject`; "*" may be a token, and ">" the last one.
    """
    return _check(pattern, _PATTERN, '"*" and a last ">" as wildcards')


def check_queue(queue: str) -> bytes:
    """The bytes of a queue group's name.

    Raises:
        InvalidSubject: as `check_subject`.
    """
    return _check(queue, _SUBJECT, "no wildcards")


def _check(subject: str, allowed: re.Pattern[str], wildcards: str) -> bytes:
    if type(subject) is not str:
        raise InvalidSubject(subject, "a subject is a str")
    if not allowed.fullmatch(subject):
        raise InvalidSubject(
            subject, f"tokens with dots between, none empty, no white space, {wildcards}"
        )
    try:
        data = subject.encode()
    except UnicodeEncodeError:
        raise InvalidSubject(subject, "it has a lone surrogate") from None
    if len(data) > MOST_OF_SUBJECT:
        raise InvalidSubject(subject[:80] + "...", f"longer than {MOST_OF_SUBJECT} bytes")
    return data


def is_answerable(reply: str) -> bool:
    """Whether a message that anybody may have sent can be answered at its reply subject.

    It is answered with this user's permissions: so not where that is taken for a command of the
    server or a write to its store ("$JS...", "$KV..."), nor at a node's or a queue's own subjects.
    """
    return not reply.startswith(("$", "trouper."))


def escape(name: str) -> str:
    """Any name as one token: letters, digits, "_" and "-" as they are, other bytes as "=XX".

    Different names give different tokens. Keys of a bucket can hold them too.

    Raises:
        InvalidSubject: it is no str, or has a lone surrogate.
    """
    if type(name) is not str:
        raise InvalidSubject(name, "a name is a str")
    if _PLAIN.fullmatch(name):
        return name
    try:
        data = name.encode()
    except UnicodeEncodeError:
        raise InvalidSubject(name, "it has a lone surrogate") from None
    if not data:
        return "="
    return "".join(chr(byte) if byte in _SAFE else f"={byte:02X}" for byte in data)


def unescape(token: str) -> str:
    """The name that `escape` made this token of.

    Raises:
        InvalidSubject: it has made no such token.
    """
    if _PLAIN.fullmatch(token):
        return token
    if not _ESCAPED.fullmatch(token):
        raise InvalidSubject(token, "it is no escaped name")
    if token == "=":
        return ""
    data = bytearray()
    place = 0
    while place < len(token):
        if token[place] == "=":
            data.append(int(token[place + 1 : place + 3], 16))
            place += 3
        else:
            data.append(ord(token[place]))
            place += 1
    try:
        name = data.decode()
    except UnicodeDecodeError:
        raise InvalidSubject(token, "it is no escaped name") from None
    if escape(name) != token:
        raise InvalidSubject(token, "it is no escaped name")
    return name
