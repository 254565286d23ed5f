"""Chromium at the dashboard of the admin listener: its numbers, its forms, and how it looks on a phone."""

import json
import threading
import time
import urllib.request

import checks
from browser import Browser
from checks import CACHED, check, equal, holds, put, url

SECONDS = 30
PAGE = f"{checks.ADMIN}/"
PREFIX = "dashboard/"
KEYS = [f"{PREFIX}{name}.css" for name in ("a", "b", "c")]

# How scripts in the page find what they need, and fill a form as a person does.
TOOLS = """
const at = id => document.getElementById(id);
const words = id => at(id).textContent.replaceAll("\\u00a0", " ");
const enter = (id, value) => {
    at(id).value = value;
    at(id).dispatchEvent(new Event("input", {bubbles: true}));
};
const tile = label => [...document.querySelectorAll(".tile")].find(one => one.querySelector("h3").textContent === label);
const total = () => Number(tile("Requests/s").querySelector(".note").textContent.replace(/[^0-9]/g, ""));
const row = name => [...at("buckets").querySelectorAll("tbody tr")].find(one => one.dataset.name === name);
"""


class Socket:
    """The DevTools socket of a tab. It notes what the browser complains about."""

    def __init__(self, inner, complaints):
        self.inner = inner
        self.complaints = complaints

    async def send_json(self, message):
        """Sends a call."""
        await self.inner.send_json(message)

    async def receive(self):
        """Receives a message."""
        received = await self.inner.receive()
        message = json.loads(received.data)
        method, parameters = message.get("method"), message.get("params", {})
        loud = (
            method == "Runtime.exceptionThrown"
            or (method == "Runtime.consoleAPICalled" and parameters["type"] in ("error", "warning", "assert"))
            or (method == "Log.entryAdded" and parameters["entry"]["level"] in ("error", "warning"))
        )
        if loud:
            self.complaints.append(json.dumps(parameters)[:500])
        return received


