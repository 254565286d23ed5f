"""Makes messages that two HTTP programs may read in different ways.

A message is everything that a client sends over one connection: a request that is nearly valid, changed in a few
places, and a last request for /end/NUMBER that closes the connection. `message(seed, number)` always returns the same
bytes. The first request is for /o/NUMBER, or for an object that the gateway has probably stored, with the number in the
query. Requests for /smuggled/NUMBER are hidden in contents and in fields.

Texts stand for bytes, one character for each. In a template, {n} is the number of the message, {host} the name of the
gateway, {target} the target of the request, {hidden} a hidden request, and {x*9,99} nine or 99 times `x`.
"""

import dataclasses
import random
import re

HOST = "gateway.example"
# Number of objects that many messages ask for.
HOT = 20
# White space that some programs skip, and other bytes that some take for white space.
ODD_SPACE = ["  ", "\t", " \t", "\x0b", "\x0c", "\xa0", "\r", "\r ", "\n", "\0", "\r\n ", "\r\n\t", " \r\n "]


def around(text):
    """Returns the text with odd white space before it, and after it."""
    return [space + text for space in ODD_SPACE] + [text + space for space in ODD_SPACE]


@dataclasses.dataclass
class Message:
    """What a client sends over one connection."""

    number: int
    pieces: list  # of bytes, with a pause between them
    changes: list  # names
    leaves: bool  # whether the client closes the connection without waiting for an answer


class Draft:
    """A message in parts, which the changes work on."""

    def __init__(self, rng, number):
        self.rng, self.number = rng, number
        self.before = self.query = self.body = self.after = ""
        self.method, self.path, self.target, self.version = "GET", f"/o/{number}", None, "HTTP/1.1"
        self.gaps, self.line_end, self.head_end = [" ", " "], "\r\n", "\r\n"
        self.host, self.framing, self.fields = f"Host: {HOST}", [], [f"User-Agent: t{number}"]
        self.hidden = f"GET /smuggled/{number} HTTP/1.1\r\nHost: {HOST}\r\n\r\n"

    def one_of(self, templates):
        """Returns one of these texts."""
        text = self.rng.choice(templates)
        names = {"n": str(self.number), "host": HOST, "target": self.path + self.query, "hidden": self.hidden}
        for name, value in names.items():
            text = text.replace("{" + name + "}", value)
        return re.sub(r"\{([^{}*]+)\*([0-9,]+)\}", lambda x: x[1] * int(self.rng.choice(x[2].split(","))), text)

    def head(self):
        """Returns the request up to its content."""
        target = self.path + self.query if self.target is None else self.target
        line = self.method + self.gaps[0] + target + self.gaps[1] + self.version
        fields = [self.host] * (self.host != "") + self.fields
        where = self.rng.randint(0, len(fields))
        fields[where:where] = self.framing
        return self.before + self.line_end.join([line, *fields, ""]) + self.head_end

    def chunked(self, text):
        """Returns a content in at most two chunks."""
        cut = self.rng.randint(0, len(text))
        parts = [part for part in (text[:cut], text[cut:]) if part]
        return "".join(f"{len(part):x}\r\n{part}\r\n" for part in parts) + "0\r\n\r\n"


CONTENTS = [
    "", "x=1", "{a*10,100,1000,20000,200000}", "{hidden}", "{hidden}{hidden}", "GET /smugg", "0\r\n\r\n{hidden}",
    "\r\n{hidden}", "3\r\nabc\r\n0\r\n\r\n{hidden}",
]


def begin(draft):
    """Chooses the request that the changes work on."""
    rng = draft.rng
    kind = rng.random()
    if kind < 0.3:
        draft.path, draft.query = f"/hot/{rng.randrange(HOT)}", f"?{draft.number}"
    elif kind < 0.45:
        draft.path = f"/s/o/{draft.number}"
    draft.method = rng.choices(["GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE"], [60, 8, 4, 16, 8, 4])[0]
    if draft.method in ("POST", "PUT") or rng.random() < 0.15:
        draft.body = draft.one_of(CONTENTS)
        draft.framing = [f"Content-Length: {len(draft.body)}"]
        if rng.random() < 0.5:
            draft.framing = ["Transfer-Encoding: chunked"]
            draft.body = draft.chunked(draft.body)


