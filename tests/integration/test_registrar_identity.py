"""Who is this TPM? avow-registrar alone with software TPMs: every kind of EK, every refusal, every judge. No Kafka."""

import base64
import hashlib
import hmac
import http.server
import json
import signal
import ssl
import stat
import sys
import threading
import time
from pathlib import Path

import pytest
from avowtest.ekpki import DAY, NOW, Authority, Chip, LocalCa, der, pem, public_pem, store
from cryptography.x509.oid import ExtendedKeyUsageOID

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "registrar"))

from world import Pki, Registrar  # noqa: E402

LOW = ("rsa", "ecc")  # templates L-1 and L-2: the EK is used by policy
NO_ISSUER = "its issuer is neither in the CA store nor among the intermediates"
NO_LEAVE = "an operator must allow the change or remove the registration first"
IAK_ATTRIBUTES = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|restricted|sign"
IDEVID_ATTRIBUTES = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|sign"


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


class Lab:
    """What the tests share: one chip with four EKs, and makers of certificates."""

    def __init__(self, folder: Path, program: Path):
        self.dir, self.program = folder, program
        self.pki = Pki(folder / "pki")
        self.chip = Chip(folder / "chip")
        self.eks = {kind: self.chip.ek(kind) for kind in ("rsa", "rsa3072", "ecc", "ecc384")}
        self.ak = self.chip.ak(self.eks["rsa"], "ak")
        self.other_ak = self.chip.ak(self.eks["rsa"], "other-ak")
        self.root = Authority("root")
        self.middle = Authority("middle", above=self.root)
        self.good = self.middle.ek_cert(self.eks["rsa"].key)
        self.registrars = []

    def close(self) -> None:
        for r in self.registrars:
            r.kill()
        self.chip.stop()

    def body(self, ek="rsa", ak=None, **changes) -> dict:
        fields = {
            "ek_tpm": b64(self.eks[ek].public), "aik_tpm": b64((ak or self.ak).public),
            "ekcert": pem(self.good, self.middle.cert), "ip": "127.0.0.1", "port": 9002, "mtls_cert": "disabled",
            **changes,
        }  # fmt: skip
        return {k: v for k, v in fields.items() if v is not ...}


@pytest.fixture(scope="module")
def lab(tmp_path_factory, bin_dir):
    lab = Lab(tmp_path_factory.mktemp("lab"), bin_dir / "avow-registrar")
    yield lab
    lab.close()


class Host(Registrar):
    """A registrar and what its database holds."""

    lab: Lab

    def tag(self, blob: str, agent: str, ek="rsa", ak=None) -> str:
        chip = self.lab.chip
        secret = chip.open_credential(base64.b64decode(blob), self.lab.eks[ek], ak or self.lab.ak, ek in LOW)
        return hmac.new(base64.b64encode(secret), agent.encode(), hashlib.sha384).hexdigest()

    def answer(self, blob: str, agent: str, ek="rsa", ak=None, **kw):
        return self.activate(agent, self.tag(blob, agent, ek, ak), **kw)

    def challenge(self, agent: str, body: dict) -> str:
        """The tag that answers it."""
        answer = self.register(agent, body)
        assert answer.status == 200, answer.body
        return self.tag(answer.results["blob"], agent)

    def judged(self, agent: str, body: dict):
        """The answer to a TPM that has proven itself."""
        return self.activate(agent, self.challenge(agent, body))

    def join(self, agent: str, ek="rsa", ak=None, **changes):
        """Register and activate; 200 or an AssertionError."""
        answer = self.register(agent, self.lab.body(ek, ak, **changes))
        assert answer.status == 200, answer.body
        done = self.answer(answer.results["blob"], agent, ek, ak)
        assert done.status == 200, done.body

    def trust(self, agent: str) -> tuple:
        return self.rows("SELECT trust_rule, trust_trusted, trust_detail FROM agents WHERE id = ?", agent)[0]

    def records(self) -> list:
        outbox = self.rows("SELECT seq, id, generation FROM outbox ORDER BY seq")
        return self.rows("SELECT * FROM agents ORDER BY id") + outbox

    def refuses(self, agent: str, body: dict, status: int, text: str):
        """Exactly this answer, and nothing of the records has changed."""
        before = self.records()
        answer = self.register(agent, body)
        assert (answer.status, answer.json["status"]) == (status, text)
        assert answer.json["results"] == {}
        assert self.records() == before
        return answer

    def wait_trust(self, agent: str, want, limit=15.0) -> tuple:
        end = time.monotonic() + limit
        while (got := self.trust(agent)) and not want(got):
            assert time.monotonic() < end, f"{got}: {self.proc.output()[-2000:]}"
            time.sleep(0.05)
        return got


@pytest.fixture
def serve(lab, tmp_path, request):
    """serve(certs=[...], **settings): a registrar that believes these CAs."""
    made = []

    def start(certs=None, **settings) -> Host:
        n = len(made)
        folder = store(tmp_path / f"store-{n}", *(certs if certs is not None else [lab.root.cert]))
        host = Host(lab.program, tmp_path / f"reg-{n}", lab.pki, folder, **settings)
        host.lab = lab
        made.append(host.start())
        lab.registrars.append(host)
        return host

    yield start
    for host in made:
        assert host.stop() == 0, host.proc.output()
        assert "Sanitizer" not in host.proc.output()


# --- Kinds of EKs, with certificates as swtpm_localca makes them


@pytest.mark.parametrize("flat", [False, True], ids=["intermediate", "root-alone"])
def test_ai9_every_kind_of_ek_registers_and_activates(lab, serve, tmp_path, flat):
    ca = LocalCa(tmp_path / "localca", flat)
    certs = {kind: ca.issue(ek) for kind, ek in lab.eks.items()}
    assert (ca.root == ca.issuer) == flat
    reg = serve([ca.root])
    aks = {"rsa": lab.ak}
    for kind in ("rsa3072", "ecc", "ecc384"):
        aks[kind] = lab.chip.ak(lab.eks[kind], f"ak-{kind}-{flat}", "-G", "ecc", "-g", "sha256", "-s", "ecdsa")
    for kind, cert in certs.items():
        chain = pem(cert) if flat else pem(cert, ca.issuer)
        reg.join(f"host-{kind}", kind, aks[kind], ekcert=chain)
        rule, trusted, detail = reg.trust(f"host-{kind}")
        assert (rule, trusted) == ("ek-certificate", 1), detail
        assert detail.startswith("certificate issued by CN=")
        fingerprint = reg.rows("SELECT ek_cert_sha256 FROM agents WHERE id = ?", f"host-{kind}")[0][0]
        assert fingerprint == hashlib.sha256(der(cert)).digest()
    if not flat:
        lone = lab.body(ekcert=pem(certs["rsa"]))
        reg.refuses("host-rsa", lone, 403, f"the EK is not trusted: EK certificate: {NO_ISSUER}")


def test_ai5_either_order_and_a_platform_certificate_beside(lab, serve):
    reg = serve()
    junk = "-----BEGIN CERTIFICATE-----\nMAMCAQU=\n-----END CERTIFICATE-----\n"
    for i, text in enumerate([
        pem(lab.good, lab.middle.cert), pem(lab.middle.cert, lab.good), junk + pem(lab.good, lab.middle.cert),
        pem(lab.root.cert, lab.middle.cert, lab.good),
    ]):  # fmt: skip
        reg.join(f"order-{i}", ekcert=text)
        assert reg.trust(f"order-{i}")[:2] == ("ek-certificate", 1)
    assert reg.get("order-1").results["ekcert"] == b64(der(lab.good))


# --- Refusals: exact answer, record unchanged


def test_ai1_ai2_another_tpm_another_ak_a_wrong_answer(lab, serve):
    reg = serve([lab.root.cert, lab.middle.cert], ak_change="refuse")
    reg.join("host-1")
    p256 = pem(lab.middle.ek_cert(lab.eks["ecc"].key))
    another = f"this agent id belongs to another TPM (its EK differs); {NO_LEAVE}"
    reg.refuses("host-1", lab.body("ecc", ekcert=p256), 403, another)
    reg.refuses("host-1", lab.body(ak=lab.other_ak), 403, f"this agent is registered with another AK; {NO_LEAVE}")
    before = reg.records()
    assert reg.register("host-1", lab.body()).status == 200  # an open challenge
    for tag in ("0" * 96, "f" * 96):
        answer = reg.activate("host-1", tag)
        assert (answer.status, answer.json["status"]) == (400, "auth_tag answers no open challenge of this agent")
    assert reg.records() == before
    assert reg.get("host-1").status == 200

    # An operator's leave is for one change, and the new TPM still has to prove itself.
    allowed = reg.request("POST", "/avow/v1/agents/host-1/allow", {}, client="client")
    assert allowed.status == 200, allowed.body
    assert reg.request("POST", "/avow/v1/agents/host-1/allow", {}, tls=True).status == 403
    assert reg.rows("SELECT ek_public FROM agents") == [(lab.eks["rsa"].public,)]
    ak = lab.chip.ak(lab.eks["ecc"], "ak-allowed", "-G", "ecc", "-g", "sha256", "-s", "ecdsa")
    reg.join("host-1", "ecc", ak, ekcert=p256)
    assert reg.rows("SELECT ek_public, generation, allow_until_ms FROM agents") == [(lab.eks["ecc"].public, 2, 0)]
    assert reg.register("host-1", lab.body()).status == 403


