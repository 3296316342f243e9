"""What a pickle would make, as text, without making it: nothing is loaded, called or hashed.

A pickle is a program. This reads its instructions (`pickletools`) and writes down what they would build; a call of a
function is written as a call, and not made: `decimal.Decimal('1.5')`, `shop.Invoice(...)`.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from typing import Any

from .values import Node, written

_MARK = Node("mark")
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_VALUES = {
    "BININT", "BININT1", "BININT2", "INT", "LONG", "LONG1", "LONG4", "BINFLOAT", "FLOAT", "BINUNICODE",
    "SHORT_BINUNICODE", "BINUNICODE8", "UNICODE", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8",
    "BINSTRING", "SHORT_BINSTRING", "STRING",
}
_EMPTY = {"EMPTY_LIST": "[]", "EMPTY_TUPLE": "()", "EMPTY_DICT": "{}", "EMPTY_SET": "set"}
_NOTHING = frozenset({"PROTO", "FRAME", "STOP", "READONLY_BUFFER"})


def is_pickle(data: bytes) -> bool:
    """Whether it looks like one, of the protocols that are in use."""
    return len(data) > 2 and data[0] == 0x80 and 2 <= data[1] <= 5 and data[-1:] == b"."


def summary(data: bytes, length: int) -> str | None:
    """What it would make, in up to about `length` characters; None where it is no pickle."""
    machine = _Machine()
    try:
        for opcode, argument, _ in pickletools.genops(data):
            machine.step(opcode.name, argument)
        return written(machine.stack[-1], length)
    except (ValueError, IndexError, KeyError, AttributeError, TypeError, OverflowError, MemoryError):
        return None


class _Machine:
    """The stack and memo of the instructions."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def step(self, name: str, argument: Any) -> None:
        if name in _VALUES:
            self.stack.append(argument)
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name])
        elif name in _EMPTY:
            self.stack.append(Node(_EMPTY[name]))
        elif name in _NOTHING:
            pass
        else:
            _STEPS[name](self, argument)

    def above_mark(self) -> list[Any]:
        for at in range(len(self.stack) - 1, -1, -1):
            if self.stack[at] is _MARK:
                found = self.stack[at + 1 :]
                del self.stack[at:]
                return found
        raise IndexError("no mark")

    def taken(self, count: int) -> list[Any]:
        if len(self.stack) < count:
            raise IndexError("too few values")
        found = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return found

    def mark(self, _: Any) -> None:
        self.stack.append(_MARK)

    def duplicate(self, _: Any) -> None:
        self.stack.append(self.stack[-1])

    def memoize(self, argument: Any) -> None:
        self._memo[len(self._memo) if argument is None else argument] = self.stack[-1]

    def recall(self, argument: Any) -> None:
        self.stack.append(self._memo[argument])

    def drop(self, _: Any) -> None:
        self.stack.pop()

    def drop_to_mark(self, _: Any) -> None:
        self.above_mark()

    def collect(self, shape: str) -> Callable[[Any], None]:
        return lambda _: self.stack.append(Node(shape, self.above_mark()))

    def tuple_of(self, count: int) -> None:
        self.stack.append(Node("()", self.taken(count)))

    def dict_of_all(self, _: Any) -> None:
        self.stack.append(Node("{}", self.above_mark()))

    def extend(self, parts: list[Any]) -> None:
        self.stack[-1].parts.extend(parts)

    def named(self, argument: Any) -> None:
        """GLOBAL has its names in one text, STACK_GLOBAL on the stack."""
        module, name = argument.split(" ", 1) if argument is not None else self.taken(2)
        self.stack.append(Node("name", [str(module), str(name)]))

    def call(self, _: Any) -> None:
        function, arguments = self.taken(2)
        self.stack.append(Node("call", [function, arguments]))

    def call_with_keywords(self, _: Any) -> None:
        kind, arguments, keywords = self.taken(3)
        self.stack.append(Node("call", [kind, arguments, keywords]))

    def instance(self, argument: Any) -> None:
        module, name = argument.split(" ", 1)
        parts = self.above_mark()
        self.stack.append(Node("call", [Node("name", [module, name]), Node("()", parts)]))

    def object_of_all(self, _: Any) -> None:
        kind, *parts = self.above_mark()
        self.stack.append(Node("call", [kind, Node("()", parts)]))

    def build(self, _: Any) -> None:
        (state,) = self.taken(1)
        self.stack[-1] = self._with_state(self.stack[-1], state)

    @staticmethod
    def _with_state(made: Any, state: Any) -> Any:
        if isinstance(made, Node):
            made.state.append(state)
        return made

    def unknown(self, argument: Any) -> None:
        self.stack.append(Node("name", ["", f"<{argument!r:.100}>"]))

    def unknown_of_stack(self, _: Any) -> None:
        self.stack[-1] = Node("call", [Node("name", ["", "<persistent>"]), Node("()", [self.stack[-1]])])


_STEPS: dict[str, Callable[[_Machine, Any], None]] = {
    "MARK": _Machine.mark,
    "DUP": _Machine.duplicate,
    **dict.fromkeys(("MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT"), _Machine.memoize),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _Machine.recall),
    "POP": _Machine.drop,
    "POP_MARK": _Machine.drop_to_mark,
    "LIST": lambda machine, _: machine.collect("[]")(None),
    "TUPLE": lambda machine, _: machine.collect("()")(None),
    "FROZENSET": lambda machine, _: machine.collect("frozenset")(None),
    "DICT": _Machine.dict_of_all,
    "TUPLE1": lambda machine, _: machine.tuple_of(1),
    "TUPLE2": lambda machine, _: machine.tuple_of(2),
    "TUPLE3": lambda machine, _: machine.tuple_of(3),
    "APPEND": lambda machine, _: machine.extend(machine.taken(1)),
    "APPENDS": lambda machine, _: machine.extend(machine.above_mark()),
    "ADDITEMS": lambda machine, _: machine.extend(machine.above_mark()),
    "SETITEM": lambda machine, _: machine.extend(machine.taken(2)),
    "SETITEMS": lambda machine, _: machine.extend(machine.above_mark()),
    "GLOBAL": _Machine.named,
    "STACK_GLOBAL": _Machine.named,
    "REDUCE": _Machine.call,
    "NEWOBJ": _Machine.call,
    "NEWOBJ_EX": _Machine.call_with_keywords,
    "INST": _Machine.instance,
    "OBJ": _Machine.object_of_all,
    "BUILD": _Machine.build,
    **dict.fromkeys(("EXT1", "EXT2", "EXT4", "PERSID"), _Machine.unknown),
    "NEXT_BUFFER": _Machine.unknown,
    "BINPERSID": _Machine.unknown_of_stack,
}
