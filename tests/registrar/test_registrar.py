#!/usr/bin/env python3
"""avow-registrar against real (software) TPMs, with tpm2-tools as the agent: test_registrar.py PROGRAM [unittest options].

No Kafka, no network beyond the loopback, free ports, own TPMs. Each refusal stands next to what is accepted.
"""

import base64
import http.client
import json
import random
import resource
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import world  # noqa: E402
from world import Pki, Registrar, Tpm, auth_tag, b64, closed_after, pem_of  # noqa: E402

PROGRAM: Path
ROOT: Path
WRONG = "0" * 96


def setUpModule():
    global ROOT, ALICE, BOB, PKI, STORE
    tmp = tempfile.TemporaryDirectory(prefix="avow-reg-")
    unittest.addModuleCleanup(tmp.cleanup)  # cleanups run even if the rest of this function fails
    ROOT = Path(tmp.name)
    PKI = Pki(ROOT / "pki")
    for name in ("alice", "bob"):
        unittest.addModuleCleanup(world.run, world.SWTPM, "stop", ROOT / name)
    ALICE, BOB = Tpm(ROOT / "alice", ROOT / "ca"), Tpm(ROOT / "bob", ROOT / "ca")
    STORE = ROOT / "store"
    world.run(world.SWTPM, "store", ROOT / "ca", STORE)


class Case(unittest.TestCase):
    settings: dict = {}
    store: Path | None = ...

    def setUp(self):
        store = STORE if self.store is ... else self.store
        self.reg = Registrar(PROGRAM, ROOT / f"r-{self.id()}", PKI, store, **self.settings).start()

    def tearDown(self):
        if self.reg.proc.running():
            self.assertEqual(self.reg.stop(), 0, self.reg.proc.output())
        self.assertNotIn("Sanitizer", self.reg.proc.output())
        world.remove(self.reg.dir)

    def assertEnvelope(self, answer, status, text=None):
        self.assertEqual(answer.status, status, answer.body)
        self.assertEqual(set(answer.json), {"code", "status", "results"})
        self.assertEqual(answer.json["code"], status)
        self.assertIsInstance(answer.json["results"], dict)
        if text is not None:
            self.assertIn(text, answer.json["status"])

    def identity_rows(self):
        return self.reg.rows("SELECT id, status, generation, regcount, ak_public FROM agents ORDER BY id")


