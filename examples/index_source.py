"""Counts the identifiers in Python files, several files at a time.

    find /usr/lib/python3 -name '*.py' | python index_source.py COUNTS > totals.json

Each file's counts go to a file of its own in the directory COUNTS. The totals over that directory go to standard
output, as JSON, and what was begun and done to standard error.
"""

from __future__ import annotations

import hashlib
import json
import keyword
import logging
import os
import sys
import threading
import tokenize
from collections import Counter
from pathlib import Path
from queue import Queue

WORKERS = 4


def main(directory: Path) -> None:
    directory.mkdir(exist_ok=True)
    jobs: Queue[str] = Queue()
    names = sys.stdin.read().splitlines()
    for name in names:
        jobs.put(name)
    logging.info("accepted %d", len(names))
    for _ in range(WORKERS):
        threading.Thread(target=work, args=(jobs, directory), daemon=True).start()
    jobs.join()
    json.dump(totals(directory), sys.stdout)


def work(jobs: Queue[str], directory: Path) -> None:
    while True:
        name = jobs.get()
        logging.info("begin %s", name)
        save(index(name), directory / f"{hashlib.sha256(name.encode()).hexdigest()}.json")
        jobs.task_done()
        logging.info("done %s", name)


def index(name: str) -> dict[str, object]:
    try:
        return {"file": name, "counts": identifiers(name)}
    except (OSError, SyntaxError, ValueError, tokenize.TokenError) as error:
        return {"file": name, "counts": {}, "error": str(error)}


def identifiers(name: str) -> Counter[str]:
    with tokenize.open(name) as source:
        tokens = tokenize.generate_tokens(source.readline)
        words = (token.string for token in tokens if token.type == tokenize.NAME)
        return Counter(word for word in words if not keyword.iskeyword(word))


def save(result: dict[str, object], target: Path) -> None:
    draft = target.with_suffix(f".{threading.get_ident()}")
    draft.write_text(json.dumps(result))
    os.replace(draft, target)


def totals(directory: Path) -> Counter[str]:
    total: Counter[str] = Counter()
    for result in directory.glob("*.json"):
        total.update(json.loads(result.read_text())["counts"])
    return total


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    main(Path(sys.argv[1]))
