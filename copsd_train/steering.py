"""Stage steering: find the direction and the tokens of a refusal-steered teacher, and check what they do (SafeSteer).

RUN/steering/ holds direction.safetensors, steering.json (all findings) and report.md (the same for people).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from copsd_bench.cachedir import staging_dir
from copsd_bench.engine.protocol import Intervention, Prompt, Sampling, View
from copsd_bench.engine.transformers_engine import TransformersEngine
from copsd_bench.errors import CopsdError, ExitCode
from copsd_bench.records import stats
from copsd_bench.records.schema import Estimate
from copsd_bench.records.store import write_text
from copsd_train.corpora.contrast import SIDES, Drawn, Side, draw_contrast
from copsd_train.corpora.prompts import load_rows
from copsd_train.corpora.selection import declines
from copsd_train.policy import Policy
from copsd_train.progress import Progress
from copsd_train.recipe import Recipe
from copsd_train.refusal_direction import (
    Place,
    candidates,
    chosen,
    first_token_logprobs,
    refusal_ids,
    refusal_scores,
    scored,
    steered,
)
from copsd_train.run import Run
from copsd_train.run_folder import read_lines
from copsd_train.safety_tokens import select_tokens, share_moved
from copsd_train.steering_recipe import Scores, Steering
from copsd_train.steering_report import Count, Findings, Token, read_findings, report


def find(run: Run, engine: TransformersEngine, view: View, base: tuple[TransformersEngine, View]) -> None:
    """Find direction and tokens of a model, and write RUN/steering/; an interrupted search goes on where it was.

    Args:
        run: its recipe has the settings.
        engine, view: the model to be steered.
        base: the base model, which the findings set the steered one against.

    Raises:
        CopsdError: too few prompts, none that the model refuses, no layer or no token that passes.
    """
    config = run.recipe.steering
    assert config is not None
    texts, counts = _prompts(run, engine, view, config)
    train, validation = ({side: _encoded(engine, part[side]) for side in SIDES} for part in texts)
    vectors = candidates(engine, view, train["harmful"], train["harmless"], config)
    scores = _scores(run, engine, view, vectors, validation, config)
    best = chosen(scores, config)
    vector = vectors[best.position, best.layer]
    told = steered(view, best.layer, vector, config)
    tokens = select_tokens(engine, view, told, validation["harmless"], config, run.recipe.seed)
    found = Findings(
        layer=best.layer,
        position=best.position,
        depth=engine.depth,
        config=config,
        refusal_tokens=[engine.tokenizer.decode([i]) for i in refusal_ids(engine, config.openings)],
        counts=counts,
        scores=scores,
        tokens=[
            Token(id=i, text=engine.tokenizer.decode([i]), votes=votes)
            for i, votes in zip(tokens.ids, tokens.votes, strict=True)
        ],
        voters=tokens.positions,
        validation=texts[1],
        vocabulary=engine.vocabulary_size,
    )
    found = _with_answers_of("base", *base, found)
    found = _with_answers_of("teacher", engine, told, found)
    _write(run.output("steering"), found, vector)


def steering_of(folder: Path) -> tuple[Intervention, list[int]]:
    """What RUN/steering/ says: the direction to add, and the safety tokens."""
    from safetensors.torch import load_file

    found = read_findings(folder)
    vector = load_file(folder / "direction.safetensors")["direction"]
    return Intervention("add", found.layer, vector, found.config.scale), found.token_ids


def check_student(run: Run, policy: Policy) -> None:
    """Add the trained student to the findings: how often it refuses, and where training moved probability."""
    folder = run.output("steering")
    student, base = policy.side(policy.trained), policy.side("base")
    found = _with_answers_of("student", *student, read_findings(folder))
    prompts = _encoded(student[0], found.validation["harmful"])
    answers = student[0].generate(student[1], prompts, Sampling(found.config.answer_tokens))
    moved = share_moved(student, base, prompts, [answer.ids for answer in answers], found.token_ids)
    _write_findings(folder, found.model_copy(update={"moved": moved}))


def contrast_of(recipe: Recipe) -> dict[Side, Drawn]:
    """Prompts of both sides, as the steering stage of a recipe draws them; raises as `draw_contrast`."""
    config = recipe.steering
    assert config is not None
    trained = {row.prompt for row in load_rows(recipe.prompt_config)}
    allowed = recipe.allow_overlap if config.allow_overlap is None else config.allow_overlap
    return draw_contrast(config.prompts, config.train, config.validation, trained, recipe.seed, allowed)


def _prompts(
    run: Run, engine: TransformersEngine, view: View, config: Steering
) -> tuple[list[dict[Side, list[str]]], dict[Side, Count]]:
    """Prompts for training and validation by side, filtered by what the model does, and how many there were."""
    drawn = contrast_of(run.recipe)
    ids = refusal_ids(engine, config.openings)
    parts: list[dict[Side, list[str]]] = [{}, {}]
    counts: dict[Side, Count] = {}
    for side, given in drawn.items():
        for part, prompts in zip(parts, (given.train, given.validation), strict=True):
            part[side] = _filtered(prompts, side, engine, view, ids) if config.filter else prompts
        count = counts[side] = Count(
            given=given.given,
            overlapping=given.overlapping,
            train=len(given.train),
            validation=len(given.validation),
            train_kept=len(parts[0][side]),
            validation_kept=len(parts[1][side]),
        )
        if not (count.train_kept and count.validation_kept):
            does = "refuses" if side == "harmful" else "does not refuse"
            raise CopsdError(
                f"No layer passes, as there is no refusal to find a direction of: the model {does} {count.train_kept} "
                f"of {count.train} {side} prompts and {count.validation_kept} of {count.validation} for validation (by "
                f"the first tokens of {', '.join(map(repr, config.openings))}); use a model that refuses harmful "
                "requests, fine-tune it to, or set steering.openings to its own words.",
                ExitCode.RUN,
            )
    return parts, counts


def _filtered(prompts: list[str], side: Side, engine: TransformersEngine, view: View, ids: Sequence[int]) -> list[str]:
    """Harmful prompts that the model refuses (a positive refusal score), or harmless ones that it does not."""
    scores = refusal_scores(first_token_logprobs(engine, view, _encoded(engine, prompts)), ids)
    keep = scores > 0 if side == "harmful" else scores < 0
    return [prompt for prompt, wanted in zip(prompts, keep.tolist(), strict=True) if wanted]


def _scores(
    run: Run,
    engine: TransformersEngine,
    view: View,
    vectors: Mapping[Place, torch.Tensor],
    validation: Mapping[Side, Sequence[Prompt]],
    config: Steering,
) -> list[Scores]:
    """Scores of all candidates; metrics.jsonl has those of an interrupted search."""
    logged = [row for row in read_lines(run.folder / "metrics.jsonl") if row["stage"] == "steering"]
    scores = [Scores(**{name: row[name] for name in Scores.model_fields}) for row in logged]
    run.rewind("steering", len(scores))
    left = dict(list(vectors.items())[len(scores) :])
    with Progress("steering", len(vectors), len(scores)) as progress:
        for found in scored(engine, view, left, validation["harmful"], validation["harmless"], config):
            scores.append(found)
            run.log("steering", len(scores), found.model_dump())
            progress.show(len(scores), found.model_dump())
    return scores


def _with_answers_of(who: str, engine: TransformersEngine, view: View, found: Findings) -> Findings:
    """The findings with one more who answers the validation prompts, greedily."""
    answers = {
        side: engine.generate(view, _encoded(engine, prompts), Sampling(found.config.answer_tokens))
        for side, prompts in found.validation.items()
    }
    refused: dict[Side, Estimate] = {
        side: stats.rate(declines(found.validation[side], [answer.text for answer in answers[side]])) for side in SIDES
    }
    first = [i for answer in answers["harmless"] for i in answer.ids[: found.config.horizon]]
    covered = sum(i in found.token_ids for i in first) / len(first)
    return found.model_copy(
        update={"refused": {**found.refused, who: refused}, "covered": {**found.covered, who: covered}}
    )


def _write(folder: Path, found: Findings, vector: torch.Tensor) -> None:
    from safetensors.torch import save

    with staging_dir(folder.parent, folder.name) as staging:
        (staging / "direction.safetensors").write_bytes(save({"direction": vector}, {"format": "pt"}))
        _write_findings(staging, found)
        staging.rename(folder)


def _write_findings(folder: Path, found: Findings) -> None:
    write_text(folder / "report.md", report(found))
    write_text(folder / "steering.json", found.model_dump_json(indent=2) + "\n")


def _encoded(engine: TransformersEngine, prompts: Sequence[str]) -> list[Prompt]:
    return [engine.encode([{"role": "user", "content": prompt}]) for prompt in prompts]
