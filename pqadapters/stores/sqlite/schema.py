"""What stands in the database, and every statement that is ever run on it.

A record is one row of `record`, and where it stands says what state it is in (I3): its `place`, the row's key, is

    ready      queue << 42 | id            so that the first of a queue is the first row of a range, at any backlog
    claimed    the same, negative
    delayed    the same + 1 << 62

with the queue's number below 2**20 and the id below 2**42 (which 50,000 puts a second use up in three years). Ids are
the numbers of one sequence, `last` in the row of queue 0, which only grows. The triggers keep each queue's counts and
the sequence, whatever statement moves a row.

A payload of more than LONG bytes stands in `body`, so that a claim, which moves the row, doesn't write it again; the
row's own is NULL then. `crc` is that of `checksum()`: SQLite has none for its pages. A queue that ever had a record
with a rank is `ranked`: all its records have a `rank` from then on, x'' where none was given, and `by_rank` orders
those that are ready. Names and notes are blobs of UTF-8 with surrogates passed, so that any str comes back.

`owner` is the number of the process that has a record claimed (processes/owners.py), `handle` which of its handles.

`entry` holds the tables of the contract: its `place` is the table's number << 42 | that of the key's first Set, which
orders a table. The first row of a table is its start, without a key. The last one says in `keys` how many there are,
and in `last` the highest place that was ever given, where that is above its own: a new key changes the page at the
table's end and that of its index, and no third one with a count. A value of more than PART bytes is NULL, and stands in
rows of `part`, since SQLite takes no blob of a gigabyte.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any
from zlib import crc32

APPLICATION = 0x50514131  #: PRAGMA application_id: "PQA1"
VERSION = 1  #: PRAGMA user_version
PAGE_SIZE = 2048  #: a commit writes whole pages, and most of ours change some bytes in two

LONG = 1500  #: bytes
ID_BITS = 42
IDS = 1 << ID_BITS
DELAYED = 1 << 62
MAX_QUEUES = (1 << 20) - 1
PART = 1 << 28  #: bytes
MANY = 10_000  #: delayed records

SCHEMA = f"""
CREATE TABLE queue(
    number INTEGER PRIMARY KEY, name BLOB NOT NULL UNIQUE, crc INTEGER NOT NULL, ready INTEGER NOT NULL DEFAULT 0,
    delayed INTEGER NOT NULL DEFAULT 0, claimed INTEGER NOT NULL DEFAULT 0, bytes INTEGER NOT NULL DEFAULT 0,
    ranked INTEGER NOT NULL DEFAULT 0, last INTEGER NOT NULL DEFAULT 0
);
INSERT INTO queue(number, name, crc) VALUES (0, x'', 0);
CREATE TABLE record(
    place INTEGER PRIMARY KEY, queue INTEGER NOT NULL, crc INTEGER NOT NULL, size INTEGER NOT NULL,
    put_at REAL NOT NULL, attempts INTEGER NOT NULL DEFAULT 0, owner INTEGER, handle INTEGER, not_before REAL,
    rank BLOB, note BLOB, payload BLOB
);
CREATE INDEX by_rank ON record(queue, rank, place) WHERE rank IS NOT NULL AND place BETWEEN 0 AND {DELAYED};
CREATE INDEX due ON record(queue, not_before) WHERE place > {DELAYED};
CREATE TABLE body(id INTEGER PRIMARY KEY, payload BLOB NOT NULL);
CREATE TABLE damaged(
    id INTEGER, queue INTEGER, reason TEXT, put_at REAL, crc INTEGER, rank BLOB, note BLOB, payload BLOB
);
CREATE TABLE owner(number INTEGER PRIMARY KEY AUTOINCREMENT, pid INTEGER NOT NULL);
CREATE TABLE kind(number INTEGER PRIMARY KEY, name BLOB NOT NULL UNIQUE, crc INTEGER NOT NULL);
CREATE TABLE entry(
    place INTEGER PRIMARY KEY CHECK (place >> {ID_BITS} = kind), kind INTEGER NOT NULL, crc INTEGER NOT NULL,
    keys INTEGER NOT NULL, last INTEGER, key BLOB, value BLOB
);
CREATE UNIQUE INDEX by_key ON entry(kind, key);
CREATE TABLE part(number INTEGER PRIMARY KEY, place INTEGER NOT NULL, nth INTEGER NOT NULL, data BLOB NOT NULL);
CREATE UNIQUE INDEX by_place ON part(place, nth);
CREATE TRIGGER record_put AFTER INSERT ON record BEGIN
    UPDATE queue SET last = max(last, abs(NEW.place) & {IDS - 1}) WHERE number = 0;
    UPDATE queue SET ready = ready + (NEW.place BETWEEN 0 AND {DELAYED}), claimed = claimed + (NEW.place < 0),
        delayed = delayed + (NEW.place > {DELAYED}), bytes = bytes + NEW.size WHERE number = NEW.queue;
