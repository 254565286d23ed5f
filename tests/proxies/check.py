#!/usr/bin/env python3
"""Checks that a proxy in front of the gateway, and the gateway, read the same requests in the same bytes.

Messages that are nearly valid go to nginx and to HAProxy, each over a connection of its own. The proxy forwards what it
takes for requests over a few connections to the gateway. If the gateway found other requests in the same bytes, answers
would reach the wrong clients, and a client could hide a request from the proxy ("request smuggling"). After each
message a canary, a plain request, goes over another connection: it must get its own object.

Then the log of the proxy is compared with that of the gateway, request by request, and with what the clients got. The
messages depend on the seed only. The last line is `N passed, N failed, N skipped`. The exit status is 0 only if nothing
failed.
"""

import argparse
import asyncio
import os
import pathlib
import re
import shutil
import signal
import sys
import tempfile
import time

import processes
import proxies
import relay
import traffic
from compare import CHECKS, compare
from gateway import Gateway

HERE = pathlib.Path(__file__).resolve().parent
# How many differences of each kind are shown, and how many bytes of each piece.
SHOWN, BYTES_SHOWN = 3, 400


def arguments():
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("server", type=pathlib.Path, help="the program yatagarasu-server")
    parser.add_argument("--proxy", choices=proxies.ALL, help="only this proxy")
    parser.add_argument("--seed", default="1", help="for other messages (1)")
    parser.add_argument("--count", type=int, default=10_000, help="messages for each proxy, at most 65536 (10000)")
    parser.add_argument("--only", type=int, metavar="NUMBER", help="only this message; shows all of its bytes")
    parser.add_argument("--wrong", choices=["split", "double", "late"], help="make this fault, which has to be found")
    return parser.parse_args()


def run(proxy_class, options, folder):
    """Sends all messages to a proxy. Returns the report, the messages and the record of the relay."""
    folder.mkdir()
    record = folder / "record"
    store, store_port = processes.listen([HERE / "store.py"], folder)
    gateway = Gateway(options.server.resolve(), folder, store_port)
    relaying, recorded_port = processes.listen([HERE / "relay.py", gateway.port, record, options.wrong or "-"], folder)
    is_recorded = options.wrong or options.only is not None
    proxy = proxy_class(folder, recorded_port if is_recorded else gateway.port, recorded_port)
    numbers = range(options.count) if options.only is None else [options.only]
    messages, canaries = asyncio.run(traffic.send_all(proxy, options.seed, numbers))
    ended = [processes.stop(proxy.process, proxy.end), *map(processes.stop, (relaying, gateway.process, store))]
    report = compare(proxy, gateway, record, messages, canaries)
    for complaint in filter(None, ended):
        report.differ("log", complaint)
    return report, messages, record


def show(name, report, messages, record):
    """Prints the report of a proxy. Returns how many checks failed."""
    print(f"{name}: " + ", ".join(f"{count} {what}" for what, count in sorted(report.counts.items())))
    for check, text in CHECKS.items():
        differences = report.differences[check]
        print(f"FAILED: {name}: {text}: {len(differences)} not" if differences else f"ok: {name}: {text}")
        for words, client in differences[:SHOWN]:
            print(f"  {words[:1500]}")
            for exchange in messages:
                if exchange.address == client:
                    show_bytes(exchange, record)
    return sum(1 for check in CHECKS if report.differences[check])


def show_bytes(exchange, record):
    """Prints the bytes of a message, and those that were recorded of it between the proxy and the gateway."""
    one = exchange.message
    print(f"    message {one.number} ({', '.join(one.changes)}): {[piece[:BYTES_SHOWN] for piece in one.pieces]}")
    print(f"    the client got ({exchange.end}): {exchange.received[:BYTES_SHOWN]}")
    own = None
    for connection, direction, data in relay.read(record):
        if direction == ">" and (referer := re.search(rb"(?i)\nreferer: ([^/]*)", data)):
            if referer[1] == exchange.address.encode():
                own = connection
            elif connection == own:
                own = None
        if connection == own:
            print(f"    {'proxy' if direction == '>' else 'gateway'}: {data[:BYTES_SHOWN]}")


def main():
    """Checks with all proxies."""
    options = arguments()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="yatagarasu-proxies-"))

    def clean_up():
        processes.kill_all()
        shutil.rmtree(folder, ignore_errors=True)

    def interrupt(number, _):
        clean_up()
        os._exit(128 + number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    passed = failed = skipped = 0
    try:
        for name in [options.proxy] if options.proxy else proxies.ALL:
            if proxies.ALL[name].program() is None:
                print(f"skipped: {name} (it is missing, and cannot be installed here)")
                skipped += 1
                continue
            began = time.monotonic()
            try:
                report, messages, record = run(proxies.ALL[name], options, folder / name)
            except RuntimeError as error:
                print(f"FAILED: {name}: preparation: {error}")
                failed += 1
                continue
            if options.only is not None:
                show_bytes(messages[0], record)
            differing = show(name, report, messages, record)
            passed, failed = passed + len(CHECKS) - differing, failed + differing
            print(f"{name}: {time.monotonic() - began:.0f} s, seed {options.seed}", flush=True)
    finally:
        clean_up()
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
