"""The registrar as an HTTP service: what hostile clients, operators and full disks do to it. No Kafka, no agents.

Software TPMs and the helpers are those of tests/registrar. Every refusal stands next to a control that is served.
"""

import base64
import contextlib
import http.client
import json
import os
import re
import resource
import shutil
import socket
import sqlite3
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest
from avowtest.proc import Proc, free_port

from conftest import ROOT

sys.path.insert(0, str(ROOT / "tests" / "registrar"))

import world  # noqa: E402
from world import Pki, Registrar, Tpm, auth_tag, closed_after  # noqa: E402

VENV = ROOT / "build" / "venv-schemathesis"
OK, FAILED, USAGE, UNREACHABLE, UNTRUSTED, NOTFOUND = range(6)


class World:
    def __init__(self, folder: Path, bin_dir: Path):
        self.dir, self.bin = folder, bin_dir
        self.pki = Pki(folder / "pki")
        self.tpm = Tpm(folder / "tpm", folder / "ca")
        self.other = Tpm(folder / "other", folder / "ca")
        self.store = folder / "store"
        world.run(world.SWTPM, "store", folder / "ca", self.store)
        self.made: list[Registrar] = []

    def registrar(self, name: str, start: bool = True, **settings) -> Registrar:
        reg = Registrar(self.bin / "avow-registrar", self.dir / name, self.pki, self.store, **settings)
        reg.metrics_port = free_port()
        reg.extra = {"AVOW_METRICS_LISTEN": f"127.0.0.1:{reg.metrics_port}"}
        plain = reg.env
        reg.env = lambda: {**plain(), **reg.extra}
        self.made.append(reg)
        return reg.start() if start else reg

    def close(self):
        for reg in self.made:
            if reg.proc and reg.proc.running():
                reg.kill()
        for tpm in ("tpm", "other"):
            world.run(world.SWTPM, "stop", self.dir / tpm)


@pytest.fixture(scope="module")
def w(tmp_path_factory, bin_dir):
    made = World(tmp_path_factory.mktemp("reghttp"), bin_dir)
    yield made
    made.close()


@pytest.fixture(scope="module")
def reg(w):
    """One registrar with one active agent, shared by the tests that leave it as it is."""
    (w.dir / "backups").mkdir()
    r = w.registrar("shared", backup_dir=w.dir / "backups", audit_log=w.dir / "audit.jsonl")
    assert r.enrol("alice", w.tpm).status == 200
    yield r
    assert r.proc.running(), r.proc.output()[-2000:]
    assert "Sanitizer" not in r.proc.output()


def ops(reg, path: str) -> tuple[int, str]:
    conn = http.client.HTTPConnection("127.0.0.1", reg.metrics_port, timeout=10)
    with contextlib.closing(conn):
        conn.request("GET", path)
        got = conn.getresponse()
        return got.status, got.read().decode()


def metric(reg, line: str) -> float:
    """The value behind `line` on /metrics; 0 if it is not there."""
    for text in ops(reg, "/metrics")[1].splitlines():
        if text.startswith(line + " "):
            return float(text.rsplit(" ", 1)[1])
    return 0.0


def send(reg, data: bytes, tls: ssl.SSLContext | None = None, timeout: float = 15) -> bytes:
    """Everything that comes back until the other side closes or nothing comes for 1.5 s."""
    sock = socket.create_connection(("127.0.0.1", reg.https_port if tls else reg.http_port), timeout=timeout)
    if tls:
        sock = tls.wrap_socket(sock, server_hostname="127.0.0.1")
    got = b""
    with sock:
        sock.sendall(data)
        sock.settimeout(1.5)
        with contextlib.suppress(TimeoutError, ConnectionError, ssl.SSLError):
            while piece := sock.recv(65536):
                got += piece
    return got


def statuses(raw: bytes) -> list[int]:
    return [int(part[:3]) for part in raw.split(b"HTTP/1.1 ")[1:]]


def head(method: str, path: str, *lines: str, body: bytes = b"") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: r", *lines, "", ""]).encode() + body


def is_served(reg) -> None:
    assert reg.request("GET", "/version").status == 200
    assert reg.get("alice").status == 200


# --- bodies, heads and framing


def nested(depth: int) -> bytes:
    return b'{"ek_tpm":' + b"[" * depth + b"]" * depth + b"}"


@pytest.mark.parametrize(
    ("body", "want"),
    [
        (nested(14), 400),
        (nested(17), 400),
        (nested(100_000), 400),
        (b"[" * 200_000, 400),
        (b'{"a":' * 40_000, 400),
        (b'{"ek_tpm":1}', 400),
        (b'{"ek_tpm":"' + b"A" * 200_000 + b'"}', 400),
        (b'{"ek_tpm":"\xff\xfe"}', 400),
        (b'{"ek_tpm":"\\u0000"}', 400),
        (b'{"ek_tpm":"a","ek_tpm":"b"}', 400),
        (b"{" + b",".join(b'"k%d":1' % i for i in range(20_000)) + b"}", 400),
        (b'{"x":1e999}', 400),
        (b'{"x":' + b"9" * 5000 + b"}", 400),
        (b"\xef\xbb\xbf{}", 400),
        (b"", 400),
        (b"null", 400),
        (b"x" * (256 * 1024), 400),
        (b"x" * (256 * 1024 + 1), 413),
        (b"x" * (900 * 1024), 413),
    ],
    ids=lambda v: str(v) if isinstance(v, int) else f"{v[:12]!r}-{len(v)}",
)
def test_hostile_json_is_refused(reg, body, want):
    for method, path in (("POST", "/v2.6/agents/mallory"), ("PUT", "/v2.6/agents/alice"), ("POST", "/v3.0/agents")):
        answer = reg.request(method, path, body)
        assert answer.status == want, (method, path, answer.body[:200])
        if want == 400:
            assert set(answer.json) == {"code", "status", "results"}
    is_served(reg)


def test_a_body_far_over_the_limit_is_not_read(reg):
    raw = send(reg, head("POST", "/v2.6/agents/a", "Content-Type: application/json", "Content-Length: 10000000000"))
    assert statuses(raw) == [413]


