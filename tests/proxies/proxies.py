"""The proxies, nginx and HAProxy: their configuration, and what their logs say about the requests that they forwarded.

Each proxy has several listeners, which lead to the same gateway:

plain    as most people configure it
lenient  as permissive as the proxy can be, so that more odd bytes reach the gateway; its bytes are recorded
h2       (HAProxy) over HTTP/2 to the gateway

There are few connections to the gateway, and they are used again. A message that is read in two ways therefore harms
the next one. The proxy gives each request a `Referer` of its own, CLIENT/CONNECTION/NUMBER. The access log of the
gateway has it, and so tells which request is which.
"""

import dataclasses
import json
import os
import re
import shutil
import signal
import socket
import sys
import time
import urllib.parse

import processes

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from ports import free_port  # pylint: disable=wrong-import-position

# How long a proxy waits for the rest of a message. Many messages have none.
PATIENCE = 500  # ms


@dataclasses.dataclass
class Forwarded:
    """A request in the log of a proxy."""

    client: str  # its address
    method: bytes
    target: bytes
    path: bytes  # by which the rules of the proxy decide, escaped
    hosts: list  # the Host fields that it forwarded
    referer: str
    is_forwarded: bool  # to the gateway
    upstream_status: int  # that the gateway answered, or None
    answer_id: str  # the X-Request-Id of that answer, or None
    is_broken_off: bool  # whether the proxy gave up because the client left, or did not send the rest
    text: str
    is_headless: bool = False  # whether the client gets only the body of the answer (HTTP/0.9)
    over_http2: bool = False  # to the gateway


class Proxy:
    """A running proxy."""

    name = ""
    listeners = ()
    end = signal.SIGTERM  # ends it once its requests have ended

    def __init__(self, folder, gateway_port, recorded_port):
        self.folder = folder
        self.gateways = {"plain": gateway_port, "lenient": recorded_port, "h2": gateway_port}
        self.ports = {listener: free_port() for listener in self.listeners}
        self.log = folder / f"{self.name}.log"
        self.process = self.start()
        until = time.monotonic() + 10
        while not all(map(accepts, self.ports.values())):
            if self.process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"{self.name} does not start: {(folder / 'output').read_text(errors='replace')}")
            time.sleep(0.02)

    @classmethod
    def program(cls):
        """Returns the path of the program, or None."""
        return shutil.which(cls.name)

    def requests(self):
        """Returns the requests of the log."""
        lines = self.log.read_text(encoding="latin-1").split("\n")
        return [self.request(json.loads(line), line) for line in lines if line.startswith("{")]

    def listeners_for(self, _message):
        """Returns the listeners that can take a message."""
        return self.listeners


def accepts(port):
    """Returns whether somebody listens on a port."""
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0


class Nginx(Proxy):
    """nginx."""

    name = "nginx"
    listeners = ("plain", "lenient")
    end = signal.SIGQUIT

    def start(self):
        """Starts nginx. The lenient one forwards contents as they arrive, and upgrades."""
        settings = f"""
daemon off;
worker_processes 1;
worker_shutdown_timeout 3s;
{"user root;" if os.geteuid() == 0 else ""}
pid nginx.pid;
error_log output;
events {{ worker_connections 512; }}
http {{
  client_body_temp_path client_body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
  log_format forwarded escape=json '{{"client":"$remote_addr","method":"$request_method","target":"$request_uri",'
    '"path":"$uri","version":"$server_protocol","host":"$own_host","referer":"$own_referer",'
    '"upstream":"$upstream_addr","status":"$status","upstream_status":"$upstream_status",'
    '"id":"$upstream_http_x_request_id"}}';
  access_log {self.log.name} forwarded;
  client_header_timeout {PATIENCE}ms;
  client_body_timeout {PATIENCE}ms;
  keepalive_timeout {PATIENCE}ms;
  lingering_timeout {PATIENCE}ms;
  proxy_http_version 1.1;
  proxy_next_upstream off;
  map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
  map $server_port $own_host {{ {self.ports["plain"]} $host; default $http_host; }}
  map $remote_addr/$connection/$connection_requests $own_referer {{ "~(?<all>.*)" $all; }}
  upstream plain {{ server 127.0.0.1:{self.gateways["plain"]}; keepalive 4; }}
  upstream lenient {{ server 127.0.0.1:{self.gateways["lenient"]}; keepalive 4; }}
  server {{
    listen 127.0.0.1:{self.ports["plain"]};
    location / {{
      proxy_pass http://plain;
      proxy_set_header Host $own_host;
      proxy_set_header Referer $own_referer;
      proxy_set_header Connection "";
    }}
  }}
  server {{
    listen 127.0.0.1:{self.ports["lenient"]};
    large_client_header_buffers 8 40k;
    ignore_invalid_headers off;
    underscores_in_headers on;
    merge_slashes off;
    location / {{
      proxy_pass http://lenient;
      proxy_request_buffering off;
      proxy_set_header Host $own_host;
      proxy_set_header Referer $own_referer;
      proxy_set_header Connection $connection_upgrade;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Expect $http_expect;
      proxy_set_header TE $http_te;
    }}
  }}
}}
"""
        (self.folder / "nginx.conf").write_text(settings)
        command = [self.program(), "-p", self.folder, "-c", self.folder / "nginx.conf", "-e", "output"]
        return processes.start(command, self.folder, self.folder / "output")

    def request(self, line, text):
        target, host = line["target"].encode("latin-1"), line["host"].encode("latin-1")
        status = line["upstream_status"]
        # Without an answer, nginx says 502 or 504 itself.
        has_answer = status.isdigit() and (line["id"] != "" or status not in ("502", "504"))
        return Forwarded(
            client=line["client"],
            method=line["method"].encode("latin-1"),
            # nginx completes the target of `http://a?b` when it forwards it.
            target=b"/" + target if target.startswith(b"?") else target,
            path=urllib.parse.quote(line["path"], encoding="latin-1").encode(),
            hosts=[host] if host else [],
            referer=line["referer"],
            is_forwarded=line["upstream"] != "",
            upstream_status=int(status) if has_answer else None,
            answer_id=line["id"] or None,
            is_broken_off=not has_answer and line["status"] in ("400", "408", "413", "499"),
            text=text,
            is_headless=line["version"] in ("", "HTTP/0.9"),
        )


