"""The checks of a run, and what speaks against each."""

import collections

# The checks, and what is right if they pass.
CHECKS = {
    "statuses": "each response has a status that its request may get",
    "bytes": "each byte of each body is of the version that the ETag names",
    "lengths": "each length and range is right, and no short body passes for a whole one",
    "purges": "no response is older than a purge before its request, or than the origin if that was asked",
    "ages": "no answer from memory is older than it is fresh, by the clock of the origin",
    "errors": "each 502, 503 and 504 follows a fault of the origin",
    "cuts": "each body that breaks off for a client that reads fast follows a fault of the origin",
    "slow": "no client that takes bytes, however slowly, is reset, and other breaks follow a fault, too",
    "answers": "each request is answered unless the origin breaks off, and no response stands still",
    "stalled": "clients that take nothing are cut off in time, and the server counts them",
    "dates": "the server has each date that it is set to",
    "steps": "no date makes stale what is fresh for an hour",
    "hits": "answers from memory come in time",
    "admin": "health, readiness, metrics and purges are answered in time",
    "reloads": "good configurations take effect, and bad ones change nothing",
    "access log": "each whole response has one line with its status, however the log is turned",
    "memory": "the memory keeps its bound and does not grow",
    "descriptors": "the file descriptors return to what they were",
    "threads": "the threads return to what they were",
    "gauges": "no connection, fill or reserved memory is left",
    "log": "the log has no error, no panic, and no warning without a reason",
    "end": "the process is alive until SIGTERM, and ends in time with status 0",
    "traffic": "the run met everything that it is for",
}
# How many complaints of each check are kept.
KEPT = 200


class Report:
    """The outcome of a run."""

    def __init__(self, skipped):
        self.skipped = skipped
        self.counts = collections.Counter()
        self.complaints = {check: [] for check in CHECKS}
        self.notes = {}
        # Numbers of requests that the access log is asked about.
        self.suspects = {}

    def count(self, what, number=1):
        """Counts something."""
        self.counts[what] += number

    def complain(self, check, text, number=None):
        """Records what speaks against a check. `number` is that of the request that it is about."""
        self.counts[f"complaints: {check}"] += 1
        if len(self.complaints[check]) < KEPT:
            self.complaints[check].append((text, number))
            if number is not None:
                self.suspects.setdefault(number, [])

    def note(self, check, text):
        """Records figures that are shown beside the outcome of a check."""
        self.notes[check] = text

    def show(self, shown):
        """Prints the outcome of each check, with the first complaints.

        Returns how many checks passed, failed, and were skipped.
        """
        failed = 0
        for check, text in CHECKS.items():
            if check in self.skipped:
                print(f"skipped: {text} (libfaketime is missing, and cannot be installed here)")
                continue
            figures = f" ({self.notes[check]})" if check in self.notes else ""
            number = self.counts[f"complaints: {check}"]
            if not number:
                print(f"ok: {text}{figures}")
                continue
            failed += 1
            print(f"FAILED: {text}{figures}: {number} not")
            for complaint, request in self.complaints[check][:shown]:
                print(f"  {complaint[:1500]}")
                for line in self.suspects.get(request, []):
                    print(f"    access log: {line[:500]}")
        skipped = len(self.skipped)
        return len(CHECKS) - failed - skipped, failed, skipped
