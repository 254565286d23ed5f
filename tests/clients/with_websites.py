"""Chromium at websites that are served from a bucket: a book as mdBook makes it, and an application in the browser.

Both are under names of their own, over TLS, as the files stand in the bucket.
"""

import base64
import hashlib
import json
import os
import pathlib
import shutil
import ssl
import time

import checks
from browser import Browser
from checks import check, command, equal, folder, holds
from cryptography import x509
from cryptography.hazmat.primitives import serialization

DOCS = pathlib.Path(__file__).resolve().parents[2] / "docs"
BOOK = f"https://book.localhost:{checks.TLS_PORT}"
APPLICATION = f"https://app.localhost:{checks.TLS_PORT}"
LARGE = 30_000_000  # bytes of a file that is streamed
SECONDS = 30  # for what is made in the background

INDEX = """<!doctype html><meta charset="utf-8"><title>App</title><link rel="stylesheet" href="/app.css">
<body><h1 id="place"></h1><a id="go" href="/users/8">next</a><script type="module" src="/app.js"></script></body>"""
SCRIPT = """
const show = () => { document.getElementById("place").textContent = location.pathname; };
document.getElementById("go").addEventListener("click", event => {
    event.preventDefault();
    history.pushState(null, "", event.target.getAttribute("href"));
    show();
});
addEventListener("popstate", show);
show();
"""

browser = Browser("--ignore-certificate-errors")


def put(site, name, body):
    """Stores a file of a website. S3 has no type for it, as after an upload by a simple tool."""
    checks.put(f"sites/{site}/{name}", body, ContentType="binary/octet-stream")


def prepare():
    """Starts the browser, builds the book and stores both websites."""
    browser.start()
    if shutil.which("mdbook"):
        where = folder() / "book"
        command("mdbook", "build", DOCS, "--dest-dir", where)
        for path in sorted(where.rglob("*")):
            if path.is_file():
                put("book", path.relative_to(where).as_posix(), path.read_bytes())
    put("app", "index.html", INDEX.encode())
    put("app", "app.js", SCRIPT.encode())
    put("app", "large.bin", bytes(LARGE))
    put("app", "app.css", b"h1 { color: rgb(1, 2, 3); }")
    put("app", "_redirects", b"/me /users/1 302\n/shut/* /app.css 410\n")
    put("app", "_headers", b"/*\n  X-Frame-Options: DENY\n")


def needs_book():
    """Skips a check if mdBook is not there."""
    if not shutil.which("mdbook"):
        raise checks.Skipped("there is no mdbook")


def navigation():
    """What the browser knows of the page that it shows."""
    return browser.value("return performance.getEntriesByType('navigation')[0].toJSON()")


def until(script, wanted, what):
    """Waits until a script in the page returns a value."""
    end = time.monotonic() + SECONDS
    got = browser.value(script)
    while got != wanted:
        holds(time.monotonic() < end, f"{what}: {got!r} instead of {wanted!r}")
        time.sleep(0.05)
        got = browser.value(script)


@check("a book of mdBook: pages, styles, scripts and fonts over HTTP/2, and all of them with their types")
def _():
    needs_book()
    browser.load(f"{BOOK}/")
    equal(navigation()["nextHopProtocol"], "h2", "protocol")
    equal(navigation()["responseStatus"], 200, "status")
    holds("Yatagarasu" in browser.value("return document.title"), "title")
    until("return document.fonts.status", "loaded", "fonts")
    loaded = browser.value("return [...document.fonts].filter(font => font.status === 'loaded').length")
    holds(loaded > 0, "a font of the book is used")
    parts = browser.value(
        "return performance.getEntriesByType('resource').map(e => [e.name, e.responseStatus, e.contentType])"
    )
    holds(len(parts) > 5, f"parts {parts}")
    for name, status, kind in parts:
        equal(status, 200, name)
        kinds = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml", ".woff2": "font/woff2"}
        for suffix, wanted in kinds.items():
            if name.endswith(suffix) and kind:
                equal(kind, wanted, name)
    browser.load(f"{BOOK}/configuration.html")
    holds("Configuration" in browser.value("return document.title"), "title of a chapter")
    browser.load(f"{BOOK}/internals/filling")
    holds("Filling" in browser.value("return document.title"), "a clean URL")


