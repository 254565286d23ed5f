"""Chromium: what a page sees of objects of another origin, seeks in a video, and fonts.

The pages come from the gateway under the name `localhost`, the objects from `127.0.0.1`. To a browser, these are two
origins.
"""

import gzip
import hashlib
import io
import json
import pathlib
import re
import shutil
import struct
import zlib

import checks
from browser import Browser
from checks import CACHED, CLOSED, FILLED, OPEN, STREAMED, check, command, equal, folder, holds, local, url

PAGE = f"http://localhost:{checks.PORT}/{CACHED}/chromium/page.html"
OTHER_PAGE = f"{checks.GATEWAY}/{CACHED}/chromium/page.html"  # an origin that the rules do not allow
TITLE = "Gülden page"
GREEN = (12, 200, 80)
COLOURS = {"red": (0, 255, 0, 0), "lime": (1, 0, 255, 0), "blue": (2, 0, 0, 255)}
SECONDS = 30


browser = Browser()


def png(colour, side=8):
    """A picture of one colour."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    lines = (b"\0" + bytes(colour) * side) * side
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(lines))
        + chunk(b"IEND", b"")
    )


def font():
    """A font in which every A is a square that is three times as wide as the font is high."""
    from fontTools.fontBuilder import FontBuilder
    from fontTools.pens.ttGlyphPen import TTGlyphPen

    def square(width):
        pen = TTGlyphPen(None)
        pen.moveTo((0, 0))
        for corner in ((0, 1000), (width, 1000), (width, 0)):
            pen.lineTo(corner)
        pen.closePath()
        return pen.glyph()

    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder([".notdef", "A"])
    builder.setupCharacterMap({ord("A"): "A"})
    builder.setupGlyf({".notdef": square(500), "A": square(3000)})
    builder.setupHorizontalMetrics({".notdef": (500, 0), "A": (3000, 0)})
    builder.setupHorizontalHeader(ascent=1000, descent=0)
    builder.setupNameTable({"familyName": "Probe", "styleName": "Regular"})
    builder.setupOS2(sTypoAscender=1000, usWinAscent=1000, usWinDescent=0)
    builder.setupPost()
    out = io.BytesIO()
    builder.font.flavor = "woff"
    builder.font.save(out)
    return out.getvalue()


def video():
    """A video in VP8 with noise. A field in it is red for 10 s, then green, then blue."""
    path = folder() / "film.webm"
    boxes = ",".join(
        f"drawbox=x=200:y=60:w=100:h=60:color={colour}:t=fill:enable='gte(t,{10 * i})*lt(t,{10 * i + 10})'"
        for colour, (i, *_) in COLOURS.items()
    )
    picture = f"testsrc2=size=320x180:rate=25:duration={SECONDS},noise=alls=50:allf=t,{boxes}"
    coding = (
        "-c:v",
        "libvpx",
        "-deadline",
        "realtime",
        "-cpu-used",
        "8",
        "-b:v",
        "6M",
        "-minrate",
        "6M",
        "-g",
        "50",
    )
    command("ffmpeg", "-nostdin", "-v", "error", "-f", "lavfi", "-i", picture, *coding, "-threads", "2", path)
    return path.read_bytes()


def prepare():
    """Starts the browser and stores the page and the objects."""
    browser.start()
    page = f'<!doctype html><meta charset="utf-8"><title>{TITLE}</title><body><p id="text">grün</p></body>'
    checks.put(
        "chromium/page.html", gzip.compress(page.encode()), ContentType="text/html", ContentEncoding="gzip"
    )
    checks.put("chromium/green.png", png(GREEN), ContentType="image/png", CacheControl="max-age=600")
    checks.put("chromium/probe.woff", font(), ContentType="font/woff")
    checks.put("chromium/module.js", b"export const answer = 6 * 7;", ContentType="text/javascript")


FETCH = """
    try {
        const answer = await fetch(%s, %s);
        const bytes = new Uint8Array(await answer.arrayBuffer());
        const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
        return {
            status: answer.status, type: answer.type, length: bytes.length,
            digest: Array.from(digest, b => b.toString(16).padStart(2, "0")).join(""),
            text: bytes.length < 1000 ? new TextDecoder().decode(bytes) : "",
            fields: Object.fromEntries(answer.headers),
        };
    } catch (error) {
        return { failed: error.name };
    }
