"""What is trained on: random texts whose lengths are like SST-2's, and models by their shape."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy
import torch
from torch import nn

from ftkit import heads, models
from ftkit.tasks.classification import Classification, Example
from ftkit.tasks.language_modelling import LanguageModelling, Tokens

MINILM = "sentence-transformers/all-MiniLM-L6-v2"


@dataclass(frozen=True)
class Workload:
    """The same for all systems. SST-2's sentences have 25 word pieces, give or take half of that."""

    updates: int = 10  # per turn
    turns: int = 5
    batch_size: int = 32
    mean: float = 25.0  # tokens per text
    sigma: float = 0.5  # of the logarithm of the length
    longest: int = 128  # tokens
    seed: int = 0
    threads: int = 2

    @property
    def examples(self) -> int:
        """As many as all turns and the one to warm up train on, each once."""
        return self.updates * (self.turns + 1) * self.batch_size


@dataclass(frozen=True)
class Shape:
    """A model's measures. Without a checkpoint its weights are random, which costs the same time."""

    family: str  # "bert" (classified), "gpt2" or "llama" (next token)
    words: int = 30522
    width: int = 384
    blocks: int = 6
    heads: int = 12
    inner: int = 1536
    groups: int | None = None  # heads of keys and values, where they are fewer
    checkpoint: str | None = None


SHAPES = {
    "minilm": Shape("bert", checkpoint=MINILM),
    "bert-base": Shape("bert", 30522, 768, 12, 12, 3072),
    "gpt2": Shape("gpt2", 50257, 768, 12, 12, 3072),
    "llama-1b": Shape("llama", 128256, 2048, 16, 32, 8192, groups=8),
    "tiny": Shape("bert", 30522, 32, 2, 2, 64),
    "tiny-gpt2": Shape("gpt2", 997, 32, 2, 2, 64),
    "tiny-llama": Shape("llama", 997, 32, 2, 2, 64, groups=1),
}


@dataclass(frozen=True)
class Padding:
    """As much of a tokenizer as collating needs."""

    pad_token_id: int = 0
    model_max_length: int = 512


def text_lengths(load: Workload, count: int) -> numpy.ndarray:
    """(count,) tokens per text: log-normal with the workload's mean, from 3 to `longest`."""
    rng = numpy.random.default_rng(load.seed)
    drawn = rng.lognormal(math.log(load.mean) - load.sigma**2 / 2, load.sigma, count)
    return numpy.clip(drawn.round().astype(int), 3, load.longest)


def task(load: Workload, shape: Shape, *, examples: int | None = None):
    """A task of random tokens (and labels): what a text says does not change what it costs."""
    count = load.examples if examples is None else examples
    rng = numpy.random.default_rng([load.seed, 1])
    highest = min(shape.words, 30000)
    ids = [rng.integers(highest // 30, highest, size=n) for n in text_lengths(load, count)]
    if shape.family == "bert":
        train = [Example(i, "", row, int(rng.integers(2))) for i, row in enumerate(ids)]
        return Classification(Padding(), ("no", "yes"), train, train[:8], train[:8], load.longest)
    train = [Tokens(i, row) for i, row in enumerate(ids)]
    return LanguageModelling(Padding(), train, train[:8], train[:8], load.longest)


def model(shape: Shape, a_task, *, dropout: float = 0.0, seed: int = 0) -> nn.Module:
    """A model of that shape for that task; its weights depend on the seed alone."""
    if shape.checkpoint:
        return models.load(shape.checkpoint, a_task, dropout=dropout, seed=seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return _random(shape, dropout)


def _random(shape: Shape, dropout: float) -> nn.Module:
    from transformers import BertConfig, BertModel, GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

    if shape.family == "bert":
        config = BertConfig(
            vocab_size=shape.words,
            hidden_size=shape.width,
            num_hidden_layers=shape.blocks,
            num_attention_heads=shape.heads,
            intermediate_size=shape.inner,
            hidden_dropout_prob=dropout,
            attention_probs_dropout_prob=dropout,
        )
        return heads.Classifier(BertModel(config), outputs=2)
    if shape.family == "gpt2":
        config = GPT2Config(
            vocab_size=shape.words,
            n_embd=shape.width,
            n_layer=shape.blocks,
            n_head=shape.heads,
            n_inner=shape.inner,
            resid_pdrop=dropout,
            embd_pdrop=dropout,
            attn_pdrop=dropout,
            bos_token_id=None,
            eos_token_id=None,
        )
        return GPT2LMHeadModel(config)
    config = LlamaConfig(
        vocab_size=shape.words,
        hidden_size=shape.width,
        num_hidden_layers=shape.blocks,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.groups or shape.heads,
        intermediate_size=shape.inner,  # and no dropout: a Llama has none
    )
    return LlamaForCausalLM(config)
