"""What Inspect finds through the entry point `copsd_bench`: the model provider and the tasks."""

from importlib import import_module
from pathlib import Path

from inspect_ai import task
from inspect_ai.model import ModelAPI, modelapi

from copsd_bench.benchmarks.bridge.task import lm_eval
from copsd_bench.benchmarks.prompts import prompts
from copsd_bench.task_table import TASKS

BENCHMARKS = {
    name: getattr(import_module(f"copsd_bench.benchmarks.{info.module}"), name) for name, info in TASKS.items()
} | {"prompts": prompts, "lm_eval": lm_eval}
globals().update(BENCHMARKS)


@modelapi(name="copsd")
def copsd() -> type[ModelAPI]:
    """Local models through this project's engines."""
    from copsd_bench.engine.provider import CopsdAPI

    return CopsdAPI


@modelapi(name="classifier")
def classifier() -> type[ModelAPI]:
    """Multi-label classifiers as judges."""
    from copsd_bench.engine.classifier import ClassifierAPI

    return ClassifierAPI


if "site-packages" not in Path(__file__).parts:
    # Inspect puts a package's name before its tasks when it finds a distribution of that name or the code below
    # site-packages; from a checkout (`pip install -e .`, distribution `copsd`) it finds neither.
    for name, benchmark in BENCHMARKS.items():
        task(name=f"copsd_bench/{name}")(benchmark)
