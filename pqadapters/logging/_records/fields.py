"""The fields of a log record, and the payload that they are stored as (drawn in `records`).

Arguments that can't be stored are the delicate ones: what the record says is decided by how they print. They are stored
as what prints alike; where that gives another message (`%d` of somebody's own kind of int) the message is stored as it
is now, without arguments. Where it can't be formatted now, the arguments' reprs are stored and the error is the
reader's.
"""

from __future__ import annotations

import logging
import sys
import weakref
from collections import OrderedDict
from typing import Any

from .events import Current, Event, as_logged
from .exceptions import write_exc_info
from .shown import Printed, Shown, repr_of, str_of
from .values import Writer, mapping, printed_mapping, revived

_BASIC = (
    "name", "msg", "args", "levelname", "levelno", "pathname", "filename", "module", "exc_info", "exc_text",
    "stack_info", "lineno", "funcName", "created", "msecs", "relativeCreated", "thread", "threadName", "processName",
    "process",
)  # fmt: skip
_LAYOUTS = (_BASIC, (*_BASIC, "taskName"))
_PAIRS = len(_LAYOUTS)  #: the layout of records with other attributes, or in another order
LAYOUT = 1 if sys.version_info >= (3, 12) else 0  #: of this interpreter's records
NAMES = _LAYOUTS[LAYOUT]
COUNT = len(NAMES)
_TUPLE = {"$tuple"}
_new: Any = object.__new__
_Record = logging.LogRecord
_format_exception = logging.Formatter().formatException
_kinds: weakref.WeakValueDictionary[str, type[logging.LogRecord]] = weakref.WeakValueDictionary()
#: subclasses whose records this process has written


def write_record(record: logging.LogRecord) -> tuple[list[Any], int]:
    """The payload of any record, and how many of its values are stored as their text."""
    fields = dict(record.__dict__)
    writer = Writer()
    trees = _Message(record, fields, writer).trees()
    if fields.get("exc_info") is not None:
        trees.update(_exception(fields, writer))
    if "_logger" in fields and "_name" in fields:
        trees["_logger"] = {"$logger": _logger_name(fields["_logger"], record)}
    fit, fit_key = writer.fit, writer.fit_key
    pairs = [(fit_key(name), trees[name] if name in trees else fit(value)) for name, value in fields.items()]
    kind = _kind_of(record)
    if writer.lost and not _says_the_same(record, pairs, kind):
        plain = {"msg": kind[1], "args": {"$tuple": []}}
        pairs, kind = [(name, plain[name] if name in ("msg", "args") else tree) for name, tree in pairs], []
    return _laid_out(pairs, kind), writer.lost


def write_bare(record: logging.LogRecord) -> tuple[list[Any], int]:
    """The same with the plainest of its values, for want of anything better."""
    pairs = [[name, _bare(value)] for name, value in list(record.__dict__.items()) if type(name) is str]
    return [pairs, None, None, _PAIRS], sum(value is None for _, value in pairs)


def _bare(value: Any) -> Any:
    kind = type(value)
    return value if kind is str or kind is float or (kind is int and abs(value) < 1 << 63) else None


def _laid_out(pairs: list[tuple[Any, Any]], kind: list[Any]) -> list[Any]:
    names = tuple(name for name, _ in pairs)
    values = [value for _, value in pairs]
    for layout in (1, 0):
        count = len(_LAYOUTS[layout])
        if names[:count] == _LAYOUTS[layout] and type(args := values[2]) is not list:
            values[2] = args["$tuple"] if type(args) is dict and args.keys() == _TUPLE else args
            others = [mapping(pairs[count:])] if kind or len(pairs) > count else []
            return [*values[:count], *others, *kind, layout]
    return [[list(pair) for pair in pairs], *(kind or [None, None]), _PAIRS]


def _kind_of(record: logging.LogRecord) -> list[Any]:
    """The name of a subclass, and what its own `getMessage` gives."""
    kind = type(record)
    if kind is _Record:
        return []
    name = _full_name(kind)
    _kinds[name] = kind
    return [name, None if kind.getMessage is _Record.getMessage else _formatted(record)]


