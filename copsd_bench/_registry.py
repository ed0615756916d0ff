"""What Inspect finds through the entry point `copsd_bench`: the model provider and the tasks."""

from inspect_ai.model import ModelAPI, modelapi

from copsd_bench.benchmarks.mini import mini
from copsd_bench.benchmarks.prompts import prompts
from copsd_bench.benchmarks.text.gsm8k import gsm8k
from copsd_bench.benchmarks.text.ifeval import ifeval
from copsd_bench.benchmarks.text.strongreject import strongreject
from copsd_bench.benchmarks.text.xstest import xstest

__all__ = ["copsd", "gsm8k", "ifeval", "mini", "prompts", "strongreject", "xstest"]


@modelapi(name="copsd")
def copsd() -> type[ModelAPI]:
    """Local models through this project's engines."""
    from copsd_bench.engine.provider import CopsdAPI

    return CopsdAPI
