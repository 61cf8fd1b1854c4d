"""The language with a known truth: by enumeration on a small grammar, by Monte Carlo on the course's."""

import itertools
import math
from collections import Counter, defaultdict

import numpy
import pytest
from course import language
from course.language import END, START
from course.language.draw import leaves
from course.language.lexicon import classes, entries, forms, word_class

from ftkit.scales import data_folder

RULES = """
feature n = one 0.7, many 0.3     # number
1.0  text -> sentence more
0.6  more ->
0.4  more -> sentence
0.8  sentence -> noun(n) verb(n) "."
0.2  sentence -> "the" noun(n) verb(n) place "."
0.5  place ->
0.5  place -> "here"
"""
WORDS = {
    "noun.one": {"sea": ["ship", "sailor"], "": ["man"]},
    "noun.many": {"sea": {"ships": 1.0}, "farm": {"cows": 0.5, "ships": 0.5}},
    "verb.one": ["moves", "waits"],
    "verb.many": ["move"],
}
TOPICS = {"sea": 0.25, "farm": 0.75}
AMBIGUOUS = """
0.5  text -> a "x"
0.5  text -> b "x"
1.0  a -> noun
0.4  b -> name
0.6  b -> noun noun
"""

SHARED = {"noun": {"u": 0.3, "v": 0.7}, "name": {"u": 0.9, "w": 0.1}}  # "u" is in two classes


def small():
    return language.read(RULES, WORDS, topics=TOPICS)


def derived(lang, symbols, topic):
    """Every (words, probability) that a list of symbols can become, given the topic: brute force."""
    if not symbols:
        yield (), 1.0
        return
    first, *rest = symbols
    for tail, q in derived(lang, rest, topic):
        if first in lang.grammar.rules:
            for rule in lang.grammar.rules[first]:
                for head, p in derived(lang, list(rule.right), topic):
                    yield head + tail, rule.probability * p * q
        else:
            for word, p in zip(
                lang.classes[first].words, lang.classes[first].given_topic[topic], strict=True
            ):
                if p:
                    yield (word, *tail), p * q


def everything(lang):
    """text -> probability, all texts, topics summed."""
    found = defaultdict(float)
    for topic, share in enumerate(lang.topic_shares):
        for words, p in derived(lang, [lang.grammar.start], topic):
            found[words] += share * p
    return found


@pytest.fixture(scope="module")
def lang():
    return language.load()


@pytest.fixture(scope="module")
def texts(lang):
    return lang.texts(400, seed=11)


def test_the_probabilities_of_all_texts_add_up_to_1():
    assert sum(everything(small()).values()) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("rules", [RULES, AMBIGUOUS])
def test_log_probability_is_that_of_enumeration(rules):
    lang = small() if rules is RULES else language.read(AMBIGUOUS, SHARED)
    for words, p in everything(lang).items():
        assert lang.log_probability(words) == pytest.approx(math.log(p), abs=1e-10)


def test_the_next_word_after_any_prefix_is_that_of_enumeration():
    lang = small()
    all_texts = everything(lang)
    prefixes = {words[:i] for words in all_texts for i in range(len(words) + 1)}
    for prefix in prefixes:
        wanted = Counter()
        for words, p in all_texts.items():
            if words[: len(prefix)] == prefix:
                wanted[(*words, END)[len(prefix)]] += p
        total = sum(wanted.values())
        found = lang.next_word([START, *prefix])
        assert set(found) == set(wanted)
        assert all(found[w] == pytest.approx(wanted[w] / total, abs=1e-12) for w in wanted)


def test_the_topic_after_any_prefix_is_that_of_enumeration():
    lang = small()
    by_topic = [dict.fromkeys(("p",), 0.0) for _ in lang.topics]
    prefix = ("ships", "move", ".")
    for topic, share in enumerate(lang.topic_shares):
        for words, p in derived(lang, ["text"], topic):
            by_topic[topic]["p"] += share * p * (words[: len(prefix)] == prefix)
    total = sum(one["p"] for one in by_topic)
    assert 0.05 < by_topic[0]["p"] / total < 0.95, "the case should leave the topic open"
    for topic, name in enumerate(lang.topics):
        assert lang.posterior(prefix)[name] == pytest.approx(by_topic[topic]["p"] / total, abs=1e-12)