def test_ai4_certificates_each_with_its_own_reason(lab, serve):
    reg = serve()
    reg.join("host-1")
    key = lab.eks["rsa"].key
    no_ca = Authority("no CA", above=lab.root, ca=False)
    stranger = Authority("stranger")
    untrusted = "the EK is not trusted: EK certificate: "
    above = "the EK is not trusted: certificate 1 above the EK certificate: "
    early = lab.middle.ek_cert(key, NOW + DAY, NOW + 2 * DAY)
    late = lab.middle.ek_cert(key, NOW - 3 * DAY, NOW - DAY)
    foreign = lab.middle.ek_cert(lab.eks["ecc"].key)
    for name, text, status, want in [
        ("expired", pem(late, lab.middle.cert), 403, untrusted + "expired"),
        ("not yet", pem(early, lab.middle.cert), 403, untrusted + "not valid yet"),
        ("issuer no CA", pem(no_ca.ek_cert(key), no_ca.cert), 403,
         above + "not a CA, but issued a certificate of the chain"),
        ("no intermediate", pem(lab.good), 403, untrusted + NO_ISSUER),
        ("wrong usage", pem(lab.root.ek_cert(key, usage=ExtendedKeyUsageOID.SERVER_AUTH)), 403,
         untrusted + "extended key usage is not that of an EK (2.23.133.8.1)"),
        ("unknown root", pem(stranger.ek_cert(key), stranger.cert), 403,
         above + "a root that is not in the CA store"),
        ("for another EK", pem(foreign, lab.middle.cert), 400, "ekcert: no certificate is for ek_tpm"),
        ("none", None, 403, "the EK certificate of a registered agent cannot be withdrawn"),
        ("garbage", "AAAA", 400, "ekcert: neither PEM nor base64 DER certificate"),
    ]:  # fmt: skip
        answer = reg.refuses("host-1", lab.body(ekcert=text), status, want)
        assert "retry-after" not in answer.headers, name
    reg.refuses("host-2", lab.body(ekcert=None), 403, "the EK is not trusted: the TPM gave no EK certificate")
    reg.refuses("host-2", lab.body(ekcert=...), 403, "the EK is not trusted: the TPM gave no EK certificate")
    reg.join("host-1", ekcert=...)  # what is left out goes on counting
    assert reg.trust("host-1")[:2] == ("ek-certificate", 1)


def test_ai3_keys_that_are_not_what_they_must_be(lab, serve):
    reg = serve()
    reg.join("host-1")

    def changed(public: bytes, at: int, value: bytes) -> str:
        return b64(public[:at] + value + public[at + len(value) :])

    def flipped(public: bytes, bit: int) -> str:
        return changed(public, 6, (int.from_bytes(public[6:10], "big") ^ bit).to_bytes(4, "big"))

    ek, ak = lab.eks["rsa"].public, lab.ak.public
    for field, value, want in [
        ("aik_tpm", flipped(ak, 0x20000), "aik_tpm: AK has decrypt"),
        ("aik_tpm", flipped(ak, 0x2), "aik_tpm: AK lacks fixedTPM"),
        ("aik_tpm", flipped(ak, 0x10000), "aik_tpm: AK lacks restricted"),
        ("aik_tpm", flipped(ak, 0x40000), "aik_tpm: AK lacks sign"),
        ("aik_tpm", changed(ak, 4, b"\0\4"), "aik_tpm: AK has nameAlg 0x0004; SHA-256, SHA-384 or SHA-512 is needed"),
        ("aik_tpm", b64(ek), "aik_tpm: AK lacks sign"),
        ("aik_tpm", b64(ak[:-1]), None),
        ("ek_tpm", flipped(ek, 0x2), "ek_tpm: EK lacks fixedTPM"),
        ("ek_tpm", flipped(ek, 0x20000), "ek_tpm: EK lacks decrypt"),
        ("ek_tpm", flipped(ek, 0x40000), "ek_tpm: EK has sign"),
        ("ek_tpm", flipped(ek, 0x4), "ek_tpm: EK has stClear"),
        ("ek_tpm", flipped(ek, 0x800), "ek_tpm: EK has encryptedDuplication"),
    ]:
        before = reg.records()
        answer = reg.register("host-1", lab.body(**{field: value}))
        assert answer.status == 400, (field, want)
        assert want is None or answer.json["status"] == want
        assert reg.records() == before


def test_ai7_an_id_of_64_hex_digits_is_the_eks_hash(lab, serve):
    reg = serve()
    own = hashlib.sha256(public_pem(lab.eks["rsa"].key)).hexdigest()
    reg.join(own)
    for wrong in ("0" * 64, own.upper(), own[:-1] + ("0" if own[-1] != "0" else "1")):
        reg.refuses(wrong, lab.body(), 400, "an agent id of 64 hex digits must be the SHA-256 of the EK that registers")


