"""Compares the log of a proxy with that of the gateway, and both with what the clients got."""

import collections
import re
import urllib.parse

import relay
import rules
from gateway import PREFIXES
from store import content

# The checks, and what is right if they pass.
CHECKS = {
    "pairs": "the gateway saw the requests that the proxy forwarded, each once",
    "method": "both read the same methods",
    "target": "both read the same targets, and the key follows from the target",
    "host": "both read the same hosts",
    "path": "the path by which the proxy decides leads to the key",
    "status": "both say the same status",
    "refusals": "the gateway refuses what it must, and nothing else",
    "content": "a request with content ends its connection, and without a reset",
    "answers": "each client got the answers to its own requests",
    "canaries": "each canary got its own object",
    "log": "the gateway logged no error and no warning",
}
# The paths that the HTTP/2 library of the gateway takes. It refuses others without a line in the log.
HTTP2_PATH = rb"\*|/[!$-;=?-_a-z|~]*"
# The gateway logs no longer texts as a whole.
LOGGED = 1000


class Report:
    """The outcome of a run."""

    def __init__(self):
        self.counts = collections.Counter()
        self.differences = collections.defaultdict(list)

    def differ(self, check, text, client=None):
        """Adds a difference. `client` is the address of the connection that it is about."""
        self.differences[check].append((text, client))


def compare(proxy, gateway, record, messages, canaries):
    """Compares everything and returns a report."""
    report = Report()
    requests = [request for request in proxy.requests() if request.is_forwarded]
    entries, complaints = gateway.logged()
    of_client = collections.defaultdict(list)
    for request, entry in pair(requests, entries, report):
        agree(request, entry, report)
        of_client[request.client].append((request, entry))
    judge_bytes(record, report)
    for exchange in messages:
        delivered(exchange, of_client[exchange.address], report)
    # A proxy that has waited for half a second, on a busy machine, closes a connection before its first request.
    judged = [canary for canary in canaries if canary.address in of_client]
    if len(judged) < len(canaries) * 0.95:
        report.differ("canaries", f"{len(canaries) - len(judged)} of {len(canaries)} were not forwarded")
    for canary in judged:
        head, _, body = canary.received.partition(b"\r\n\r\n")
        whole = b"" if canary.pieces[0].startswith(b"HEAD") else content(canary.key)
        if not head.startswith(b"HTTP/1.1 200 ") or body != whole:
            report.differ("canaries", f"{canary} instead of {whole[:50]!r}")
    for text in complaints:
        report.differ("log", text)
    report.counts["messages"] = len(messages)
    report.counts["forwarded"] = len(requests)
    report.counts["refused"] = sum(entry["status"] in (400, 431) for entry in entries)
    return report


def pair(requests, entries, report):
    """Returns the requests of the proxy with their lines in the log of the gateway. What is left is a difference."""
    by_referer = collections.defaultdict(list)
    unread = {}  # the bytes that were no request, by the ids of the answers
    for entry in entries:
        if entry["method"] == "-":
            unread[entry["request_id"]] = entry
        else:
            by_referer[entry.get("referer", "")].append(entry)
    pairs, broken_off = [], 0
    for request in requests:
        own = by_referer.pop(request.referer, [])
        if request.answer_id in unread:
            own.append(unread.pop(request.answer_id))
        if len(own) == 1:
            pairs.append((request, own[0]))
        elif own:
            report.differ("pairs", f"the gateway saw it {len(own)} times: {request.text}", request.client)
        elif request.is_broken_off:
            broken_off += 1
        elif request.over_http2 and (request.upstream_status == 431 or not re.fullmatch(HTTP2_PATH, request.target)):
            report.counts["refused by the HTTP/2 library"] += 1
        else:
            report.differ("pairs", f"only the proxy saw it: {request.text}", request.client)
    # A proxy that gives up does not read the refusal of what it has sent.
    for entry in sum(by_referer.values(), list(unread.values())[broken_off:]):
        report.differ("pairs", f"only the gateway saw it: {entry}", entry.get("referer", "").partition("/")[0])
    return pairs


