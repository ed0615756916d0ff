"""The folder of a run: what was asked for, numbers, rollouts and checkpoints; killed at any moment, it resumes.

run.json          recipe, model and its digests, digests of files it names, versions, hardware, command
recipe.yaml       the resolved recipe, for people
metrics.jsonl     one line a step: {"stage", "step", ...}
samples.jsonl     rollouts with the signal of each token
tensorboard/      the same numbers
checkpoints/      STAGE-STEP/: adapter, optimiser; complete or not there (random numbers and data go by the step)
corpus/ teacher/ steering/ student/     what the stages leave; there once a stage is finished
sft/                          the student as sft left it, if another stage trains it further
preference/                   the pairs compared, and a sheet of examples
"""

import errno
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any, Self

import yaml
from filelock import FileLock, Timeout

from copsd_bench.cachedir import staging_dir
from copsd_bench.errors import CopsdError, ExitCode
from copsd_bench.models.resolve import ResolvedModel, resolve_model
from copsd_bench.records.store import write_text
from copsd_train.load_recipe import first_difference, validated
from copsd_train.recipe import Recipe
from copsd_train.run_files import file_digests, require_unchanged
from copsd_train.run_folder import FORMAT, RunFolder, read_info, read_lines

if TYPE_CHECKING:
    from copsd_train.optimiser import Updater
    from copsd_train.policy import Policy

DESCRIPTION = {"run.json", "recipe.yaml", ".lock"}
"""What a run folder holds before any work is done."""


