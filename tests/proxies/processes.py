"""The programs that the test starts. Their output goes into files."""

import os
import re
import signal
import subprocess
import sys
import time

_running = []


def start(command, folder, log):
    """Starts a program in a folder, with its output in a file."""
    with open(log, "ab") as output:
        process = subprocess.Popen(  # pylint: disable=consider-using-with
            [str(part) for part in command],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    _running.append(process)
    return process


def wait_for(process, log, pattern):
    """Waits until the output of a program matches a pattern, and returns its first group."""
    until = time.monotonic() + 20
    while time.monotonic() < until and process.poll() is None:
        if match := re.search(pattern, log.read_text(errors="replace")):
            return match[1]
        time.sleep(0.02)
    raise RuntimeError(f"{process.args[0]} does not start: {log.read_text(errors='replace')[-2000:]}")


def listen(command, folder):
    """Starts a program in Python that prints `listening PORT`. Returns it and the port."""
    log = folder / f"{command[0].stem}.log"
    process = start([sys.executable, *command], folder, log)
    return process, int(wait_for(process, log, r"listening (\d+)"))


def stop(process, number=signal.SIGTERM):
    """Ends a program with a signal, and waits until it has written its log. Returns a complaint or None."""
    if process.poll() is not None:
        return f"{process.args[0]} has ended before with status {process.returncode}"
    process.send_signal(number)
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return f"{process.args[0]} has not ended within 30 s"
    return None


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
