"""Run by each kernel that `ftkit lab` starts, before the first cell: PYTHONSTARTUP names this file."""


def begin(shell) -> None:
    """Register kernel.py by its path: a kernel that starts does not know the course's folder yet."""
    import importlib.util
    import os
    from pathlib import Path

    place = Path(os.environ["PYTHONSTARTUP"]).with_name("kernel.py")
    spec = importlib.util.spec_from_file_location("course_kernel", place)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.listen(shell)


if "get_ipython" in globals():  # a plain Python runs the file as well
    begin(get_ipython())  # noqa: F821
del begin
