"""Orders and renews certificates at Pebble. Called by `run` with the server to test."""

import json
import os
import pathlib
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from ports import free_port  # pylint: disable=wrong-import-position

SERVER = pathlib.Path(sys.argv[1]).resolve()
NAMES = ["www.gateway.example", "gateway.example"]
LIFETIME = 45  # seconds of a certificate
WORK = pathlib.Path(tempfile.mkdtemp())
processes = []


def start(name, *command, **environment):
    """Starts a program, whose output goes to a file."""
    with (WORK / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(  # pylint: disable=consider-using-with
            command, stdout=log, stderr=subprocess.STDOUT, cwd=WORK, env={"PATH": "/usr/bin:/bin", **environment}
        )
    processes.append(process)
    return process


def log(name):
    """What a program has printed."""
    return (WORK / f"{name}.log").read_text(errors="replace")


def until(seconds, what, function):
    """Waits until a function returns something."""
    end = time.monotonic() + seconds
    while True:
        got = function()
        if got:
            return got
        assert time.monotonic() < end, f"after {seconds} s: {what}"
        time.sleep(0.1)


def openssl(*arguments):
    """Runs openssl."""
    subprocess.run(["openssl", *arguments], check=True, capture_output=True, cwd=WORK)


def directory_certificate():
    """Makes the certificate of the directory itself, and the authority to trust for it."""
    new = ("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl(*new, "-x509", "-days", "2", "-subj", "/CN=CA", "-keyout", "ca.key", "-out", "ca.pem")
    openssl(*new, "-subj", "/CN=localhost", "-keyout", "api.key", "-out", "api.csr")
    (WORK / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1")
    signing = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "names")
    openssl("x509", "-req", "-in", "api.csr", *signing, "-out", "api.pem")


def pebble(tls_port):
    """Starts the authority. Returns the URLs of its directory and of its root."""
    api, management, dns = free_port(), free_port(), free_port()
    options = ("-defaultIPv4", "127.0.0.1", "-defaultIPv6", "", "-dns01", f"127.0.0.1:{dns}")
    off = ("-http01", "", "-https01", "", "-tlsalpn01", "", "-doh", "")
    known = subprocess.run(["pebble-challtestsrv", "-help"], capture_output=True, check=False).stderr.decode()
    if "-doh" not in known:
        off = off[:-2]
    start("dns", "pebble-challtestsrv", *options, *off, "-management", f"127.0.0.1:{free_port()}")
    configuration = {
        "listenAddress": f"127.0.0.1:{api}",
        "managementListenAddress": f"127.0.0.1:{management}",
        "certificate": "api.pem",
        "privateKey": "api.key",
        "httpPort": free_port(),
        "tlsPort": tls_port,
        "certificateValidityPeriod": LIFETIME,
    }
    (WORK / "pebble.json").write_text(json.dumps({"pebble": configuration}))
    quick = {"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "0", "PEBBLE_AUTHZREUSE": "0"}
    start("pebble", "pebble", "-config", "pebble.json", "-dnsserver", f"127.0.0.1:{dns}", **quick)
    return f"https://localhost:{api}/dir", f"https://localhost:{management}/roots/0"


def gateway(name, port, directory):
    """Starts a gateway whose listener has a certificate of the authority."""
    acme = {
        "domains": NAMES,
        "storage": str(WORK / f"{name}-storage"),
        "accept_terms": True,
        "contact": ["mailto:operator@gateway.example"],
        "directory": directory,
        "ca_file": str(WORK / "ca.pem"),
    }
    configuration = {
        "server": {"listeners": [{"address": f"127.0.0.1:{port}", "tls": {"acme": acme}}], "health_path": "/up"},
        "admin": {"address": "127.0.0.1:0"},
        "buckets": [{"name": "none", "path_prefix": "/none", "s3": {"endpoint": "http://127.0.0.1:9", "region": "x"}}],
    }
    path = WORK / f"{name}.json"
    path.write_text(json.dumps(configuration))
    return start(name, str(SERVER), "--config", str(path))


def certificate(port, name, context):
    """The serial number of the certificate for a name, after an exchange over the connection. None if it is not trusted."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as plain:
        try:
            with context.wrap_socket(plain, server_hostname=name) as secure:
                serial = secure.getpeercert()["serialNumber"]
                secure.sendall(b"GET /up HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                answer = secure.recv(4096)
        except ssl.SSLCertVerificationError:
            return None
    assert answer.startswith(b"HTTP/1.1 200"), answer
    return serial


def is_listening(port):
    """Whether somebody takes connections."""
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def main():
    """Runs the checks."""
    directory_certificate()
    port = free_port()
    directory, root = pebble(port)
    trusting = ssl.create_default_context(cafile=str(WORK / "ca.pem"))

    def read(url):
        try:
            with urllib.request.urlopen(url, context=trusting, timeout=5) as answer:
                return answer.read()
        except OSError:
            return None

    until(20, "Pebble does not start", lambda: read(directory))
    (WORK / "root.pem").write_bytes(until(5, "the root", lambda: read(root)))
    context = ssl.create_default_context(cafile=str(WORK / "root.pem"))

    running = gateway("gateway", port, directory)
    until(10, "the gateway does not start", lambda: is_listening(port))
    # Until then a client gets a placeholder, which nobody trusts, and no failure of the handshake itself.
    first = until(60, "no certificate is issued", lambda: certificate(port, NAMES[0], context))
    print("ok: a certificate was issued, and is shown", flush=True)
    assert certificate(port, NAMES[1], context) == first, "one certificate for both names"
    (folder,) = (WORK / "gateway-storage").iterdir()
    modes = {path.name: oct(path.stat().st_mode & 0o777) for path in folder.iterdir()}
    assert modes == {"account.json": "0o600", f"{NAMES[0]}.pem": "0o600"}, modes
    subject = subprocess.run(
        ["openssl", "x509", "-noout", "-subject", "-in", folder / f"{NAMES[0]}.pem"], capture_output=True, check=True
    ).stdout.decode()
    assert "rcgen" not in subject, subject

    began, connections = time.monotonic(), 0

    def renewed():
        nonlocal connections
        connections += 1
        serial = certificate(port, NAMES[0], context)
        assert serial, "a client did not trust the certificate"
        return serial != first

    until(2 * LIFETIME, "the certificate is not renewed", renewed)
    took = time.monotonic() - began
    assert took < LIFETIME, f"renewed after {took:.0f} s of {LIFETIME} s"
    print(f"ok: it was renewed after {took:.0f} s of {LIFETIME} s, for {connections} connections", flush=True)

    running.terminate()
    running.wait(20)
    orders = log("gateway").count("a certificate was issued")
    assert orders == 2, f"{orders} orders"
    running = gateway("gateway", port, directory)
    until(10, "the gateway does not start again", lambda: is_listening(port))
    assert certificate(port, NAMES[0], context), "the certificate is not there"
    print("ok: the certificate and the account are there after a new start", flush=True)

    running.terminate()
    running.wait(20)
    (folder / f"{NAMES[0]}.pem").write_text("broken")
    gateway("gateway", port, directory)
    until(10, "the gateway does not start with a broken file", lambda: is_listening(port))
    until(60, "no certificate is issued in its place", lambda: certificate(port, NAMES[0], context))
    print("ok: a file that cannot be used is replaced", flush=True)

    # The authority looks at another port, where nobody answers for the name.
    gateway("elsewhere", free_port(), directory)
    until(60, "no failure is logged", lambda: "no certificate was issued" in log("elsewhere"))
    (refusal,) = [line for line in log("elsewhere").splitlines() if "no certificate was issued" in line]
    for words in ("could not make sure of the names", NAMES[0], "Failed to connect"):
        assert words in refusal, refusal
    print("ok: a refusal is logged with its reason", flush=True)
    assert "panicked" not in log("gateway") + log("elsewhere")


try:
    main()
except BaseException:
    for path in sorted(WORK.glob("*.log")):
        print(f"== {path.name}\n{path.read_text(errors='replace')[-3000:]}", file=sys.stderr)
    raise
finally:
    for process in processes:
        process.kill()
        process.wait()
    shutil.rmtree(WORK)
