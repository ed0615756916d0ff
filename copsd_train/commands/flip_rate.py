"""`copsd-train flip-rate`: which context makes the best teacher, before anything is trained."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Precision(StrEnum):
    """Of the weights."""

    bfloat16 = "bfloat16"
    float32 = "float32"


class Format(StrEnum):
    """How the ranking is printed."""

    table = "table"
    markdown = "markdown"


def flip_rate(
    model: Annotated[str, typer.Option(help="Built-in name, local folder or hub id.")] = "smollm2-135m",
    contexts: Annotated[
        list[str],
        typer.Option(
            help="A YAML file of contexts; a packaged one (`refusal`, `helpfulness`, `control`) or one context in it; "
            "a constitution by name or file; `category` for each prompt's own constitution. May be repeated.",
            metavar="NAME|FILE",
        ),
    ] = ["refusal", "helpfulness", "control"],  # noqa: B006
    prompts: Annotated[
        list[Path],
        typer.Option(
            help="Prompts (jsonl, csv or parquet with `prompt`, `kind` and optionally `route`); default: the packaged "
            "training prompts. Not the prompts you report on: a context chosen on them is fitted to them.",
            metavar="FILE",
            show_default=False,
        ),
    ] = [],  # noqa: B006
    limit: Annotated[int | None, typer.Option(min=1, help="Prompts of each class; default all.")] = None,
    samples: Annotated[int, typer.Option(min=1, help="Answers to a prompt; 1 is greedy, as the paper does it.")] = 1,
    temperature: Annotated[float, typer.Option(min=0.01, help="Of more samples than one.")] = 1.0,
    max_tokens: Annotated[int, typer.Option(min=1, help="Token limit of an answer.")] = 128,
    seed: Annotated[int, typer.Option(help="Of draws and random streams.")] = 0,
    out: Annotated[Path, typer.Option(help="Folder of flip-rate.json and of the answers so far.")] = Path(
        "runs/flip-rate"
    ),
    form: Annotated[Format, typer.Option("--format", help="Output format.")] = Format.table,
    dtype: Annotated[Precision | None, typer.Option(help="Of the weights; default: by hardware.")] = None,
    device: Annotated[str | None, typer.Option(help="Torch device; default: by hardware.")] = None,
    revision: Annotated[str | None, typer.Option(help="Revision of a hub id.")] = None,
    trust_remote_code: Annotated[bool, typer.Option(help="Run model code that comes with the weights.")] = False,
) -> None:
    """Rank contexts for a teacher by its flip rate, without training.

    The base model answers each prompt with and without each context. The flip rate is the share of its wrong answers
    (compliance with a harmful prompt, refusal of a benign one; the offline refusal judge decides) that the context
    turns right. A context the teacher does not obey cannot be distilled. Candidates may be short instructions (OPSA)
    or constitutions (COPSD).

    Prints a table a class of prompts, and writes flip-rate.json (numbers and ids, no texts). Stopped or killed, the
    same command continues.

    Examples: `copsd-train flip-rate --model my/model --limit 60`;
    `copsd-train flip-rate --contexts default --contexts category --contexts my-constitution.yaml`.

    Use the first: `copsd-train run opsa --set distill.teacher.instructions.safety=decline-firm`.
    """
    from copsd_train.candidates import find_candidates
    from copsd_train.corpora.prompts import CorpusConfig
    from copsd_train.flip_rate import FlipSettings, prompts_by_class

    candidates = find_candidates(contexts)
    rows = prompts_by_class(CorpusConfig(prompts=prompts, seed=seed), limit)
    settings = FlipSettings(samples, temperature, max_tokens, seed)

    from datetime import UTC, datetime

    from copsd_bench.commands._show import show
    from copsd_bench.engine.protocol import View
    from copsd_bench.engine.transformers_engine import TransformersEngine
    from copsd_bench.models.dtype import checked_device, default_device, default_dtype
    from copsd_bench.models.resolve import resolve_model
    from copsd_bench.records.environment import environment
    from copsd_bench.records.paths import published
    from copsd_bench.records.schema import ModelInfo
    from copsd_bench.records.store import write_text
    from copsd_train.corpora.answers import EngineAnswerer, Ledger
    from copsd_train.flip_rate import FlipReport, judge_id, measure
    from copsd_train.flip_table import flip_parts

    base = resolve_model(model, revision=revision, trust_remote_code=trust_remote_code)
    where = checked_device(device or default_device())
    precision = dtype.value if dtype else default_dtype(where)
    engine = TransformersEngine(base.path, {}, precision, where, None, trust_remote_code, packed=True)
    answerer = EngineAnswerer(engine, View(), Ledger(out / "answers.work"), f"{base.identity}:{precision}")
    report = FlipReport(
        created=datetime.now(UTC),
        command=["copsd-train", *map(published, sys.argv[1:])],
        model=ModelInfo(
            name=published(model),
            weights_digest=base.weights_digest,
            template_digest=base.template_digest,
            dtype=precision,
            device=where,
        ),
        judge=judge_id(),
        samples=samples,
        temperature=settings.sampling.temperature,
        max_tokens=max_tokens,
        seed=seed,
        classes=measure(candidates, rows, answerer, settings),
        environment=environment(),
    )
    write_text(out / "flip-rate.json", report.model_dump_json(indent=1) + "\n")
    show(flip_parts(report), form, None)
    print(f"Numbers: {out / 'flip-rate.json'}")
