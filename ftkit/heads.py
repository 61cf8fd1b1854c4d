"""New output layers over a pretrained trunk: one answer per text, one per token, or two towers to compare."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import SequenceClassifierOutput, TokenClassifierOutput

from .families import HEADS, family


class Classifier(nn.Module):
    """A trunk, one vector per text, and one linear layer.

    An encoder is read out by the mean of its last hidden states over the real tokens; a decoder at its last
    real token, which alone has seen the whole text.
    """

    def __init__(self, trunk: nn.Module, *, outputs: int):
        super().__init__()
        self.config, self.trunk = trunk.config, _without_pooler(trunk)
        self.decoder = family(trunk).decoder
        self.classifier = _new_layer(trunk, outputs, bias=not self.decoder)

    def forward(self, input_ids, attention_mask, token_type_ids=None):  # (batch, tokens) each
        features = self.features(input_ids, attention_mask, token_type_ids)
        return SequenceClassifierOutput(logits=self.classifier(features))  # (batch, outputs)

    def features(self, input_ids, attention_mask, token_type_ids=None) -> Tensor:
        """What the head reads: (batch, width)."""
        hidden = _hidden(self.trunk, input_ids, attention_mask, token_type_ids)
        if not self.decoder:
            return mean_pool(hidden, attention_mask)
        last = attention_mask.sum(1) - 1  # by the mask: padding may be the end token, which texts contain too
        return hidden[torch.arange(len(last), device=last.device), last]  # padded on the right

    def get_input_embeddings(self) -> nn.Module:
        return self.trunk.get_input_embeddings()


class TokenClassifier(nn.Module):
    """A trunk and one linear layer that reads every token."""

    def __init__(self, trunk: nn.Module, *, outputs: int):
        super().__init__()
        self.config, self.trunk = trunk.config, _without_pooler(trunk)
        self.classifier = _new_layer(trunk, outputs, bias=True)

    def forward(self, input_ids, attention_mask, token_type_ids=None):  # (batch, tokens) each
        hidden = _hidden(self.trunk, input_ids, attention_mask, token_type_ids)
        return TokenClassifierOutput(logits=self.classifier(hidden))  # (batch, tokens, outputs)

    def get_input_embeddings(self) -> nn.Module:
        return self.trunk.get_input_embeddings()


class TwoTowers(nn.Module):
    """Two trunks that give vectors of length 1 in one space (Radford et al. 2021, arXiv:2103.00020)."""

    def __init__(self, first: nn.Module, second: nn.Module, *, outputs: int):
        super().__init__()
        self.config = first.config
        self.first, self.second = _without_pooler(first), _without_pooler(second)
        self.first_projection = _new_layer(first, outputs, bias=False)
        self.second_projection = _new_layer(second, outputs, bias=False)
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def towers(self) -> tuple[nn.Module, nn.Module]:
        """The two trunks."""
        return self.first, self.second

    def forward(self, first: dict[str, Tensor], second: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """(batch, outputs) twice, from input_ids and attention_mask of either side, and what similarities are
        multiplied by: learned, 100 at most."""
        one = self.first_projection(_pooled(self.first, first))
        other = self.second_projection(_pooled(self.second, second))
        scale = self.log_scale.exp().clamp(max=100.0)
        return nn.functional.normalize(one, dim=-1), nn.functional.normalize(other, dim=-1), scale


class CachedFeatures(nn.Module):
    """The model with what its head reads kept by the tokens of the text: the trunk sees each text once.

    The features are those of evaluation (no dropout), forgotten when the trunk's weights change; a change
    past torch (`weight.data`) is seen at the next evaluation. Their last bits depend on the batch in which a
    text was first read, so a resumed run is the uninterrupted one to rounding, not to the bit.
    """

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model, self.config = model, model.config
        self.kept: dict[bytes, Tensor] = {}  # tokens -> (width,)
        self.version, self.norms = self.trunk_version(), self.trunk_norms()

    def forward(self, input_ids, attention_mask):  # (batch, tokens) each
        layer = next(m for name, m in self.model.named_children() if name in HEADS)
        return SequenceClassifierOutput(logits=layer(self.features(input_ids, attention_mask)))

    def features(self, input_ids, attention_mask) -> Tensor:  # (batch, width)
        if self.version != self.trunk_version():
            self.kept, self.version, self.norms = {}, self.trunk_version(), self.trunk_norms()
        rows = zip(input_ids.cpu().numpy(), attention_mask.cpu().numpy() > 0, strict=True)
        texts = [row[real].tobytes() for row, real in rows]
        new = [i for i, text in enumerate(texts) if text not in self.kept]
        if new:
            with torch.no_grad():
                features = self.model.features(input_ids[new], attention_mask[new])
            self.kept.update((texts[i], one) for i, one in zip(new, features, strict=True))
        return torch.stack([self.kept[text] for text in texts])

    def train(self, mode: bool = True):
        """The mode of this module; the model inside stays in evaluation."""
        self.training = mode
        self.model.train(False)
        norms = self.trunk_norms()
        if norms != self.norms:
            self.kept, self.norms = {}, norms
        return self

    def trunk_version(self) -> int:
        """Goes up whenever torch writes to a frozen weight."""
        return sum(p._version for p in self.model.parameters() if not p.requires_grad)

    def trunk_norms(self) -> tuple[float, ...]:
        """The norm of each frozen weight: changes with the weights, however they were written."""
        return tuple(p.detach().norm().item() for p in self.model.parameters() if not p.requires_grad)


def mean_pool(hidden: Tensor, attention_mask: Tensor) -> Tensor:
    """Mean over real tokens: (batch, tokens, width), (batch, tokens) -> (batch, width)."""
    real = attention_mask.unsqueeze(-1).to(hidden.dtype)  # (batch, tokens, 1)
    return (hidden * real).sum(1) / real.sum(1)


def _hidden(trunk: nn.Module, input_ids, attention_mask, token_type_ids) -> Tensor:
    segments = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
    return trunk(input_ids=input_ids, attention_mask=attention_mask, **segments).last_hidden_state


def _pooled(tower: nn.Module, side: dict[str, Tensor]) -> Tensor:
    return mean_pool(_hidden(tower, side["input_ids"], side["attention_mask"], None), side["attention_mask"])


def _without_pooler(trunk: nn.Module) -> nn.Module:
    """The trunk without the layer over its first token, which no head here reads."""
    if getattr(trunk, "pooler", None) is not None:
        trunk.pooler = None
    return trunk


def _new_layer(trunk: nn.Module, outputs: int, *, bias: bool) -> nn.Linear:
    layer = nn.Linear(trunk.config.hidden_size, outputs, bias=bias)
    nn.init.normal_(layer.weight, std=0.02)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer
