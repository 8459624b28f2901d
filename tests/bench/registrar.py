"""The registrar: what a registration with activation costs and how long it takes, and a large database.

A registration is Keylime's: POST with EK, EK certificate and AK, the challenge opened, PUT. The TPMs are Python
(avowtest.softtpm), so what a TPM would take is in no number. Keylime's registrar from PyPI gets the same bodies in the
same run; where it cannot be run, the baseline is what was measured once, and the text says so.
"""

import contextlib
import datetime
import http.client
import json
import multiprocessing
import os
import signal
import sqlite3
import subprocess
import time
from pathlib import Path

from avowtest.proc import Proc, free_port
from avowtest.site import wait_for
from avowtest.softtpm import SoftTpm
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from results import Run, cpu_seconds, memory, result

ROOT = Path(__file__).resolve().parents[2]
IDS = ["R1", "R1.per_core", "R1.p50", "R1.p99", "R1.memory", "R1.start"]
ONCE_CPU_MS, ONCE_P99_MS, ONCE_MEMORY_MB = 15.0, 83.0, 409.0  # Keylime 7.14.3, 2 cores, measured once
OID = x509.ObjectIdentifier


class Vendor:
    """A TPM maker's CA, and EK certificates as the TCG profile wants them."""

    def __init__(self):
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Bench TPM CA")])
        self.cert = self._build(self.name, self.key.public_key()).add_extension(
            x509.BasicConstraints(True, 0), critical=True
        ).add_extension(
            x509.KeyUsage(False, False, False, False, False, True, True, False, False), critical=True
        ).sign(self.key, hashes.SHA256())  # fmt: skip

    def _build(self, subject, public):
        now = datetime.datetime.now(datetime.timezone.utc)
        return x509.CertificateBuilder(
            self.name, subject, public, x509.random_serial_number(),
            now - datetime.timedelta(days=1), now + datetime.timedelta(days=30),
        )  # fmt: skip

    def ek_cert(self, tpm: SoftTpm) -> str:
        tcg = [("2.23.133.2.1", "id:00001014"), ("2.23.133.2.2", "bench"), ("2.23.133.2.3", "id:00000001")]
        who = x509.DirectoryName(x509.Name([x509.NameAttribute(OID(o), v) for o, v in tcg]))
        builder = self._build(x509.Name([]), tpm._ek.public_key())
        builder = builder.add_extension(x509.SubjectAlternativeName([who]), critical=True)
        builder = builder.add_extension(x509.BasicConstraints(False, None), critical=True)
        is_rsa = isinstance(tpm._ek, rsa.RSAPrivateKey)
        usage = x509.KeyUsage(False, False, is_rsa, False, not is_rsa, False, False, False, False)
        builder = builder.add_extension(usage, critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([OID("2.23.133.8.1")]), critical=False)
        return builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


class Client:
    def __init__(self, port: int, tpm: SoftTpm, cert: str):
        self.conn = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self.tpm, self.cert = tpm, cert

    def ask(self, method: str, path: str, body: dict) -> tuple[dict, float]:
        data = json.dumps(body)
        start = time.perf_counter()
        self.conn.request(method, path, data, {"Content-Type": "application/json"})
        got = self.conn.getresponse()
        text = got.read()
        took = time.perf_counter() - start
        if got.status != 200:
            raise RuntimeError(f"{method} {path}: {got.status} {text[:200]!r}")
        return json.loads(text), took

    def register(self, agent: str) -> float:
        """Seconds that the two answers took."""
        path = f"/v2.6/agents/{agent}"
        answer, first = self.ask("POST", path, self.tpm.body(ekcert=self.cert))
        _, second = self.ask("PUT", path, {"auth_tag": self.tpm.answer(answer["results"]["blob"], agent)})
        return first + second


class Ours:
    def __init__(self, r: Run, vendor: Vendor, name: str = "ours"):
        self.program, self.dir = r.bin / "avow-registrar", r.folder / name
        self.port, self.tls_port = free_port(), free_port()
        (self.dir / "store").mkdir(parents=True)
        (self.dir / "store" / "ca.pem").write_bytes(vendor.cert.public_bytes(serialization.Encoding.PEM))
        self.db = self.dir / "registrar.sqlite"

    def start(self) -> float:
        settings = {"HTTP_LISTEN": f"127.0.0.1:{self.port}", "DB": self.db, "EK_CERT_STORE": self.dir / "store",
                    "RATE_PER_ADDRESS": 0, "RATE_PER_AGENT": 0}  # fmt: skip
        env = {f"AVOW_REGISTRAR_{k}": str(v) for k, v in settings.items()}
        start = time.perf_counter()
        self.proc = Proc("avow-registrar", [self.program], self.dir / "log", env)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                conn = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
                conn.request("GET", "/version")
                conn.getresponse().read()
                return time.perf_counter() - start
            time.sleep(0.005)
        raise RuntimeError(self.proc.output())

    def cpu(self) -> float:
        return cpu_seconds(self.proc.pid)

    def stop(self) -> None:
        self.proc.stop()


