"""Tiny random models with the read-outs of the course, and tiny tasks built in code, without downloads."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import nn
from transformers import (
    BertConfig,
    BertModel,
    GPT2Config,
    GPT2ForSequenceClassification,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForSequenceClassification,
    PreTrainedTokenizerFast,
)

from ftkit.heads import Classifier
from ftkit.loop import Run, updates
from ftkit.records import TrainConfig
from ftkit.strategies import LoRA
from ftkit.surgery import head_names, look_up
from ftkit.tasks.classification import Classification, Example
from ftkit.tasks.language_modelling import LanguageModelling, Tokens

VOCABULARY, PAD = 64, 0
SIZES = {"vocab_size": VOCABULARY, "hidden_size": 32, "num_attention_heads": 4, "max_position_embeddings": 64}


def bert(*, labels: int = 2, dropout: float = 0.0, blocks: int = 2, seed: int = 0) -> nn.Module:
    """An encoder under our mean-pooled read-out."""
    torch.manual_seed(seed)
    rates = {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
    config = BertConfig(**SIZES, **rates, num_hidden_layers=blocks, intermediate_size=48)
    return Classifier(BertModel(config), outputs=labels)


def gpt2(*, labels: int = 2, dropout: float = 0.0, blocks: int = 2, seed: int = 0) -> nn.Module:
    """A decoder whose linear layers are Conv1D, read out at the last real token."""
    torch.manual_seed(seed)
    return GPT2ForSequenceClassification(_gpt2_config(dropout, blocks, num_labels=labels, pad_token_id=PAD))


def llama(*, labels: int = 2, dropout: float = 0.0, blocks: int = 2, seed: int = 0) -> nn.Module:
    """A decoder with grouped keys and values, so that not all of its linear layers are square."""
    torch.manual_seed(seed)
    shape = {"num_key_value_heads": 2, "num_hidden_layers": blocks, "intermediate_size": 48}
    keys = {"attention_dropout": dropout, "num_labels": labels, "pad_token_id": PAD}
    return LlamaForSequenceClassification(LlamaConfig(**SIZES, **shape, **keys))


def language_model(*, dropout: float = 0.0, blocks: int = 2, seed: int = 0) -> nn.Module:
    """A GPT-2 that predicts the next token; its output layer is its embedding."""
    torch.manual_seed(seed)
    return GPT2LMHeadModel(_gpt2_config(dropout, blocks))


def _gpt2_config(dropout: float, blocks: int, **keys) -> GPT2Config:
    keys |= {"resid_pdrop": dropout, "attn_pdrop": dropout, "embd_pdrop": dropout}
    return GPT2Config(**SIZES, bos_token_id=None, eos_token_id=None, num_hidden_layers=blocks, **keys)


def shaken(model: nn.Module) -> nn.Module:
    """The model with no weight at a special value: a bias that starts at 0 would hide that it is missing."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


CLASSIFIERS = {"bert": bert, "gpt2": gpt2, "llama": llama}


class Words:
    """A tokenizer in a few lines: a word is the number in its name (w7 -> 7), any other word is 1."""

    pad_token_id, model_max_length = PAD, 64

    def __call__(self, texts, truncation=False, max_length=None, verbose=True):
        ids = [[int(w[1:]) if w[1:].isdigit() else 1 for w in text.split()] for text in texts]
        return {"input_ids": [i[:max_length] if truncation else i for i in ids]}


def save_tokenizer(folder, words: list[str]) -> int:
    """Save a tokenizer that knows these words and four special tokens; return how many tokens it has."""
    tokens = {word: i for i, word in enumerate(["[PAD]", "[CLS]", "[SEP]", "[UNK]", *words])}
    raw = Tokenizer(models.WordLevel(tokens, unk_token="[UNK]"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    raw.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    names = {"unk_token": "[UNK]", "pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_object=raw, model_max_length=64, **names).save_pretrained(folder)
    return len(tokens)


def classification(n: int = 37, *, seed: int = 1, labels: int = 2, shortest: int = 3, longest: int = 20):
    """Sentences of random words that are of class k when most of their words are k modulo `labels`."""
    draw = random.Random(seed)
    sizes, splits, number = {"train": n, "validation": 20, "test": 20}, {}, 0
    for name, size in sizes.items():
        splits[name] = []
        for _ in range(size):
            label = draw.randrange(labels)
            words = [draw.randrange(3, VOCABULARY) for _ in range(draw.randint(shortest, longest))]
            words = [w - w % labels + label if draw.random() < 0.7 else w for w in words]
            ids = numpy.array([min(max(w, 3), VOCABULARY - 1) for w in words], dtype=numpy.int64)
            splits[name].append(Example(number, " ".join(f"w{i}" for i in ids), ids, label))
            number += 1
    return Classification(Words(), tuple(f"class {k}" for k in range(labels)), **splits, max_tokens=64)


def language_modelling(n: int = 37) -> LanguageModelling:
    """Next tokens in texts of 3 to 20 tokens: the batches of an epoch differ in their number of terms."""
    texts = classification(n)
    splits = {
        name: [Tokens(e.number, e.ids) for e in getattr(texts, name)]
        for name in ("train", "validation", "test")
    }
    return LanguageModelling(Words(), **splits, max_tokens=64)


def start(model=None, *, strategy=None, task=None, **config) -> Run:
    """A run that has not begun: LoRA on the small BERT, two epochs of five updates, unless told otherwise."""
    settings = replace(TrainConfig(lr=1e-2, epochs=2, batch_size=8), **config)
    return Run((strategy or LoRA(rank=4)).apply(model or bert()), task or classification(), settings)


def finish(run: Run) -> Run:
    """The run, trained to its end."""
    for _ in updates(run):
        pass
    return run


def weights(run: Run) -> torch.Tensor:
    """Every parameter in the table, in the model's order, as one vector, copied."""
    listed = {name for group in run.tuned.groups for name in group.parameters}
    named = run.tuned.model.named_parameters()
    return torch.cat([p.detach().flatten() for name, p in named if name in listed]).clone()


def head(model: nn.Module) -> list[nn.Parameter]:
    """The parameters of the task's new output layer."""
    return look_up(model, head_names(model))


def losses(run: Run) -> list[float]:
    """The loss of every update so far."""
    return [s.loss for s in run.steps]