def test_the_entropy_is_that_of_enumeration():
    lang = small()
    found = lang.entropy()
    given = sum(
        share * -sum(p * math.log(p) for _, p in derived(lang, ["text"], topic))
        for topic, share in enumerate(lang.topic_shares)
    )
    assert found.text == pytest.approx(given, abs=1e-10)
    assert found.topic == pytest.approx(-sum(p * math.log(p) for p in TOPICS.values()), abs=1e-12)
    all_texts = everything(lang)
    assert found.words == pytest.approx(sum(p * (len(w) + 1) for w, p in all_texts.items()), abs=1e-10)
    whole = -sum(p * math.log(p) for p in all_texts.values()) / found.words
    assert found.low < whole < found.high


def test_entropies_are_those_of_the_next_word():
    lang = small()
    words = ("the", "ship", "waits", "here", ".")
    found = lang.entropies(words)
    assert len(found) == len(words) + 1
    for i, value in enumerate(found):
        p = numpy.array(list(lang.next_word([START, *words[:i]]).values()))
        assert value == pytest.approx(-(p * numpy.log(p)).sum(), abs=1e-12)


def test_draws_have_the_probabilities_of_enumeration():
    lang = small()
    drawn = Counter(t.words for t in lang.texts(20_000, seed=5))
    for words, p in everything(lang).items():
        error = math.sqrt(p * (1 - p) / 20_000)
        assert abs(drawn[words] / 20_000 - p) < 5 * error + 1e-9, words


def test_a_text_depends_on_seed_and_number_only(lang):
    assert lang.texts(3, seed=4, first=2) == lang.texts(5, seed=4)[2:]
    assert lang.texts(1, seed=4) != lang.texts(1, seed=5)


def test_the_topics_of_the_course_are_drawn_evenly_and_their_words_come_from_them(lang, texts):
    assert set(t.topic for t in texts) == set(lang.topics)
    right = [max(lang.posterior(t.words), key=lang.posterior(t.words).get) == t.topic for t in texts[:100]]
    assert sum(right) >= 95


def test_surprisals_of_the_course_average_to_the_exact_entropy(lang):
    entropy = lang.entropy()
    rows = numpy.array([(lang.surprisals(t.words).sum(), len(t.words) + 1) for t in lang.texts(800, seed=3)])
    bits, words = rows.T
    assert abs(words.mean() - entropy.words) < 5 * words.std() / math.sqrt(len(rows))
    rate = bits.sum() / words.sum()
    spread = (bits - rate * words).std() / math.sqrt(len(rows)) / words.mean()
    assert entropy.low - 4 * spread < rate < entropy.high + 4 * spread
    exact = [(lang.entropies(t.words).sum(), lang.surprisals(t.words).sum()) for t in lang.texts(120, seed=9)]
    apart = numpy.array([e - s for e, s in exact])  # a martingale: 0 on average
    assert abs(apart.mean()) < 4 * apart.std() / math.sqrt(len(apart))
    assert entropy.high / entropy.low < 1.03, "the bounds should say something"


def test_every_word_of_the_course_is_in_one_class(lang):
    used = defaultdict(set)
    for name in lang.grammar.classes:
        for word in lang.classes[name].words:
            used[word].add(name)
    assert {w: c for w, c in used.items() if len(c) > 1} == {}
    assert len(lang.words) >= 1500
    assert len(lang.topics) >= 8


def test_the_course_s_texts_have_one_derivation(lang, texts):
    """Counts derivations with the reader's own stacks."""
    for text in texts[:60]:
        counts = {(lang.grammar.start,): 1}
        for word in (*text.words, END):
            moved = Counter()
            for stack, n in counts.items():
                for name, rests in lang.openings(stack).items():
                    for rest in rests:
                        if (name == END) == (word == END) and (
                            name == END or word in lang.classes[name].words
                        ):
                            moved[rest] += n
            counts = moved
        assert sum(counts.values()) == 1


