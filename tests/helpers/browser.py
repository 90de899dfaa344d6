"""A headless Chromium, driven over the WebDriver protocol (W3C) with the standard library.

`python -m tests.helpers.browser page.html FOLDER` writes pictures of a page to look at: on a phone
and on a desktop, light and dark, and printed.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which(os.environ.get("SPIKEPORT_CHROMIUM", "chromium"))
"""SPIKEPORT_CHROMIUM names another one."""
DRIVER = shutil.which(os.environ.get("SPIKEPORT_CHROMEDRIVER", "chromedriver"))
MISSING = "" if CHROMIUM and DRIVER else "chromium or chromedriver is not installed"
ARGUMENTS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--hide-scrollbars", "--disable-dev-shm-usage"),
)
WAIT_S = 60
MARGIN = 8
"""CSS pixels around a part of a page."""


class Browser:
    """A session of a browser.

    Args:
        url: of the session at its driver.
    """

    def __init__(self, url: str) -> None:
        self._url = url

    def screen(self, width: int, height: int, *, dark: bool = False, medium: str = "") -> None:
        """Show pages on a screen of this size in CSS pixels; `medium` is "print" for paper."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.devtools("Emulation.setDeviceMetricsOverride", metrics)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.devtools("Emulation.setEmulatedMedia", {"media": medium, "features": [scheme]})

    def settle(self) -> None:
        """Leave the page that the browser starts with, and forget what it requested."""
        _call(f"{self._url}/url", {"url": "about:blank"})
        self.requests()
        self.console()

    def open(self, page: Path) -> None:
        """Load a page from a file."""
        _call(f"{self._url}/url", {"url": page.resolve().as_uri()})

    def evaluate(self, script: str) -> Any:
        """The value that the body of a function returns in the page."""
        return _call(f"{self._url}/execute/sync", {"script": script, "args": []})

    def devtools(self, method: str, parameters: Mapping[str, Any]) -> Any:
        """Call a method of the DevTools protocol."""
        command = {"cmd": method, "params": dict(parameters)}
        return _call(f"{self._url}/goog/cdp/execute", command)

    def console(self) -> list[str]:
        """What the console said since the last call, at any level."""
        return [entry["message"] for entry in _call(f"{self._url}/se/log", {"type": "browser"})]

    def requests(self) -> list[str]:
        """The addresses that were requested since the last call."""
        found = _call(f"{self._url}/se/log", {"type": "performance"})
        events = [json.loads(entry["message"])["message"] for entry in found]
        sent = [e for e in events if e["method"] == "Network.requestWillBeSent"]
        return [event["params"]["request"]["url"] for event in sent]

    def picture(self, path: Path, *parts: str) -> None:
        """Write the whole page as PNG, or the box around the first match of each CSS selector."""
        box = self.evaluate(
            "const e = document.documentElement;"
            f"const found = {json.dumps(parts)}.map((part) => document.querySelector(part));"
            "if (!found.length) return [0, 0, e.clientWidth, e.scrollHeight];"
            "const boxes = found.map((one) => one.getBoundingClientRect());"
            "const ends = (f, side) => f(...boxes.map((b) => b[side]));"
            "const [left, top] = [ends(Math.min, 'left'), ends(Math.min, 'top')];"
            "const [right, low] = [ends(Math.max, 'right'), ends(Math.max, 'bottom')];"
            f"const [x, y] = [left + scrollX - {MARGIN}, top + scrollY - {MARGIN}];"
            f"return [x, y, right - left + {2 * MARGIN}, low - top + {2 * MARGIN}]"
        )
        area = {**dict(zip(("x", "y", "width", "height"), box, strict=True)), "scale": 1}
        options = {"format": "png", "captureBeyondViewport": True, "clip": area}
        found = self.devtools("Page.captureScreenshot", options)
        path.write_bytes(base64.b64decode(found["data"]))

    def pdf(self, path: Path) -> None:
        """Print the page to a file."""
        found = self.devtools("Page.printToPDF", {"printBackground": True})
        path.write_bytes(base64.b64decode(found["data"]))


@contextmanager
def browser() -> Iterator[Browser]:
    """A browser with a new, empty profile that ends with the context."""
    assert CHROMIUM is not None
    assert DRIVER is not None
    with tempfile.TemporaryDirectory(prefix="spikeport-browser-") as profile:
        driver = subprocess.Popen(
            [DRIVER, "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        try:
            base = f"http://127.0.0.1:{_port(driver)}"
            options = {
                "browserName": "chrome",
                "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
                "goog:chromeOptions": {
                    "binary": CHROMIUM,
                    "args": [*ARGUMENTS, f"--user-data-dir={profile}"],
                },
            }
            started = _call(f"{base}/session", {"capabilities": {"alwaysMatch": options}})
            session = f"{base}/session/{started['sessionId']}"
            try:
                made = Browser(session)
                made.settle()
                yield made
            finally:
                _call(session, None, method="DELETE")
        finally:
            driver.terminate()
            driver.communicate(timeout=WAIT_S)


def _port(driver: subprocess.Popen[str]) -> int:
    """The port that the driver chose, which it prints."""
    assert driver.stdout is not None
    for line in driver.stdout:
        if "successfully on port" in line:
            return int(line.rstrip(".\n").rpartition(" ")[2])
    raise AssertionError("chromedriver ended without naming its port")


def _call(url: str, data: Mapping[str, Any] | None, method: str = "POST") -> Any:
    body = None if data is None else json.dumps(data).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"}, method=method)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=WAIT_S) as answer:
        return json.load(answer)["value"]


def main(page: Path, folder: Path) -> None:
    """Write pictures of `page` to `folder`."""
    with browser() as shown:
        for name, width, height in (("phone", 390, 844), ("desktop", 1280, 800)):
            for dark in (False, True):
                shown.screen(width, height, dark=dark)
                shown.open(page)
                shown.picture(folder / f"{name}-{'dark' if dark else 'light'}.png")
        shown.pdf(folder / "printed.pdf")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