def test_a_challenge_expires(lab, serve):
    reg = serve(challenge_ms=1000)
    reg.join("host-1")
    before = reg.records()
    answer = reg.register("host-1", lab.body())
    time.sleep(1.2)
    late = reg.answer(answer.results["blob"], "host-1")
    assert (late.status, late.json["status"]) == (400, "auth_tag answers no open challenge of this agent")
    assert reg.records() == before


# --- Revocation, and authorities that change


def test_ai4_revoked_expired_and_required_lists(lab, serve, tmp_path):
    crls = tmp_path / "crls"
    crls.mkdir()
    (crls / "middle.crl").write_bytes(lab.middle.crl())
    reg = serve(crl_dir=crls, crl_check="required")
    reg.refuses("host-1", lab.body(), 403, "the EK is not trusted: certificate 1 above the EK certificate: there is no "
                "revocation list of its issuer")  # fmt: skip
    (crls / "root.crl").write_bytes(lab.root.crl())
    reg.proc.wait_output("revocation_lists=2", 10)
    reg.join("host-1")
    assert reg.rows("SELECT generation FROM agents") == [(1,)]

    # Revoked: the record stays, says so with the next generation, and nobody else gets in with this chip.
    (crls / "middle.crl").write_bytes(lab.middle.crl(lab.good))
    assert reg.wait_trust("host-1", lambda t: not t[1]) == ("trust-on-first-use", 0, "EK certificate: revoked")
    assert reg.rows("SELECT status, generation FROM agents") == [(1, 2)]
    assert reg.rows("SELECT id, generation FROM outbox ORDER BY seq") == [("host-1", 1), ("host-1", 2)]
    reg.refuses("host-1", lab.body(), 403, "the EK is not trusted: EK certificate: revoked")
    (crls / "middle.crl").write_bytes(lab.middle.crl(start=NOW - 3 * DAY, end=NOW - DAY))
    reg.wait_trust("host-1", lambda t: "out of date" in t[2])
    assert "crl.expired" in reg.proc.output()
    (crls / "middle.crl").write_bytes(lab.middle.crl())
    assert reg.wait_trust("host-1", lambda t: t[1])[0] == "ek-certificate"
    assert reg.rows("SELECT generation FROM agents") == [(4,)]


def test_a_store_that_changes_is_read_again_and_a_bad_one_is_not_believed(lab, serve):
    reg = serve([], ek_policy="trust-on-first-use")
    folder = Path(reg.settings["ek_cert_store"])
    reg.join("host-1")
    assert reg.trust("host-1")[:2] == ("trust-on-first-use", 0)
    (folder / "root.pem").write_text(pem(lab.root.cert))
    assert reg.wait_trust("host-1", lambda t: t[1])[0] == "ek-certificate"
    (folder / "half.pem").write_text(pem(lab.root.cert)[:100])
    reg.proc.wait_output("authorities.kept", 10)
    reg.join("host-2")
    assert reg.trust("host-2")[:2] == ("ek-certificate", 1)
    (folder / "half.pem").unlink()
    (folder / "root.pem").unlink()
    reg.wait_trust("host-2", lambda t: not t[1])

    # Also what changed while nobody looked.
    assert reg.stop() == 0
    (folder / "root.pem").write_text(pem(lab.root.cert))
    reg.start()
    reg.wait_trust("host-2", lambda t: t[1])
    said = reg.proc.output().count("ek_cert_store")
    reg.proc.signal(signal.SIGHUP)
    end = time.monotonic() + 10
    while reg.proc.output().count("ek_cert_store") == said:
        assert time.monotonic() < end
        time.sleep(0.05)


def test_start_is_refused_with_a_list_that_its_issuer_did_not_sign(lab, tmp_path):
    crls = tmp_path / "crls"
    crls.mkdir()
    forger = Authority("root")
    (crls / "x.crl").write_bytes(forger.crl())
    reg = Host(lab.program, tmp_path / "reg", lab.pki, store(tmp_path / "store", lab.root.cert), crl_dir=crls)
    with pytest.raises(RuntimeError, match="its issuer's key did not sign it"):
        reg.start()


# --- The operator's judges


def script(folder: Path, text: str) -> Path:
    path = folder / "check"
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(stat.S_IRWXU)
    return path


