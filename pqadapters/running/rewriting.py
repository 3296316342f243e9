"""Imports of swapped modules, as imports of their stand-ins. Everything else stays, with its lines and columns.

    import queue                 import <queue> as queue
    import queue as q            import <queue> as q
    from queue import Queue      from <queue> import Queue
    import asyncio.queues        import asyncio.queues, <asyncio> as asyncio
    import_module(name)          <swapped>(import_module(name))

<queue> is a name that no program has for anything. The last line goes for what is called `import_module`, `__import__`
or `spec_from_file_location`, whatever it may be: what it returns is passed on, but for the modules themselves, and for
specs of the program's own modules, in which imports are swapped.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Set
from types import CodeType
from typing import NamedTuple, cast

PREFIX = "pqadapters:"  #: of stand-ins in sys.modules, and of what rewritten code finds among the builtins
SWAPPED = f"{PREFIX}swapped"
VERSION = 2  #: of all this; other code is no more used when it changes

_CALLS = ("import_module", "__import__", "spec_from_file_location")
_BLOCKS = ("body", "orelse", "finalbody", "handlers", "cases")
_ONLY_TREE = ast.PyCF_ONLY_AST


def private(module: str) -> str:
    """The stand-in's name in sys.modules. It has no dots: there are no packages to be found first."""
    return PREFIX + module.replace(".", "/")


def public(name: str) -> str:
    """The name of what it stands for."""
    return name.removeprefix(PREFIX).replace("/", ".")


class Rewritten(NamedTuple):
    """A module's code."""

    code: CodeType | None  #: None where nothing was to be swapped
    found: tuple[str, ...] = ()  #: what was, for people


def rewrite(source: bytes, path: str, names: Set[str]) -> Rewritten:
    """The code with imports of these modules swapped. Raises SyntaxError and whatever else Python's compiler may."""
    if not _mentions(source, names):
        return Rewritten(None)
    tree = cast("ast.Module", compile(source, path, "exec", _ONLY_TREE, dont_inherit=True))
    found = [f"line {node.lineno}: {what}" for node in _imports(tree) for what in _swap(node, names)]
    if any(call.encode() in source for call in _CALLS):
        found += [f"line {call.lineno}: what {_called(call)}() returns" for call in _wrapped(tree)]
    if not found:
        return Rewritten(None)
    return Rewritten(_compiled(tree, path), tuple(found))


def _compiled(tree: ast.Module, path: str) -> CodeType:
    try:
        return compile(tree, path, "exec", dont_inherit=True)
    except RecursionError:
        limit = sys.getrecursionlimit()
        sys.setrecursionlimit(3 * limit)  # as deep as Python's compiler goes into a source
        try:
            return compile(tree, path, "exec", dont_inherit=True)
        finally:
            sys.setrecursionlimit(limit)


def _mentions(source: bytes, names: Set[str]) -> bool:
    """Whether it may have such an import: most modules needn't be looked into."""
    tops = "|".join(sorted({name.partition(".")[0] for name in names}))
    calls = "|".join(_CALLS)
    found = rf"\b(?:(?:import|from)\b(?:[^\n]|\\\r?\n)*\b(?:{tops})|{calls})\b"
    return bool(names) and re.search(found.encode(), source) is not None


def _imports(tree: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """All import statements. Expressions aren't looked into: they have none."""
    blocks: list[ast.AST] = [tree]
    while blocks:
        block = blocks.pop()
        for field in _BLOCKS:
            for node in getattr(block, field, ()):
                if isinstance(node, (ast.Import, ast.ImportFrom)):
                    yield node
                else:
                    blocks.append(node)


def _swap(node: ast.Import | ast.ImportFrom, names: Set[str]) -> list[str]:
    """Change the statement in place. What was swapped."""
    if isinstance(node, ast.ImportFrom):
        module = node.module
        if node.level or module is None or module not in names:
            return []
        node.module = private(module)
        return [f"{', '.join(alias.name for alias in node.names)} from {module}"]
    changed = [_aliases(alias, names) for alias in node.names]
    swapped = [alias.name for alias, new in zip(node.names, changed, strict=True) if new != [alias]]
    node.names = [alias for new in changed for alias in new]
    return swapped


def _aliases(alias: ast.alias, names: Set[str]) -> list[ast.alias]:
    top = alias.name.partition(".")[0]
    if alias.asname:
        return [_alias(alias, alias.name, alias.asname)] if alias.name in names else [alias]
    if top not in names:
        return [alias]
    stand_in = _alias(alias, top, top)
    return [stand_in] if alias.name == top else [alias, stand_in]


def _alias(old: ast.alias, module: str, name: str) -> ast.alias:
    return ast.copy_location(ast.alias(private(module), name), old)


def _wrapped(tree: ast.AST) -> Iterator[ast.Call]:
    for call in [node for node in ast.walk(tree) if isinstance(node, ast.Call) and _called(node)]:
        inner = ast.copy_location(ast.Call(call.func, call.args, call.keywords), call)
        yield inner
        call.func = ast.copy_location(ast.Name(SWAPPED, ast.Load()), call)
        call.args, call.keywords = [inner], []


def _called(call: ast.Call) -> str:
    name = getattr(call.func, "id", None) or getattr(call.func, "attr", None)
    return name if name in _CALLS else ""
