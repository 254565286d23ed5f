"""What the gateway has to make of a request: its key, or a refusal.

This is written from RFC 9110, RFC 9112 and docs/src/semantics.md, and not from the code of the gateway.
"""

import re
import urllib.parse

from gateway import PREFIXES

TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
# A scheme and an authority.
ABSOLUTE = rb"(?i)([a-z][a-z0-9+.-]*)://([^/?#]*)"
# A target in absolute form that some parsers of URIs take, and others do not.
DOUBTFUL = rb"[^-A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%]|^[^/]*//[^/]*%"


def split(target):
    """Returns the path of a request target, and the query with its `?`. The path of `http://a` is `/`."""
    if absolute := re.match(ABSOLUTE, target):
        target = target[absolute.end() :]
        target = target if target.startswith(b"/") else b"/" + target
    path, mark, query = target.partition(b"#")[0].partition(b"?")
    return path, mark + query


def key_of(target):
    """Returns the prefix and the key of a target ("Paths"). Without a key, returns None and the reason."""
    path = split(target)[0]
    if not path.startswith(b"/") or re.search(rb"%(?![0-9A-Fa-f]{2})", path):
        return None, "not a path"
    decoded = urllib.parse.unquote_to_bytes(path)
    if not is_utf8(decoded) or b"\0" in decoded:
        return None, "not a text"
    segments = decoded.decode().split("/")
    if ".." in segments:
        return None, "dots"
    if segments[-1] == ".":
        segments.append("")
    plain = "/".join(segment for segment in segments if segment != ".")
    prefix = next(prefix for prefix in sorted(PREFIXES.values(), reverse=True) if plain.startswith(prefix + "/"))
    key = plain[len(prefix) + 1 :]
    if len(key.encode()) > 1024:
        return None, "too long"
    return (prefix, key) if key else (None, "no key")


def is_host(value):
    """Returns whether a value of Host may name a host (RFC 9110 7.2, RFC 3986 3.2.2). It may be empty."""
    name = rb"[A-Za-z0-9._~%!$&'()*+,;=-]*"
    return re.fullmatch(rb"(%s|\[[A-Za-z0-9._~%%!$&'()*+,;=:-]*\])(:[0-9]*)?" % name, value.strip(b" \t")) is not None


def must_refuse(method, target, hosts, protocol):
    """Returns whether the gateway must answer a request with 400, or None if it may.

    It looks at the path of a GET or HEAD only.
    """
    if len(hosts) != 1 and (protocol == "HTTP/1.1" or hosts) or not all(map(is_host, hosts)):
        return True
    absolute = re.match(ABSOLUTE, target)
    # Over HTTP/2 there may be no authority. The gateway does not see the scheme then.
    if absolute and (absolute[2] or protocol != "HTTP/2.0"):
        if absolute[1].lower() not in (b"http", b"https") or not absolute[2] or not is_host(absolute[2]):
            return True
        if re.search(DOUBTFUL, target):
            return None
    prefix, reason = key_of(target)
    if prefix is not None or reason == "no key":
        return False
    return True if method in (b"GET", b"HEAD") else None


def must_refuse_head(head):
    """Returns whether the gateway must answer a head of HTTP/1 with 400 or 431, or None if it may.

    The head is without the empty line at its end.
    """
    first, *rest = [line.removesuffix(b"\r") for line in head.split(b"\n")]
    parts = re.fullmatch(rb"(%s) ([^ ]+) (HTTP/1\.[01])" % TOKEN, first)
    if not parts or len(head) + 4 > 16 * 1024 or len(rest) > 512:
        return True
    method, target, protocol = parts.groups()
    if method == b"CONNECT":
        # Each is refused, with 405, whatever else is wrong with it.
        return None
    if re.search(rb"[\x00-\x20\x7f]", target) or not is_utf8(target):
        return True
    fields = [line.partition(b":") for line in rest]
    if any(not colon or not re.fullmatch(TOKEN, name) for name, colon, _ in fields):
        return True
    if any(re.search(rb"[\x00-\x08\x0a-\x1f\x7f]", value) for _, _, value in fields):
        return True
    hosts, lengths, codings = (
        [value.strip(b" \t") for name, _, value in fields if name.lower() == wanted]
        for wanted in (b"host", b"content-length", b"transfer-encoding")
    )
    if len(set(lengths)) > 1 or any(not re.fullmatch(rb"[0-9]{1,19}", length) for length in lengths):
        return True
    if codings and (lengths or protocol == b"HTTP/1.0" or not re.search(rb"(?i)(^|,)[ \t]*chunked$", codings[-1])):
        return True
    return must_refuse(method, target, hosts, protocol.decode())


def is_utf8(data):
    """Returns whether bytes are UTF-8."""
    return data.decode(errors="ignore").encode() == data
