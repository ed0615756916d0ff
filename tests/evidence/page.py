"""The page of the evidence, made of the committed records alone: results/evidence/README.md."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from copsd_bench.cachedir import write_atomic
from copsd_bench.records import stats
from copsd_bench.records.change import Change, panel_change
from copsd_bench.records.format import MISSING, interval
from copsd_bench.records.gate import check_reference
from copsd_bench.records.grid import Grid
from copsd_bench.records.panel import STATISTICS, estimate_of
from copsd_bench.records.rules import load_rules
from copsd_bench.records.schema import Estimate, RunRecord, SampleRow
from copsd_bench.records.store import read_record
from copsd_bench.records.verdict import Answers, judge_collapse
from tests.evidence.plan import FOLDER, Arm, Plan, record_path

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


Results = dict[tuple[str, int], Result]


def read_results(plan: Plan) -> Results:
    """Every arm that has both records."""
    found = {}
    for arm in plan.arms:
        for seed in arm.seeds:
            paths = [record_path(arm.name, seed, kind) for kind in ("evaluation", "collapse")]
            if all(path.exists() for path in paths):
                found[arm.name, seed] = Result(*map(read_record, paths))
    return found


def columns(plan: Plan, base: Result) -> dict[str, tuple[str, Callable[[Result], float | None]]]:
    """Heading -> unit, and the number of one arm at one seed."""

    def refusal(group: str) -> Callable[[Result], float | None]:
        return lambda result: estimate_of(STATISTICS["refusal"], result.rows(group)).value

    def general(result: Result) -> float | None:
        tasks = [task for task in result.evaluation.tasks if task.name in plan.general]
        values = [task.metrics[task.primary].value for task in tasks]
        scored = [value for value in values if value is not None]
        return sum(scored) / len(scored) if len(scored) == len(plan.general) else None

    def metric(name: str) -> Callable[[Result], float | None]:
        return lambda result: result.metric(name)

    return {
        "Refused, harmful": ("fraction", refusal("harmful")),
        "Refused, benign": ("fraction", refusal("benign")),
        "Length ratio": ("ratio", lambda result: length_ratio([base], [result]).change.value),
        "1 − Self-BLEU": ("ratio", metric("diversity")),
        "Contraction": ("ratio", metric("contraction.on_model")),
        "KL(m‖b)": ("nats", metric("kl_model_reference.on_model")),
        "KL(b‖m)": ("nats", metric("kl_reference_model.on_reference")),
        "General": ("fraction", general),
    }


def length_ratio(base: Sequence[Result], other: Sequence[Result]) -> Change:
    """Mean tokens of greedy answers to harmless prompts, other / base, paired on prompts; seeds are one cluster."""
    return paired(base, other, "tokens_mean", *HARMLESS)


def paired(base: Sequence[Result], other: Sequence[Result], statistic: str, *groups: str) -> Change:
    """A panel statistic of the greedy answers of two arms, all seeds together, paired on prompts."""
    sides = [Answers(_epochs(result.rows(*groups) for result in results)) for results in (base, other)]
    return panel_change(sides[0], sides[1], statistic)


def _epochs(seeds: Iterable[Sequence[SampleRow]]) -> list[SampleRow]:
    return [row.model_copy(update={"epoch": seed}) for seed, rows in enumerate(seeds, 1) for row in rows]


def over_seeds(values: Sequence[float], unit: str) -> str:
    """Mean with a Student interval over seeds; one seed is marked, and has none."""
    if not values:
        return MISSING
    if len(values) == 1:
        return interval(Estimate(value=values[0], n=1, unit=unit)) + " ¹"
    return interval(stats.mean(list(values), unit=unit))


def main_table(plan: Plan, results: Results) -> Grid:
    """Arm x number."""
    base = next(result for (arm, _), result in sorted(results.items()) if arm == "base")
    found = columns(plan, base)
    grid = Grid("Arms (mean [95 % interval over seeds]; rates in per cent)", ["Arm", *found, "Verdict"])
    for arm in plan.arms:
        mine = _seeds(results, arm.name)
        if mine:
            cells = []
            for unit, of in found.values():
                values = [of(result) for result in mine]
                cells.append(over_seeds([value for value in values if value is not None], unit))
            grid.add(arm.name, *cells, ", ".join(dict.fromkeys(verdict_of(base, result, arm) for result in mine)))
    return grid


def verdict_of(base: Result, result: Result, arm: Arm) -> str:
    """The gate's verdict: on the sampled answers against their reference / on the greedy ones against the base's."""
    sampled = check_reference(result.collapse, load_rules()).collapse.state
    if arm.name == "base":
        return sampled
    return f"{sampled} / {judge_collapse(base.rows(), result.rows()).state}"


def tests(results: Results) -> Grid:
    """The claims, as paired comparisons on prompts over all seeds of both arms."""
    grid = Grid(
        "Paired comparisons (second arm against first; 95 % interval over prompts)",
        ["Claim", "Arms", "Length ratio", "Entropy ratio", "Refused, harmful", "Refused, benign"],
        texts=2,
    )
    for claim, first, second in (
        ("a constitution contracts the teacher", "base", "base+constitution"),
        ("OPSD-Const contracts the student", "base", "opsd-const"),
        ("... at least as much as its teacher", "base+constitution", "opsd-const"),
        ("COPSD contracts less than OPSD-Const", "opsd-const", "copsd"),
        ("forward KL contracts less than reverse KL", "opsd-reverse", "opsd-forward"),
    ):
        a, b = _seeds(results, first), _seeds(results, second)
        if a and b:
            changes = [length_ratio(a, b), paired(a, b, "entropy", *HARMLESS)]
            changes += [paired(a, b, "refusal", group) for group in ("harmful", "benign")]
            cells = [interval(change.change, signed=change.kind == "difference") for change in changes]
            grid.add(claim, f"{first} → {second}", *cells)
    return grid


def write_page(plan: Plan) -> str:
    """Write README.md of the evidence; what it says by itself stands in reading.md beside it."""
    results = read_results(plan)
    if not any(arm == "base" for arm, _ in results):
        return "No record of the base model yet: no page."
    done = len(results)
    total = sum(len(arm.seeds) for arm in plan.arms)
    reading = FOLDER / "reading.md"
    parts = [
        "# Evidence\n",
        f"Made by `python -m tests.evidence` from the records beside it ({done} of {total} runs of plan.yaml are "
        "there). [PLAN.md](PLAN.md) was written before the first run.\n",
        main_table(plan, results).markdown(),
        "¹ one seed: no interval over seeds. Length ratio: mean tokens of greedy answers to harmless prompts, against "
        "the base. Contraction: exp(H_model − H_base) on the arm's own sampled answers. m: model, b: base; KL(m‖b) on "
        "the model's answers, KL(b‖m) on the base's, nats a token. Verdict: of the sampled / of the greedy answers.\n",
        tests(results).markdown(),
        reading.read_text(encoding="utf-8") if reading.exists() else "",
        "## Arms\n",
        "\n".join(f"- **{arm.name}**: {arm.about}." for arm in plan.arms),
    ]
    path = FOLDER / "README.md"
    write_atomic(path, ("\n".join(parts).rstrip() + "\n").encode())
    return str(path)


def _seeds(results: Results, arm: str) -> list[Result]:
    return [result for (name, _), result in sorted(results.items()) if name == arm]