KEYLIME = """[registrar]
version = 2.6
ip = 127.0.0.1
port = {port}
tls_port = {tls_port}
tls_dir = {dir}
server_key = key.pem
server_key_password =
server_cert = cert.pem
trusted_client_ca = ["cert.pem"]
database_url = sqlite
database_pool_sz_ovfl = 5,10
auto_migrate_db = True
durable_attestation_import =
tpm_identity = default
malformed_cert_action = warn
max_upload_size = 104857600
num_workers = 1
max_workers = 1
"""
LOGGING = """[logging]
version = 2.6
[loggers]
keys = root
[handlers]
keys = h
[formatters]
keys = f
[formatter_f]
format = %(message)s
[logger_root]
level = ERROR
handlers = h
[handler_h]
class = StreamHandler
level = ERROR
formatter = f
args = (sys.stderr,)
"""


def tree(pid: int) -> list[int]:
    """A process and its descendants."""
    out = [pid]
    with contextlib.suppress(OSError):  # it may have gone
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                out += tree(int(child))
    return out


class Keylime:
    def __init__(self, r: Run):
        venv = subprocess.run(
            [ROOT / "tests" / "support" / "keylime-venv.sh", "registrar"], check=True, stdout=subprocess.PIPE, text=True
        ).stdout.strip()
        self.dir = r.folder / "keylime"
        self.dir.mkdir()
        self.port = free_port()
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
             "-subj", "/CN=bench", "-keyout", self.dir / "key.pem", "-out", self.dir / "cert.pem"],
            check=True, capture_output=True,
        )  # fmt: skip
        conf = KEYLIME.format(port=self.port, tls_port=free_port(), dir=self.dir)
        (self.dir / "registrar.conf").write_text(conf)
        (self.dir / "tenant.conf").write_text(f"[tenant]\ntpm_cert_store = {self.dir}\n")
        (self.dir / "logging.conf").write_text(LOGGING)
        env = {f"KEYLIME_{n.upper()}_CONFIG": str(self.dir / f"{n}.conf") for n in ("registrar", "tenant", "logging")}
        env |= {"KEYLIME_DIR": str(self.dir), "KEYLIME_TEST": "True", "PYTHONDONTWRITEBYTECODE": "1"}
        # It changes to KEYLIME_DIR by itself only in test mode, and there to the present folder.
        command = ["sh", "-c", f'cd "{self.dir}" && exec "{venv}/bin/keylime_registrar"']
        self.proc = Proc("keylime_registrar", command, self.dir / "log", env)

    def start(self) -> None:
        def serves():
            with contextlib.suppress(OSError, http.client.HTTPException):
                conn = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
                conn.request("GET", "/version")
                return conn.getresponse().status == 200

        wait_for(serves, 60, "Keylime's registrar", self.proc)

    def cpu(self) -> float:
        return sum(cpu_seconds(p) for p in tree(self.proc.pid))

    def stop(self) -> None:
        pids = tree(self.proc.pid)
        self.proc.kill()  # asked to stop, it takes half a minute
        for pid in pids[1:]:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)