def test_check_script_sees_what_keylimes_saw_and_may_refuse(lab, serve, tmp_path):
    seen = tmp_path / "seen"
    path = script(tmp_path, f"""env >{seen}
echo "pwd=$(pwd) fds=$(ls /proc/self/fd | tr '\\n' ' ')" >>{seen}
case $AGENT_UUID in
bad) echo "not one of ours"; echo "second line"; exit 3 ;;
hang) sleep 600 & echo $! >{tmp_path}/child; sleep 600 ;;
killed) kill -9 $$ ;;
leaver) sleep 600 & echo $! >{tmp_path}/child ;;
esac
""")
    reg = serve(ek_check_script=path, ek_check_timeout_ms=1500)
    reg.join("good")
    assert reg.trust("good")[:2] == ("ek-certificate", 1)  # it may only refuse
    lines = [line for line in seen.read_text().splitlines() if "=" in line and line[0].isupper()]
    got = dict(line.split("=", 1) for line in lines)
    got.pop("PWD", None)  # the shell's own
    assert got.pop("EK").startswith("-----BEGIN PUBLIC KEY-----")
    assert public_pem(lab.eks["rsa"].key).decode() in seen.read_text()
    assert got == {
        "AGENT_UUID": "good", "EK_TPM": b64(lab.eks["rsa"].public), "EK_CERT": b64(der(lab.good)), "PROVKEYS": "{}",
        "TPM_CERT_STORE": str(reg.settings["ek_cert_store"]),
    }  # fmt: skip
    assert "pwd=/ fds=0 1 2 3 " in seen.read_text()  # 3 is that of ls

    before = reg.records()
    answer = reg.judged("bad", lab.body())
    assert (answer.status, answer.json["status"]) == (
        403, "the EK is refused: the check script ended with status 3: not one of ours"
    )  # fmt: skip
    killed = reg.judged("killed", lab.body()).json["status"]
    assert killed.startswith("the EK is refused: the check script ended by signal 9")
    tag = reg.challenge("hang", lab.body())
    start = time.monotonic()
    answer = reg.activate("hang", tag)
    assert (answer.status, answer.json["status"]) == (503, "nobody can say now whether this EK is genuine")
    assert int(answer.headers["retry-after"]) > 0
    assert 1.4 < time.monotonic() - start < 10
    ends(tmp_path / "child")
    assert reg.records() == before
    reg.join("leaver")  # it is not waited for what a script leaves behind
    ends(tmp_path / "child")


def ends(file: Path) -> None:
    """The process whose id is in the file ends."""
    stat = Path(f"/proc/{int(file.read_text())}/stat")
    end = time.monotonic() + 5
    while stat.exists() and "Z" not in stat.read_text().split(")")[1][:3]:
        assert time.monotonic() < end, "a child of the check script outlives it"
        time.sleep(0.05)


def test_check_script_alone_decides_with_cert_or_webhook(lab, serve, tmp_path):
    path = script(tmp_path, '[ "$AGENT_UUID" = friend ] || exit 1\n')
    reg = serve([], ek_check_script=path, ek_policy="cert-or-webhook")
    reg.join("friend", ekcert=None)
    assert reg.trust("friend") == ("check-script", 1, "the check script ended with status 0")
    denied(reg, "foe", lab.body(), "the EK is refused: the check script ended with status 1")


def denied(reg: Host, agent: str, body: dict, text: str) -> None:
    """Proven, and refused by a judge; the records have not changed, and the challenge is spent."""
    before, tag = reg.records(), reg.challenge(agent, body)
    answer = reg.activate(agent, tag)
    assert (answer.status, answer.json["status"], answer.json["results"]) == (403, text, {})
    assert "retry-after" not in answer.headers
    assert reg.records() == before and reg.rows("SELECT * FROM pending WHERE id = ?", agent) == []
    assert reg.activate(agent, tag).status in (400, 404)


class Judge:
    """A webhook: each request is answered with the next of `answers`, the last one for ever."""

    def __init__(self, folder: Path, ca: Authority):
        folder.mkdir()
        self.asked, self.answers = [], [(200, {"decision": "allow"})]
        judge = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                judge.asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                status, body = judge.answers.pop(0) if len(judge.answers) > 1 else judge.answers[0]
                if status == 0:
                    time.sleep(body)
                    status, body = 200, {"decision": "allow"}
                raw = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, *args):
                pass

        cert, key = ca.server_cert(folder, "judge")
        self.ca_file = folder / "ca.pem"
        self.ca_file.write_text(pem(ca.cert))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.server.handle_error = lambda *a: None
        self.url = f"https://127.0.0.1:{self.server.server_port}/ek"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def judge(tmp_path):
    judge = Judge(tmp_path / "judge", Authority("judge's CA"))
    yield judge
    judge.close()


