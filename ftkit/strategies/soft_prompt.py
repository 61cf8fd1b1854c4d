"""SoftPrompt: a trunk that reads learned vectors before its words; what PromptTuning trains."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .before import mask_with, numbered, passes_for_its_base


@passes_for_its_base
class SoftPrompt(nn.Module):
    """A trunk that reads `prompt` (length, width) before its words and gives back the words' states alone.

    It is called as the trunk is, by `generate` too: there the prompt goes in with the first tokens and lies
    in the cache afterwards. With `keep` the prompt's states are given back as well, for a decoder to read.
    """

    def __init__(self, base: nn.Module, prompt: Tensor, *, keep: bool = False):
        super().__init__()
        self.base, self.config, self.keep = base, base.config, keep
        self.prompt = nn.Parameter(prompt)

    def forward(self, input_ids=None, attention_mask=None, position_ids=None, past_key_values=None, **rest):
        state = rest.get("cache_params")  # what Mamba has in the place of past keys and values
        if state is not None and state.has_previous_state():
            return self.base(input_ids=input_ids, attention_mask=attention_mask, **rest)
        length, embeds = len(self.prompt), rest.pop("inputs_embeds", None)
        words = self.embed_tokens(input_ids) if embeds is None else embeds  # (batch, tokens, width)
        past = 0 if past_key_values is None else past_key_values.get_seq_length()  # with the prompt
        mask = mask_with(self.base, attention_mask, words, past=max(0, past - length), length=length)
        if past == 0:
            words = torch.cat([self.prompt.to(words.dtype).expand(len(words), -1, -1), words], 1)
            if rest.get("token_type_ids") is not None:
                rest["token_type_ids"] = nn.functional.pad(rest["token_type_ids"], (length, 0))
        rest |= numbered(self.base, mask, position_ids, entering=words.shape[1], length=length)
        if past_key_values is not None:
            rest["past_key_values"] = past_key_values
        states = self.base(inputs_embeds=words, attention_mask=mask, **rest)
        if past == 0 and not self.keep:
            states.last_hidden_state = states.last_hidden_state[:, length:]
        return states


class ReadsPrompt(nn.Module):
    """A decoder whose encoder gives `length` states more than there are words."""

    def __init__(self, base: nn.Module, length: int):
        super().__init__()
        self.base, self.config, self.length = base, base.config, length

    def forward(self, *, encoder_attention_mask=None, **rest):
        if encoder_attention_mask is not None:
            encoder_attention_mask = nn.functional.pad(encoder_attention_mask, (self.length, 0), value=1)
        return self.base(encoder_attention_mask=encoder_attention_mask, **rest)
