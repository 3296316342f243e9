"""Measures pqadapters side by side with other queues and mappings of the field, and with the loops that none can beat.

`python -m bench` runs scenarios; each measurement has a process of its own, and rounds are interleaved: what else the
machine does meets all contenders alike. Quote ratios within one run, never numbers of two runs. Nothing here is part
of the package; contenders are optional, and one that is missing is listed with the reason.
"""
