"""tiny-gpt and tiny-bert from nothing: texts of the known language, a tokenizer, a small network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy
import torch
from torch import nn
from tqdm.auto import tqdm

from ftkit import tasks
from ftkit.records import TrainConfig

from . import language

SPECIAL = {
    "pad_token": "<pad>",
    "unk_token": "<unk>",
    "bos_token": "<s>",
    "eos_token": "</s>",
    "mask_token": "<mask>",
}
WIDTH, BLOCKS, HEADS, POSITIONS = 128, 4, 4, 128
VALIDATION_SEED, FRESH_SEED = (
    1_000_001,
    1_000_002,
)  # texts that training, drawn with seeds below, does not hold


@dataclass(frozen=True)
class Recipe:
    """How a shipped model is pretrained."""

    kind: str  # "causal" or "masked"
    texts: int  # drawn for training
    copies: int  # how often each is in an epoch; masked ones hide other tokens each time
    config: TrainConfig


RECIPES = {
    "tiny-gpt": Recipe(
        "causal",
        300_000,
        1,
        TrainConfig(lr=1.5e-3, epochs=1, batch_size=32, schedule="cosine", warmup=0.02, evaluate_every=500),
    ),
    "tiny-bert": Recipe(
        "masked",
        100_000,
        2,
        TrainConfig(lr=1.5e-3, epochs=1, batch_size=32, schedule="cosine", warmup=0.02, evaluate_every=500),
    ),
}


def tokenizer(lang: language.Language, texts: Sequence[str]):
    """A byte-level BPE trained on `texts` until every word of the language is one token.

    Texts are lower-cased and full stops set apart, so that "Soup." and "soup ." are the same
    tokens; what is not in the lexicon becomes pieces, in the end bytes. Every text gets <s> and </s>.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.BPE(unk_token=SPECIAL["unk_token"]))
    made.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.WhitespaceSplit(),
            pre_tokenizers.Punctuation("isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=False),  # each word gets its own space
        ]
    )
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=20_000,  # never reached: merging ends when all words are whole
        special_tokens=list(SPECIAL.values()),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator([*texts, *lang.words], trainer)
    ends = [(t, made.token_to_id(t)) for t in (SPECIAL["bos_token"], SPECIAL["eos_token"])]
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> $B </s>", special_tokens=ends
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        model_max_length=POSITIONS,
        model_input_names=["input_ids", "attention_mask"],
        clean_up_tokenization_spaces=False,
        **SPECIAL,
    )


def network(kind: str, tokenizer, *, seed: int = 0, width: int = WIDTH, blocks: int = BLOCKS) -> nn.Module:
    """A network with random weights: GPT-2's shape for "causal", BERT's for "masked"; no dropout."""
    from transformers import BertConfig, BertForMaskedLM, GPT2Config, GPT2LMHeadModel

    ids = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        if kind == "causal":
            return GPT2LMHeadModel(
                GPT2Config(
                    vocab_size=len(tokenizer), n_positions=POSITIONS,
                    n_embd=width, n_layer=blocks, n_head=HEADS,
                    resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, **ids,
                )
            )  # fmt: skip
        return BertForMaskedLM(
            BertConfig(
                vocab_size=len(tokenizer), max_position_embeddings=POSITIONS, hidden_size=width,
                num_hidden_layers=blocks, num_attention_heads=HEADS, intermediate_size=4 * width,
                hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, **ids,
            )
        )  # fmt: skip


def strings(lang: language.Language, count: int, *, seed: int, first: int = 0) -> Iterator[str]:
    """`count` drawn texts as tokenizers read them, words with a space between them."""
    for number in range(first, first + count):
        yield " ".join(lang.texts(1, seed=seed, first=number)[0].words)


def task(recipe: Recipe, lang: language.Language, tokenizer, *, progress: bool = False):
    """The recipe's texts as a task: for training its own, up to 500 for validation, 1,000 to test."""
    train = tqdm(
        strings(lang, recipe.texts, seed=recipe.config.seed),
        total=recipe.texts, desc="drawing texts", unit="text", disable=not progress, dynamic_ncols=True,
    )  # fmt: skip
    found = {
        "train": list(train),
        "validation": list(strings(lang, min(500, recipe.texts), seed=VALIDATION_SEED)),
        "test": list(strings(lang, min(1000, recipe.texts), seed=FRESH_SEED)),
    }
    if recipe.kind == "causal":
        return tasks.causal(found, tokenizer, max_tokens=POSITIONS)
    return tasks.masked(found, tokenizer, max_tokens=POSITIONS, copies=recipe.copies, seed=recipe.config.seed)


@dataclass(frozen=True)
class Distance:
    """How far a language model is from the language, on texts it never saw; nats per word, ends counted."""

    loss: float  # of the model
    truth: float  # of the language itself on the same words: the lowest that any model can expect
    entropy: float  # the mean exact entropy of the next word at the same places
    above: float  # (loss - truth) / entropy
    above_interval: tuple[float, float]  # 95%, over texts
    words: int


@torch.inference_mode()
def distance(
    model: nn.Module, task: tasks.LanguageModelling, lang: language.Language, texts: Sequence[language.Text]
) -> Distance:
    """Loss of `model` against the exact conditional probabilities, topics summed as any reader must."""
    model.eval()
    device = next(model.parameters()).device
    examples = task.encode([" ".join(t.words) for t in texts])
    kept = [(e, t) for e, t in zip(examples, texts, strict=True) if len(e) == len(t.words) + 2]
    rows = []  # (loss, truth, entropy, words) per text
    for start in range(0, len(kept), 64):
        part = kept[start : start + 64]
        losses = task.losses(model, task.collate([e for e, _ in part], device)).sum(1).tolist()
        for loss, (_, text) in zip(losses, part, strict=True):
            rows.append(
                (
                    loss,
                    lang.surprisals(text.words).sum(),
                    lang.entropies(text.words).sum(),
                    len(text.words) + 1,
                )
            )
    loss, truth, entropy, words = numpy.array(rows, dtype=float).T
    share = lambda i: (loss[i] - truth[i]).sum() / entropy[i].sum()  # noqa: E731
    rng = numpy.random.default_rng(0)
    again = [share(rng.integers(len(rows), size=len(rows))) for _ in range(2000)]
    low, high = numpy.quantile(again, (0.025, 0.975))
    total = words.sum()
    return Distance(
        float(loss.sum() / total), float(truth.sum() / total), float(entropy.sum() / total),
        float(share(slice(None))), (float(low), float(high)), int(total),
    )  # fmt: skip


@torch.inference_mode()
def sampled(model: nn.Module, tokenizer, count: int, *, seed: int = 0) -> list[tuple[str, ...]]:
    """Texts drawn from a causal model, as words; what does not end in its positions stays without end."""
    model.eval()
    device = next(model.parameters()).device
    begin = torch.full((count, 1), tokenizer.bos_token_id, device=device)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        found = model.generate(
            begin, attention_mask=torch.ones_like(begin), do_sample=True, top_k=0, max_length=POSITIONS
        )
    return [tuple(t.split()) for t in tokenizer.batch_decode(found, skip_special_tokens=True)]


def sentences(texts: Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
    """The single sentences of texts given as words, each with its full stop if it has one."""
    found = []
    for words in texts:
        begin = 0
        for i, word in enumerate(words, 1):
            if word == "." or i == len(words):
                found.append(tuple(words[begin:i]))
                begin = i
    return found
