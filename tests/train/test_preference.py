"""DPO on pairs: equal to its naive form, exact over micro-batches, and moving towards what is preferred."""

import json
import math
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from copsd_bench.engine.protocol import View
from copsd_bench.engine.views import using
from copsd_bench.errors import CopsdError
from copsd_bench.models.resolve import ResolvedModel
from copsd_train import preference
from copsd_train.corpora.schema import PairRow
from copsd_train.load_recipe import load_recipe
from copsd_train.optimiser import Updater
from copsd_train.pair_losses import dpo_margin, soft_dpo
from copsd_train.policy import Policy
from copsd_train.preference_recipe import Preference
from copsd_train.recipe_parts import Optimiser
from tests.train.conftest import SMALL

ROWS = [
    PairRow(id="a", prompt="Hurt him?", chosen="No. Talk to him.", rejected="Yes.", label=0.9, kind="safety"),
    PairRow(id="b", prompt="Why blue?", chosen="Light scatters.", rejected="No.", label=0.7, kind="general"),
    PairRow(id="c", prompt="Weeds?", chosen="Pour boiling water over them.", rejected="I can't", label=1.0,
            rejected_complete=False, kind="over_refusal"),
]  # fmt: skip
CONFIG = Preference(
    pairs="x", beta=0.5, epochs=2, batch_size=3, micro_batch_size=2, max_tokens=200, optimiser=Optimiser(lr=0.002)
)


