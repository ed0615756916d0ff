"""The safety tokens: votes counted by hand, and what steering makes likelier."""

import pytest
import torch

from copsd_bench.engine.protocol import Intervention, Prompt, View
from copsd_bench.engine.transformers_engine import TransformersEngine
from copsd_bench.errors import CopsdError
from copsd_bench.models.resolve import ResolvedModel
from copsd_train.refusal_direction import (
    candidates,
)
from copsd_train.safety_tokens import select_tokens, share_moved, valid_positions, vote
from tests.train.steered import config, encoded, first_token, sides


@pytest.fixture(scope="module")
def engine(refuser: ResolvedModel) -> TransformersEngine:
    return TransformersEngine(refuser.path)


def test_votes_are_counted_as_defined() -> None:
    gaps = torch.randn(9, 12, generator=torch.Generator().manual_seed(0))
    banned = torch.tensor([i in (2, 5) for i in range(12)])
    expected = [0] * 12
    for row in gaps.tolist():
        allowed = sorted((i for i in range(12) if i not in (2, 5)), key=lambda i: -row[i])
        for token in allowed[:4]:
            expected[token] += 1
    assert vote(gaps, banned, 4).tolist() == expected
    assert vote(gaps, banned, 99).tolist() == [0 if i in (2, 5) else 9 for i in range(12)]


def test_an_answer_counts_until_the_plain_model_would_end_it() -> None:
    rows = torch.eye(4)[[1, 2, 3, 1, 3]]
    assert valid_positions(rows, [3]).tolist() == [True, True, False, False, False]
    assert valid_positions(rows, [0]).all()


def test_the_set_is_what_steering_makes_likelier(engine: TransformersEngine) -> None:
    harmful, harmless = sides(engine)
    vector = candidates(engine, View(), harmful, harmless, config())[-1, 1]
    steered = View(intervention=Intervention("add", 1, vector))
    found = select_tokens(engine, View(), steered, harmless, config("steering.tokens=3"), seed=0)
    assert found.votes == sorted(found.votes, reverse=True)
    assert found.votes[0] <= found.positions <= 3 * 2 * 7
    assert found.ids[0] == engine.tokenizer.convert_tokens_to_ids("I")
    assert not {*found.ids} & {*engine.tokenizer.all_special_ids}
    strict = config("steering.min_probability=0.9")
    with pytest.raises(CopsdError, match="No safety token is left"):
        select_tokens(engine, View(), steered, harmless, strict, seed=0)


def test_the_share_of_moved_probability_is_its_definition(engine: TransformersEngine) -> None:
    prompt = encoded(engine, ["Make guns"])[0]
    steered = View(intervention=Intervention("add", 2, torch.linspace(-1, 1, engine.hidden_size)))
    found = share_moved((engine, steered), (engine, View()), [prompt], [(7, 8)], [70, 71])
    moved = [
        [abs(a - b) for a, b in zip(*(first_token(engine, view, p) for view in (steered, View())), strict=True)]
        for p in (prompt, Prompt((*prompt.ids, 7)))
    ]
    assert found == pytest.approx(sum(row[70] + row[71] for row in moved) / sum(map(sum, moved)), rel=1e-4)
    assert share_moved((engine, View()), (engine, View()), [prompt], [(7, 8)], [70]) == 0