def test_chunked_bodies(reg, w):
    body = json.dumps(w.tpm.body()).encode()
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(body[i : i + 7]), body[i : i + 7]) for i in range(0, len(body), 7))
    lines = ("Content-Type: application/json", "Transfer-Encoding: chunked")
    assert statuses(send(reg, head("POST", "/v2.6/agents/chunked", *lines, body=chunks + b"0\r\n\r\n"))) == [200]
    for bad in (b"zz\r\nx\r\n0\r\n\r\n", b"-1\r\nx\r\n0\r\n\r\n", b"fffffffffffffffff\r\nx\r\n0\r\n\r\n", b"5\r\nabc\r\n0\r\n\r\n"):
        got = statuses(send(reg, head("POST", "/v2.6/agents/chunked2", *lines, body=bad)))
        assert got in ([], [400], [400, 400], [413]), (bad, got)
    big = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    assert statuses(send(reg, head("POST", "/v2.6/agents/chunked3", *lines, body=big * 6 + b"0\r\n\r\n"))) == [413]
    assert 200 not in statuses(send(reg, head("POST", "/v2.6/agents/chunked4", *lines, body=big * 40)))
    is_served(reg)


SMUGGLED = b"GET /version HTTP/1.1\r\nHost: smuggled\r\n\r\n"


@pytest.mark.parametrize(
    "lines",
    [
        ("Content-Length: 0", "Content-Length: 43"),
        ("Content-Length: 43", "Content-Length: 0"),
        ("Content-Length: 43", "Content-Length: 43"),
        ("Content-Length: 4", "Transfer-Encoding: chunked"),
        ("Transfer-Encoding: chunked", "Content-Length: 4"),
        ("Transfer-Encoding: gzip, chunked",),
        ("Transfer-Encoding: chunked, identity",),
        ("Transfer-Encoding: xchunked",),
        ("Transfer-Encoding: chunked", "Transfer-Encoding: identity"),
        ("Content-Length: +43",),
        ("Content-Length: 0x2b",),
        ("Content-Length: 4 3",),
        ("Content-Length: -1",),
        ("Content-Length: 99999999999999999999",),
        ("Content-Length : 43",),
        ("Content-Length: 43,43",),
    ],
    ids="; ".join,
)
def test_smuggled_requests_are_not_answered(reg, lines):
    """However the end of the first body is disguised, no second request may come out of it."""
    raw = send(reg, head("POST", "/v2.6/agents/a", "Content-Type: application/json", *lines, body=b"0\r\n\r\n" + SMUGGLED))
    assert 200 not in statuses(raw), raw[:500]
    is_served(reg)


def test_pipelined_requests_are_answered_in_order(reg):
    """The control of the test above: two whole requests in one packet are two requests."""
    raw = send(reg, SMUGGLED + head("GET", "/nothing") + SMUGGLED)
    assert statuses(raw) == [200, 404, 200]


def test_heads(reg):
    assert statuses(send(reg, head("GET", "/version", "X: " + "a" * 15_000))) == [200]
    assert statuses(send(reg, head("GET", "/version", "X: " + "a" * 17_000))) == [431]
    assert 200 not in statuses(send(reg, head("GET", "/version", "X: " + "a" * 200_000)))
    assert 200 not in statuses(send(reg, head("GET", "/version", *["A: b"] * 20_000)))
    assert 200 not in statuses(send(reg, head("GET", "/version?" + "a" * 60_000)))
    for bad in (b"\x00" * 100, b"GET\r\n\r\n", b"GET /version\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
                b"GET /version HTTP/9.9\r\nHost: r\r\n\r\n", b"GET /version HTTP/1.1\r\n\r\n"):  # fmt: skip
        assert 200 not in statuses(send(reg, bad)), bad
    is_served(reg)


def test_keep_alive_and_close(reg):
    conn = http.client.HTTPConnection("127.0.0.1", reg.http_port, timeout=10)
    with contextlib.closing(conn):
        sockets = set()
        for i in range(20):
            conn.request("GET", "/version", headers={"X-Request-ID": f"id{i}"})
            got = conn.getresponse()
            got.read()
            assert (got.status, got.getheader("X-Request-ID")) == (200, f"id{i}")
            sockets.add(conn.sock)
        assert len(sockets) == 1 and None not in sockets
        conn.request("GET", "/version", headers={"Connection": "close"})
        conn.getresponse().read()
        assert conn.sock is None


@pytest.mark.parametrize(
    "path",
    [
        "/v2.6/agents/../agents/alice", "/v2.6/agents/./alice", "/v2.6//agents/alice", "//v2.6/agents/alice",
        "/v2.6/agents/alice/..", "/v2.6/agents/..%2falice", "/v2.6/agents/%2e%2e/alice", "/v2.6/agents/alice%00",
        "/v2.6/agents/alice;x", "/v2.6/agents/%61lice", "/v2.6\\agents\\alice", "/V2.6/agents/alice",
        "/v2.6/AGENTS/alice", "http://127.0.0.1/v2.6/agents/alice", "/avow/v1/agents/../agents/alice",
        "/avow/v1/agents/%61lice", "/avow/v1//agents", "/metrics", "/metrics/", "*", "/v2.6/agents/alice/allow",
    ],
)  # fmt: skip
def test_path_tricks_reach_nothing(reg, path):
    raw = send(reg, head("GET", path), reg.pki.context("client"))
    assert statuses(raw) and statuses(raw)[0] in (400, 404), (path, raw[:300])
    assert b"aik_tpm" not in raw and b"avow_registrar_" not in raw


