"""The page at `/` in headless Chromium: a conversation of three turns, stop, reload, keyboard, phone, dark.

    page_test.py VIGIL [--screenshot FILE]     FILE: where a picture of the conversation goes, as PNG

Talks to the browser over its DevTools pipe, so that nothing but Python and Chromium is needed.
"""
import argparse
import base64
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from serving import Serving, skip

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
PATIENCE_S = 120


class Browser:
    """One page of a headless browser."""

    def __init__(self, program, folder):
        command_read, self.to_browser = os.pipe()
        self.from_browser, event_write = os.pipe()

        def pipes_as_three_and_four():
            os.dup2(command_read, 13)
            os.dup2(event_write, 14)
            os.dup2(13, 3)
            os.dup2(14, 4)

        self.process = subprocess.Popen(
            [program, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
             f"--user-data-dir={folder}", "--remote-debugging-pipe", "about:blank"],
            preexec_fn=pipes_as_three_and_four, close_fds=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(command_read)
        os.close(event_write)
        self.ids = itertools.count(1)
        self.received = b""
        self.events = []
        self.session = None
        page = next(t for t in self.call("Target.getTargets")["targetInfos"] if t["type"] == "page")
        self.session = self.call("Target.attachToTarget", targetId=page["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(domain + ".enable")

    def close(self):
        self.process.terminate()
        self.process.wait(timeout=30)

    def receive(self):
        while b"\0" not in self.received:
            piece = os.read(self.from_browser, 1 << 16)
            if not piece:
                raise RuntimeError("the browser has ended")
            self.received += piece
        message, self.received = self.received.split(b"\0", 1)
        return json.loads(message)

    def call(self, method, **parameters):
        number = next(self.ids)
        message = {"id": number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.to_browser, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.receive()
            if answer.get("id") == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]
            self.events.append(answer)

    def value(self, expression):
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise RuntimeError(f"{expression}: {result['exceptionDetails']}")
        return result["result"].get("value")

    def await_true(self, expression):
        give_up = time.monotonic() + PATIENCE_S
        while not self.value(expression):
            if time.monotonic() > give_up:
                raise AssertionError(f"never came true: {expression}")
            time.sleep(0.05)

    def key(self, key, code, text="", modifiers=0):
        common = {"key": key, "windowsVirtualKeyCode": code, "modifiers": modifiers}
        self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **common)
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def type(self, text):
        self.call("Input.insertText", text=text)

    def open(self, url):
        self.call("Page.navigate", url=url)
        self.await_true(f"document.readyState === 'complete' && location.href.startsWith({json.dumps(url)})")

    def complaints(self):
        """What the console and the content security policy had to say."""
        texts = []
        for event in self.events:
            entry = event.get("params", {}).get("entry", {})
            if event.get("method") == "Log.entryAdded" and entry["level"] in ("warning", "error"):
                texts.append(entry["text"])
            if event.get("method") == "Runtime.exceptionThrown":
                texts.append(json.dumps(event["params"]["exceptionDetails"]))
        return texts

    def requested_urls(self):
        return [e["params"]["request"]["url"] for e in self.events if e.get("method") == "Network.requestWillBeSent"]


ROLES = "[...document.querySelectorAll('.message')].map((m) => m.classList.contains('user') ? 'user' : 'assistant')"
TEXTS = "[...document.querySelectorAll('.message .body')].map((b) => b.textContent)"
IDLE = "document.getElementById('send').textContent === 'Send'"
BUSY = "document.getElementById('send').textContent === 'Stop'"


def check(condition, what):
    if not condition:
        raise AssertionError(what)
    print("ok:", what)


def set_field(browser, name, value):
    browser.value(f"(() => {{ const f = document.getElementById('{name}'); f.value = '{value}'; "
                  "f.dispatchEvent(new Event('input')); })()")


def say(browser, text):
    """Types and sends with Enter, as the keyboard does."""
    browser.await_true("document.activeElement.id === 'draft'")
    browser.type(text)
    browser.key("Enter", 13, "\r")


def converse(browser, url):
    browser.open(url)
    browser.await_true("document.getElementById('model').textContent.startsWith('SmolLM2')")
    check(browser.value("document.getElementById('send').disabled"), "nothing to send yet")
    for name, value in (("max_tokens", 48), ("seed", 3), ("temperature", 0.4)):
        set_field(browser, name, value)

    questions = ("What is a lighthouse?", "Why is it tall?", "Thank you! Say goodbye.")
    for turn, question in enumerate(questions, 1):
        say(browser, question)
        browser.await_true(f"{ROLES}.length === {2 * turn} && {IDLE}")
    check(browser.value(ROLES) == ["user", "assistant"] * 3, "three turns of question and answer")
    texts = browser.value(TEXTS)
    check(all(text.strip() for text in texts), "no message is empty")
    check(tuple(texts[::2]) == questions, "the questions stand as they were typed")
    facts = browser.value("[...document.querySelectorAll('.facts')].map((f) => f.textContent)")
    reused = re.search(r"(\d+) of \d+ prompt tokens", facts[2])
    check(len(facts) == 3 and reused and int(reused[1]) > 0, f"the third turn reuses the first two: {facts[2]}")
    check(browser.value("parseFloat(document.getElementById('speed').textContent)") > 0, "the speed is shown")
    check(browser.value("(() => { const c = document.getElementById('plot'); const d = c.getContext('2d')"
                        ".getImageData(0, 0, c.width, c.height).data; return d.some((v) => v) })()"), "the plot is drawn")
    return texts


def multi_line_and_stop(browser):
    browser.type("one")
    browser.key("Enter", 13, "\r", modifiers=8)
    browser.type("two")
    check(browser.value("document.getElementById('draft').value") == "one\ntwo", "Shift+Enter begins a new line")
    browser.value("(() => { const d = document.getElementById('draft'); d.value = ''; })()")
    set_field(browser, "max_tokens", 900)
    say(browser, "Write a long story about the sea.")
    browser.await_true(f"{BUSY} && JSON.parse(localStorage.getItem('vigil.conversation')).messages.length === 7")
    browser.await_true("document.querySelector('.writing .body')?.textContent.length > 20")
    check(browser.value("document.getElementById('log').getAttribute('aria-busy')") == "true", "busy while writing")
    browser.key("Escape", 27)
    browser.await_true(IDLE)
    check("stopped" in browser.value("[...document.querySelectorAll('.facts')].pop().textContent"), "Esc stops the answer")
    check(browser.value("document.getElementById('status').textContent") == "The answer was stopped", "and says so")


def reload(browser, url):
    before = browser.value(TEXTS)
    browser.open(url + "/?again")
    check(browser.value(TEXTS) == before, "a reload keeps the conversation")
    check(browser.value("document.getElementById('temperature').value") == "0.4", "and the settings")


def narrow(browser):
    browser.call("Emulation.setDeviceMetricsOverride", width=360, height=740, deviceScaleFactor=2, mobile=True)
    check(browser.value("document.documentElement.scrollWidth <= innerWidth"), "a phone needs no sideways scrolling")
    browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    dark = browser.value("getComputedStyle(document.body).backgroundColor")
    browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "light"}])
    check(dark != browser.value("getComputedStyle(document.body).backgroundColor"), "dark and light differ")
    browser.call("Emulation.clearDeviceMetricsOverride")


