"""What a notebook needs beside ftkit: exercises, claims, pictures, a language with a known truth."""

from . import show
from .check import case, check, hint, solution
from .claim import claim
from .setup import setup

__all__ = ["case", "check", "claim", "hint", "setup", "show", "solution"]