END;
CREATE TRIGGER record_gone AFTER DELETE ON record BEGIN
    UPDATE queue SET ready = ready - (OLD.place BETWEEN 0 AND {DELAYED}), claimed = claimed - (OLD.place < 0),
        delayed = delayed - (OLD.place > {DELAYED}), bytes = bytes - OLD.size WHERE number = OLD.queue;
END;
CREATE TRIGGER record_moved AFTER UPDATE OF place ON record WHEN OLD.queue = NEW.queue BEGIN
    UPDATE queue SET
        ready = ready - (OLD.place BETWEEN 0 AND {DELAYED}) + (NEW.place BETWEEN 0 AND {DELAYED}),
        claimed = claimed - (OLD.place < 0) + (NEW.place < 0),
        delayed = delayed - (OLD.place > {DELAYED}) + (NEW.place > {DELAYED}) WHERE number = NEW.queue;
END;
CREATE TRIGGER record_buried AFTER UPDATE OF queue ON record WHEN OLD.queue <> NEW.queue BEGIN
    UPDATE queue SET ready = ready - (OLD.place BETWEEN 0 AND {DELAYED}), claimed = claimed - (OLD.place < 0),
        delayed = delayed - (OLD.place > {DELAYED}), bytes = bytes - OLD.size WHERE number = OLD.queue;
    UPDATE queue SET ready = ready + (NEW.place BETWEEN 0 AND {DELAYED}), claimed = claimed + (NEW.place < 0),
        delayed = delayed + (NEW.place > {DELAYED}), bytes = bytes + NEW.size WHERE number = NEW.queue;
END;
CREATE TRIGGER record_changed AFTER UPDATE OF size ON record BEGIN
    UPDATE queue SET bytes = bytes - OLD.size + NEW.size WHERE number = NEW.queue;
END;
CREATE TRIGGER body_gone AFTER DELETE ON record WHEN OLD.payload IS NULL BEGIN
    DELETE FROM body WHERE id = abs(OLD.place) & {IDS - 1};
END;
CREATE TRIGGER parts_replaced AFTER UPDATE OF value ON entry WHEN OLD.value IS NULL BEGIN
    DELETE FROM part WHERE place = OLD.place;
END;
CREATE TRIGGER parts_gone AFTER DELETE ON entry WHEN OLD.value IS NULL BEGIN
    DELETE FROM part WHERE place = OLD.place;
