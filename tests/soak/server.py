"""The gateway under test: its configuration, its admin API, and its log."""

import asyncio
import collections
import json
import re
import subprocess

import processes

TOKEN = "soak-token"
THREADS = 2
# Fields of the access log, in two orders.
FORMATS = [
    "agent={user_agent} status={status} bytes={bytes} whole={whole} ms={duration_ms} cache={cache} error={error}",
    "whole={whole} bytes={bytes} status={status} agent={user_agent} ms={duration_ms} cache={cache} error={error}",
]
# How long the admin API may take, in seconds. `/ready` itself waits 5 s for S3.
ADMIN_MAX = 15
# What the server may log at `warn`, and at `error` if a configuration was wrong on purpose.
EXPLAINED = {
    "requests to the source fail",
    "S3 is down: requests fail at once until it is back",
    "too many requests to S3 fail: no more than a fifth of them are sent again",
}
REFUSED = "the configuration was not reloaded: the one before still runs"


def certificate(folder):
    """Makes the certificate of the listener with TLS. Returns its configuration."""
    new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    new += ["-days", "36500", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*new, "-keyout", "tls.key", "-out", "tls.pem"], check=True, capture_output=True, cwd=folder)
    return {"certificates": {"cert": str(folder / "tls.pem"), "key": str(folder / "tls.key")}}


def configuration(origin_port, tls):
    """Returns the configuration at the start. The limits are small, so that they are met."""
    source = {
        "endpoint": f"http://127.0.0.1:{origin_port}", "bucket": "objects", "region": "us-east-1",
        "access_key": "testing", "secret_key": "testing", "connections_max": 256,
        "connect_timeout": "2s", "response_timeout": "2s", "idle_timeout": "2s",
    }  # fmt: skip
    # Nothing bridges the failures of S3 here: purging.py counts on objects that are marked stale not to be served.
    main = {"max_size": "24MB", "max_item_size": "4MB", "ttl": "3s", "negative_ttl": "1s", "stale_if_error": 0}
    whole = {"max_size": "12MB", "max_item_size": "2MB", "ttl": "4s", "range_fill": True, "eviction": "lru"}
    whole |= {"stale_while_revalidate": "2s", "stale_if_error": "20s"}
    # Only clock.py asks this bucket.
    lasting = {"max_size": "1MB", "max_item_size": "100KB", "ttl": "1h"}
    caches = {"main": main, "whole": whole, "plain": {"enabled": False}, "lasting": lasting}
    return {
        "server": {
            "address": "127.0.0.1:0", "listeners": [{"address": "127.0.0.1:0", "tls": tls}], "threads": THREADS, "connections_max": 1000,
            "fill_memory": "5MB", "response_memory": "4MB", "socket_memory": "16MiB",
            "header_timeout": "5s", "send_timeout": "3s", "drain": "500ms", "shutdown_grace": "8s",
        },
        "admin": {"address": "127.0.0.1:0", "token": TOKEN},
        "log": {"access_output": "access.log", "access_format": FORMATS[0]},
        "buckets": [
            {"name": name, "path_prefix": f"/{name}", "s3": dict(source), "cache": cache}
            for name, cache in caches.items()
        ],
    }  # fmt: skip


class Server:
    """A running gateway."""

    def __init__(self, program, folder, origin_port, environment):
        self.folder, self.log, self.file = folder, folder / "gateway.log", folder / "gateway.json"
        self.configuration = configuration(origin_port, certificate(folder))
        self.write(json.dumps(self.configuration))
        command = [program, "--config", self.file.name, "--log-format", "json"]
        self.process = processes.start(command, folder, self.log, **environment)
        address = r"127\.0\.0\.1:(\d+)"
        serving = rf'"message":"serving","address":"{address}, {address}","admin":"{address}"'
        self.port, self.secure_port, self.admin_port = processes.wait_for(self.process, self.log, serving)

    def write(self, text):
        """Writes the configuration file, as a whole or not at all."""
        new = self.folder / "new"
        new.write_text(text, encoding="utf-8")
        new.replace(self.file)

    async def admin(self, method, path, body=None, pause=None):
        """Sends a request to the admin API. Awaits `pause` before the body.

        Returns the status, or 0 if there is no answer in time, and the content.
        """
        try:
            return await asyncio.wait_for(self._admin(method, path, body, pause), ADMIN_MAX)
        except (OSError, asyncio.TimeoutError, ValueError, IndexError) as error:
            return 0, f"no answer: {error!r}"

    async def _admin(self, method, path, body, pause):
        reader, writer = await asyncio.open_connection("127.0.0.1", self.admin_port, limit=2**20)
        try:
            content = json.dumps(body).encode() if body is not None else b""
            lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", f"Authorization: Bearer {TOKEN}"]
            lines += ["Content-Type: application/json", f"Content-Length: {len(content)}", "Connection: close"]
            writer.write("\r\n".join(lines + ["", ""]).encode())
            if pause:
                await pause
            writer.write(content)
            head, _, content = (await reader.read()).partition(b"\r\n\r\n")
            return int(head.split(b" ")[1]), content.decode()
        finally:
            writer.transport.abort()

    async def metrics(self):
        """Returns the metrics by name and labels, and their sums by name. There are none if the server does not answer."""
        _, text = await self.admin("GET", "/metrics")
        found = collections.Counter()
        for name, labels, value in re.findall(r"(?m)^(yatagarasu_\w+)(\{\S*\})? (\d+)$", text):
            found[name] += int(value)
            if labels:
                found[name + labels] = int(value)
        return dict(found)

    def logged(self):
        """Returns the lines of the log, and the texts that are no lines, such as those of a panic."""
        lines, others = [], []
        for text in self.log.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                lines.append(json.loads(text))
            except ValueError:
                others.append(text)
        return lines, others
