"""One file per task family: its examples, how they make a batch, what the loss counts, how it is scored."""

from .classification import Classification, Example, examples, reviews, table
from .language_modelling import Causal, Masked, Tokens, causal, masked

__all__ = [
    "Causal",
    "Classification",
    "Example",
    "Masked",
    "Tokens",
    "causal",
    "examples",
    "masked",
    "reviews",
    "table",
]
