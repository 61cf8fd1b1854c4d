"""What a notebook's kernel says of a stop and of a missing name: a line with what to do.

`setup()` registers it. A kernel that `ftkit lab` starts has it from the beginning (startup.py), so that it
answers after a restart too, when the set-up cell has not run.
"""

from __future__ import annotations

SET_UP = "lab"  # what the set-up cell leaves in every notebook
RESTARTED = "Restarted? Run > Run All Above Selected Cell, then this cell again."
ABOVE = "Not defined yet: is it made in a cell above that has not run? Run > Run All Above Selected Cell."


def listen(shell) -> None:
    """Answer a stop and a missing name in the shell (IPython's); in plain Python there is none."""
    if shell is not None:
        shell.set_custom_exc((KeyboardInterrupt, NameError), answer)


def answer(shell, kind, error, trace, tb_offset=None) -> list[str]:
    """Show a stop as one line without a traceback, and below a NameError's traceback what to do."""
    if issubclass(kind, KeyboardInterrupt):
        shown = [stopped(trace)]
    else:
        shown = shell.InteractiveTB.structured_traceback(kind, error, trace, tb_offset=tb_offset)
        if kind is NameError and innermost(trace).f_globals is shell.user_ns:  # not inside a library
            shown = [*shown, "", ABOVE if SET_UP in shell.user_ns else RESTARTED]
    shell._showtraceback(kind, error, shown)
    return shown


def innermost(trace):
    """The frame in which the error was raised."""
    while trace.tb_next is not None:
        trace = trace.tb_next
    return trace.tb_frame


def stopped(trace) -> str:
    """The line for a stop. It says how far the run got in whose updates the stop fell."""
    run = None
    while trace is not None:
        frame, trace = trace.tb_frame, trace.tb_next
        if frame.f_globals.get("__name__") == "ftkit.loop" and frame.f_code.co_name == "updates":
            run = frame.f_locals["run"]
    where = "" if run is None else f" after update {run.step} of {run.total}"
    return f"Stopped{where}. Run this cell again."
