"""ftkit: fine-tune language models, one readable part at a time.

Import the parts by their place, as in `from ftkit.loop import Run, updates`. This package itself loads
nothing, so that `import ftkit` takes no time: torch, transformers and datasets come in with the part that
needs them.
"""

__version__ = "0.1.0"
