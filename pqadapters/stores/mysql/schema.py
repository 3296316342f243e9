"""What stands in the database, and every statement that is ever run on it.

A record is one row of `items`, and where it stands says what state it is in (I3). The primary key is

    queue, state, place, id        place:  0 ready     the first 512 bytes of the rank, '' where it has none
                                           1 delayed   the moment at which it is ready, as 8 bytes that sort as it does
                                           2 claimed   owner (u64) and handle (u32), big-endian

so the next record of a queue is the first row of a range, by rank and then by id, at any backlog: a claim is a short
range of the primary key with SKIP LOCKED, in READ COMMITTED, with no sort and no lock on a gap. What is due is a range,
too, and so is what an owner or a handle has claimed. The fencing token stands in the key and in `attempts`.

`by_id` is what InnoDB wants of an AUTO_INCREMENT column; it has the whole primary key, and serves looks by id.

`queues.ranked` has marks of its queue, which it never loses: `RANKED`, `BOUNDED`.

`owners` has a row for each process. `lease_until` is by the server's clock; `alive` is 1, 0 for one whose claims are
being given back, and 2 when that is done. `seq` is the number of the last transaction that the process has committed:
each transaction moves it on by one, or fails, so that a commit whose answer was lost is looked up there (`TOKEN`), and
one that comes late, behind such a look, fails. `first_id` is the first id that the transaction gave.

`entries` holds the tables of the contract, in the order of `place`. Names and keys are bytes of any length; what is
unique is their SHA-256.

Statements are constants; values are bound by `bound`, which knows numbers and bytes and nothing else.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

VERSION = 1
READY, DELAYED, CLAIMED = 0, 1, 2
ALIVE, DYING, DEAD = 1, 0, 2
PLACE = 512  #: bytes of a rank in the key
RANKED, BOUNDED = 1, 2  #: what `queues.ranked` says: there were records with ranks, puts with a limit
LARGE = 1 << 16  #: bytes of a payload that isn't fetched ahead
DUE_AT_ONCE = 500  #: delayed records that one statement makes ready

_PREFIX = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,31}")
_MADE = "ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARACTER SET utf8mb4"

META = f"""
CREATE TABLE IF NOT EXISTS {{p}}meta(
    name VARBINARY(64) NOT NULL PRIMARY KEY, number BIGINT NOT NULL
) {_MADE}"""

SCHEMA = (
    f"""
CREATE TABLE IF NOT EXISTS {{p}}queues(
    number INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, digest BINARY(32) NOT NULL UNIQUE,
    name LONGBLOB NOT NULL, ranked TINYINT NOT NULL DEFAULT 0
) {_MADE}""",
    f"""
CREATE TABLE IF NOT EXISTS {{p}}items(
    queue INT UNSIGNED NOT NULL, state TINYINT UNSIGNED NOT NULL, place VARBINARY({PLACE}) NOT NULL,
    id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT, attempts INT UNSIGNED NOT NULL, size INT UNSIGNED NOT NULL,
    put_at DOUBLE NOT NULL, not_before DOUBLE NOT NULL, ranking LONGBLOB, note LONGBLOB, payload LONGBLOB NOT NULL,
    PRIMARY KEY(queue, state, place, id), KEY by_id(id)
) {_MADE}""",
    f"""
CREATE TABLE IF NOT EXISTS {{p}}kinds(
    number INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, digest BINARY(32) NOT NULL UNIQUE, name LONGBLOB NOT NULL
) {_MADE}""",
    f"""
CREATE TABLE IF NOT EXISTS {{p}}entries(
    kind INT UNSIGNED NOT NULL, place BIGINT UNSIGNED NOT NULL AUTO_INCREMENT, digest BINARY(32) NOT NULL,
    name LONGBLOB NOT NULL, value LONGBLOB NOT NULL,
    PRIMARY KEY(kind, place), KEY by_place(place), UNIQUE KEY by_name(kind, digest)
) {_MADE}""",
    f"""
