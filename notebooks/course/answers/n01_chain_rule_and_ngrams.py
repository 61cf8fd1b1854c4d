"""The exercises of notebook 01: the chain rule, counting n-grams, interpolation, and perplexity."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence

from ..language import END, START
from ..records import Exercise, wrong


def text_probability(words: Sequence[str], next_word: Callable[[list[str]], Mapping[str, float]]) -> float:
    probability, prefix = 1.0, [START]
    for word in (*words, END):
        probability *= next_word(prefix).get(word, 0.0)
        prefix = [*prefix, word]
    return probability


def ngrams(texts: Sequence[Sequence[str]], n: int) -> dict[tuple[str, ...], dict[str, int]]:
    followers: dict[tuple[str, ...], dict[str, int]] = {}
    for words in texts:
        padded = (START,) * (n - 1) + tuple(words) + (END,)
        for i in range(n - 1, len(padded)):
            counted = followers.setdefault(padded[i - n + 1 : i], {})
            counted[padded[i]] = counted.get(padded[i], 0) + 1
    return followers


def interpolated(
    followers: Mapping[tuple[str, ...], Mapping[str, int]],
    context: tuple[str, ...],
    weight: float,
    words: Sequence[str],
) -> dict[str, float]:
    probabilities = {word: 1 / len(words) for word in words}
    for length in range(len(context) + 1):
        counted = followers.get(context[len(context) - length :])
        if counted is None:
            break  # never seen: the shorter context keeps its say
        total = sum(counted.values())
        for word in words:
            frequency = counted.get(word, 0) / total
            probabilities[word] = weight * frequency + (1 - weight) * probabilities[word]
    return probabilities


def perplexity(log_probabilities: Sequence[Sequence[float]]) -> float:
    total = sum(sum(text) for text in log_probabilities)
    words = sum(len(text) for text in log_probabilities)
    return math.exp(-total / words)


def _conditionals(words, next_word):
    sequence = [START, *words, END]
    return [next_word(sequence[:i]).get(sequence[i], 0.0) for i in range(1, len(sequence))]


@wrong("you left out the factor of END: that the text stops here")
def _without_the_end(words, next_word):
    return math.prod(_conditionals(words, next_word)[:-1])


@wrong("you returned P(last word | words before), one factor of the product")
def _last_word(words, next_word):
    return _conditionals(words, next_word)[-2]


@wrong("you added the conditionals; probabilities of one thing after another multiply")
def _added(words, next_word):
    return sum(_conditionals(words, next_word))


@wrong("you gave one word as the prefix; the chain rule asks for all words before")
def _word_before(words, next_word):
    sequence = [START, *words, END]
    return math.prod(next_word([before]).get(word, 0.0) for before, word in itertools.pairwise(sequence))


@wrong("your prefix never grew: it stayed [START] for every word")
def _never_longer(words, next_word):
    return math.prod(next_word([START]).get(word, 0.0) for word in (*words, END))


def _counted(texts, n, *, starts, end=True, first=None, context=None):
    context = n - 1 if context is None else context
    found = {}
    for words in texts:
        padded = (START,) * starts + tuple(words) + ((END,) if end else ())
        for i in range(context if first is None else first, len(padded)):
            into = found.setdefault(padded[max(0, i - context) : i], {})
            into[padded[i]] = into.get(padded[i], 0) + 1
    return found


@wrong("you put one START before each text; an n-gram needs n - 1 of them")
def _one_start(texts, n):
    return _counted(texts, n, starts=1, first=1)


@wrong("you put no START before the texts, so that their first words are not predicted")
def _no_start(texts, n):
    return _counted(texts, n, starts=0)


@wrong("you left END out, so that no text ever stops")
def _no_end(texts, n):
    return _counted(texts, n, starts=n - 1, end=False)


@wrong("you counted START as a predicted word; it is given, never predicted")
def _start_counted(texts, n):
    return _counted(texts, n, starts=n - 1, first=0)


@wrong("your contexts have n words; an n-gram has n - 1 words of context and one more")
def _n_before(texts, n):
    return _counted(texts, n, starts=n, context=n)


@wrong("you counted across the borders of texts: one text does not predict the next START")
def _across(texts, n):
    joined = [word for words in texts for word in (*(START,) * (n - 1), *words, END)]
    return _counted([joined], n, starts=0, end=False)


def _mixed(
    followers, context, weight, words, *, unseen="skip", base=None, lengths=None, keep=None, part=None
):
    """`interpolated` with one thing done otherwise."""
    probabilities = {word: 1 / len(words) if base is None else base for word in words}
    for length in lengths or range(len(context) + 1):
        counted = followers.get(part(context, length) if part else context[len(context) - length :])
        if counted is None and unseen == "skip":
            continue
        total = sum((counted or {"": 1}).values())
        for word in words:
            frequency = (counted or {}).get(word, 0) / total
            rest = (1 - weight) if keep is None else keep
            probabilities[word] = weight * frequency + rest * probabilities[word]
    return probabilities


@wrong("a context that was never seen cost you probability: the sum is below 1 there")
def _lost(followers, context, weight, words):
    return _mixed(followers, context, weight, words, unseen="zero")


@wrong("you added weight * frequency to all of the rest; the rest counts 1 - weight")
def _rest_in_full(followers, context, weight, words):
    return _mixed(followers, context, weight, words, keep=1.0)


@wrong("you began with 0 and not with 1 / len(words), so that the sum is below 1")
def _no_uniform(followers, context, weight, words):
    return _mixed(followers, context, weight, words, base=0.0)


@wrong("you went from the long context to the short ones; the longest comes last")
def _short_last(followers, context, weight, words):
    return _mixed(followers, context, weight, words, lengths=range(len(context), -1, -1))


@wrong("you took the first words of the context; the nearest ones stand at its end")
def _far_words(followers, context, weight, words):
    return _mixed(followers, context, weight, words, part=lambda whole, length: whole[:length])


@wrong("you mixed in the longest context alone; every length has its turn")
def _longest_alone(followers, context, weight, words):
    return _mixed(followers, context, weight, words, lengths=[len(context)])


@wrong("you took the mean of the texts' perplexities; divide once, by all words")
def _mean_of_texts(log_probabilities):
    return sum(math.exp(-sum(t) / len(t)) for t in log_probabilities) / len(log_probabilities)


@wrong("the minus sign is missing: a perplexity is at least 1")
def _no_minus(log_probabilities):
    return 1 / perplexity(log_probabilities)


@wrong("you divided by the number of texts; the loss is per word")
def _per_text(log_probabilities):
    return math.exp(-sum(map(sum, log_probabilities)) / len(log_probabilities))


@wrong("you took 2 to the power of nats; natural logarithms go back by exp")
def _base_two(log_probabilities):
    return 2 ** math.log(perplexity(log_probabilities))


@wrong("that is the loss; the perplexity is exp of it")
def _not_exponentiated(log_probabilities):
    return math.log(perplexity(log_probabilities))


@wrong("you took the mean of 1 / p; the mean belongs to the logarithms")
def _mean_of_inverses(log_probabilities):
    every = [math.exp(-p) for text in log_probabilities for p in text]
    return sum(every) / len(every)


def _model(prefix: Sequence[str]) -> dict[str, float]:
    """Owls hunt, cats sleep, and the first word is remembered to the end."""
    if prefix[-1] in (START, "and"):
        return {"owls": 0.3, "cats": 0.7}
    if prefix[-1] in ("owls", "cats"):
        hunts = 0.9 if "owls" in prefix else 0.2
        return {"hunt": hunts, "sleep": 1 - hunts}
    more = 0.4 / prefix.count("and") if "and" in prefix else 0.5
    return {"and": more, END: 1 - more}


TEXTS = [("cats", "sleep", "."), ("owls", "hunt", "."), ("cats", "hunt", "."), (".",)]
WORDS = ("cats", "owls", "sleep", "hunt", ".", END)

EXERCISES = (
    Exercise(
        number="01.1",
        reference=text_probability,
        cases=lambda: [
            (["cats", "sleep"], _model),
            (["owls", "hunt", "and", "cats", "sleep"], _model),
            (["cats", "hunt", "and", "cats", "sleep", "and", "cats", "sleep"], _model),
            (["owls", "bark"], _model),
        ],
        hints=(
            "One factor per word, and one more for the end of the text. What is the first word's prefix?",
            "Begin with prefix = [START]. Ask next_word(prefix), take the probability of the word, "
            "and append the word to the prefix.",
            "for word in (*words, END): probability *= next_word(prefix).get(word, 0.0); "
            "prefix = [*prefix, word]",
        ),
        wrong=(
            _without_the_end,
            _last_word,
            _added,
            _word_before,
            _never_longer,
        ),
    ),
    Exercise(
        number="01.2",
        reference=ngrams,
        cases=lambda: [(TEXTS, 1), (TEXTS, 2), (TEXTS, 3), (TEXTS[:2], 4)],
        hints=(
            "Put n - 1 times START before each text and END behind it. Which places are then predicted?",
            "In padded = (START,) * (n - 1) + tuple(words) + (END,) the places from n - 1 on are predicted; "
            "the context of place i is padded[i - n + 1 : i].",
            "counted = followers.setdefault(padded[i - n + 1 : i], {}); "
            "counted[padded[i]] = counted.get(padded[i], 0) + 1",
        ),
        wrong=(
            _one_start,
            _no_start,
            _no_end,
            _start_counted,
            _n_before,
            _across,
        ),
    ),
    Exercise(
        number="01.3",
        reference=interpolated,
        cases=lambda: [
            (_all_lengths(TEXTS, 3), ("cats", "sleep"), 0.6, WORDS),
            (_all_lengths(TEXTS, 3), (START, "owls"), 0.8, WORDS),
            (_all_lengths(TEXTS, 3), ("sleep", "hunt"), 0.7, WORDS),
            (_all_lengths(TEXTS, 3), ("owls", "cats"), 0.5, WORDS),
        ],
        hints=(
            "Begin with the uniform distribution. Then mix in the frequencies after the last 0 words, "
            "after the last 1, after the last 2, …",
            "Each step: weight * frequency + (1 - weight) * what you had. "
            "The last `length` words are context[len(context) - length :].",
            "A context that was never seen has no frequencies: leave what you had as it is, "
            "and no probability is lost.",
        ),
        wrong=(
            _lost,
            _rest_in_full,
            _no_uniform,
            _short_last,
            _far_words,
            _longest_alone,
        ),
    ),
    Exercise(
        number="01.4",
        reference=perplexity,
        cases=lambda: [
            ([[math.log(0.5)] * 4],),
            ([[math.log(0.5), math.log(0.25)], [math.log(0.1)] * 5],),
            ([[-1.0, -2.0, -0.5], [-3.0]],),
        ],
        hints=(
            "The perplexity is exp of the loss, and the loss is a mean over words. Of which texts?",
            "Add up all log-probabilities and count all words, over all texts; divide once.",
            "math.exp(-total / words)",
        ),
        wrong=(
            _mean_of_texts,
            _no_minus,
            _per_text,
            _base_two,
            _not_exponentiated,
            _mean_of_inverses,
        ),
    ),
)


def _all_lengths(texts, longest):  # contexts of 0 to longest - 1 words
    return {context: found for n in range(1, longest + 1) for context, found in ngrams(texts, n).items()}
