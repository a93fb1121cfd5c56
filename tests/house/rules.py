"""The rules of the house that an AST can tell, as functions from source to what breaks them."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

RUNTIME = ("actors", "supervision", "transports")
LAYERS = {
    "actors": {"actors"},
    "supervision": {"actors", "supervision"},
    "transports": {"actors", "supervision", "transports"},
    "examples": {"actors", "supervision", "transports", "examples"},
}
OWN_PACKAGES = {*LAYERS, "tests", "benchmarks"}
ENVIRONMENT_ONLY = {"random", "time", "uuid", "secrets", "threading"}
MAY_IMPORT = {"actors/env.py": {"random", "time"}, "actors/threads.py": {"threading"}}


def sources(repository: Path, *packages: str) -> Iterator[tuple[str, ast.Module]]:
    """Each module of the packages: its path in the repository, and its tree."""
    for package in packages:
        for path in sorted((repository / package).rglob("*.py")):
            yield path.relative_to(repository).as_posix(), ast.parse(path.read_bytes())


def imported(path: str, tree: ast.Module) -> Iterator[tuple[int, str]]:
    """(line, absolute dotted name) of everything imported, anywhere in the module.

    ``from a import b`` gives ``a.b``, which is either a module or a name in one.
    """
    package = path.split("/")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                yield node.lineno, f"{module}.{alias.name}"


def wrong_direction(path: str, tree: ast.Module) -> list[str]:
    """Imports against the direction transports -> supervision -> actors."""
    allowed = LAYERS[path.split("/")[0]]
    return [
        f"{path}:{line} imports {name}"
        for line, name in imported(path, tree)
        if (top := name.split(".")[0]) in OWN_PACKAGES and top not in allowed
    ]


def not_from_env(path: str, tree: ast.Module) -> list[str]:
    """Imports of modules that only the environment may touch."""
    allowed = MAY_IMPORT.get(path, set())
    return [
        f"{path}:{line} imports {name}"
        for line, name in imported(path, tree)
        if name.split(".")[0] in ENVIRONMENT_ONLY - allowed
    ]


def threads(path: str, tree: ast.Module) -> list[str]:
    """Uses of trio's threads outside the one module for them."""
    if path == "actors/threads.py":
        return []
    names = {"to_thread", "from_thread"}
    used = [
        (node.lineno, node.attr)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and node.attr in names
        and isinstance(node.value, ast.Name)
        and node.value.id == "trio"
    ]
    used += [
        (line, name)
        for line, name in imported(path, tree)
        if name.startswith(("trio.to_thread", "trio.from_thread"))
    ]
    return [f"{path}:{line} uses {name}" for line, name in used]


def testing_imports(path: str, tree: ast.Module) -> list[str]:
    """Runtime code that imports a testing package (which may import its own parts)."""
    if "testing" in path.split("/"):
        return []
    return [
        f"{path}:{line} imports {name}"
        for line, name in imported(path, tree)
        if "testing" in name.split(".")
    ]


def private_names(path: str, tree: ast.Module, public: dict[str, list[str]]) -> list[str]:
    """Imports of anything but a public package, or a public name of one."""
    allowed = {*public, *(f"{package}.{each}" for package in public for each in public[package])}
    return [
        f"{path}:{line} imports {name}"
        for line, name in imported(path, tree)
        if name.partition(".")[0] in RUNTIME and name not in allowed
    ]


def short_names(path: str, tree: ast.Module) -> list[str]:
    """Messages whose name on the wire has no prefix."""
    return [
        f"{path}:{node.lineno} {node.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        for decorator in node.decorator_list
        if re.match(r"message\b(?!\(name='\w+\.)", ast.unparse(decorator))
    ]


def set_iterations(path: str, tree: ast.Module) -> list[str]:
    """Loops over what is plainly a set: its order differs from run to run."""
    ordered = ("list", "tuple", "enumerate", "iter", "zip", "map", "filter", "reversed")
    loops: list[ast.expr] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.For | ast.AsyncFor):
            loops.append(node.iter)
        elif isinstance(node, ast.ListComp | ast.DictComp | ast.GeneratorExp):
            loops += [each.iter for each in node.generators]
        elif isinstance(node, ast.YieldFrom):
            loops.append(node.value)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            loops += node.args if node.func.id in ordered else []
    return [f"{path}:{each.lineno} iterates over a set" for each in loops if _is_set(each)]


def _is_set(node: ast.expr) -> bool:
    match node:
        case ast.Set() | ast.SetComp():
            return True
        case ast.Call(func=ast.Name(id="set" | "frozenset" | "WeakSet")):
            return True
        case ast.Call(func=ast.Attribute(attr="WeakSet")):
            return True
        case ast.BinOp(left=left, op=ast.BitOr() | ast.BitAnd() | ast.Sub(), right=right):
            return _is_set(left) or _is_set(right)
    return False


def bare_excepts(path: str, tree: ast.Module) -> list[str]:
    """Handlers that say nothing of what they expect."""
    return [
        f"{path}:{node.lineno} has a bare except"
        for node in ast.walk(tree)
        if isinstance(node, ast.ExceptHandler) and node.type is None
    ]


def finalizers(path: str, tree: ast.Module) -> list[str]:
    """__del__ methods: what they do happens whenever the garbage collector likes."""
    return [
        f"{path}:{node.lineno} defines __del__"
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name == "__del__"
    ]