# Changes of the request line.

BEFORE = ODD_SPACE + ["\r\n", "\r\n\r\n", "\n\n", " ", "\xef\xbb\xbf", "\r\n \r\n", "0\r\n\r\n"]
VERSIONS = ["HTTP /1.1", "HTTP/ 1.1", "HTTP/1.1 ", "HTTP/1.1\t", "HTTP/1.1 HTTP/1.1", "HTTP/1.1\0", "HTTP/1.\xb1", ""]
VERSIONS += """HTTP/1.0 HTTP/1.0 HTTP/1.0 HTTP/1.2 HTTP/1.9 HTTP/0.9 HTTP/2.0 HTTP/3.0 HTTP/1.10 HTTP/1.01 HTTP/01.1
    HTTP/1 HTTP/1.1.1 http/1.1 Http/1.1 HTTP/1,1 HTTP/11 HTTP/+1.1 HTTPS/1.1 ICY/1.1 RTSP/1.0""".split()
METHODS = ["GE\0T", "G ET", "GET\t", "G\xc9T", "", "GET\r", "\r\nGET"]
METHODS += """PATCH TRACE CONNECT PRI PURGE PROPFIND get Get HEADGET "GET" GET: (GET) !#$%&'*+-.^_`|~ {A*30,100} 1
    HTTP/1.1""".split()
TARGETS = ["", "http://{host}{target}"]
TARGETS += """http://{host}{target} HTTP://{host}{target} https://{host}{target} http://other.example{target}
    http://{host}:80{target} http://{host}:99999{target} http://user:secret@{host}{target} http://user@{host}{target}
    http://[::1]:80{target} http://[::1{target} http://{host} http://{host}?{n} http://{host}#{n}
    http://{host}/smuggled/../o/{n} http:///o/{n} http:/o/{n} http:o/{n} ftp://{host}{target} file:///o/{n} x:{target}
    1http://{host}{target} {host}:80 {host}{target} * /* ** //{host}{target} //o/{n} ///o/{n} o/{n} ?{n} #{n} /
    \\o\\{n} /%2fo/{n} %2fo/{n} http://{host}\\@other.example{target} http://{host}%2fo/{n}""".split()
PATHS = ["/o/{n}?a b", "/o/{n}\xe9", "/o/{n}\xc3\xa9", "/o/{n}?\xe9"]
PATHS += """/o/%3{n} /%6f/{n} /%6F/{n} /o%2f{n} /o%2F{n} /o%5c{n} /o\\{n} /o//{n} /./o/{n} /o/./{n} /o/%2e/{n}
    /o/.%2f{n} /o/{n}/. /o/{n}/.. /x/../o/{n} /x/%2e%2e/o/{n} /x/.%2e/o/{n} /x/..%2fo/{n} /x%2f..%2fo/{n} /x/..;/o/{n}
    /x/...//o/{n} /../o/{n} /o/{n};a=b /o/{n}/ /o/{n}// /o/{n}%00 /o/{n}%00.html /o/{n}%20 /o/{n}%0d%0aX:%20y /o/{n}%0a
    /o/{n}%23a /o/{n}%3fa /o/{n}%25 /o/{n}%2500 /o/{n}% /o/{n}%4 /o/{n}%zz /o/{n}%u0041 /o/{n}%ff /o/{n}%c0%af
    /o/{n}%ed%a0%80 /o/{n}%c3%a9 /o/{n}#a /o/{n}#a?b /o/{n}# /o/{n}? /o/{n}??a?b /o/{n}?a#b /o/{n}?%zz /o/{n}?%00
    /o/{n}?a=http://b/../c /o/{n}+ /o/{n}" /o/{n}<> /o/{n}[1] /o/{n}{}|^` /o/{n}'()*!$&,=@: /o/{n}{%41*300,1100}
    /o/{n}{a*1000,1020,1100,4000,7900,9000,14000,17000} /o/{n}{/*1100} /s//o/{n} /s%2fo/{n} /s/./o/{n} /%73/o/{n}
    /s/%2e%2e/o/{n} /S/o/{n}""".split()