def start_again(browser):
    browser.value("document.getElementById('new-chat').click()")
    browser.await_true("document.querySelectorAll('.message').length === 0")
    check(browser.value("JSON.parse(localStorage.getItem('vigil.conversation')).messages.length") == 0,
          "a new chat forgets the old one")


def screenshot(browser, path):
    browser.call("Emulation.setDeviceMetricsOverride", width=900, height=760, deviceScaleFactor=1.5, mobile=False)
    time.sleep(0.3)
    path.write_bytes(base64.b64decode(browser.call("Page.captureScreenshot", format="png")["data"]))
    browser.call("Emulation.clearDeviceMetricsOverride")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("vigil")
    parser.add_argument("--screenshot", type=Path)
    arguments = parser.parse_args()
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if not program:
        skip(f"none of {', '.join(BROWSERS)} is installed")
    with tempfile.TemporaryDirectory() as folder, Serving(arguments.vigil, "--ctx-size", "2048", "--quiet") as server:
        browser = Browser(program, folder)
        try:
            converse(browser, server.url)
            if arguments.screenshot:
                screenshot(browser, arguments.screenshot)
            multi_line_and_stop(browser)
            reload(browser, server.url)
            narrow(browser)
            start_again(browser)
            check(browser.complaints() == [], f"the console is quiet: {browser.complaints()}")
            foreign = [u for u in browser.requested_urls() if not u.startswith((server.url, "data:", "about:"))]
            check(foreign == [], f"nothing else is loaded: {foreign}")
        finally:
            browser.close()


if __name__ == "__main__":
    sys.exit(main())
