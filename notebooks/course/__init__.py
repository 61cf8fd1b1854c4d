"""What a notebook needs beside ftkit: exercises, claims, pictures, a language with a known truth."""

from . import show
from .check import check, hint, solution
from .claim import claim
from .setup import setup

__all__ = ["check", "claim", "hint", "setup", "show", "solution"]