def test_drawn_texts_parse_and_shuffled_ones_do_not(lang, texts):
    assert all(lang.parses(t.words) for t in texts[:50])
    assert not any(lang.parses(tuple(reversed(t.words))) for t in texts[:50])
    assert not lang.parses(texts[0].words[:-1])
    assert not lang.parses(("zebra", *texts[0].words))
    assert lang.log_probability(tuple(reversed(texts[0].words))) == -math.inf


def test_subject_and_verb_agree(lang):
    after = lang.next_word([START, "these", "women"])
    assert after["see"] > 0
    assert "sees" not in after
    assert "were" not in after, "people do, things are"
    assert lang.next_word([START, "yesterday", "this", "woman"]).keys() & {"sees", "see", "saw"} == {"saw"}


def test_labels_are_noisy_as_asked_and_bayes_is_calibrated(lang):
    found = lang.labelled(3000, seed=2, noise=0.3)
    wrong = numpy.mean([x.label != x.true for x in found])
    assert abs(wrong - 0.3) < 5 * math.sqrt(0.21 / 3000)
    best = [lang.bayes(x.words, noise=0.3) for x in found]
    assert all(sum(p.values()) == pytest.approx(1) for p in best)
    expected = numpy.mean([max(p.values()) for p in best])
    hit = numpy.mean([max(p, key=p.get) == x.label for p, x in zip(best, found, strict=True)])
    assert abs(hit - expected) < 5 * math.sqrt(0.25 / 3000)
    assert lang.labelled(5, seed=2, noise=0.0)[0].label == lang.labelled(5, seed=2, noise=0.0)[0].true


def test_bayes_is_the_posterior_with_the_noise_mixed_in():
    lang = language.read(RULES, WORDS, topics=TOPICS)
    sentence = ("ships", "move", ".")
    posterior = lang.starting_at("sentence").posterior(sentence)
    found = lang.bayes(sentence, noise=0.2)
    assert found["sea"] == pytest.approx(0.8 * posterior["sea"] + 0.2 * posterior["farm"])


def test_entities_are_persons_places_and_organisations(lang, texts):
    rows = entries(data_folder() / "language")
    kinds = {
        row.english[0]: row.kind for row in rows if row.kind in ("first", "last", "city", "organisation")
    }
    for text in texts:
        tags = language.entities(text)
        assert len(tags) == len(text.words)
        for i, (word, tag) in enumerate(zip(text.words, tags, strict=True)):
            wanted = {"first": "B-PER", "last": "I-PER", "city": "B-LOC", "organisation": "B-ORG"}.get(
                kinds.get(word), "O"
            )
            assert tag == wanted
            assert not tag.startswith("I-") or tags[i - 1] == "B-PER"


def test_answers_lie_where_questions_say(lang, texts):
    asked = [(q, t) for t in texts for q in language.questions(t)]
    assert {q.question[0] for q, _ in asked} == {"who", "what", "where"}
    for question, text in asked:
        if question.start < 0:
            assert question.answer == () and question.question[0] == "where"
        else:
            assert text.words[question.start : question.start + len(question.answer)] == question.answer
    unanswered = numpy.mean([q.start < 0 for q, _ in asked if q.question[0] == "where"])
    assert 0.4 < unanswered < 0.8  # the grammar gives 6 in 10 clauses no place


@pytest.mark.parametrize(
    ("sentence", "wanted"),
    [
        (
            "the chef stirs the soup in the kitchen .",
            [
                "who stirs the soup ? the chef",
                "what does the chef stir ? the soup",
                "where does the chef stir the soup ? the kitchen",
            ],
        ),
        (
            "these bakers stirred our sauces .",
            [
                "who stirred our sauces ? these bakers",
                "what did these bakers stir ? our sauces",
                "where did these bakers stir our sauces ?",
            ],
        ),
        (
            "the bakers stir this soup .",
            [
                "who stirs this soup ? the bakers",
                "what do the bakers stir ? this soup",
                "where do the bakers stir this soup ?",
            ],
        ),
        ("the baker waits .", []),
    ],
)
def test_questions_are_asked_as_people_ask(lang, sentence, wanted):
    words = tuple(sentence.split())
    found = language.questions(language.Text(words, "kitchen", parsed(lang, words)))
    assert [" ".join((*q.question, *q.answer)) for q in found] == wanted