"""


def fetch(where, **options):
    """What a page gets with fetch()."""
    return browser.value(FETCH % (json.dumps(where), json.dumps({"cache": "no-store", **options})))


@check("a page that is stored with Content-Encoding: gzip is shown")
def _():
    browser.load(PAGE)
    equal(browser.value("return document.title"), TITLE, "title")
    equal(browser.value("return document.getElementById('text').textContent"), "grün", "text")


@check("fetch() of a missing object of another origin: with the rules for CORS, the page sees a 404")
def _():
    browser.load(PAGE)
    for _ in range(2):
        got = fetch(url(OPEN, "chromium/missing"))
        equal((got.get("status"), got.get("type")), (404, "cors"), f"answer {got}")
        equal(json.loads(got["text"])["status"], 404, "the status in the body")


@check("fetch() of a missing object of another origin: without CORS, the page sees a failure only")
def _():
    browser.load(PAGE)
    equal(fetch(url(CLOSED, "chromium/missing")), {"failed": "TypeError"}, "answer")


@check("fetch() of an object of another origin: bytes, tag and length with the rules, nothing without CORS")
def _():
    browser.load(PAGE)
    digest = hashlib.sha256(local("medium.bin")).hexdigest()
    for _ in range(2):
        got = fetch(url(OPEN, "medium.bin"))
        equal((got.get("status"), got.get("length"), got.get("digest")), (200, 3_000_000, digest), "answer")
        holds(re.fullmatch('"[0-9a-f]{32}"', got["fields"].get("etag", "")), f"fields {got['fields']}")
        equal(got["fields"].get("content-length"), "3000000", "Content-Length")
        equal(fetch(url(CLOSED, "medium.bin")), {"failed": "TypeError"}, "without CORS")


@check("fetch() with fields that need a preflight: a range with conditions")
def _():
    browser.load(PAGE)
    part = local("large.bin")[5_000_000:5_100_000]
    tag = fetch(url(OPEN, "large.bin"), method="HEAD")["fields"]["etag"]
    fields = {"Range": "bytes=5000000-5099999", "If-Match": tag, "X-Own": "1"}
    got = fetch(url(OPEN, "large.bin"), headers=fields)
    equal((got.get("status"), got.get("digest")), (206, hashlib.sha256(part).hexdigest()), f"answer {got}")
    equal(got["fields"].get("content-range"), "bytes 5000000-5099999/20000000", "Content-Range")
    got = fetch(url(OPEN, "large.bin"), headers={"Range": "bytes=20000000-", "X-Own": "1"})
    equal(got.get("status"), 416, f"answer {got}")
    equal(got["fields"].get("content-range"), "bytes */20000000", "Content-Range of the 416")
    got = fetch(url(OPEN, "large.bin"), headers={"If-Match": '"x"'})
    equal(got.get("status"), 412, f"answer {got}")
    equal(fetch(url(CLOSED, "large.bin"), headers=fields), {"failed": "TypeError"}, "without CORS")


@check("fetch() with a method that the rules do not name fails; one of an origin that they do not name, too")
def _():
    browser.load(PAGE)
    equal(fetch(url(OPEN, "text.txt"), method="DELETE"), {"failed": "TypeError"}, "DELETE")
    equal(fetch(url(OPEN, "text.txt"))["status"], 200, "GET")
    browser.load(OTHER_PAGE)
    other = f"http://localhost:{checks.PORT}/{OPEN}/text.txt"
    equal(fetch(other), {"failed": "TypeError"}, "an origin that the rules do not name")


@check("the browser's own cache validates, gets a 304, and gives the page a 200 with the bytes")
def _():
    browser.load(PAGE)
    digest = hashlib.sha256(local("text.txt")).hexdigest()
    for prefix in (OPEN, CACHED):
        where = (
            url(OPEN, "text.txt") if prefix == OPEN else f"http://localhost:{checks.PORT}/{CACHED}/text.txt"
        )
        got = fetch(where, cache="reload")
        equal((got.get("status"), got.get("digest")), (200, digest), "the first time")
        before = checks.answers("3xx")
        got = fetch(where, cache="no-cache")
        equal((got.get("status"), got.get("digest")), (200, digest), "validated")
        equal(checks.answers("3xx") - before, 1, "304s")


PIXEL = """
    const image = new Image();
    %s
    image.src = %s;
    await image.decode();
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = 8;
    const context = canvas.getContext("2d");
    context.drawImage(image, 0, 0);
    try {
        return Array.from(context.getImageData(3, 3, 1, 1).data.slice(0, 3));
    } catch (error) {
        return error.name;
    }