CREATE TABLE IF NOT EXISTS {{p}}owners(
    number BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, alive TINYINT NOT NULL, lease_until DOUBLE NOT NULL,
    seq BIGINT UNSIGNED NOT NULL, first_id BIGINT UNSIGNED NOT NULL, host VARBINARY(255) NOT NULL, pid INT NOT NULL
) {_MADE}""",
)

#: What makes tables of a version those of the next one. A statement may be repeated, by whoever comes after a crash.
UPGRADES: dict[int, tuple[str, ...]] = {}

#: Of every session, whatever the server's defaults are, and its init_connect, of which the driver hears nothing.
SESSION = (
    "SET SESSION autocommit = %s, sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', sql_safe_updates = 0, "
    "sql_select_limit = 18446744073709551615, sql_big_selects = 1, unique_checks = 1"
    " /*M! , max_statement_time = 0 */ /*!80000 , max_execution_time = 0 */"  # of MariaDB, of MySQL
)
LEVEL = "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE"
_NOW = "UNIX_TIMESTAMP(NOW(6))"
_ITEM = "id, place, attempts, put_at, ranking, note, payload"
_RECORD = "id, state, attempts, put_at, not_before, ranking, note, payload"
_SEEN = _RECORD.replace("payload", f"IF(size > {LARGE}, NULL, payload)")  # a page of large payloads fills the memory
_HELD = "queue = %s AND state = 2 AND place = %s AND id = %s AND attempts = %s"


class Statements:
    """Every statement, with the names of a store's tables in it."""

    # Sessions

    BEGIN_SESSION = (
        f"{SESSION}, time_zone = '+00:00', innodb_lock_wait_timeout = 2, lock_wait_timeout = 1, completion_type = 0; "
        f"{LEVEL}; "
        f"SELECT {_NOW}, @@max_allowed_packet, @@auto_increment_increment"
    )
    WAIT_FOR_TABLES = "SET SESSION lock_wait_timeout = %s"
    END_IDLE = "SET SESSION idle_transaction_timeout = %s"
    FOLDS = "SELECT @@lower_case_table_names"
    #: threads of this user's, at least: MariaDB's words, and those of MySQL 8.0
    NO_ROOM = "SELECT COUNT(*) FROM information_schema.processlist WHERE state LIKE 'Waiting for %space'"
    SETTINGS = "SELECT @@innodb_flush_log_at_trx_commit, @@log_bin, @@sync_binlog"
    SAVE = "SAVEPOINT work"
    UNDO = "ROLLBACK TO SAVEPOINT work"
    COMMIT = "COMMIT"
    ROLLBACK = "ROLLBACK"
    WHO = "SELECT CONNECTION_ID()"
    REPEATABLE = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"
    ONE_MOMENT = "START TRANSACTION WITH CONSISTENT SNAPSHOT"
    ONE_MOMENT_TO_READ = f"{ONE_MOMENT}, READ ONLY"

    # The schema

    GET_LOCK = "SELECT GET_LOCK(%s, %s)"
    HOLDER = "SELECT IS_USED_LOCK(%s)"
    END = "KILL %s"
    RELEASE_LOCK = "DO RELEASE_LOCK(%s)"
    VERSION = "SELECT number FROM {p}meta WHERE name = 'version'"
    SET_VERSION = "REPLACE INTO {p}meta(name, number) VALUES ('version', %s)"
    #: Tables of other engines, most of which know no transactions.
    STRANGE = (
        "SELECT table_name, engine FROM information_schema.tables "
        "WHERE table_schema = DATABASE() AND engine <> 'InnoDB' "
        "AND table_name IN ('{p}meta', '{p}queues', '{p}items', '{p}kinds', '{p}entries', '{p}owners')"
    )

    # Names

    QUEUE = "SELECT number, ranked FROM {p}queues WHERE digest = %s"
    QUEUES = "SELECT name FROM {p}queues ORDER BY number"
    ADD_QUEUE = "INSERT IGNORE INTO {p}queues(digest, name) VALUES (%s, %s)"
    #: numbers
    QUEUES_OF = "SELECT number, digest FROM {p}queues WHERE number IN (%s)"
    MARK = "UPDATE {p}queues SET ranked = ranked | %s WHERE number = %s"
    KIND = "SELECT number FROM {p}kinds WHERE digest = %s"
    KINDS = "SELECT name FROM {p}kinds ORDER BY number"
    KINDS_OF = "SELECT number, digest FROM {p}kinds WHERE number IN (%s)"
    ADD_KIND = "INSERT IGNORE INTO {p}kinds(digest, name) VALUES (%s, %s)"

    # Records

    PUT = (
        "INSERT INTO {p}items(queue, state, place, attempts, size, put_at, not_before, ranking, note, payload) VALUES "
    )
    LOCK_QUEUE = "SELECT number FROM {p}queues WHERE number = %s FOR UPDATE"
    #: number, now, limit, of ready records and then of those that are due
    COUNT_READY = (
        "SELECT (SELECT COUNT(*) FROM (SELECT 1 FROM {p}items WHERE queue = %s AND state = 0 LIMIT %s) a) + "
        "(SELECT COUNT(*) FROM {p}items WHERE queue = %s AND state = 1 AND place <= %s)"
    )
    COUNT_BYTES = "SELECT COUNT(*), COALESCE(SUM(size), 0) FROM {p}items WHERE queue = %s"
    IS_HELD = f"SELECT ranking, note FROM {{p}}items WHERE {_HELD} FOR UPDATE"
    ACK = f"DELETE FROM {{p}}items WHERE {_HELD}"
    #: number, place, attempts, ids
    ACK_SOME = "DELETE FROM {p}items WHERE queue = %s AND state = 2 AND place = %s AND attempts = %s AND id IN (%s)"
    #: state, place, not_before; what is held
    NACK = f"UPDATE {{p}}items SET state = %s, place = %s, not_before = %s WHERE {_HELD}"
    #: queue, state, place, not_before, note; what is held
    BURY = f"UPDATE {{p}}items SET queue = %s, state = %s, place = %s, not_before = %s, note = %s WHERE {_HELD}"
    UPDATE = f"UPDATE {{p}}items SET size = %s, payload = %s WHERE {_HELD}"
    #: seconds, owner
    EXTEND = f"UPDATE {{p}}owners SET lease_until = GREATEST(lease_until, {_NOW} + %s) WHERE number = %s"

    # Claims

    #: number, number
    LOOK = (
        "SELECT ranked, (SELECT place FROM {p}items FORCE INDEX(PRIMARY) WHERE queue = %s AND state = 1 "
        "ORDER BY place, id LIMIT 1) FROM {p}queues WHERE number = %s"
    )
    DUE = (
        "SELECT id, place FROM {p}items FORCE INDEX(PRIMARY) WHERE queue = %s AND state = 1 AND place <= %s "
        f"ORDER BY place, id LIMIT {DUE_AT_ONCE} FOR UPDATE SKIP LOCKED"
    )
    #: number, their first place and the last one, ids
    MATURE = (
        f"UPDATE {{p}}items FORCE INDEX(PRIMARY) SET state = 0, place = LEFT(COALESCE(ranking, ''), {PLACE}) "
        "WHERE queue = %s AND state = 1 AND place BETWEEN %s AND %s AND id IN (%s)"
    )
    FIRST = (
        f"SELECT {_ITEM} FROM {{p}}items FORCE INDEX(PRIMARY) WHERE queue = %s AND state = 0 "
        "ORDER BY place, id LIMIT %s FOR UPDATE SKIP LOCKED"
    )
    #: The same, without payloads that are large.
    SOME_FIRST = FIRST.replace("payload", f"IF(size > {LARGE}, NULL, payload)")
    LAST = (
        f"SELECT {_ITEM} FROM {{p}}items FORCE INDEX(PRIMARY) WHERE queue = %s AND state = 0 "
        "ORDER BY place DESC, id DESC LIMIT %s FOR UPDATE SKIP LOCKED"
    )
    OLDEST_IDS = (
        "SELECT id FROM {p}items FORCE INDEX(by_id) WHERE queue = %s AND state = 0 ORDER BY id LIMIT %s"
    )
    NEWEST_IDS = (
        "SELECT id FROM {p}items FORCE INDEX(by_id) WHERE queue = %s AND state = 0 ORDER BY id DESC LIMIT %s"
    )
    RANKS_AT = (
        "SELECT id, ranking FROM {p}items FORCE INDEX(PRIMARY) WHERE queue = %s AND state = 0 AND place = %s"
    )
    THESE = (
        f"SELECT {_ITEM} FROM {{p}}items FORCE INDEX(by_id) WHERE id IN (%s) AND queue = %s AND state = 0 "
        "FOR UPDATE SKIP LOCKED"
    )
    #: place, number, place, ids
    CLAIM = (
        "UPDATE {p}items SET state = 2, place = %s, attempts = attempts + 1 "
        "WHERE queue = %s AND state = 0 AND place = %s AND id IN (%s)"
    )

    # Given back

    NUMBERS = "SELECT number FROM {p}queues"
    #: numbers, first place, last place
    CLAIMED_BY = (
        "SELECT queue, place, id FROM {p}items FORCE INDEX(PRIMARY) WHERE queue IN (%s) AND state = 2 "
        "AND place BETWEEN %s AND %s LIMIT 1000 FOR UPDATE SKIP LOCKED"
    )
    ANY_CLAIMED_BY = (
        "SELECT 1 FROM {p}items FORCE INDEX(PRIMARY) WHERE queue IN (%s) AND state = 2 "
        "AND place BETWEEN %s AND %s LIMIT 1"
    )
    #: number, place, ids
    RELEASE = (
        f"UPDATE {{p}}items SET state = 0, place = LEFT(COALESCE(ranking, ''), {PLACE}) "
        "WHERE queue = %s AND state = 2 AND place = %s AND id IN (%s)"
    )
    UNTOUCHED = (
        f"UPDATE {{p}}items SET state = 0, place = LEFT(COALESCE(ranking, ''), {PLACE}), attempts = attempts - 1 "
        "WHERE queue = %s AND state = 2 AND place = %s AND id IN (%s)"
    )

    # Owners

    ADD_OWNER = (
        "INSERT INTO {p}owners(alive, lease_until, seq, first_id, host, pid) "
        f"VALUES (1, {_NOW} + %s, 0, 0, %s, %s)"
    )
    RENEW = (
        f"UPDATE {{p}}owners SET lease_until = GREATEST(lease_until, {_NOW} + %s) "
        "WHERE number = %s AND host = %s AND pid = %s AND alive = 1"
    )
    DROP_OWNER = "DELETE FROM {p}owners WHERE number = %s AND host = %s AND pid = %s"
    #: The last but one before a COMMIT. NULL is refused, and what stands behind it isn't carried out.
    TOKEN = (
        "UPDATE {p}owners SET first_id = LAST_INSERT_ID(), "
        "seq = IF(seq = %s AND alive = 1, %s, NULL) WHERE number = %s"
    )
    TOKEN_IF = (
        "UPDATE {p}owners SET first_id = LAST_INSERT_ID(), "
        "seq = IF(seq = %s AND alive = 1 AND @pqa_rows = %s, %s, NULL) WHERE number = %s"
    )
    #: Behind it: the row may be gone, of a process that others have forgotten, or in tables that were emptied. Then
    #: this overflows, which is an error in every sql_mode.
    ONE_ROW = "SET @pqa_one = POW(10, 999 * (1 - ROW_COUNT()))"
    NO_ROWS = "SET @pqa_rows = 0"
    COUNT_ROWS = "SET @pqa_rows = @pqa_rows + ROW_COUNT()"
    SEQ = "SELECT seq, first_id, alive FROM {p}owners WHERE number = %s AND host = %s AND pid = %s FOR UPDATE"
    FENCE = "UPDATE {p}owners SET seq = %s WHERE number = %s"
    SEQS = "SELECT number, seq FROM {p}owners WHERE alive < 2"
    #: name of locks, without the number
    LIVES = (
        f"SELECT number, alive, lease_until < {_NOW}, IS_FREE_LOCK(CONCAT(%s, number)), seq "
        "FROM {p}owners WHERE alive < 2"
    )
    #: name of locks, without the number
    HOLDERS = (
        "SELECT host, pid FROM {p}owners "
        f"WHERE alive = 1 AND lease_until >= {_NOW} AND IS_FREE_LOCK(CONCAT(%s, number)) = 0 ORDER BY number"
    )
    LOCK_OWNER = f"SELECT alive, lease_until < {_NOW} FROM {{p}}owners WHERE number = %s FOR UPDATE"
    IS_FREE = "SELECT IS_FREE_LOCK(%s)"
    IS_ALIVE = "SELECT alive FROM {p}owners WHERE number = %s AND host = %s AND pid = %s"
    SET_ALIVE = "UPDATE {p}owners SET alive = %s WHERE number = %s"
    FORGET = f"DELETE FROM {{p}}owners WHERE alive = 2 AND lease_until < {_NOW} - 86400"
    CLOCK = f"SELECT {_NOW}"

    # Looking at queues

    #: number, number
    ANY_READY = (
        "SELECT EXISTS(SELECT 1 FROM {p}items WHERE queue = %s AND state = 0), "
        "(SELECT not_before FROM {p}items FORCE INDEX(PRIMARY) WHERE queue = %s AND state = 1 "
        "ORDER BY place, id LIMIT 1)"
    )
    #: now, numbers
    DEPTH = (
        "SELECT queue, state, COUNT(*), SUM(size), SUM(state = 1 AND place <= %s) FROM {p}items FORCE INDEX(PRIMARY) "
        "WHERE queue IN (%s) GROUP BY queue, state"
    )
    NEXT_DUE = "SELECT not_before FROM {p}items WHERE queue = %s AND state = 1 ORDER BY place, id LIMIT 1"
    OLDEST = "SELECT put_at, id FROM {p}items WHERE queue = %s AND state = 0 AND place = '' ORDER BY id LIMIT 1"
    OLDEST_RANKED = (
        "SELECT put_at, id FROM {p}items FORCE INDEX(by_id) WHERE queue = %s AND state = 0 ORDER BY id LIMIT 1"
    )
    #: number, now
    OLDEST_DUE = (
        "SELECT put_at, id FROM {p}items WHERE queue = %s AND state = 1 AND place <= %s ORDER BY id LIMIT 1"
    )
    #: for each state a number, two ids that are left out, and how many
    BETWEEN = " UNION ALL ".join(
        f"(SELECT {_SEEN} FROM {{p}}items FORCE INDEX(PRIMARY) WHERE queue = %s AND state = {state} "
        "AND id > %s AND id < %s ORDER BY id LIMIT %s)"
        for state in ("0 AND place = ''", "1", "2")
    )
    BETWEEN_BACK = BETWEEN.replace("ORDER BY id", "ORDER BY id DESC")
    #: Of one place number, place, an id that is left out, and how many; of those behind it number, place, how many.
    READY_BEHIND = " UNION ALL ".join(
        f"(SELECT {_SEEN} FROM {{p}}items FORCE INDEX(PRIMARY) WHERE queue = %s AND state = 0 AND {behind} LIMIT %s)"
        for behind in ("place = %s AND id > %s ORDER BY id", "place > %s ORDER BY place, id")
    )
    IDS = "SELECT id, ranking FROM {p}items WHERE queue = %s AND id > %s"
    RECORDS = f"SELECT {_SEEN} FROM {{p}}items FORCE INDEX(by_id) WHERE id IN (%s) AND queue = %s"
    WHOLE = f"SELECT {_RECORD} FROM {{p}}items FORCE INDEX(by_id) WHERE id = %s AND queue = %s"

    # Tables

    SET = (
        "INSERT INTO {p}entries(kind, digest, name, value) VALUES (%s, %s, %s, %s) "
        "ON DUPLICATE KEY UPDATE value = VALUES(value)"
    )
    ADD = "INSERT INTO {p}entries(kind, digest, name, value) VALUES (%s, %s, %s, %s)"
    LOCK_VALUE = "SELECT value FROM {p}entries WHERE kind = %s AND digest = %s FOR UPDATE"
    DELETE = "DELETE FROM {p}entries WHERE kind = %s AND digest = %s"
    CLEAR = "DELETE FROM {p}entries WHERE kind = %s"
    VALUE = "SELECT value FROM {p}entries WHERE kind = %s AND digest = %s"
    COUNT = "SELECT COUNT(*) FROM {p}entries WHERE kind = %s"
    ALL = "SELECT name, value FROM {p}entries WHERE kind = %s ORDER BY place"
    #: number, digests
    SOME = "SELECT name, value FROM {p}entries WHERE kind = %s AND digest IN (%s)"
    PLACE_OF = "SELECT place FROM {p}entries WHERE kind = %s AND digest = %s"
    HIGHEST = "SELECT COALESCE(MAX(place), 0) FROM {p}entries WHERE kind = %s"
    #: number, two places that are left out, how many
    SCAN = (
        "SELECT place, name, value FROM {p}entries WHERE kind = %s AND place > %s AND place < %s "
        "ORDER BY place LIMIT %s"
    )
    SCAN_BACK = SCAN.replace("ORDER BY place", "ORDER BY place DESC")
    SCAN_KEYS = SCAN.replace("place, name, value", "place, name")
    SCAN_KEYS_BACK = SCAN_BACK.replace("place, name, value", "place, name")

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        for name in dir(type(self)):
            if name.isupper():
                setattr(self, name, getattr(type(self), name).replace("{p}", prefix))

    def created(self) -> list[str]:
        """The statements that make the tables, the one with the version first."""
        return [statement.replace("{p}", self.prefix) for statement in (META, *SCHEMA)]


