"""The collapse panel on fixed prompts during training: the student's answers against those of its base."""

import json
from itertools import zip_longest
from pathlib import Path
from typing import Any

from copsd_bench.engine.protocol import Sampling
from copsd_bench.records.schema import SampleRow
from copsd_bench.records.verdict import Verdict, judge_collapse
from copsd_train.corpora.answers import stream
from copsd_train.policy import Policy
from copsd_train.recipe_parts import MonitorSettings
from copsd_train.rollouts import Metrics

SHOWN = ("tokens_median", "refusal/harmful", "refusal/benign", "entropy", "distinct_2", "loops", "truncated")
"""Panel statistics logged, as `monitor/NAME`."""


class Monitor:
    """Answers fixed prompts now and then, each time from the same random streams, so that only the student differs.

    Args:
        config: prompts, answer length.
        policy: whose student is watched; its base is the model before.
        folder: of the run; the base's rows are kept there.
        seed: of the recipe.
    """

    def __init__(self, config: MonitorSettings, policy: Policy, folder: Path, seed: int) -> None:
        self.config = config
        self.policy = policy
        self.seed = seed
        self.base_file = folder / "monitor" / "base.json"
        self.samples = _balanced(config) if config.every else []

    def look(self) -> tuple[Metrics, Verdict]:
        """The student's panel as metrics, and the verdict on it against the base's."""
        from copsd_bench.records.panel import panel

        rows = self._answers(self.policy.trained)
        verdict = judge_collapse(self._base_answers(), rows)
        estimates = panel(rows)
        metrics = {f"monitor/{name}": estimates[name].value for name in SHOWN if name in estimates}
        metrics["monitor/damages"] = len(verdict.damages)
        return {name: value for name, value in metrics.items() if value is not None}, verdict

    def _base_answers(self) -> list[SampleRow]:
        """Rows of the model before training, made once a run."""
        from copsd_bench.records.store import write_text

        if not self.base_file.is_file():
            rows = self._answers("base")
            write_text(self.base_file, json.dumps([row.model_dump(mode="json", exclude_defaults=True) for row in rows]))
        return [SampleRow.model_validate(row) for row in json.loads(self.base_file.read_text(encoding="utf-8"))]

    def _answers(self, who: str) -> list[SampleRow]:
        from copsd_bench.benchmarks.answer import Answer, panel_values
        from copsd_bench.judges.registry import get_judge

        prompts = [self.policy.engine.encode([{"role": "user", "content": s.input}]) for s in self.samples]
        seeds = [stream(self.seed, "monitor", str(sample.id)) for sample in self.samples]
        completions = self.policy.generate(who, prompts, Sampling(self.config.max_tokens, temperature=1.0), seeds)
        texts = [completion.text for completion in completions]
        verdicts = get_judge("refusal").batch([str(sample.input) for sample in self.samples], texts)
        rows = []
        for sample, completion, verdict in zip(self.samples, completions, verdicts, strict=True):
            n = len(completion.ids)
            answer = Answer(
                text=completion.text,
                tokens=n,
                stop_reason=completion.stop_reason,
                mean_entropy=sum(completion.entropies) / n,
                mean_logprob=sum(completion.logprobs) / n,
            )
            rows.append(SampleRow(id=str(sample.id), group=sample.metadata["group"], **panel_values(answer, verdict)))
        return rows


def _balanced(config: MonitorSettings) -> list[Any]:
    """The first prompts of each class in turn, up to the limit."""
    from copsd_bench.benchmarks.collapse.prompts import prompt_set

    samples, _ = prompt_set(None if config.prompts == "collapse" else config.prompts)
    classes: dict[str, list[Any]] = {}
    for sample in samples:
        classes.setdefault((sample.metadata or {})["group"], []).append(sample)
    mixed = [sample for turn in zip_longest(*classes.values()) for sample in turn if sample is not None]
    return mixed[: config.limit]
