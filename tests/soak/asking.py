"""The requests of the clients."""

import dataclasses
import email.utils
import itertools
import urllib.parse

import content

# The buckets and how often each is asked. All show the same bucket of S3: see server.py.
BUCKETS = {"main": 12, "whole": 6, "plain": 3}
# A range of these objects is asked for with several ranges at times. Longer ones would take too much memory here.
PARTS_MAX = 300_000

_numbers = itertools.count(1)


@dataclasses.dataclass
class Asked:
    """A request, and what was known when it began."""

    bucket: str
    key: str
    method: str = "GET"
    fields: dict = dataclasses.field(default_factory=dict)
    number: int = 0
    begun: float = 0.0
    certain: int = 0  # version that the origin has, or an older one
    oldest: int = 0  # version that may answer
    oldest_refusal: int = 0  # version that may be missing
    pace: str = "fast"  # how the client reads; "" if it does not read to the end
    arrived: float = 0.0  # when the last bytes arrived for a client that reads slowly

    def begin(self, versions, now):
        """Records that the request is sent now. Returns its bytes."""
        self.number, self.begun = next(_numbers), now
        self.certain = versions.certain.get(self.key, 0)
        self.oldest = versions.floor(self.bucket, self.key)
        self.oldest_refusal = versions.floor(self.bucket, self.key, "refusal")
        if self.bucket == "plain":
            self.oldest = self.oldest_refusal = self.certain
        lines = [f"{self.method} /{self.bucket}/{urllib.parse.quote(self.key)} HTTP/1.1", "Host: gateway.example"]
        # The access log tells which line is of which request.
        lines += [f"User-Agent: s{self.number}", *(f"{name}: {value}" for name, value in self.fields.items())]
        return "\r\n".join(lines + ["", ""]).encode()


def some_key(rng, kinds=None):
    """Returns a key. Some objects are asked for more often than others."""
    if kinds is None and rng.random() < 0.03:
        return rng.choice(content.MISSING)
    kinds = kinds or list(content.KINDS)
    kind = rng.choices(kinds, [content.KINDS[kind][1] for kind in kinds])[0]
    keys = content.keys_of(kind)
    return keys[int(len(keys) * rng.random() ** 2)]


def some_bucket(rng):
    """Returns a bucket."""
    return rng.choices(list(BUCKETS), BUCKETS.values())[0]


def plain(rng, kinds=None):
    """Returns a GET of a whole object."""
    return Asked(some_bucket(rng), some_key(rng, kinds))


def head(rng):
    """Returns a HEAD."""
    return Asked(some_bucket(rng), some_key(rng), "HEAD")


def ranged(rng, versions):
    """Returns a GET of a part, or of several."""
    asked = plain(rng)
    length = content.length_of(asked.key, 0) if asked.key in content.KEYS else 1000
    first = rng.randrange(length + 1)
    last = first + rng.choice([0, 1, 99, 16_383, 262_144, length])
    forms = [f"{first}-{last}", f"{first}-", f"-{rng.randint(1, length + 1)}", "0-", f"{length + 50}-"]
    form = rng.choices(forms, [6, 2, 2, 1, 0.3])[0]
    if length < PARTS_MAX and rng.random() < 0.1:
        form = f"0-9,{first}-{last},-5"
    asked.fields["Range"] = f"bytes={form}"
    if rng.random() < 0.15 and asked.key in content.KEYS:
        asked.fields["If-Range"] = content.etag_of(asked.key, some_version(rng, versions, asked.key))
    return asked


def conditional(rng, versions):
    """Returns a request with a condition."""
    asked = Asked(some_bucket(rng), some_key(rng), rng.choice(["GET", "GET", "GET", "HEAD"]))
    version = some_version(rng, versions, asked.key) if asked.key in content.KEYS else 0
    etag = content.etag_of(asked.key, version) if asked.key in content.KEYS else '"none"'
    date = email.utils.formatdate(content.modified_at(version), usegmt=True)
    conditions = {"If-None-Match": etag, "If-Match": etag, "If-Modified-Since": date, "If-Unmodified-Since": date}
    name = rng.choices(list(conditions), [6, 2, 2, 1])[0]
    asked.fields[name] = conditions[name]
    return asked


def some_version(rng, versions, key):
    """Returns the newest version of an object, or one before."""
    return max(0, versions.newest[key] - rng.choice([0, 0, 0, 1, 2]))


def any_request(rng, versions):
    """Returns a request of any kind that reads its answer to the end."""
    draw = rng.random()
    if draw < 0.62:
        asked = plain(rng)
    elif draw < 0.72:
        asked = head(rng)
    elif draw < 0.87:
        asked = ranged(rng, versions)
    else:
        asked = conditional(rng, versions)
    if rng.random() < 0.04:
        asked.fields["Cache-Control"] = rng.choice(["no-cache", "max-age=0", "no-store", "max-age=1"])
    # The fast path leaves a request with its own id to hyper.
    if rng.random() < 0.1:
        asked.fields["X-Request-Id"] = f"soak-{rng.randrange(10**9)}"
    return asked