@check("a book of mdBook: what is not there is its own page, with 404")
def _():
    needs_book()
    browser.load(f"{BOOK}/none/at/all")
    equal(navigation()["responseStatus"], 404, "status")
    holds("not found" in browser.value("return document.body.textContent").lower(), "the page of the book")
    # What it needs is found from below, too.
    styles = browser.value("return [...document.styleSheets].length")
    holds(styles > 0, f"{styles} style sheets")


@check("a book of mdBook: its pages get shorter once they have been compressed, and stay the same")
def _():
    needs_book()
    browser.load(f"{BOOK}/semantics.html")
    text = browser.value("return document.body.textContent.length")
    end = time.monotonic() + SECONDS
    while True:
        sizes = browser.value(
            "const e = performance.getEntriesByType('navigation')[0]; return [e.encodedBodySize, e.decodedBodySize]"
        )
        if sizes[0] < sizes[1] / 2:
            break
        holds(time.monotonic() < end, f"compressed: {sizes}")
        browser.load(f"{BOOK}/semantics.html?{time.monotonic()}")
    equal(browser.value("return document.body.textContent.length"), text, "text")
    got = browser.value(
        "const a = await fetch('/semantics.html', {cache: 'reload'}); return Object.fromEntries(a.headers)"
    )
    holds("Accept-Encoding" in got.get("vary", ""), f"fields {got}")


@check("an application in the browser: deep links, its history, and files that are not there")
def _():
    browser.load(f"{APPLICATION}/users/7?tab=1#part")
    equal(navigation()["nextHopProtocol"], "h2", "protocol")
    until("return document.getElementById('place').textContent", "/users/7", "the place")
    equal(browser.value("return getComputedStyle(document.getElementById('place')).color"), "rgb(1, 2, 3)", "style")
    browser.value("document.getElementById('go').click()")
    until("return document.getElementById('place').textContent", "/users/8", "the next place")
    browser.value("history.back()")
    until("return document.getElementById('place').textContent", "/users/7", "the place before")
    browser.load(f"{APPLICATION}/users/8")
    until("return document.getElementById('place').textContent", "/users/8", "the place, loaded again")
    missing = "const a = await fetch(%s); return [a.status, a.headers.get('content-type')]"
    equal(browser.value(missing % json.dumps("/none.js"))[0], 404, "a file that is not there")
    equal(browser.value(missing % json.dumps("/users/8"))[0], 404, "a path that no navigation asks for")


@check("an application in the browser: the rules that it brings with it")
def _():
    browser.load(f"{APPLICATION}/me")
    until("return location.pathname", "/users/1", "the redirect")
    got = browser.value("const a = await fetch('/shut/x'); return [a.status, await a.text()]")
    equal(got, [410, "h1 { color: rgb(1, 2, 3); }"], "a page with a status")
    got = browser.value("const a = await fetch('/app.js'); return a.headers.get('x-frame-options')")
    equal(got, "DENY", "a field")
    equal(browser.value("return (await fetch('/_redirects')).status"), 404, "the rules themselves")


@check("an application in the browser: over HTTP/3")
def _():
    # The browser goes from HTTP/2 to HTTP/3 by itself only with a certificate of a public authority.
    der = ssl.PEM_cert_to_DER_cert(pathlib.Path(os.environ["CLIENTS_CERTIFICATE"]).read_text())
    key = x509.load_der_x509_certificate(der).public_key()
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    known = base64.b64encode(hashlib.sha256(key.public_bytes(serialization.Encoding.DER, form)).digest()).decode()
    host = f"app.localhost:{checks.QUIC_PORT}"
    other = Browser(
        f"--origin-to-force-quic-on={host}",
        f"--ignore-certificate-errors-spki-list={known}",
        # It would try the address of IPv6 only.
        "--host-resolver-rules=MAP app.localhost 127.0.0.1",
    )
    try:
        other.start()
        for place in ("/users/7", "/users/8"):
            other.load(f"https://{host}{place}")
            equal(other.value("return performance.getEntriesByType('navigation')[0].nextHopProtocol"), "h3", "protocol")
            equal(other.value("return document.getElementById('place').textContent"), place, "the place")
        parts = other.value("return performance.getEntriesByType('resource').map(e => [e.nextHopProtocol, e.responseStatus])")
        holds(len(parts) >= 2 and all(part == ["h3", 200] for part in parts), f"parts {parts}")
        large = other.value(
            "const a = await fetch('/large.bin'); return [a.status, (await a.arrayBuffer()).byteLength]"
        )
        equal(large, [200, LARGE], "a large file")
    finally:
        other.stop()


try:
    checks.run("websites", prepare)
finally:
    browser.stop()
