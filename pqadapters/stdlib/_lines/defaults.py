"""What holds in this process where a program says nothing; `python -m pqadapters run` sets it."""

from __future__ import annotations

from .policy import Volatile

#: Of queues whose store this process holds alone; others refuse what can't be serialised.
volatile = Volatile.RAISE
