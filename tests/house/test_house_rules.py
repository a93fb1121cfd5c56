"""The repository itself: which way imports point, and what replay from a seed forbids."""

import ast
import importlib
import inspect
import pkgutil
import re
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

import actors
from tests.house import rules

Rule = Callable[[str, ast.Module], list[str]]


def broken(repository: Path, rule: Rule, *packages: str) -> list[str]:
    trees = list(rules.sources(repository, *packages))
    assert trees
    return [line for path, tree in trees for line in rule(path, tree)]


def public_names() -> dict[str, list[str]]:
    packages = (*rules.RUNTIME, "actors.testing", "transports.testing", "transports.nats")
    return {each: list(importlib.import_module(each).__all__) for each in packages}


def test_imports_point_from_transports_to_supervision_to_actors(repository: Path) -> None:
    assert broken(repository, rules.wrong_direction, *rules.LAYERS) == []


def test_time_chance_and_identity_come_from_the_environment_only(repository: Path) -> None:
    assert broken(repository, rules.not_from_env, *rules.LAYERS) == []


def test_threads_are_used_in_one_module_only(repository: Path) -> None:
    assert broken(repository, rules.threads, *rules.LAYERS) == []


def test_runtime_code_never_imports_a_testing_package(repository: Path) -> None:
    assert broken(repository, rules.testing_imports, *rules.RUNTIME) == []


def test_examples_use_public_names_only(repository: Path) -> None:
    public = public_names()

    def rule(path: str, tree: ast.Module) -> list[str]:
        return rules.private_names(path, tree, public)

    assert broken(repository, rule, "examples") == []


def test_every_error_is_in_the_tree_of_errors() -> None:
    for package in rules.RUNTIME:
        found = importlib.import_module(package)
        for each in pkgutil.walk_packages(found.__path__, f"{package}."):
            importlib.import_module(each.name)

    def below(cls: type[BaseException]) -> list[type[BaseException]]:
        return [each for sub in cls.__subclasses__() for each in (sub, *below(sub))]

    tree = re.findall(r"-- (\w+)", actors.errors.__doc__ or "")
    names = [
        cls.__name__
        for cls in below(actors.ActorError)
        if cls.__module__.partition(".")[0] in rules.LAYERS and not cls.__name__.startswith("_")
    ]
    assert len(names) > 40
    assert [name for name in names if name not in tree] == []


def test_messages_of_the_examples_have_names_of_their_own(repository: Path) -> None:
    # By default a message is called what its class is called, and two programs in one process
    # (two examples under test) that both have a `Balance` could not send it to another node.
    assert broken(repository, rules.short_names, "examples") == []


def test_runtime_code_does_not_iterate_over_sets(repository: Path) -> None:
    assert broken(repository, rules.set_iterations, *rules.RUNTIME) == []


def test_no_except_is_bare(repository: Path) -> None:
    assert broken(repository, rules.bare_excepts, *rules.LAYERS) == []


def test_runtime_code_has_no_finalizers(repository: Path) -> None:
    assert broken(repository, rules.finalizers, *rules.RUNTIME) == []


@pytest.mark.parametrize(
    ("rule", "path", "source"),
    [
        (rules.wrong_direction, "actors/a.py", "from supervision import x"),
        (rules.wrong_direction, "actors/a.py", "def f():\n import transports.cli"),
        (rules.wrong_direction, "supervision/a.py", "from transports.tcp import x"),
        (rules.wrong_direction, "transports/a/b.py", "import examples"),
        (rules.wrong_direction, "actors/a.py", "import tests.house"),
        (rules.not_from_env, "actors/a.py", "import random"),
        (rules.not_from_env, "actors/a.py", "from time import monotonic"),
        (rules.not_from_env, "actors/env.py", "import uuid"),
        (rules.not_from_env, "actors/threads.py", "import time"),
        (rules.threads, "actors/a.py", "import trio\ntrio.to_thread.run_sync(f)"),
        (rules.threads, "actors/a.py", "from trio import from_thread"),
        (rules.testing_imports, "actors/a.py", "import actors.testing"),
        (rules.testing_imports, "actors/a.py", "from .testing import probe"),
        (rules.testing_imports, "actors/a.py", "from trio.testing import MockClock"),
        (rules.set_iterations, "actors/a.py", "for x in {1, 2}: pass"),
        (rules.set_iterations, "actors/a.py", "[x for x in set(y)]"),
        (rules.set_iterations, "actors/a.py", "list({x for x in y})"),
        (rules.set_iterations, "actors/a.py", "for x in set(a) | b: pass"),
        (rules.set_iterations, "actors/a.py", "for x in weakref.WeakSet(): pass"),
        (rules.bare_excepts, "actors/a.py", "try: pass\nexcept: pass"),
        (rules.finalizers, "actors/a.py", "class A:\n def __del__(self): pass"),
    ],
)
def test_each_rule_finds_what_breaks_it(rule: Rule, path: str, source: str) -> None:
    assert rule(path, ast.parse(source)) != []