def check_prefix(prefix: str) -> str:
    """What the names of a store's tables begin with. ValueError for what needs quotes, or more than 32 characters."""
    if not _PREFIX.fullmatch(prefix):
        raise ValueError(
            f"prefix is what the names of the store's tables begin with: a letter or _, then letters, digits and _, 32 "
            f"characters at most, not {prefix!r}"
        )
    return prefix


def literal(value: Any) -> str:
    """A number, bytes, or None, or several of them, as SQL has them. There is no text, and so nothing to be escaped."""
    if isinstance(value, bytes):
        return f"x'{value.hex()}'"
    if isinstance(value, int):
        return str(int(value))
    if isinstance(value, float):
        return repr(min(max(value, -1e308), 1e308))
    if value is None:
        return "NULL"
    if isinstance(value, (list, tuple)):
        return ",".join(map(literal, value))
    raise TypeError(f"{type(value).__name__} is nothing that is stored")


def bound(statement: str, values: Sequence[Any]) -> str:
    """The statement with its values."""
    return statement % tuple(map(literal, values)) if values else statement


_double, _owner = struct.Struct(">Q"), struct.Struct(">QI")
_bits = struct.Struct(">d")
_SIGN, _ALL = 1 << 63, (1 << 64) - 1


def moment(seconds: float) -> bytes:
    """A time as 8 bytes that sort as times do."""
    (bits,) = _double.unpack(_bits.pack(seconds))
    return _double.pack(bits ^ (_ALL if bits & _SIGN else _SIGN))


def held_by(owner: int, handle: int) -> bytes:
    """The place of what a handle has claimed."""
    return _owner.pack(owner, handle)


def ready_at(rank: bytes | None) -> bytes:
    """The place of a ready record of that rank."""
    return (rank or b"")[:PLACE]


def digest(name: bytes) -> bytes:
    return sha256(name).digest()


def name_blob(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def name_text(blob: bytes | None) -> str:
    """The text; what somebody else has put there is shown as far as it is text, and holds up nobody."""
    if not blob:
        return ""
    try:
        return blob.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return blob.decode("utf-8", "backslashreplace")