@pytest.mark.parametrize(
    "agent",
    ["..", "_p", "-x", ".x", "x" * 129, "a%00b", "a%2Fb", "..%2Fx", "h%C3%B6st", "h\xc3\xb6st", "a b", "a:b", "a,b", "a*"],
)
def test_ai11_hostile_ids_are_refused(reg, w, agent):
    """In the path and in the body, for whoever asks; nothing of them reaches the database."""
    before = reg.rows("SELECT count(*) FROM agents UNION ALL SELECT count(*) FROM pending")
    body = json.dumps(w.tpm.body()).encode()
    lines = ("Content-Type: application/json", f"Content-Length: {len(body)}")
    got = statuses(send(reg, head("POST", f"/v2.6/agents/{agent}", *lines).replace(b"\xc3\x83\xc2", b"\xc3") + body))
    assert all(status in (400, 404) for status in got), got  # none: not even a request line
    assert reg.request("POST", "/v3.0/agents", w.tpm.body(agent_id=agent)).status == 400
    assert reg.request("POST", "/v3.0/agents", w.tpm.body(agent_id=f"a/{agent}")).status == 400
    assert reg.request("POST", "/v3.0/agents", w.tpm.body(agent_id=agent + "\0")).status == 400
    assert reg.rows("SELECT count(*) FROM agents UNION ALL SELECT count(*) FROM pending") == before
    assert reg.register("x" * 128, w.tpm.body()).status == 200  # the control: the longest that is one
    assert reg.request("DELETE", "/v2.6/agents/" + "x" * 128, client="client").status == 200


# --- slow and many


def test_slow_clients_are_ended_and_do_not_hold_up_others(reg):
    """Slowloris in the head, in the body, in a chunk, on the TLS handshake and while reading the answer."""
    drips = {
        "nothing": b"",
        "head": b"GET /version HTTP/1.1\r\nHost: r\r\nX: " + b"a" * 100,
        "body": head("POST", "/v2.6/agents/a", "Content-Length: 100") + b"{" * 100,
        "chunk": head("POST", "/v2.6/agents/a", "Transfer-Encoding: chunked") + b"1\r\n{\r\n" * 50,
    }
    took = {}

    def one(name, data, port):
        with socket.create_connection(("127.0.0.1", port), timeout=30) as sock:
            took[name] = closed_after(sock, 20, data)

    threads = [threading.Thread(target=one, args=(n, d, reg.http_port)) for n, d in drips.items()]
    threads += [threading.Thread(target=one, args=("tls " + n, d, reg.https_port)) for n, d in drips.items()]
    for t in threads:
        t.start()
    latency = []
    while any(t.is_alive() for t in threads):
        start = time.monotonic()
        is_served(reg)
        latency.append(time.monotonic() - start)
        time.sleep(0.1)
    for t in threads:
        t.join()
    assert all(v < 14 for v in took.values()), took
    assert max(latency) < 2, max(latency)