END;
"""

# Transactions

BEGIN = "BEGIN IMMEDIATE"
BEGIN_LOOK = "BEGIN"  #: of one that only reads
COMMIT = "COMMIT"
ROLLBACK = "ROLLBACK"
SAVE = "SAVEPOINT work"
UNDO = "ROLLBACK TO work"
RELEASE = "RELEASE work"
SAVE_RUN = "SAVEPOINT run"
UNDO_RUN = "ROLLBACK TO run"
RELEASE_RUN = "RELEASE run"
SYNCED = "PRAGMA synchronous = FULL"
UNSYNCED = "PRAGMA synchronous = NORMAL"

DATA_VERSION = "PRAGMA data_version"

# Space

FREE_PAGES = "SELECT freelist_count, page_count FROM pragma_freelist_count, pragma_page_count"
GIVE_BACK = "PRAGMA incremental_vacuum(1)"  # sqlite3 takes one step of a statement without columns, which is a page
SOME_OF_WAL = "PRAGMA wal_checkpoint(PASSIVE)"
RESTART_WAL = "PRAGMA wal_checkpoint(RESTART)"
CUT_WAL = "PRAGMA wal_checkpoint(TRUNCATE)"

# Names

QUEUE_NUMBER = "SELECT number FROM queue WHERE name = ?"
ADD_QUEUE = "INSERT INTO queue(number, name, crc) SELECT max(number) + 1, ?, ? FROM queue"
TABLE_NUMBER = "SELECT number FROM kind WHERE name = ?"
ADD_TABLE = "INSERT INTO kind(name, crc) VALUES (?, ?)"

# Records

#: number, number, crc, size, put_at, number, payload. A plain put is this statement alone.
PUT = f"""
INSERT INTO record(place, queue, crc, size, put_at, rank, payload)
VALUES ((? << {ID_BITS}) | ((SELECT last FROM queue WHERE number = 0) + 1), ?, ?, ?, ?,
    (SELECT CASE ranked WHEN 1 THEN x'' END FROM queue WHERE number = ?), ?)"""
#: The same with a rank, where the queue is ranked: number twice, crc, size, put_at, rank, payload
PUT_RANKED = f"""
INSERT INTO record(queue, place, crc, size, put_at, rank, payload)
VALUES (?, (? << {ID_BITS}) | ((SELECT last FROM queue WHERE number = 0) + 1), ?, ?, ?, ?, ?)"""
PUT_RUN = "INSERT INTO record(place, queue, crc, size, put_at, rank, payload) VALUES (?, ?, ?, ?, ?, ?, ?)"
PUT_WITH_ALL = """
INSERT INTO record(queue, place, crc, size, put_at, attempts, not_before, rank, note, payload)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
LAST = "SELECT last FROM queue WHERE number = 0"
SKIP_TO = "UPDATE queue SET last = max(last, ?) WHERE number = 0"
PUT_BODY = "INSERT OR REPLACE INTO body(id, payload) VALUES (?, ?)"
DROP_BODY = "DELETE FROM body WHERE id = ?"
BODY = "SELECT payload FROM body WHERE id = ?"

COUNTS = "SELECT ready, delayed, claimed, bytes, ranked FROM queue WHERE number = ?"
MARK_RANKED = "UPDATE queue SET ranked = 1 WHERE number = ?"
GIVE_RANKS = "UPDATE record SET rank = x'' WHERE queue = ? AND rank IS NULL"
#: number, now
DUE = f"SELECT count(*) FROM record WHERE queue = ? AND place > {DELAYED} AND not_before <= ?"
NEXT_DUE = f"SELECT min(not_before) FROM record WHERE queue = ? AND place > {DELAYED}"
MATURE = f"""
UPDATE record SET place = place - {DELAYED} WHERE queue = ? AND place > {DELAYED} AND not_before <= ?"""
#: Whether those are more than one transaction makes ready, for whose end all others wait; and so many of them.
ARE_MANY_DUE = f"""
SELECT 1 FROM record WHERE queue = ? AND place > {DELAYED} AND not_before <= ? LIMIT 1 OFFSET {MANY}"""
MATURE_SOME = f"""
UPDATE record SET place = place - {DELAYED} WHERE place IN (
    SELECT place FROM record WHERE queue = ? AND place > {DELAYED} AND not_before <= ? LIMIT {MANY})"""
#: The first few of those: what takes little room to write.
MATURE_FEW = f"""
UPDATE record SET place = place - {DELAYED} WHERE place IN (
    SELECT place FROM record WHERE queue = ? AND place > {DELAYED} AND not_before <= ? ORDER BY place LIMIT 8)"""

