"""Self-BLEU is sacrebleu's BLEU; correlation and slope are scipy's, the interval of a difference statsmodels'."""

import numpy as np
import pytest
from sacrebleu import corpus_bleu, sentence_bleu
from scipy import stats as scipy_stats
from statsmodels.stats.proportion import confint_proportions_2indep

from copsd_bench.collapse.diversity import self_bleu
from copsd_bench.records.contrast import correlation, difference, intercept, slope
from copsd_bench.records.stats import rate

ROLLOUTS = [
    "The sea is salty because rivers carry dissolved minerals from rocks into it.",
    "Rivers carry minerals from rocks into the sea, and the water evaporates while the salt stays.",
    "Salt! It comes from rocks, isn't that odd?",
    "The sea is salty because rivers carry dissolved minerals.",
]


def test_each_rollouts_score_is_sacrebleus_sentence_score_against_the_others() -> None:
    for i, found in enumerate(self_bleu(ROLLOUTS)):
        others = [text for j, text in enumerate(ROLLOUTS) if j != i]
        assert found == pytest.approx(sentence_bleu(ROLLOUTS[i], others).score / 100, abs=1e-12)


def test_long_rollouts_score_as_a_corpus_of_one_does() -> None:
    """Where every order has n-grams, a corpus of one sentence and the sentence are the same to sacrebleu."""
    long = [text for text in ROLLOUTS if len(text.split()) > 8]
    for i, found in enumerate(self_bleu(long)):
        others = [[text] for j, text in enumerate(long) if j != i]
        assert found == pytest.approx(corpus_bleu([long[i]], others).score / 100, abs=1e-12)


def test_correlation_slope_and_intercept_are_scipys() -> None:
    rng = np.random.default_rng(3)
    x = rng.uniform(-1, 1, size=50)
    y = 3 - 0.8 * x + rng.normal(size=50)
    ids = [str(i) for i in range(50)]
    peer = scipy_stats.linregress(x, y)
    ours = [f(x.tolist(), y.tolist(), ids) for f in (correlation, slope, intercept)]
    assert [e.value for e in ours] == pytest.approx([peer.rvalue, peer.slope, peer.intercept])
    assert ours[0].value == pytest.approx(scipy_stats.pearsonr(x, y).statistic)
    # The bootstrap's error is near the classical one where that holds; it need not be equal.
    assert ours[1].stderr == pytest.approx(peer.stderr, rel=0.25)


@pytest.mark.parametrize(("a", "n", "b", "m"), [(3, 10, 1, 12), (0, 16, 16, 16), (40, 64, 22, 60)])
def test_the_difference_of_two_rates_has_newcombes_interval(a: int, n: int, b: int, m: int) -> None:
    found = difference(rate([True] * a + [False] * (n - a)), rate([True] * b + [False] * (m - b)))
    assert (found.low, found.high) == pytest.approx(confint_proportions_2indep(a, n, b, m, method="newcomb"))
