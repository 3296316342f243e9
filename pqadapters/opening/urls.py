"""URLs of stores: what they say, and whether that makes sense. Nothing is opened here."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..durability import Durability, Survives
from ..wording import shown

if TYPE_CHECKING:
    from urllib.parse import SplitResult

SCHEMES = ("file", "memory", "mysql", "sqlite")


def is_there(url: str) -> bool:
    """Whether a store of that URL was made before; of one on a server nobody knows before it is opened."""
    from urllib.parse import urlsplit  # loaded by who has a URL

    parts = urlsplit(url)
    path = path_of(parts)
    return {"sqlite": os.path.isfile(path[1:]), "file": os.path.isdir(path)}.get(parts.scheme, True)


def path_of(parts: SplitResult) -> str:
    """The path in what `urlsplit` has made of a URL. A file's name needn't be UTF-8, nor what the locale has for it."""
    from urllib.parse import unquote

    text = unquote(parts.path, errors="surrogateescape")
    return text if parts.scheme == "mysql" else os.fsdecode(text.encode("utf-8", "surrogateescape"))


def is_memory(url: str) -> bool:
    """Whether it is that of a store in memory, which has no options."""
    return url.partition(":")[0].strip().lower() == "memory"


def check_url(url: str) -> None:
    """Raises ValueError as `open_store`, before anything is opened."""
    read(url)


def url_in_environment() -> str | None:
    """Where what has a name alone lives, if PQADAPTERS_URL says it. Raises ValueError."""
    url = os.environ.get("PQADAPTERS_URL")
    if not url:
        return None
    try:
        check_url(url)
    except ValueError as error:
        raise ValueError(f"PQADAPTERS_URL: {error}") from None
    return url


def absolute_url(url: str) -> str:
    """The same store, named so that it stays that one in another directory; as it is where it isn't relative. Raises
    ValueError for one that names no file, which would name one then."""
    scheme, is_one, file = url.partition(":///")
    if scheme.strip().lower() != "sqlite" or not is_one or file.startswith("/"):
        return url
    check_url(url)
    from urllib.parse import quote  # loaded by who has a URL

    return f"{scheme}:///{os.path.join(quote(os.fsencode(os.getcwd())), file)}"


def check_path(path: str) -> None:
    """Raises ValueError for a URL where a directory is meant."""
    scheme, slash, _ = path.partition(":/")  # a Path has one slash of several
    if path.strip().lower() == "memory:" or (slash and scheme.strip().lower() in SCHEMES):
        raise ValueError(f"path is a directory, and {shown(path)!r} is the URL of a store: give it as store=")


def read(url: str) -> tuple[str, str, dict[str, Any]]:
    """Its scheme, path and options. Raises ValueError."""
    from urllib.parse import urlsplit  # loaded by who has a URL

    try:
        parts = urlsplit(url)
    except ValueError:
        raise ValueError(_unknown(url)) from None
    if any(sign in url.strip() for sign in "\n\r\t"):  # urlsplit drops them, and that is another file's name
        raise ValueError(f"{shown(url)!r}: write %0A, %0D and %09 for a line break or a tab in a name or a password")
    if parts.fragment:
        raise ValueError(f"{shown(url)!r}: '#' ends a URL's path; write %23 for one in a name or a password")
    if parts.scheme not in SCHEMES:
        raise ValueError(_unknown(url))
    path = path_of(parts)
    if parts.scheme in _CHECKS:
        _CHECKS[parts.scheme](url, parts.netloc, path)
    return parts.scheme, path, options_of(url, parts.scheme, parts.query)


def options_of(url: str, scheme: str, query: str) -> dict[str, Any]:
    """Those in its query. Raises ValueError."""
    from urllib.parse import parse_qsl  # loaded by who has a URL

    readers: dict[str, Callable[[str], Any]] = {"durability": _word, "max_lag": _lag, **_READERS.get(scheme, {})}
    options = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in readers and "@" in query:  # what stands there is the end of a password
            raise ValueError(f"{shown(url)!r}: '?' begins a URL's options; write %3F for one in a password")
        if name not in readers:
            raise ValueError(f"{shown(url)!r}: {name!r} is no option of this store; there are {', '.join(readers)}")
        try:
            options[name] = readers[name](value)
        except ValueError:
            choice = ", which is 'power' or 'process'" if name == "durability" else ""
            raise ValueError(f"{shown(url)!r}: {value!r} is no value for {name}{choice}") from None
    return options


def _unknown(url: str) -> str:
    return (
        f"{shown(url)!r} names no store: use sqlite:////abs/file.db, file:///abs/dir, mysql://user@host:3306/database "
        "or memory:"
    )


def _word(text: str) -> str:
    return Durability.of(text).survives.value


def _lag(text: str) -> float:
    return Durability.of(Survives.PROCESS, float(text)).max_lag


def _flag(text: str) -> bool:
    try:
        return {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}[text.lower()]
    except KeyError:
        raise ValueError(text) from None


def _check_file(url: str, host: str, path: str) -> None:
    if host not in ("", "localhost") or not path.startswith("/") or path == "/":
        raise ValueError(
            f"{url!r}: write file:/// and an absolute path, three slashes in all, as in file:///var/lib/app/jobs"
        )


def _check_sqlite(url: str, host: str, path: str) -> None:
    if host or path in ("", "/", "//", "/:memory:", "//:memory:") or not url.partition(":")[2].startswith("///"):
        raise ValueError(
            f"{url!r}: write sqlite:/// and the path of a file: sqlite:///jobs.db for one in the working directory, "
            "sqlite:////var/lib/app/jobs.db, with four slashes, for an absolute one; or memory: for no file at all"
        )


def _check_memory(url: str, host: str, path: str) -> None:
    if host or path or "?" in url:
        raise ValueError(f"{url!r}: memory: takes no path and no options")


WHERE = ("prefix", "socket", "password_file", "tls", "tls_ca", "tls_cert", "tls_key")

#: Of each store's own options, what makes one of the text in a query.
_READERS: dict[str, dict[str, Callable[[str], Any]]] = {
    "file": {"segment_bytes": int, "trust_directory": _flag},
    "mysql": {
        "prefetch": int,
        "lease": float,
        **dict.fromkeys(WHERE, str),
    },
    "sqlite": {"prefetch": int, "trust_directory": _flag},
}

#: Whether host and path make sense; those of a server are its store's own.
_CHECKS: dict[str, Callable[[str, str, str], None]] = {
    "file": _check_file,
    "memory": _check_memory,
    "sqlite": _check_sqlite,
}
