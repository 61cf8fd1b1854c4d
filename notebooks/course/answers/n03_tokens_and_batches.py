"""The exercises of notebook 03: the pair to merge, where pieces lie, a batch and its mask, a packed row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from ..records import Exercise, wrong


def most_frequent_pair(words: Mapping[tuple[int, ...], int]) -> tuple[int, int]:
    found = Counter()
    for symbols, count in words.items():
        for pair in pairwise(symbols):
            found[pair] += count
    return min(found, key=lambda pair: (-found[pair], pair))  # among equals the lowest numbers


def spans(word: str, vocabulary: Collection[str]) -> list[tuple[int, int]]:
    found, start = [], 0
    while start < len(word):
        for end in range(len(word), start, -1):  # the longest piece first
            if ("##" if start else "") + word[start:end] in vocabulary:
                break
        else:
            return [(0, len(word))]  # one letter that no piece covers makes the whole word [UNK]
        found.append((start, end))
        start = end
    return found


def pad(rows: Sequence[Sequence[int]], filling: int) -> dict[str, Tensor]:
    longest = max(map(len, rows))
    ids = torch.full((len(rows), longest), filling)
    mask = torch.zeros(len(rows), longest, dtype=torch.long)
    for place, row in enumerate(rows):
        ids[place, : len(row)] = torch.tensor(row)
        mask[place, : len(row)] = 1  # by length: the filling may be a real token elsewhere
    return {"input_ids": ids, "attention_mask": mask}


def pack(lengths: Sequence[int], room: int) -> dict[str, Tensor]:
    document = torch.full((room,), -1)  # -1: the padding at the end
    positions = torch.zeros(room, dtype=torch.long)
    start = 0
    for number, length in enumerate(lengths):
        document[start : start + length] = number
        positions[start : start + length] = torch.arange(length)
        start += length
    same = (document[:, None] == document[None, :]) & (document >= 0)[:, None]
    mask = same & torch.ones(room, room, dtype=torch.bool).tril()
    return {"positions": positions, "mask": mask | torch.eye(room, dtype=torch.bool)}  # no empty row: no nan


def _pairs(words):
    return Counter(pair for w, count in words.items() for _ in range(count) for pair in pairwise(w))


@wrong("you counted each word once; a pair counts as often as its word is in the text")
def _unweighted(words):
    return most_frequent_pair(dict.fromkeys(words, 1))


@wrong("you took (a, b) and (b, a) for one pair; a merge glues them in one order only")
def _unordered(words):
    found = Counter(tuple(sorted(pair)) for pair in _pairs(words).elements())
    return min(found, key=lambda pair: (-found[pair], pair))


@wrong("you paired the end of a word with the start of the next; no merge crosses it")
def _across_words(words):
    found = Counter()
    line = [(symbol, count) for symbols, count in words.items() for symbol in symbols]
    for (a, _), (b, count) in pairwise(line):
        found[a, b] += count
    return min(found, key=lambda pair: (-found[pair], pair))


@wrong("you took the highest numbers among equals; here the lowest win")
def _last_of_equals(words):
    found = _pairs(words)
    return max(found, key=lambda pair: (found[pair], pair))


@wrong("you took the pair met first among equals; here the lowest numbers win")
def _first_met(words):
    return _pairs(words).most_common(1)[0][0]


def _letters(**words: int) -> dict[tuple[int, ...], int]:
    return {tuple(word.encode()): count for word, count in words.items()}


@wrong("you let pieces without ## stand inside a word; those only begin one")
def _without_marks(word, vocabulary):
    return spans(word, {"##" + piece for piece in vocabulary if piece[:2] != "##"} | set(vocabulary))


@wrong("you began the word with a ## piece; those only continue one")
def _marked_from_the_start(word, vocabulary):
    marked = {piece for piece in vocabulary if piece[:2] == "##"}
    return spans(word, marked | {piece[2:] for piece in marked})


@wrong("you took the shortest piece that fits; WordPiece takes the longest")
def _shortest(word, vocabulary):
    found, start = [], 0
    while start < len(word):
        for end in range(start + 1, len(word) + 1):
            if ("##" if start else "") + word[start:end] in vocabulary:
                break
        else:
            return [(0, len(word))]
        found.append((start, end))
        start = end
    return found


@wrong("you kept the pieces before an unknown rest; BERT gives up the whole word: [(0, len(word))]")
def _unknown_in_the_middle(word, vocabulary):
    found, start = [], 0
    while start < len(word):
        for end in range(len(word), start, -1):
            if ("##" if start else "") + word[start:end] in vocabulary:
                break
        else:
            return [*found, (start, len(word))]
        found.append((start, end))
        start = end
    return found


@wrong("you counted the two signs ## as letters of the word")
def _marks_counted(word, vocabulary):
    found, start = [], 0
    for first, end in spans(word, vocabulary):
        found.append((start, start + end - first + 2 * bool(first)))
        start = found[-1][1]
    return found


@wrong("you asked the ids where padding is; where the filling is a real token, too, that hides it")
def _mask_from_ids(rows, filling):
    ids = pad(rows, filling)["input_ids"]
    return {"input_ids": ids, "attention_mask": (ids != filling).long()}


@wrong("you padded on the left; here the text begins in the first column")
def _on_the_left(rows, filling):
    turned = pad([row[::-1] for row in rows], filling)
    return {name: tensor.flip(1) for name, tensor in turned.items()}


@wrong("you cut all rows to the shortest; no token may be lost")
def _cut_to_the_shortest(rows, filling):
    shortest = min(map(len, rows))
    return pad([row[:shortest] for row in rows], filling)


@wrong("you marked the padding; 1 stands for a real token, 0 for padding")
def _mask_inverted(rows, filling):
    padded = pad(rows, filling)
    return padded | {"attention_mask": 1 - padded["attention_mask"]}


@wrong("you filled with 0; fill with the number that was given")
def _filled_with_zero(rows, filling):
    return pad(rows, 0)


@wrong("you hid the future only; a text must not see the texts before it either")
def _causal_alone(lengths, room):
    mask = torch.ones(room, room, dtype=torch.bool).tril()
    return {"positions": pack(lengths, room)["positions"], "mask": mask}


@wrong("you hid the other texts only; within a text the future is hidden, too")
def _looks_ahead(lengths, room):
    packed = pack(lengths, room)
    return packed | {"mask": packed["mask"] | packed["mask"].T}


@wrong("you let the positions run on; each text begins at 0")
def _positions_run_on(lengths, room):
    used = sum(lengths)
    positions = torch.cat([torch.arange(used), torch.zeros(room - used, dtype=torch.long)])
    return pack(lengths, room) | {"positions": positions}


@wrong("you began the positions at 1; the first is 0")
def _positions_from_one(lengths, room):
    packed = pack(lengths, room)
    used = torch.arange(room) < sum(lengths)
    return packed | {"positions": packed["positions"] + used.long()}


@wrong("you swapped rows and columns; row i says what place i may look at")
def _transposed(lengths, room):
    packed = pack(lengths, room)
    return packed | {"mask": packed["mask"].T}


@wrong("you let padding see nothing: its softmax is 0/0, nan; let it see itself")
def _blind_padding(lengths, room):
    packed = pack(lengths, room)
    used = torch.arange(room) < sum(lengths)
    return packed | {"mask": packed["mask"] & used[:, None]}


_BEGIN = {"un", "unhelp", "help", "h", "u", "n", "s", "full"}
_VOCABULARY = _BEGIN | {"##" + piece for piece in ("help", "ful", "f", "u", "l", "ly", "s", "n", "h", "he")}

EXERCISES = (
    Exercise(
        number="03.1",
        reference=most_frequent_pair,
        cases=lambda: [
            (_letters(sea=5, seat=4, eat=6, ate=3),),
            (_letters(ox=9, ab=1, abc=1, cab=1),),
            (_letters(ab=3, ba=2, cd=4),),
            (_letters(xy=5, zy=2, yz=6, zx=1),),
            ({(4, 9, 4): 2, (4, 11): 2, (9, 4): 2, (11, 4): 3},),
            ({(7, 8): 3, (3, 5): 3, (9, 10): 3},),
            ({(2, 10): 3, (2, 9): 3},),
        ],
        hints=(
            "Which pairs of neighbours does one word have? And how often does the text hold that word?",
            "itertools.pairwise(symbols) gives a word's pairs; add the word's count to each in a Counter.",
            "Sort by (-count, pair): most frequent first, among equals the lowest numbers. "
            "min(found, key=lambda pair: (-found[pair], pair))",
        ),
        wrong=(
            _unweighted,
            _unordered,
            _across_words,
            _last_of_equals,
            _first_met,
        ),
    ),
    Exercise(
        number="03.2",
        reference=spans,
        cases=lambda: [
            (word, _VOCABULARY)
            for word in ("unhelpful", "unhelpfully", "un", "helps", "unhappy", "fully", "lyn", "")
        ],
        hints=(
            "Begin at the first letter and try the longest piece. Where does the next piece begin?",
            "A piece that does not begin the word stands in the vocabulary with ## before it. "
            "The marks are no letters of the word, so they do not move the place.",
            "for end in range(len(word), start, -1): stop at the first piece in the vocabulary. "
            "If there is none, the answer is [(0, len(word))], the whole word.",
        ),
        wrong=(
            _without_marks,
            _marked_from_the_start,
            _shortest,
            _unknown_in_the_middle,
            _marks_counted,
        ),
    ),
    Exercise(
        number="03.3",
        reference=pad,
        cases=lambda: [
            ([[5, 6, 7], [8]], 1),
            ([[2, 9, 2], [9, 3], [4, 2, 5, 2]], 2),
            ([[7, 7]], 0),
            ([[3], [4, 5, 6, 7, 8], [0, 1]], 9),
        ],
        hints=(
            "The batch is as wide as its longest row. What stands where a row has ended?",
            "torch.full((rows, longest), filling) and torch.zeros of the same shape; then write each row in.",
            "The mask comes from the length of each row, mask[place, :len(row)] = 1, not from the ids: "
            "the filling may be a real token.",
        ),
        wrong=(
            _mask_from_ids,
            _on_the_left,
            _cut_to_the_shortest,
            _mask_inverted,
            _filled_with_zero,
        ),
    ),
    Exercise(
        number="03.4",
        reference=pack,
        cases=lambda: [([3, 2], 6), ([2, 4, 1], 9), ([4], 4), ([1, 1, 2], 7)],
        hints=(
            "Note for every place of the row which text it belongs to, and -1 for padding.",
            "A place may look at another if both belong to one text and the other is not later. "
            "Positions begin at 0 in every text.",
            "same = document[:, None] == document[None, :]; mask = same & torch.ones_like(same).tril(). "
            "A padding place sees itself and nothing else, or its softmax is 0/0; its position is 0.",
        ),
        wrong=(
            _causal_alone,
            _looks_ahead,
            _positions_run_on,
            _positions_from_one,
            _transposed,
            _blind_padding,
        ),
    ),
)
