"""A real browser over the DevTools protocol, through its pipes: pages are loaded, keys pressed, scripts asked, shots taken."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
# Where a browser must be (.ci/run says so) its absence is a failure.
REQUIRED = "STABLE_STRUCTURES_BROWSER" in os.environ
needs_browser = pytest.mark.skipif(BROWSER is None and not REQUIRED, reason="no Chromium here: apt-get install chromium")
QUIET = ["--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-quic"]
_KEYS = {"Enter": ("\r", 13), "Tab": ("", 9), " ": (" ", 32), "Escape": ("", 27), "ArrowDown": ("", 40)}


class Browser:
    """One page of a headless browser."""

    def __init__(self) -> None:
        assert BROWSER is not None, "no Chromium: .ci/run installs it (apt-get install chromium)"
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        to_it, self._out = os.pipe()
        self._in, from_it = os.pipe()
        words = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", *QUIET, f"--user-data-dir={self._profile.name}"]
        command = f'exec 3<&{to_it} 4>&{from_it}; exec "$@"'
        self._process = subprocess.Popen(
            ["/bin/bash", "-c", command, "bash", *words, "--remote-debugging-pipe", "about:blank"],
            pass_fds=(to_it, from_it),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_it)
        os.close(from_it)
        self._buffer, self._number, self._session = b"", 0, None
        self.errors: list[str] = []
        target = next(one for one in self.ask("Target.getTargets")["targetInfos"] if one["type"] == "page")
        self._session = self.ask("Target.attachToTarget", targetId=target["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": params} | ({"sessionId": self._session} if self._session else {})
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            got = self._receive()
            if got.get("id") == self._number:
                assert "error" not in got, got
                return got["result"]

    def _receive(self, patience: float = 60) -> dict[str, Any]:
        until = time.monotonic() + patience
        while b"\0" not in self._buffer:
            assert select.select([self._in], [], [], max(0, until - time.monotonic()))[0], "the browser does not answer"
            data = os.read(self._in, 1 << 20)
            assert data, "the browser has gone"
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\0")
        got = json.loads(line)
        if got.get("method") == "Runtime.exceptionThrown":
            self.errors.append(got["params"]["exceptionDetails"].get("exception", {}).get("description", "an exception"))
        if got.get("method") == "Log.entryAdded" and got["params"]["entry"]["level"] == "error":
            self.errors.append(got["params"]["entry"]["text"])
        return got

    def run(self, script: str) -> Any:
        got = self.ask("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in got, got["exceptionDetails"]
        return got["result"].get("value")

    def wait(self, script: str, patience: float = 30) -> Any:
        """Waits until a script gives something that is true."""
        until = time.monotonic() + patience
        while not (got := self.run(script)):
            assert time.monotonic() < until, f"never true: {script}\n{self.run('document.body.innerText')[:3000]}\n{self.errors}"
            time.sleep(0.05)
        return got

    def open(self, address: str) -> None:
        self.ask("Page.navigate", url=address)
        self.wait("document.readyState === 'complete'")

    def look(self, width: int, height: int, *, dark: bool = False) -> None:
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        features = [
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ]
        self.ask("Emulation.setEmulatedMedia", features=features)

    def press(self, key: str) -> None:
        text, code = _KEYS.get(key, (key, ord(key[0].upper())))
        common = {"key": key, "code": "Space" if key == " " else key, "windowsVirtualKeyCode": code}
        self.ask("Input.dispatchKeyEvent", type="keyDown", text=text, **common)
        self.ask("Input.dispatchKeyEvent", type="keyUp", **common)

    def type(self, text: str) -> None:
        self.ask("Input.insertText", text=text)

    def choose_file(self, selector: str, path: Path) -> None:
        root = self.ask("DOM.getDocument")["root"]["nodeId"]
        node = self.ask("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.ask("DOM.setFileInputFiles", nodeId=node, files=[str(path)])

    def shot(self, path: Path, *, whole: bool = False) -> Path:
        path.write_bytes(base64.b64decode(self.ask("Page.captureScreenshot", captureBeyondViewport=whole)["data"]))
        return path

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(20)
        os.close(self._out)
        os.close(self._in)
        self._profile.cleanup()
