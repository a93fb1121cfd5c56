"""From one file to its facts. Nothing in here knows of actors."""

import ast
import os
import stat
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import PurePath

from examples.code_index.facts import Definition, FileFacts, Findings, Problem
from examples.code_index.paths import native


def read_facts(root: str, path: str) -> Findings:
    """The facts about the file at a portable path below root, or the problem with it."""
    try:
        source = _read(os.path.join(root, native(path)))
        tree = _parse(source)
        return _facts_of(path, source, tree)
    except OSError as error:
        return Problem(path, f"cannot read the file: {error.strerror or error}")
    except SyntaxError as error:
        where = f" (line {error.lineno})" if error.lineno else ""
        return Problem(path, f"cannot parse: {error.msg}{where}")
    except (ValueError, RecursionError, MemoryError) as error:
        # Null bytes, and code nested deeper than the parser or the interpreter allows.
        return Problem(path, f"cannot parse: {str(error) or type(error).__name__}")


def _read(path: str) -> bytes:
    # Opening a named pipe would wait for a writer, for ever.
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise OSError("not a regular file")
    with open(path, "rb") as file:
        return file.read()


def _parse(source: bytes) -> ast.Module:
    with warnings.catch_warnings():
        # What the compiler thinks of other people's escape sequences is not our report.
        warnings.simplefilter("ignore")
        return ast.parse(source)


def _facts_of(path: str, source: bytes, tree: ast.Module) -> FileFacts:
    definitions: list[Definition] = []
    imports: list[str] = []
    uses: Counter[str] = Counter()
    for node in _nodes(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Load()) | ast.Attribute(attr=name, ctx=ast.Load()):
                uses[name] += 1
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                definitions.append(Definition(name, "function", node.lineno, node.col_offset))
            case ast.ClassDef(name=name):
                definitions.append(Definition(name, "class", node.lineno, node.col_offset))
            case ast.Import(names=aliases):
                imports.extend(alias.name for alias in aliases)
            case ast.ImportFrom():
                imports.append(_absolute_name(path, node))
    lines = len(source.splitlines())
    return FileFacts(path, lines, tuple(definitions), tuple(imports), dict(uses))


def _nodes(tree: ast.Module) -> Iterator[ast.AST]:
    """All nodes that have fields, as `ast.walk` gives them, but in half of the time."""
    found: list[ast.AST] = [tree]
    for node in found:  # which grows
        yield node
        for field in node._fields:
            value = getattr(node, field, None)
            if isinstance(value, list):
                found.extend(item for item in value if isinstance(item, ast.AST))
            elif isinstance(value, ast.AST) and value._fields:
                found.append(value)


def _absolute_name(path: str, node: ast.ImportFrom) -> str:
    """The module in ``from MODULE import ...``; dots are resolved by the file's place in the tree.

    Dots that lead out of the tree stay as they are written.
    """
    module = node.module or ""
    if node.level == 0:
        return module
    packages = PurePath(path).parent.parts
    parents = len(packages) - (node.level - 1)
    if parents <= 0:
        return "." * node.level + module
    return ".".join((*packages[:parents], *([module] if module else [])))
