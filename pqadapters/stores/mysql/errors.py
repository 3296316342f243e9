"""What the errors of a server mean: words for people, and which of them are worth another try."""

from __future__ import annotations

import ssl
from typing import Any

from ...errors import FormatError, OutcomeUnknown, StoreError, StoreRefused, StoreUnreachable, TooLarge
from .driver import pymysql

# By number: https://mariadb.com/kb/en/mariadb-error-codes/ and the client's own, of 2000 and more.
_LOST = {2000, 2002, 2003, 2006, 2012, 2013, 2014, 2027, 2055, 1047, 1053, 1077, 1152, 1158, 1159, 1160, 1161, 1184}
_CROWDED, _READ_ONLY = {1040, 1129, 1135, 1203, 1226}, {1036, 1290, 1792, 1836, 1874}
_LOST |= {1317, 1927, 1969, 3024, 4031} | _CROWDED | _READ_ONLY  # killed, too idle; the others may be so for a moment
_PASSING = {1205, 1213, 1020, 1412, 1637, 3058, 1180}
_NULL, _NO_COLUMN, _DOUBLE, _NO_TABLE, _OVERFLOW = 1048, 1054, 1062, 1146, 1690
_DENIED = dict.fromkeys((1045, 1698, 1820, 1862), "the password") | dict.fromkeys((1142, 1143, 1227), "a privilege")
_DENIED |= {1044: "the database", 1130: "this host", 3118: "the user", 4151: "the user"}
_TOO_LARGE, _UNENCRYPTED = {1153, 1301}, 3159
_FULL, _WRITING = {1021, 1030, 1114}, {3, 14, 1026, 1878}
NO_ROOM = "the server waits for space on its disk, as for its binary log"
UNSURE = 1180  #: an error of COMMIT itself


def number_of(error: BaseException) -> int:
    """The server's or the client's number of an error of the driver's, or of one that wraps it; 0 where it has none."""
    error = getattr(error, "error", error)
    arguments: Any = error.args
    return arguments[0] if arguments and isinstance(arguments[0], int) and isinstance(error, pymysql.err.Error) else 0


def is_lost(error: BaseException) -> bool:
    """The connection is gone, or can't be made now."""
    error = getattr(error, "error", error)
    if isinstance(error, OSError) or number_of(error) in _LOST:
        return True
    return isinstance(error, (pymysql.err.InterfaceError, pymysql.err.InternalError)) and number_of(error) == 0


def is_silent(error: BaseException) -> bool:
    """No answer came in its time; else somebody has said that the connection is gone."""
    error = getattr(error, "error", error)
    return isinstance(error.__context__ or error, TimeoutError)


def is_refused(error: BaseException) -> bool:
    """The server has answered that it changes nothing now: no doubt is left, not of a COMMIT either."""
    return number_of(error) in _READ_ONLY


def is_denied(error: BaseException) -> bool:
    """This user may not, by the grants that the server has looked at when the connection came."""
    return number_of(error) in _DENIED


def is_passing(error: BaseException) -> bool:
    """A deadlock, or a lock that was waited for too long: another try may go through."""
    return number_of(error) in _PASSING


def is_null(error: BaseException) -> bool:
    """What `TOKEN` and `ONE_ROW` say where a transaction may not be committed."""
    return number_of(error) in (_NULL, _OVERFLOW)


def is_double(error: BaseException) -> bool:
    return number_of(error) == _DOUBLE


def is_missing(error: BaseException) -> bool:
    """There is no such table."""
    return number_of(error) == _NO_TABLE


def said(error: BaseException) -> str:
    """What the server said, without the number; the driver says nothing of a connection that has been gone before."""
    return (str(error.args[-1]) if error.args else type(error).__name__) or "the connection is gone"


def too_large(size: int, most: int) -> Exception:
    """The driver's error of a packet that the server wouldn't take: sent, it would mostly cut the connection."""
    error: Exception = pymysql.err.OperationalError(
        1153, f"this takes a packet of {size:,} bytes, and the server's max_allowed_packet is {most:,}"
    )
    return error


