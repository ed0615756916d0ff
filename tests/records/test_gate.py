"""The gate: an unmodified model passes, damage is red for the right reason, too few items decide nothing."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from copsd_bench.errors import CopsdError, ExitCode
from copsd_bench.records.gate import GateResult, check
from copsd_bench.records.gate_table import gate_parts
from copsd_bench.records.rules import Rules, load_rules
from copsd_bench.records.schema import RunRecord
from tests.records.factory import BASE, Behaviour, like, record, rows, task, with_rows, with_task

RULES = load_rules()
TIMID = like(refusal={"harmful": 0.12, "benign": 0.03, "general": 0.01})  # refuses little, as a small chat model does


def _always(refusal: float) -> Behaviour:
    return like(refusal=dict.fromkeys(BASE.refusal, refusal))


DAMAGES: dict[str, tuple[Behaviour, dict[str, str]]] = {
    "noise adapter": (
        like(accuracy=0.02, loops=0.3, distinct_2=0.97, entropy=4.0, logprob=-4.0),
        {"score": "ability", "degenerate answers": "instability", "entropy rises": "instability"},
    ),
    "answers cut to a third": (like(length=1 / 3), {"median length": "contraction", "mean length": "contraction"}),
    "always refuses": (_always(1.0), {"benign refusal": "over-refusal"}),
    "always complies": (_always(0.0), {"harmful compliance": "compliance"}),
    "high temperature": (
        like(entropy=1.8, logprob=-1.3, accuracy=0.45, flips=0.3),
        {"entropy rises": "instability", "log-probability": "instability"},
    ),
}


def _red(result: GateResult) -> dict[str, str]:
    return {finding.rule: finding.symptom for finding in result.findings if finding.status == "red"}


@pytest.mark.parametrize("name", DAMAGES)
@pytest.mark.parametrize("seed", range(3))
def test_each_damage_is_red_for_the_right_reason(name: str, seed: int) -> None:
    behaviour, expected = DAMAGES[name]
    baseline = record(tasks=[task(samples=rows(item_seed=seed))])
    damaged = record(tasks=[task(samples=rows(behaviour, run_seed=seed + 1, item_seed=seed))])
    result = check(baseline, damaged, RULES)
    assert result.exit_code == ExitCode.REGRESSION
    assert expected.items() <= _red(result).items()


def test_damages_have_only_their_own_symptoms() -> None:
    symptoms = {name: set(check(record(), record(b, 1), RULES).symptoms) for name, (b, _) in DAMAGES.items()}
    assert symptoms["noise adapter"] == {"ability", "instability"}
    assert symptoms["answers cut to a third"] == {"contraction"}
    assert symptoms["always complies"] == {"compliance"}
    assert symptoms["high temperature"] <= {"ability", "instability"}
    assert "compliance" not in symptoms["always refuses"]


def test_a_model_that_refuses_little_is_still_caught_when_it_stops() -> None:
    refused = record(TIMID)
    never = record(like(TIMID, refusal=dict.fromkeys(BASE.refusal, 0.0)), 1)
    assert "harmful compliance" in _red(check(refused, never, RULES))


@pytest.mark.parametrize("seed", range(12))
def test_the_unmodified_model_passes_under_another_machine_s_rounding(seed: int) -> None:
    baseline = record(tasks=[task(samples=rows(item_seed=seed))])
    again = record(tasks=[task(samples=rows(like(flips=0.03), run_seed=seed + 50, item_seed=seed))])
    assert check(baseline, again, RULES).exit_code == ExitCode.OK


def test_a_safer_model_of_the_same_length_passes() -> None:
    safer = record(like(refusal=BASE.refusal | {"harmful": 0.9}), 1)
    assert check(record(), safer, RULES).verdict == "healthy"


def test_too_few_items_decide_nothing_unless_the_damage_is_beyond_doubt() -> None:
    few = {"harmful": 15, "benign": 15, "general": 15}
    small, again = (record(tasks=[task(samples=rows(groups=few, run_seed=seed))]) for seed in (0, 1))
    result = check(small, again, RULES)
    assert result.exit_code == ExitCode.UNDECIDED
    assert all("too few" in finding.reason for finding in result.findings if finding.status == "undecided")
    refuses = record(tasks=[task(samples=rows(_always(1.0), few))])
    assert check(small, refuses, RULES).exit_code == ExitCode.REGRESSION
    tiny = {"harmful": 5, "benign": 5, "general": 5}
    runs = [record(tasks=[task(samples=rows(b, tiny))]) for b in (BASE, _always(1.0))]
    assert "benign refusal" not in _red(check(*runs, RULES))


def test_a_judge_that_fails_on_the_model_does_not_hide_it() -> None:
    other = record(run_seed=1)
    samples = [
        row.model_copy(update={"refusal": None}) if i % 3 else row for i, row in enumerate(other.tasks[0].samples)
    ]
    result = check(record(), with_task(other, samples=samples), RULES)
    assert result.exit_code == ExitCode.UNDECIDED
    assert {"benign refusal", "harmful compliance"} <= {f.rule for f in result.findings if f.status == "undecided"}


def test_what_the_baseline_never_measured_is_skipped_and_said() -> None:
    blind = [with_rows(record(run_seed=seed), mean_entropy=None, mean_logprob=None) for seed in (0, 1)]
    result = check(*blind, RULES)
    assert result.verdict == "healthy"
    assert set(result.skipped) == {"entropy falls", "entropy rises", "log-probability", "log-probability rises"}
    assert check(record(), blind[1], RULES).verdict == "undecided"


def test_lower_is_better_turns_the_score_rule_round() -> None:
    runs = [
        record(tasks=[task(samples=rows(like(accuracy=accuracy)), lower_is_better=["accuracy"])])
        for accuracy in (0.3, 0.6)
    ]
    assert "score" in _red(check(*runs, RULES))
    assert "score" not in _red(check(runs[1], runs[0], RULES))


def test_a_metric_of_another_name_than_its_score_is_undecided_where_it_is_primary() -> None:
    runs = []
    for accuracy in (1.0, 0.0):
        samples = rows(like(accuracy=accuracy))
        found = task(samples=samples).metrics["accuracy"]
        runs.append(record(tasks=[task(samples=samples, metrics={"ratio": found}, primary="ratio")]))
    result = check(*runs, RULES)
    [finding] = [finding for finding in result.findings if finding.rule == "score"]
    assert (finding.status, finding.reason) == ("undecided", "it cannot be paired on items")
    assert result.exit_code == ExitCode.UNDECIDED
    assert any("cannot be paired" in str(part) for part in gate_parts(result))
    secondary = [with_task(run, primary="accuracy") for run in runs]
    assert "score" in check(*secondary, RULES).skipped


def test_a_score_without_a_direction_is_not_judged() -> None:
    runs = [record(tasks=[task(samples=rows(like(accuracy=a)), undirected=["accuracy"])]) for a in (0.6, 0.3)]
    assert "score" not in _red(check(*runs, RULES))


def _with_another_task(run: RunRecord) -> RunRecord:
    return run.model_copy(update={"tasks": [*run.tasks, task("xstest")]})


def test_a_record_without_a_task_of_the_baseline_is_unusable() -> None:
    with pytest.raises(CopsdError, match="lacks xstest"):
        check(_with_another_task(record()), record(), RULES)
    assert check(record(), _with_another_task(record()), RULES).verdict == "healthy"


def test_a_record_that_measured_nothing_is_unusable() -> None:
    empty = {"scores": {}, "output_tokens": None, "truncated": None, "refusal": None, "loops": None}
    empty |= {"distinct_1": None, "distinct_2": None, "repetition": None, "mean_entropy": None, "mean_logprob": None}
    nothing = with_task(with_rows(record(), **empty), metrics={}, primary="")
    with pytest.raises(CopsdError, match="No rule"):
        check(nothing, nothing, RULES)


def test_every_packaged_rule_has_a_rationale_and_every_symptom_a_rule() -> None:
    assert all(len(rule.why) > 40 for rule in RULES.rules)
    assert {rule.symptom for rule in RULES.rules} == {
        "ability",
        "contraction",
        "over-refusal",
        "compliance",
        "instability",
    }


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"margn": 0.1}, "rules.0.margn"),
        ({"statistic": "lenght"}, "unknown statistic 'lenght'"),
        ({"margin": -0.1}, "rules.0.margin"),
        ({"groups": ["harmless"]}, "rules.0.groups"),
        ({"groups": ["benign"]}, "no groups"),
        ({"statistic": "tokens_median", "margin": 1.2}, "below 1 for a fall"),
        ({"collapse_margin": 0.2}, "needs the damage"),
        ({"collapse_margin": 0.01, "damage": "shortening"}, "tolerate more than the margin"),
        ({"damage": "shrinking"}, "rules.0.damage"),
    ],
)
def test_a_wrong_rule_is_refused_by_field(tmp_path: Path, changes: dict[str, Any], sentence: str) -> None:
    payload = Rules(schema_version=1, max_unscored=0.1, rules=RULES.rules[:1]).model_dump()
    payload["rules"][0] |= changes
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump(payload))
    with pytest.raises(CopsdError, match=sentence):
        load_rules(path)


def test_rules_of_one_name_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump(RULES.model_dump() | {"rules": [RULES.rules[0].model_dump()] * 2}))
    with pytest.raises(CopsdError, match="'score' comes twice"):
        load_rules(path)


def test_missing_and_malformed_rules_files(tmp_path: Path) -> None:
    with pytest.raises(CopsdError, match="no rules file"):
        load_rules(tmp_path / "none.yaml")
    (tmp_path / "bad.yaml").write_text("rules: [")
    with pytest.raises(CopsdError, match="not valid YAML"):
        load_rules(tmp_path / "bad.yaml")


def test_the_report_says_the_reason_and_where() -> None:
    text = gate_parts(check(record(), record(_always(1.0), 1), RULES))[0]
    assert isinstance(text, str)
    assert "Verdict: regression (over-refusal" in text
    assert "it refuses harmless requests (mini benign, mini general)" in text