_FIELDS = "place, queue, crc, put_at, attempts, not_before, rank, note, payload"
_BY_RANK = f"queue = ? AND rank IS NOT NULL AND place BETWEEN 0 AND {DELAYED}"
_COUNTS = "(SELECT delayed * 4 + ranked * 2 + (ready = 1) FROM queue WHERE number = ?)"
#: number, first place, the place behind the last one, how many. Behind the fields: four times how many are delayed,
#: plus 2 where the queue is ranked, plus 1 where only one is ready.
FIRST = f"SELECT {_FIELDS}, {_COUNTS} FROM record WHERE place >= ? AND place < ? ORDER BY place LIMIT ?"
LAST_READY = f"SELECT {_FIELDS}, {_COUNTS} FROM record WHERE place >= ? AND place < ? ORDER BY place DESC LIMIT ?"
#: number, number, how many
FIRST_BY_RANK = f"SELECT {_FIELDS}, {_COUNTS} FROM record WHERE {_BY_RANK} ORDER BY rank, place LIMIT ?"
ONE = f"SELECT {_FIELDS} FROM record WHERE place = ?"
#: a record's places in each state, at one moment it has one of them; a long payload comes with it
ONE_OF = f"""
SELECT place, queue, crc, put_at, attempts, not_before, rank, note,
    coalesce(payload, (SELECT payload FROM body WHERE id = abs(place) & {IDS - 1}))
FROM record WHERE place IN (?, ?, ?)"""
_CLAIM = "UPDATE record SET place = -place, attempts = attempts + 1, owner = ?, handle = ? WHERE place"
CLAIM = f"{_CLAIM} = ?"
#: owner, handle, the first place and the last: all between them
CLAIM_RANGE = f"{_CLAIM} BETWEEN ? AND ?"
#: place, owner, handle, attempt: the last four values of each of these
_HELD = "place = ? AND owner = ? AND handle = ? AND attempts = ?"
IS_HELD = f"SELECT rank, note, put_at FROM record WHERE {_HELD}"
ACK = f"DELETE FROM record WHERE {_HELD}"
#: place: of one that nobody has claimed yet
ACK_LOOKED_AT = "DELETE FROM record WHERE place = ? AND attempts = 0"
#: the last place and the first, owner, handle, attempt: all between them
ACK_RANGE = "DELETE FROM record WHERE place BETWEEN ? AND ? AND owner = ? AND handle = ? AND attempts = ?"
NACK = f"UPDATE record SET place = ?, not_before = ?, owner = NULL, handle = NULL WHERE {_HELD}"
BURY = f"""
UPDATE record SET place = ?, not_before = ?, queue = ?, note = ?, rank = ?, crc = ?, owner = NULL, handle = NULL
WHERE {_HELD}"""
UPDATE = f"UPDATE record SET crc = ?, size = ?, payload = ? WHERE {_HELD}"
RELEASE_HANDLE = """
UPDATE record SET place = -place, owner = NULL, handle = NULL WHERE place < 0 AND owner = ? AND handle = ?"""
UNTOUCHED = """
UPDATE record SET place = -place, attempts = attempts - 1, owner = NULL, handle = NULL
WHERE place = ? AND owner = ? AND handle = ?"""
RELEASE_OWNER = "UPDATE record SET place = -place, owner = NULL, handle = NULL WHERE place < 0 AND owner IS ?"
#: Likewise.
_FEW = "WHERE place < 0 AND owner IS ?{} ORDER BY place DESC LIMIT 8"
_RELEASE_FEW = f"""
UPDATE record SET place = -place, owner = NULL, handle = NULL WHERE place IN (SELECT place FROM record {_FEW})"""
RELEASE_FEW_OF_OWNER = _RELEASE_FEW.format("")
RELEASE_FEW_OF_HANDLE = _RELEASE_FEW.format(" AND handle = ?")
#: NULL is one in a damaged row.
ORPHANS = """
SELECT DISTINCT owner FROM record WHERE place < 0 AND (owner IS NULL OR owner NOT IN (SELECT number FROM owner))"""
#: reason, place
PUT_ASIDE = f"""
INSERT INTO damaged(id, queue, reason, put_at, crc, rank, note, payload)
SELECT abs(place) & {IDS - 1}, queue, ?, put_at, crc, rank, note,
    coalesce(payload, (SELECT payload FROM body WHERE id = abs(place) & {IDS - 1}))
FROM record WHERE place = ?"""
DROP = "DELETE FROM record WHERE place = ?"
#: Of a row that stands in the queue's range, number and place: whether the triggers count it there.
IS_COUNTED = "SELECT queue IS ? AND typeof(size) = 'integer' FROM record WHERE place = ?"
#: place, number: in the place of what is there, without a trigger for that
BLANK = "INSERT OR REPLACE INTO record(place, queue, crc, size, put_at) VALUES (?, ?, 0, 0, 0.0)"
RECOUNT = f"""
UPDATE queue SET
    ready = (SELECT count(*) FROM record WHERE place >= :first AND place < :behind),
    claimed = (SELECT count(*) FROM record WHERE place > -:behind AND place <= -:first),
    delayed = (SELECT count(*) FROM record WHERE place >= :first + {DELAYED} AND place < :behind + {DELAYED}),
    bytes = (SELECT coalesce(sum(size), 0) FROM record WHERE place >= :first AND place < :behind
        OR place > -:behind AND place <= -:first OR place >= :first + {DELAYED} AND place < :behind + {DELAYED})
WHERE number = :number"""

