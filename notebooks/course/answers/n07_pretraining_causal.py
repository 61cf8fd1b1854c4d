"""The exercises of notebook 07: the shifted loss, the nucleus, a step of beam search, perplexity per word."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from ..records import Exercise, wrong


def next_token_loss(logits: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
    real = mask[:, 1:].bool()  # the tokens that are predicted: all real ones but the first
    return cross_entropy(logits[:, :-1][real], ids[:, 1:][real])


def nucleus(q: Tensor, p: float) -> Tensor:
    ordered, tokens = q.sort(descending=True)
    before = ordered.cumsum(0) - ordered  # what the more probable tokens hold together
    kept = before < p
    kept[0] = True  # one token always stays
    out = torch.zeros_like(q)
    out[tokens[kept]] = ordered[kept]
    return out / out.sum()


def beam_step(scores: Tensor, log_q: Tensor, beams: int) -> list[tuple[int, int]]:
    totals = scores[:, None] + log_q  # (rows, V)
    places = totals.flatten().topk(beams).indices.tolist()
    return [divmod(place, log_q.shape[1]) for place in places]


def perplexity_per_word(losses: Sequence[float], words: int) -> float:
    return math.exp(sum(losses) / words)


@wrong("you did not shift: each place is asked for its own token, which it has read")
def _unshifted(logits, ids, mask):
    return cross_entropy(logits[mask.bool()], ids[mask.bool()])


@wrong("you shifted the other way: logits at t belong to the token at t + 1, not t - 1")
def _shifted_back(logits, ids, mask):
    real = mask[:, 1:].bool()
    return cross_entropy(logits[:, 1:][real], ids[:, :-1][real])


@wrong("you counted padding: those places predict <pad>, which is no part of a text")
def _padding_counted(logits, ids, mask):
    return cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())


@wrong(
    "you took the mask of the places that read; the last real one would have to predict padding. "
    "Shift the mask like the tokens: mask[:, 1:]"
)
def _mask_of_the_reader(logits, ids, mask):
    real = mask[:, :-1].bool()
    return cross_entropy(logits[:, :-1][real], ids[:, 1:][real])


@wrong("you averaged each row and then the rows; tokens of short texts then weigh more")
def _mean_of_rows(logits, ids, mask):
    rows = [next_token_loss(*(x[None] for x in row)) for row in zip(logits, ids, mask, strict=True)]
    return torch.stack(rows).mean()


@wrong("you summed; divide by the number of predicted tokens")
def _summed(logits, ids, mask):
    return next_token_loss(logits, ids, mask) * mask[:, 1:].sum()


@wrong("you divided by all real tokens; the first of each row is not predicted and does not count")
def _first_counted(logits, ids, mask):
    return _summed(logits, ids, mask) / mask.sum()


@wrong("you did not divide by what is left: the probabilities no longer add up to 1")
def _not_shared_out(q, p):
    return q * (nucleus(q, p) > 0)


@wrong("you dropped the token that crosses p; it stays: compare the sum *before* each token with p")
def _crossing_dropped(q, p):
    ordered, tokens = q.sort(descending=True)
    kept = ordered.cumsum(0) <= p
    kept[0] = True
    out = torch.zeros_like(q)
    out[tokens[kept]] = ordered[kept]
    return out / out.sum()


@wrong("you compared each probability with p; it is their running sum that counts")
def _as_threshold(q, p):
    out = torch.where(q >= p, q, 0.0)
    return out / out.sum()


@wrong("you kept what is near the largest probability; top-p looks at the running sum")
def _relative_threshold(q, p):
    out = torch.where(q >= (1 - p) * q.max(), q, 0.0)
    return out / out.sum()


@wrong("you summed in the order of the vocabulary; sort by probability first")
def _not_sorted(q, p):
    kept = q.cumsum(0) - q < p
    out = torch.where(kept, q, 0.0)
    return out / out.sum()


@wrong("you left the values in sorted order; put each back to its own token")
def _not_put_back(q, p):
    ordered = q.sort(descending=True).values
    kept = ordered.cumsum(0) - ordered < p
    kept[0] = True
    out = torch.where(kept, ordered, 0.0)
    return out / out.sum()


@wrong("you took the best token of each row; the best candidates of all rows together are kept")
def _row_by_row(scores, log_q, beams):
    totals = scores[:, None] + log_q
    best = [(row, int(totals[row].argmax())) for row in range(len(totals))]
    return sorted(best, key=lambda place: -totals[place])[:beams]


@wrong("you left the rows' scores out: a path counts from its beginning, not its last word")
def _past_forgotten(scores, log_q, beams):
    return beam_step(torch.zeros_like(scores), log_q, beams)


@wrong("you multiplied logarithms; the logarithm of a product is a sum")
def _multiplied(scores, log_q, beams):
    places = (scores[:, None] * log_q).flatten().topk(beams).indices.tolist()
    return [divmod(place, log_q.shape[1]) for place in places]


@wrong("you kept the worst: ln q is negative, and the best is nearest to 0")
def _smallest(scores, log_q, beams):
    return beam_step(-scores, -log_q, beams)


@wrong("you returned (token, row); it is (row, token)")
def _wrong_way_round(scores, log_q, beams):
    return [(token, row) for row, token in beam_step(scores, log_q, beams)]


@wrong("you divided the place by the number of rows; a flattened row is V long")
def _divided_by_rows(scores, log_q, beams):
    places = (scores[:, None] + log_q).flatten().topk(beams).indices.tolist()
    return [divmod(place, log_q.shape[0]) for place in places]


@wrong("you returned the right candidates, the worst of them first")
def _worst_first(scores, log_q, beams):
    return beam_step(scores, log_q, beams)[::-1]


@wrong("you divided by the tokens: a tokenizer that cuts finer then looks better")
def _per_token(losses, words):
    return math.exp(sum(losses) / len(losses))


@wrong("you took the exponential of each loss first; the mean comes before it")
def _mean_of_exponentials(losses, words):
    return sum(math.exp(loss) for loss in losses) / words


@wrong("that is the loss per word, in nats; the perplexity is its exponential")
def _loss_alone(losses, words):
    return sum(losses) / words


@wrong("you raised 2 to the loss; nats belong to e, and bits to 2")
def _base_two(losses, words):
    return 2 ** (sum(losses) / words)


@wrong("you scaled the perplexity per token; it is the loss that scales, inside the exponential")
def _per_token_times_pieces(losses, words):
    return math.exp(sum(losses) / len(losses)) * len(losses) / words


def _batches() -> list[tuple]:
    draw = torch.Generator().manual_seed(7)
    found = []
    for lengths, vocabulary in (((5, 5), 6), ((6, 3, 4), 8), ((2, 7), 5)):
        shape = len(lengths), max(lengths)
        mask = (torch.arange(shape[1]) < torch.tensor(lengths)[:, None]).long()
        ids = torch.randint(1, vocabulary, shape, generator=draw) * mask  # padding is token 0
        found.append((2 * torch.randn(*shape, vocabulary, generator=draw), ids, mask))
    return found


def _steps() -> list[tuple]:
    draw = torch.Generator().manual_seed(70)
    scores = (torch.tensor([-1.0, -1.2, -4.0]), torch.tensor([-2.0]), torch.tensor([-0.1, -1.6, -1.0]))
    return [
        (s, torch.randn(len(s), 7, generator=draw).log_softmax(-1), b)
        for s, b in zip(scores, (3, 2, 3), strict=True)
    ]


EXERCISES = (
    Exercise(
        number="07.1",
        reference=next_token_loss,
        cases=_batches,
        hints=(
            "The logits at t are for the token at t + 1. Which logits have no token, which token no logits?",
            "Take logits[:, :-1] with ids[:, 1:], and shift the mask like the tokens that are predicted.",
            "real = mask[:, 1:].bool(), then cross_entropy(logits[:, :-1][real], ids[:, 1:][real])",
        ),
        wrong=(
            _unshifted,
            _shifted_back,
            _padding_counted,
            _mask_of_the_reader,
            _mean_of_rows,
            _summed,
            _first_counted,
        ),
    ),
    Exercise(
        number="07.2",
        reference=nucleus,
        cases=lambda: [
            (torch.tensor([0.1, 0.5, 0.05, 0.3, 0.05]), 0.7),
            (torch.tensor([0.25, 0.35, 0.4]), 0.9),
            (torch.tensor([0.02, 0.9, 0.08]), 0.5),
            (torch.tensor([0.15, 0.2, 0.05, 0.6]), 0.79),
        ],
        hints=(
            "Sort by probability, largest first. A token stays if those before it hold less than p.",
            "What those before hold is ordered.cumsum(0) - ordered. Put every value back to its own place.",
            "out = torch.zeros_like(q); out[tokens[kept]] = ordered[kept]; return out / out.sum()",
        ),
        wrong=(
            _not_shared_out,
            _crossing_dropped,
            _as_threshold,
            _relative_threshold,
            _not_sorted,
            _not_put_back,
        ),
    ),
    Exercise(
        number="07.3",
        reference=beam_step,
        cases=_steps,
        hints=(
            "There are rows × V candidates. What is the score of one, and how many of one row may survive?",
            "Add each row's score to its log-probabilities, flatten, take topk. All may come from one row.",
            "places = totals.flatten().topk(beams).indices; row and token are divmod(place, V)",
        ),
        wrong=(
            _row_by_row,
            _past_forgotten,
            _multiplied,
            _smallest,
            _wrong_way_round,
            _divided_by_rows,
            _worst_first,
        ),
    ),
    Exercise(
        number="07.4",
        reference=perplexity_per_word,
        cases=lambda: [([1.0, 2.0, 0.5], 2), ([0.7] * 6, 3), ([2.5, 0.1, 3.0, 1.1], 4), ([4.0, 0.0, 0.0], 1)],
        hints=(
            "What does one pay for the whole text? That does not depend on how it was cut.",
            "The nats of the pieces add up. Divide by the words, not by the pieces.",
            "math.exp(sum(losses) / words)",
        ),
        wrong=(
            _per_token,
            _mean_of_exponentials,
            _loss_alone,
            _base_two,
            _per_token_times_pieces,
        ),
    ),
)
