"""A headless Chromium that tests open pages in, by the DevTools protocol over a pipe."""

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import time

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
NONE = "no Chromium is installed"

HARMLESS = ("GPU stall due to ReadPixels",)
"""What a console without a graphics card says of WebGL."""

_START = (
    "import fcntl, os, sys\n"
    "ends = [fcntl.fcntl(int(one), fcntl.F_DUPFD, 10) for one in sys.argv[1:3]]\n"
    "for end, number in zip(ends, (3, 4)):\n"
    "    os.dup2(end, number)\n"
    "os.execv(sys.argv[3], sys.argv[3:])"
)
"""Chromium reads commands from descriptor 3 and writes to 4."""


def find():
    """Path of a Chromium, or None."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """A process of Chromium; a context manager."""

    def __init__(self, profile):
        words = ["--headless=new", "--no-sandbox", "--remote-debugging-pipe", "--no-first-run"]
        words += ["--enable-unsafe-swiftshader", "--disable-dev-shm-usage", "--hide-scrollbars"]
        words += [f"--user-data-dir={profile}", "about:blank"]
        theirs, self._to = os.pipe()
        self._from, ours = os.pipe()
        command = [sys.executable, "-S", "-c", _START, str(theirs), str(ours), find(), *words]
        self._process = subprocess.Popen(
            command, pass_fds=(theirs, ours), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        os.close(theirs)
        os.close(ours)
        self._rest, self._number = b"", 0
        self.events = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.terminate()
        self._process.wait(30)
        os.close(self._to)
        os.close(self._from)

    def call(self, method, session=None, **values):
        """Send a command and return its answer; events that come before it are kept."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": values}
        if session:
            message["sessionId"] = session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.message()
            if answer.get("id") == self._number:
                assert "error" not in answer, (method, answer)
                return answer["result"]

    def message(self, seconds=60):
        """The next message; events are kept."""
        while b"\0" not in self._rest:
            assert select.select([self._from], [], [], seconds)[0], "the browser is silent"
            part = os.read(self._from, 1 << 16)
            assert part, "the browser has ended"
            self._rest += part
        text, self._rest = self._rest.split(b"\0", 1)
        found = json.loads(text)
        if "method" in found:
            self.events.append(found)
        return found

    def page(self, width, height=900, dark=False):
        """A new page of a size, in pixels."""
        return Page(self, width, height, dark)


class Page:
    """One page, with all that its console said and that it asked for."""

    def __init__(self, browser, width, height, dark):
        self._browser = browser
        target = browser.call("Target.createTarget", url="about:blank")["targetId"]
        made = browser.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = made["sessionId"]
        for domain in ("Runtime", "Log", "Page", "Network"):
            self.call(f"{domain}.enable")
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 640}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def call(self, method, **values):
        """A command to the page."""
        return self._browser.call(method, self._session, **values)

    def open(self, path):
        """Load a file, and wait until it is there."""
        self.call("Page.navigate", url=f"file://{path}")
        while not any(one["method"] == "Page.loadEventFired" for one in self.events()):
            self._browser.message()

    def events(self):
        """All events of this page so far."""
        return [one for one in self._browser.events if one.get("sessionId") == self._session]

    def complaints(self):
        """What the console said, exceptions, dialogs, and what was asked of a network."""
        self.run("1")
        found = []
        for one in self.events():
            what, text = one["params"], json.dumps(one["params"])
            if one["method"] == "Network.requestWillBeSent":
                address = what["request"]["url"]
                found += [] if address.startswith(("file:", "data:", "blob:")) else [address]
            elif one["method"] in (
                "Runtime.consoleAPICalled",
                "Runtime.exceptionThrown",
                "Log.entryAdded",
                "Page.javascriptDialogOpening",
            ) and not any(each in text for each in HARMLESS):
                found.append(text)
        return found

    def run(self, script):
        """The value of an expression in the page; a promise is waited for."""
        found = self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in found, (script, found["exceptionDetails"])
        return found["result"].get("value")

    def until(self, script, seconds=20):
        """Wait until an expression is true."""
        end = time.monotonic() + seconds
        while not self.run(script):
            assert time.monotonic() < end, f"never true: {script}"
            time.sleep(0.02)

    def until_there(self, path, seconds=20):
        """Wait until a file is there."""
        end = time.monotonic() + seconds
        while not path.exists():
            assert time.monotonic() < end, f"never there: {path}"
            time.sleep(0.02)

    def click(self, element):
        """Click on the middle of an element, given as an expression; what covers it is clicked."""
        place = self.run(
            f"(() => {{ const one = {element}; one.scrollIntoView({{block: 'center'}});"
            "const {x, y, width, height} = one.getBoundingClientRect();"
            "return [x + width / 2, y + height / 2]; })()"
        )
        where = {"x": place[0], "y": place[1], "button": "left", "clickCount": 1}
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, **where)

    def press(self, key):
        """Press a key."""
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=27)

    def shot(self, path, whole=False):
        """A picture of what is seen, or of the whole page."""
        found = self.call("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(found["data"]))

    def pdf(self, path):
        """The page as it is printed."""
        found = self.call("Page.printToPDF", printBackground=True)
        path.write_bytes(base64.b64decode(found["data"]))
