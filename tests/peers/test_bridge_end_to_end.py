"""The same numbers as lm-eval's own hf backend, from the question to the verdict, in float32 on the small model."""

from pathlib import Path

import pytest
from inspect_ai.model import get_model

import copsd_bench._registry  # noqa: F401
from copsd_bench.benchmarks.bridge.items import bridged
from copsd_bench.benchmarks.bridge.loglikelihood import KEY
from copsd_bench.benchmarks.bridge.task import lm_eval
from copsd_bench.models.resolve import ResolvedModel
from tests.peers.lm_eval_models import lm_eval_verdicts
from tests.peers.replay import evaluated

GENERATED = "bbh_cot_fewshot_boolean_expressions"


def test_answers_and_choices_are_those_of_lm_evals_hf_backend(
    smollm2: ResolvedModel, data_dir: Path, tmp_path: Path
) -> None:
    from lm_eval.models.huggingface import HFLM

    peer = HFLM(pretrained=str(smollm2.path), dtype="float32", device="cpu", batch_size=4)
    model = get_model("copsd/smollm2-135m", dtype="float32", batch_size=8)

    theirs = lm_eval_verdicts(GENERATED, peer, 4, chat=True, max_tokens=64)[GENERATED]
    task = lm_eval(GENERATED)
    task.config.max_tokens = 64
    samples = {str(sample.id): sample for sample in evaluated(task, model, tmp_path, limit=4).samples or []}
    for identifier, expected in zip(bridged(GENERATED).items, theirs, strict=False):
        ours = samples[identifier]
        assert ours.output.completion == expected["resps"][0][0]
        assert ours.scores is not None
        assert ours.scores["lm_eval"].value == {"exact_match": expected["exact_match"]}
    assert len({sample.output.completion for sample in samples.values()}) > 1

    theirs = lm_eval_verdicts("arc_challenge", peer, 24, chat=False)["arc_challenge"]
    log = evaluated(lm_eval("arc_challenge"), model, tmp_path, limit=24)
    samples = {str(sample.id): sample for sample in log.samples or []}
    for identifier, expected in zip(bridged("arc_challenge").items, theirs, strict=False):
        ours = samples[identifier]
        likelihoods = [response for (response,) in expected["resps"]]
        assert [nats for nats, _ in ours.store[KEY]] == pytest.approx(
            [float(nats) for nats, _ in likelihoods], abs=1e-3
        )
        assert [greedy for _, greedy in ours.store[KEY]] == [bool(greedy) for _, greedy in likelihoods]
        assert ours.scores is not None
        assert ours.scores["lm_eval"].value == {metric: expected[metric] for metric in ("acc", "acc_norm")}
    assert 0 < sum(expected["acc"] for expected in theirs) < 24
