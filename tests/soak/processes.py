"""The programs that the test starts, and what the system says of them. Their output goes into files."""

import os
import pathlib
import re
import signal
import subprocess
import time

_running = []


def start(command, folder, log, **environment):
    """Starts a program in a folder, with its output in a file and with these variables besides those of the test."""
    with open(log, "ab") as output:
        process = subprocess.Popen(  # pylint: disable=consider-using-with
            [str(part) for part in command],
            cwd=folder,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    _running.append(process)
    return process


def wait_for(process, log, pattern):
    """Waits until the output of a program matches a pattern, and returns the groups as numbers."""
    until = time.monotonic() + 20
    while time.monotonic() < until and process.poll() is None:
        if match := re.search(pattern, log.read_text(errors="replace")):
            return [int(group) for group in match.groups()]
        time.sleep(0.02)
    raise RuntimeError(f"{process.args[0]} does not start: {log.read_text(errors='replace')[-2000:]}")


def resident(process):
    """Returns the memory of a process in MB, and how many threads it has."""
    status = pathlib.Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
    kib, threads = (int(re.search(rf"{name}:\s+(\d+)", status)[1]) for name in ("VmRSS", "Threads"))
    return kib * 1024 / 1e6, threads


def descriptors(process):
    """Returns what each descriptor of a process is, such as `socket:[123]`."""
    folder = pathlib.Path(f"/proc/{process.pid}/fd")
    found = []
    for link in list(folder.iterdir()):
        try:
            found.append(os.readlink(link))
        except OSError:
            pass
    return found


def kill_all():
    """Ends all programs that still run, within a few seconds."""
    running = [process for process in _running if process.poll() is None]
    for process in running:
        process.terminate()
    for process in running:
        try:
            process.wait(2)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    # libfaketime leaves these if its process was killed.
    for process in _running:
        for left in pathlib.Path("/dev/shm").glob(f"*faketime_s[he]m_{process.pid}"):
            left.unlink()
