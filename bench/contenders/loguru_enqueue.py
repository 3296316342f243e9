"""loguru with `enqueue=True`: a pipe, and a thread that delivers meanwhile."""

from __future__ import annotations

from ..contender import Contender, Level, LogHandle, Speed


def open_log(directory: str, level: Level) -> LogHandle:
    from loguru import logger

    logger.remove()
    logger.add(lambda message: None, enqueue=True)

    def info(message: str, name: str, number: int) -> None:
        logger.info("user {} did {}", name, number)

    return LogHandle(info, logger.complete, logger.remove)


CONTENDER = Contender(
    name="loguru-enqueue",
    about="loguru.logger.add(sink, enqueue=True)",
    open_log=open_log,
    speed={Level.MEMORY: Speed(15_000, 15_000)},
    package="loguru",
    modules=("loguru",),
    gets=False,
)
