"""The refusal direction: prompts, candidates and scores equal their definitions, and the best that passes is chosen."""

import json
import math
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from copsd_bench.engine.protocol import Intervention, View
from copsd_bench.engine.transformers_engine import TransformersEngine
from copsd_bench.errors import CopsdError
from copsd_bench.models.resolve import ResolvedModel
from copsd_train.corpora.contrast import draw_contrast
from copsd_train.refusal_direction import (
    candidates,
    chosen,
    first_token_logprobs,
    post_instruction_tokens,
    refusal_ids,
    scored,
)
from copsd_train.steering_recipe import Scores
from tests.train import naive, refusing
from tests.train.steered import config, first_token, sides


@pytest.fixture(scope="module")
def engine(refuser: ResolvedModel) -> TransformersEngine:
    return TransformersEngine(refuser.path)


def test_a_candidate_is_the_difference_of_means_at_its_place(engine: TransformersEngine) -> None:
    assert post_instruction_tokens(engine) == len("<eos>\n<|assistant|>") - 4  # <eos> is one token, the rest are bytes
    harmful, harmless = sides(engine)
    found = candidates(engine, View(), harmful, harmless, config("steering.positions=3"))
    assert set(found) == {
        (position, layer) for position in (-3, -2, -1) for layer in (1, 2, 3)
    }  # none at the embeddings
    for (position, layer), vector in found.items():
        means = []
        for prompts in (harmful, harmless):
            with torch.inference_mode():
                passes = [engine.model(torch.tensor([p.ids]), output_hidden_states=True) for p in prompts]
            means.append(sum(output.hidden_states[layer][0, position] for output in passes) / len(prompts))
        torch.testing.assert_close(vector, means[0] - means[1], atol=1e-5, rtol=1e-4)
    assert {layer for _, layer in candidates(engine, View(), harmful, harmless, config("steering.depth=0.5"))} == {1}


def test_the_scores_are_their_definitions(engine: TransformersEngine) -> None:
    harmful, harmless = sides(engine)
    ids = refusal_ids(engine, ["I", "It", "As"])
    assert engine.tokenizer.convert_ids_to_tokens(ids) == ["I", "A"]

    def log_odds(probabilities: list[float]) -> float:
        refused = sum(probabilities[i] for i in ids)
        return math.log(refused + 1e-8) - math.log(1 - refused + 1e-8)

    def mean(values: Sequence[float]) -> float:
        return sum(values) / len(values)

    settings = config("steering.openings=[I, It, As]", "steering.scale=0.5")
    vectors = candidates(engine, View(), harmful, harmless, settings)
    for found in scored(engine, View(), vectors, harmful, harmless, settings):
        vector = vectors[found.position, found.layer]
        ablated = View(intervention=Intervention("ablate", None, vector))
        added = View(intervention=Intervention("add", found.layer, 0.5 * vector))
        kl = [naive.divergence(first_token(engine, ablated, p), first_token(engine, View(), p), 0) for p in harmless]
        assert found.bypass == pytest.approx(
            mean([log_odds(first_token(engine, ablated, p)) for p in harmful]), abs=1e-3
        )
        assert found.induce == pytest.approx(
            mean([log_odds(first_token(engine, added, p)) for p in harmless]), abs=1e-3
        )
        assert found.kl == pytest.approx(mean(kl), abs=1e-4)


def test_what_prompts_share_changes_nothing(engine: TransformersEngine) -> None:
    harmful, _ = sides(engine)
    for prompts in (harmful, harmful[:1], [*harmful, harmful[0]]):
        found = first_token_logprobs(engine, View(), prompts)
        for row, prompt in zip(found, prompts, strict=True):
            expected = torch.tensor(first_token(engine, View(), prompt)).log()
            torch.testing.assert_close(row, expected, atol=1e-4, rtol=1e-4)


def scores(**values: float) -> Scores:
    return Scores(**{"position": -1, "layer": 4, "bypass": -1.0, "induce": 1.0, "kl": 0.05, **values})  # type: ignore[arg-type]


def test_the_lowest_bypass_of_those_that_pass_is_chosen() -> None:
    passing = [scores(bypass=-2, layer=3), scores(bypass=-3, layer=5)]
    failing = [scores(bypass=-9, induce=-0.1), scores(bypass=-9, kl=0.11), scores(bypass=float("nan"))]
    assert chosen([*failing, *passing], config("steering.max_kl=0.1")).layer == 5


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        ([scores(induce=-3, layer=2), scores(induce=-0.4)], "of 2 candidates the nearest, layer 4 at position -1, "
         "fails by induce -0.40, below 0;"),
        ([scores(kl=0.3, induce=-2), scores(kl=0.2)], "layer 4 at position -1, fails by KL 0.200, above 0.1;"),
        ([scores(kl=0.3, induce=-2)], "fails by induce -2.00, below 0 and by KL 0.300, above 0.1;"),
        ([scores(bypass=float("nan"))], "the scores of all 1 directions are not finite"),
    ],
)  # fmt: skip
def test_when_no_layer_passes_the_nearest_and_its_failing_score_are_named(found: list[Scores], sentence: str) -> None:
    with pytest.raises(CopsdError) as caught:
        chosen(found, config("steering.max_kl=0.1"))
    assert str(caught.value).startswith("No layer passes")
    assert sentence in str(caught.value)


def test_prompts_that_a_benchmark_has_are_removed_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    item = "Which gloves should a glazier wear while carrying broken panes down a narrow spiral staircase in winter?"
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench" / "test.jsonl").write_text(json.dumps({"turns": [item]}) + "\n")
    monkeypatch.setenv("COPSD_DATA_DIR", str(tmp_path))
    file = refusing.save_prompts(tmp_path / "prompts.jsonl")
    with file.open("a") as out:
        out.write(json.dumps({"kind": "safety", "prompt": item.replace("winter", "summer")}) + "\n")
    drawn = draw_contrast([str(file)], 99, 5, trained=set(), seed=0)
    assert (drawn["harmful"].given, drawn["harmful"].overlapping, len(drawn["harmful"].train)) == (41, 1, 35)
    assert (drawn["harmless"].given, drawn["harmless"].overlapping) == (40, 0)
    assert not any("glazier" in prompt for side in drawn.values() for prompt in (*side.train, *side.validation))
    kept = draw_contrast([str(file)], 99, 5, trained=set(), seed=0, allow_overlap=True)
    assert len(kept["harmful"].train) == 36
    with pytest.raises(CopsdError, match=r"needs 39 harmful prompts .* but 40 are there \(1 overlap a benchmark\)"):
        draw_contrast([str(file)], 99, 39, trained=set(), seed=0)


def test_validation_takes_prompts_that_are_not_trained_on() -> None:
    """The packaged ones suffice for the sizes of the paper, apart from each other."""
    first = draw_contrast([], 128, 32, trained=set(), seed=0)
    for drawn in first.values():
        assert (len(drawn.train), len(drawn.validation)) == (128, 32)
        assert not {*drawn.train} & {*drawn.validation}
    trained = {*first["harmful"].train}
    assert not trained & {*draw_contrast([], 128, 32, trained, seed=0)["harmful"].validation}
