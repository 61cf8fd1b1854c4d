"""check, hint, solution and claim: what a learner and a test need inside a notebook.

The exercises themselves live beside this file, one file per notebook: n18_lora.py belongs to 18_lora.ipynb.
"""

from .check import catalogue, check, hint, solution
from .claim import claim
from .records import Exercise, Wrong

__all__ = ["Exercise", "Wrong", "catalogue", "check", "claim", "hint", "solution"]