def test_webhook_decides_what_certificates_do_not(lab, serve, judge):
    reg = serve([lab.root.cert], ek_policy="cert-or-webhook", webhook_url=judge.url, webhook_ca=judge.ca_file,
                webhook_timeout_ms=1000)  # fmt: skip
    reg.join("certified")
    assert judge.asked == []  # nobody is asked about what is proven
    reg.join("allowed", ekcert=pem(lab.good))
    assert reg.trust("allowed") == ("webhook", 1, "the operator's webhook allows it")
    asked = judge.asked[-1]
    assert asked["agent_id"] == "allowed" and asked["ek_tpm"] == b64(lab.eks["rsa"].public)
    assert asked["ek_certs"] == [b64(der(lab.good))]
    assert asked["ek_cert_sha256"] == hashlib.sha256(der(lab.good)).hexdigest()
    assert asked["aik_tpm"] == b64(lab.ak.public) and asked["source"] == "127.0.0.1" and asked["version"] == 1
    assert asked["reason"] == f"EK certificate: {NO_ISSUER}"
    assert asked["ek_name"] == "000b" + hashlib.sha256(lab.eks["rsa"].public[2:]).hexdigest()

    judge.answers = [(200, {"decision": "deny", "reason": "unknown\u0007 batch"})]
    count = len(judge.asked)
    denied(reg, "allowed", lab.body(ekcert=pem(lab.good)), "the EK is refused: the operator's webhook denies it: unknown? batch")
    assert len(judge.asked) == count + 1  # a repeat of the tag asks nobody
    busy = {"decision": "allow", "reason": "second try"}
    judge.answers = [(500, b""), (429, b""), (200, busy)]
    reg.join("again", ekcert=None)
    assert reg.trust("again")[2] == "the operator's webhook allows it: second try"


def test_webhook_is_asked_about_proven_tpms_only(lab, serve, judge):
    """Whoever can send requests must not make us send others."""
    reg = serve([], ek_policy="cert-or-webhook", webhook_url=judge.url, webhook_ca=judge.ca_file)
    for i in range(30):  # registrations, with and without a certificate, and tags that are guessed
        assert reg.register(f"host-{i}", lab.body(ekcert=None if i % 2 else pem(lab.good))).status == 200
        assert reg.activate(f"host-{i}", f"{i:096x}").status == 400
    assert reg.register("host-0", lab.body(ekcert="AAAA")).status == 400
    other = reg.register("host-0", lab.body(ekcert=None, ek_tpm="AAAA"))
    assert other.status == 400 and judge.asked == []
    reg.join("host-31", ekcert=None)
    assert [q["agent_id"] for q in judge.asked] == ["host-31"]
    expired = serve([], ek_policy="cert-or-webhook", webhook_url=judge.url, webhook_ca=judge.ca_file, challenge_ms=1000)
    tag = expired.challenge("late", lab.body(ekcert=None))
    time.sleep(1.1)
    assert expired.activate("late", tag).status == 400 and len(judge.asked) == 1


@pytest.mark.parametrize("who", ["webhook", "script"])
def test_stop_does_not_wait_for_a_judge(lab, serve, judge, tmp_path, who):
    settings = {"webhook_url": judge.url, "webhook_ca": judge.ca_file, "webhook_timeout_ms": 30000}
    if who == "script":
        settings = {"ek_check_script": script(tmp_path, f"echo $$ >{tmp_path}/child; sleep 600\n"), "ek_check_timeout_ms": 30000}
    reg = serve([], ek_policy="cert-or-webhook", **settings)
    judge.answers = [(0, 12)]
    tag, got = reg.challenge("host-1", lab.body(ekcert=None)), []
    asking = threading.Thread(target=lambda: got.append(reg.activate("host-1", tag)))
    asking.start()
    end = time.monotonic() + 10
    while not judge.asked and not (tmp_path / "child").exists():
        assert time.monotonic() < end
        time.sleep(0.02)
    start = time.monotonic()
    assert reg.stop() == 0
    assert time.monotonic() - start < 3
    asking.join()
    assert got[0].status == 503 and "retry-after" in got[0].headers  # answered, and it comes again
    if who == "script":
        ends(tmp_path / "child")
    reg.start()
    judge.answers = [(200, {"decision": "allow"})]
    assert who == "script" or reg.activate("host-1", tag).status == 200  # the challenge outlived us


