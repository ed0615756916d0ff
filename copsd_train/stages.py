"""The stages of a recipe, in their order. A finished one is skipped, an interrupted one resumes."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from copsd_bench.judges.registry import JUDGES, get_judge
from copsd_train import distill, sft, steering
from copsd_train.corpora.answers import Ledger
from copsd_train.corpora.builders import BUILDERS
from copsd_train.corpora.overlap import refuse_overlap
from copsd_train.corpora.prompts import load_rows, require_text
from copsd_train.corpora.schema import PromptRow, read_pairs, read_sft, require_both_sides
from copsd_train.distill_recipe import Distill
from copsd_train.feedback import Comparer, PrincipleJudge
from copsd_train.follow import begin, follow
from copsd_train.generators import student_generator
from copsd_train.model_outcome import ModelOutcome
from copsd_train.monitor import Monitor
from copsd_train.optimiser import Updater
from copsd_train.policy import Policy
from copsd_train.preference_stage import feedback_base, prefer
from copsd_train.ranks import Ranks
from copsd_train.recipe import Recipe
from copsd_train.rollouts import (
    Batch,
    OutcomeJudge,
    Step,
    by_text,
    require_judgeable,
    require_sources,
    teacher_name,
    unsteered_name,
)
from copsd_train.run import Run
from copsd_train.teacher import ContextPolicy, build_rows, check_pair


def execute(run: Run, ranks: Ranks) -> None:
    """Bring a run to its end, from wherever it is.

    Raises:
        CopsdError: bad or changed input, a broken guarantee, a loss that is not finite, a full disk, or a stop by the
            monitor.
    """
    if not all(run.finished(stage) for stage in run.recipe.stages):
        run.check_files()
    if not run.finished(run.recipe.stages[0]):
        check_inputs(run.recipe)
    for stage in run.recipe.stages:
        if not any(ranks.gather(run.finished(stage))):
            STAGES[stage](run, ranks)


def check_inputs(recipe: Recipe) -> None:
    """What later stages would refuse: better now than after the hours of those before them.

    Raises:
        CopsdError: a bad file of examples or pairs, one that overlaps a benchmark, no vLLM for rollouts, or as
            `_distill_steps`.
    """
    learns = (getattr(recipe, stage) for stage in ("preference", "distill") if stage in recipe.stages)
    if any(stage.rollout is not None and stage.rollout.engine == "vllm" for stage in learns):
        from copsd_bench.engine.vllm_launch import require_vllm

        require_vllm()
    data = recipe.sft.data if "sft" in recipe.stages and recipe.sft else "corpus"
    pairs = recipe.preference.pairs if "preference" in recipe.stages and recipe.preference else "corpus"
    given = {} if data == "corpus" else {data: [row.prompt for row in read_sft(Path(data))]}
    if pairs not in ("ai", "corpus"):
        given[pairs] = [row.prompt for row in read_pairs(Path(pairs))]
    for name, prompts in given.items():
        if not recipe.allow_overlap:
            refuse_overlap(prompts, name)
    if "distill" in recipe.stages[1:] and recipe.distill:
        _distill_steps(recipe.distill, load_rows(recipe.prompt_config))


def _distill_steps(config: Distill, prompts: Sequence[PromptRow]) -> int:
    """Steps of a distill stage on these prompts.

    Raises:
        CopsdError: too few prompts for a step, an outcome source that none has, or an image that feedback does not see.
    """
    if config.outcome is not None:
        require_sources(config.outcome, prompts)
        require_judgeable(config.outcome, prompts)
        if config.outcome.feedback is not None:
            require_text(prompts, "Feedback by principles")
    return distill.total_steps(config, len(prompts))


def build_corpus(run: Run, ranks: Ranks) -> None:
    """Stage corpus: supervised examples from the recipe's prompts, written by one process."""

    def build() -> None:
        policy = Policy(run.base, run.recipe)
        engine, view = policy.side("base")
        config = run.recipe.prompt_config
        BUILDERS[type(config)](config, engine, run.output("corpus"), view, run.base.identity)

    ranks.main_first(build)


def fine_tune(run: Run, ranks: Ranks) -> None:
    """Stage sft: the teacher's adapter, or the student."""
    recipe, config = run.recipe, run.recipe.sft
    assert config is not None
    source = run.output("corpus") if config.data == "corpus" else Path(config.data)
    rows = read_sft(source)
    require_both_sides(rows, str(source))
    policy = Policy(run.base, recipe, trained=config.adapter, sharded=ranks.sharded)
    examples = sft.build_examples(rows, policy.engine, config)
    total = sft.total_steps(config, len(examples))
    updater = Updater(policy.parameters(), config.optimiser, total, ranks=ranks, mirror=policy.mirror())
    start = begin(run, ranks, "sft", updater)
    left_out = {"left_out": len(rows) - len(examples)}
    steps: Iterator[Step] = (
        (step, metrics | left_out, [])
        for step, metrics in sft.loop(examples, policy, updater, config, recipe.seed, start)
    )
    # A teacher is not what comes out, and answers under contexts.
    student = config.adapter == "student"
    monitor = Monitor(recipe.monitor, policy, run.folder, recipe.seed) if student else None
    follow(run, ranks, "sft", policy, updater, (start, total), steps, monitor)


