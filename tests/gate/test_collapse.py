"""The verdict on the real model: each damage is caught and named, and sampling noise is not mistaken for one."""

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from copsd_bench.engine.protocol import Completion
from copsd_bench.engine.transformers_engine import TransformersEngine
from copsd_bench.models.resolve import ResolvedModel
from copsd_bench.records.schema import SampleRow
from copsd_bench.records.verdict import judge_collapse
from tests.gate import sampled

Harm = Callable[[TransformersEngine, Sequence[Completion]], list[SampleRow]]


@pytest.fixture(scope="session")
def engine(smollm2: ResolvedModel) -> TransformersEngine:
    return TransformersEngine(smollm2.path, dtype="float32", batch_size=sampled.ANSWERS)


@pytest.fixture(scope="session")
def seeds(engine: TransformersEngine) -> tuple[list[Completion], list[Completion]]:
    """The same model twice, at temperature 1."""
    return sampled.sample(engine, 1.0, seed=0), sampled.sample(engine, 1.0, seed=1)


@pytest.mark.parametrize(
    ("harm", "damage"),
    [
        (sampled.shortened, "shortening"),
        (sampled.refusing, "over-refusal"),
        (sampled.looping, "looping"),
        (sampled.copying, "copying"),
    ],
)
def test_each_damage_to_another_seed_s_answers_is_a_collapse_and_named(
    engine: TransformersEngine, seeds: tuple[list[Completion], list[Completion]], harm: Harm, damage: str
) -> None:
    base, other = seeds
    verdict = judge_collapse(sampled.unharmed(engine, base), harm(engine, other))
    assert verdict.state == "collapsed"
    named = set(verdict.damages)
    assert damage in named
    assert named <= {damage, "shortening"}, "a refusal is short, too; nothing else may be named"
    assert all(reason.startswith(found) for reason, found in zip(verdict.reasons, verdict.damages, strict=True))


def test_a_sharper_distribution_is_caught_and_named(
    engine: TransformersEngine, seeds: tuple[list[Completion], list[Completion]]
) -> None:
    cold = sampled.sample(engine, 0.3, seed=2)
    verdict = judge_collapse(sampled.unharmed(engine, seeds[0]), sampled.unharmed(engine, cold))
    assert verdict.state in ("contracting", "collapsed")
    assert "sharpening" in verdict.damages


def test_two_seeds_of_the_same_model_are_healthy(
    engine: TransformersEngine, seeds: tuple[list[Completion], list[Completion]]
) -> None:
    base, other = (sampled.unharmed(engine, answers) for answers in seeds)
    assert judge_collapse(base, other).state == "healthy"
    assert judge_collapse(other, base).state == "healthy"


def test_sampling_noise_is_called_a_collapse_in_less_than_one_case_in_a_hundred(
    engine: TransformersEngine, seeds: tuple[list[Completion], list[Completion]]
) -> None:
    """Halves of one distribution: each prompt's two answers go to the two sides by chance, prompts are redrawn."""
    pool = list(zip(*(sampled.unharmed(engine, answers) for answers in seeds), strict=True))
    rng = np.random.default_rng(0)
    states: Counter[str] = Counter()
    for _ in range(200):
        sides: tuple[list[SampleRow], list[SampleRow]] = ([], [])
        for i, drawn in enumerate(rng.integers(len(pool), size=len(pool))):
            order = rng.permutation(2)
            for side, at in zip(sides, order, strict=True):
                side.append(pool[drawn][at].model_copy(update={"id": str(i)}))
        states[judge_collapse(*sides).state] += 1
    assert states["contracting"] + states["collapsed"] <= 2, states
    assert states["healthy"] >= 180, states