def test_the_subject_of_a_who_question_does_what_is_asked(lang, texts):
    for text in texts[:100]:
        for question in language.questions(text):
            if question.question[0] == "who":
                after = text.words[question.start + len(question.answer) :]
                assert after[1 : len(question.question) - 2] == question.question[2:-1]


@pytest.mark.parametrize(
    ("english", "wanted"),
    [
        ("this old lady sees the red keys .", "cette dame âgée voit les clés rouges ."),
        ("the stolen vases were ancient .", "les vases volés étaient antiques ."),
        ("the statues were ancient .", "les statues étaient antiques ."),
        ("maria hopes that ahmed waits .", "maria espère qu' ahmed attend ."),
        ("these men waited .", "ces messieurs attendaient ."),
        ("this friend walks to the church .", "cet ami marche vers l' église ."),
        ("the women who wait see the key which is red .", None),
    ],
)
def test_french_agrees_and_elides(lang, english, wanted):
    words = tuple(english.split())
    if wanted is None:
        assert not lang.starting_at("sentence").parses(words)
        return
    assert " ".join(language.french(language.Text(words, "museum", parsed(lang, words)))) == wanted


def parsed(lang, words):
    """A derivation of one sentence by search, for texts that were not drawn."""

    def grow(symbol, at):
        if symbol not in lang.grammar.rules:
            if at < len(words) and words[at] in lang.classes[symbol].words:
                yield (symbol, words[at]), at + 1
            return
        for rule in lang.grammar.rules[symbol]:
            partial = [((), at)]
            for part in rule.right:
                partial = [(done + (tree,), then) for done, now in partial for tree, then in grow(part, now)]
            for children, then in partial:
                yield (symbol, *children), then

    return next(tree for tree, end in grow("sentence", 0) if end == len(words))


def test_the_search_of_these_tests_finds_the_drawn_derivation(lang):
    for text in lang.starting_at("sentence").texts(20, seed=8):
        words = text.words
        assert tuple(leaves(parsed(lang, words))) == words
        assert parsed(lang, words) == text.tree


def test_every_french_word_has_an_english_one(lang, texts):
    for text in texts[:100]:
        english = [w for w in text.words if w not in (".",)]
        found = [w for w in language.french(text) if w not in (".", "que", "parce", "tandis")]
        assert abs(len(found) - len(english)) <= sum(
            w in ("because", "while", "that", "which") for w in english
        )
        assert "-" not in found


def test_written_text_has_capitals_and_reads_back(lang, texts):
    for text in texts[:50]:
        found = language.written(text.words)
        assert found[0].isupper() and found.endswith(".") and " ." not in found
        assert tuple(found.lower().replace(".", " .").split()) == text.words


def test_class_weights_fall_with_rank_and_mix_in_common_words():
    made = word_class("noun", {"sea": ["ship", "boat"], "": ["man"]}, ("sea", "farm"), own=0.7)
    rows = [dict(zip(made.words, row, strict=True)) for row in made.given_topic]
    assert rows[0] == pytest.approx({"ship": 0.7 * 0.6, "boat": 0.7 * 0.4, "man": 0.3})
    assert rows[1] == pytest.approx({"ship": 0, "boat": 0, "man": 1})


def test_forms_and_classes_come_from_the_tables():
    rows = entries(data_folder() / "language")
    verb = next(r for r in rows if r.kind == "work")
    assert forms(verb) == ("present.one", "present.many", "past")
    assert verb.english[2] in classes(rows)["work.past"][verb.topic]
    for left, right in itertools.pairwise(sorted(w for r in rows for w in r.english if w != "-")):
        assert left != right or left in ("was",), f"{left} stands twice"


