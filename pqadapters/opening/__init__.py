"""The door: from a path or a URL to a store. The only package that names the stores, and it imports them when asked.

file:///abs/dir?durability=process&segment_bytes=65536
sqlite:///relative.db
sqlite:////abs/file.db?durability=process&prefetch=32
mysql://user@host:3306/database?password_file=/run/secrets/pqa&tls=verify&prefetch=32
memory:
"""

from .importing import load_databases, load_for, load_slots
from .looking import (
    check_content,
    is_directory_store,
    is_written_here,
    look_at,
    look_at_server,
    open_frozen,
    probe_file,
    slot_directories,
    users_of,
)
from .slots import member_of, open_estate, open_locks, open_slots
from .stores import (
    check_prefetch,
    given,
    note_damage,
    open_database,
    open_given,
    open_path,
    open_server,
    open_store,
    visit_server,
)
from .takeover import (
    begin_conversion,
    is_unfinished,
    keep_second_name,
    move_database,
    open_raw,
    open_snapshot,
    remove_database,
    roll_back,
    take_over_database,
    take_over_directory,
    words_of,
)
from .urls import absolute_url, check_path, check_url, is_memory, is_there, path_of, url_in_environment

__all__ = [
    "absolute_url",
    "begin_conversion",
    "check_content",
    "check_path",
    "check_prefetch",
    "check_url",
    "given",
    "is_directory_store",
    "is_memory",
    "is_there",
    "is_unfinished",
    "is_written_here",
    "keep_second_name",
    "load_databases",
    "load_for",
    "load_slots",
    "look_at",
    "look_at_server",
    "member_of",
    "move_database",
    "note_damage",
    "open_database",
    "open_estate",
    "open_frozen",
    "open_given",
    "open_locks",
    "open_path",
    "open_raw",
    "open_server",
    "open_slots",
    "open_snapshot",
    "open_store",
    "path_of",
    "probe_file",
    "remove_database",
    "roll_back",
    "slot_directories",
    "take_over_database",
    "take_over_directory",
    "url_in_environment",
    "users_of",
    "visit_server",
    "words_of",
]
