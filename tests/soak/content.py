"""The objects: their bytes and fields follow from the key and the number of the version.

So whoever has a key and an `ETag` can check every byte. The bytes of all objects are pieces of one random block, which
is repeated without end. A version begins somewhere in the block: bytes of another version, of another key or from
another offset are other bytes.
"""

import email.utils
import functools
import random
import re
import zlib

# A prime number, so that no offset in pieces of a power of two repeats.
PERIOD = 1_048_583
# No more bytes are compared, or sent, at a time.
PIECE_MAX = 262_144
_block = random.Random("yatagarasu").randbytes(PERIOD)
BLOCK = _block + _block[:PIECE_MAX]

# The kinds of objects: how many there are, how often one of them is asked for, and the shortest and longest length. The
# lengths lie around the bounds of the gateway: pages of 4 KiB from 16 KiB on, segments of 256 KiB, `max_item_size`, and
# the 4 MiB after which a stream is fast.
KINDS = {
    "empty": (3, 3, 0, 0),
    "tiny": (40, 22, 1, 900),
    "small": (40, 24, 1_000, 16_383),
    "page": (40, 24, 16_384, 140_000),
    "segment": (24, 12, 262_143, 600_000),
    "medium": (16, 6, 900_000, 3_500_000),
    "large": (6, 1.2, 4_500_000, 11_000_000),
    "huge": (2, 0.4, 16_000_000, 24_000_000),
    # The length is not told: the body is chunked.
    "chunked": (16, 5, 1_000, 500_000),
    # Every fourth version is missing.
    "gone": (12, 3, 500, 20_000),
    # S3 sends them without `Date`.
    "dateless": (4, 2, 500, 9_000),
}
# No object of these keys has ever been there.
MISSING = [f"c/missing/{number}" for number in range(20)]
# `Cache-Control` by the number in the key, and how long such an object is fresh, in seconds. Most have none.
LIFETIMES = {3: ("max-age=1", 1), 5: ("no-cache", 0), 7: ("no-store", 0), 9: ("max-age=60, s-maxage=2", 2)}
# The field that says when the origin has sent a response, by the clock that all processes of the test share.
SENT = "x-amz-meta-sent"
# A single range.
RANGE = re.compile(r"bytes=(?=.*\d)(\d*)-(\d*)")
# `Last-Modified` of version 0, as seconds since 1970.
BEGINNING = 1_600_000_000


def keys_of(kind):
    """Returns the keys of the objects of a kind. Some have characters that must be escaped."""
    odd = {6: " a+b", 8: " ä%2F"}
    return [f"{'abc'[number % 3]}/{kind}/{number}{odd.get(number, '')}" for number in range(KINDS[kind][0])]


KEYS = [key for kind in KINDS for key in keys_of(kind)]


@functools.lru_cache(maxsize=4096)
def _traits(key):
    """Returns the kind of a key, its number, a check sum, and the length of version 0."""
    _, kind, rest = key.split("/", 2)
    check = zlib.crc32(key.encode())
    _, _, shortest, longest = KINDS[kind]
    number = int(re.match(r"\d+", rest)[0])
    # The first ones lie exactly at the bounds.
    length = (shortest, longest)[number] if number < 2 else shortest + check % (longest - shortest + 1)
    return kind, number, check, length


def kind_of(key):
    """Returns the kind of an object."""
    return _traits(key)[0]


def tag_of(key):
    """Returns the tag of an object, by which it can be purged."""
    return f"tag-{_traits(key)[2] % 6}"


def exists(key, version):
    """Returns whether there is such an object."""
    return key not in MISSING and not (kind_of(key) == "gone" and version % 4 == 3)


def lifetime_of(key, default):
    """Returns how long an object is fresh, in seconds, if its bucket has this default."""
    return LIFETIMES.get(_traits(key)[1], ("", default))[1]


def length_of(key, version):
    """Returns the length of an object. It changes a little with the version."""
    length = _traits(key)[3]
    return length + version % 3 * 11 if length > 10 else length


def start_of(key, version):
    """Returns the place in the block at which an object begins."""
    return zlib.crc32(f"{key} {version}".encode()) % PERIOD


def piece(start, offset, length):
    """Returns bytes of the object that begins at `start`: at most `PIECE_MAX`, from `offset` on."""
    place = (start + offset) % PERIOD
    return BLOCK[place : place + min(length, PIECE_MAX)]


def etag_of(key, version):
    """Returns the entity tag, which tells the key and the version."""
    return f'"{_traits(key)[2]:08x}-{version}"'


def version_of(key, etag):
    """Returns the version that an entity tag names, or None if it is of another key or of none."""
    match = re.fullmatch(r'"([0-9a-f]{8})-(\d+)"', etag or "")
    return int(match[2]) if match and int(match[1], 16) == _traits(key)[2] else None


def modified_at(version):
    """Returns when a version was made, as seconds since 1970. Each has a second of its own."""
    return BEGINNING + 60 * version


def fields_of(key, version):
    """Returns the fields that describe an object."""
    _, number, _, _ = _traits(key)
    fields = {
        "ETag": etag_of(key, version),
        "Last-Modified": email.utils.formatdate(modified_at(version), usegmt=True),
        "Content-Type": "application/octet-stream",
        "Accept-Ranges": "bytes",
        "x-amz-meta-cache-tag": tag_of(key),
    }
    if number in LIFETIMES:
        fields["Cache-Control"], _ = LIFETIMES[number]
    return fields


def selected(text, length):
    """Returns the first byte of a single range and the one after the last, or None if there are none."""
    match = RANGE.fullmatch(text or "")
    if not match:
        return None
    first, last = match.groups()
    start = int(first) if first else max(0, length - int(last))
    end = min(length, int(last) + 1) if first and last else length
    return (start, end) if start < end else None


def seconds(date):
    """Returns a date as seconds since 1970."""
    return email.utils.parsedate_to_datetime(date).timestamp()
