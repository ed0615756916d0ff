"""The numbers of the arms, from their committed records."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

from copsd_bench.collapse.divergence import contraction, mode_seeking
from copsd_bench.records import stats
from copsd_bench.records.change import panel_change
from copsd_bench.records.gate import check_reference
from copsd_bench.records.panel import STATISTICS, estimate_of
from copsd_bench.records.rules import Rules, load_rules
from copsd_bench.records.schema import Estimate, RunRecord, SampleRow, TaskRecord
from copsd_bench.records.store import read_record
from copsd_bench.records.verdict import Answers, Verdict, judge_collapse
from tests.evidence.plan import Arm, Plan, record_path

HARMLESS = ("benign", "general")


@dataclass(frozen=True)
class Result:
    """One arm at one seed."""

    evaluation: RunRecord
    collapse: RunRecord

    def rows(self, *groups: str) -> list[SampleRow]:
        """Greedy answers of all sets, of some prompt classes."""
        return [r for task in self.evaluation.tasks for r in task.samples if not groups or r.group in groups]

    def metric(self, name: str) -> float | None:
        """A metric of the collapse suite."""
        found = [task.metrics[name].value for task in self.collapse.tasks if name in task.metrics]
        return found[0] if found else None

    @property
    def divergence(self) -> TaskRecord:
        """The task that has both models' entropies and divergences of each sampled answer."""
        return next(task for task in self.collapse.tasks if task.name == "kl_direction")


@dataclass(frozen=True)
class Measured:
    """One arm at all its seeds that are there, beside the base of its family.

    Intervals are over prompts: the answers of all seeds to a prompt are one cluster, so they hold the trained
    adapters fixed.
    """

    arm: Arm
    seeds: dict[int, Result]
    base: list[Result]

    @property
    def results(self) -> list[Result]:
        """In the order of the seeds."""
        return list(self.seeds.values())

    @cached_property
    def length_ratio(self) -> Estimate:
        """Mean tokens of greedy answers to harmless prompts, arm / base."""
        return panel_change(greedy(self.base, *HARMLESS), greedy(self.results, *HARMLESS), "tokens_mean").change

    @cached_property
    def contraction(self) -> Estimate:
        """exp(H_arm - H_base), both on the arm's own sampled answers."""
        rows = _samples(self.results)
        return contraction(_scores(rows, "reference_entropy"), _scores(rows, "entropy"))

    @cached_property
    def mode_seeking(self) -> Estimate:
        """Above 0 the arm leaves out what its base says, below 0 it says what its base does not."""
        base_rows = [row for result in self.results for row in result.divergence.reference_samples]
        return mode_seeking(
            _scores(_samples(self.results), "kl_model_reference"), _scores(base_rows, "kl_reference_model")
        )

    @cached_property
    def sampled_verdicts(self) -> list[Verdict]:
        """The gate's on the sampled answers against their reference, seed by seed."""
        return [check_reference(result.collapse, gate_rules()).collapse for result in self.results]

    @cached_property
    def greedy_verdict(self) -> Verdict | None:
        """The gate's on the greedy answers of all seeds against the base's; None for the base itself."""
        if self.arm.is_base:
            return None
        return judge_collapse(greedy(self.base).samples, greedy(self.results).samples, gate_rules())

    @cached_property
    def each(self) -> "list[Measured]":
        """The arm at each seed alone."""
        if len(self.seeds) == 1:
            return [self]
        return [Measured(self.arm, {seed: result}, self.base) for seed, result in self.seeds.items()]

    def refusal(self, group: str) -> Estimate:
        """Share of greedy answers to a prompt class that refuse, fully or partly."""
        return estimate_of(STATISTICS["refusal"], greedy(self.results, group).samples)


Family = dict[str, Measured]


@cache
def gate_rules() -> Rules:
    """The packaged gate's."""
    return load_rules()


def read_family(plan: Plan, start: str | None, folder: Path) -> Family:
    """Every arm of a family that has both records, by name; empty as long as its base has none."""
    arms = plan.families[start]
    found = {arm.name: _read_arm(arm, folder) for arm in arms}
    base = [result for arm in arms if arm.is_base for result in found[arm.name].values()]
    return {arm.name: Measured(arm, found[arm.name], base) for arm in arms if found[arm.name]} if base else {}


def _read_arm(arm: Arm, folder: Path) -> dict[int, Result]:
    paths = {
        seed: [record_path(folder, arm.name, seed, kind) for kind in ("evaluation", "collapse")] for seed in arm.seeds
    }
    return {
        seed: Result(*map(read_record, both)) for seed, both in paths.items() if all(path.exists() for path in both)
    }


def greedy(results: Sequence[Result], *groups: str) -> Answers:
    """The greedy answers of an arm to some prompt classes, a seed as an epoch."""
    return Answers(_epochs(result.rows(*groups) for result in results))


def sampled(results: Sequence[Result], *groups: str) -> Answers:
    """The sampled answers of an arm to some prompt classes."""
    return Answers([row for row in _samples(results) if row.group in groups])


def _epochs(seeds: Iterable[Sequence[SampleRow]]) -> list[SampleRow]:
    return [row.model_copy(update={"epoch": seed}) for seed, rows in enumerate(seeds, 1) for row in rows]


def _samples(results: Sequence[Result]) -> list[SampleRow]:
    return [row for result in results for row in result.divergence.samples]


def _scores(rows: Sequence[SampleRow], name: str) -> stats.ById:
    return stats.by_id([row.scores.get(name) for row in rows], [row.id for row in rows])
