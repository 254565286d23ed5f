"""Judges responses: what may answer a request, and which bytes its body has."""

import asyncio
import re

import content

# How long an object without `Cache-Control` is fresh at most, in seconds, by bucket, and how long a stale one is served
# while it is revalidated.
FRESH_MAX, REVALIDATE_MAX = {"main": 4, "whole": 4, "lasting": 3600}, 2
# How long an answer from memory may take, in seconds. The machine may be busy with other things. A request may have
# waited for a fill that failed, and find the object stored by another one then.
HIT_MAX, HIT_MAX_AFTER_FAULT = 3, 8
# How long no bytes may have arrived for a client that is cut off, in seconds: less than the shortest `send_timeout`.
# The system may acknowledge none for that long if the machine is busy.
QUIET_MAX = 2.5
# The members of `Cache-Status` that are counted.
MEMBERS = re.compile(r"(?<=; )(?:hit|fwd=[\w-]+|detail=[\w-]+|fwd-status=304|collapsed|stored)")
# The statuses that need a fault of the origin.
FAILURES = (502, 503, 504)


class Body:
    """The bytes that a body has to have: those of one version from `first` on."""

    def __init__(self, key, version, first, length):
        self.key, self.version, self.length = key, version, length
        self._start, self._at = content.start_of(key, version), first
        self.is_right, self.where = True, ""

    def take(self, data):
        """Compares the next bytes."""
        for place in range(0, len(data), content.PIECE_MAX):
            piece = data[place : place + content.PIECE_MAX]
            if self.is_right and piece != content.piece(self._start, self._at, len(piece)):
                self.is_right = False
                self.where = f"from byte {self._at} on, {self.origin_of(piece)}"
            self._at += len(piece)

    def origin_of(self, piece):
        """Says where bytes come from that are wrong."""
        right = content.piece(self._start, self._at, len(piece))
        wrong = next(place for place, byte in enumerate(piece) if byte != right[place])
        sample, at = piece[wrong : wrong + 16], self._at + wrong
        place = content.BLOCK.find(sample) if len(sample) >= 8 else -1
        names = [
            f"version {version} of {key}"
            for key in content.KEYS
            for version in range(self.version + 10)
            if place >= 0 and (place - content.start_of(key, version) - at) % content.PERIOD == 0
        ]
        return f"byte {at} is wrong: {sample!r}, as in {names or 'no version'}"


