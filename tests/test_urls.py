"""URLs of stores: what they name, and what they may not say."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote

import pytest

from pqadapters.opening.urls import absolute_url, check_path, check_url, is_there, read


def test_a_relative_database_is_the_same_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = tmp_path / "50% a?b#c"
    here.mkdir()
    monkeypatch.chdir(here)
    url = absolute_url("sqlite:///jobs%231.db?durability=power")
    assert url == f"sqlite:///{quote(os.fsencode(here))}/jobs%231.db?durability=power"
    assert read(url)[1] == f"/{here}/jobs#1.db"
    assert absolute_url(" SQLite:///jobs.db").endswith(f"{quote(os.fsencode(here))}/jobs.db")


@pytest.mark.parametrize("url", ["sqlite:////srv/jobs.db", "sqlite:////srv/a%2Fb.db", "file:///srv/jobs", "memory:"])
def test_what_is_absolute_stays_as_it_is(url: str) -> None:
    assert absolute_url(url) == url


@pytest.mark.parametrize("url", ["sqlite:////srv/jobs#1.db", "file:///srv/jobs#1", "mysql://me:a#b@host/db"])
def test_a_number_sign_ends_no_path_unseen(url: str) -> None:
    with pytest.raises(ValueError, match="write %23 for one"):
        check_url(url)


@pytest.mark.parametrize("url", ["sqlite:///a\nb.db", "file:///srv/a\tb", "mysql://me:a\rb@host/db"])
def test_a_line_break_or_a_tab_in_a_name_is_not_dropped_unseen(url: str) -> None:
    """`urlsplit` does: it was the database `ab.db`."""
    with pytest.raises(ValueError, match="write %0A, %0D and %09 for"):
        check_url(url)
    assert read("file:///srv/a%0Ab\n")[1] == "/srv/a\nb"


def test_a_directory_is_one_of_this_host() -> None:
    assert read("file://localhost/srv/jobs")[1] == read("file:///srv/jobs")[1] == "/srv/jobs"
    for url in ("file://srv/jobs", "file://host/srv/jobs"):
        with pytest.raises(ValueError, match="three slashes in all"):
            check_url(url)


@pytest.mark.parametrize("path", ["SQLite:///jobs.db", " file:///srv", " MEMORY: ", "mysql:/host"])
def test_a_url_is_no_path_however_it_is_written(path: str) -> None:
    with pytest.raises(ValueError, match="give it as store="):
        check_path(path)


@pytest.mark.parametrize("path", ["memory", "jobs", "a:/b", "sqlite", "./file:/x"])
def test_a_path_with_a_colon_is_one(path: str) -> None:
    check_path(path)


def test_what_was_made_before_is_there(tmp_path: Path) -> None:
    urls = [f"sqlite:///{tmp_path}/a%20b.db", f"file://{tmp_path}/a%20c"]
    assert [is_there(url) for url in urls] == [False, False]
    (tmp_path / "a b.db").touch()
    (tmp_path / "a c").mkdir()
    assert [is_there(url) for url in urls] == [True, True]
    assert is_there("mysql://host/jobs")  # as far as one knows
