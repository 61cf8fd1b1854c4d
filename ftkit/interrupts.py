"""undisturbed(): a block that Ctrl-C and a notebook's stop button cannot cut in two."""

from __future__ import annotations

import contextlib
import signal
import threading


@contextlib.contextmanager
def undisturbed():
    """Hold Ctrl-C (a notebook's stop button) back until the block is done."""
    if threading.current_thread() is not threading.main_thread():  # only the main thread receives signals
        yield
        return
    pressed = []
    before = signal.signal(signal.SIGINT, lambda *event: pressed.append(event))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if pressed:
        signal.raise_signal(signal.SIGINT)  # now, to whatever was to receive it, the system's default too