def translated(error: BaseException, place: str) -> StoreError:
    """The error that a user sees in place of the driver's."""
    number, text = number_of(error), said(error)
    if number in _DENIED:
        return StoreRefused(
            f"{place}: the server refuses {_DENIED[number]}: {text}. Look at the user, who may have to come encrypted "
            "(tls=), the password (in the URL, password_file= or PQADAPTERS_MYSQL_PASSWORD) and the grants: SELECT, "
            "INSERT, UPDATE and DELETE on the store's tables, and CREATE to make them"
        )
    if number == _UNENCRYPTED:
        return StoreRefused(f"{place}: {text} Give tls='on', or 'verify'")
    is_of_tls = number == 2026 or isinstance(getattr(error, "error", error), ssl.SSLError) or "[SSL" in text
    if is_of_tls and "EOF occurred" not in text:  # else the server went in the middle of the greeting
        return StoreRefused(f"{place}: there is no TLS as tls= asks for it: {text}. Look at tls_ca and the host's name")
    if number == 1049:
        return StoreRefused(f"{place}: {text}. The store makes its tables, not the database: CREATE DATABASE first")
    if number in _TOO_LARGE:
        return TooLarge(
            f"{place}: {text}; nothing was stored. Raise max_allowed_packet on the server (an item takes about twice "
            "its size), put a smaller item, or the path of a file"
        )
    if number in _FULL or (number in _WRITING and "space" in text):
        return StoreError(
            f"{place}: the server has no room: {text}; nothing was stored. Free some space on the server's disk: puts, "
            "and claims as well, need it; what is in hand can be acknowledged meanwhile"
        )
    if number == _NO_COLUMN:
        return StoreRefused(f"{place}: {text}: another program's tables have the names of ours; choose another prefix=")
    if is_missing(error):
        return StoreRefused(
            f"{place}: {text}: its tables were dropped while it was open. Where all of them are gone, opening it again "
            "makes them anew, once this process has closed all that it has open there"
        )
    if is_null(error):
        return StoreUnreachable(
            f"{place}: others have taken this process for dead, and the time was over before it was back; nothing of "
            "this call was stored. Look what keeps the server from hearing of it for so long (lease=)"
        )
    if is_passing(error):
        return StoreUnreachable(f"{place}: others have locked what this needs ({text}); nothing was stored")
    if is_refused(error):
        return StoreUnreachable(
            f"{place}: the server takes no changes now: {text}. Nothing of this call was stored. Look at read_only "
            "there, and whether it has become a replica"
        )
    if number in _CROWDED:
        return StoreUnreachable(
            f"{place}: the server takes no more connections: {text}. Nothing of this call was stored. Raise "
            "max_connections, or what this user may have: a process takes up to six"
        )
    if is_lost(error):
        return StoreUnreachable(
            f"{place}: the server can't be reached: {text}. Nothing of this call was stored. Look whether it runs, at "
            "host and port, and at what lies between"
        )
    return StoreError(f"{place}: the server says {number}: {text}")


def without_room(place: str) -> StoreUnreachable:
    """In place of the error of a call whose time is over while the server waits for space itself."""
    return StoreUnreachable(
        f"{place}: {NO_ROOM}. Nothing of this call was stored. Free some: until then it takes no changes, "
        "acknowledgements neither"
    )


def unknown(place: str, error: BaseException | str | None) -> OutcomeUnknown:
    why = f": {error if isinstance(error, str) else said(error)}" if error is not None else ""
    return OutcomeUnknown(
        f"{place}: the server was asked to commit, and hasn't answered in time{why}. Nobody knows whether this was "
        "stored; the store itself goes on when the server does"
    )


def overdue(place: str) -> StoreUnreachable:
    return StoreUnreachable(
        f"{place}: the time is over, and other threads of this process are still being served, or wait for the server; "
        "nothing of this call was stored"
    )


def newer(place: str, found: int, known: int) -> FormatError:
    return FormatError(
        f"{place} has tables of version {found}, and this pqadapters knows version {known}: upgrade pqadapters, or "
        "give the store another prefix="
    )
