"""The gateway under test, and its access log."""

import json

import processes

# The prefixes of the buckets by their names. Both show the same bucket of S3.
PREFIXES = {"cached": "", "streamed": "/s"}


class Gateway:
    """A running gateway with one thread."""

    def __init__(self, program, folder, store_port):
        self.log = folder / "gateway.log"
        source = {"endpoint": f"http://127.0.0.1:{store_port}", "bucket": "objects", "region": "us-east-1"}
        source |= {"access_key": "testing", "secret_key": "testing"}
        configuration = {
            "server": {"address": "127.0.0.1:0", "threads": 1, "drain": 0},
            "admin": {"address": "127.0.0.1:0"},
            "buckets": [
                {"name": name, "path_prefix": prefix or "/", "s3": source, "cache": {"enabled": name == "cached"}}
                for name, prefix in PREFIXES.items()
            ],
        }
        (folder / "gateway.json").write_text(json.dumps(configuration))
        command = [program, "--config", "gateway.json", "--log-format", "json"]
        self.process = processes.start(command, folder, self.log)
        serving = r'"message":"serving","address":"127\.0\.0\.1:(\d+)"'
        self.port = int(processes.wait_for(self.process, self.log, serving))

    def logged(self):
        """Returns the lines of the access log, and all other lines that are worse than information."""
        entries, complaints = [], []
        for text in self.log.read_text(encoding="utf-8").split("\n")[:-1]:
            line = json.loads(text) if text.startswith("{") else {}
            if line.get("target") == "yatagarasu::access":
                entries.append(line)
            elif line.get("level") != "INFO":
                complaints.append(text)
        return entries, complaints