def _says_the_same(record: logging.LogRecord, pairs: list[tuple[Any, Any]], kind: list[Any]) -> bool:
    """Whether a subclass's own `getMessage` does so of what comes back: it may look into what can't be stored."""
    if not kind or kind[1] is None or issubclass(type(record.__dict__.get("msg")), dict):
        return True
    probe = _new(type(record))
    probe.__dict__.update((revived(name), revived(tree)) for name, tree in pairs if name != "exc_info")
    return bool(_formatted(probe) == kind[1])


def _full_name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _formatted(record: logging.LogRecord) -> str | None:
    try:
        return str.__str__(record.getMessage())
    except Exception:
        return None


def _logger_name(value: Any, record: logging.LogRecord) -> str:
    """Of the logger that structlog leaves in a record. What it wraps may be any object; a formatter needs its name."""
    return str.__str__(value.name) if issubclass(type(value), logging.Logger) else str_of(record.name)


def _entries(event: dict[Any, Any]) -> list[tuple[Any, Any]]:
    """As its formatters see them; of a kind whose own `items` fails those that it holds."""
    try:
        return list(dict(event.items()).items())
    except Exception:
        return list(dict.items(event))


class _Message:
    """What a record says: its `msg` and `args`."""

    def __init__(self, record: logging.LogRecord, fields: dict[str, Any], writer: Writer) -> None:
        self._record, self._fields, self._writer = record, fields, writer

    def trees(self) -> dict[str, Any]:
        trees = {}
        if "msg" in self._fields:
            trees["msg"] = self._msg(self._fields["msg"])
        if self._fields.get("args") is not None:
            printed = Writer(printed=True)
            trees["args"] = self._args(self._fields["args"], printed)
            if printed.lost:
                self._writer.lost += printed.lost
                self._check(trees)
        return trees

    def _msg(self, msg: Any) -> Any:
        if issubclass(type(msg), dict):
            return self._event(msg)
        printed = Writer(printed=True)
        tree = printed.fit(msg)
        if printed.lost:
            self._writer.lost += 1
            parts = tree.get("$shown") if type(tree) is dict else None
            return str_of(msg) if parts is None else str(Shown.of(*parts))  # it is asked once: that may take long
        return tree

    def _event(self, event: dict[Any, Any]) -> Any:
        """A dict stays one, whatever it holds: formatters look into it. structlog's may have an exception."""
        if type(event) is OrderedDict:
            return self._writer.fit(event)
        lost = self._writer.lost
        if type(event) not in (dict, Event, Printed):
            self._writer.lost += 1
        info = dict.get(event, "exc_info")
        if type(event) is Event:  # logged once more
            info = event.exception()
        elif info and type(info) in (bool, int) and "_name" in self._fields and sys.exc_info()[1]:
            info = Current.of(sys.exc_info(), info)
        fit, pairs = self._writer.fit, [(self._writer.fit_key(key), value) for key, value in _entries(event)]
        tree = mapping(
            [(key, exc_info_tree(info, self._writer) if key == "exc_info" else fit(value)) for key, value in pairs]
        )
        is_other = type(event) is Printed or self._writer.lost > lost
        return printed_mapping(event, tree) if is_other and not dict.__contains__(event, "exc_info") else tree

    @staticmethod
    def _args(args: Any, printed: Writer) -> Any:
        if type(args) is tuple:
            return {"$tuple": [printed.fit(each) for each in args]}
        if type(args) is dict:
            return printed.items(args.copy().items())
        return printed.fit(args)

    def _check(self, trees: dict[str, Any]) -> None:
        """Whether it says the same with arguments that only print alike."""
        text = _formatted(self._record)
        if text is None:
            return
        probe = _new(type(self._record))
        probe.__dict__.update(self._fields)
        probe.__dict__.update((name, revived(tree)) for name, tree in trees.items())
        if _formatted(probe) != text:
            trees["msg"], trees["args"] = self._formatted_as(text, trees["msg"]), {"$tuple": []}

    def _formatted_as(self, text: str, tree: Any) -> Any:
        """The message as its text; one that is stored as a dict stays one, and prints so."""
        return {"$printed": [text, repr_of(self._fields["msg"]), tree]} if isinstance(revived(tree), dict) else text