BAD = [
    ("1.0 text -> noun\nthis is no rule", ["line 2", "this is no rule"]),
    ("0.6 text -> noun\n0.5 text -> noun noun", ["text: 1.1", "line 1", "line 2"]),
    ("1.0 text -> text noun", ["line 1", "left edge"]),
    (
        "1.0 text -> gap noun2\n1.0 gap ->\n0.5 noun2 -> gap text noun\n0.5 noun2 -> noun",
        ["line 1", "left edge"],
    ),
    ("1.0 text -> noun text", ["line 1", "for ever"]),
    ("0.5 text -> noun text text\n0.5 text -> noun", ["line 1", "for ever"]),
    ("1.0 text -> noun missing", ["line 1", "'missing'"]),
    ("1.5 text -> noun", ["line 1", "at most 1", "1.5"]),
    ("x text -> noun", ["line 1", "expected"]),
    ("feature n = one 0.5, many 0.6\n1.0 text -> noun", ["line 1", "1.1"]),
    ("feature n = one\n1.0 text -> noun", ["line 1", "feature n = one 0.6"]),
    ('1.0 text -> "two words"', ["line 1", "expected names"]),
    ("# nothing", ["at least one rule", "found none"]),
]


@pytest.mark.parametrize(("rules", "said"), BAD, ids=range(len(BAD)))
def test_what_is_no_grammar_is_refused_with_rule_and_line(rules, said):
    with pytest.raises(ValueError) as error:
        language.read(rules, {"noun": ["cat"]})
    assert all(part in str(error.value) for part in said), str(error.value)


def test_recursion_that_ends_is_allowed():
    lang = language.read("0.45 text -> noun text text\n0.55 text -> noun", {"noun": ["cat"]})
    assert lang.entropy().words == pytest.approx(1 / (1 - 0.9) + 1)


def test_unknown_words_and_empty_prefixes_are_refused(lang):
    with pytest.raises(ValueError, match=r"lexicon, found 'zebra'"):
        lang.surprisals(("zebra",))
    with pytest.raises(ValueError, match=r"found 'womann'; near it: .*woman"):
        lang.next_word([START, "womann"])
    for empty in ((), [], "woman"):
        with pytest.raises(ValueError, match="expected a list of words"):
            lang.next_word(empty)
    with pytest.raises(ValueError, match=r"found 'woman' as word 3, which cannot follow 'the woman'"):
        lang.next_word(["the", "woman", "woman"])
    with pytest.raises(ValueError, match="expected a symbol with rules, found 'novel'"):
        lang.starting_at("novel")
    with pytest.raises(ValueError, match=r"noise from 0 to below 1, found 1\.5"):
        lang.labelled(1, seed=0, noise=1.5)


@pytest.mark.parametrize(
    ("words", "topics", "said"),
    [
        ({"noun": {"sea": ["ship"]}}, ("sea", "farm"), "the topic 'farm', found none"),
        ({"noun": {"ship": -1.0, "boat": 2.0}}, ("",), "weights of at least 0"),
        ({"noun": ["cat", "cat"]}, ("",), "every word once"),
        ({"noun": ["cat"]}, {"sea": 0.5, "farm": 0.6}, "add up to 1"),
    ],
)
def test_word_lists_that_cannot_be_used_are_refused(words, topics, said):
    with pytest.raises(ValueError, match=said):
        language.read("1.0 text -> noun", words, topics=topics)


def test_a_short_row_of_the_lexicon_is_named_with_file_and_line(tmp_path):
    folder = data_folder() / "language"
    for name in ("nouns", "verbs", "adjectives", "others"):
        (tmp_path / f"{name}.tsv").write_text(
            (folder / f"{name}.tsv").read_text(encoding="utf-8"), encoding="utf-8"
        )
    with open(tmp_path / "nouns.tsv", "a", encoding="utf-8") as file:
        file.write("person\tkitchen\tcook\n")
    with pytest.raises(ValueError, match=r"nouns.tsv, line 518: expected 7 cells.*found 3"):
        entries(tmp_path)