def gaps(draft):
    """Puts other white space between the parts of the request line, or leaves some out."""
    gap = draft.rng.choice(ODD_SPACE + [""])
    draft.gaps = draft.rng.choice([[gap, " "], [" ", gap], [gap, gap]])


def odd_byte(draft):
    """Puts an odd byte into the path."""
    where = draft.rng.randint(1, len(draft.path))
    byte = draft.rng.choice([*range(33), *range(127, 256), *b'"#%<>[\\]^`{|}'])
    draft.path = draft.path[:where] + chr(byte) + draft.path[where:]


def line_ends(draft):
    """Ends lines in another way."""
    draft.line_end = draft.rng.choice(["\n", "\n", "\r", "\r\r\n", "\n\r", "\r\n", " \r\n", "\0\r\n"])
    draft.head_end = draft.rng.choice(["\r\n", "\n", "\r", "\r\r\n", " \r\n", "\n\r\n", "\r\n\r\n", ""])


HOSTS = ["Host: " + host for host in """{host}:80 {host}: {host}:0 {host}:99999 {host}:80:80 {host}:abc
    {host}:80@other.example user@{host} http://{host} {host}/smuggled/{n} {host}?a {host}#a {host}\\a {host}. .{host}
    GATEWAY.example a_b.example a..b .. %67ateway.example gateway%00.example [::1] [::1]:80 [::1 ::1 [::1]x
    [fe80::1%25eth0] 127.0.0.1 127.1 0x7f000001 * <a> "a" a'b a;b a|b {a*300} {a.*2000}""".split()]
HOSTS += ["Host:" + host for host in around("{host}")]
HOSTS += [
    "", "", "Host:", "Host: ", "Host: {host}\r\nHost: {host}", "Host: {host}\r\nHost: other.example",
    "Host: other.example\r\nHost: {host}", "Host: {host}\r\nhost:", "Host: {host}, other.example", "HOST: {host}",
    "Host: {host} other.example", "Host: gateway\0.example", "Host: gateway\xe9.example", "Host: gateway\x01.example",
    "Host: {host}\r\n ,other.example", "Host: other.example\r\n\tX: y", "Host: {host}\r\nHost : other.example",
    "Host: {host}\r\n Host: other.example", "X-Forwarded-Host: other.example\r\nHost: {host}",
]
HOSTS += [name + ": {host}" for name in around("Host")]

# Changes of what says where the message ends.

LENGTHS = around("@") + ["@, @", "@, 0", "0, @", "@ 0", "", " ", "\xd9\xa1", "@\r\n 0", "@\n 0"]
LENGTHS += """0 00@ +@ -@ -1 0x@ @.0 @e0 @, @,@ ,@ @;a '@' "@" chunked 1_0 9223372036854775807 9223372036854775808
    18446744073709551615 18446744073709551616 18446744073709551616@ 1{0*30} 4294967296 {0*30}@""".split()
CODINGS = around("chunked") + [
    "chunked, identity", "identity, chunked", "chunked, chunked", "gzip, chunked", "chunked, gzip", "chunked; a=b",
    ", ,chunked", "chunked, ", "x, chunked", "chunked x", "x chunked", "", " ", "chunked\r\n , identity",
    "identity\r\n , chunked", "c\xc8unked", "chunk\xc3\xa9d",
]
CODINGS += """Chunked CHUNKED gzip identity xchunked chunkedx chunke 'chunked' "chunked" chunked, ,chunked
    chunked;q=1""".split()
