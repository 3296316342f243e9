"""A crawler of greenlets, whose frontier and pages survive the process: it "fetches" pages of a made-up site.

    python gevent_crawler.py DIRECTORY 0             begins at page 0
    python gevent_crawler.py DIRECTORY               goes on with what a killed run has left

A page is done when it is stored and its links are in the frontier: kill the program at any moment and start it again,
and no page is missing.
"""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import os  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from collections.abc import Sequence  # noqa: E402

import gevent  # noqa: E402

from pqadapters import PDict  # noqa: E402
from pqadapters.stdlib.queue import Queue  # noqa: E402

PAGES, GREENLETS = 200, 8


def fetch(page: int) -> list[int]:
    """Stands for a request: the links of a page."""
    time.sleep(0.005)  # gevent's: others run
    return [link for link in (2 * page + 1, 2 * page + 2) if link < PAGES]


def crawl(frontier: Queue[int], pages: PDict[int, list[int]]) -> None:
    while True:
        page = frontier.get()
        if page not in pages:
            links = fetch(page)
            frontier.put_many(links)
            pages[page] = links
        frontier.task_done()
        print("crawled", page, flush=True)


def main(directory: str, seeds: Sequence[str]) -> None:
    with (
        Queue[int](path=os.path.join(directory, "frontier"), ack="task_done") as frontier,
        PDict[int, list[int]](os.path.join(directory, "pages.db"), durability="process") as pages,
    ):
        for seed in seeds:
            frontier.put(int(seed))
        greenlets = [gevent.spawn(crawl, frontier, pages) for _ in range(GREENLETS)]
        frontier.join()
        gevent.killall(greenlets)
        print("pages", len(pages), flush=True)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2:])