def cost_ms(server, tpm: SoftTpm, cert: str, n: int) -> float:
    """CPU milliseconds of the server for one registration."""
    client = Client(server.port, tpm, cert)
    for i in range(max(3, n // 20)):
        client.register(f"warm-{i}")
    before = server.cpu()
    for i in range(n):
        client.register(f"agent-{i}")
    return (server.cpu() - before) / n * 1000


def clients_at(port: int, number: int, rate: float, seconds: float, cert_of, out) -> None:
    try:
        tpm = SoftTpm("ecc")
        client = Client(port, tpm, cert_of(tpm))
        client.register(f"first-{number}")
        start, took = time.monotonic() + 0.5 + number * 0.01, []
        for i in range(int(rate * seconds)):
            time.sleep(max(0.0, start + i / rate - time.monotonic()))
            took.append(client.register(f"l{number}-{i}"))
        out.put(took)
    except Exception as e:
        out.put(e)


def latency_ms(port: int, vendor: Vendor, rate: float, seconds: float) -> tuple[float, float]:
    ctx = multiprocessing.get_context("fork")
    out = ctx.Queue()
    several = 4
    made = [
        ctx.Process(target=clients_at, args=(port, i, rate / several, seconds, vendor.ek_cert, out)) for i in range(several)
    ]
    for p in made:
        p.start()
    got = [out.get(timeout=seconds * 10 + 60) for _ in made]
    for p in made:
        p.join()
    for one in got:
        if isinstance(one, Exception):
            raise one
    took = sorted(t for one in got for t in one)
    return took[len(took) // 2] * 1000, took[int(len(took) * 0.99)] * 1000


def fill(db: Path, n: int) -> None:
    with contextlib.closing(sqlite3.connect(db)) as c:
        names = [row[1] for row in c.execute("PRAGMA table_info(agents)")]
        rest = ", ".join(names[1:])
        c.execute(
            "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?) "
            f"INSERT INTO agents (id, {rest}) SELECT printf('host-%07d', i), {rest} FROM n, "
            "(SELECT * FROM agents LIMIT 1)",
            (n,),
        )
        c.commit()


def list_all(server: Ours, n: int) -> None:
    """Pages are an administrator's, and tested with TLS elsewhere; here records are looked at one by one."""
    client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    for i in range(0, n, 50):
        client.request("PUT", f"/v2.6/agents/host-{i:07}", json.dumps({"auth_tag": "0" * 96}), {"Content-Type": "application/json"})
        client.getresponse().read()


def baseline(r: Run, tpm: SoftTpm, cert: str, vendor: Vendor) -> dict:
    out = {"what": "Keylime 7.14.3, measured once on 2 cores", "cpu": ONCE_CPU_MS, "p99": ONCE_P99_MS, "p50": None}
    try:
        keylime = Keylime(r)
    except (OSError, subprocess.SubprocessError) as e:
        r.note(f"Keylime cannot be had ({e}): the baseline is an older measurement")
        return out
    try:
        keylime.start()
        out["cpu"] = cost_ms(keylime, tpm, cert, 3 if r.quick else 150)
        out["p50"], out["p99"] = latency_ms(keylime.port, vendor, 20, 0.5 if r.quick else 8)
        out["what"] = "Keylime's registrar 7.14.3 in the same run (latency at 20/s: it saturates at some 80)"
    except (RuntimeError, TimeoutError, OSError) as e:
        r.note(f"Keylime's registrar cannot be run ({str(e)[:300]}): the baseline is an older measurement")
    finally:
        keylime.stop()
    return out


def run(r: Run) -> list[dict]:
    vendor, tpm = Vendor(), SoftTpm("rsa")
    cert = vendor.ek_cert(tpm)
    server = Ours(r, vendor)
    server.start()
    cpu = cost_ms(server, tpm, cert, 20 if r.quick else 2000)
    p50, p99 = latency_ms(server.port, vendor, 200, 0.5 if r.quick else 10)
    server.stop()
    many = 1000 if r.quick else 100_000
    large = Ours(r, vendor, "large")
    large.start()
    Client(large.port, tpm, cert).register("first")
    large.stop()
    fill(large.db, many)
    started = large.start()
    list_all(large, many)
    rss = memory(large.proc.pid).rss
    large.stop()
    base = baseline(r, tpm, cert, vendor)
    best = base["cpu"] / 50
    return [
        result("R1", "registration with activation and EK certificate: CPU", cpu, "ms", base["cpu"], base["what"], best),
        result("R1.per_core", "registrations a core", 1000 / cpu, "1/s", 1000 / base["cpu"], base["what"]),
        result("R1.p50", "both answers at 200 registrations/s, median", p50, "ms", base["p50"], base["what"]),
        result("R1.p99", "both answers at 200 registrations/s, 99th percentile", p99, "ms", base["p99"], base["what"]),
        result("R1.memory", f"RSS with {many} agents, every 50th looked at", rss, "MB", ONCE_MEMORY_MB,
               "Keylime with 10 000 agents, measured once"),
        result("R1.start", f"start until the first answer, {many} agents", started, "s", most=1.0),
    ]  # fmt: skip