def test_webhook_without_a_decision_is_neither_yes_nor_no(lab, serve, judge, tmp_path):
    settings = dict(ek_policy="cert-or-webhook", webhook_url=judge.url, webhook_timeout_ms=300, webhook_tries=2)
    reg = serve([], webhook_ca=judge.ca_file, **settings)
    cases = {
        "404": ([(404, {"decision": "allow"})], 1),
        "500s": ([(500, {"decision": "allow"})], 2),
        "redirect": ([(302, b"")], 1),
        "no JSON": ([(200, b"allow")], 1),
        "no decision": ([(200, {"decision": True})], 1),
        "other word": ([(200, {"decision": "Allow"})], 1),
        "twice": ([(200, b'{"decision":"deny","decision":"allow"}')], 1),
        "too long": ([(200, b'{"decision":"allow","x":"' + b"y" * 20000 + b'"}')], 1),
        "too late": ([(0, 0.8)], 2),
    }
    tag = reg.challenge("host-1", lab.body(ekcert=None))
    for name, (answers, tries) in cases.items():
        judge.answers, asked = answers, len(judge.asked)
        answer = reg.activate("host-1", tag)
        assert (answer.status, answer.json["status"]) == (503, "nobody can say now whether this EK is genuine")
        assert "retry-after" in answer.headers and reg.records() == []
        assert len(judge.asked) - asked == tries, name
    judge.answers = [(200, {"decision": "allow"})]
    assert reg.activate("host-1", tag).status == 200  # the same answer to the same challenge

    # Another CA vouches for the judge: it is not asked.
    stranger = tmp_path / "stranger.pem"
    stranger.write_text(pem(Authority("stranger").cert))
    other, asked = serve([], webhook_ca=stranger, **settings), len(judge.asked)
    assert other.judged("host-1", lab.body(ekcert=None)).status == 503
    assert len(judge.asked) == asked


def test_judges_are_never_asked_by_more_than_configured(lab, serve, judge):
    reg = serve([], ek_policy="cert-or-webhook", webhook_url=judge.url, webhook_ca=judge.ca_file, judge_calls=2)
    judge.answers = [(0, 1.0)]
    answers = []
    tags = [reg.challenge(f"host-{i}", lab.body(ekcert=None)) for i in range(5)]

    def ask(i):
        answers.append(reg.activate(f"host-{i}", tags[i]).status)

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(4)]
    for t in threads:
        t.start()
    time.sleep(0.3)
    assert sorted(answers) == [503, 503]  # who finds none free is told so at once
    for t in threads:
        t.join()
    assert sorted(answers) == [200, 200, 503, 503] and len(judge.asked) == 2
    assert ask(4) is None and answers[-1] == 200


# --- Device identities


class Device:
    """An IAK and an IDevID of the chip with their maker's certificates."""

    def __init__(self, lab: Lab, name: str, serial: str, maker: Authority, *algorithms: str):
        self.lab, self.maker, self.serial = lab, maker, serial
        iak, idevid = algorithms or ("ecc256:ecdsa-sha256:null", "ecc384:ecdsa-sha384:null")
        self.iak = lab.chip.primary(f"iak-{name}", IAK_ATTRIBUTES, iak)
        self.idevid = lab.chip.primary(f"idevid-{name}", IDEVID_ATTRIBUTES, idevid)

    def fields(self, agent: str, ak=None, qualifying=None, **changes) -> dict:
        q = hashlib.sha256(agent.encode()).digest() if qualifying is None else qualifying
        attest, sig = self.lab.chip.certify(self.iak, ak or self.lab.ak, q)
        return {
            "iak_tpm": b64(self.iak.public), "iak_attest": b64(attest), "iak_sign": b64(sig),
            "iak_cert": b64(der(self.maker.device_cert(self.iak.key, self.serial))),
            "idevid_tpm": b64(self.idevid.public),
            "idevid_cert": pem(self.maker.device_cert(self.idevid.key, self.serial)), **changes,
        }  # fmt: skip


@pytest.fixture(scope="module")
def device(lab):
    return Device(lab, "one", "SN-0001", Authority("maker of devices"))


