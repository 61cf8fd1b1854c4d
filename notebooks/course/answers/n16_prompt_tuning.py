"""The exercises of notebook 16: vectors before words, positions, many tasks in one batch, nearest words."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ..records import Exercise, wrong


def prepend(prompt: Tensor, words: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    batch, length = len(words), len(prompt)
    vectors = torch.cat([prompt.expand(batch, -1, -1), words], dim=1)  # (batch, length + tokens, width)
    seen = torch.cat([mask.new_ones(batch, length), mask], dim=1)  # (batch, length + tokens)
    return vectors, seen


def position_numbers(mask: Tensor, length: int) -> Tensor:
    own = torch.arange(length, device=mask.device).expand(len(mask), -1)  # the prompt: 0 … length - 1
    words = (mask.cumsum(1) - 1).clamp(min=0) + length  # real tokens alone are counted
    return torch.cat([own, words], dim=1)


def one_batch(prompts: Tensor, tasks: Tensor, words: Tensor) -> Tensor:
    return torch.cat([prompts[tasks], words], dim=1)  # a prompt for each row, then its words


def nearest_words(prompt: Tensor, table: Tensor) -> Tensor:
    cosine = normalize(prompt, dim=1) @ normalize(table, dim=1).T  # (length, words)
    return cosine.argmax(dim=1)


@wrong("you put the prompt behind the words; what is read left to right has to find it before them")
def _behind(prompt, words, mask):
    vectors = torch.cat([words, prompt.expand(len(words), -1, -1)], dim=1)
    return vectors, torch.cat([mask, mask.new_ones(len(words), len(prompt))], dim=1)


@wrong("you returned the mask as it was; it is shorter than the vectors by the length of the prompt")
def _mask_as_it_was(prompt, words, mask):
    return prepend(prompt, words, mask)[0], mask


@wrong("you extended the mask with zeros: nobody may look at the prompt then")
def _hidden(prompt, words, mask):
    vectors, seen = prepend(prompt, words, mask)
    seen[:, : len(prompt)] = 0
    return vectors, seen


@wrong("you extended the mask at its end; the prompt stands at the front, and so do its ones")
def _ones_behind(prompt, words, mask):
    seen = torch.cat([mask, mask.new_ones(len(words), len(prompt))], dim=1)
    return prepend(prompt, words, mask)[0], seen


@wrong("you set the whole mask to 1: padding is read as if it were text")
def _all_seen(prompt, words, mask):
    vectors, seen = prepend(prompt, words, mask)
    return vectors, torch.ones_like(seen)


@wrong("you counted padding, too: a text padded on the left would begin at another position")
def _padding_counted(mask, length):
    return torch.arange(length + mask.shape[1]).expand(len(mask), -1)


@wrong("you started the words at 0: they would share their positions with the prompt")
def _as_without_prompt(mask, length):
    own = torch.arange(length).expand(len(mask), -1)
    return torch.cat([own, (mask.cumsum(1) - 1).clamp(min=0)], dim=1)


@wrong("you started the words one too late: a running sum gives 1 for the first real token")
def _from_one(mask, length):
    own = torch.arange(length).expand(len(mask), -1)
    return torch.cat([own, mask.cumsum(1) + length], dim=1)


@wrong("you left out the prompt's own positions, 0 to length - 1")
def _words_alone(mask, length):
    return position_numbers(mask, length)[:, length:]


@wrong(
    "you gave padding before the text the number length - 1; clamp it, so that none is below 0 "
    "before the length is added"
)
def _not_clamped(mask, length):
    own = torch.arange(length).expand(len(mask), -1)
    return torch.cat([own, mask.cumsum(1) - 1 + length], dim=1)


@wrong("you gave every row the first prompt; tasks says which one it gets")
def _first_for_all(prompts, tasks, words):
    return one_batch(prompts, torch.zeros_like(tasks), words)


@wrong("you dealt the prompts out in order; tasks says which one a row gets")
def _in_order(prompts, tasks, words):
    return one_batch(prompts, torch.arange(len(tasks)) % len(prompts), words)


@wrong("you took the mean of all prompts; a mixture of tasks is no task")
def _averaged(prompts, tasks, words):
    return torch.cat([prompts.mean(0).expand(len(words), -1, -1), words], dim=1)


@wrong("you put the prompts behind the words; they stand before them")
def _prompts_behind(prompts, tasks, words):
    return torch.cat([words, prompts[tasks]], dim=1)


@wrong("you put all prompts before every row; each row gets its own one alone")
def _all_prompts(prompts, tasks, words):
    return torch.cat([prompts.flatten(0, 1).expand(len(words), -1, -1), words], dim=1)


@wrong("you compared products without scaling: a long word vector wins everywhere")
def _products(prompt, table):
    return (prompt @ table.T).argmax(dim=1)


@wrong("you compared distances; asked is the direction, whatever the length of a vector")
def _distances(prompt, table):
    return torch.cdist(prompt, table).argmin(dim=1)


@wrong("you took the smallest cosine: these are the words that point away")
def _farthest(prompt, table):
    return (normalize(prompt, dim=1) @ normalize(table, dim=1).T).argmin(dim=1)


@wrong("you returned for each word its nearest prompt vector; take the maximum over the words")
def _nearest_vectors(prompt, table):
    return (normalize(prompt, dim=1) @ normalize(table, dim=1).T).argmax(dim=0)


@wrong("you scaled columns (dim=0); a vector is a row, and it is rows that get length 1")
def _over_the_words(prompt, table):
    return (normalize(prompt, dim=0) @ normalize(table, dim=0).T).argmax(dim=1)


def _batches() -> list[tuple]:
    draw = torch.Generator().manual_seed(16)
    found = []
    for length, width, lengths in ((2, 4, (3, 5)), (4, 3, (2, 2, 1)), (1, 5, (4, 6))):
        mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()
        words = torch.randn(*mask.shape, width, generator=draw)
        found.append((torch.randn(length, width, generator=draw), words, mask))
    return found


def _masks() -> list[tuple]:
    left, right = torch.tensor([[0, 0, 1, 1], [1, 1, 1, 1]]), torch.tensor([[1, 1, 0], [1, 1, 1]])
    return [(left, 3), (right, 2), (torch.tensor([[0, 1, 1, 1, 0]]), 5)]


def _many() -> list[tuple]:
    draw = torch.Generator().manual_seed(61)
    return [
        (
            torch.randn(count, length, 3, generator=draw),
            torch.tensor(tasks),
            torch.randn(len(tasks), 4, 3, generator=draw),
        )
        for count, length, tasks in ((3, 2, (2, 0, 2, 1)), (2, 3, (1, 1, 0)))
    ]


def _tables() -> list[tuple]:
    draw = torch.Generator().manual_seed(166)
    found = []
    for length, width, words in ((4, 6, 30), (5, 4, 20), (3, 8, 40)):
        table = torch.randn(words, width, generator=draw)
        table *= 0.2 + 3 * torch.rand(words, 1, generator=draw)  # words of very different lengths
        found.append((2 * torch.randn(length, width, generator=draw), table))
    return found


EXERCISES = (
    Exercise(
        number="16.1",
        reference=prepend,
        cases=_batches,
        hints=(
            "Two things grow, both at the front: the vectors, and the mask that says which of them count.",
            "prompt.expand(batch, -1, -1) is (batch, length, width) without copying; torch.cat on dim 1.",
            "The new part of the mask is mask.new_ones(batch, length), before the old one.",
        ),
        wrong=(
            _behind,
            _mask_as_it_was,
            _hidden,
            _ones_behind,
            _all_seen,
        ),
    ),
    Exercise(
        number="16.2",
        reference=position_numbers,
        cases=_masks,
        hints=(
            "Which number does the first real word get, if the prompt has the numbers 0 to length - 1?",
            "mask.cumsum(1) - 1 counts real tokens from 0, wherever the padding is. "
            "Padding before the text gets -1 there; clamp it to 0.",
            "torch.cat([arange(length) for every row, (mask.cumsum(1) - 1).clamp(min=0) + length], dim=1)",
        ),
        wrong=(
            _padding_counted,
            _as_without_prompt,
            _from_one,
            _words_alone,
            _not_clamped,
        ),
    ),
    Exercise(
        number="16.3",
        reference=one_batch,
        cases=_many,
        hints=(
            "Every row of the batch belongs to a task. Which prompt stands before it?",
            "prompts[tasks] picks one prompt per row: (batch, length, width).",
            "torch.cat([prompts[tasks], words], dim=1)",
        ),
        wrong=(
            _first_for_all,
            _in_order,
            _averaged,
            _prompts_behind,
            _all_prompts,
        ),
    ),
    Exercise(
        number="16.4",
        reference=nearest_words,
        cases=_tables,
        hints=(
            "Nearest by direction: the cosine of two vectors is the product of both, scaled to length 1.",
            "torch.nn.functional.normalize(x, dim=1) scales every row to length 1.",
            "(normalize(prompt, dim=1) @ normalize(table, dim=1).T).argmax(dim=1)",
        ),
        wrong=(
            _products,
            _distances,
            _farthest,
            _nearest_vectors,
            _over_the_words,
        ),
    ),
)