def _exception(fields: dict[str, Any], writer: Writer) -> dict[str, Any]:
    """The exception of a record; as `exc_text` alone, if it isn't one that can be stored."""
    lost = writer.lost
    tree = exc_info_tree(fields["exc_info"], writer)
    if writer.lost == lost:
        return {"exc_info": tree}
    try:
        text = fields.get("exc_text") or _format_exception(fields["exc_info"])
    except Exception:
        return {"exc_info": tree}
    return {"exc_info": None, "exc_text": writer.fit(text)}


def exc_info_tree(info: Any, writer: Writer) -> Any:
    """What `sys.exc_info()` gave, or an exception, with its traceback and what led to it."""
    kind = type(info)
    is_whole = issubclass(kind, tuple) and len(info) == 3 and issubclass(type(info[1]), BaseException)
    if not is_whole and not issubclass(kind, BaseException):
        return writer.fit(info)
    lost = writer.lost
    try:
        tree = write_exc_info(info, writer.fit)
    except Exception:
        return writer.shown(info)
    writer.lost = lost
    return tree


def read_record(values: Any) -> logging.LogRecord:
    """The record of a payload. Raises ValueError and the like for what isn't one."""
    layout = values[-1]
    if layout == LAYOUT and len(values) == COUNT + 1 and type(values[2]) is list:  # as nearly all are
        return _plain(values)
    names: tuple[str, ...] = _LAYOUTS[layout] if layout != _PAIRS else ()
    count = len(names)
    kind = text = None
    if names:
        fields = dict(zip(names, values))  # noqa: B905  # there are more values
        if type(fields["args"]) is list:
            fields["args"] = tuple(fields["args"])
        if len(values) > count + 1:
            fields.update(values[count])
            fields["msg"] = as_logged(fields["msg"])
        if len(values) > count + 2:
            kind, text = values[count + 1 : -1]
    else:
        pairs, kind, text, _ = values
        fields = dict(pairs)
        fields["msg"] = as_logged(fields.get("msg"))
    record: logging.LogRecord = _new(_Record if kind is None else _known(kind, text, fields))
    record.__dict__ = fields
    return record


def _plain(values: list[Any]) -> logging.LogRecord:
    """Attribute by attribute, in the order of `NAMES`: from Python 3.11 on that takes a third of what a dict takes."""
    made: Any = _new(_Record)
    values[2] = tuple(values[2])
    if LAYOUT:
        (
            made.name, made.msg, made.args, made.levelname, made.levelno, made.pathname, made.filename, made.module,
            made.exc_info, made.exc_text, made.stack_info, made.lineno, made.funcName, made.created, made.msecs,
            made.relativeCreated, made.thread, made.threadName, made.processName, made.process, made.taskName, _,
        ) = values  # fmt: skip
    else:
        (
            made.name, made.msg, made.args, made.levelname, made.levelno, made.pathname, made.filename, made.module,
            made.exc_info, made.exc_text, made.stack_info, made.lineno, made.funcName, made.created, made.msecs,
            made.relativeCreated, made.thread, made.threadName, made.processName, made.process, _,
        ) = values  # fmt: skip
    record: logging.LogRecord = made
    return record


def _known(name: str, text: str | None, fields: dict[str, Any]) -> type[logging.LogRecord]:
    """The subclass, if this process makes records of it; a plain record says what `getMessage` said."""
    kind = _kinds.get(name)
    if kind is not None:
        return kind
    factory = logging.getLogRecordFactory()
    if isinstance(factory, type) and issubclass(factory, _Record) and _full_name(factory) == name:
        return factory
    if text is not None:
        fields["msg"], fields["args"] = text, ()
    return _Record
