"""PromptTuning: learned vectors before the words (Lester et al. 2021, arXiv:2104.08691)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..families import family
from ..records import Tuned
from ..surgery import freeze, own_names, put, trainable, unwrap
from .before import placed
from .soft_prompt import ReadsPrompt, SoftPrompt


@dataclass(frozen=True)
class PromptTuning:
    """`length` vectors train. They start at words of the vocabulary, at random, or at the given token ids."""

    length: int = 16
    start: str | tuple[int, ...] = "words"  # or "random", or as many token ids as `length`

    def apply(self, model: nn.Module) -> Tuned:
        """Raises ValueError for a length that the context does not hold, or a start that is none."""
        name, base = placed(model, length=self.length)
        prompt, reader = self.vectors(base.get_input_embeddings()), name.removesuffix("encoder") + "decoder"
        read = family(model).encoder_decoder and reader in dict(model.named_modules())  # T5's may stand alone
        freeze(model)
        put(model, name, SoftPrompt(base, prompt, keep=read))
        if read:
            put(model, reader, ReadsPrompt(model.get_submodule(reader), self.length))
        return Tuned(model, trainable(model, own_names(model, SoftPrompt, ["prompt"]), name="prompt"))

    def vectors(self, table: nn.Embedding) -> Tensor:  # (length, width)
        """The first values, as the model would read them: some families scale what they look up."""
        words, (size, width), device = self.start, table.weight.shape, table.weight.device
        if words == "random":
            return torch.randn(self.length, width, device=device) * table.weight.float().std()
        if words == "words":
            words = torch.randint(size, (self.length,)).tolist()
        if isinstance(words, str) or len(words) != self.length or not set(words) <= set(range(size)):
            ids = f"{self.length} token ids below {size}"
            raise ValueError(f'expected start="words", "random" or {ids}, got {words!r}')
        with torch.no_grad():
            return table(torch.tensor(words, device=device)).float().clone()


def remove(model: nn.Module) -> nn.Module:
    """Take the prompt off in place: the base comes back bit for bit."""
    return unwrap(unwrap(model, SoftPrompt), ReadsPrompt)
