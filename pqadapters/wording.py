"""How errors, values and URLs are worded in what we say and store: short, printable, and without passwords.

A class of the program's own may fail to say what it is: that ends nothing here. Any thread may call anything.
"""

from __future__ import annotations

_LONG = 10_000  #: characters of an error's text: it may have whole items in it, more than a store takes


def named(error: BaseException) -> str:
    """Its type and text, in short."""
    text = _text_of(error)
    return _textless(error) if text is None else in_short(f"{type(error).__name__}: {text}")


def text_of(error: BaseException) -> str:
    """Its text alone, for a message of ours."""
    text = _text_of(error)
    return _textless(error) if text is None else in_short(text)


def _text_of(error: BaseException) -> str | None:
    """None where it can't be had: the text of a class of the program's own may be what fails, or ends the program."""
    try:
        return str(error)
    except (Exception, SystemExit):
        return None


def _textless(error: BaseException) -> str:
    return f"{type(error).__name__}, whose text can't be had"


def in_short(text: str) -> str:
    """Cut to what any store takes. What is no text in it, such as half of a file's name, is escaped: no log file would
    take that."""
    text = text.encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= _LONG else f"{text[:_LONG]}..."


def excerpt_of(value: object) -> str:
    """The beginning of its repr; where its class fails to say that, of what type it is."""
    try:
        return f"{value!r:.200}"
    except (Exception, SystemExit) as error:
        return f"<{type(value).__qualname__}: {type(error).__name__}>"


def escaped(text: str) -> str:
    """The text with whatever isn't printable as Python writes it in a string."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else _escape(each) for each in text)


def _escape(character: str) -> str:
    code = ord(character)
    short = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(character)
    return short or (f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}")


def shown(url: str) -> str:
    """The URL without a password that it has, also as an option, which is none, or with slashes missing."""
    import re  # loaded by who has a URL

    scheme, slashes, rest = re.findall(r"(?s)\A([^:/]*)(:/*|//)?(.*)", url)[0]
    if scheme.lower() in ("file", "sqlite") or not slashes:
        return url
    credentials, at, place = rest.rpartition("@")
    user, colon, _ = credentials.partition(":")
    bare = f"{scheme}{slashes}{user}:***{at}{place}" if colon else url
    return re.sub(r"(?i)([?&](?!password_file=|tls_key=)[^=&]*(?:pas|pw|secret|key)[^=&]*=)[^&#]*", r"\1***", bare)