class Run(RunFolder):
    """One run folder to train in. Use it as a context: only one process may train in it.

    Args:
        folder: of the run.
        recipe: resolved.
        base: the model trained.
    """

    def __init__(self, folder: Path, recipe: Recipe, base: ResolvedModel) -> None:
        super().__init__(folder, recipe)
        self.base = base
        self._lock = FileLock(folder / ".lock")
        self._boards: dict[str, Any] = {}

    @classmethod
    def start(cls, folder: Path, recipe: Recipe, base: ResolvedModel, command: list[str]) -> Self:
        """A new run; or the one in this folder, if it was asked for the same.

        Raises:
            CopsdError: the folder holds something else, or a run of another recipe or model (the first difference).
        """
        if (folder / "run.json").is_file() and not _begins_anew(folder, recipe, base):
            _require_same(folder, recipe, base)
            return cls(folder, recipe, base)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            held = {path.name for path in folder.iterdir()} - DESCRIPTION
        except OSError as error:
            raise CopsdError(
                f"--out {folder} cannot be a folder ({error.strerror}); choose another.", ExitCode.DISK
            ) from error
        if held:
            raise CopsdError(f"--out {folder} is not empty and holds no run; choose a new folder.")
        from copsd_bench.records.environment import environment

        info = {
            "format": FORMAT,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "command": command,
            "model": {
                "name": base.name,
                "revision": base.revision,
                "weights_digest": base.weights_digest,
                "tokenizer_digest": base.tokenizer_digest,
                "template_digest": base.template_digest,
                "trust_remote_code": base.trust_remote_code,
            },
            "environment": environment().model_dump(),
            "recipe": recipe.model_dump(mode="json"),
            "files": file_digests(recipe.model_dump(mode="json")),
        }
        write_text(
            folder / "recipe.yaml", yaml.safe_dump(recipe.model_dump(mode="json", exclude_none=True), sort_keys=False)
        )
        write_text(folder / "run.json", json.dumps(info, indent=2) + "\n")
        return cls(folder, recipe, base)

    @classmethod
    def open(cls, folder: Path) -> Self:
        """The run in a folder, to resume it.

        Raises:
            CopsdError: no run there, its recipe.yaml was changed since, or the model is not the same any more.
        """
        info = read_info(folder)
        recipe = validated(info["recipe"], str(folder / "run.json"))
        edited = _read_yaml(folder / "recipe.yaml")
        if (difference := first_difference(recipe.model_dump(mode="json", exclude_none=True), edited)) is not None:
            raise CopsdError(
                f"The recipe of {folder} was changed after the run began: {difference}; undo that, or start a new run "
                "with --out."
            )
        model = info["model"]
        base = resolve_model(model["name"], revision=model["revision"], trust_remote_code=model["trust_remote_code"])
        _require_same(folder, recipe, base)
        return cls(folder, recipe, base)

    def __enter__(self) -> Self:
        try:
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise CopsdError(f"Another process is training in {self.folder}; wait for it, or stop it.") from error
        return self

    def __exit__(self, *exc_info: object) -> None:
        for board in self._boards.values():
            board.close()
        self._lock.release()

    def check_files(self) -> None:
        """Refuse to go on if a file that the recipe names is not what it was; raises as `require_unchanged`."""
        now = file_digests(self.recipe.model_dump(mode="json"))
        require_unchanged(self.folder, read_info(self.folder).get("files", {}), now)

    def log(self, stage: str, step: int, metrics: Mapping[str, float]) -> None:
        """Append the numbers of a step to metrics.jsonl and TensorBoard."""
        self._append("metrics.jsonl", [{"stage": stage, "step": step, **metrics}])
        if stage not in self._boards:
            from torch.utils.tensorboard import SummaryWriter  # type: ignore[attr-defined]

            # What was shown beyond the checkpoint that a run resumes from is taken back.
            self._boards[stage] = SummaryWriter(str(self.folder / "tensorboard" / stage), purge_step=step)
        for name, value in metrics.items():
            self._boards[stage].add_scalar(name, value, step)

    def log_samples(self, rows: list[dict[str, Any]]) -> None:
        """Append rollouts to samples.jsonl."""
        self._append("samples.jsonl", rows)

    def save(self, stage: str, step: int, policy: "Policy", state: dict[str, Any]) -> None:
        """Save a checkpoint in one step, then remove all but the newest `checkpoints.keep`.

        Args:
            stage, step: where the run is.
            policy: what is trained.
            state: of its updater.

        Raises:
            CopsdError: the disk is full; earlier checkpoints stay.
        """
        import torch

        parent, name = self.folder / "checkpoints", f"{stage}-{step:06d}"
        with self.full_disk_explained(step), staging_dir(parent, name) as staging:
            policy.save(staging / "adapter")
            with (staging / "state.pt").open("wb") as file:
                torch.save({"updater": state}, file)
            shutil.rmtree(parent / name, ignore_errors=True)
            staging.rename(parent / name)
        for old in self.checkpoints(stage)[: -self.recipe.checkpoints.keep]:
            shutil.rmtree(old.folder)

    def restore(self, stage: str, updater: "Updater") -> int:
        """Bring the newest checkpoint of a stage back; the number of steps done.

        Raises:
            CopsdError: it is not what was saved.
        """
        import torch

        saved = self.checkpoints(stage)
        step = saved[-1].step if saved else 0
        if saved:
            file = saved[-1].folder / "state.pt"
            try:
                state = torch.load(file, map_location="cpu", weights_only=True)
            except (OSError, EOFError, RuntimeError, UnpicklingError) as error:
                raise CopsdError(
                    f"The checkpoint {file} cannot be read, it was altered; remove its folder to go on from the one "
                    "before.",
                    ExitCode.DATA,
                ) from error
            updater.restore(state["updater"])
        return step

    def rewind(self, stage: str, step: int) -> None:
        """Forget what a stage logged after a step."""
        for name in ("metrics.jsonl", "samples.jsonl"):
            rows = read_lines(self.folder / name)
            kept = [row for row in rows if row["stage"] != stage or row["step"] <= step]
            write_text(self.folder / name, "".join(json.dumps(row) + "\n" for row in kept))

    @contextmanager
    def full_disk_explained(self, step: int) -> Iterator[None]:
        """Turn a full disk into a sentence that says what is kept and how to go on."""
        try:
            yield
        except (OSError, RuntimeError) as error:
            # torch.save reports a failed write as a RuntimeError of its own.
            full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or "file write failed" in str(error)
            if not full:
                raise
            raise CopsdError(
                f"The disk of {self.folder} is full at step {step}; the last checkpoint is kept: free some space, then "
                f"copsd-train resume {self.folder}.",
                ExitCode.DISK,
            ) from error

    def _append(self, name: str, rows: list[dict[str, Any]]) -> None:
        step = int(rows[0]["step"]) if rows else 0
        with self.full_disk_explained(step), (self.folder / name).open("a", encoding="utf-8") as file:
            file.write("".join(json.dumps(row) + "\n" for row in rows))
            file.flush()


def _begins_anew(folder: Path, recipe: Recipe, base: ResolvedModel) -> bool:
    """Whether a run that failed before its first work, as by a mistyped path, is asked for again, corrected.

    Nothing is lost then, and the folder may be used.
    """
    if {path.name for path in folder.iterdir()} - DESCRIPTION:
        return False
    try:
        _require_same(folder, recipe, base)
        if read_info(folder).get("files") == file_digests(recipe.model_dump(mode="json")):
            return False
    except CopsdError:
        pass  # it is another one: that is the question
    try:
        with FileLock(folder / ".lock", timeout=0):
            return True
    except Timeout:  # another process is about to train in it
        return False


def _require_same(folder: Path, recipe: Recipe, base: ResolvedModel) -> None:
    info = read_info(folder)
    if (difference := first_difference(info["recipe"], recipe.model_dump(mode="json"))) is not None:
        raise CopsdError(
            f"{folder} holds a run of another recipe: {difference}; resume it as it was, or choose another --out."
        )
    if info["model"]["weights_digest"] != base.weights_digest:
        raise CopsdError(
            f"{folder} holds a run of {info['model']['name']} with other weights than {base.name} has now; choose "
            "another --out."
        )


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise CopsdError(f"{path} cannot be read ({str(error).splitlines()[0]}); restore it from run.json.") from error
    return value if isinstance(value, dict) else {}
