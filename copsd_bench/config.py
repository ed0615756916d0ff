"""The settings of a run: pydantic schema, YAML file, command-line override. Unknown keys are errors."""

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from copsd_bench.errors import CopsdError, unknown_name
from copsd_bench.yaml_file import read_mapping


class RunConfig(BaseModel):
    """Everything `copsd-bench run` takes, by the names of its options.

    Attributes:
        model: built-in name, local folder, hub id, `copsd/<hub id>`, or a model of an Inspect provider (`openai/...`).
        base_url: OpenAI-compatible server that serves `model`.
        max_connections: requests in flight at a server or an API; None chooses.
        adapter: PEFT folder on a local model.
        revision: hub revision.
        engine: `transformers` or `vllm`.
        engine_args: further arguments of the vLLM engine by name.
        dtype, device: empty chooses by hardware.
        batch_size: rows decoded together; 0 chooses by device.
        trust_remote_code: run model code that comes with the weights.
        suite, task, prompts: what to run; nothing means the suite `mini`. With tasks of the suite `collapse`, `prompts`
            takes the place of their own.
        reference, rollouts: what the suite `collapse` measures against (and the win rates of the suite `copsd`), and
            answers of each side to a prompt.
        embedding_model: encoder whose distances `diversity_collapse` adds.
        limit: items of each task, balanced over its strata.
        constitution, placement: context the model sees, and where.
        respond: `direct`, or by reframing: `rewrite`, `rewrite-refine` (see `benchmarks/reframe.py`).
        judge: offline judge by name, an Inspect model as grader, or `FORMAT:MODEL`.
        judge_later: judge when everything is generated and the tested model has given its memory back.
        attack: how harmful requests are changed: `prefill`, `persona`, or a file of templates or of changed requests.
        profile: how the suite `copsd` asks and scores: as the paper's code, or as the benchmarks' authors.
        unsafe_local_exec: run the model's code on this machine where a task needs it and there is no sandbox.
        seed, epochs: random streams, answers per item.
        max_tokens, temperature, top_p: override the tasks' own.
        out: folder of records and logs.
        display: Inspect's progress display.
    """

    model_config = ConfigDict(extra="forbid")

    @field_validator("*", mode="before")
    @classmethod
    def _no_number(cls, value: Any, field: ValidationInfo) -> Any:
        """YAML's `yes` is no number 1."""
        if isinstance(value, bool) and cls.model_fields[str(field.field_name)].annotation is not bool:
            raise ValueError("it takes no yes or no")
        return value

    model: str = "smollm2-135m"
    base_url: str | None = None
    max_connections: int | None = Field(default=None, ge=1)
    adapter: Path | None = None
    revision: str | None = None
    engine: Literal["transformers", "vllm"] = "transformers"
    engine_args: dict[str, Any] = {}
    dtype: Literal["", "bfloat16", "float16", "float32"] = ""
    device: str = ""
    batch_size: int = Field(default=0, ge=0)
    trust_remote_code: bool = False
    suite: str | None = None
    task: list[str] = []
    prompts: Path | None = None
    reference: str | None = None
    rollouts: int | None = Field(default=None, ge=1)
    embedding_model: str | None = None
    limit: int | None = Field(default=None, ge=1)
    constitution: str = "none"
    placement: Literal["user", "system"] | None = None
    respond: str = "direct"
    judge: str | None = None
    judge_later: bool = False
    attack: str | None = None
    profile: Literal["copsd", "official"] | None = None
    unsafe_local_exec: bool = False
    seed: int = 0
    epochs: int = Field(default=1, ge=1)
    max_tokens: int | None = Field(default=None, ge=1)
    temperature: float | None = Field(default=None, ge=0)
    top_p: float | None = Field(default=None, gt=0, le=1)
    out: Path = Path("runs")
    display: Literal["full", "conversation", "rich", "plain", "log", "none"] | None = None


def run_config(file: Path | None, overrides: dict[str, Any]) -> RunConfig:
    """Settings from a YAML file with command-line values on top.

    Args:
        file: YAML with keys of `RunConfig`, or None.
        overrides: values given on the command line; None and empty lists are not given.

    Raises:
        CopsdError: unreadable YAML, unknown key (with the nearest one), or a value out of range (which, and why).
    """
    given = read_mapping(file, "Config", "suite: mini") if file is not None else {}
    settings = {key.replace("-", "_"): value for key, value in given.items()}
    if isinstance(settings.get("task"), str):
        settings["task"] = [settings["task"]]
    settings |= {key: value for key, value in overrides.items() if value is not None and value not in ([], {})}
    for key in settings:
        if key not in RunConfig.model_fields:
            raise unknown_name(f"setting in {file}", key, RunConfig.model_fields)
    try:
        return RunConfig.model_validate(settings)
    except ValidationError as error:
        first = error.errors()[0]
        key = str(first["loc"][0])
        option = "--" + key.replace("_", "-")
        raise CopsdError(
            f"{option} {first['input']!r} is not valid: {first['msg'].lower().removeprefix('value error, ')}."
        ) from error


def parse_pairs(option: str, pairs: list[str]) -> dict[str, Any]:
    """`NAME=VALUE` options as a dictionary; values are read as YAML (`2` is a number, `true` a boolean).

    Raises:
        CopsdError: a pair without `=`, or a value that is not YAML.
    """
    parsed = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise CopsdError(f"{option} takes NAME=VALUE, not {pair!r}.")
        try:
            parsed[name.replace("-", "_")] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise CopsdError(f"{option} {pair!r}: the value is not valid YAML; put it in quotes.") from error
    return parsed