@pytest.mark.parametrize(
    ("rule", "path", "source"),
    [
        (rules.wrong_direction, "transports/a.py", "import actors, supervision, transports.cli"),
        (rules.wrong_direction, "actors/a/b.py", "from ..ref import x"),
        (rules.not_from_env, "actors/env.py", "import random, time"),
        (rules.threads, "actors/a.py", "system.from_thread.tell(x)"),
        (rules.testing_imports, "actors/testing/a.py", "from actors.testing import probe"),
        (rules.set_iterations, "actors/a.py", "for x in sorted({1, 2}): pass"),
        (rules.bare_excepts, "actors/a.py", "try: pass\nexcept ValueError: pass"),
    ],
)
def test_no_rule_forbids_what_is_allowed(rule: Rule, path: str, source: str) -> None:
    assert rule(path, ast.parse(source)) == []


def test_a_private_name_in_an_example_is_found() -> None:
    public = {**public_names(), "actors": ["Actor"]}
    for source in ("from actors.cell import Cell", "from actors import Cell", "import actors.cell"):
        assert rules.private_names("examples/a.py", ast.parse(source), public) != []
    assert rules.private_names("examples/a.py", ast.parse("from actors import Actor"), public) == []


def test_every_public_name_exists_and_has_a_docstring_of_its_own() -> None:
    without = []
    for name in actors.__all__:
        value = getattr(actors, name)
        own = vars(value).get("__doc__") if inspect.isclass(value) else value.__doc__
        if (inspect.isclass(value) or inspect.isroutine(value)) and not (own or "").strip():
            without.append(name)
    assert without == []
    assert len(actors.__all__) == len(dict.fromkeys(actors.__all__))


def test_every_public_method_of_the_public_classes_has_a_docstring() -> None:
    without = [
        f"{name}.{method}"
        for name in actors.__all__
        if inspect.isclass(value := getattr(actors, name)) and value.__module__.startswith("actors")
        for method, function in vars(value).items()
        if not method.startswith("_")
        and (inspect.isroutine(function) or isinstance(function, property))
        and not (inspect.getdoc(getattr(value, method)) or "").strip()
    ]
    assert without == []


@pytest.mark.parametrize("package", rules.RUNTIME)
def test_every_package_is_typed_and_says_what_it_is_for(repository: Path, package: str) -> None:
    assert (repository / package / "py.typed").is_file()
    assert (importlib.import_module(package).__doc__ or "").strip()


def python_blocks(text: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)


def test_every_dependency_has_its_reason_in_the_design_notes(repository: Path) -> None:
    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *extras["nats"], *extras["nats-server"]]
    names = [re.split(r"[<>=~! ;\[]", each)[0] for each in wanted]
    notes = (repository / "docs" / "design.md").read_text()
    assert [name for name in names if f"`{name}`" not in notes] == []


def test_only_declared_dependencies_are_imported(repository: Path) -> None:
    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    declared = {re.split(r"[<>=~! ;\[]", each)[0] for each in project["dependencies"]}
    known = declared | rules.OWN_PACKAGES | set(sys.stdlib_module_names)
    undeclared = [
        f"{path}:{line} imports {name}"
        for path, tree in rules.sources(repository, *rules.LAYERS)
        for line, name in rules.imported(path, tree)
        if name.split(".")[0] not in known
        # pytest imports its plugin: who does not use pytest never does. nkeys is an extra.
        and (path, name)
        not in {
            ("actors/testing/plugin.py", "pytest"),
            ("transports/nats/credentials.py", "nkeys"),
        }
    ]
    assert undeclared == []