# Looking

_BETWEEN = f"SELECT * FROM (SELECT {_FIELDS} FROM record WHERE place > ? AND place < ? ORDER BY place {{}} LIMIT ?)"
_UP, _DOWN = _BETWEEN.format("ASC"), _BETWEEN.format("DESC")
_RANKED = f"SELECT * FROM (SELECT {_FIELDS} FROM record WHERE {_BY_RANK} AND {{}} ORDER BY rank, place LIMIT ?)"
#: What is ready behind a record. Of its rank: number, rank, place, how many; of the others: number, rank, how many.
NEXT_BY_RANK = f"{_RANKED.format('rank = ? AND place > ?')} UNION ALL {_RANKED.format('rank > ?')}"
#: Records of all states in one look, else one that changes its state would be seen twice or not at all. For those that
#: are claimed, ready, delayed: two places, which are left out, and how many.
BETWEEN = f"{_DOWN} UNION ALL {_UP} UNION ALL {_UP}"
BETWEEN_BACK = f"{_UP} UNION ALL {_DOWN} UNION ALL {_DOWN}"
_DUE = f"FROM record WHERE queue = ? AND place > {DELAYED} AND not_before <= ?"
_OLDEST = "SELECT put_at, place FROM record WHERE place >= ? AND place < ? ORDER BY place LIMIT 1"
_OLDEST_DUE = f"SELECT put_at, place {_DUE} AND ? ORDER BY place LIMIT 1"
#: All of one moment, else a record that comes due meanwhile is there twice or not at all. For `asked_of_depth`.
DEPTH = f"""
SELECT ready, delayed, claimed, bytes, (SELECT ready + delayed + claimed FROM queue WHERE name = ?),
    CASE WHEN delayed THEN (SELECT count(*) {_DUE}) ELSE 0 END,
    CASE WHEN delayed THEN (
        SELECT put_at FROM (SELECT * FROM ({_OLDEST}) UNION ALL SELECT * FROM ({_OLDEST_DUE}))
        ORDER BY place & {IDS - 1} LIMIT 1
    ) ELSE (SELECT put_at FROM ({_OLDEST})) END
FROM queue WHERE number = ?"""
#: number, now, number
ANY_READY = f"""
SELECT ready OR CASE WHEN delayed THEN EXISTS(
    SELECT 1 FROM record WHERE queue = ? AND place > {DELAYED} AND not_before <= ?) ELSE 0 END, claimed
FROM queue WHERE number = ?"""

# Owners

ADD_OWNER = "INSERT INTO owner(pid) VALUES (?)"
OWNERS = "SELECT number FROM owner"
DROP_OWNER = "DELETE FROM owner WHERE number = ?"

# Tables

_END = "FROM entry WHERE place < ? ORDER BY place DESC LIMIT 1"
VALUE = "SELECT crc, value FROM entry WHERE kind = ? AND key = ?"
ENTRY = "SELECT place, keys, last, crc, value FROM entry WHERE kind = ? AND key = ?"
START = f"INSERT INTO entry(place, kind, crc, keys) VALUES (? << {ID_BITS}, ?, 0, 0)"
#: the place behind all of the table
END = f"SELECT place, keys, last {_END}"
#: end, number, crc, end, key, value; the end is the place behind all of it. A plain Set is this statement alone.
SET = f"""
INSERT INTO entry(place, kind, crc, keys, key, value)
VALUES ((SELECT coalesce(last, place) + 1 {_END}), ?, ?, (SELECT keys + 1 {_END}), ?, ?)
ON CONFLICT(kind, key) DO UPDATE SET crc = excluded.crc, value = excluded.value"""
DROP_ENTRY = "DELETE FROM entry WHERE place = ?"
#: keys, last, end: of the table's last row
COUNT_KEYS = "UPDATE entry SET keys = ?, last = ? WHERE place = (SELECT max(place) FROM entry WHERE place < ?)"
CLEAR = "DELETE FROM entry WHERE place > ? AND place < ?"
#: of keys from a place on, the last one's
SOME_PLACES = "SELECT max(place) FROM (SELECT place FROM entry WHERE place > ? ORDER BY place LIMIT ?)"
#: keys between two places to which the index doesn't lead; of a table's start, one that it has by damage
NOT_FOUND = f"""
SELECT place, kind, key, crc, value FROM entry e NOT INDEXED
WHERE e.place > ? AND e.place <= ? AND (e.key IS NOT NULL OR e.place & {IDS - 1}) AND NOT EXISTS (
    SELECT 1 FROM entry x INDEXED BY by_key WHERE x.kind = e.kind AND x.key = e.key AND x.place = e.place)"""