def test_iak_and_idevid_prove_the_device(lab, serve, device, tmp_path):
    makers = store(tmp_path / "makers", device.maker.cert)
    reg = serve(tpm_identity="iak_idevid", idevid_cert_store=makers)
    refused = "the device is not trusted: "
    reg.refuses("host-1", lab.body(), 403, refused + "the agent gave no IAK and IDevID")
    reg.join("host-1", **device.fields("host-1"))
    assert reg.trust("host-1") == ("iak-idevid", 1, "IAK and IDevID certificates of device SN-0001")
    assert reg.rows("SELECT device_serial FROM agents") == [("SN-0001",)]
    reg.join("host-2", **device.fields("host-2", qualifying=b"host-2"))  # the id itself, as older agents sign it
    reg.join("host-1")  # left out with the same AK: what was proven goes on counting
    assert reg.trust("host-1")[:2] == ("iak-idevid", 1)
    reg.refuses("host-1", lab.body(ak=lab.other_ak), 403, refused + "the agent gave no IAK and IDevID")

    # Other algorithms, because the same template on the same chip is the same key.
    stranger = Device(lab, "two", "SN-0002", device.maker, "rsa2048:rsapss-sha256:null", "ecc256:ecdsa-sha256:null")
    foreign = Device(lab, "three", "SN-0001", Authority("stranger"))
    old = device.maker.device_cert(device.iak.key, "SN-0001", NOW - DAY / 2)
    fields = device.fields("host-1")
    attest, sign = base64.b64decode(fields["iak_attest"]), base64.b64decode(fields["iak_sign"])
    for name, changes, status, want in [
        ("another device", stranger.fields("host-1"), 403, "this agent id belongs to another device (the serial number "
         f"in its IAK and IDevID certificates differs); {NO_LEAVE}"),
        ("unknown maker", foreign.fields("host-1"), 403, f"{refused}IAK certificate: {NO_ISSUER}"),
        ("another id", device.fields("host-2"), 400, "iak_attest: made for another agent id"),
        ("another AK", device.fields("host-1", ak=lab.other_ak), 400, "iak_attest: certifies another key than aik_tpm"),
        ("bit of attest", {**fields, "iak_attest": b64(attest[:-1] + bytes([attest[-1] ^ 1]))}, 400,
         "iak_sign: the IAK did not sign iak_attest"),
        ("bit of signature", {**fields, "iak_sign": b64(sign[:-1] + bytes([sign[-1] ^ 1]))}, 400,
         "iak_sign: the IAK did not sign iak_attest"),
        ("magic", {**fields, "iak_attest": b64(b"\0" + attest[1:])}, 400,
         "iak_attest: attest: not made by a TPM (its magic is 0x00544347)"),
        ("a quote", {**fields, "iak_attest": b64(attest[:4] + b"\x80\x18" + attest[6:])}, 400,
         "iak_attest: attest: of type 0x8018, not TPM2_Certify's"),
        ("IAK of another", {**fields, "iak_tpm": b64(stranger.iak.public)}, 400,
         "iak_cert: no certificate is for the key beside it"),
        ("unrestricted", {**fields, "iak_tpm": fields["idevid_tpm"]}, 400, "iak_tpm: AK lacks restricted"),
        ("half", {**fields, "idevid_cert": None}, 400,
         "idevid_cert: missing, and other parts of a device identity are there"),
        ("two devices", {**fields, "idevid_tpm": b64(stranger.idevid.public),
                         "idevid_cert": stranger.fields("host-1")["idevid_cert"]}, 403,
         refused + "IAK and IDevID certificates name different devices"),
        ("expired", {**fields, "iak_cert": pem(old)}, 403, refused + "IAK certificate: expired"),
        ("swapped", {**fields, "iak_cert": fields["idevid_cert"]}, 400,
         "iak_cert: no certificate is for the key beside it"),
    ]:  # fmt: skip
        before = reg.records()
        answer = reg.register("host-1", lab.body(**changes))
        assert (answer.status, answer.json["status"]) == (status, want), name
        assert reg.records() == before, name


def test_every_tpm_identity_mode(lab, serve, device, tmp_path):
    makers = store(tmp_path / "makers", device.maker.cert)
    with_iak, nothing = "certificates of device", "gave no"
    for mode, policy, cert, iak, want in [
        ("default", "require-cert", True, False, "ek-certificate"),
        ("default", "require-cert", False, True, "iak-idevid"),
        ("default", "require-cert", False, False, None),
        ("default", "trust-on-first-use", False, False, "trust-on-first-use"),
        ("ek_cert", "trust-on-first-use", True, True, "ek-certificate"),
        ("ek_cert", "require-cert", False, True, None),
        ("ek_cert", "trust-on-first-use", False, False, None),
        ("iak_idevid", "require-cert", True, False, None),
        ("iak_idevid", "trust-on-first-use", False, False, None),
        ("iak_idevid", "require-cert", False, True, "iak-idevid"),
        ("ek_cert_or_iak_idevid", "trust-on-first-use", False, False, None),
        ("ek_cert_or_iak_idevid", "require-cert", True, True, "ek-certificate"),
        ("ek_cert_or_iak_idevid", "require-cert", False, True, "iak-idevid"),
    ]:
        reg = serve(tpm_identity=mode, ek_policy=policy, idevid_cert_store=makers)
        changes = device.fields("h") if iak else {}
        if not cert:
            changes["ekcert"] = None
        if want is None:
            answer = reg.register("h", lab.body(**changes))
            assert (answer.status, nothing in answer.json["status"]) == (403, True), (mode, policy, answer.body)
        else:
            reg.join("h", **changes)
            assert reg.trust("h")[0] == want, (mode, policy)
            assert (with_iak in reg.trust("h")[2]) == (iak and mode != "ek_cert")
        assert reg.stop() == 0
