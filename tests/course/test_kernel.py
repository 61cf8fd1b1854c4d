"""What a kernel says of a stop and of a missing name, in an IPython shell and in a kernel of its own."""

import os
import queue
import subprocess
import sys
import types
from pathlib import Path

import pytest
from course import kernel
from course.setup import setup
from small import start

from ftkit.loop import updates

NOTEBOOKS = Path(kernel.__file__).parents[1]


class Shell:
    """The part of IPython's shell that is used."""

    def __init__(self, **names):
        self.user_ns, self.shown = names, []
        self.InteractiveTB = types.SimpleNamespace(structured_traceback=lambda *a, **k: ["the traceback"])

    def set_custom_exc(self, kinds, handler):
        self.kinds, self.handler = kinds, handler

    def _showtraceback(self, kind, error, lines):
        self.shown.append(lines)

    def run(self, source):
        """As run_cell does it, as far as errors go."""
        try:
            exec(source, self.user_ns)
        except self.kinds as error:
            self.handler(self, type(error), error, error.__traceback__)
        return self.shown[-1]


def listening(**names):
    shell = Shell(**names)
    kernel.listen(shell)
    return shell


def test_a_stop_is_one_line_without_a_traceback():
    assert listening().run("raise KeyboardInterrupt") == ["Stopped. Run this cell again."]


def test_a_stop_in_training_says_how_far_the_run_got(task, monkeypatch):
    run = start(task=task)
    steps = updates(run)
    next(steps)
    next(steps)

    def stop(*given):
        raise KeyboardInterrupt

    monkeypatch.setattr(type(task), "loss", stop)
    shown = listening(steps=steps).run("for step in steps: pass")
    assert shown == [f"Stopped after update 2 of {run.total}. Run this cell again."]
    assert run.step == 2


def test_a_missing_name_before_the_set_up_cell_ran_speaks_of_a_restart():
    assert listening().run("x = lab.device") == ["the traceback", "", kernel.RESTARTED]
    assert "Run All Above" in kernel.RESTARTED


def test_a_missing_name_later_speaks_of_the_cells_above():
    assert listening(lab=1).run("x = task") == ["the traceback", "", kernel.ABOVE]
    assert listening(lab=1).run("def f():\n    return task\nf()")[-1] == kernel.ABOVE


def test_a_missing_name_inside_a_library_is_only_an_error():
    library = types.ModuleType("library")
    exec("def f():\n    return task", library.__dict__)
    assert listening(library=library).run("library.f()") == ["the traceback"]


def test_a_local_that_has_no_value_yet_is_only_an_error():
    assert listening().run("def f():\n    print(x)\n    x = 1\nf()") == ["the traceback"]


def test_plain_python_has_no_shell_to_tell():
    kernel.listen(None)


def test_setup_tells_the_shell(monkeypatch):
    import IPython

    shell = Shell()
    monkeypatch.setattr(IPython, "get_ipython", lambda: shell)
    monkeypatch.setenv("FTKIT_SCALE", "laptop")
    setup()
    assert shell.kinds == (KeyboardInterrupt, NameError) and shell.handler is kernel.answer


def test_a_kernel_that_starts_with_the_startup_file_answers_from_its_first_cell(tmp_path):
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_client.manager import KernelManager

    manager = KernelManager(kernel_name="python3", kernel_spec_manager=KernelSpecManager(kernel_dirs=[]))
    startup = str(NOTEBOOKS / "course" / "startup.py")
    manager.start_kernel(cwd=str(tmp_path), env=os.environ | {"PYTHONSTARTUP": startup})
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=60)

        def run(source):
            """The lines of the error that a cell ends with, or its text."""
            asked, found = client.execute(source), None
            while True:
                message = client.get_iopub_msg(timeout=60)
                if message["parent_header"].get("msg_id") != asked:
                    continue
                if message["msg_type"] == "error":
                    found = message["content"]["traceback"]
                if message["msg_type"] == "stream":
                    found = message["content"]["text"]
                if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                    return found

        assert run("x = lab.device")[-1] == kernel.RESTARTED
        stop = "import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(20)"
        assert run(stop) == ["Stopped. Run this cell again."]
        assert run("print('begin' in dir(), 'kernel' in dir(), 'listen' in dir())") == "False False False\n"
    except queue.Empty:
        pytest.fail("the kernel did not answer")
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def test_plain_python_runs_the_startup_file_as_well():
    file = NOTEBOOKS / "course" / "startup.py"
    done = subprocess.run([sys.executable, file], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