def agree(request, entry, report):
    """Compares a request as the proxy and as the gateway read it."""

    def differ(check):
        report.differ(check, f"proxy {request.text} gateway {entry}", request.client)

    status, key = entry["status"], entry.get("key")
    if request.answer_id not in (None, entry["request_id"]):
        differ("answers")
    if request.upstream_status != status and not (request.upstream_status is None and request.is_broken_off):
        differ("status")
    if entry["method"] == "-":
        return
    must = rules.must_refuse(request.method, request.target, request.hosts, entry["protocol"])
    if must is not None and must != (status == 400) and status not in (431, 499):
        differ("refusals")
    if status == 400:
        return
    if request.method.decode("latin-1") != entry["method"]:
        differ("method")
    path, query = rules.split(request.target)
    if path != b"*" and not path.startswith(b"/"):
        # An authority, or nothing that a URI may be.
        path = b""
    if request.over_http2 and request.method == b"OPTIONS" and re.fullmatch(rules.ABSOLUTE, request.target):
        # `OPTIONS http://a` is written so over HTTP/2 (RFC 9113 8.3.1).
        path = b"*"
    # The gateway logs some bytes escaped.
    logged = entry["path"] + ("?" + entry["query"] if "query" in entry else "")
    sent, logged = (urllib.parse.unquote_to_bytes(text)[:LOGGED] for text in (path + query, logged))
    if sent != logged or key not in (None, rules.key_of(request.target)[1]):
        differ("target")
    absolute = re.match(rules.ABSOLUTE, request.target)
    # A host in the target overrides the field (RFC 9112 3.2.2).
    host = absolute and absolute[2] or b"".join(request.hosts[:1])
    if path and host.decode("utf-8", "replace")[:LOGGED] != entry.get("host", "")[:LOGGED]:
        differ("host")
    if key is not None:
        served = f"{PREFIXES[entry['bucket']]}/{key}"
        decided = "{}/{}".format(*rules.key_of(request.path))
        # nginx takes several slashes for one.
        if decided not in (served, re.sub("//+", "/", served)):
            differ("path")


def judge_bytes(record, report):
    """Compares the answers to the recorded requests with the rules."""
    sent, last, ended = {}, {}, set()
    for connection, direction, data in relay.read(record):
        if direction == ">":
            sent[connection] = (sent[connection] if last.get(connection) == ">" else b"") + data
        elif last.get(connection) == ">" and data.startswith(b"HTTP/1.1 "):
            head = re.split(rb"\r?\n\r?\n", sent[connection].lstrip(b"\r\n"), maxsplit=1)[0]
            words = f"{head[:700]!r} got {data[:700]!r}"
            must = rules.must_refuse_head(head)
            report.counts["judged by their bytes"] += 1
            if must is not None and must != (data[9:12] in (b"400", b"431")):
                report.differ("refusals", f"{'not ' * must}refused: {words}")
            if connection in ended:
                report.differ("content", f"answered after a request with content: {words}")
            if re.search(rb"(?i)\n(transfer-encoding:|content-length:[ \t]*0*[1-9])", head):
                ended.add(connection)
                if not re.search(rb"(?i)\nconnection: close\r", data):
                    report.differ("content", f"no `Connection: close`: {words}")
        if direction == "!":
            report.differ("content", f"the gateway has reset the connection after {sent[connection][:700]!r}")
        last[connection] = direction


def delivered(exchange, pairs, report):
    """Checks the answers that the client of a message got. `pairs` are its requests with their lines in the log."""

    def differ(text):
        report.differ("answers", text, exchange.address)

    rest, is_closed = exchange.received, exchange.end == "closed"
    if exchange.end == "stuck":
        differ("the connection was left hanging")
    ids = re.findall(rb"(?i)\nx-request-id: ([^\r]+)", rest)
    if not set(ids) <= {entry["request_id"].encode() for _, entry in pairs}:
        differ("the answer to the request of another")
    for request, entry in pairs:
        before, is_there, after = rest.partition(b": " + entry["request_id"].encode())
        head, _, body = after.partition(b"\r\n\r\n")
        if is_there:
            report.counts["answers"] += 1
            rest = after
            if not is_right(before + head, body, request, entry) and is_closed and not request.is_broken_off:
                differ(f"the wrong answer: {body[:100]!r} for {entry}")
        elif is_closed and not request.is_broken_off and not request.is_headless:
            differ(f"no answer for {entry}")


def is_right(head, body, request, entry):
    """Returns whether a client got the answer to a request: its head, and its body with what followed."""
    status = entry["status"]
    if status >= 400 and request.method != b"HEAD":
        return entry["request_id"].encode() in body.partition(b"}")[0]
    if request.method != b"GET" or status == 304:
        return True
    whole = content(entry["key"])
    if status == 206:
        first, last = re.search(rb"(?i)content-range: bytes ([0-9]+)-([0-9]+)/", head).groups()
        whole = whole[int(first) : int(last) + 1]
    return body.startswith(whole)
