"""Generations shared by the tasks of a run: Inspect's generation cache, in the run's own folder."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

VARIABLE = "INSPECT_CACHE_DIR"


@contextmanager
def generations_in(folder: Path) -> Iterator[None]:
    """Point Inspect's cache to a folder inside the block.

    A cache of its own for each run: the user's lasts longer than the weights behind a server's model name.
    """
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = str(folder.resolve())
    try:
        yield
    finally:
        if before is None:
            del os.environ[VARIABLE]
        else:
            os.environ[VARIABLE] = before