def find_steering(run: Run, ranks: Ranks) -> None:
    """Stage steering: the teacher's direction and its tokens, found by one process."""
    config = run.recipe.distill
    assert config is not None

    def find() -> None:
        policy = Policy(run.base, run.recipe, adapters=teacher_adapters(run))
        # An average of the student is, at the start, the base model.
        told = policy.side("teacher" if config.teacher.adapter == "teacher" else "base")
        steering.find(run, *told, base=policy.side("base"))

    ranks.main_first(find)


def teacher_adapters(run: Run) -> dict[str, Path]:
    """The folder of the teacher's adapter, if it has one of its own."""
    assert run.recipe.distill is not None
    teacher = run.recipe.distill.teacher
    if teacher.adapter != "teacher":
        return {}
    return {"teacher": Path(teacher.path) if teacher.path else run.output("sft")}


def distill_student(run: Run, ranks: Ranks) -> None:
    """Stage distill: the student learns from the teacher view on its own answers."""
    recipe, config = run.recipe, run.recipe.distill
    assert config is not None
    prompts = load_rows(recipe.prompt_config)
    ema = config.teacher.adapter == "ema"
    adapters = teacher_adapters(run)
    policy = Policy(run.base, recipe, adapters=adapters, ema=ema, sharded=ranks.sharded, start=run.student_start)
    if recipe.steering is not None:
        policy.steer(unsteered_name(config), *steering.steering_of(run.output("steering")))
    check_pair(policy.engine, policy.side(teacher_name(config))[0])
    contexts = ContextPolicy(config.teacher, prompts, recipe.seed)
    rows = build_rows(prompts, contexts, policy.engine, config.rollout.max_tokens)
    total = _distill_steps(config, prompts)
    average = (policy.parameters("ema"), config.teacher.decay) if config.teacher.decay else None
    updater = Updater(
        policy.parameters(), config.optimiser, config.minibatches * total, average, ranks, policy.mirror()
    )
    start = begin(run, ranks, "distill", updater)
    monitor = Monitor(recipe.monitor, policy, run.folder, recipe.seed)
    judge = outcome_judge(run, ranks, policy)
    with student_generator(config.rollout, policy, run.folder) as generate:

        def steps() -> Iterator[Step]:
            loop = distill.loop(rows, policy, updater, generate, config, recipe.seed, start, judge)
            for step, metrics, batch in loop:
                tokens = {"tokens": float(batch.mask.sum())}
                yield step, metrics | tokens, sample_rows(step, batch, recipe.samples)
            if recipe.steering is not None:  # before the student is kept: after that, the stage is finished
                ranks.main_first(lambda: steering.check_student(run, policy))

        follow(run, ranks, "distill", policy, updater, (start, total), steps(), monitor)


def outcome_judge(run: Run, ranks: Ranks, policy: Policy) -> OutcomeJudge | None:
    """The judge of a distill stage's outcomes, if it has some."""
    config = run.recipe.distill.outcome if run.recipe.distill else None
    if config is None:
        return None
    if config.judge in JUDGES:
        return by_text(get_judge(config.judge))
    if config.feedback is None:
        return ModelOutcome(config.judge, Ledger(run.folder / f"outcome-{ranks.rank}.work"))
    comparer = Comparer(config.feedback, feedback_base(run, ranks, policy), run.recipe.seed)
    return PrincipleJudge(comparer, config.feedback.opponents)


def sample_rows(step: int, batch: Batch, most: int) -> list[dict[str, Any]]:
    """The first rollouts of a step as rows of samples.jsonl: text, token ids, reward and advantage of each token."""

    def values(table: Any, i: int) -> list[float]:
        return [round(float(value), 6) for value in table[i, : len(batch.completions[i].ids)]]

    return [
        {
            "stage": "distill",
            "step": step,
            "id": row.source.id,
            "kind": row.source.kind,
            "context": row.context,
            **({"image_sha256": row.source.image_sha256} if row.source.image else {}),
            "answer": completion.text,
            "stop_reason": completion.stop_reason,
            "outcome": None if batch.outcomes[i].isnan() else float(batch.outcomes[i]),
            "seed": batch.seeds[i],
            "ids": list(completion.ids),
            "logprobs": values(batch.student, i),
            "rewards": values(batch.rewards, i),
            "advantages": values(batch.advantages, i),
        }
        for i, (row, completion) in enumerate(list(zip(batch.rows, batch.completions, strict=True))[:most])
    ]


STAGES = {
    "corpus": build_corpus, "sft": fine_tune, "steering": find_steering, "preference": prefer,
    "distill": distill_student,
}  # fmt: skip
