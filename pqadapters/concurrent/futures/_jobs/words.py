"""The words of an executor's options."""

from __future__ import annotations

import enum


class Recover(enum.Enum):
    """When an executor begins with the jobs that earlier processes have left."""

    AUTO = "auto"  #: as soon as it is made
    ON_SUBMIT = "on_submit"  #: with the first submit
    MANUAL = "manual"  #: when `recovered()` is called


class Interrupted(enum.Enum):
    """What becomes of a job whose process died while it ran."""

    RETRY = "retry"  #: it is started again, `max_attempts` times in all
    FAIL = "fail"  #: it goes to the dead letters
    DROP = "drop"  #: it is taken for done


class Volatile(enum.Enum):
    """What becomes of a call that can't be serialised."""

    WARN = "warn"  #: it runs from memory alone; a NotDurableWarning for each place of call
    RAISE = "raise"  #: submit() raises NotSerializable
    ALLOW = "allow"  #: it runs from memory alone


class WhenFull(enum.Enum):
    """What submit() does when the backlog is full."""

    BLOCK = "block"  #: it waits for room
    RAISE = "raise"  #: it raises queue.Full


class JobState(enum.Enum):
    """Where a job is."""

    PENDING = "pending"  #: to be started
    DELAYED = "delayed"  #: to be started later
    RUNNING = "running"  #: started, by whatever process
    DEAD = "dead"  #: parked in the dead letters, with a reason
