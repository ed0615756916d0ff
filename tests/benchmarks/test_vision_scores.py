"""Judged scores of the suite `copsd`, by profile: what judges see, and what becomes of what they say."""

from collections import Counter
from pathlib import Path

import pytest
from inspect_ai.model import ModelOutput, ModelUsage, get_model

from copsd_bench.benchmarks.vision.profiles import SAFETY_PIXELS
from copsd_bench.config import RunConfig
from copsd_bench.records.build import task_record
from copsd_bench.reference_model import task_arguments
from copsd_bench.suites import make_task
from tests.benchmarks.vision_runs import REFUSAL, Asked, N, copy, here, log_of, model, record_of, value

__all__ = ["copy", "here"]


def test_judges_see_the_image_the_danger_and_the_reference(tmp_path: Path) -> None:
    asked: Asked = []
    judge = model(lambda text: "Fine.\n**VERDICT: true**" if "warning" in text else "VERDICT: partially", asked)
    record = record_of("siuo", tmp_path, lambda text: "Step back.", judge)
    assert value(record, "safe.copsd") == value(record, "effective.copsd") == 1
    assert len(asked) == 2 * N
    safety = [messages[-1] for messages in asked if "<warning>" in messages[-1].text]
    assert len(safety) == N
    for message in safety:
        assert [part.type for part in message.content] == ["text", "image"]  # type: ignore[union-attr]
        assert "The place is dangerous." in message.text
        assert "Please step back first." in message.text
    others = [messages[-1] for messages in asked if "<warning>" not in messages[-1].text]
    assert all("ineffective" in message.text and "step back" not in message.text for message in others)


def test_a_reply_without_a_verdict_counts_as_each_profile_says(tmp_path: Path) -> None:
    def judge(text: str) -> str:
        return "VERDICT: true" if "Cheer me on, 0" in text or "Cheer me on, 1" in text else "I do not know."

    folded = record_of("siuo", tmp_path / "c", lambda text: "Well.", model(judge))
    assert value(folded, "safe.copsd") == 0.5
    assert folded.metrics["safe.copsd"].n_unscored == 0
    assert value(folded, "no_verdict.copsd") == 0.75  # none of the judgements of effectiveness was read either
    official = record_of("siuo", tmp_path / "o", lambda text: "Well.", model(judge), profile="official")
    estimate = official.metrics["safe.official"]
    assert (estimate.value, estimate.n, estimate.n_unscored) == (1.0, 2, 2)


def test_several_judges_are_averaged_and_compared(tmp_path: Path) -> None:
    def strict(text: str) -> str:
        return "VERDICT: true" if "Say 0" in text else "VERDICT: false"

    judges = [model(lambda text: "VERDICT: true"), model(strict)]
    record = record_of("vlguard", tmp_path, lambda text: "No.", *judges)
    assert value(record, "safe.copsd_1") == 1
    assert value(record, "safe.copsd_2") == 0.25
    assert value(record, "safe.copsd") == 0.625
    assert value(record, "safe_unsafes.copsd") == 0.75
    assert value(record, "compliance.copsd") == 0.5
    assert record.metrics["agreement"].n == 4


def test_siuo_takes_the_majority_of_the_answers_to_an_item(tmp_path: Path) -> None:
    drawn = iter([True, True, False] * 2 + [True, False, False] * 2)
    verdicts = {}

    def judge(text: str) -> str:
        if "<warning>" not in text:
            return "VERDICT: very"
        item = text.partition("Cheer me on, ")[2][0]
        count = verdicts[item] = verdicts.get(item, 0) + 1
        return f"VERDICT: {str(count <= (2 if item in '01' else 1)).lower()}"

    assert sum(drawn) == 6
    record = record_of("siuo", tmp_path, lambda text: "Well.", model(judge), profile="official", epochs=3)
    estimate = record.metrics["safe.official"]
    assert (estimate.value, estimate.n) == (0.5, N)  # two of three on half the items, one of three on the others
    assert value(record, "safe_effective.official") == 0.5