class Judge:
    """Judges responses and reports what is wrong."""

    def __init__(self, versions, trouble, report, stalls, wrong):
        self.versions, self.trouble, self.report, self.stalls = versions, trouble, report, stalls
        # The deliberate fault: bodies are taken to be one byte longer.
        self.longer = 1 if wrong == "short" else 0
        # Failures whose fault the origin may not have reported yet: (check, request, when, what).
        self.pending = []
        # The longest waits for an answer from memory, without and after a fault of the origin for the same object.
        self.slowest = [0.0, 0.0]

    def length_of(self, key, version):
        """Returns the length of an object."""
        return content.length_of(key, version) + self.longer

    def complain(self, check, asked, head, why):
        """Reports a response."""
        self.report.complain(check, f"{asked}: {head}: {why}", asked.number)

    def waited(self, asked, head, waited):
        """Judges how long a client has waited for a response head."""
        if head.get("x-cache") == "HIT":
            now = asyncio.get_running_loop().time()
            is_excused = self.trouble.explains(asked.key, asked.begun, now)
            self.slowest[is_excused] = max(self.slowest[is_excused], waited)
            bound = HIT_MAX_AFTER_FAULT if is_excused else HIT_MAX
            if waited > bound + self.stalls.within(now - waited, now):
                self.complain("hits", asked, head, f"it came after {waited:.1f} s")

    def head(self, asked, head, now):
        """Judges a response head. Returns the `Body` that has to follow, or None if any may."""
        self.report.count(f"{head.status // 100}xx")
        self.report.count(f"status {head.status}")
        for member in re.findall(MEMBERS, head.get("cache-status", "")):
            self.report.count(member)
        if head.status in FAILURES:
            self.pending.append(("errors", asked, now, repr(head)))
            return None
        judges = {200: self.whole, 206: self.part, 304: self.not_modified, 404: self.missing, 412: self.failed}
        judges[416] = self.unsatisfiable
        if head.status not in judges:
            self.complain("statuses", asked, head, "it may not get this status")
            return None
        self.age(asked, head)
        return judges[head.status](asked, head)

    def age(self, asked, head):
        """Judges how old an answer from memory is: by what it says, and by the clock of the origin."""
        status, sent = head.get("cache-status", ""), head.get(content.SENT)
        if "; hit" not in status or sent is None:
            return
        self.report.count("ages of hits")
        lifetime = content.lifetime_of(asked.key, FRESH_MAX.get(asked.bucket, 0))
        if "detail=stale-while-revalidate" in status:
            lifetime += REVALIDATE_MAX
        age = asked.begun - float(sent)
        if max(age, int(head.get("age", 0))) > lifetime:
            self.complain("ages", asked, head, f"S3 sent it {age:.3f} s before the request, more than {lifetime} s")

    def version(self, asked, head):
        """Returns the version of a response, or None. Reports one that is too old or too new."""
        version = content.version_of(asked.key, head.get("etag")) if asked.key in content.KEYS else None
        if version is None or version > self.versions.newest[asked.key] or not content.exists(asked.key, version):
            self.complain("bytes", asked, head, "there is no such version")
            return None
        status = head.get("cache-status", "")
        # S3 was asked for this request, and has answered.
        is_forwarded = "fwd=" in status and "collapsed" not in status and "detail=stale" not in status
        oldest = asked.certain if is_forwarded else asked.oldest
        if version < oldest:
            self.complain("purges", asked, head, f"it is older than version {oldest}")
        return version

    def whole(self, asked, head):
        """Judges a 200."""
        version = self.version(asked, head)
        if version is None:
            return None
        length = self.length_of(asked.key, version)
        if head.get("content-length", str(length)) != str(length) or "content-range" in head.fields:
            self.complain("lengths", asked, head, f"expected the {length} bytes of version {version}")
            return None
        if content.kind_of(asked.key) != "chunked" and "content-length" not in head.fields:
            self.complain("lengths", asked, head, f"expected Content-Length: {length}")
        asked_range = content.selected(asked.fields.get("Range"), length)
        is_ignored = "If-Range" in asked.fields or content.kind_of(asked.key) == "chunked" or asked.method == "HEAD"
        if asked_range and asked_range != (0, length) and not is_ignored:
            self.complain("statuses", asked, head, "expected a part")
        return Body(asked.key, version, 0, length)

    def part(self, asked, head):
        """Judges a 206."""
        version = self.version(asked, head)
        if version is None:
            return None
        length = self.length_of(asked.key, version)
        if head.get("content-type", "").startswith("multipart/byteranges"):
            return Parts(asked.key, version, length, head)
        expected = content.selected(asked.fields.get("Range"), length)
        if "," in asked.fields.get("Range", ""):
            # Ranges that overlap become one.
            expected = content.selected(re.sub(r"bytes (.*)/.*", r"bytes=\1", head.get("content-range", "")), length)
        if not expected:
            self.complain("lengths", asked, head, "a part that was not asked for")
            return None
        first, end = expected
        named = (head.get("content-range"), head.get("content-length"))
        if named != (f"bytes {first}-{end - 1}/{length}", str(end - first)):
            self.complain("lengths", asked, head, f"expected bytes {first}-{end - 1}/{length}")
            return None
        if asked.fields.get("If-Range", content.etag_of(asked.key, version)) != content.etag_of(asked.key, version):
            self.complain("statuses", asked, head, "If-Range names another version")
        return Body(asked.key, version, first, end - first)

    def not_modified(self, asked, head):
        """Judges a 304."""
        version = self.version(asked, head)
        since = asked.fields.get("If-Modified-Since")
        is_known = since and version is not None and content.modified_at(version) <= content.seconds(since)
        if version is not None and not is_known and head.get("etag") != asked.fields.get("If-None-Match"):
            self.complain("statuses", asked, head, "the condition does not allow it")

    def possible(self, asked, oldest):
        """Returns the versions that may answer."""
        return range(oldest, self.versions.newest.get(asked.key, 0) + 1)

    def missing(self, asked, head):
        """Judges a 404."""
        if all(content.exists(asked.key, version) for version in self.possible(asked, asked.oldest_refusal)):
            check = "purges" if asked.oldest_refusal and content.kind_of(asked.key) == "gone" else "statuses"
            self.complain(check, asked, head, "the object has been there")

    def failed(self, asked, head):
        """Judges a 412."""
        tag, since = asked.fields.get("If-Match"), asked.fields.get("If-Unmodified-Since")
        versions = [
            version
            for version in self.possible(asked, asked.oldest)
            if (tag and tag != content.etag_of(asked.key, version))
            or (since and content.modified_at(version) > content.seconds(since))
        ]
        if not versions:
            self.complain("statuses", asked, head, "the condition holds for each version")

    def unsatisfiable(self, asked, head):
        """Judges a 416."""
        lengths = {self.length_of(asked.key, version) for version in self.possible(asked, asked.oldest)}
        lengths = {length for length in lengths if not content.selected(asked.fields.get("Range"), length)}
        named = head.get("content-range")
        if not lengths or (named and named not in [f"bytes */{length}" for length in lengths]):
            self.complain("statuses", asked, head, "there are bytes in the range")

    def body(self, asked, head, expected, received):
        """Judges a body that has come to its end."""
        if expected is None:
            return
        if not expected.is_right:
            self.complain("bytes", asked, head, expected.where)
        elif received != expected.length and head.length() is None:
            self.complain("lengths", asked, head, f"{received} of {expected.length} bytes pass for the whole")

    def broken(self, asked, head, expected, error, now):
        """Judges a response that has not come to its end."""
        if expected and not expected.is_right:
            self.complain("bytes", asked, head, expected.where)
        check = "cuts" if error.kind == "within the body" else "answers"
        self.report.count("cuts" if check == "cuts" else "unanswered")
        if check == "cuts" and asked.pace != "fast":
            check = "slow"
        text = f"{head}: {error}, {now - asked.begun:.1f} s after the request"
        if check == "slow" and asked.pace and error.is_reset:
            # Where the origin breaks off, the gateway closes the connection. It resets it to cut a client off.
            quiet = now - asked.arrived
            # Bytes that arrived during a stall were read after it.
            if quiet + self.stalls.within(asked.arrived - QUIET_MAX, now) < QUIET_MAX:
                self.report.complain("slow", f"{asked}: {text}, {quiet:.1f} s after bytes arrived", asked.number)
        elif asked.pace:
            self.pending.append((check, asked, now, text))

    def settle(self, now):
        """Judges the failures that are some seconds old, by the faults that the origin has reported."""
        waiting = []
        for check, asked, when, what in self.pending:
            if now < when + 2 + self.stalls.within(when, now):
                waiting.append((check, asked, when, what))
            elif not self.trouble.explains(asked.key, asked.begun, when):
                self.report.complain(check, f"{asked}: {what}, without a fault of the origin", asked.number or None)
        self.pending = waiting