"""


@check("a picture that was first shown without CORS can be read with it: no copy in between is mixed up")
def _():
    browser.load(PAGE)
    where = json.dumps(url(OPEN, "chromium/green.png"))
    equal(
        browser.value(PIXEL % ("", where)), "SecurityError", "without crossorigin, it is shown but not read"
    )
    equal(browser.value(PIXEL % ('image.crossOrigin = "anonymous";', where)), list(GREEN), "the pixel")
    browser.load(PAGE)
    equal(
        browser.value(PIXEL % ('image.crossOrigin = "anonymous";', where)),
        list(GREEN),
        "the pixel after a reload",
    )
    where = json.dumps(url(CLOSED, "chromium/green.png"))
    equal(browser.value(PIXEL % ("", where)), "SecurityError", "without CORS, it is shown but not read")


@check("a module of another origin is run with the rules, and not without CORS")
def _():
    browser.load(PAGE)
    script = "try { return (await import(%s)).answer } catch (error) { return error.name }"
    equal(browser.value(script % json.dumps(url(OPEN, "chromium/module.js"))), 42, "with the rules")
    equal(browser.value(script % json.dumps(url(CLOSED, "chromium/module.js"))), "TypeError", "without CORS")


FONT = """
    const face = new FontFace("Probe", `url(${%s})`);
    document.fonts.add(face);
    let loaded = true;
    try { await document.fonts.load("20px Probe", "A"); } catch (error) { loaded = false; }
    const text = document.createElement("span");
    text.textContent = "AAAA";
    text.style.font = "20px Probe, monospace";
    document.body.append(text);
    return [loaded && face.status == "loaded", document.fonts.check("20px Probe", "A"), text.getBoundingClientRect().width];
"""


@check("a web font of another origin is used with the rules, and not without CORS")
def _():
    for _ in range(2):
        browser.load(PAGE)
        got = browser.value(FONT % json.dumps(url(OPEN, "chromium/probe.woff")))
        equal(got, [True, True, 240], "loaded, checked, and the width of four letters")
    browser.load(PAGE)
    loaded, checked, width = browser.value(FONT % json.dumps(url(CLOSED, "chromium/probe.woff")))
    equal((loaded, checked), (False, False), "without CORS")
    holds(width < 200, f"the width of four letters of another font: {width}")


VIDEO = """
    const video = document.createElement("video");
    video.muted = true;
    video.preload = "metadata";
    video.crossOrigin = "anonymous";
    const happens = (name) => new Promise((resolve, reject) => {
        video.addEventListener(name, resolve, { once: true });
        video.addEventListener("error", () => reject(new Error(video.error.message)), { once: true });
    });
    const ready = happens("loadedmetadata");
    video.src = %s;
    document.body.append(video);
    await ready;
    const result = { length: video.duration, seekable: video.seekable.length && video.seekable.end(0), seen: [] };
    for (const time of [27.5, 3, 15.2, 24]) {
        const sought = happens("seeked");
        video.currentTime = time;
        await sought;
        const canvas = document.createElement("canvas");
        canvas.width = video.videoWidth;
        canvas.height = video.videoHeight;
        const context = canvas.getContext("2d");
        context.drawImage(video, 0, 0);
        result.seen.push([time, video.currentTime, Array.from(context.getImageData(250, 90, 1, 1).data.slice(0, 3))]);
    }
    return result;
"""


@check("<video> seeks, reports the time, and shows the right picture")
def _():
    if not shutil.which("ffmpeg"):
        raise checks.Skipped("there is no ffmpeg to make a video")
    film = video()
    checks.put("chromium/film.webm", film, ContentType="video/webm")
    holds(len(film) > 10_000_000, f"the video has {len(film)} bytes only")
    host = f"http://localhost:{checks.PORT}"
    for where in (
        url(OPEN, "chromium/film.webm"),
        f"{host}/{STREAMED}/chromium/film.webm",
        f"{host}/{FILLED}/chromium/film.webm",
        f"{host}/{CACHED}/chromium/film.webm",
    ):
        browser.load(PAGE)
        before = checks.body_bytes()
        got = browser.value(VIDEO % json.dumps(where))
        holds(abs(got["length"] - SECONDS) < 0.2, f"{where}: a length of {got['length']}")
        holds(abs(got["seekable"] - SECONDS) < 0.2, f"{where}: seekable to {got['seekable']}")
        for asked, reported, pixel in got["seen"]:
            equal(reported, asked, f"{where}: currentTime")
            wanted = next(tuple(c) for i, *c in COLOURS.values() if i == int(asked // 10))
            near = all(abs(a - b) < 40 for a, b in zip(pixel, wanted))
            holds(near, f"{where} at {asked}: {pixel} instead of {wanted}")
        holds(checks.body_bytes() > before, "bytes were sent")


@check("--dump-dom prints the page")
def _():
    arguments = (
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--no-proxy-server",
    )
    program = pathlib.Path(browser.process.args[0])
    out, _ = command(program, *arguments, f"--user-data-dir={folder()}", "--dump-dom", PAGE)
    holds(f"<title>{TITLE}</title>" in out.decode(), f"the page: {out[:300]!r}")


try:
    checks.run("chromium", prepare)
finally:
    browser.stop()
