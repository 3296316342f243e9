"""Durable mirrors of standard-library modules: same names, signatures, exceptions and results."""

from .pdict import PDict
from .queue import Empty, Full, LifoQueue, PriorityQueue, Queue, SimpleQueue

__all__ = ["Empty", "Full", "LifoQueue", "PDict", "PriorityQueue", "Queue", "SimpleQueue"]