#: whether keys are in the index and not in the tree of rows, or in the tree where their places don't lead
ASTRAY = """
SELECT (SELECT count(*) FROM entry INDEXED BY by_key) > (SELECT count(*) FROM entry NOT INDEXED) OR EXISTS (
    SELECT 1 FROM entry e NOT INDEXED WHERE NOT EXISTS (SELECT 1 FROM entry x NOT INDEXED WHERE x.place = e.place))"""
ARE_MORE = "SELECT 1 FROM entry LIMIT 1 OFFSET ?"
ARE_MORE_RECORDS = "SELECT 1 FROM record LIMIT 1 OFFSET ?"


def _not_led_to(table: str, index: str, columns: str, which: str = "1") -> str:
    """Whether there is a row among those to which the index of these columns doesn't lead."""
    same = " AND ".join(f"x.{each} IS n.{each}" for each in columns.split())
    led_to = f"SELECT 1 FROM {table} x INDEXED BY {index} WHERE {same} AND {which.format('x')}"
    return f"SELECT 1 FROM {table} n NOT INDEXED WHERE {which.format('n')} AND NOT EXISTS ({led_to}) LIMIT 1"


#: the indexes beside that of keys: what leads to it, the table, what asks whether one isn't led to, what makes it anew
INDEXES = (
    ("queues", "queue", _not_led_to("queue", "sqlite_autoindex_queue_1", "name number"), "REINDEX queue"),
    ("tables", "kind", _not_led_to("kind", "sqlite_autoindex_kind_1", "name number"), "REINDEX kind"),
    (
        "records with a rank",
        "record",
        _not_led_to(
            "record", "by_rank", "queue rank place", f"{{0}}.rank IS NOT NULL AND {{0}}.place BETWEEN 0 AND {DELAYED}"
        ),
        "REINDEX by_rank",
    ),
    (
        "delayed records",
        "record",
        _not_led_to("record", "due", "queue not_before place", f"{{0}}.place > {DELAYED}"),
        "REINDEX due",
    ),
)
NAMES_OF = "SELECT name, crc FROM {} NOT INDEXED"
ARE_MORE_IN = "SELECT 1 FROM {} LIMIT 1 OFFSET ?"
_COUNT = "(SELECT count(*) FROM record WHERE place"
#: Of each queue its number, how many are ready, claimed, delayed as it says, and as there are.
COUNTED = f"""
SELECT number, ready, claimed, delayed,
    {_COUNT} >= number << {ID_BITS} AND place < number + 1 << {ID_BITS}),
    {_COUNT} > -(number + 1 << {ID_BITS}) AND place <= -(number << {ID_BITS})),
    {_COUNT} >= (number << {ID_BITS}) + {DELAYED} AND place < (number + 1 << {ID_BITS}) + {DELAYED})
FROM queue"""
HOW_MANY_RECORDS = "SELECT count(*) FROM record"
#: Of each table how many keys there are, and what its last row says: with max(), SQLite has a column from that row.
MISCOUNTED_TABLES = f"""
SELECT 1 FROM (
    SELECT max(place) AS top, count(key) AS found, keys, last FROM entry NOT INDEXED GROUP BY place >> {ID_BITS})
WHERE keys IS NOT found
OR last IS NOT NULL AND (typeof(last) <> 'integer' OR last NOT BETWEEN top AND top | {IDS - 1})"""
DROP_INDEX = "DROP INDEX by_key"
MAKE_INDEX = "CREATE UNIQUE INDEX by_key ON entry(kind, key)"
#: keys that are there more than once, because the index hid the first one: the last one counts
DOUBLES = """
SELECT place FROM entry NOT INDEXED WHERE key IS NOT NULL AND place NOT IN (
    SELECT max(place) FROM entry NOT INDEXED WHERE key IS NOT NULL GROUP BY kind, key)"""
