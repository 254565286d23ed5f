"""ffmpeg: seeks in videos over HTTP. Each frame is compared with that of the local file, pixel by pixel."""

import checks
from checks import ALL, CACHED, STREAMED, check, command, equal, folder, holds, url

QUIET = ("ffmpeg", "-nostdin", "-v", "error")
SIZE = (480, 270)
SECONDS = 30
# A moving picture with noise, so that the file is large enough for seeking to matter.
PICTURE = f"testsrc2=size={SIZE[0]}x{SIZE[1]}:rate=25:duration={SECONDS},noise=alls=30:allf=t"

media = {}


def prepare():
    """Makes the videos and stores them."""
    where = folder()
    fast = where / "fast.mp4"
    coding = ("-c:v", "libx264", "-preset", "ultrafast", "-b:v", "6M", "-g", "50", "-pix_fmt", "yuv420p")
    sound = ("-f", "lavfi", "-i", f"sine=frequency=440:duration={SECONDS}", "-c:a", "aac")
    command(*QUIET, "-f", "lavfi", "-i", PICTURE, *sound, *coding, "-movflags", "+faststart", fast)
    slow = where / "slow.mp4"  # the index is at the end
    command(*QUIET, "-i", fast, "-c", "copy", slow)
    matroska = where / "film.mkv"
    command(*QUIET, "-i", fast, "-c", "copy", matroska)
    for path, kind in ((fast, "video/mp4"), (slow, "video/mp4"), (matroska, "video/x-matroska")):
        media[path.name] = path
        checks.put(f"ffmpeg/{path.name}", path.read_bytes(), ContentType=kind)
    live = where / "live"
    live.mkdir()
    command(
        *QUIET,
        "-i",
        fast,
        "-c",
        "copy",
        "-f",
        "hls",
        "-hls_time",
        "4",
        "-hls_list_size",
        "0",
        live / "list.m3u8",
    )
    for path in live.iterdir():
        kind = "application/vnd.apple.mpegurl" if path.suffix == ".m3u8" else "video/mp2t"
        checks.put(f"ffmpeg/live/{path.name}", path.read_bytes(), ContentType=kind)
    media["live"] = live / "list.m3u8"


def frame(source, at, *options):
    """The pixels of the frame at a time."""
    out, _ = command(
        *QUIET,
        *options,
        "-ss",
        str(at),
        "-i",
        source,
        "-frames:v",
        "1",
        "-pix_fmt",
        "rgb24",
        "-f",
        "rawvideo",
        "-",
    )
    equal(len(out), SIZE[0] * SIZE[1] * 3, "bytes of a frame")
    return out


def digest(source, *options):
    """The digest of all frames and of the sound."""
    return command(*QUIET, *options, "-i", source, "-f", "md5", "-")[0]


@check("frames near the end, in the middle and at the start are those of the local file")
def _():
    for name in ("fast.mp4", "slow.mp4", "film.mkv"):
        wanted = {at: frame(media[name], at) for at in (28.44, 13.2, 0)}
        equal(len(set(wanted.values())), 3, "different frames")
        for prefix in ALL:
            for at, pixels in wanted.items():
                equal(frame(url(prefix, f"ffmpeg/{name}"), at), pixels, f"{prefix}, {name} at {at}")


@check("the same over one kept connection")
def _():
    for name in ("fast.mp4", "slow.mp4"):
        wanted = frame(media[name], 28.44)
        for prefix in (STREAMED, CACHED):
            got = frame(url(prefix, f"ffmpeg/{name}"), 28.44, "-multiple_requests", "1")
            equal(got, wanted, f"{prefix}, {name}")


@check("a frame near the end does not cost the whole file")
def _():
    size = media["slow.mp4"].stat().st_size
    before = checks.body_bytes()
    frame(url(STREAMED, "ffmpeg/slow.mp4"), 28.44)
    sent = checks.body_bytes() - before
    holds(sent < size * 3 // 4, f"{sent} of {size} bytes were sent")


@check("all frames and all of the sound, from the first to the last")
def _():
    for name in ("fast.mp4", "film.mkv"):
        wanted = digest(media[name])
        for prefix in (STREAMED, CACHED):
            equal(digest(url(prefix, f"ffmpeg/{name}")), wanted, f"{prefix}, {name}")


@check("HLS: the list, its segments, and a frame near the end")
def _():
    wanted = digest(media["live"])
    pixels = frame(media["live"], 25)
    for prefix in (STREAMED, CACHED):
        where = url(prefix, "ffmpeg/live/list.m3u8")
        equal(digest(where), wanted, f"{prefix}: everything")
        equal(frame(where, 25), pixels, f"{prefix}: a frame")


@check("ffprobe reads the length and the codec")
def _():
    for prefix in ALL:
        out, _ = command(
            "ffprobe",
            "-v",
            "error",
            "-show_entries",
            "format=duration,size:stream=codec_name",
            "-of",
            "csv=p=0",
            url(prefix, "ffmpeg/slow.mp4"),
        )
        words = out.decode().split()
        equal(words[:2], ["h264", "aac"], "codecs")
        length, size = words[2].split(",")
        holds(abs(float(length) - SECONDS) < 0.1, f"a length of {length}")
        equal(int(size), media["slow.mp4"].stat().st_size, "size")


@check("a missing file is an error that says 404")
def _():
    _, words = command(*QUIET, "-i", url(STREAMED, "ffmpeg/missing.mp4"), "-f", "null", "-", status=None)
    holds("404" in words, f"ffmpeg's words: {words!r}")


checks.run("ffmpeg", prepare)
