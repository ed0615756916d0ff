"""One copy of the base weights, several views: adapters do not leak, digests know their base, saving is exact."""

import json
from pathlib import Path

import pytest
import torch

from copsd_bench.engine.protocol import Prompt, View
from copsd_bench.engine.transformers_engine import TransformersEngine
from copsd_bench.errors import CopsdError
from copsd_bench.models.digest import read_json
from copsd_bench.models.resolve import ResolvedModel
from copsd_train.adapters import BASE_NOTE, check_base, merge
from copsd_train.load_recipe import load_recipe
from copsd_train.policy import Policy
from tests.engine.tiny import save_tiny
from tests.train.conftest import SMALL

PROMPT, ANSWER = Prompt(ids=(5, 6, 7, 8)), (9, 10, 11)


def policy(base: ResolvedModel, *changes: str, **options: object) -> Policy:
    return Policy(base, load_recipe("opsd-const", [*SMALL, *changes]), **options)  # type: ignore[arg-type]


def disturb(trained: Policy) -> None:
    with torch.no_grad():
        for parameter in trained.parameters().values():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3)))


def scores(trained: Policy, who: str) -> tuple[float, ...]:
    return trained.score(who, [PROMPT], [ANSWER])[0].logprobs


@pytest.mark.parametrize("tuning", ["lora", "full"])
def test_training_one_view_changes_no_other(tiny: ResolvedModel, tuning: str, tmp_path: Path) -> None:
    first = policy(tiny)
    disturb(first)
    first.save(tmp_path / "teacher")
    both = policy(tiny, f"tuning={tuning}", adapters={"teacher": tmp_path / "teacher"}, ema=True)
    before = {who: scores(both, who) for who in ("student", "teacher", "base", "ema")}
    assert before["student"] == before["base"] == before["ema"]
    assert before["teacher"] == scores(first, "student")
    disturb(both)
    after = {who: scores(both, who) for who in before}
    assert after["student"] != before["student"]
    assert {**after, "student": ()} == {**before, "student": ()}


def test_only_the_trained_view_gets_gradients_also_after_the_others_were_used(tiny: ResolvedModel) -> None:
    trained = policy(tiny, ema=True)
    scores(trained, "base")
    scores(trained, "ema")
    with trained.training():
        trained.model([PROMPT], [ANSWER], lambda states, head: head(states)).sum().backward()
    touched = {n for n, p in trained.engine.model.named_parameters() if p.grad is not None}
    assert touched
    assert all(".student." in name for name in touched)
    assert set(trained.parameters()) == set(trained.parameters("ema"))


def test_the_training_forward_equals_scoring_on_the_real_model(real_policy: Policy) -> None:
    rows = [(Prompt(ids=(5, 6, 7, 8, 9)), (10, 11)), (Prompt(ids=(7, 8)), (9, 10, 11, 12))]
    prompts, answers = zip(*rows, strict=True)

    def logprobs(states: torch.Tensor, head: object) -> torch.Tensor:
        return head(states).log_softmax(-1)  # type: ignore[operator, no-any-return]

    with torch.no_grad():
        table = real_policy.model(prompts, answers, logprobs)
    for i, scored in enumerate(real_policy.score("student", prompts, answers)):
        mine = [float(table[i, t, token]) for t, token in enumerate(answers[i])]
        assert mine == pytest.approx(scored.logprobs, abs=2e-4)


def test_a_saved_adapter_scores_the_same_when_loaded_and_when_merged(tiny: ResolvedModel, tmp_path: Path) -> None:
    trained = policy(tiny)
    disturb(trained)
    trained.save(tmp_path / "student")
    assert scores(policy(tiny, adapters={"student": tmp_path / "student"}), "student") == scores(trained, "student")
    merge(tiny, tmp_path / "student", tmp_path / "merged")
    assert read_json(tmp_path / "merged" / "config.json")["dtype"] == "float32"
    merged = TransformersEngine(tmp_path / "merged").score(View(), [PROMPT], [ANSWER])[0].logprobs
    assert merged == pytest.approx(scores(trained, "student"), abs=1e-3)
    with pytest.raises(CopsdError, match="exists already"):
        merge(tiny, tmp_path / "student", tmp_path / "merged")


def test_an_adapter_of_another_base_is_refused_even_if_its_shapes_fit(tiny: ResolvedModel, tmp_path: Path) -> None:
    policy(tiny).save(tmp_path / "student")
    check_base(tmp_path / "student", tiny)
    note = json.loads((tmp_path / "student" / BASE_NOTE).read_text())
    (tmp_path / "student" / BASE_NOTE).write_text(json.dumps({**note, "weights_digest": "0" * 64}))
    with pytest.raises(CopsdError, match=r"adapter of another base .* other weights"):
        check_base(tmp_path / "student", tiny)
    from copsd_bench.models.resolve import resolve_model

    (tmp_path / "student" / BASE_NOTE).unlink()
    wider = resolve_model(str(save_tiny(tmp_path / "wider", hidden_size=64)))
    with pytest.raises(CopsdError, match="adapter of another base"):
        policy(wider, adapters={"teacher": tmp_path / "student"})


def test_an_adapter_on_the_lm_head_is_refused_as_a_teacher_too(tiny: ResolvedModel, tmp_path: Path) -> None:
    """Its logits would be made with whichever adapter happens to be on."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny.path)
    get_peft_model(model, LoraConfig(target_modules=["lm_head"])).save_pretrained(tmp_path / "teacher")
    with pytest.raises(CopsdError, match=r"changes .*lm_head.* student, teacher and base share one LM head"):
        policy(tiny, adapters={"teacher": tmp_path / "teacher"})


def test_layers_the_model_does_not_have_are_named(tiny: ResolvedModel) -> None:
    with pytest.raises(CopsdError, match="does not fit this model"):
        policy(tiny, "lora.targets=[no_such_layer]")