@pytest.fixture
def many_files():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 12_000:
        pytest.fail(f"the hard limit of open files is {hard}: 10 000 connections need 12 000")
    resource.setrlimit(resource.RLIMIT_NOFILE, (12_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_ten_thousand_idle_connections(w, many_files):
    """Within the limits they are held and cost little; requests among them are answered at once."""
    r = w.registrar("idle", max_connections=11_000, max_connections_per_address=300)
    before = rss_kib(r)
    socks, opened = [], []
    try:
        for i in range(10_000):
            s = socket.socket()
            s.settimeout(10)
            s.bind((f"127.0.{1 + i // 200 // 200}.{1 + i // 200 % 200}", 0))
            s.connect(("127.0.0.1", r.http_port))
            socks.append(s)
            opened.append(time.monotonic())
        start = time.monotonic()
        assert r.request("GET", "/version").status == 200
        assert time.monotonic() - start < 2
        young = sum(t > time.monotonic() - 8 for t in opened)  # after 10 s without a request they are closed
        assert metric(r, 'avow_registrar_connections{listener="http"}') >= 0.95 * young
        assert young > 3_000
        per_connection = (rss_kib(r) - before) / 10_000
        assert per_connection < 64, per_connection  # CONNECTION_MEMORY is 48 KiB, taken when bytes come
    finally:
        for s in socks:
            s.close()
    assert r.stop() == 0


def rss_kib(r) -> int:
    for line in Path(f"/proc/{r.proc.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1])
    raise AssertionError("no VmRSS")


def test_connections_over_the_limits_are_closed(w):
    r = w.registrar("few", max_connections=64, max_connections_per_address=4)
    socks = [socket.create_connection(("127.0.0.1", r.http_port)) for _ in range(12)]
    time.sleep(0.5)
    closed = 0
    for s in socks:
        s.settimeout(0.2)
        try:
            closed += s.recv(1) == b""
        except TimeoutError:
            pass
        except ConnectionError:
            closed += 1
    assert closed >= 8, closed
    with socket.socket() as other:  # another address is not concerned
        other.bind(("127.0.0.2", 0))
        other.connect(("127.0.0.1", r.http_port))
        other.sendall(SMUGGLED)
        other.settimeout(5)
        assert other.recv(100).startswith(b"HTTP/1.1 200")
    for s in socks:
        s.close()
    assert r.stop() == 0


def test_rates_per_address_and_agent(w):
    r = w.registrar("rates", rate_per_address=20, rate_per_agent=5)
    body = {"auth_tag": "0" * 96}
    got = [r.request("PUT", "/v2.6/agents/x", body).status for _ in range(7)]
    assert got == [404] * 5 + [429] * 2
    answer = r.request("PUT", "/v2.6/agents/x", body)
    assert answer.status == 429 and 1 <= int(answer.headers["retry-after"]) <= 13
    assert r.request("PUT", "/v2.6/agents/y", body).status == 404  # another id
    conn = http.client.HTTPConnection("127.0.0.1", r.http_port, source_address=("127.0.0.9", 0))
    conn.request("PUT", "/v2.6/agents/x", json.dumps(body), {"Content-Type": "application/json"})
    assert conn.getresponse().status == 404  # the owner of x elsewhere is not locked out
    conn.close()
    got = [r.request("PUT", f"/v2.6/agents/z{i}", body).status for i in range(16)]
    assert got[0] == 404 and got[-1] == 429
    assert r.request("POST", "/v3.0/agents", w.tpm.body(agent_id="b")).status == 429
    assert r.request("GET", "/version").status == 200
    assert r.get("x").status == 404  # administrators are not limited
    assert metric(r, 'avow_registrar_refusals_total{action="activate",reason="rate_agent",status="429"}') == 3
    assert r.stop() == 0


def test_a_full_queue_is_503_with_retry_after(w):
    """One thread, a queue of one, and a database that somebody else holds: nothing else may stall."""
    r = w.registrar("queue", work_threads=1, queue=1)
    blocker = sqlite3.connect(r.db, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    answers = []

    def ask(i):
        answers.append(r.request("PUT", f"/v2.6/agents/a{i}", {"auth_tag": "0" * 96}))

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(8)]
    threads[0].start()
    time.sleep(0.3)  # it is in work: the next one waits, and the others find the queue full
    for t in threads[1:]:
        t.start()
    time.sleep(1)
    start = time.monotonic()
    assert r.request("GET", "/version").status == 200  # the threads that read sockets are free
    assert time.monotonic() - start < 1
    blocker.execute("ROLLBACK")
    blocker.close()
    for t in threads:
        t.join()
    got = sorted(a.status for a in answers)
    assert got == [404] * 2 + [503] * 6, got
    assert all(a.headers["retry-after"] == "1" for a in answers if a.status == 503)
    assert r.request("PUT", "/v2.6/agents/a", {"auth_tag": "0" * 96}).status == 404
    assert r.stop() == 0


def test_stop_while_requests_are_queued(w):
    """SIGTERM: what was taken is answered, then it ends with 0."""
    r = w.registrar("stopping", work_threads=1)
    blocker = sqlite3.connect(r.db, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    answers = []

    def ask(i):
        answers.append(r.request("PUT", f"/v2.6/agents/a{i}", {"auth_tag": "0" * 96}).status)

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(4)]
    for t in threads:
        t.start()
    time.sleep(0.5)
    stopping = threading.Thread(target=lambda: answers.append(("exit", r.stop())))
    stopping.start()
    time.sleep(0.3)
    blocker.execute("ROLLBACK")
    blocker.close()
    for t in [*threads, stopping]:
        t.join()
    assert ("exit", 0) in answers
    assert [a for a in answers if a != ("exit", 0)] == [404] * 4, answers


# --- TLS


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
def test_tls(reg, w):
    pki, tls = w.pki, []
    for client, want in ((None, 403), ("client", 200), ("server", 403), ("stranger", 403)):
        assert reg.request("GET", "/v2.6/agents/alice", client=client, tls=True).status == want, client
    for version in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
        ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        ctx.check_hostname, ctx.verify_mode = False, ssl.CERT_NONE
        ctx.set_ciphers("ALL:@SECLEVEL=0")
        ctx.minimum_version = ctx.maximum_version = version
        with pytest.raises((ssl.SSLError, OSError)):
            send(reg, SMUGGLED, ctx)
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        ctx = pki.context("client")
        ctx.minimum_version = ctx.maximum_version = version
        tls += statuses(send(reg, SMUGGLED, ctx))
    assert tls == [200, 200]
    # An expired certificate of the right CA.
    ext = pki.dir / "old.ext"
    ext.write_text("extendedKeyUsage=clientAuth\n")
    world.run("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=old",
              "-keyout", pki.dir / "old.key", "-out", pki.dir / "old.csr")  # fmt: skip
    world.run("openssl", "x509", "-req", "-in", pki.dir / "old.csr", "-CA", pki.dir / "ca.pem", "-CAkey", pki.dir / "ca.key",
              "-days", "-1", "-extfile", ext, "-out", pki.dir / "old.pem")  # fmt: skip
    with contextlib.suppress(ssl.SSLError, ConnectionError):  # ended at the handshake is as good
        assert reg.request("GET", "/v2.6/agents/alice", client="old").status == 403
    for junk in (b"\x16\x03\x01" + b"\xff" * 500, b"\x80\x2e\x01\x00\x02" + b"\x00" * 60, os.urandom(4000), SMUGGLED):
        with socket.create_connection(("127.0.0.1", reg.https_port), timeout=15) as sock, contextlib.suppress(OSError):
            sock.sendall(junk)
            sock.recv(1000)
    is_served(reg)


# --- our own API


def test_schemathesis(reg, w):
    """Random requests along registrar/openapi.yaml: no 5xx, and only answers that the file describes."""
    if not (VENV / "bin" / "schemathesis").exists():
        world.run("python3", "-m", "venv", VENV)
        subprocess.run([VENV / "bin" / "pip", "install", "-q", "schemathesis==4.32.5"], check=True, timeout=300)
    pki = reg.pki.dir
    done = subprocess.run(
        [
            VENV / "bin" / "schemathesis", "run", ROOT / "registrar" / "openapi.yaml",
            "--url", f"https://127.0.0.1:{reg.https_port}", "--tls-verify", pki / "ca.pem",
            "--request-cert", pki / "client.pem", "--request-cert-key", pki / "client.key",
            "--checks", "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance",
            "--max-examples", os.environ.get("AVOW_SCHEMATHESIS_EXAMPLES", "25"), "--seed", "1", "--workers", "2",
            "--exclude-operation-id", "backup", "--no-color", "--generation-database", "none",
        ],
        capture_output=True, text=True, timeout=170, cwd=reg.dir,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert reg.enrol("alice", w.tpm).status == 200  # the random requests may have removed her
    is_served(reg)


def admin(reg, method: str, path: str) -> world.Answer:
    return reg.request(method, "/avow/v1" + path, client="client")


def test_our_api_is_for_administrators(reg):
    routes = [("GET", "/agents"), ("GET", "/agents/alice"), ("DELETE", "/agents/alice"), ("POST", "/agents/alice/allow"),
              ("POST", "/republish"), ("POST", "/backup"), ("POST", "/store/check")]  # fmt: skip
    for method, path in routes:
        assert reg.request(method, "/avow/v1" + path).status == 400, path  # plain HTTP
        assert reg.request(method, "/avow/v1" + path, tls=True).status == 403, path
        assert reg.request(method, "/avow/v1" + path, client="stranger").status == 403, path
        with_header = {"Authorization": "Basic YTpi"}
        assert reg.request(method, "/avow/v1" + path, client="client", headers=with_header).status == 401, path
    is_served(reg)


def fill(reg, n: int, start: int = 0) -> None:
    """Many agents like the one that is there; the registrar is not running."""
    with contextlib.closing(sqlite3.connect(reg.db)) as db:
        names = [c[1] for c in db.execute("PRAGMA table_info(agents)")]
        rest = ", ".join(names[1:])
        db.execute(
            "WITH RECURSIVE n(i) AS (SELECT ? UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?) "
            f"INSERT INTO agents (id, {rest}) SELECT printf('host-%06d', i), {rest} FROM n, agents WHERE agents.id = 'alice'",
            (start, start + n),
        )
        db.commit()


def test_pages_and_records(w):
    r = w.registrar("pages")
    assert r.enrol("alice", w.tpm).status == 200
    assert r.stop() == 0
    fill(r, 25)
    r.start()
    seen, after = [], ""
    while True:
        answer = admin(r, "GET", f"/agents?limit=10&after={after}").results
        seen += [a["id"] for a in answer["agents"]]
        assert len(answer["agents"]) <= 10
        after = answer["next"]
        if not after:
            break
    assert seen == sorted(["alice", *(f"host-{i:06}" for i in range(25))])
    assert r.request("GET", "/v2.6/agents/", client="client").results["uuids"] == seen  # Keylime's list is whole
    assert admin(r, "DELETE", "/agents/host-000003").status == 200
    ids = [a["id"] for a in admin(r, "GET", "/agents?limit=1000").results["agents"]]
    assert "host-000003" not in ids and len(ids) == 25
    gone = [a for a in admin(r, "GET", "/agents?removed=true").results["agents"] if a["status"] == "removed"]
    assert [(a["id"], a["generation"]) for a in gone] == [("host-000003", 2)]
    record = admin(r, "GET", "/agents/alice").results
    assert record["status"] == "active" and record["trust"]["trusted"] and record["trust"]["rule"] == "ek-certificate"
    assert base64.b64decode(record["ek_certs"][0]) == w.tpm.cert
    assert base64.b64decode(record["ak_public"]) == w.tpm.ak
    for bad in ("limit=0", "limit=1001", "limit=x", "limit=", "after=../x", "after=%61", "removed=yes", "offset=1",
                "limit=1&limit=2&after=a&removed=true&x=1", "limit"):  # fmt: skip
        assert admin(r, "GET", "/agents?" + bad).status == 400, bad
    assert admin(r, "GET", "/agents/nobody").status == 404
    assert r.stop() == 0


def test_backup_is_complete_and_without_secrets(w):
    folder = w.dir / "backup-test"
    folder.mkdir()
    r = w.registrar("backup", backup_dir=folder)
    assert r.enrol("alice", w.tpm).status == 200
    assert r.register("bob", w.other.body()).status == 200
    secret = r.rows("SELECT secret FROM pending")[0][0]
    stop = threading.Event()
    errors = []

    def write():  # others go on meanwhile
        while not stop.is_set():
            if r.register("busy", w.other.body()).status != 200:
                errors.append("register")

    t = threading.Thread(target=write)
    t.start()
    answers = [admin(r, "POST", "/backup") for _ in range(3)]
    stop.set()
    t.join()
    assert not errors
    files = {a.results["file"] for a in answers}
    assert len(files) == 3 and {str(p) for p in folder.iterdir()} == files  # no leftovers
    for a in answers:
        copy = Path(a.results["file"])
        assert copy.stat().st_size == a.results["bytes"] and copy.stat().st_mode & 0o777 == 0o600
        assert secret not in copy.read_bytes()
        with contextlib.closing(sqlite3.connect(copy)) as db:
            assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert db.execute("SELECT id, status FROM agents").fetchall() == [("alice", 1)]
            assert db.execute("SELECT count(*) FROM pending").fetchall() == [(0,)]
    assert r.stop() == 0
    # Restored, it serves what it served.
    restored = w.registrar("restored", start=False)
    shutil.copy(answers[0].results["file"], restored.db)
    restored.start()
    assert restored.get("alice").results["aik_tpm"] == world.b64(w.tpm.ak)
    assert admin(restored, "POST", "/backup").status == 409  # not configured here
    assert restored.stop() == 0


def test_store_check_and_a_damaged_file(w):
    r = w.registrar("check")
    assert r.enrol("alice", w.tpm).status == 200
    answer = admin(r, "POST", "/store/check")
    assert answer.results == {"ok": True, "problems": []}
    with contextlib.closing(sqlite3.connect(r.db)) as db:
        db.execute("INSERT INTO outbox (id, generation) VALUES ('ghost', 1)")
        db.execute("INSERT INTO outbox (id, generation) VALUES ('alice', 99)")
        db.commit()
    problems = admin(r, "POST", "/store/check").results
    assert not problems["ok"] and len(problems["problems"]) == 2, problems
    assert r.stop() == 0
    fill(r, 200)
    data = bytearray(r.db.read_bytes())
    for page in range(8, len(data) // 4096, 3):
        data[page * 4096 : page * 4096 + 64] = os.urandom(64)
    r.db.write_bytes(data)
    with pytest.raises(RuntimeError, match="damaged|malformed|corrupt"):
        r.start()


def test_republish_fills_the_outbox_once(w):
    r = w.registrar("republish")
    assert r.enrol("alice", w.tpm).status == 200
    assert r.stop() == 0
    fill(r, 500)
    r.start()
    assert admin(r, "DELETE", "/agents/host-000007").status == 200
    for _ in range(2):
        assert admin(r, "POST", "/republish").results == {"queued": 501}
        rows = r.rows("SELECT o.id, o.generation = a.generation FROM outbox o JOIN agents a ON a.id = o.id")
        assert len(rows) == 501 and all(same for _, same in rows) and len({i for i, _ in rows}) == 501
    assert metric(r, "avow_registrar_outbox_depth") == 501
    time.sleep(0.2)
    assert 0.1 < metric(r, "avow_registrar_outbox_age_seconds") < 30
    assert r.stop() == 0


# --- operation


def test_metrics_health_and_readiness(w):
    r = w.registrar("metrics")
    assert ops(r, "/healthz")[0] == 200 and ops(r, "/readyz")[0] == 200
    assert ops(r, "/v2.6/agents")[0] == 404 and r.request("GET", "/metrics").status == 404
    assert r.enrol("alice", w.tpm).status == 200
    assert r.register("alice", w.other.body()).status == 403
    assert r.register("bob", b"{").status == 400
    text = ops(r, "/metrics")[1]
    assert metric(r, "avow_registrar_registrations_total") == 1
    assert metric(r, "avow_registrar_activations_total") == 1
    assert metric(r, 'avow_registrar_agents{status="active"}') == 1
    assert metric(r, "avow_registrar_outbox_depth") == 1
    assert 'avow_registrar_refusals_total{action="register",reason="malformed",status="400"} 1' in text
    assert 'action="register",reason="ek_changed",status="403"} 1' in text
    assert text.count("tpm_vendor_activations_total{") == 1
    names = [line.split(" ")[2] for line in text.splitlines() if line.startswith("# TYPE")]
    assert len(names) == len(set(names))
    for line in text.splitlines():  # the exposition format
        assert line.startswith("# ") or float(line.rsplit(" ", 1)[1]) >= 0, line
    assert r.stop() == 0


def test_every_decision_is_audited(reg, w):
    path = w.dir / "audit.jsonl"
    before = len(path.read_text().splitlines())
    reg.request("PUT", "/v2.6/agents/audit-1", {"auth_tag": "0" * 96}, headers={"X-Request-ID": "abc123"})
    reg.register("alice", w.other.body())
    admin(reg, "GET", "/agents/alice")
    reg.request("DELETE", "/v2.6/agents/alice", tls=True)
    path.rename(path.with_suffix(".old"))
    time.sleep(1.1)
    admin(reg, "DELETE", "/agents/nobody")  # logrotate: a new file under the old name
    lines = [json.loads(line) for line in path.with_suffix(".old").read_text().splitlines()[before:]]
    got = [(e["action"], e["status"], e["reason"] if "reason" in e else None, e.get("agent")) for e in lines]
    assert got == [("activate", 404, got[0][2], "audit-1"), ("register", 403, "ek_changed", "alice"),
                   ("show", 200, None, "alice"), ("remove", 403, "not_admin", "alice")], got  # fmt: skip
    assert lines[0]["request"] == "abc123" and lines[0]["source"] == "127.0.0.1"
    assert lines[2]["admin"] == "CN=client" and "admin" not in lines[3]
    moved = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(e["action"], e["status"], e["admin"]) for e in moved] == [("remove", 404, "CN=client")]


def test_a_standby_takes_over(w):
    first = w.registrar("pair")
    second = Registrar(w.bin / "avow-registrar", w.dir / "pair-2", w.pki, w.store, standby="true")
    second.db = first.db
    second.settings["db"] = first.db
    second.metrics_port = free_port()
    plain = second.env
    second.env = lambda: {**plain(), "AVOW_METRICS_LISTEN": f"127.0.0.1:{second.metrics_port}"}
    w.made.append(second)
    assert first.enrol("alice", w.tpm).status == 200
    second.proc = Proc("standby", [second.program], second.dir / "log", second.env())
    second.proc.wait_output("standby", 10)
    assert ops(second, "/healthz")[0] == 200
    status, text = ops(second, "/readyz")
    assert status == 503 and "standby" in text
    assert metric(second, "avow_registrar_serving") == 0
    with pytest.raises(OSError):
        second.request("GET", "/version")
    first.kill()  # as a crash: the kernel frees the lock
    second.proc.wait_output("tls=true", 10)
    assert second.get("alice").results["regcount"] == 1
    assert ops(second, "/readyz")[0] == 200 and metric(second, "avow_registrar_serving") == 1
    third = Registrar(w.bin / "avow-registrar", w.dir / "pair-3", w.pki, w.store, standby="true")
    third.settings["db"] = first.db
    third.proc = Proc("standby", [third.program], third.dir / "log", third.env())
    third.proc.wait_output("standby", 10)
    assert third.stop() == 0  # one that was never needed
    assert second.stop() == 0


@contextlib.contextmanager
def on_disk(w, name: str, mount: str, rootless: bool):
    """A registrar whose database is alone on a file system of its own mount namespace."""
    r = w.registrar(name, start=False)
    disk = r.dir / "disk"
    disk.mkdir()
    r.db = disk / "registrar.sqlite"
    r.settings["db"] = r.db
    user = ["-r"] if rootless else []
    r.start(wrapper=["unshare", *user, "-m", "sh", "-c", f'mount {mount} "{disk}" && exec "$@"', "sh"])
    enter = ["nsenter", "-t", str(r.proc.pid), "-m", *(["-U", "--preserve-credentials"] if rootless else [])]
    r.inside = lambda *cmd: world.run(*enter, *cmd).decode()
    yield r
    if r.proc.running():
        assert r.stop() == 0
    assert "Sanitizer" not in r.proc.output()


def on_small_disk(w, name: str, size: str):
    return on_disk(w, name, f"-t tmpfs -o size={size} tmpfs", os.geteuid() != 0)


ROWS = "import sqlite3,sys;print(sqlite3.connect('file:'+sys.argv[1]+'?mode=ro',uri=True).execute(sys.argv[2]).fetchall())"


def test_full_disk_is_503_and_no_half_record(w):
    with on_small_disk(w, "full", "3m") as r:
        assert r.enrol("alice", w.tpm).status == 200
        disk = str(r.db.parent)
        with contextlib.suppress(RuntimeError):
            r.inside("dd", "if=/dev/zero", f"of={disk}/filler", "bs=4096")
        got = []
        for i in range(60):
            got.append(r.register(f"a{i}", w.tpm.body()))
        refused = [a for a in got if a.status == 503]
        assert {a.status for a in got} <= {200, 503} and len(refused) >= 20, [a.status for a in got]
        assert all(a.json["results"] == {} and int(a.headers["retry-after"]) > 0 for a in refused)
        assert admin(r, "DELETE", "/agents/alice").status == 503
        assert r.get("alice").status == 200  # reading goes on
        rows = r.inside("python3", "-c", ROWS, str(r.db), "SELECT id, status, (SELECT count(*) FROM outbox) FROM agents")
        assert rows.strip() == "[('alice', 1, 1)]"
        answered = {f"a{i}" for i, a in enumerate(got) if a.status == 200}
        stored = r.inside("python3", "-c", ROWS, str(r.db), "SELECT DISTINCT id FROM pending")
        assert {x for x in stored.split("'") if x.startswith("a")} == answered
        r.inside("rm", f"{disk}/filler")
        assert r.enrol("bob", w.other).status == 200  # by itself, once there is room
        assert ops(r, "/readyz")[0] == 200


def test_a_database_that_cannot_be_written_is_503_and_recovers(w):
    """A file that was moved away under it takes writes like any other, but nobody would ever find them again."""
    r = w.registrar("readonly")
    assert r.enrol("alice", w.tpm).status == 200
    away = r.db.with_suffix(".away")
    r.db.rename(away)
    for answer in (r.register("bob", w.other.body()), admin(r, "DELETE", "/agents/alice"), admin(r, "POST", "/republish")):
        assert answer.status == 503 and int(answer.headers["retry-after"]) > 0 and answer.json["results"] == {}
    assert metric(r, 'avow_registrar_refusals_total{action="register",reason="store",status="503"}') == 1
    away.rename(r.db)
    assert r.rows("SELECT id, status FROM agents") == [("alice", 1)] and r.rows("SELECT * FROM pending") == []
    assert r.enrol("bob", w.other).status == 200
    assert r.stop() == 0


def test_a_disk_that_turns_read_only_is_503_and_no_half_record(w):
    """As the kernel does to a disk with errors: under open files, which no remount by hand would touch."""
    image = w.dir / "image"
    with image.open("wb") as f:
        f.truncate(24 << 20)
    world.run("mkfs.ext4", "-q", image)
    probe = ["unshare", "-m", "sh", "-c", 'mount -o loop "$0" /mnt && ls /sys/fs/ext4/*/trigger_fs_error', image]
    if os.geteuid() or subprocess.run(probe, capture_output=True).returncode:
        pytest.skip("needs root and loop devices")
    with on_disk(w, "failing", f'-o loop,errors=remount-ro "{image}"', False) as r:
        assert r.enrol("alice", w.tpm).status == 200
        challenge = r.register("bob", w.other.body())
        assert challenge.status == 200
        device = r.inside("findmnt", "-no", "SOURCE", r.db.parent).strip()
        r.inside("sh", "-c", f"echo test >/sys/fs/ext4/{Path(device).name}/trigger_fs_error")
        tag = auth_tag(w.other.open_credential(base64.b64decode(challenge.results["blob"])), "bob")
        answers = [r.activate("bob", tag), r.register("carol", w.other.body()), admin(r, "DELETE", "/agents/alice"),
                   admin(r, "POST", "/republish"), admin(r, "POST", "/agents/alice/allow")]  # fmt: skip
        for answer in answers:
            assert answer.status == 503 and int(answer.headers["retry-after"]) > 0 and answer.json["results"] == {}
        assert r.get("alice").status == 200  # what was read before the disk failed
        assert ops(r, "/readyz")[0] == 503 and metric(r, "avow_registrar_store_ok") == 0
        r.kill()
    # After a repair and a restart: as before the failure, nothing by half, and bob's answer is still good.
    with on_disk(w, "repaired", f'-o loop "{image}"', False) as r:
        rows = r.inside("python3", "-c", ROWS, str(r.db), "SELECT id, status, generation FROM agents")
        assert rows.strip() == "[('alice', 1, 1)]"
        assert admin(r, "POST", "/store/check").results == {"ok": True, "problems": []}
        assert r.enrol("bob", w.other).status == 200


def test_a_read_only_file_system_is_refused_at_start(w):
    r = w.registrar("rofs", start=False)
    disk = r.dir / "disk"
    disk.mkdir()
    r.settings["db"] = disk / "registrar.sqlite"
    rootless = [] if os.geteuid() == 0 else ["-r"]
    script = f'mount -t tmpfs -o ro tmpfs "{disk}" && exec "$@"'
    with pytest.raises(RuntimeError, match="Read-only file system"):
        r.start(wrapper=["unshare", *rootless, "-m", "sh", "-c", script, "sh"])


def test_start_and_memory_with_100_000_agents(w):
    r = w.registrar("large")
    assert r.enrol("alice", w.tpm).status == 200
    assert r.stop() == 0
    fill(r, 100_000)
    start = time.monotonic()
    r.start()
    took = time.monotonic() - start
    rss = rss_kib(r)
    seen, after = 0, ""
    while after is not None:
        page = admin(r, "GET", f"/agents?limit=1000&after={after}").results
        seen, after = seen + len(page["agents"]), page["next"]
    listed = rss_kib(r)
    print(f"start {took:.2f} s, {rss} KiB, after listing page by page {listed} KiB")
    assert seen == 100_001
    assert len(r.request("GET", "/v2.6/agents/", client="client").results["uuids"]) == 100_001
    if b"__asan_init" not in Path(r.program).read_bytes():
        assert took < 1.0 and listed < 64 * 1024, (took, listed)
    assert r.stop() == 0


UNIT = ROOT / "deploy" / "systemd" / "avow-registrar.service"


def tool(*words) -> str:
    if not shutil.which(words[0]):
        pytest.skip(f"{words[0]} is not installed")
    done = subprocess.run([str(x) for x in words], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_unit_is_accepted_and_lets_out_little(w):
    copy = w.dir / UNIT.name
    copy.write_text(UNIT.read_text().replace("/usr/bin/avow-registrar", str((w.bin / "avow-registrar").resolve())))
    tool("systemd-analyze", "verify", "--man=no", copy)
    assert "exposure level" in tool("systemd-analyze", "security", "--offline=true", "--threshold=15", copy)


def syscalls_of(group: str) -> set[str]:
    out = set()
    for line in tool("systemd-analyze", "syscall-filter", group).splitlines()[1:]:
        word = line.strip()
        if word.startswith("@"):
            out |= syscalls_of(word)
        elif word and not word.startswith("#"):
            out.add(word)
    return out


def test_unit_allows_every_system_call_that_is_needed(w):
    """Its filter is the only one there is: what it forbids must not be called, from the start to the end."""
    allowed = set()
    for line in UNIT.read_text().splitlines():
        if line.startswith("SystemCallFilter="):
            words = line.partition("=")[2]
            groups = set().union(*(syscalls_of(g) for g in words.removeprefix("~").split()))
            allowed = allowed - groups if words.startswith("~") else allowed | groups
    assert {"read", "futex"} <= allowed and not {"ptrace", "mount", "setuid"} & allowed
    if not shutil.which("strace"):
        pytest.skip("strace is not installed")
    r = w.registrar("traced", start=False, backup_dir=w.dir / "traced", ek_policy="cert-or-webhook", ek_check_script="/bin/true")
    r.start(wrapper=["strace", "-D", "-f", "-o", r.dir / "calls"])
    assert r.enrol("alice", w.tpm).status == 200
    assert admin(r, "POST", "/backup").status == 200 and admin(r, "POST", "/store/check").status == 200
    assert admin(r, "DELETE", "/agents/alice").status == 200
    main = r.proc.pid
    assert r.stop() == 0
    end = time.monotonic() + 10
    while not re.search(rf"^{main} +\+\+\+ exited", text := (r.dir / "calls").read_text(), re.M):
        assert time.monotonic() < end
        time.sleep(0.05)
    calls = {line.split(None, 1)[1].partition("(")[0] for line in text.splitlines()}
    calls = {c for c in calls if c.isidentifier()}  # not signals and ends
    assert {"fdatasync", "pwrite64", "accept4", "execve", "pidfd_open"} <= calls, calls
    as_root = {"fchown"} if os.geteuid() == 0 else set()  # SQLite keeps the owner of a database if it can
    assert calls - allowed <= as_root, calls - allowed


def test_privileges_are_dropped(reg, w):
    status = Path(f"/proc/{reg.proc.pid}/status").read_text()
    assert "NoNewPrivs:\t1" in status
    if os.geteuid() != 0:
        pytest.skip("registrar.user needs root")
    with tempfile.TemporaryDirectory(prefix="avow-nobody-") as name:  # pytest's folders are closed to others
        folder = Path(name)
        folder.chmod(0o777)
        for path in ("server.pem", "server.key", "ca.pem"):
            shutil.copy(w.pki.dir / path, folder / path)
        (folder / "server.key").chmod(0o644)
        shutil.copytree(w.store, folder / "store")
        check_as_nobody(w, folder)


def check_as_nobody(w, folder: Path) -> None:
    files = {"tls_cert": "server.pem", "tls_key": "server.key", "tls_ca": "ca.pem", "ek_cert_store": "store", "db": "db.sqlite"}
    r = w.registrar("user", start=False, user="nobody", **{k: folder / v for k, v in files.items()})
    r.db = folder / "db.sqlite"
    r.start()
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{r.proc.pid}/status").read_text().splitlines() if ":" in line)
    nobody = world.run("id", "-u", "nobody").decode().strip()
    assert lines["Uid"].split() == [nobody] * 4 and lines["CapEff"].strip() == lines["CapPrm"].strip() == "0" * 16
    assert r.db.stat().st_uid == int(nobody)
    assert r.enrol("alice", w.tpm).status == 200
    assert r.stop() == 0


# --- the CLI


@pytest.fixture(scope="module")
def avow(w, reg):
    conf = {
        "AVOW_CLI_REGISTRAR_URL": f"https://127.0.0.1:{reg.https_port}", "AVOW_CLI_REGISTRAR_CA": w.pki.dir / "ca.pem",
        "AVOW_CLI_REGISTRAR_CERT": w.pki.dir / "client.pem", "AVOW_CLI_REGISTRAR_KEY": w.pki.dir / "client.key",
    }  # fmt: skip

    def run(*args, **env):
        clean = {k: v for k, v in os.environ.items() if not k.startswith("AVOW_")}
        full = {**clean, **{k: str(v) for k, v in {**conf, **env}.items()}}
        return subprocess.run([w.bin / "avow", "registrar", *args], capture_output=True, text=True, timeout=60, env=full)

    return run


def test_cli_shows_and_changes(avow, reg, w):
    assert reg.enrol("cli-1", w.tpm).status == 200
    done = avow("list")
    assert done.returncode == OK and "cli-1" in done.stdout and "ek-certificate" in done.stdout, done.stderr
    listed = json.loads(avow("list", "--json").stdout)
    assert {"alice", "cli-1"} <= {a["id"] for a in listed}
    done = avow("status", "cli-1")
    assert done.returncode == OK and "trusted by ek-certificate" in done.stdout
    assert json.loads(avow("status", "cli-1", "--json").stdout)["id"] == "cli-1"
    assert reg.register("cli-1", w.other.body()).status == 403
    assert avow("allow", "cli-1").returncode == OK
    assert "may bring another EK" in avow("status", "cli-1").stdout
    assert reg.enrol("cli-1", w.other).status == 200  # the proof of another TPM, once
    assert reg.register("cli-1", w.tpm.body()).status == 403
    assert avow("rm", "cli-1").returncode == OK
    assert avow("status", "cli-1").returncode == NOTFOUND
    assert avow("rm", "cli-1").returncode == NOTFOUND
    assert "cli-1" not in avow("list").stdout and "cli-1" in avow("list", "--removed").stdout
    done = avow("backup", "--json")
    assert done.returncode == OK and Path(json.loads(done.stdout)["file"]).exists()
    assert json.loads(avow("republish", "--json").stdout)["queued"] >= 2
    done = avow("store", "check")
    assert done.returncode == OK and "sound" in done.stdout


def test_cli_exit_codes(avow, w):
    for args in (("status",), ("status", "../x"), ("rm", "a/b"), ("store",), ("store", "mend"), ("nonsense",), ("list", "x")):
        done = avow(*args)
        assert done.returncode == USAGE and not done.stdout, (args, done.stderr)
    for name in ("list", "status", "rm", "allow", "backup", "republish", "store"):
        assert avow(name, "--help").returncode == OK, name
    assert avow("status", "nobody").returncode == NOTFOUND
    port = free_port()
    assert avow("list", AVOW_CLI_REGISTRAR_URL=f"https://127.0.0.1:{port}").returncode == UNREACHABLE
    assert avow("list", AVOW_CLI_REGISTRAR_URL="http://127.0.0.1:1").returncode == USAGE
    assert avow("list", AVOW_CLI_REGISTRAR_CA=w.pki.dir / "other-ca.pem").returncode == UNREACHABLE
    done = avow("list", AVOW_CLI_REGISTRAR_CERT=w.pki.dir / "stranger.pem", AVOW_CLI_REGISTRAR_KEY=w.pki.dir / "stranger.key")
    assert done.returncode == FAILED and "certificate" in done.stderr
    assert avow("list", AVOW_CLI_REGISTRAR_CERT="").returncode == USAGE
