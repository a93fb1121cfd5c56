"""Errors as text that can be sent: of a bounded size, and encodable whatever it was made of."""

from __future__ import annotations

import os
import sys
import traceback
from typing import Final

MOST: Final = 4_000
"""Characters of one text."""


def plain(text: str) -> str:
    """A text with its end cut off if it is too long, and half characters (surrogates) escaped."""
    if len(text) > MOST:
        text = f"{text[:MOST]}..."
    return text.encode(errors="backslashreplace").decode()


def text_of(error: BaseException) -> str:
    """The type and message of an error, also of one that cannot say its message."""
    try:
        said = str(error)
    except Exception as broken:  # An edge: the class of the error is a program's own.
        said = f"<its message raised {type(broken).__name__}>"
    return plain(f"{type(error).__name__}: {said}")


def trace_of(error: BaseException) -> str:
    """The end of the traceback of an error, with paths as they are imported.

    Where they are on this machine concerns no peer; and a simulated run, whose frames are of these
    bytes too, is to be the same in another checkout.
    """
    text = "".join(traceback.format_exception(error))
    # ("" is the current folder, which may have been removed.)
    folders = filter(None, (each or _here() for each in sys.path))
    for folder in sorted(folders, key=len, reverse=True):
        text = text.replace(f'File "{folder}/', 'File "')
    return plain(text[-MOST:])


def _here() -> str:
    try:
        return os.getcwd()
    except OSError:
        return ""
