"""One file per task family: its examples, how they make a batch, what the loss counts, how it is scored."""

from .classification import Classification, Example, reviews, table

__all__ = ["Classification", "Example", "reviews", "table"]
