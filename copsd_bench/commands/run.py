"""`copsd-bench run`: evaluate a model."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

_WHAT, _MODEL, _HOW, _OUT = "What to run", "Model", "Generation", "Output"


def run(
    config: Annotated[
        Path | None, typer.Option(help="YAML file with these options as keys; the command line wins.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="`smollm2-135m` (built in, the default), a local folder, a hub id, or an Inspect model "
            "(`openai/...`). Write `copsd/OWNER/NAME` for a hub id whose owner is also a provider.",
            rich_help_panel=_MODEL,
        ),
    ] = None,
    base_url: Annotated[
        str | None,
        typer.Option(
            help="OpenAI-compatible server that serves `--model`, e.g. `http://localhost:8000/v1`; its key, if it "
            "wants one, in COPSD_SERVER_API_KEY.",
            rich_help_panel=_MODEL,
        ),
    ] = None,
    max_connections: Annotated[
        int | None,
        typer.Option(help="Requests in flight at a server (default 64) or an API.", rich_help_panel=_MODEL),
    ] = None,
    adapter: Annotated[
        Path | None, typer.Option(help="PEFT adapter folder of this model.", rich_help_panel=_MODEL)
    ] = None,
    revision: Annotated[
        str | None, typer.Option(help="Commit, tag or branch of a hub id.", rich_help_panel=_MODEL)
    ] = None,
    engine: Annotated[
        str | None, typer.Option(help="`transformers` (default) or `vllm`.", rich_help_panel=_MODEL)
    ] = None,
    engine_arg: Annotated[
        list[str] | None,
        typer.Option(
            help="Further vLLM argument, NAME=VALUE, e.g. `tensor_parallel_size=2`; may be repeated.",
            rich_help_panel=_MODEL,
        ),
    ] = None,
    dtype: Annotated[
        str | None,
        typer.Option(
            help="`bfloat16`, `float16`, `float32`; default: what the hardware does well.", rich_help_panel=_MODEL
        ),
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="Torch device; default: by hardware.", rich_help_panel=_MODEL)
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Rows decoded together; default: by hardware.", rich_help_panel=_MODEL)
    ] = None,
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Run code that comes with the weights.", rich_help_panel=_MODEL)
    ] = False,
    suite: Annotated[
        str | None,
        typer.Option(
            help="Named list of tasks (`copsd-bench list`); `mini` if nothing is named.", rich_help_panel=_WHAT
        ),
    ] = None,
    task: Annotated[
        list[str] | None, typer.Option(help="A task (`copsd-bench list`); may be repeated.", rich_help_panel=_WHAT)
    ] = None,
    prompts: Annotated[
        Path | None,
        typer.Option(
            help="Your prompts, csv or jsonl: `prompt`, optional `label` (harmful / benign). With `--suite collapse` "
            "they take the place of its own.",
            rich_help_panel=_WHAT,
        ),
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(
            help="What `--suite collapse` measures against, and the win rates of `--suite copsd`: `base` (no adapter, "
            "no constitution), `self` (another seed), `constitution:NAME`, or a model.",
            rich_help_panel=_WHAT,
        ),
    ] = None,
    rollouts: Annotated[
        int | None,
        typer.Option(help="Answers of each side to a prompt (`--suite collapse`; default 4).", rich_help_panel=_WHAT),
    ] = None,
    embedding_model: Annotated[
        str | None,
        typer.Option(help="Encoder for distances between rollouts (`diversity_collapse`).", rich_help_panel=_WHAT),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(help="Items of each task, balanced over its classes.", rich_help_panel=_WHAT)
    ] = None,
    constitution: Annotated[
        str | None,
        typer.Option(
            help="Context the model sees: `none` (default, the honest setting for a trained model), a name "
            "(`copsd-bench list`), a YAML file, or `category` (the one of each prompt's category).",
            rich_help_panel=_HOW,
        ),
    ] = None,
    placement: Annotated[
        str | None,
        typer.Option(
            help="Constitution in the `user` turn or the `system` message; default: its own.", rich_help_panel=_HOW
        ),
    ] = None,
    respond: Annotated[
        str | None,
        typer.Option(
            help="`direct`, or by reframing as SHARD: `rewrite` (answer the model's own rewrite of the prompt), "
            "`rewrite-refine` (refine a direct answer with it); `@general` or `@none` after it: with fewer guidelines.",
            rich_help_panel=_HOW,
        ),
    ] = None,
    judge: Annotated[
        str | None,
        typer.Option(
            help="`refusal` (offline, the default); a model that grades by each task's rubric (`openai/...`, "
            "`copsd/...`); or `FORMAT:MODEL`, e.g. `llama-guard-3:copsd/meta-llama/Llama-Guard-3-8B`. Several, joined "
            "by commas, are compared (Krippendorff's alpha).",
            rich_help_panel=_HOW,
        ),
    ] = None,
    profile: Annotated[
        str | None,
        typer.Option(
            help="How `--suite copsd` asks and scores: `copsd` (the paper's code, the default) or `official` (the "
            "benchmarks' authors).",
            rich_help_panel=_HOW,
        ),
    ] = None,
    judge_later: Annotated[
        bool,
        typer.Option(
            "--judge-later",
            help="Generate everything, give the tested model's memory back, then judge: one model in memory at a time.",
            rich_help_panel=_HOW,
        ),
    ] = False,
    attack: Annotated[
        str | None,
        typer.Option(
            help="Change harmful requests: `prefill`, `persona`, a text file of templates with `{prompt}` (separated "
            "by lines of `---`), or a jsonl of `id` and `prompt` (translations).",
            rich_help_panel=_HOW,
        ),
    ] = None,
    unsafe_local_exec: Annotated[
        bool,
        typer.Option(
            "--unsafe-local-exec",
            help="Run code the model wrote on this machine, as you, where a task needs it: limits on time, memory and "
            "output, but no isolation.",
            rich_help_panel=_HOW,
        ),
    ] = False,
    seed: Annotated[
        int | None, typer.Option(help="Seed of the samples' random streams; default 0.", rich_help_panel=_HOW)
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Answers to each item; default 1.", rich_help_panel=_HOW)] = None,
    max_tokens: Annotated[
        int | None, typer.Option(help="Token limit of an answer; default: the task's.", rich_help_panel=_HOW)
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(help="0 is greedy; default: the task's.", rich_help_panel=_HOW)
    ] = None,
    top_p: Annotated[float | None, typer.Option(help="Nucleus mass; default 1.", rich_help_panel=_HOW)] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of records and logs; default `runs`.", rich_help_panel=_OUT)
    ] = None,
    display: Annotated[
        str | None, typer.Option(help="Progress: `rich`, `full`, `plain`, `none`.", rich_help_panel=_OUT)
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Check everything and print the plan, generate nothing. For tasks with images it begins with what "
            "they need, also where their data is not here yet: data sets, judges, memory and time.",
            rich_help_panel=_OUT,
        ),
    ] = False,
    hardware: Annotated[
        str,
        typer.Option(
            help="What --dry-run computes memory and time for: `a100`, `h100` or `h200`.", rich_help_panel=_OUT
        ),
    ] = "a100",
) -> None:
    """Evaluate a model: scores, and the collapse panel beside every score.

    Writes one JSON record (ids and numbers, no texts) and Inspect's logs below `--out`. Stopped or killed, the same
    command continues: no logged sample is generated again.

    Examples: `copsd-bench run` runs the offline suite on the built-in model;
    `copsd-bench run --model my/model --task xstest --limit 100 --constitution default`;
    `copsd-bench run --model my/model --base-url http://localhost:8000/v1`;
    `copsd-bench run --suite collapse --model my/model --adapter my-adapter --reference base`.
    """
    given: dict[str, Any] = {
        k: v for k, v in locals().items() if k not in ("config", "dry_run", "hardware", "engine_arg")
    }
    given["trust_remote_code"] = trust_remote_code or None
    given["judge_later"] = judge_later or None
    given["unsafe_local_exec"] = unsafe_local_exec or None
    from rich.console import Console

    from copsd_bench.config import parse_pairs, run_config

    given["engine_args"] = parse_pairs("--engine-arg", engine_arg or [])
    settings = run_config(config, given)
    if settings.display is None:
        settings.display = "rich" if sys.stdout.isatty() else "plain"
    from copsd_bench.run import execute, kept_answers, plan

    console = Console()
    if dry_run:
        from copsd_bench.records.needs_table import print_needs
        from copsd_bench.suites import tasks_of

        print_needs(settings, tasks_of(settings.suite, settings.task), hardware, console)
    planned = plan(settings)
    if dry_run:
        from copsd_bench.records.plan_table import print_plan

        print_plan(planned, console)
        return
    from copsd_bench.records.table import print_results, times

    if kept := kept_answers(planned):
        console.print(kept, style="yellow", soft_wrap=True)
    record = execute(planned, ["copsd-bench", *_public(sys.argv[1:], settings.base_url)])
    print_results(record, console)
    console.print(times(record), highlight=False)
    console.print(f"Record: {planned.record_path}\nLogs:   copsd-bench view {planned.log_dir}", soft_wrap=True)


def _public(arguments: list[str], base_url: str | None) -> list[str]:
    """The command as a record may show it: of a server's address only the host, as a path can hold a token."""
    if base_url is None:
        return arguments
    from copsd_bench.models.remote import server_host

    return [argument.replace(base_url, server_host(base_url)) for argument in arguments]
