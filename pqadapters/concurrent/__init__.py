"""Durable `concurrent`: its one module is `futures`."""

from .futures import ProcessPoolExecutor, ThreadPoolExecutor

__all__ = ["ProcessPoolExecutor", "ThreadPoolExecutor"]
