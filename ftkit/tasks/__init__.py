"""One file per task family: its examples, how a batch is made of them, what the loss counts, how it is scored."""

from .classification import Classification, Example, reviews, table

__all__ = ["Classification", "Example", "reviews", "table"]
