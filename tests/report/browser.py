"""Headless Chromium, driven through chromedriver's plain HTTP interface: no further package is needed."""

import base64
import contextlib
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

INSTALL = "This needs Chromium: apt-get install -y chromium chromium-driver"
ARGUMENTS = (
    "--headless",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)


def programs() -> tuple[str, str] | None:
    """Paths of Chromium and chromedriver, or None."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    driver = next(filter(None, map(shutil.which, ("chromedriver", "chromium.chromedriver"))), None)
    return (browser, driver) if browser and driver else None


class Page:
    """A page in the browser."""

    def __init__(self, session: str) -> None:
        self.session = session

    def call(self, path: str, **body: Any) -> Any:
        """One WebDriver command; `path` is behind the session."""
        answer = httpx.post(f"{self.session}/{path}", json=body, timeout=60).json()["value"]
        assert not (isinstance(answer, dict) and "error" in answer), answer
        return answer

    def devtools(self, command: str, **params: Any) -> Any:
        """One DevTools command."""
        return self.call("goog/cdp/execute", cmd=command, params=params)

    def show(self, file: Path, width: int, height: int = 1000, **media: str) -> None:
        """Open a file at a width in CSS pixels; `media` is emulated: `scheme="dark"`, `type="print"`."""
        phone = width < 600
        self.devtools(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone
        )
        scheme = [{"name": "prefers-color-scheme", "value": media.get("scheme", "light")}]
        self.devtools("Emulation.setEmulatedMedia", media=media.get("type", ""), features=scheme)
        self.call("url", url=file.resolve().as_uri())

    def run(self, script: str) -> Any:
        """The value a script returns."""
        return self.call("execute/sync", script=script, args=[])

    def log(self, kind: str) -> list[dict[str, Any]]:
        """What was logged since the last call: `browser` (console) or `performance` (network, among others)."""
        return list(self.call("se/log", type=kind))

    def requests(self) -> list[str]:
        """Addresses requested since the last call."""
        events = [json.loads(entry["message"])["message"] for entry in self.log("performance")]
        sent = [event["params"] for event in events if event["method"] == "Network.requestWillBeSent"]
        return [event["request"]["url"] for event in sent]

    def picture(self, file: Path, whole: bool = True, **clip: float) -> None:
        """A screenshot as PNG: of the whole page, or of a part (`x`, `y`, `width`, `height`, `scale`)."""
        options: dict[str, Any] = {"captureBeyondViewport": whole or bool(clip)}
        if clip:
            options["clip"] = {"x": 0, "y": 0, "scale": 1, **clip}
        elif whole:
            size = self.devtools("Page.getLayoutMetrics")["cssContentSize"]
            options["clip"] = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        file.write_bytes(base64.b64decode(self.devtools("Page.captureScreenshot", format="png", **options)["data"]))


@contextlib.contextmanager
def chromium() -> Iterator[Page]:
    """A fresh browser with an empty profile; it ends with the block."""
    found = programs()
    assert found is not None, INSTALL
    browser, driver = found
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # Chromium refuses its sandbox to root.
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        server = subprocess.Popen([driver, f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            address = f"http://127.0.0.1:{port}"
            _wait(f"{address}/status")
            wanted = {
                "goog:chromeOptions": {
                    "binary": browser,
                    "args": [*ARGUMENTS, *sandbox, f"--user-data-dir={profile}"],
                },
                "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
            }
            made = httpx.post(f"{address}/session", json={"capabilities": {"alwaysMatch": wanted}}, timeout=60)
            session = f"{address}/session/{made.json()['value']['sessionId']}"
            try:
                yield Page(session)
            finally:
                httpx.delete(session, timeout=60)
        finally:
            server.terminate()
            server.wait()


def _wait(address: str, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while True:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(address, timeout=2).json()["value"]["ready"]:
                return
        assert time.monotonic() < end, f"chromedriver did not start within {seconds} s"
        time.sleep(0.1)
