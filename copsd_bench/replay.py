"""Score answers that exist already: a solver that recalls instead of generating, and the plan of such a run."""

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from inspect_ai.dataset import MemoryDataset
from inspect_ai.model import ChatCompletionChoice, ChatMessageAssistant, GenerateConfig, ModelOutput, ModelUsage
from inspect_ai.solver import Generate, Solver, TaskState, solver

from copsd_bench.benchmarks.answer import RECALLED
from copsd_bench.benchmarks.task import KEY
from copsd_bench.config import RunConfig
from copsd_bench.errors import CopsdError, ExitCode
from copsd_bench.judges.registry import judge_argument
from copsd_bench.judges.tables import format_of, read_rows
from copsd_bench.records.schema import ConstitutionInfo, ModelInfo
from copsd_bench.run import Plan, identity_of
from copsd_bench.suites import make_task, task_info, tasks_of
from copsd_bench.tested_model import check_judge, judge_digests

StopReason = Literal["stop", "max_tokens", "model_length", "unknown"]


@dataclass(frozen=True)
class Answer:
    """A recorded answer; the token count is None, the stop reason `unknown`, where the file is silent."""

    text: str
    output_tokens: int | None
    stop_reason: StopReason


@solver
def recall(answers: dict[str, Answer], ask: Solver) -> Solver:
    """Ask as the task does, and put the recorded answer of each sample, by sample id, where a model's would be.

    Args:
        answers: by sample id.
        ask: the task's own solver.
    """

    async def recalled(state: TaskState, *_: Any, **options: Any) -> TaskState:
        answer = answers[str(state.sample_id)]
        message = ChatMessageAssistant(content=answer.text)
        state.messages.append(message)
        tokens = answer.output_tokens
        state.output = ModelOutput(
            model=RECALLED,
            choices=[ChatCompletionChoice(message=message, stop_reason=answer.stop_reason)],
            usage=None if tokens is None else ModelUsage(output_tokens=tokens, total_tokens=tokens),
        )
        return state

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        return await ask(state, recalled)  # type: ignore[arg-type]

    return solve


def plan_responses(
    task: str,
    responses: Path,
    name: str,
    judge: str | None,
    out: Path,
    display: Any,
    unsafe_local_exec: bool = False,
) -> Plan:
    """A checked run that scores a file of answers.

    Args:
        task: name of the task the answers belong to.
        responses: jsonl with `id` or `input`, and `response`; optional `output_tokens`, `stop_reason`.
        name: who answered, for the record.
        judge: as in `run`.
        out: folder of records and logs.
        display: Inspect's progress display.
        unsafe_local_exec: as in `run`.

    Raises:
        CopsdError: unknown task, malformed file (which line), an id or input that the task does not have,
            an input that several samples have, a repeat.
    """
    tasks_of(None, [task])
    if task_info(task).reference:
        raise CopsdError(f"Task {task} compares rollouts of two models; recorded answers of one are not enough.")
    config = RunConfig(model=name, task=[task], judge=judge, out=out, display=display)
    check_judge(config, [task])
    built = make_task(task, judge_argument(judge), unsafe_local_exec)
    if (built.metadata or {})[KEY]["needs"]:
        raise CopsdError(f"Task {task} compares log-likelihoods; recorded texts cannot be scored on it.")
    asked: dict[str, list[str]] = defaultdict(list)
    for sample in built.dataset:
        asked[sample_input(sample)].append(str(sample.id))
    answers = read_responses(responses, asked, task)
    kept = [sample for sample in built.dataset if str(sample.id) in answers]
    total = len(built.dataset)
    built.dataset = MemoryDataset(kept, name=task)
    built.solver = recall(answers, built.solver)
    # How the answers were drawn is not known: the task's own token limit and temperature must not stand for it.
    built.config = GenerateConfig()
    digest = hashlib.sha256(responses.read_bytes()).hexdigest()
    model = ModelInfo(name=name, weights_digest=f"responses:{digest}", engine="responses")
    notes = [f"scored from a file with answers to {len(kept)} of {total} items"] if len(kept) < total else []
    judges, constitution = judge_digests(judge, model), ConstitutionInfo(mode="unknown")
    identity = identity_of(config, [built], model, constitution, judges=judges)
    return Plan(config, [built], model, constitution, None, identity, notes, judges=judges)


def sample_input(sample: Any) -> str:
    """The question of a sample as one text."""
    return sample.input if isinstance(sample.input, str) else "\n".join(message.text for message in sample.input)


def read_responses(path: Path, asked: Mapping[str, Sequence[str]], task: str) -> dict[str, Answer]:
    """Recorded answers by sample id.

    Args:
        path: a jsonl file.
        asked: ids of the samples that have an input, by that input.
        task: for messages.

    Raises:
        CopsdError: as `plan_responses`.
    """
    if format_of(path) != "jsonl":
        raise CopsdError(f"Responses file {path} must be .jsonl.", ExitCode.DATA)
    answers: dict[str, Answer] = {}
    known = {sample for ids in asked.values() for sample in ids}
    for number, row in read_rows(path, ("response",)):
        where = f"{path} line {number}"
        if not {"id", "input"} & set(row):
            raise CopsdError(f"{where} needs 'id' or 'input', to tell what was answered.", ExitCode.DATA)
        meant = [str(row["id"])] if "id" in row else asked.get(str(row["input"]), [""])
        if len(meant) > 1:
            which = f"{len(meant)} samples of task {task} have this input"
            raise CopsdError(f"{where}: {which}; say by 'id' which is meant ({', '.join(meant)}).", ExitCode.DATA)
        [sample] = meant
        if sample not in known:
            what = f"id {row['id']!r}" if "id" in row else "input"
            raise CopsdError(f"{where}: task {task} has no sample with this {what}.", ExitCode.DATA)
        if sample in answers:
            raise CopsdError(f"{where}: a second answer to sample {sample}; give one answer a sample.", ExitCode.DATA)
        answers[sample] = _answer(row, where)
    return answers


def _answer(row: dict[str, Any], where: str) -> Answer:
    tokens, reason = row.get("output_tokens"), row.get("stop_reason", "unknown")
    if tokens is not None and (not isinstance(tokens, int) or isinstance(tokens, bool) or tokens < 0):
        raise CopsdError(f"{where}: output_tokens {tokens!r} is not a count.", ExitCode.DATA)
    if reason not in get_args(StopReason):
        raise CopsdError(
            f"{where}: stop_reason {reason!r} is not one of {', '.join(get_args(StopReason))}.", ExitCode.DATA
        )
    return Answer(row["response"], tokens, reason)
