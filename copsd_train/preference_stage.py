"""Stage preference: DPO on given pairs, on pairs compared by feedback, or on fresh ones at every step."""

from collections.abc import Iterator
from pathlib import Path

from copsd_bench.engine.protocol import Sampling
from copsd_bench.models.digest import adapter_digest, weights_digest
from copsd_train import preference
from copsd_train.corpora.ai_pairs import build_ai_pairs
from copsd_train.corpora.answers import EngineAnswerer, Ledger
from copsd_train.corpora.prompts import load_rows, require_text
from copsd_train.corpora.schema import pairs_beside, read_pairs
from copsd_train.distill_recipe import Teacher
from copsd_train.feedback import Comparer
from copsd_train.follow import begin, follow
from copsd_train.generators import student_generator
from copsd_train.monitor import Monitor
from copsd_train.optimiser import Updater
from copsd_train.policy import Policy
from copsd_train.preference_recipe import Preference
from copsd_train.ranks import Ranks
from copsd_train.rollouts import Step
from copsd_train.run import Run
from copsd_train.teacher import ContextPolicy, build_rows


def prefer(run: Run, ranks: Ranks) -> None:
    """Stage preference: the student begins where sft left it, or as the base model, and stays close to that."""
    config = run.recipe.preference
    assert config is not None
    policy = Policy(run.base, run.recipe, sharded=ranks.sharded, start=run.student_start)
    monitor = Monitor(run.recipe.monitor, policy, run.folder, run.recipe.seed)
    learn = _learn_online if run.recipe.rl_algorithm == "online-dpo" else _learn_given
    learn(run, ranks, policy, config, monitor)


def _learn_given(run: Run, ranks: Ranks, policy: Policy, config: Preference, monitor: Monitor) -> None:
    source = _source(run, ranks, policy, config)
    rows = read_pairs(source)
    pairs = preference.build_pairs(rows, policy.engine, config)
    total = preference.total_steps(config, len(pairs))
    updater = Updater(policy.parameters(), config.optimiser, total, ranks=ranks, mirror=policy.mirror())
    start = begin(run, ranks, "preference", updater)
    left_out = {"left_out": len(rows) - len(pairs)}
    loop = preference.loop(pairs, policy, updater, config, run.recipe.seed, start)
    steps: Iterator[Step] = ((step, metrics | left_out, []) for step, metrics in loop)
    follow(run, ranks, "preference", policy, updater, (start, total), steps, monitor)


def _learn_online(run: Run, ranks: Ranks, policy: Policy, config: Preference, monitor: Monitor) -> None:
    assert config.feedback is not None
    assert config.rollout is not None
    recipe = run.recipe
    prompts = load_rows(recipe.prompt_config)
    require_text(prompts, "Preference training")
    untold = ContextPolicy(Teacher(adapter="none", context="none"), prompts, recipe.seed)
    rows = build_rows(prompts, untold, policy.engine, config.rollout.max_tokens)
    total = preference.total_steps(config, len(rows), online=True)
    updater = Updater(policy.parameters(), config.optimiser, total, ranks=ranks, mirror=policy.mirror())
    start = begin(run, ranks, "preference", updater)
    comparer = Comparer(config.feedback, feedback_base(run, ranks, policy), recipe.seed)
    with student_generator(config.rollout, policy, run.folder) as generate:
        loop = preference.online_loop(rows, policy, updater, generate, comparer, config, recipe.seed, start)
        steps = ((step, metrics, samples[: recipe.samples]) for step, metrics, samples in loop)
        follow(run, ranks, "preference", policy, updater, (start, total), steps, monitor)


def _source(run: Run, ranks: Ranks, policy: Policy, config: Preference) -> Path:
    """The file of pairs; those compared by feedback are built first, by one process."""
    if config.pairs == "corpus":
        return pairs_beside(run.output("corpus"))
    if config.pairs != "ai":
        return Path(config.pairs)
    assert config.feedback is not None
    assert config.rollout is not None
    out, feedback, answered, seed = _folder(run) / "pairs.jsonl", config.feedback, config.rollout, run.recipe.seed

    def build() -> None:
        base = feedback_base(run, ranks, policy)
        student = EngineAnswerer(*policy.side("reference"), base.ledger, _student_identity(run, policy))
        sampling = Sampling(answered.max_tokens, answered.temperature, answered.top_p)
        rows = load_rows(run.recipe.prompt_config)
        build_ai_pairs(rows, student, Comparer(feedback, base, seed), sampling, config.min_margin, seed, out)

    if not any(ranks.gather(out.exists())):
        ranks.main_first(build)
    return out


def feedback_base(run: Run, ranks: Ranks, policy: Policy) -> EngineAnswerer:
    """The base model as one that gives feedback, with a ledger of this process."""
    ledger = Ledger(_folder(run) / f"feedback-{ranks.rank}.work")
    return EngineAnswerer(*policy.side("base"), ledger, run.base.identity)


def _folder(run: Run) -> Path:
    return run.folder / "preference"


def _student_identity(run: Run, policy: Policy) -> str:
    """Digest of the student as this stage finds it."""
    if run.student_start is None:
        return run.base.identity
    return f"{run.base.identity} {(weights_digest if policy.full else adapter_digest)(run.student_start)}"