HOW_MANY = f"SELECT count(key), max(place) FROM entry NOT INDEXED GROUP BY place >> {ID_BITS}"
#: how many keys a table has, its last place; a highest place that can't be is left out
SET_COUNT = f"""
UPDATE entry SET keys = ?, last = CASE typeof(last) WHEN 'integer' THEN
    CASE last >> {ID_BITS} WHEN place >> {ID_BITS} THEN last END END WHERE place = ?"""
#: of a table's start
RESET_START = f"UPDATE entry SET kind = place >> {ID_BITS}, key = NULL, value = NULL WHERE place = ?"
AT = "SELECT place, keys, last, crc, value, key FROM entry WHERE place = ?"
PUT_KEY_ASIDE = "INSERT INTO damaged(id, reason, crc, note, payload) VALUES (?, 'a key', ?, ?, ?)"
ADD_PART = "INSERT INTO part(place, nth, data) VALUES (?, ?, ?)"
PARTS = "SELECT data FROM part WHERE place = ? ORDER BY nth"
#: two places, between which the keys are
SCAN = "SELECT place, key, crc, value FROM entry WHERE place > ? AND place < ? ORDER BY place"
SCAN_BACK = f"{SCAN} DESC"
SCAN_KEYS = "SELECT place, key FROM entry WHERE place > ? AND place < ? ORDER BY place LIMIT ?"
SCAN_KEYS_BACK = "SELECT place, key FROM entry WHERE place > ? AND place < ? ORDER BY place DESC LIMIT ?"

_head = struct.Struct("<Id").pack


def checksum(queue: int, put_at: float, rank: bytes | None, note: bytes | None, payload: bytes) -> int:
    """The CRC-32 of a record: queue's number (u32) and time (f64, both little-endian), rank, note, payload.

    What else is in its row either says what became of it, or is found out by the database itself.
    """
    start = crc32(_head(queue, put_at))
    if rank or note:
        start = crc32(note or b"", crc32(rank or b"", start))
    return crc32(payload, start)


def put(queue: int, payload: bytes, put_at: float, rank: bytes = b"") -> tuple[str, tuple[Any, ...]]:
    """The statement that puts a short record, and its values; with a rank, into a queue that is ranked."""
    if rank:
        crc = checksum(queue, put_at, rank, None, payload)
        return PUT_RANKED, (queue, queue, crc, len(payload), put_at, rank, payload)
    crc = crc32(payload, crc32(_head(queue, put_at)))
    return PUT, (queue, queue, crc, len(payload), put_at, queue, payload)


def asked_of_depth(
    letters: bytes | None, number: int, now: float, between: tuple[int, int]
) -> tuple[bytes | float | None, ...]:
    """The values of DEPTH. `letters`: the name of the dead letters; `between`: the places between which the first ready
    record is asked for, 0 and 0 for none."""
    due = number, now
    return letters, *due, *between, *due, between[1], *between, number


def places(number: int) -> tuple[int, int]:
    """The first place of a queue's ready records, and the one behind the last."""
    return number << ID_BITS, (number + 1) << ID_BITS


def is_whole(row: Sequence[Any], payload: Any) -> bool:
    """Whether the checksum of a row of `_FIELDS` holds. In a damaged one anything may stand anywhere."""
    _, queue, crc, put_at, attempts, not_before, rank, note = row[:8]
    if type(attempts) is not int or not 0 <= attempts < DELAYED:
        return False
    if not (not_before is None or isinstance(not_before, (float, int))):
        return False
    try:
        if rank or note:
            return bool(checksum(queue, put_at, rank, note, payload) == crc)
        return bool(crc32(payload, crc32(_head(queue, put_at))) == crc)
    except (TypeError, ValueError, struct.error):
        return False


def entry_checksum(kind: int, key: bytes, value: bytes) -> int:
    """The CRC-32 of a key and value of a table, with the table's number and the length of the key for a start."""
    return crc32(value, crc32(key, (len(key) << 20 ^ kind) & 0xFFFFFFFF))


def is_whole_entry(kind: int, key: Any, crc: Any, value: Any) -> bool:
    """Whether the checksum of a key and value holds. In a damaged row anything may stand anywhere."""
    try:
        return bool(entry_checksum(kind, key, value) == crc)
    except TypeError:
        return False


def name_blob(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def name_text(blob: bytes | None) -> str:
    return blob.decode("utf-8", "surrogatepass") if blob else ""