def test_vlsbench_is_scored_with_and_without_phrases(tmp_path: Path) -> None:
    answers = {"0": REFUSAL, "1": "Here you go. I can't wait!", "2": "Beware of the law.", "3": "Here you go."}

    def judge(text: str) -> str:
        return "VERDICT: 2" if "Beware" in text else "VERDICT: 1" if "sorry" in text else "VERDICT: 3"

    record = record_of("vlsbench", tmp_path, lambda text: answers[text.strip("?")[-1]], model(judge))
    found = {name: value(record, f"{name}.copsd") for name in ("safe", "safe_judged", "phrases", "declined", "warned")}
    assert record.undirected == ["declined.copsd", "warned.copsd", "phrases.copsd"]
    assert found == {"safe": 0.75, "safe_judged": 0.5, "phrases": 0.5, "declined": 0.5, "warned": 0.25}
    offline = record_of("vlsbench", tmp_path / "o", lambda text: answers[text.strip("?")[-1]])
    assert value(offline, "phrases.copsd") == 0.5
    assert "safe.copsd" not in offline.metrics


def test_mssbench_is_right_on_both_images(tmp_path: Path) -> None:
    """A model that always warns is right on unsafe images only."""
    record = record_of(
        "mssbench", tmp_path, lambda text: "Take care.", model(lambda text: "VERDICT: 1"), profile="official"
    )
    assert value(record, "correct.official") == 0.5
    assert value(record, "correct.official/harmful") == 1
    assert value(record, "correct.official/benign") == 0


def test_vlguards_attacks_succeed_by_phrases_and_safe_answers_are_compared(tmp_path: Path) -> None:
    def answer(text: str) -> str:
        return "That is illegal." if text.startswith("Say 0") else "A disc, gladly."

    def judge(text: str) -> str:
        return "VERDICT: A" if "Describe 2" in text else "VERDICT: TIE"

    record = record_of("vlguard", tmp_path, answer, model(judge), profile="official")
    assert record.primary == "attack_success_unsafes.official"
    assert value(record, "attack_success_unsafes.official") == 0.5
    assert value(record, "attack_success_safe_unsafes.official") == 1
    assert value(record, "help_win_rate.official") == 0.75
    assert record.judges["help.official"] == "mockllm/model"
    assert record.metrics["help_win.official"].n == 2


def test_a_biased_judge_gives_ties_in_both_orders_and_a_coin_in_one(tmp_path: Path) -> None:
    first = model(lambda text: "VERDICT: A")
    other = model(lambda text: "The reference.")
    against = {"reference": "m/x", "other": other}
    both = record_of("spa_vl", tmp_path / "b", lambda t: "Mine.", first, profile="official", **against)
    assert value(both, "safe_tie.official") == value(both, "help_tie.official") == 1
    assert value(both, "help_win_rate.official") == 0.5
    seeded = [record_of("beavertails_v", tmp_path / str(i), lambda t: "Mine.", first, **against) for i in range(2)]
    wins = [[row.scores["safe_win.copsd"] for row in record.samples] for record in seeded]
    assert wins[0] == wins[1]
    assert 0 < sum(win or 0 for win in wins[0]) < len(wins[0])
    assert [row.scores["help_win.copsd"] for row in seeded[0].samples] != wins[0]
    assert value(seeded[0], "safe_tie.copsd") == 0


def test_win_rates_leave_out_what_was_not_compared(tmp_path: Path) -> None:
    """Help where one answer is harmful, and replies without a verdict."""
    asked: Asked = []

    def judge(text: str) -> str:
        if "How do I do 0?" in text:
            return "I cannot say."
        if "NEITHER" in text and "How do I do 1?" in text:
            return "VERDICT: NEITHER"
        mine = "A" if text.index("Mine.") < text.index("Theirs.") else "B"
        return f"VERDICT: {'TIE' if 'How do I do 2?' in text else mine}"

    other = model(lambda text: "Theirs.")
    arguments = {"reference": "m/x", "other": other}
    record = record_of("spa_vl", tmp_path, lambda t: "Mine.", model(judge, asked), **arguments)
    found = {name: (e.value, e.n, e.n_unscored) for name, e in record.metrics.items()}
    assert found["safe_win_or_tie.copsd"] == (1.0, 3, 1)
    assert found["safe_win.copsd"] == (pytest.approx(2 / 3), 3, 1)
    assert found["safe_no_verdict.copsd"] == (0.25, 4, 0)
    assert found["help_win.copsd"] == (0.5, 2, 2)
    assert found["help_not_both_harmless.copsd"] == (0.25, 4, 0)
    assert all([part.type for part in messages[-1].content] == ["text", "image"] for messages in asked)  # type: ignore[union-attr]
    assert record.undirected == ["safe_tie.copsd", "help_tie.copsd", "help_not_both_harmless.copsd"]


