"""Asyncio workers that check words, whose queue and results survive the process.

    python asyncio_workers.py DIRECTORY WORD...      puts the words, and works until there is none left
    python asyncio_workers.py DIRECTORY              goes on with what a killed run has left

A word is done when its result is stored: kill the program at any moment and start it again, and no word is missing.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence

from pqadapters import PDict
from pqadapters.stdlib.asyncio import Queue

WORKERS = 4


async def check(word: str) -> str:
    """Stands for a slow request."""
    await asyncio.sleep(0.01)
    return word[::-1]


async def work(words: Queue[str], results: PDict[str, str]) -> None:
    while True:
        word = await words.get()
        results[word] = await check(word)
        words.task_done()  # not before its result is stored
        print("checked", word, flush=True)


async def main(directory: str, new: Sequence[str]) -> None:
    results: PDict[str, str] = PDict(os.path.join(directory, "results.db"), durability="process")
    async with Queue[str](path=os.path.join(directory, "words"), ack="task_done") as words:
        for word in new:
            await words.put(word)
        print("accepted", len(new), flush=True)
        workers = [asyncio.create_task(work(words, results)) for _ in range(WORKERS)]
        await words.join()
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
    print("results", len(results), flush=True)
    results.close()


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    asyncio.run(main(sys.argv[1], sys.argv[2:]))
