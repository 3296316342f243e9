"""Values, and what stands for values that aren't made, as text of a limited length."""

from __future__ import annotations

from typing import Any

_DEEP = 40
_MORE = 100  #: so many characters beyond the length are no reason to cut something short


class Node:
    """Something that would be made: its shape ("[]", "()", "{}", "set", "frozenset", "name", "call"), and its parts."""

    __slots__ = ("parts", "shape", "state")

    def __init__(self, shape: str, parts: list[Any] | None = None) -> None:
        self.shape = shape
        self.parts: list[Any] = parts if parts is not None else []
        self.state: list[Any] = []  #: what would be set in the object


def written(value: object, length: int) -> str:
    """About `length` characters of it, with "..." for what is left out."""
    pen = _Pen(length)
    pen.write(value, 0)
    return "".join(pen.text)


class _Pen:
    def __init__(self, length: int) -> None:
        self.text: list[str] = []
        self._left = length

    def _add(self, text: str) -> None:
        self.text.append(text)
        self._left -= len(text)

    def write(self, value: Any, depth: int) -> None:
        if self._left <= 0 or depth > _DEEP:
            self._add("...")
        elif isinstance(value, Node):
            self._write_node(value, depth)
        elif isinstance(value, dict):
            self._pairs([part for pair in value.items() for part in pair], depth)
        elif isinstance(value, list):
            self._series("[", value, "]", depth)
        elif isinstance(value, tuple):
            self._series("(", value, ",)" if len(value) == 1 else ")", depth)
        else:
            self._atom(value)

    def _atom(self, value: Any) -> None:
        if isinstance(value, (str, bytes, bytearray)) and len(value) > self._left:
            self._add(f"{value[: max(self._left, 1)]!r}...")
            return
        try:
            text = repr(value)
        except (Exception, SystemExit) as error:  # an int that is too long to be written, an object's own __repr__
            text = f"<{type(value).__name__}: {type(error).__name__}>"
        self._add(text if len(text) <= self._left + _MORE else f"{text[: self._left]}...")

    def _write_node(self, node: Node, depth: int) -> None:
        if node.shape == "name":
            self._add(".".join(part for part in map(str, node.parts) if part and part != "builtins"))
        elif node.shape == "call":
            self._call(node, depth)
        elif node.shape == "{}":
            self._pairs(node.parts, depth)
        elif node.shape in ("[]", "()"):
            end = ",)" if node.shape == "()" and len(node.parts) == 1 else node.shape[1]
            self._series(node.shape[0], node.parts, end, depth)
        elif node.shape == "set" and node.parts:
            self._series("{", node.parts, "}", depth)
        elif node.shape == "frozenset" and node.parts:
            self._series("frozenset({", node.parts, "})", depth)
        else:
            self._add(f"{node.shape}()")
        for state in node.state:
            self._add(" with ")
            if self._left <= 0:
                self._add("...")
                break
            self.write(state, depth + 1)

    def _call(self, node: Node, depth: int) -> None:
        function, arguments, *keywords = node.parts
        self.write(function, depth + 1)
        parts = arguments.parts if isinstance(arguments, Node) and arguments.shape == "()" else [arguments]
        self._series("(", parts, ")", depth)
        for each in keywords:
            self._add(" by ")
            self.write(each, depth + 1)

    def _series(self, begin: str, parts: Any, end: str, depth: int) -> None:
        self._add(begin)
        for nth, part in enumerate(parts):
            if nth:
                self._add(", ")
            if self._left <= 0:
                self._add("...")
                break
            self.write(part, depth + 1)
        self._add(end)

    def _pairs(self, parts: list[Any], depth: int) -> None:
        self._add("{")
        for nth in range(0, len(parts) - 1, 2):
            if nth:
                self._add(", ")
            if self._left <= 0:
                self._add("...")
                break
            self.write(parts[nth], depth + 1)
            self._add(": ")
            self.write(parts[nth + 1], depth + 1)
        self._add("}")