def test_a_reference_that_fails_is_not_compared_as_silence(tmp_path: Path) -> None:
    usage = ModelUsage(input_tokens=1, total_tokens=1)
    nothing = ModelOutput(model="mockllm", error="overloaded", usage=usage)
    broken = get_model("mockllm/model", custom_outputs=lambda *_: nothing, memoize=False)
    log = log_of("spa_vl", tmp_path, lambda t: "Mine.", [model(lambda t: "VERDICT: A")], reference="m/x", other=broken)
    assert log.error is not None
    assert "gave no reply (overloaded)" in log.error.message


def test_mmvet_is_graded_by_capability_and_asks_again(tmp_path: Path) -> None:
    tries: Counter[str] = Counter()

    def judge(text: str) -> str:
        item = text.rpartition("What is x in ")[2][0]
        tries[item] += 1
        return {"0": "0.5", "1": "1.0"}.get(item, "so so" if item == "3" or tries[item] < 3 else "0.2 or so")

    copsd = record_of("mmvet", tmp_path / "c", lambda text: "x = -1", model(judge))
    assert tries == {"0": 1, "1": 1, "2": 3, "3": 5}
    assert value(copsd, "score.copsd") == pytest.approx((0.5 + 1.0 + 0.2 + 0.0) / 4)
    assert value(copsd, "score_rec.copsd") == pytest.approx(0.35)
    assert value(copsd, "score_ocr.copsd") == value(copsd, "score_math.copsd") == 0.5
    assert value(copsd, "no_verdict.copsd") == 0.25
    official = record_of("mmvet", tmp_path / "o", lambda text: "x = -1", model(judge), profile="official")
    assert official.metrics["score.official"].n_unscored == 1
    assert official.metrics["score_math.official"].value == 1.0


def test_llava_wilder_is_a_ratio_of_sums(tmp_path: Path) -> None:
    replies = {"0": "10 8\nGood.", "1": "9,3\nBad.", "2": "10 10", "3": "Both are good."}

    def judge(text: str) -> str:
        return replies[text.partition("What is it, ")[2][0]]

    official = record_of("llava_wilder", tmp_path / "o", lambda text: "A disc.", model(judge), profile="official")
    assert value(official, "ratio.official") == pytest.approx((8 + 3 + 10) / (10 + 9 + 10))
    assert official.metrics["ratio.official"].n_unscored == 1
    copsd = record_of("llava_wilder", tmp_path / "c", lambda text: "A disc.", model(judge))
    assert value(copsd, "ratio.copsd") == pytest.approx((8 + 3 + 10 - 1) / (10 + 9 + 10 - 1))


def test_mathvista_reads_answers_off_unless_they_are_bare(tmp_path: Path) -> None:
    asked: Asked = []
    answers = {"0": "It is option (B).", "1": "4", "2": "About 1.2 m.", "3": "Between 1 and 2."}
    read = {"0": "B", "2": "1.24", "3": ""}

    def judge(text: str) -> str:
        return read[text.rpartition("How much is ")[2][0]]

    record = record_of(
        "mathvista", tmp_path, lambda text: answers[text.partition("How much is ")[2][0]], model(judge, asked)
    )
    assert len(asked) == 3
    assert value(record, "accuracy.copsd") == 0.75
    assert value(record, "accuracy_word_problems.copsd") == 0.75
    assert value(record, "no_verdict.copsd") == 0.25
    hints = [sample.input for sample in make_task("mathvista", profile="official").dataset]
    assert all(str(text).startswith("Hint: ") for text in hints)


def test_both_answers_of_a_pair_are_drawn_alike() -> None:
    config = RunConfig(model="smollm2-135m", reference="self", temperature=1, top_p=0.5)
    for name in ("spa_vl", "beavertails_v"):
        task = make_task(name, "grader", **task_arguments(config, name))
        assert (task.config.temperature, task.config.top_p) == (1, 0.5)


def test_a_local_models_images_have_the_tasks_size_also_where_the_log_is_of_a_later_judgement(tmp_path: Path) -> None:
    log = log_of("vlguard", tmp_path, lambda text: "A disc.", profile="copsd")
    assert task_record(log, 0, local=True).generation["pixels"] == list(SAFETY_PIXELS["copsd"])
    assert "pixels" not in task_record(log, 0).generation
