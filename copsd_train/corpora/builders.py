"""The builder of each kind of corpus."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from copsd_bench.engine.protocol import Engine, View
from copsd_train.corpora.critique import CritiqueConfig, build_critique
from copsd_train.corpora.cross_sft import CrossSftConfig, build_cross_sft
from copsd_train.corpora.prompts import CorpusConfig
from copsd_train.corpora.reframing import ReframingConfig, build_reframing

BUILDERS: dict[type[CorpusConfig], Callable[[Any, Engine, Path, View, str], Path]] = {
    CrossSftConfig: build_cross_sft,
    CritiqueConfig: build_critique,
    ReframingConfig: build_reframing,
}
"""config, base model, file to write, view of the base model, its identity -> the file written; each resumes."""
