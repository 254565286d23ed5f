"""Chromium without a window, driven over the DevTools protocol."""

import asyncio
import json
import os
import shutil
import subprocess
import time

import aiohttp

from checks import Skipped, folder, holds


class Browser:
    """One tab of a browser without a window."""

    def __init__(self, *options):
        self.options = options
        self.loop = asyncio.new_event_loop()
        self.process = None
        self.http = None
        self.socket = None
        self.count = 0

    def start(self):
        """Starts the browser and opens the tab."""
        names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
        program = next((path for path in map(shutil.which, names) if path), None)
        if not program:
            raise Skipped("there is no Chromium")
        where = folder()
        self.process = subprocess.Popen(  # pylint: disable=consider-using-with
            [
                program,
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--no-first-run",
                "--no-proxy-server",
                "--autoplay-policy=no-user-gesture-required",
                "--remote-debugging-port=0",
                *self.options,
                f"--user-data-dir={where}",
                "about:blank",
            ],
            stdout=subprocess.DEVNULL,
            stderr=(where / "words").open("wb"),
            env={**os.environ, "HOME": str(where)},
        )
        port_file = where / "DevToolsActivePort"
        for _ in range(300):
            if port_file.exists() and "\n" in port_file.read_text():
                break
            if self.process.poll() is not None:
                words = (where / "words").read_text(errors="replace")[-300:]
                raise AssertionError(f"Chromium ended with {self.process.returncode}: {words}")
            time.sleep(0.1)
        else:
            raise AssertionError("Chromium did not start within 30 s")
        self.loop.run_until_complete(self._open(int(port_file.read_text().split()[0])))

    async def _open(self, port):
        self.http = aiohttp.ClientSession()
        async with self.http.put(f"http://127.0.0.1:{port}/json/new?about:blank") as answer:
            tab = json.loads(await answer.text())
        self.socket = await self.http.ws_connect(tab["webSocketDebuggerUrl"], max_msg_size=0)
        await self._call("Page.enable")
        await self._call("Runtime.enable")

    async def _call(self, method, event=None, **parameters):
        """Calls a method, and waits for its answer and for an event."""
        self.count += 1
        number = self.count
        await self.socket.send_json({"id": number, "method": method, "params": parameters})
        result = None
        while result is None or event is not None:
            message = json.loads((await asyncio.wait_for(self.socket.receive(), 60)).data)
            if message.get("id") == number:
                holds("error" not in message, f"{method}: {message.get('error')}")
                result = message["result"]
            elif message.get("method") == event:
                event = None
        return result

    def load(self, page):
        """Loads a page, and waits until it is complete."""
        result = self.loop.run_until_complete(
            self._call("Page.navigate", event="Page.loadEventFired", url=page)
        )
        holds("errorText" not in result, f"{page}: {result.get('errorText')}")

    def value(self, script):
        """The value of the body of an asynchronous function in the page."""
        result = self.loop.run_until_complete(
            self._call(
                "Runtime.evaluate",
                expression=f"(async () => {{ {script} }})()",
                awaitPromise=True,
                returnByValue=True,
            )
        )
        holds("exceptionDetails" not in result, f"the script failed: {json.dumps(result)[:400]}")
        return result["result"].get("value")

    def stop(self):
        """Ends the browser."""
        try:
            if self.socket is not None:
                self.loop.run_until_complete(asyncio.wait_for(self._call("Browser.close"), 10))
        except Exception:  # pylint: disable=broad-except
            pass
        if self.http is not None:
            self.loop.run_until_complete(self.http.close())
        if self.process is not None:
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
