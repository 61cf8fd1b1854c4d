"""A tokenizer of letters; tiny random models and tasks for tagging and for translation."""

from __future__ import annotations

import random

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertModel,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)

from ftkit.heads import TokenClassifier
from ftkit.tasks import tagged, translated

LETTERS = "abcdefghijklmnopqrstuvwxyz"


def tokenizer() -> PreTrainedTokenizerFast:
    """One token a letter and </s> at the end: a word of three letters has three tokens. 55 numbers."""
    pieces = ["<pad>", "</s>", "<unk>", *LETTERS, *(f"##{letter}" for letter in LETTERS)]
    inner = Tokenizer(models.WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    inner.decoder = decoders.WordPiece()
    inner.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    names = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    return PreTrainedTokenizerFast(tokenizer_object=inner, model_max_length=64, **names)


def sentences(n: int, *, seed: int) -> list[tuple[list[str], list[str]]]:
    """Words of one to four letters: z… begins a name, y… right behind goes on with it."""
    draw, rows = random.Random(seed), []
    for _ in range(n):
        words, tags = [], []
        for _ in range(draw.randint(2, 7)):
            word = draw.choice("abcdzzyy") + "".join(draw.choices(LETTERS, k=draw.randint(0, 3)))
            inside = word[0] == "y" and tags and tags[-1] != "O"
            words.append(word)
            tags.append("B-NAME" if word[0] == "z" else "I-NAME" if inside else "O")
        rows.append((words, tags))
    return rows


def tagging(n: int = 37):
    """Names in sentences: with 8 in a batch the last batch of an epoch is ragged."""
    splits = {"train": sentences(n, seed=1), "validation": sentences(20, seed=2)}
    return tagged.examples(splits, tokenizer(), max_tokens=32)


def tagger(*, dropout: float = 0.0, seed: int = 0) -> TokenClassifier:
    """A small BERT under a tag for each token."""
    torch.manual_seed(seed)
    shape = {"vocab_size": 64, "hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 48}
    rates = {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
    config = BertConfig(**shape, **rates, num_hidden_layers=2, max_position_embeddings=64)
    return TokenClassifier(BertModel(config), outputs=3)


def pairs(n: int, *, seed: int, letters: str = "abcdef", longest: int = 4) -> list[tuple[str, str]]:
    """Letters, and the same letters backwards."""
    draw = random.Random(seed)
    sources = [draw.choices(letters, k=draw.randint(1, longest)) for _ in range(n)]
    return [(" ".join(source), " ".join(source[::-1])) for source in sources]


def translation(n: int = 37):
    """Letters to be turned around."""
    splits = {"train": pairs(n, seed=1), "validation": pairs(20, seed=2)}
    return translated.examples(splits, tokenizer(), max_tokens=8)


def t5(*, dropout: float = 0.0, blocks: int = 2, seed: int = 0) -> T5ForConditionalGeneration:
    """A small encoder and decoder."""
    torch.manual_seed(seed)
    sizes = {"vocab_size": 64, "d_model": 32, "d_kv": 8, "d_ff": 48, "num_heads": 4}
    keys = {"num_layers": blocks, "num_decoder_layers": blocks, "dropout_rate": dropout}
    ends = {"pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 0}
    return T5ForConditionalGeneration(T5Config(**sizes, **keys, **ends))