# Ways to write the name of a field, which is `@`.
NAMES = [name + ": " for name in around("@")] + [
    "@:", "@:\t", "X: y\n@: ", "X: y\r@: ", "X: y\r\n @: ", "X: y\r\r\n@: ", "X: y\0\n@: ", "X\n@: ", ":@: ", ": @: ",
    "\xef\xbb\xbf@: ", "@:: ", "@=", "@ ", "X-@: ", "@-X: ", '"@": ', "\x7f@: ",
]


def named(draft, name, value):
    """Returns a field. Its name may be written in an odd way."""
    way = draft.rng.choice(NAMES) if draft.rng.random() < 0.4 else "@: "
    spelled = draft.rng.choice([name, name, name.lower(), name.upper(), name.replace("-", "_")])
    return way.replace("@", spelled) + value


def framing_field(draft):
    """Returns a field that says where the content ends. Most are wrong or odd."""
    rng, length = draft.rng, len(draft.body)
    if rng.random() < 0.5:
        return named(draft, "Transfer-Encoding", rng.choice(["chunked", rng.choice(CODINGS)]))
    near = [length + 1, max(0, length - 1), length + rng.randint(1, 60), length // 2, 4, 5, draft.body.find("\n") + 1]
    values = [str(length), str(rng.choice(near)), draft.one_of(LENGTHS).replace("@", str(length))]
    return named(draft, "Content-Length", rng.choice(values))


def framing(draft):
    """Says in an odd way where the content ends."""
    draft.body = draft.body or draft.one_of(CONTENTS)
    draft.framing = [framing_field(draft)]
    if "chunked" in draft.framing[0] and not draft.body.endswith("0\r\n\r\n"):
        draft.body = draft.chunked(draft.body)


def framings(draft):
    """Says twice where the content ends, and hides a request behind one of the ends."""
    contents = ["0\r\n\r\n{hidden}", "1\r\na\r\n0\r\n\r\n{hidden}", "{hidden}", draft.chunked(draft.hidden)]
    draft.body = draft.one_of(contents)
    draft.framing = [framing_field(draft), framing_field(draft)]


# Lines before a chunk, of which `@` is the size, what follows a chunk, and the end.
CHUNK_LINES = around("@") + ["@ ; a = b", '@;a="b\r\nc"', "@;a\nb", "@;a\rb", "@;\0", ""]
CHUNK_LINES += """@ @ @ 0x@ +@ -@ @; @;a @;a=b @;a=" @;{a*100,5000,20000} @_ @g @,1 @.0 00@ {0*20,300,9000}@ 1{0*8}@
    1{0*16}@ {f*16} {f*17} 7fffffffffffffff""".split()
CHUNK_ENDS = ["\r\n"] * 3 + ["\n", "\r", "", "\r\n\r\n", "x\r\n", "\n\r\n", "  ", "XX"]
LAST_CHUNKS = ["0\r\n\r\n"] * 3 + [
    "0\n\n", "0\r\n\n", "0\n\r\n", "0\r\r", "0\r\n\r", "0;a\r\n\r\n", "0;a={hidden}", "000000\r\n\r\n", "0x0\r\n\r\n",
    "{00*200}\r\n\r\n", "-0\r\n\r\n", "0 \r\n\r\n", "0\r\n", "0\r\n{hidden}", "\r\n0\r\n\r\n", "",
    "0\r\n{X: y\r\n*1,100,600,2000}\r\n", "0\r\nX: {y*5000,20000}\r\n\r\n",
]
TRAILERS = ["Content-Length: 5", "Transfer-Encoding: chunked", "Host: other.example", "X : y", "X: y\r\n z", ": y", "X"]
LAST_CHUNKS += [f"0\r\n{trailer}\r\n\r\n" for trailer in TRAILERS]


def chunks(draft):
    """Writes chunks in another way."""
    rng = draft.rng
    size = len(draft.hidden)
    written = [f"{size:x}", f"{size:X}", f"{size:x}", f"{size + rng.choice([-1, 1, 2]):x}", str(size)]
    line = draft.one_of(CHUNK_LINES).replace("@", rng.choice(written))
    line += rng.choice(["\r\n"] * 7 + ["\n", "\r", "\n\r\n"])
    draft.framing = ["Transfer-Encoding: chunked"]
    draft.body = line + draft.hidden + rng.choice(CHUNK_ENDS) + draft.one_of(LAST_CHUNKS)


def unfinished(draft):
    """Lets the content end too early or too late."""
    draft.body = draft.rng.choice([draft.body[: len(draft.body) // 2], draft.body + "\r\n", draft.body + "x"])


# Further fields: odd ones, those about the connection, and those that may change the answer.

ODD_FIELDS = [
    "X : y", "X\t: y", ": y", "X", "X y", " X: y", "\tX: y", "X: y\r\n z", "X: y\r\n\tz", "X:\r\n y", "X: y\r\n ",
    "X: y\nZ: z", "X: y\rZ: z", "X: y\r\r\nZ: z", "X: y\n\rZ: z", "X: a\0b", "X: a\x01b", "X: a\x7fb", "X: a\x0bb",
    "X: \xe9", "X: \xff\xfe", "X: \xc3\xa9", "X\xe9: y", "X\0: y", "X\x01: y", "X/: y", "(X): y", "X@Y: y", "X{}: y",
    "[X]: y", "!#$%&'*+-.^_`|~0: y", "X:", "X: ", "X::y", "X: {y*1000,7900,9000,15000,17000,33000}",
    "{X*200,1000,9000}: y", "{X: y\r\n*60,90,101,200,500,513,1000}X: y", "X: y\r\n\r\n{hidden}", "X: y\n\n{hidden}",
    "X: y\r\r{hidden}", "X: y\r\n\n{hidden}", "X: y\n\r\n{hidden}", "X: y\r\n \r\n{hidden}", "X: y\r\n\0\r\n{hidden}",
    "X: GET /smuggled/{n} HTTP/1.1", "GET /smuggled/{n} HTTP/1.1", "GET /smuggled/{n} HTTP/1.1: y",
]
HOP_FIELDS = ["Connection: " + value for value in """keep-alive Keep-Alive close close CLOSE Host Content-Length
    Transfer-Encoding User-Agent ,,, \0 Upgrade""".split()]
HOP_FIELDS += ["Expect: 100-continue"] * 3 + [
    "Connection: close, keep-alive", "Connection: keep-alive, close", "Connection: keep-alive\r\nConnection: close",
    "Connection: close\r\n , keep-alive", "Connection: close, Transfer-Encoding, Content-Length", "Connection:",
    "Connection: Range\r\nRange: bytes=0-9", "Connection : close", "Connection: TE\r\nTE: trailers", "TE: chunked",
    "Trailer: X", "Trailer: Content-Length", "Keep-Alive: timeout=5, max=1", "Proxy-Connection: close",
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13", "Upgrade: websocket",
    "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA",
    "Connection: Upgrade\r\nUpgrade: h2c", "Connection: Upgrade\r\nUpgrade: TLS/1.2", "Expect: 100-Continue",
    "Expect: 100-continue, 100-continue", "Expect: 100-continue\r\nExpect: x", "Expect: 200-ok", "Expect:",
]
ANSWER_FIELDS = ["Range: bytes=" + value for value in "0-0 0-200 0-2000 -5 5- 99999999- 0-0,5-6 a".split()] + [
    "Range: bytes=0-1\r\nRange: bytes=2-3", "If-None-Match: *", 'If-Match: "x"', "Cache-Control: no-cache",
    "Cache-Control: only-if-cached", "If-Modified-Since: Tue, 01 Jan 2030 00:00:00 GMT", "Origin: http://a.example",
    "Origin: http://a.example\r\nAccess-Control-Request-Method: GET", "Content-Encoding: gzip", "Max-Forwards: 0",
    "Content-Type: multipart/form-data; boundary=\r\n", "X-HTTP-Method-Override: DELETE", "Via: 1.1 yatagarasu",
    "X-Original-URL: /smuggled/{n}", "X-Rewrite-URL: /smuggled/{n}", "X-Accel-Redirect: /smuggled/{n}",
    "Referer: http://a.example/?token=b", "Forwarded: for=10.0.0.1;host=other.example", "X-Forwarded-For: 10.0.0.1",
]

# What follows right after the request.
PIPELINED = [
    "GET /o/{n}?second HTTP/1.1\r\nHost: {host}\r\n\r\n", "GET /hot/1?{n} HTTP/1.1\r\nHost: {host}\r\n\r\n",
    "POST /o/{n}?second HTTP/1.1\r\nHost: {host}\r\nContent-Length: 3\r\n\r\nabc", "{hidden}", "{hidden}{hidden}",
    "\r\n\r\n", "{\r\n*1,10,100}", "x", "\0",
]


def replaces(part, templates):
    """Returns the change that replaces a part of the message by one of these texts."""
    return lambda draft: setattr(draft, part, draft.one_of(templates))


def adds(templates):
    """Returns the change that adds one of these fields."""
    return lambda draft: draft.fields.insert(draft.rng.randint(0, len(draft.fields)), draft.one_of(templates))


# The changes, and how often each is chosen.
CHANGES = {
    "gaps": (gaps, 5), "before": (replaces("before", BEFORE), 3), "version": (replaces("version", VERSIONS), 5),
    "method": (replaces("method", METHODS), 4), "target": (replaces("target", TARGETS), 7),
    "path": (replaces("path", PATHS), 10), "odd byte": (odd_byte, 5), "line ends": (line_ends, 5),
    "host": (replaces("host", HOSTS), 9), "framing": (framing, 20), "framings": (framings, 15), "chunks": (chunks, 12),
    "unfinished": (unfinished, 3), "odd field": (adds(ODD_FIELDS), 9), "hop field": (adds(HOP_FIELDS), 10),
    "answer field": (adds(ANSWER_FIELDS), 8), "pipelined": (replaces("after", PIPELINED), 6),
}


def noise(rng, text):
    """Returns a text with a few characters changed."""
    changed = list(text)
    for _ in range(rng.choice([1, 1, 2, 5])):
        where = rng.randrange(len(changed))
        new = rng.choice([chr(rng.randrange(256)), rng.choice("\r\n\t :;,/?#%\0HTP10")])
        changed[where] = rng.choice([new + changed[where], new + changed[where], new, new, ""])
    return "".join(changed)


def message(seed, number):
    """Returns the message with this number."""
    rng = random.Random(f"{seed}/{number}")
    draft = Draft(rng, number)
    begin(draft)
    count = rng.choices([0, 1, 2, 3], [4, 60, 26, 10])[0]
    names = rng.choices(list(CHANGES), [weight for _, weight in CHANGES.values()], k=count)
    for name in names:
        CHANGES[name][0](draft)
    last = f"GET /end/{number} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n" if rng.random() < 0.97 else ""
    head, rest = draft.head(), draft.body + draft.after + last
    if rng.random() < 0.04:
        names.append("noise")
        head = noise(rng, head)
    # The head alone in 25 %: the gateway may answer before the content comes. Another cut in 7 %.
    cut = rng.choices([len(head), rng.randint(0, len(head + rest)), 0], [25, 7, 68])[0]
    pieces = [piece.encode("latin-1") for piece in ((head + rest)[:cut], (head + rest)[cut:]) if piece]
    return Message(number, pieces, names, rng.random() < 0.03)
