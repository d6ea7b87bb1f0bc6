"""Memory that was freed, given back to the system between two ways of work. Takes and gives nothing.

Stages keep what they free, because giving it back at every layer is slow (`process.COMPUTING`); where long plays follow
on training, or training on long plays, the two would add up.
"""

from __future__ import annotations

import contextlib
import ctypes


def give_back() -> None:
    """Return every free page; does nothing where the C library is not glibc."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
