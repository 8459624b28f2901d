"""What the registrar's tests stand on: software TPMs driven by tpm2-tools, a registrar, and plain HTTP.

Nothing here is Avow's own code: the credential is opened by the TPM, the answer is computed by Python's hmac.
"""

import base64
import contextlib
import hashlib
import hmac
import http.client
import json
import os
import shutil
import socket
import sqlite3
import ssl
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS / "support"))

from avowtest.proc import Proc, free_port  # noqa: E402

SWTPM = TESTS / "support" / "swtpm.sh"
NV_EK_RSA = "0x01c00002"


def run(*args, cwd=None, env=None, stdin=None) -> bytes:
    done = subprocess.run(
        [str(a) for a in args], cwd=cwd, env=env, input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60
    )
    if done.returncode:
        raise RuntimeError(f"{args}: {done.returncode}: {done.stderr.decode(errors='replace')}")
    return done.stdout


class Tpm:
    """A software TPM with an RSA EK, its certificate and a restricted AK."""

    def __init__(self, folder: Path, ca: Path):
        self.dir = folder
        self.tcti = run(SWTPM, "start", folder, ca).decode().strip()
        self.work = folder / "work"
        self.work.mkdir()
        self.tool("createek", "-c", "ek.ctx", "-G", "rsa", "-u", "ek.pub")
        self.tool("nvread", NV_EK_RSA, "-C", "o", "-o", "ek.der")
        self.ek = (self.work / "ek.pub").read_bytes()
        self.cert = (self.work / "ek.der").read_bytes()
        self.ak = self.create_ak("ak")

    def tool(self, name: str, *args) -> bytes:
        out = run(f"tpm2_{name}", *args, cwd=self.work, env={**os.environ, "TPM2TOOLS_TCTI": self.tcti})
        # There is no resource manager: what a tool loaded stays loaded.
        run("tpm2_flushcontext", "-t", cwd=self.work, env={**os.environ, "TPM2TOOLS_TCTI": self.tcti})
        return out

    def create_ak(self, name: str, *options) -> bytes:
        args = options or ("-G", "rsa", "-g", "sha256", "-s", "rsassa")
        self.tool("createak", "-C", "ek.ctx", "-c", f"{name}.ctx", "-u", f"{name}.pub", *args)
        return (self.work / f"{name}.pub").read_bytes()

    def hash_id(self) -> str:
        """Keylime's hash_ek: SHA-256 of the EK's PEM text."""
        der = run("openssl", "x509", "-inform", "DER", "-noout", "-pubkey", stdin=self.cert)
        return hashlib.sha256(der).hexdigest()

    def open_credential(self, blob: bytes, ak: str = "ak") -> bytes:
        (self.work / "blob").write_bytes(blob)
        self.tool("startauthsession", "--policy-session", "-S", "session.ctx")
        self.tool("policysecret", "-S", "session.ctx", "-c", "e")
        try:
            self.tool(
                "activatecredential", "-c", f"{ak}.ctx", "-C", "ek.ctx", "-i", "blob", "-o", "secret",
                "-P", "session:session.ctx",
            )  # fmt: skip
        finally:
            self.tool("flushcontext", "session.ctx")
        return (self.work / "secret").read_bytes()

    def pem(self) -> str:
        return pem_of(self.cert)

    def body(self, **changes) -> dict:
        fields = {
            "ek_tpm": b64(self.ek), "aik_tpm": b64(self.ak), "ekcert": self.pem(), "iak_cert": None,
            "idevid_cert": None, "ip": "127.0.0.1", "mtls_cert": "disabled", "port": 9002, **changes,
        }  # fmt: skip
        return {k: v for k, v in fields.items() if v is not ...}


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def pem_of(der: bytes) -> str:
    return ssl.DER_cert_to_PEM_cert(der)


def auth_tag(secret: bytes, agent: str) -> str:
    return hmac.new(base64.b64encode(secret), agent.encode(), hashlib.sha384).hexdigest()


class Pki:
    """A CA, a server certificate for 127.0.0.1, a client certificate; and a client certificate of another CA."""

    def __init__(self, folder: Path):
        self.dir = folder
        folder.mkdir()
        for ca in ("ca", "other-ca"):
            run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                "-subj", f"/CN={ca}", "-keyout", folder / f"{ca}.key", "-out", folder / f"{ca}.pem")  # fmt: skip
        self.leaf("server", "ca", "serverAuth", "subjectAltName=IP:127.0.0.1,DNS:localhost")
        self.leaf("client", "ca", "clientAuth")
        self.leaf("stranger", "other-ca", "clientAuth")

    def leaf(self, name: str, ca: str, usage: str, extra: str = "") -> None:
        ext = self.dir / f"{name}.ext"
        ext.write_text(f"extendedKeyUsage={usage}\n{extra}\n")
        run("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}",
            "-keyout", self.dir / f"{name}.key", "-out", self.dir / f"{name}.csr")  # fmt: skip
        run("openssl", "x509", "-req", "-in", self.dir / f"{name}.csr", "-CA", self.dir / f"{ca}.pem",
            "-CAkey", self.dir / f"{ca}.key", "-days", "2", "-extfile", ext, "-out", self.dir / f"{name}.pem")  # fmt: skip

    def context(self, client: str | None) -> ssl.SSLContext:
        ctx = ssl.create_default_context(cafile=self.dir / "ca.pem")
        if client:
            ctx.load_cert_chain(self.dir / f"{client}.pem", self.dir / f"{client}.key")
        return ctx


