"""Names of files as text that every process, message and terminal can take."""

import os
import re


def portable(path: str) -> str:
    r"""A path of this machine as text: bytes that are no UTF-8 as ``\xe9``, a backslash doubled."""
    return os.fsencode(path).replace(b"\\", b"\\\\").decode("utf-8", "backslashreplace")


def native(path: str) -> str:
    """The path that `portable` was given."""
    return os.fsdecode(re.sub(rb"\\(\\|x(..))", _byte, path.encode()))


def _byte(found: re.Match[bytes]) -> bytes:
    return bytes.fromhex(found[2].decode()) if found[2] else b"\\"
