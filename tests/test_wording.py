"""How errors are worded in what is said and stored."""

from __future__ import annotations

from pqadapters.wording import named


def test_an_errors_text_is_text_whatever_is_in_it() -> None:
    """A log file in UTF-8 takes no half of a file's name."""
    told = named(ValueError("there is no caf\udce9"))
    assert told == "ValueError: there is no caf\\udce9"
    assert told.encode()
