"""PromptTuning: learned vectors before the words (Lester et al. 2021, arXiv:2104.08691)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..records import Tuned
from ..surgery import freeze, put, trainable, unwrap
from .before import mask_with, trunk_for


@dataclass(frozen=True)
class PromptTuning:
    """`length` vectors train. They start at words of the vocabulary, at random, or at the given token ids."""

    length: int = 16
    start: str | tuple[int, ...] = "words"  # or "random", or as many token ids as `length`

    def apply(self, model: nn.Module) -> Tuned:
        """Raises ValueError for a length that the context does not hold, or a start that is none."""
        name, base = trunk_for(model, length=self.length)
        wrapped = SoftPrompt(base, self.vectors(base.get_input_embeddings().weight))
        freeze(model)
        put(model, name, wrapped)
        return Tuned(model, trainable(model, [wrapped.prompt], name="prompt"))

    def vectors(self, table: Tensor) -> Tensor:  # (words, width) -> (length, width)
        """The first values."""
        if self.start == "random":
            return torch.randn(self.length, table.shape[1], device=table.device) * table.float().std()
        words = self.start
        if words == "words":
            words = torch.randint(len(table), (self.length,)).tolist()
        if isinstance(words, str) or len(words) != self.length or not set(words) <= set(range(len(table))):
            ids = f"{self.length} token ids below {len(table)}"
            raise ValueError(f'expected start="words", "random" or {ids}, found {words!r}')
        return table[list(words)].detach().float()


class SoftPrompt(nn.Module):
    """A trunk that reads `prompt` (length, width) before its words and gives back the words' states alone.

    It is called as the trunk is, by `generate` too: there the prompt goes in with the first tokens, and lies
    in the cache afterwards.
    """

    def __init__(self, base: nn.Module, prompt: Tensor):
        super().__init__()
        self.base, self.config = base, base.config
        self.prompt = nn.Parameter(prompt)

    def get_input_embeddings(self) -> nn.Module:
        return self.base.get_input_embeddings()

    def forward(self, input_ids=None, attention_mask=None, position_ids=None, past_key_values=None, **rest):
        embeds = rest.pop("inputs_embeds", None)
        words = self.get_input_embeddings()(input_ids) if embeds is None else embeds  # (batch, tokens, width)
        length = len(self.prompt)
        past = past_key_values.get_seq_length() if past_key_values is not None else 0  # with the prompt
        mask = mask_with(length, attention_mask, words, past=past, config=self.config)
        if position_ids is not None:
            first = torch.arange(length if past == 0 else 0, device=words.device)
            position_ids = torch.cat([first.expand(len(position_ids), -1), position_ids + length], 1)
        if past == 0:
            words = torch.cat([self.prompt.to(words.dtype).expand(len(words), -1, -1), words], 1)
        known = {"attention_mask": mask, "position_ids": position_ids, "past_key_values": past_key_values}
        found = self.base(inputs_embeds=words, **known, **rest)
        if past == 0:
            found.last_hidden_state = found.last_hidden_state[:, length:]
        return found


def remove(model: nn.Module) -> nn.Module:
    """Take the prompt off in place: the base comes back bit for bit."""
    return unwrap(model, SoftPrompt)