@pytest.fixture(scope="module")
def started(tiny: ResolvedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A student that has been trained already: an adapter with weights of its own."""
    policy = Policy(tiny, load_recipe("grpo", SMALL))
    torch.manual_seed(1)
    for parameter in policy.parameters().values():
        parameter.data.normal_(std=0.2)
    folder = tmp_path_factory.mktemp("started") / "sft"
    policy.save(folder)
    return folder


def prepared(base: ResolvedModel, start: Path | None, *changes: str) -> tuple[Policy, Updater]:
    policy = Policy(base, load_recipe("grpo", [*SMALL, *changes]), start=start)
    return policy, Updater(policy.parameters(), CONFIG.optimiser, 10)


def naive(policy: Policy, view: View, prompt: Sequence[int], answer: Sequence[int]) -> torch.Tensor:
    """Log-probability of one answer: a sum over its tokens, one row, no padding."""
    model = policy.engine.model
    with using(model, view), torch.no_grad():
        logits = model(input_ids=torch.tensor([[*prompt, *answer]])).logits[0].log_softmax(dim=-1)
    return torch.stack([logits[len(prompt) - 1 + t, token] for t, token in enumerate(answer)]).sum()


def test_the_update_is_that_of_the_naive_loss(tiny: ResolvedModel, started: Path) -> None:
    policy, updater = prepared(tiny, started)
    pairs = preference.build_pairs(ROWS, policy.engine, CONFIG)
    preference.update(pairs, policy, updater, CONFIG)  # now student and reference differ
    expected = []
    for pair in pairs:
        sums = [
            naive(policy, View(adapter=who), pair.prompt.ids, answer)
            for who in ("student", "reference")
            for answer in (pair.chosen, pair.rejected)
        ]
        margin = CONFIG.beta * ((sums[0] - sums[2]) - (sums[1] - sums[3]))
        p = 1 / (1 + math.exp(-margin))
        expected.append(-pair.label * math.log(p) - (1 - pair.label) * math.log(1 - p))
    metrics = preference.update(pairs, policy, updater, CONFIG)
    assert metrics["margin"] != 0
    assert metrics["loss"] == pytest.approx(sum(expected) / 3, abs=1e-5)


@pytest.mark.parametrize("trained", [True, False], ids=["from sft", "from the base"])
def test_the_reference_is_the_student_at_the_start(tiny: ResolvedModel, started: Path, trained: bool) -> None:
    policy, updater = prepared(tiny, started if trained else None)
    reference = {n: p.clone() for n, p in policy.engine.model.named_parameters() if ".reference." in n}
    pairs = preference.build_pairs(ROWS, policy.engine, CONFIG)
    first = preference.update(pairs, policy, updater, CONFIG)
    assert (first["margin"], first["logratio_chosen"]) == (0.0, 0.0)
    assert first["loss"] == pytest.approx(math.log(2), abs=1e-6)
    for _ in range(5):
        last = preference.update(pairs, policy, updater, CONFIG)
    assert last["margin"] > 0
    assert last["loss"] < first["loss"]
    assert bool(reference) == trained
    for name, parameter in policy.engine.model.named_parameters():
        assert name not in reference or torch.equal(parameter, reference[name])


def test_the_update_does_not_depend_on_the_size_of_micro_batches(tiny: ResolvedModel, started: Path) -> None:
    results = []
    for size in (1, 2, 3):
        policy, updater = prepared(tiny, started)
        config = CONFIG.model_copy(update={"micro_batch_size": size})
        preference.update(preference.build_pairs(ROWS, policy.engine, config), policy, updater, config)
        results.append(torch.cat([value.flatten() for value in updater.masters.values()]))
    assert torch.allclose(results[0], results[1], atol=1e-5)
    assert torch.allclose(results[0], results[2], atol=1e-5)


def test_a_soft_label_pulls_until_the_student_agrees_with_it() -> None:
    label = torch.tensor([0.8, 0.5])
    margins = torch.tensor([math.log(0.8 / 0.2), 0.0], requires_grad=True)
    soft_dpo(margins, label).sum().backward()
    assert margins.grad is not None
    assert torch.allclose(margins.grad, torch.zeros(2), atol=1e-7)
    sides = [torch.tensor([x]) for x in (-1.0, -2.0, -1.5, -1.0)]
    swapped = [sides[1], sides[0], sides[3], sides[2]]
    one, other = dpo_margin(*sides, 0.1), dpo_margin(*swapped, 0.1)
    assert torch.equal(one, -other)
    assert torch.allclose(soft_dpo(one, torch.tensor([0.8])), soft_dpo(other, torch.tensor([0.2])))


def test_full_tuning_begins_at_the_weights_of_sft(tiny: ResolvedModel, tmp_path: Path) -> None:
    policy, updater = prepared(tiny, None, "tuning=full")
    pairs = preference.build_pairs(ROWS, policy.engine, CONFIG)
    preference.update(pairs, policy, updater, CONFIG)
    policy.save(tmp_path / "sft")
    after, updater = prepared(tiny, tmp_path / "sft", "tuning=full")
    sums = [naive(each, View(), pairs[0].prompt.ids, pairs[0].chosen) for each in (policy, after)]
    assert torch.equal(*sums)
    assert preference.update(pairs, after, updater, CONFIG)["margin"] == 0.0


def test_only_a_complete_answer_teaches_where_to_end(tiny: ResolvedModel) -> None:
    policy, _ = prepared(tiny, None)
    pairs = preference.build_pairs(ROWS, policy.engine, CONFIG)
    assert [pair.chosen[-1] in policy.engine.eos_ids for pair in pairs] == [True, True, True]
    assert [pair.rejected[-1] in policy.engine.eos_ids for pair in pairs] == [True, True, False]


def test_pairs_that_do_not_fit_are_left_out_and_none_left_is_an_error(tiny: ResolvedModel) -> None:
    policy, _ = prepared(tiny, None)
    longest = max(pair.size for pair in preference.build_pairs(ROWS, policy.engine, CONFIG))
    config = CONFIG.model_copy(update={"max_tokens": longest - 1})
    assert len(preference.build_pairs(ROWS, policy.engine, config)) == 2
    with pytest.raises(CopsdError, match=r"Of 3 pairs none is left \(3 do not fit into preference.max_tokens = 5\)"):
        preference.build_pairs(ROWS, policy.engine, CONFIG.model_copy(update={"max_tokens": 5}))
    config = CONFIG.model_copy(update={"min_margin": 0.3})
    assert [pair.label for pair in preference.build_pairs(ROWS, policy.engine, config)] == [0.9, 1.0]
    with pytest.raises(CopsdError, match="batch_size is 3, but there are 2 pairs"):
        preference.total_steps(CONFIG, 2)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (["preference.feedback=null"], "pairs: ai needs feedback"),
        (["preference.rollout.per_prompt=3"], "per_prompt must be 2"),
        (["preference.feedback.clamp=0.5"], "less than 0.5"),
        (["preference.pairs=x.jsonl", "rl_algorithm=online-dpo"], "set preference.pairs: ai"),
        (["preference.rollout={engine: vllm, per_prompt: 2, max_tokens: 8}"], "use rl_algorithm: online-dpo"),
        (["rl_algorithm=null"], "needs rl_algorithm: dpo or online-dpo"),
        (["preference=null"], "rl_algorithm dpo needs a preference stage"),
        (["distill=null", "rl_algorithm=grpo"], "rl_algorithm grpo needs a distill stage"),
        (["distill.outcome.judge=refusal"], "feedback belongs to judge: principles"),
        (["corpus=null", "sft.data=x.jsonl", "preference.pairs=corpus"], "no corpus stage writes pairs"),
    ],
)
def test_bad_settings_are_refused_in_one_sentence(changes: list[str], sentence: str) -> None:
    with pytest.raises(CopsdError) as caught:
        load_recipe("cai-rl", changes)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("field", "value"), [("label", 1.5), ("chosen", ""), ("chosen", " \n"), ("rejected", "\t")])
def test_a_file_of_pairs_is_checked_line_by_line(tmp_path: Path, field: str, value: object) -> None:
    from copsd_train.corpora.schema import read_pairs

    file = tmp_path / "pairs.jsonl"
    row = {"prompt": "a", "chosen": "b", "rejected": "c", "kind": "safety", field: value}
    file.write_text(json.dumps(row) + "\n")
    with pytest.raises(CopsdError, match=f"line 1 is wrong at {field}"):
        read_pairs(file)
