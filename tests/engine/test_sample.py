"""Sampling follows the definition of temperature, top-k and nucleus sampling."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from copsd_bench.engine.distributions import entropy, of_token
from copsd_bench.engine.protocol import Sampling
from copsd_bench.engine.sample import RowStream, choose, most_likely
from copsd_bench.errors import CopsdError

# Fifths without repeats: between equal logits any order is right.
LOGITS = st.lists(st.integers(-40, 40).map(lambda n: n / 5), min_size=1, max_size=12, unique=True)


def draws(logits: list[float], sampling: Sampling, count: int) -> list[int]:
    stream = RowStream(3)
    row = torch.tensor([logits])
    return [int(choose(row, [sampling], [stream])) for _ in range(count)]


def support(logits: list[float], sampling: Sampling) -> dict[int, float]:
    """By definition: the top-k tokens, of those the smallest most probable set that reaches top-p, renormalised."""
    probabilities = (torch.tensor(logits, dtype=torch.float64) / sampling.temperature).softmax(0).tolist()
    ranked = sorted(range(len(logits)), key=lambda i: -probabilities[i])[: sampling.top_k]
    total = sum(probabilities[i] for i in ranked)
    kept: dict[int, float] = {}
    for i in ranked:
        if sum(kept.values()) >= sampling.top_p:
            break
        kept[i] = probabilities[i] / total
    return {i: p / sum(kept.values()) for i, p in kept.items()}


@given(LOGITS, st.floats(0.1, 3), st.one_of(st.none(), st.integers(1, 14)), st.floats(0.05, 1))
@settings(max_examples=60, deadline=None)
def test_only_tokens_of_the_support_are_drawn(logits: list[float], hot: float, top_k: int | None, top_p: float) -> None:
    sampling = Sampling(temperature=hot, top_k=top_k, top_p=top_p)
    # A hair more mass: where the cut falls on a rounding error, either side is right.
    allowed = support(logits, Sampling(temperature=hot, top_k=top_k, top_p=min(1.0, top_p + 1e-9)))
    assert set(draws(logits, sampling, 30)) <= set(allowed)


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(temperature=1.0),
        Sampling(temperature=0.5),
        Sampling(temperature=2.0, top_k=3),
        Sampling(temperature=1.0, top_p=0.8),
        Sampling(temperature=1.0, top_k=4, top_p=0.7),
    ],
    ids=str,
)
def test_frequencies_match_the_definition(sampling: Sampling) -> None:
    logits = [0.3, 2.0, -1.0, 1.2, 0.0, 1.9]
    expected = support(logits, sampling)
    found = draws(logits, sampling, 4000)
    assert set(found) == set(expected)
    counts = [found.count(i) for i in expected]
    if len(expected) > 1:
        assert chisquare(counts, [4000 * p for p in expected.values()]).pvalue > 1e-4


@pytest.mark.parametrize("top_p", [0.5, 0.9, 0.9999])
@pytest.mark.parametrize("top_k", [None, 40, 999])
def test_large_vocabularies_are_drawn_from_as_if_they_were_sorted_whole(top_k: int | None, top_p: float) -> None:
    sampling = Sampling(temperature=0.7, top_k=top_k, top_p=top_p)
    torch.manual_seed(0)
    scales = torch.tensor([0.01, 0.1, 1, 3, 10, 100]).unsqueeze(1)
    logits = torch.randn(6, 1000) * scales  # from nearly flat, where the nucleus is most of it, to sharp
    for seed in range(20):
        chosen = choose(logits, [sampling] * 6, [RowStream(6 * seed + r) for r in range(6)])
        for row in range(6):
            kept = support(logits[row].tolist(), sampling)
            edges = np.cumsum(list(kept.values()))
            place = int(np.searchsorted(edges, RowStream(6 * seed + row).next() * edges[-1], side="right"))
            assert chosen[row] == list(kept)[place]


@pytest.mark.parametrize("sampling", [Sampling(temperature=2), Sampling(temperature=2, top_p=0.5)], ids=str)
def test_drawing_leaves_the_logits_as_they_were(sampling: Sampling) -> None:
    logits = torch.arange(6, dtype=torch.float64).view(2, 3)
    choose(logits, [sampling] * 2, [RowStream(0), RowStream(1)])
    assert logits.flatten().tolist() == [0, 1, 2, 3, 4, 5]


def test_zero_temperature_is_the_argmax_and_draws_nothing() -> None:
    stream = RowStream(0)
    logits = torch.tensor([[0.0, 3.0, 2.9], [5.0, 1.0, 1.0]])
    assert choose(logits, [Sampling(), Sampling()], [stream, stream]).tolist() == [1, 0]
    assert stream.next() == RowStream(0).next()


def test_impossible_tokens_are_never_drawn() -> None:
    logits = [0.0, -torch.inf, 0.0, -torch.inf]
    assert set(draws(logits, Sampling(temperature=5.0), 300)) == {0, 2}


def test_rows_of_one_batch_have_their_own_settings() -> None:
    logits = torch.tensor([[0.0, 1.0, 2.0]] * 3)
    samplings = [Sampling(), Sampling(temperature=1.0, top_k=1), Sampling(temperature=9.0)]
    picked = [choose(logits, samplings, [RowStream(seed + r) for r in range(3)]).tolist() for seed in range(40)]
    assert {row[0] for row in picked} == {row[1] for row in picked} == {2}
    assert {row[2] for row in picked} == {0, 1, 2}


@pytest.mark.parametrize(
    "wrong",
    [{"max_tokens": 0}, {"temperature": -1.0}, {"top_p": 0.0}, {"top_p": 1.5}, {"top_k": 0}, {"stop": ("",)}],
    ids=str,
)
def test_impossible_settings_are_refused_by_name(wrong: dict[str, object]) -> None:
    with pytest.raises(CopsdError, match=next(iter(wrong))):
        Sampling(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("vocabulary", [1, 255, 256, 257, 1000])
def test_the_most_likely_token_is_the_first_of_the_greatest(vocabulary: int) -> None:
    torch.manual_seed(0)
    logits = torch.randint(-3, 4, (5, vocabulary)).float()  # with many ties
    logits[1] = -torch.inf
    assert torch.equal(most_likely(logits), logits.argmax(dim=-1))


def test_numbers_of_a_token_are_those_of_its_distribution() -> None:
    torch.manual_seed(0)
    logits = torch.randn(6, 1000) * torch.tensor([0.01, 1, 3, 10, 100, 1000]).unsqueeze(1) + 40
    logits[2, :500] = -torch.inf
    tokens = torch.randint(500, 1000, (6,))
    expected = logits.double().log_softmax(dim=-1)
    logprobs, entropies = of_token(logits, tokens)
    torch.testing.assert_close(logprobs.double(), expected.gather(1, tokens.unsqueeze(1)).squeeze(1), atol=2e-5, rtol=0)
    torch.testing.assert_close(entropies.double(), entropy(expected), atol=2e-5, rtol=0)
