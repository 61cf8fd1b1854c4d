"""Ctrl-C inside a block that is to stay whole: it waits, and then does what it would have done."""

import signal
import subprocess
import sys

import pytest

from ftkit.interrupts import undisturbed

PRESSED = """
import os, signal, sys
from ftkit.interrupts import undisturbed
signal.signal(signal.SIGINT, getattr(signal, sys.argv[1]))
with undisturbed():
    os.kill(os.getpid(), signal.SIGINT)
    print("whole", flush=True)
print("went on", flush=True)
"""


@pytest.mark.parametrize(
    ("handler", "printed", "code"),
    [
        ("SIG_DFL", ["whole"], -signal.SIGINT),  # the system ends the process, as without the block
        ("SIG_IGN", ["whole", "went on"], 0),
        ("default_int_handler", ["whole"], None),  # KeyboardInterrupt
    ],
)
def test_ctrl_c_waits_and_then_does_what_it_does_elsewhere(handler, printed, code):
    ended = subprocess.run([sys.executable, "-c", PRESSED, handler], capture_output=True, text=True)
    assert ended.stdout.split("\n")[:-1] == printed
    assert ended.returncode == code if code is not None else "KeyboardInterrupt" in ended.stderr


def test_a_handler_of_the_callers_own_is_called_once_and_stands_afterwards():
    calls = []

    def own(*event):
        calls.append(event)

    before = signal.signal(signal.SIGINT, own)
    try:
        with undisturbed():
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            assert calls == []
        assert len(calls) == 1 and signal.getsignal(signal.SIGINT) is own
    finally:
        signal.signal(signal.SIGINT, before)


def test_an_error_in_the_block_is_not_hidden_and_gives_the_handler_back():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(ValueError, match="of the block"), undisturbed():
        raise ValueError("of the block")
    assert signal.getsignal(signal.SIGINT) is before
