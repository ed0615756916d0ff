"""What Inspect finds through the entry point `copsd_bench`: the model provider and the tasks."""

from pathlib import Path

from inspect_ai import task
from inspect_ai.model import ModelAPI, modelapi

from copsd_bench.benchmarks.collapse.copying import copying
from copsd_bench.benchmarks.collapse.diversity_collapse import diversity_collapse
from copsd_bench.benchmarks.collapse.kl_direction import kl_direction
from copsd_bench.benchmarks.collapse.leakage import leakage
from copsd_bench.benchmarks.collapse.length_collapse import length_collapse
from copsd_bench.benchmarks.collapse.pairwise_harmless import pairwise_harmless
from copsd_bench.benchmarks.collapse.pairwise_help import pairwise_help
from copsd_bench.benchmarks.collapse.refusal_collapse import refusal_collapse
from copsd_bench.benchmarks.mini import mini
from copsd_bench.benchmarks.prompts import prompts
from copsd_bench.benchmarks.text.gsm8k import gsm8k
from copsd_bench.benchmarks.text.ifeval import ifeval
from copsd_bench.benchmarks.text.strongreject import strongreject
from copsd_bench.benchmarks.text.xstest import xstest

BENCHMARKS = (
    copying,
    diversity_collapse,
    gsm8k,
    ifeval,
    kl_direction,
    leakage,
    length_collapse,
    mini,
    pairwise_harmless,
    pairwise_help,
    prompts,
    refusal_collapse,
    strongreject,
    xstest,
)
__all__ = ["BENCHMARKS", "copsd", *(benchmark.__name__ for benchmark in BENCHMARKS)]


@modelapi(name="copsd")
def copsd() -> type[ModelAPI]:
    """Local models through this project's engines."""
    from copsd_bench.engine.provider import CopsdAPI

    return CopsdAPI


if "site-packages" not in Path(__file__).parts:
    # Inspect puts a package's name before its tasks when it finds a distribution of that name or the code below
    # site-packages; from a checkout (`pip install -e .`, distribution `copsd`) it finds neither.
    for benchmark in BENCHMARKS:
        task(name=f"copsd_bench/{benchmark.__name__}")(benchmark)
