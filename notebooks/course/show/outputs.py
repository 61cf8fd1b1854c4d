"""What leaves course.show for the page: pictures and widgets, each with words for who cannot see it."""

from __future__ import annotations

import io
import sys

LIMIT = 60_000  # bytes of a figure, so that notebooks stay small enough to read on a phone


def in_kernel() -> bool:
    """Whether a notebook's kernel runs this, rather than plain Python or a terminal."""
    if "IPython" not in sys.modules:
        return False
    from IPython import get_ipython

    return getattr(get_ipython(), "kernel", None) is not None


def present(data: dict, *, metadata: dict | None = None, live: bool = False):
    """Show a bundle {media type: content}; outside a notebook print its words.

    A live one returns its handle, and says nothing outside a notebook.
    """
    if not in_kernel():
        if not live:
            print(data["text/plain"])
        return None
    from IPython.display import display

    return display(data, metadata=metadata or {}, raw=True, display_id=live or None)


def png(fig, *, limit: int = LIMIT) -> bytes:
    """The figure as PNG of at most `limit` bytes: in 256 colours, and with fewer dots until it fits."""
    from PIL import Image

    method = Image.Quantize.MEDIANCUT  # keeps white white and, with 256 colours, a thin line its own
    for dpi in (144, 120, 100, 84, 72):
        drawn, small = io.BytesIO(), io.BytesIO()
        fig.savefig(drawn, format="png", dpi=dpi, facecolor="white", transparent=False)
        few = Image.open(drawn).convert("RGB").quantize(256, method, dither=Image.Dither.NONE)
        few.save(small, format="png", optimize=True)
        if small.tell() <= limit:
            return small.getvalue()
    raise ValueError(
        f"expected a figure of at most {limit:,} bytes, found {small.tell():,} even at {dpi} dots per inch; "
        "draw fewer points or a smaller figure"
    )


def picture(fig, words: str) -> tuple[dict, dict]:
    """(data, metadata) of a figure; the words stand where the picture cannot be seen."""
    width = round(fig.get_figwidth() * 100)  # CSS pixels; the PNG has more, for sharp screens
    return {"image/png": png(fig), "text/plain": words}, {"image/png": {"alt": words, "width": width}}


def close(fig) -> None:
    """Forget a figure that pyplot made; else the inline backend shows it again at the end of the cell."""
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close(fig)