class Enrolment(Case):
    def test_full_flow(self):
        """createek, createak, POST, activatecredential, HMAC, PUT, GET, list, delete."""
        r = self.reg
        answer = r.register("host-1", ALICE.body(), headers={"X-Request-ID": "ab12cd"})
        self.assertEnvelope(answer, 200, "Success")
        self.assertEqual(answer.headers["x-request-id"], "ab12cd")
        self.assertNotIn("retry-after", answer.headers)
        blob = base64.b64decode(answer.results["blob"], validate=True)
        self.assertEqual(blob[:8].hex(), "badcc0de00000001")
        self.assertEnvelope(r.get("host-1"), 404)  # it proved nothing yet
        self.assertEqual(r.request("GET", "/v2.6/agents/", client="client").results, {"uuids": ["host-1"]})

        secret = ALICE.open_credential(blob)
        self.assertEqual(len(secret), 32)
        answer = r.activate("host-1", auth_tag(secret, "host-1"))
        self.assertEnvelope(answer, 200, "Success")
        self.assertEqual(answer.results, {})

        got = r.get("host-1")
        self.assertEnvelope(got, 200, "Success")
        self.assertEqual(
            got.results,
            {
                "agent_id": "host-1", "ek_tpm": b64(ALICE.ek), "aik_tpm": b64(ALICE.ak), "ekcert": b64(ALICE.cert),
                "ip": "127.0.0.1", "port": 9002, "mtls_cert": "disabled", "regcount": 1,
            },
        )  # fmt: skip
        self.assertEqual(r.rows("SELECT trust_rule, trust_trusted FROM agents"), [("ek-certificate", 1)])
        self.assertEqual(r.rows("SELECT id, generation FROM outbox"), [("host-1", 1)])
        self.assertEqual(r.rows("SELECT count(*) FROM pending"), [(0,)])

        self.assertEnvelope(r.request("DELETE", "/v2.6/agents/host-1", client="client"), 200, "Success")
        self.assertEnvelope(r.get("host-1"), 404)
        self.assertEnvelope(r.request("DELETE", "/v2.6/agents/host-1", client="client"), 404)
        self.assertEqual(r.rows("SELECT id, generation FROM outbox ORDER BY seq"), [("host-1", 1), ("host-1", 2)])
        self.assertEqual(self.identity_rows(), [("host-1", 2, 2, 1, ALICE.ak)])

        # After removal the id is free, and its generation goes on.
        self.assertEqual(r.enrol("host-1", BOB).status, 200)
        self.assertEqual(self.identity_rows(), [("host-1", 1, 3, 1, BOB.ak)])

    def test_https_without_client_certificate_registers(self):
        answer = self.reg.register("host-1", ALICE.body(), tls=True)
        self.assertEnvelope(answer, 200)
        secret = ALICE.open_credential(base64.b64decode(answer.results["blob"]))
        self.assertEnvelope(self.reg.activate("host-1", auth_tag(secret, "host-1"), tls=True), 200)

    def test_p384_ek_of_the_high_range(self):
        """Template H-3: MakeCredential with SHA-384 and AES-256, as the EK's public area says."""
        ek = ALICE.work / "ek384.pub"
        ALICE.tool("readpublic", "-c", "0x81010016", "-f", "tss", "-o", ek)
        ALICE.tool("nvread", "0x01c00016", "-C", "o", "-o", "ek384.der")
        ALICE.tool("createak", "-C", "0x81010016", "-c", "ak384.ctx", "-u", "ak384.pub", "-G", "ecc384", "-g", "sha384",
                   "-s", "ecdsa")  # fmt: skip
        ak = (ALICE.work / "ak384.pub").read_bytes()
        cert = pem_of((ALICE.work / "ek384.der").read_bytes())
        answer = self.reg.register(
            "host-1", ALICE.body(ek_tpm=b64(ek.read_bytes()), aik_tpm=b64(ak), ekcert=cert)
        )
        self.assertEnvelope(answer, 200)
        (ALICE.work / "blob").write_bytes(base64.b64decode(answer.results["blob"]))
        ALICE.tool("activatecredential", "-c", "ak384.ctx", "-C", "0x81010016", "-i", "blob", "-o", "secret384")
        secret = (ALICE.work / "secret384").read_bytes()
        self.assertEnvelope(self.reg.activate("host-1", auth_tag(secret, "host-1")), 200)
        self.assertEqual(self.reg.rows("SELECT trust_rule, trust_trusted FROM agents"), [("ek-certificate", 1)])

    def test_every_api_version_and_both_activation_paths(self):
        for version in ("v2", "v2.0", "v2.1", "v2.3", "v2.5"):
            answer = self.reg.request("POST", f"/{version}/agents/host-1/", ALICE.body())
            self.assertEnvelope(answer, 200)
            secret = ALICE.open_credential(base64.b64decode(answer.results["blob"]))
            answer = self.reg.request("PUT", f"/{version}/agents/host-1/activate", {"auth_tag": auth_tag(secret, "host-1")})
            self.assertEnvelope(answer, 200)
        self.assertEqual(self.reg.get("host-1").results["regcount"], 5)

    def test_wrong_tag_destroys_nothing(self):
        r = self.reg
        self.assertEnvelope(r.activate("host-1", WRONG), 404)
        self.assertEqual(r.enrol("host-1", ALICE).status, 200)
        before = self.identity_rows()
        self.assertEnvelope(r.activate("host-1", WRONG), 400)
        answer = r.register("host-1", ALICE.body())
        self.assertEnvelope(r.activate("host-1", WRONG), 400)
        self.assertEqual(self.identity_rows(), before)
        self.assertEnvelope(r.get("host-1"), 200)
        secret = ALICE.open_credential(base64.b64decode(answer.results["blob"]))
        self.assertEnvelope(r.activate("host-1", auth_tag(secret, "host-1")), 200)

    def test_guessing_is_limited(self):
        r = self.reg
        answer = r.register("host-1", ALICE.body())
        secret = ALICE.open_credential(base64.b64decode(answer.results["blob"]))
        for _ in range(10):
            self.assertEnvelope(r.activate("host-1", WRONG), 400)
        self.assertEnvelope(r.activate("host-1", auth_tag(secret, "host-1")), 400)
        self.assertEqual(r.enrol("host-1", ALICE).status, 200)  # a new challenge starts anew

    def test_repeated_activation_is_answered_again(self):
        r = self.reg
        answer = r.register("host-1", ALICE.body())
        tag = auth_tag(ALICE.open_credential(base64.b64decode(answer.results["blob"])), "host-1")
        self.assertEnvelope(r.activate("host-1", tag), 200)
        before = self.identity_rows()
        self.assertEnvelope(r.activate("host-1", tag), 200)
        self.assertEqual(self.identity_rows(), before)
        self.assertEnvelope(r.activate("host-2", tag), 404)

    def test_post_does_not_suspend_an_active_agent(self):
        self.assertEqual(self.reg.enrol("host-1", ALICE).status, 200)
        self.assertEnvelope(self.reg.register("host-1", ALICE.body(ip="203.0.113.5")), 200)
        got = self.reg.get("host-1")
        self.assertEnvelope(got, 200)
        self.assertEqual(got.results["ip"], "127.0.0.1")

    def test_another_tpm_is_refused(self):
        r = self.reg
        self.assertEqual(r.enrol("host-1", ALICE).status, 200)
        before = self.identity_rows()
        self.assertEnvelope(r.register("host-1", BOB.body()), 403)
        self.assertEnvelope(r.register("host-1", BOB.body(ek_tpm=b64(ALICE.ek))), 400)  # not Bob's certificate
        self.assertEqual(self.identity_rows(), before)
        self.assertEqual(r.enrol("host-1", ALICE).status, 200)  # control

    def test_unfinished_registration_squats_nothing(self):
        r = self.reg
        self.assertEnvelope(r.register("host-1", BOB.body()), 200)
        self.assertEqual(r.enrol("host-1", ALICE).status, 200)
        self.assertEqual(self.identity_rows()[0][4], ALICE.ak)

    def test_same_tpm_may_bring_a_new_ak(self):
        r = self.reg
        self.assertEqual(r.enrol("host-1", ALICE).status, 200)
        ak2 = ALICE.create_ak("ak2", "-G", "ecc256", "-g", "sha256", "-s", "ecdsa")
        self.assertEnvelope(r.register("host-1", ALICE.body(aik_tpm=b64(ak2))), 200)
        self.assertEqual(self.identity_rows()[0][2:], (1, 1, ALICE.ak))  # not before it is proven
        self.assertEqual(r.enrol("host-1", ALICE, ak="ak2", aik_tpm=b64(ak2)).status, 200)
        self.assertEqual(self.identity_rows()[0][2:], (2, 2, ak2))

    def test_id_of_64_hex_digits_is_the_eks_hash(self):
        r = self.reg
        self.assertEqual(r.enrol(ALICE.hash_id(), ALICE).status, 200)
        self.assertEnvelope(r.register(BOB.hash_id(), ALICE.body()), 400, "64 hex digits")
        self.assertEnvelope(r.register(BOB.hash_id().upper(), BOB.body()), 400)
        self.assertEnvelope(r.register(BOB.hash_id(), BOB.body()), 200)

    def test_ids(self):
        for bad in ("_p", "..", "-x", "a%2Fb", "a%00", "x" * 129, "h%C3%B6st", "a:b"):
            self.assertEnvelope(self.reg.register(bad, ALICE.body()), 400, "agent id")
        for path in ("/v2.6/agents/../x", "/v2.6/agents//x", "/v2.6/agents/x/y", "/agents/x", "/v1.0/agents/x",
                     "/v2.7/agents/x", "/v3.1/agents/x", "/v2.06/agents/x", "/"):  # fmt: skip
            answer = self.reg.request("POST", path, ALICE.body())
            self.assertEqual((answer.status, answer.body), (404, b""), path)
        for good in ("a", "A.b_c-9", "x" * 128):
            self.assertEnvelope(self.reg.register(good, ALICE.body()), 200)

    def test_certificates(self):
        r = self.reg
        ca = pem_of_file(STORE / "swtpm-issuer.pem")
        for name, ekcert in {
            "chain-last": ALICE.pem() + ca, "chain-first": ca + ALICE.pem(), "der": b64(ALICE.cert),
            "platform": ALICE.pem() + "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        }.items():  # fmt: skip
            self.assertEqual(r.enrol(name, ALICE, ekcert=ekcert).status, 200)
            self.assertEqual(r.get(name).results["ekcert"], b64(ALICE.cert))
        self.assertEnvelope(r.register("none", ALICE.body(ekcert=None)), 403, "not trusted")
        self.assertEnvelope(r.register("none", ALICE.body(ekcert=...)), 403, "not trusted")
        self.assertEnvelope(r.register("bobs", ALICE.body(ekcert=BOB.pem())), 400, "no certificate is for ek_tpm")
        self.assertEnvelope(r.register("junk", ALICE.body(ekcert="junk")), 400)
        broken = bytearray(ALICE.cert)
        broken[-1] ^= 1  # the issuer's signature
        self.assertEnvelope(r.register("forged", ALICE.body(ekcert=pem_of(bytes(broken)))), 403, "not trusted")
        # What is registered cannot be withdrawn, but may be left out.
        self.assertEnvelope(r.register("der", ALICE.body(ekcert=None)), 403, "withdrawn")
        self.assertEqual(r.enrol("der", ALICE, ekcert=...).status, 200)
        self.assertEqual(r.get("der").results["ekcert"], b64(ALICE.cert))

    def test_keys(self):
        r = self.reg
        plain = ALICE.work / "plain.pub"
        ALICE.tool("createprimary", "-C", "e", "-G", "rsa2048:rsassa-sha256:null", "-c", "plain.ctx",
                   "-a", "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|sign")  # fmt: skip
        ALICE.tool("readpublic", "-c", "plain.ctx", "-f", "tss", "-o", plain)
        for name, changes in {
            "not restricted": {"aik_tpm": b64(plain.read_bytes())},
            "AK is the EK": {"aik_tpm": b64(ALICE.ek)},
            "EK is the AK": {"ek_tpm": b64(ALICE.ak)},
            "no size prefix": {"aik_tpm": b64(ALICE.ak[2:])},
            "trailing byte": {"aik_tpm": b64(ALICE.ak + b"\0")},
            "last byte missing": {"aik_tpm": b64(ALICE.ak[:-1])},
            "unpadded": {"ek_tpm": b64(ALICE.ek).rstrip("=") if b64(ALICE.ek)[-1] == "=" else b64(ALICE.ek)[:-1]},
            "line breaks": {"ek_tpm": b64(ALICE.ek)[:64] + "\n" + b64(ALICE.ek)[64:]},
            "no AK": {"aik_tpm": None},
            "no EK": {"ek_tpm": ...},
            "number": {"ek_tpm": 7},
            "port": {"port": 65536},
            "port -1": {"port": -1},
            "ip": {"ip": "<script>"},
            "mtls_cert": {"mtls_cert": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"},
        }.items():  # fmt: skip
            with self.subTest(name):
                self.assertEnvelope(r.register("host-1", ALICE.body(**changes)), 400)
        self.assertEqual(r.rows("SELECT count(*) FROM pending"), [(0,)])
        self.assertEnvelope(r.register("host-1", ALICE.body(mtls_cert=ALICE.pem(), port=None, ip=None)), 200)

    def test_odd_bodies_are_400(self):
        deep = b'{"a":' * 5000 + b"1" + b"}" * 5000
        good = json.dumps(ALICE.body()).encode()
        for body in (b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"ek_tpm":"\xff"}', b'{"ek_tpm":"a\\u0000b"}', deep,
                     good[:-1] + b',"ip":"10.0.0.1"}', b"\0" * 64, b'{"auth_tag":1}', b"[" * 100000):  # fmt: skip
            for method in ("POST", "PUT"):
                answer = self.reg.request(method, "/v2.6/agents/host-1", body)
                self.assertEnvelope(answer, 400)
        for tag in (WRONG.replace("0", "A"), WRONG[:-1], WRONG + "0", "", 5, None, ["0" * 96]):
            answer = self.reg.request("PUT", "/v2.6/agents/host-1", {"auth_tag": tag})
            self.assertEnvelope(answer, 400)
        for kind in ("text/plain", "application/x-www-form-urlencoded", "application/jsonx", ""):
            answer = self.reg.request("POST", "/v2.6/agents/host-1", good, headers={"Content-Type": kind})
            self.assertEnvelope(answer, 400, "Content-Type")
        answer = self.reg.request(
            "POST", "/v2.6/agents/host-1", good, headers={"Content-Type": "application/json; charset=utf-8"}
        )
        self.assertEnvelope(answer, 200)


def pem_of_file(path: Path) -> str:
    text = path.read_text()
    return text[text.index("-----BEGIN") :]


class Crash(Case):
    def test_restart_between_challenge_and_answer(self):
        answer = self.reg.register("host-1", ALICE.body())
        self.assertEqual(self.reg.stop(), 0)
        self.reg.start()
        secret = ALICE.open_credential(base64.b64decode(answer.results["blob"]))
        self.assertEnvelope(self.reg.activate("host-1", auth_tag(secret, "host-1")), 200)

    def test_sigkill_after_an_answer_loses_nothing(self):
        for n, tpm in enumerate((ALICE, BOB, ALICE, BOB)):
            self.assertEqual(self.reg.enrol(f"host-{n % 2}", tpm).status, 200)
            self.reg.kill()
            self.reg.start()
        self.assertEqual([row[:4] for row in self.identity_rows()], [("host-0", 1, 2, 2), ("host-1", 1, 2, 2)])
        self.assertEqual(
            self.reg.rows("SELECT id, generation FROM outbox ORDER BY seq"),
            [("host-0", 1), ("host-1", 1), ("host-0", 2), ("host-1", 2)],
        )
        self.assertEqual(self.reg.request("GET", "/readyz").results, {"outbox": 4})

    def load(self, prefix: str, answered: list, stop: threading.Event):
        """Enrols one agent after the other; the challenge's secret is read from the database, which spares the TPM."""
        n = 0
        while not stop.is_set():
            agent = f"{prefix}-{n}"
            n += 1
            try:
                if self.reg.register(agent, ALICE.body()).status != 200:
                    continue
                secret = self.reg.rows("SELECT secret FROM pending WHERE id = ?", agent)[0][0]
                if self.reg.activate(agent, auth_tag(secret, agent)).status == 200:
                    answered.append(agent)
            except (OSError, http.client.HTTPException, IndexError, sqlite3.Error):
                time.sleep(0.01)  # the registrar was just killed

    def test_sigkill_under_load(self):
        answered: list[str] = []
        for round_ in range(6):
            stop = threading.Event()
            threads = [
                threading.Thread(target=self.load, args=(f"r{round_}t{i}", answered, stop)) for i in range(4)
            ]
            for t in threads:
                t.start()
            time.sleep(random.uniform(0.1, 0.8))
            self.reg.kill()
            stop.set()
            for t in threads:
                t.join()
            self.reg.start()
        rows = {row[0] for row in self.identity_rows()}
        outbox = [row[0] for row in self.reg.rows("SELECT id FROM outbox ORDER BY seq")]
        self.assertGreater(len(answered), 20)
        self.assertLessEqual(set(answered), rows)  # what was answered 200 is there
        self.assertEqual(sorted(outbox), sorted(rows))  # and whatever is there will be published, once
        for agent in rows & set(answered):
            self.assertEqual(self.reg.get(agent).status, 200)

    def test_second_registrar_on_one_database_is_refused(self):
        other = Registrar(PROGRAM, self.reg.dir, PKI, STORE)
        done = subprocess.run([PROGRAM], env=other.env(), capture_output=True, timeout=20)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"another registrar", done.stderr)
        self.assertEqual(self.reg.enrol("host-1", ALICE).status, 200)

    def test_full_disk_is_503_and_no_half_record(self):
        self.assertEqual(self.reg.enrol("host-1", ALICE).status, 200)
        before = self.identity_rows()
        resource.prlimit(self.reg.proc.pid, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
        answer = self.reg.register("host-2", ALICE.body())
        self.assertEnvelope(answer, 503)
        self.assertEnvelope(self.reg.get("host-1"), 200)
        resource.prlimit(self.reg.proc.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        self.assertEqual(self.identity_rows(), before)
        self.assertEqual(self.reg.enrol("host-2", ALICE).status, 200)  # it heals by itself


class Admin(Case):
    def test_who_may(self):
        r = self.reg
        self.assertEqual(r.enrol("host-1", ALICE).status, 200)
        for method, path in (("GET", "/v2.6/agents/"), ("GET", "/v2.6/agents/host-1"), ("DELETE", "/v2.6/agents/host-1")):
            with self.subTest(method=method, path=path):
                answer = r.request(method, path)
                self.assertEqual((answer.status, answer.body), (400, b""))
                answer = r.request(method, path, tls=True)
                self.assertEqual(answer.status, 403)
                self.assertEqual(set(answer.json["errors"][0]), {"status", "title", "detail"})
                answer = r.request(method, path, client="stranger")
                self.assertEqual(answer.status, 403)
                answer = r.request(method, path, client="client", headers={"Authorization": "Bearer x"})
                self.assertEqual(answer.status, 401)
        self.assertEqual([row[:3] for row in self.identity_rows()], [("host-1", 1, 1)])
        for path in ("/v2.6/agents/", "/v2.6/agents/host-1", "/version"):
            self.assertEnvelope(r.request("GET", path, client="client"), 200)  # control

    def test_a_server_certificate_is_no_client_certificate(self):
        answer = self.reg.request("GET", "/v2.6/agents/", client="server")
        self.assertEqual(answer.status, 403)

    def test_methods_and_plain_routes(self):
        for method, path in (("POST", "/version"), ("DELETE", "/v2.6/agents"), ("PATCH", "/v2.6/agents/x"),
                             ("GET", "/v2.6/agents/x/activate"), ("HEAD", "/version"),
                             ("POST", "/v3.0/agents/x"), ("PUT", "/v3.0/agents/x")):  # fmt: skip
            answer = self.reg.request(method, path, client="client")
            self.assertEqual((answer.status, answer.body), (405, b""), (method, path))
            self.assertIn("allow", answer.headers, (method, path))
            self.assertNotIn(method, answer.headers["allow"].split(", "), (method, path))
        answer = self.reg.request("GET", "/version/", headers={"X-Request-ID": "bad id\t"})
        self.assertEnvelope(answer, 200)
        self.assertNotIn("x-request-id", answer.headers)
        self.assertEqual(answer.results["current_version"], "2.6")
        self.assertEqual(answer.results["supported_versions"], [*(f"2.{n}" for n in range(7)), "3.0"])

    def test_version_3_of_the_api(self):
        """Keylime advertises it and answers 500; here its forms do what they say."""
        r = self.reg
        self.assertEnvelope(r.request("GET", "/v3.0/"), 200)
        self.assertEnvelope(r.request("POST", "/v3.0/agents", ALICE.body()), 400, "agent_id")
        self.assertEnvelope(r.request("POST", "/v3.0/agents", ALICE.body(agent_id="../x")), 400, "agent_id")
        answer = r.request("POST", "/v3.0/agents", ALICE.body(agent_id="alice"))
        self.assertEnvelope(answer, 200, "Success")
        secret = ALICE.open_credential(base64.b64decode(answer.results["blob"]))
        path = "/v3.0/agents/alice/activate"
        self.assertEnvelope(r.request("POST", path, {"auth_tag": WRONG}), 400)
        self.assertEnvelope(r.request("POST", path, {"auth_tag": auth_tag(secret, "alice")}), 200)
        self.assertEqual(r.request("GET", "/v3.0/agents/", client="client").results, {"uuids": ["alice"]})
        self.assertEqual(r.request("GET", "/v3.0/agents/alice", client="client").results["agent_id"], "alice")
        self.assertEnvelope(r.request("DELETE", "/v3.0/agents/alice", client="client"), 200)
        self.assertEnvelope(r.get("alice"), 404)

    def test_removing_an_unfinished_registration(self):
        self.reg.register("host-1", ALICE.body())
        self.assertEnvelope(self.reg.request("DELETE", "/v2.6/agents/host-1", client="client"), 200)
        self.assertEqual(self.reg.request("GET", "/v2.6/agents", client="client").results, {"uuids": []})
        self.assertEqual(self.reg.rows("SELECT count(*) FROM outbox"), [(0,)])


class OtherStore(Case):
    store = None

    def test_no_store_no_trust(self):
        self.assertEnvelope(self.reg.register("host-1", ALICE.body()), 403, "no store")


class FirstUse(Case):
    store = None
    settings = {"ek_policy": "trust-on-first-use"}

    def test_accepted_and_said_to_be_untrusted(self):
        self.assertEqual(self.reg.enrol("host-1", ALICE, ekcert=None).status, 200)
        self.assertEqual(self.reg.enrol("host-2", BOB).status, 200)
        rows = self.reg.rows("SELECT trust_rule, trust_trusted FROM agents")
        self.assertEqual(rows, [("trust-on-first-use", 0)] * 2)


class Hostile(Case):
    settings = {"max_connections_per_address": 16}

    def test_sizes(self):
        r = self.reg
        good = json.dumps(ALICE.body())
        fill = good[:-1] + ',"x":"' + "y" * (256 * 1024 - len(good) - 7) + '"}'
        self.assertEqual(len(fill), 256 * 1024)
        self.assertEnvelope(r.register("host-1", fill.encode()), 200)
        self.assertEqual(r.register("host-1", (fill + " ").encode()).status, 413)
        self.assertEqual(r.register("host-1", b"x" * 300 * 1024).status, 413)
        self.assertEqual(r.request("GET", "/version", headers={"X-A": "b" * 15000}).status, 200)
        self.assertEqual(r.request("GET", "/version", headers={"X-A": "b" * 17000}).status, 431)
        self.assertEqual(r.request("GET", "/version", headers={"X-A": "b" * 100000}).status, 431)

    def exchange(self, data: bytes) -> bytes:
        with self.reg.raw() as s:
            s.sendall(data)
            s.settimeout(3)
            got = b""
            try:
                while chunk := s.recv(65536):
                    got += chunk
            except (TimeoutError, ConnectionResetError):
                pass
            return got

    def test_smuggling_and_odd_heads(self):
        head = b"POST /v2.6/agents/host-1 HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        for extra in (b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"Content-Length: 2\r\nContent-Length: 4\r\n\r\n{}{}",
                      b"Transfer-Encoding: gzip\r\n\r\n{}", b"Content-Length: +2\r\n\r\n{}", b"Content-Length: -1\r\n\r\n{}"):  # fmt: skip
            got = self.exchange(head + extra + b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n")
            self.assertIn(got[:12], (b"HTTP/1.1 400", b""), (extra, got))
            self.assertNotIn(b"HTTP/1.1 2", got)
        self.assertIn(self.exchange(b"GET /version HTTP/1.1\r\n\r\n")[:12], (b"HTTP/1.1 400",))
        self.assertIn(self.exchange(b"\x16\x03\x01\x02\x00" + b"\0" * 200)[:12], (b"HTTP/1.1 400", b""))
        # Keep-alive control: two requests, two answers.
        two = b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n" + b"GET /version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        self.assertEqual(self.exchange(two).count(b"HTTP/1.1 200"), 2)

    def test_endless_chunks_end(self):
        with self.reg.raw() as s:
            s.sendall(b"POST /v2.6/agents/host-1 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
            piece = b"10000\r\n" + b"x" * 65536 + b"\r\n"
            with self.assertRaises((ConnectionError, socket.timeout)):
                for _ in range(400):
                    s.sendall(piece)
        self.assertEnvelope(self.reg.request("GET", "/version"), 200)

    def test_connections_per_address(self):
        held = [self.reg.raw() for _ in range(40)]
        time.sleep(0.3)
        open_ones = 0
        for s in held:
            s.settimeout(0.05)
            try:
                if s.recv(1) != b"":
                    self.fail("nothing was asked")
            except TimeoutError:
                open_ones += 1
            except ConnectionError:
                pass
        self.assertLessEqual(open_ones, 16)
        self.assertGreater(open_ones, 0)
        for s in held:
            s.close()
        time.sleep(0.3)
        self.assertEnvelope(self.reg.request("GET", "/version"), 200)

    def test_many_at_once(self):
        """Two agents of one id, wrong answers and reads in parallel: no 5xx, and one record in the end."""
        seen: set[int] = set()

        def hammer(n):
            for i in range(25):
                seen.add(self.reg.register("shared", ALICE.body(port=1 + n)).status)
                seen.add(self.reg.register(f"own-{n}-{i % 8}", BOB.body(), tls=True).status)
                seen.add(self.reg.activate("shared", WRONG).status)
                seen.add(self.reg.request("GET", "/v2.6/agents", client="client").status)

        threads = [threading.Thread(target=hammer, args=(n,)) for n in range(6)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.assertEqual(seen, {200, 400})
        self.assertLessEqual(self.reg.rows("SELECT count(*) FROM pending WHERE id = 'shared'")[0][0], 2)
        self.assertEqual(self.reg.enrol("shared", ALICE).status, 200)

    def test_slow_clients_are_ended(self):
        head = b"POST /v2.6/agents/host-1 HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"
        slow = {"idle": b"", "dripping head": head, "dripping body": b"{" * 100}
        took, threads = {}, []

        def one(name, drip):
            with self.reg.raw() as s:
                if name == "dripping body":
                    s.sendall(head)
                took[name] = closed_after(s, 20, drip)

        for name, drip in slow.items():
            threads.append(threading.Thread(target=one, args=(name, drip)))
            threads[-1].start()
        self.assertEqual(self.reg.enrol("host-1", ALICE).status, 200)  # meanwhile others are served
        for t in threads:
            t.join()
        for name, seconds in took.items():
            self.assertGreater(seconds, 8, name)
            self.assertLess(seconds, 13, name)


class Configuration(unittest.TestCase):
    def check(self, *sets, code):
        args = [PROGRAM, "--check-config", "--config", "/dev/null"]
        for s in sets:
            args += ["--set", s]
        done = subprocess.run(args, capture_output=True, text=True, timeout=20)
        self.assertEqual(done.returncode, code, done.stderr)
        return done

    def test_check_config(self):
        self.assertIn("acts as require-cert", self.check("registrar.ek_policy=cert-or-webhook", code=0).stdout)
        self.assertIn("belong together", self.check("registrar.tls_cert=/x", code=2).stderr)
        self.assertIn("needs tls_cert", self.check("registrar.https_listen=127.0.0.1:1", code=2).stderr)
        self.assertIn("host:port", self.check("registrar.http_listen=nonsense", code=2).stderr)
        self.assertIn("keys.sign", self.check("kafka.bootstrap.servers=127.0.0.1:1", code=2).stderr)
        self.check("registrar.ek_policy=whatever", code=2)


if __name__ == "__main__":
    PROGRAM = Path(sys.argv.pop(1)).resolve()
    unittest.main(verbosity=2)