class Haproxy(Proxy):
    """HAProxy."""

    name = "haproxy"
    listeners = ("plain", "lenient", "h2")
    end = signal.SIGUSR1

    def start(self):
        """Starts HAProxy. Its log goes to its standard output, because a syslog socket may lose lines."""
        settings = f"""
global
  log stdout len 65535 format raw local0
  nbthread 1
  hard-stop-after 3s
  maxconn 400
  tune.bufsize 65536
defaults
  mode http
  log global
  retries 0
  http-reuse always
  timeout connect 5s
  timeout queue 5s
  timeout server 5s
  timeout client {PATIENCE}ms
  timeout http-request {PATIENCE}ms
  timeout http-keep-alive {PATIENCE}ms
  unique-id-format %ci/%cp/%rt
  log-format '{{"client":"%ci","method":"%[var(txn.method)]","target":"%[var(txn.target)]","path":"%[var(txn.path)]",\
"host":"%[var(txn.host)]","hosts":"%[var(txn.hosts)]","referer":"%ID","server":"%s","status":"%ST",\
"upstream_status":"%[var(txn.status)]","id":"%[var(txn.id)]","listener":"%f","end":"%tsc"}}'
"""
        # HAProxy 2.6 encodes longer methods wrongly, so that the gateway ends the connection.
        guard = "http-request deny deny_status 400 if { method -m len 127:99999 }"
        extra = {"lenient": "option accept-invalid-http-request", "h2": guard}
        for name, port in self.ports.items():
            settings += f"""
frontend {name}
  bind 127.0.0.1:{port}
  {extra.get(name, "")}
  http-request set-var(txn.method) method,hex
  http-request set-var(txn.target) url,hex
  http-request set-var(txn.path) path,bytes(0,4000),hex
  http-request set-var(txn.host) req.fhdr(host,1),hex
  http-request set-var(txn.hosts) req.fhdr_cnt(host)
  http-request set-header Referer %[unique-id]
  http-response set-var(txn.id) res.hdr(x-request-id)
  http-response set-var(txn.status) status
  default_backend {name}
backend {name}
  server gateway 127.0.0.1:{self.gateways[name]} maxconn 4 pool-max-conn 4 {"proto h2" if name == "h2" else ""}
"""
        (self.folder / "haproxy.cfg").write_text(settings)
        return processes.start([self.program(), "-db", "-f", "haproxy.cfg"], self.folder, self.log)

    def listeners_for(self, message):
        """Returns the listeners that can take a message.

        HAProxy 2.6 forwards over HTTP/2 what nobody may send: bytes that no field may have, which the gateway's library
        answers with GOAWAY, so that one client breaks off the answers of others (the documentation says so); lengths
        of more than 64 bits; trailers. It sends only one frame of fields, makes an extended CONNECT of an `Upgrade`,
        and resets the connection if an answer comes before the end of a long content.
        """
        data = b"".join(message.pieces)
        is_odd = re.search(rb"[^\t\r\n -~]|[0-9]{19}|CONNECT|(?i:upgrade)", data)
        is_long = len(data) > 14_000 or "chunks" in message.changes
        return self.listeners[:2] if is_odd or is_long else self.listeners

    def request(self, line, text):
        line = {name: "" if value == "-" else value for name, value in line.items()}
        return Forwarded(
            client=line["client"],
            method=bytes.fromhex(line["method"]),
            target=bytes.fromhex(line["target"]),
            path=bytes.fromhex(line["path"]),
            hosts=[bytes.fromhex(line["host"])] * int(line["hosts"] or 0),
            referer=line["referer"],
            is_forwarded=line["server"] not in ("", "<NOSRV>"),
            upstream_status=int(line["upstream_status"]) if line["upstream_status"] else None,
            answer_id=line["id"] or None,
            # C and c: the client. P: the proxy itself. -1: the gateway has ended a stream before its content had come.
            is_broken_off=line["end"][0] in "CcP" or line["status"] == "-1",
            text=text,
            over_http2=line["listener"] == "h2",
        )


ALL = {proxy.name: proxy for proxy in (Nginx, Haproxy)}
