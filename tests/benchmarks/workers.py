"""Systems take turns, each in a process of its own, so that none feels another's memory or settings."""

from __future__ import annotations

import multiprocessing
import sys
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection

from .workload import Workload

HEAVY = ["torch", "transformers", "benchmarks.systems", "benchmarks.trainer", "peft"]


@dataclass(frozen=True)
class Worker:
    """A system at work elsewhere: its questions go through here."""

    who: object
    process: multiprocessing.process.BaseProcess
    line: Connection

    def ask(self, question: str, *arguments):
        """The answer of the system's method of that name. Raises RuntimeError with its words."""
        self.line.send((question, arguments))
        return self.answer()

    def answer(self):
        """What came back."""
        try:
            good, found = self.line.recv()
        except EOFError:
            raise RuntimeError(f"{self.who.name}, {self.who.strategy}: its process ended early") from None
        if not good:
            raise RuntimeError(f"{self.who.name}, {self.who.strategy}: {found}")
        return found


@contextmanager
def workers(systems: Sequence, load: Workload) -> Iterator[list[Worker]]:
    """Every system in a process of its own, its model loaded; they end with the block."""
    context = multiprocessing.get_context("spawn" if sys.platform == "win32" else "forkserver")
    if sys.platform != "win32":
        context.set_forkserver_preload(HEAVY)  # the heavy imports once, for all
    running = []
    try:
        for who in systems:
            here, there = context.Pipe()
            process = context.Process(target=serve, args=(there, who, load), daemon=True)
            process.start()
            there.close()
            running.append(Worker(who, process, here))
        for worker in running:
            worker.answer()
        yield running
    finally:
        for worker in running:
            worker.line.close()
        for worker in running:
            worker.process.join(timeout=10)
            if worker.process.is_alive():
                worker.process.kill()


def serve(line: Connection, who, load: Workload) -> None:
    """The other end: make the system, answer until the line closes."""
    with tempfile.TemporaryDirectory(prefix="ftkit-benchmark-") as tempfile.tempdir:  # gone with the process
        try:
            found = enter(who, load)
            line.send((True, None))
            while True:
                question, arguments = line.recv()
                line.send((True, getattr(found, question)(*arguments)))
        except EOFError:
            return
        except Exception as error:
            line.send((False, f"{error!r}\n{traceback.format_exc()}"))


def enter(who, load: Workload):
    """The system, ready."""
    import torch
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.set_num_threads(load.threads)
    if who.library == "trainer":
        from .trainer import Theirs

        return Theirs(who, load)
    from ftkit.place import keep_freed_memory

    from .systems import Bare, Ours

    if not who.file:
        keep_freed_memory()  # as every Run does, here before the weights are loaded
    return (Bare if who.library == "bare" else Ours)(who, load)