class Tab(Browser):
    """A tab whose complaints are kept: exceptions, errors in the console, violations of the policy."""

    def __init__(self):
        super().__init__()
        self.complaints = []

    def start(self):
        """Starts the browser and listens to it."""
        super().start()
        self.socket = Socket(self.socket, self.complaints)
        self.call("Log.enable")

    def call(self, method, **parameters):
        """Calls a method of the DevTools protocol."""
        return self.loop.run_until_complete(self._call(method, **parameters))

    def resize(self, width, height, scheme="light"):
        """Shows the page in another size, in light or dark."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 700
        )
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def run(self, script):
        """The value of a script in the page that uses TOOLS."""
        return self.value(TOOLS + script)

    def until(self, script, wanted, what):
        """Waits until a script returns a value, or one that a function takes."""
        fits = wanted if callable(wanted) else lambda got: got == wanted
        end = time.monotonic() + SECONDS
        while not fits(got := self.run(script)):
            holds(time.monotonic() < end, f"{what}: {got!r}" + ("" if callable(wanted) else f" instead of {wanted!r}"))
            time.sleep(0.1)
        return got


tab = Tab()


class Load:
    """Requests of one object, one after the other, while the block runs."""

    def __init__(self, key):
        self.address = url(CACHED, key)
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._ask)

    def _ask(self):
        while not self.ended.wait(0.02):
            get(self.address)

    def __enter__(self):
        self.thread.start()

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()


def get(address):
    """The status, the fields and the body of a response."""
    with urllib.request.urlopen(address) as response:
        return response.status, response.headers, response.read()


def fresh():
    """Loads the page and waits for its first numbers."""
    tab.load(PAGE)
    tab.until("return words('state')", "live", "the state")
    tab.until("return at('board').hidden", False, "the numbers are shown")


def store():
    """Stores the objects in the cache, and returns how often S3 was asked for them."""
    for key in KEYS:
        put(key, b"a { color: red }", ContentType="text/css")
        end = time.monotonic() + SECONDS
        while "hit" not in get(url(CACHED, key))[1].get("Cache-Status", ""):
            holds(time.monotonic() < end, f"{key} is stored")
            time.sleep(0.05)
    return [checks.asked(key) for key in KEYS]


def count():
    """Has the objects below the prefix counted."""
    tab.run(
        f"enter('purge-bucket', {json.dumps(CACHED)}); enter('purge-by', 'prefix');"
        f"enter('purge-value', {json.dumps(PREFIX)}); at('purge').requestSubmit();"
    )
    tab.until("return words('purge-result')", f"{len(KEYS)} objects selected.", "the count")


def prepare():
    """Starts the browser."""
    tab.start()
    tab.resize(1440, 900)


@check("the page and its parts: from one origin, with their types, under a strict policy")
def _():
    status, fields, _ = get(PAGE)
    equal(status, 200, "status")
    holds(fields["Content-Type"].startswith("text/html"), f"type {fields['Content-Type']}")
    policy = dict((part.split() + [""])[:2] for part in fields["Content-Security-Policy"].split(";"))
    for name in ("default-src", "base-uri", "form-action", "frame-ancestors"):
        equal(policy.get(name), "'none'", name)
    for name in ("script-src", "style-src", "connect-src", "img-src"):
        equal(policy.get(name), "'self'", name)
    holds("unsafe" not in fields["Content-Security-Policy"], "nothing unsafe")
    fresh()
    parts = tab.run("return performance.getEntriesByType('resource').map(one => [one.name, one.responseStatus])")
    holds(len(parts) >= 3, f"parts {parts}")
    kinds = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
    for name, status in parts:
        holds(name.startswith(PAGE), f"{name} is from another origin")
        for suffix, kind in kinds.items():
            if name.endswith(suffix):
                equal(status, 200, name)
                holds(get(name)[1]["Content-Type"].startswith(kind), f"the type of {name}")


@check("numbers move under load: the tiles, the curves, the bucket and the title")
def _():
    store()
    fresh()
    before = tab.run("return total()")
    with Load(KEYS[0]):
        tab.until("return total()", lambda got: got >= before + 40, f"more requests than {before}")
        tab.until("return parseFloat(document.title)", lambda got: got and got > 1, "requests/s in the title")
        tab.until(
            "return tile('Hit ratio').querySelector('.value').textContent",
            lambda got: got.endswith("%") and float(got[:-1]) > 50,
            "hit ratio",
        )
        tab.until("return words('requests-chart')", lambda got: "hit" in got, "the table of the chart")
        tab.until(
            "return document.querySelector('#requests-chart path.of-hit').getAttribute('d') ?? ''",
            lambda got: got.count("L") > 4,
            "the area of hits",
        )
        rate = f"return parseFloat(row({json.dumps(CACHED)}).querySelector('.number .main').textContent)"
        tab.until(rate, lambda got: got and got > 1, "requests/s of the bucket")
    tab.until("return parseFloat(document.title)", lambda got: got is not None and got < 2, "the title afterwards")


@check("a purge by prefix: first the count, and nothing is purged; then as many are")
def _():
    asked = store()
    fresh()
    count()
    equal(tab.run("return [words('purge-go'), at('purge-confirm').hidden]"), ["Purge 3 objects", False], "second step")
    for key in KEYS:
        get(url(CACHED, key))
    equal([checks.asked(key) for key in KEYS], asked, "requests to S3 after the count")
    # Another order has not been counted.
    tab.run("enter('purge-value', 'none/at/all/');")
    equal(tab.run("return [words('purge-result'), at('purge-confirm').hidden]"), ["", True], "after a change")
    count()
    tab.run("at('purge-go').click();")
    tab.until("return words('purge-result')", "3 objects purged.", "the purge")
    equal(tab.run("return at('purge-confirm').hidden"), True, "the second step is over")
    for key in KEYS:
        get(url(CACHED, key))
    equal([checks.asked(key) for key in KEYS], [number + 1 for number in asked], "requests to S3 after the purge")


@check("an explanation: the bucket, the key and the decision, or what is wrong with the question")
def _():
    store()
    fresh()
    tab.run(f"enter('explain-url', '/{CACHED}/{KEYS[0]}'); at('explain').requestSubmit();")
    tab.until("return words('explanation')", lambda got: "Decision" in got, "the answer")
    answer = tab.run(
        "return Object.fromEntries([...document.querySelectorAll('#explanation dl > div')].map("
        "one => [one.querySelector('dt').textContent, [...one.querySelectorAll('dd')].map(line => line.textContent)]))"
    )
    equal(answer["Bucket"][0], CACHED, "bucket")
    equal(answer["Key"][0], KEYS[0], "key")
    holds("stored" in " ".join(answer["Decision"]), f"decision {answer['Decision']}")
    tab.run("enter('explain-headers', 'no header'); at('explain').requestSubmit();")
    tab.until("return words('explanation')", lambda got: "no header" in got, "the complaint")


@check("the configuration that runs")
def _():
    fresh()
    tab.run("at('config').open = true;")
    tab.until("return words('config-text')", lambda got: CACHED in got and "buckets" in got, "the configuration")
    holds("testing" not in tab.run("return words('config-text').match(/secret_key.*/)?.[0] ?? ''"), "no secret")


@check("no sideways scrolling and nothing cut off from 360 px on, in light and dark")
def _():
    fresh()
    try:
        for scheme in ("light", "dark"):
            for width in (360, 768, 1024, 1440):
                tab.resize(width, 800, scheme)
                time.sleep(1.2)  # until the page has drawn once
                found = tab.run("return [document.documentElement.scrollWidth, document.documentElement.clientWidth]")
                holds(found[0] <= found[1], f"{scheme}, {width} px: {found[0]} of {found[1]}")
    finally:
        tab.resize(1440, 900)


@check("keyboard and names: every field and button can be reached and has a name")
def _():
    fresh()
    nodes = tab.call("Accessibility.getFullAXTree")["nodes"]
    kinds = ("button", "textbox", "combobox", "checkbox", "table", "image", "region", "main")
    seen = [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes if not node.get("ignored")]
    for role, name in seen:
        holds(role not in kinds or name or role == "main", f"a {role} without a name")
    for role in ("main", "banner", "heading", "table", "textbox"):
        holds(any(one == role for one, _ in seen), f"a {role}")
    tab.run("document.activeElement.blur();")
    reached = set()
    for _ in range(60):
        for kind in ("keyDown", "keyUp"):
            tab.call("Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab", windowsVirtualKeyCode=9)
        reached.add(tab.run("return document.activeElement.id"))
    wanted = {"explain-url", "explain-method", "purge-bucket", "purge-by", "purge-value", "purge-soft"}
    holds(wanted <= reached, f"reached {reached}")


@check("no complaint in the console")
def _():
    tab.run("return 1;")
    equal(tab.complaints, [], "complaints")


@check("under a name that is not this machine's, the page asks for a token and says why")
def _():
    tab.load(f"http://dashboard.localhost:{checks.ADMIN.rsplit(':', 1)[1]}/")
    tab.until("return at('sign-in').hidden", False, "the form")
    holds(tab.run("return at('board').hidden"), "no numbers")
    holds("no token is configured" in tab.run("return words('sign-in-why')"), "the reason")


try:
    checks.run("dashboard", prepare)
finally:
    tab.stop()
