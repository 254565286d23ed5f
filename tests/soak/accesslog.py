"""The access log of the gateway, over all rotations, beside what the clients got."""

import re

LINE = re.compile(r"(\w+)=(\S+)")


class AccessLog:
    """What the clients expect in the log, and what is in it."""

    def __init__(self, report):
        self.report = report
        # What is expected, and what was read, by the number of the request. What agrees is forgotten.
        self._expected, self._read = {}, {}
        self._seen = bytearray()
        self.lines = self.agreed = 0

    def expect(self, number, status, received):
        """Records a whole response."""
        self._expected[number] = (status, received)
        self._compare(number)

    def read(self, path):
        """Reads a file that nobody writes to any more, and removes it."""
        with open(path, encoding="utf-8", errors="replace") as file:
            for line in file:
                self._take(line.rstrip("\n"))
        path.unlink()

    def _take(self, line):
        values = dict(LINE.findall(line.partition(" cache=")[0]))
        agent = values.get("agent", "")
        self.lines += 1
        if not re.fullmatch(r"s\d+", agent) or not {"status", "bytes", "whole"} <= values.keys():
            # A request that broke off in its head has no number.
            if values.get("status") not in ("400", "408"):
                self.report.complain("access log", f"no line of a request: {line}")
            return
        number = int(agent[1:])
        if number >= len(self._seen):
            self._seen.extend(bytes(number + 10_000 - len(self._seen)))
        if self._seen[number]:
            self.report.complain("access log", f"two lines for one request: {line}", number)
        self._seen[number] = 1
        self._read[number] = line, (int(values["status"]), int(values["bytes"])), values["whole"]
        self._compare(number)

    def _compare(self, number):
        if number not in self._expected or number not in self._read:
            return
        expected, (line, found, whole) = self._expected.pop(number), self._read.pop(number)
        if number in self.report.suspects:
            self.report.suspects[number].append(line)
        if found != expected or whole != "true":
            self.report.complain("access log", f"expected status and bytes {expected} and whole: {line}", number)
        self.agreed += 1

    def finish(self):
        """Reports the responses that have no line, and adds lines to complaints."""
        for number, expected in self._expected.items():
            self.report.complain("access log", f"no line for request s{number} with status and bytes {expected}")
        for number, lines in self.report.suspects.items():
            if number in self._read:
                lines.append(self._read[number][0])
        self.report.note("access log", f"{self.lines} lines, {self.agreed} whole responses")
