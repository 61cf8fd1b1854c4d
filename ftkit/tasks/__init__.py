"""One file per task family: its examples, how they make a batch, what the loss counts, how it is scored."""

from .classification import Classification, Example, Prediction
from .labelled import examples, reviews, table
from .language_modelling import LanguageModelling, Tokens
from .tagged import conll
from .tagging import Sentence, Tagged, Tagging
from .translated import parallel
from .translation import Pair, Translated, Translation
from .unlabelled import causal, masked

__all__ = [
    "Classification",
    "Example",
    "LanguageModelling",
    "Pair",
    "Prediction",
    "Sentence",
    "Tagged",
    "Tagging",
    "Tokens",
    "Translated",
    "Translation",
    "causal",
    "conll",
    "examples",
    "masked",
    "parallel",
    "reviews",
    "table",
]
