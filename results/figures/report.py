"""Photograph the top of a report: `python results/figures/report.py RECORD... OUT.png`.

The page is what `copsd-bench report RECORD...` writes; Chromium takes the picture.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from shutil import which

from copsd_bench.errors import CopsdError
from copsd_bench.records.rules import load_rules
from copsd_bench.records.store import read_record
from copsd_bench.report.page import report

WIDTH, HEIGHT = 1440, 1500


def photograph(records: list[Path], out: Path) -> None:
    """Write the picture.

    Raises:
        CopsdError: a record cannot be read, or there is no Chromium.
    """
    browser = which("chromium") or which("chromium-browser") or which("google-chrome")
    if browser is None:
        raise CopsdError("The picture needs Chromium: apt-get install -y chromium.")
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "report.html"
        page.write_text(report([read_record(path) for path in records], [None] * len(records), load_rules()))
        options = [
            "--headless",
            "--disable-gpu",
            "--no-first-run",
            "--hide-scrollbars",
            "--force-device-scale-factor=1",
        ]
        options += ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium refuses its sandbox to root
        options += [f"--user-data-dir={folder}/profile", f"--window-size={WIDTH},{HEIGHT}", f"--screenshot={out}"]
        subprocess.run([browser, *options, page.as_uri()], check=True, capture_output=True, timeout=120)


if __name__ == "__main__":
    *given, target = (Path(argument) for argument in sys.argv[1:])
    photograph(given, target.resolve())