@dataclass
class Answer:
    status: int
    headers: dict
    body: bytes
    json: dict = field(default_factory=dict)

    @property
    def results(self) -> dict:
        return self.json["results"]


class Registrar:
    """One database and the process that serves it; start and stop as often as a test likes."""

    def __init__(self, program: Path, folder: Path, pki: Pki, store: Path | None, **settings):
        self.program, self.dir, self.pki = program, folder, pki
        folder.mkdir(exist_ok=True)
        self.db = folder / "registrar.sqlite"
        self.http_port, self.https_port = free_port(), free_port()
        self.settings = {
            "http_listen": f"127.0.0.1:{self.http_port}", "https_listen": f"127.0.0.1:{self.https_port}",
            "tls_cert": pki.dir / "server.pem", "tls_key": pki.dir / "server.key", "tls_ca": pki.dir / "ca.pem",
            "db": self.db, "ek_cert_store": store, **settings,
        }  # fmt: skip
        self.proc: Proc | None = None

    def env(self) -> dict[str, str]:
        return {f"AVOW_REGISTRAR_{k.upper()}": str(v) for k, v in self.settings.items() if v is not None}

    def start(self, wrapper: list | None = None) -> "Registrar":
        self.proc = Proc("avow-registrar", [*(wrapper or []), self.program], self.dir / "log", self.env())
        self.proc.wait_output("listening", 20)
        self.proc.wait_output("tls=true", 20)
        return self

    def stop(self) -> int:
        return self.proc.stop()

    def kill(self) -> None:
        self.proc.kill()

    def request(self, method: str, path: str, body=None, client=None, tls=False, headers=None) -> Answer:
        if tls or client:
            conn = http.client.HTTPSConnection("127.0.0.1", self.https_port, timeout=20, context=self.pki.context(client))
        else:
            conn = http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=20)
        send = {"Content-Type": "application/json", **(headers or {})} if body is not None else headers or {}
        data = json.dumps(body).encode() if isinstance(body, dict) else body
        try:
            conn.request(method, path, data, send)
            got = conn.getresponse()
            raw = got.read()
        finally:
            conn.close()
        answer = Answer(got.status, {k.lower(): v for k, v in got.getheaders()}, raw)
        if answer.headers.get("content-type") == "application/json":
            answer.json = json.loads(raw)
        return answer

    def register(self, agent: str, body, **kw) -> Answer:
        return self.request("POST", f"/v2.6/agents/{agent}", body, **kw)

    def activate(self, agent: str, tag: str, **kw) -> Answer:
        return self.request("PUT", f"/v2.6/agents/{agent}", {"auth_tag": tag}, **kw)

    def get(self, agent: str, client="client") -> Answer:
        return self.request("GET", f"/v2.6/agents/{agent}", client=client)

    def enrol(self, agent: str, tpm: Tpm, ak: str = "ak", **changes) -> Answer:
        """Register and activate, as an agent does; the answer of the activation."""
        answer = self.register(agent, tpm.body(**changes))
        if answer.status != 200:
            raise AssertionError(f"register {agent}: {answer.status} {answer.body!r}")
        secret = tpm.open_credential(base64.b64decode(answer.results["blob"]), ak)
        return self.activate(agent, auth_tag(secret, agent))

    def rows(self, sql: str, *args) -> list:
        """Reads the database as an outsider."""
        with contextlib.closing(sqlite3.connect(f"file:{self.db}?mode=ro", uri=True)) as db:
            return db.execute(sql, args).fetchall()

    def raw(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.http_port), timeout=30)


def closed_after(sock: socket.socket, limit: float, drip: bytes = b"") -> float:
    """Seconds until the other side closes, while we send one byte of `drip` twice a second; `limit` at most."""
    start = time.monotonic()
    sock.settimeout(0.5)
    sent = 0
    while time.monotonic() - start < limit:
        try:
            if sent < len(drip):
                sock.send(drip[sent : sent + 1])
                sent += 1
            if sock.recv(65536) == b"":
                break
        except TimeoutError:
            continue
        except OSError:
            break
    return time.monotonic() - start


def remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