class Parts:
    """Several ranges of one version in one body (RFC 9110 14.6)."""

    def __init__(self, key, version, length, head):
        self.key, self.version, self.whole = key, version, length
        self.length = head.length()
        self.is_right, self.where = True, ""
        boundary = re.search(r'boundary="?([^";]+)', head.get("content-type"))
        self._boundary = boundary[1].encode() if boundary else b"?"
        self._data = b""

    def take(self, data):
        """Collects the next bytes, and compares them when they are complete."""
        self._data += data
        if len(self._data) == self.length:
            why = self.fault()
            self.is_right, self.where = why is None, why

    def fault(self):
        """Returns what is wrong with the body, or None."""
        parts = (b"\r\n" + self._data).split(b"\r\n--" + self._boundary)
        if len(parts) < 3 or parts[0] or parts[-1].strip() != b"--":
            return f"no multipart: {self._data[:300]!r}"
        for part in parts[1:-1]:
            fields, _, data = part.partition(b"\r\n\r\n")
            match = re.search(rb"(?i)content-range: bytes (\d+)-(\d+)/(\d+)", fields)
            first, last, length = map(int, match.groups()) if match else (0, 0, 0)
            if length != self.whole or data != whole_of(self.key, self.version, first, last + 1):
                return f"a wrong part: {fields!r}"
        return None


def whole_of(key, version, first, end):
    """Returns bytes of an object, of any length."""
    start, data = content.start_of(key, version), b""
    while len(data) < end - first:
        data += content.piece(start, first + len(data), end - first - len(data))
    return data
