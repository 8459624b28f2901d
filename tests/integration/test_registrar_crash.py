"""The registrar dies at any moment, and Kafka goes away: database and topic tell the same in the end.

Load: some fifty registrations a second by TPMs in Python (avowtest.softtpm), new agents, renewed AKs and removals, while
the registrar is killed at random moments. Then: the active records in SQLite are the fold of topic `identities`, every
record is properly signed and in order, and nothing that was answered 200 is lost.
"""

import contextlib
import http.client
import json
import os
import random
import sqlite3
import ssl
import threading
import time
from collections import defaultdict

import pytest
from avowtest import records, topics
from avowtest.proc import Proc, free_port
from avowtest.site import Site, wait_for
from avowtest.softtpm import SoftTpm

KILLS = 200 if os.environ.get("AVOW_LONG") == "1" else 30
RATE = 50
KAFKA = {1: ("pause", "1"), 3: ("resume", "1"), 5: ("kill9", "1"), 8: ("restart", "1")}  # after every tenth kill


class Rig:
    def __init__(self, folder, bin_dir):
        self.site = Site(folder, bin_dir)
        self.site.__enter__()
        self.site.start_broker()
        self.site.init()
        self.site.apply_topics()
        self.http_port, self.https_port = free_port(), free_port()
        self.proc = None

    @property
    def db(self):
        return self.site.dir / "registrar" / "registrar.sqlite"

    def start(self) -> None:
        sets = {
            "http_listen": f"127.0.0.1:{self.http_port}", "https_listen": f"127.0.0.1:{self.https_port}",
            "ek_policy": "trust-on-first-use", "rate_per_address": 0, "rate_per_agent": 0,
        }  # fmt: skip
        args = [w for k, v in sets.items() for w in ("--set", f"registrar.{k}={v}")]
        program = self.site.bin / "avow-registrar"
        self.proc = Proc(
            "registrar", [program, "--config", self.site.dir / "conf" / "registrar.conf", *args], self.site.folder / "registrar.log"
        )

    def request(self, method: str, path: str, body=None, admin=False):
        if admin:
            tls = self.site.dir / "tls"
            ctx = ssl.create_default_context(cafile=tls / "ca.pem")
            ctx.load_cert_chain(tls / "admin.pem", tls / "admin.key")
            conn = http.client.HTTPSConnection("127.0.0.1", self.https_port, timeout=10, context=ctx)
        else:
            conn = http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=10)
        with contextlib.closing(conn):
            conn.request(method, path, json.dumps(body) if body is not None else None, {"Content-Type": "application/json"})
            got = conn.getresponse()
            return got.status, json.loads(got.read() or b"{}")

    def enrol(self, agent: str, tpm: SoftTpm) -> int:
        """Status of the activation; an exception if the connection died before any answer to it."""
        path = f"/v2.6/agents/{agent}"
        status, answer = self.request("POST", path, tpm.body())
        if status != 200:
            return status
        return self.request("PUT", path, {"auth_tag": tpm.answer(answer["results"]["blob"], agent)})[0]

    def rows(self, sql: str) -> list:
        with contextlib.closing(sqlite3.connect(f"file:{self.db}?mode=ro", uri=True)) as db:
            return db.execute(sql).fetchall()

    def outbox(self) -> int:
        with contextlib.suppress(sqlite3.OperationalError):
            return self.rows("SELECT count(*) FROM outbox")[0][0]
        return -1

    def identities(self) -> dict[str, list[dict]]:
        """Per agent, what its partition holds, in order; every record must prove itself."""
        boot = self.site.broker.bootstrap
        bundle = [r for r in topics.read(boot, "avow.trust") if r.key == b"bundle" and r.value][-1]
        trust = records.Trust(bundle.value, self.site.dir / "root" / "root.pem")
        out = defaultdict(list)
        for r in topics.read(boot, "avow.identities"):
            out[r.key.decode()].append(trust.open("registrar", r.key, r.value))
        return out

    def close(self):
        if self.proc:
            self.proc.kill()
        self.site.close()


@pytest.fixture
def rig(tmp_path_factory, bin_dir):
    made = Rig(tmp_path_factory.mktemp("crash"), bin_dir)
    yield made
    made.close()


class Load:
    """Some threads that register, renew and remove at RATE; remembers for each agent what was answered last."""

    def __init__(self, rig: Rig, threads: int = 4):
        self.rig, self.stop = rig, threading.Event()
        self.certain: dict[str, bytes | None] = {}  # AK that is active for certain; None: removed for certain
        self.done = 0
        self.unexpected: list = []
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.run, args=(i, threads)) for i in range(threads)]
        for t in self.threads:
            t.start()

    def run(self, number: int, threads: int) -> None:
        rng = random.Random(number)
        tpm = SoftTpm("rsa" if number == 0 else "ecc")
        mine: list[str] = []
        due = time.monotonic()
        while not self.stop.is_set():
            due += threads / RATE
            time.sleep(max(0.0, due - time.monotonic()))
            kind = rng.random()
            if not mine or kind < 0.6:
                mine.append(f"t{number}-{len(mine):05}")
                agent, remove = mine[-1], False
            else:
                agent, remove = rng.choice(mine), kind > 0.9
            self.one(agent, tpm, remove)

    def one(self, agent: str, tpm: SoftTpm, remove: bool) -> None:
        tpm.new_ak()
        self.certain.pop(agent, None)  # until an answer says so
        try:
            if remove:
                status = self.rig.request("DELETE", f"/v2.6/agents/{agent}", admin=True)[0]
            else:
                status = self.rig.enrol(agent, tpm)
        except (OSError, http.client.HTTPException, ValueError):
            return  # killed meanwhile: nobody knows
        with self.lock:
            self.done += status == 200
            if status == 200:
                self.certain[agent] = None if remove else tpm.ak
            elif status not in (404, 503) and not (status == 400 and not remove):
                # 404: an unknown or removed agent; 400: its challenge was voided by a repeat
                self.unexpected.append((agent, status))

    def end(self) -> None:
        self.stop.set()
        for t in self.threads:
            t.join()


def check(rig: Rig, certain: dict[str, bytes | None]) -> dict:
    stored = {
        agent: (status, generation, ak, ek)
        for agent, status, generation, ak, ek in rig.rows("SELECT id, status, generation, ak_public, ek_public FROM agents")
    }
    published = rig.identities()
    assert set(published) == set(stored)
    for agent, (status, generation, ak, ek) in stored.items():
        seen = published[agent]
        generations = [r["generation"] for r in seen]
        assert generations == sorted(generations), (agent, generations)  # in order; repeats are allowed
        same = {}
        for r in seen:  # and a repeat says the same
            said = (r["status"], r["ak_public"], r["ek_public"])
            assert same.setdefault(r["generation"], said) == said, agent
        last = seen[-1]
        assert (last["generation"], last["status"]) == (generation, "active" if status == 1 else "removed"), agent
        assert (last["ak_public"], last["ek_public"]) == (ak, ek), agent
    for agent, ak in certain.items():
        if ak is None:  # perhaps only an unfinished registration was removed: that leaves no row
            assert agent not in stored or stored[agent][0] == 2, f"{agent} was removed and is back"
        else:
            assert agent in stored, f"{agent} was answered 200 and is lost"
            assert stored[agent][0] == 1 and stored[agent][2] == ak, f"{agent}: an activation answered 200 is lost"
    return stored


def test_sigkill_at_random_moments_under_load_with_kafka_going_away(rig):
    rng = random.Random(20261125)
    rig.start()
    rig.proc.wait_output("tls=true", 20)
    load = Load(rig)
    started = time.monotonic()
    try:
        for kill in range(KILLS):
            time.sleep(rng.uniform(0.05, 0.9))
            rig.proc.kill()
            rig.start()
            if kill % 10 in KAFKA:
                # While the publisher is at work: what was sent and not acknowledged is lost with both.
                if KAFKA[kill % 10][0] in ("pause", "kill9"):
                    rig.proc.wait_output("identities.published", 60)  # a broker that was killed looks at its logs first
                rig.site.broker.call(*KAFKA[kill % 10])
        rig.site.broker.call("wait-ready", "60")
        rig.proc.wait_output("tls=true", 20)
        time.sleep(1)
    finally:
        load.end()
    seconds = time.monotonic() - started
    wait_for(lambda: rig.outbox() == 0, 90, "the outbox to be published", rig.proc)
    assert rig.proc.stop() == 0
    stored = check(rig, load.certain)
    print(f"{KILLS} kills in {seconds:.0f} s, {load.done} changes answered 200, {len(stored)} agents, {len(load.certain)} certain")
    assert not load.unexpected, load.unexpected[:10]
    assert load.done > 5 * KILLS and len(load.certain) > len(stored) / 2


def test_ai10_sigkill_between_commit_and_publish_publishes_once(rig):
    rig.site.broker.call("pause", "1")
    rig.start()
    rig.proc.wait_output("tls=true", 20)
    tpm = SoftTpm()
    assert rig.enrol("alice", tpm) == 200
    assert rig.outbox() == 1
    rig.proc.kill()
    assert rig.outbox() == 1
    rig.site.broker.call("resume", "1")
    rig.start()
    wait_for(lambda: rig.outbox() == 0, 60, "the outbox to be published", rig.proc)
    time.sleep(1)
    rig.proc.kill()  # once more: nothing is left to be repeated
    rig.start()
    rig.proc.wait_output("tls=true", 20)
    time.sleep(2)
    assert rig.proc.stop() == 0
    seen = rig.identities()
    assert [(r["generation"], r["status"], r["ak_public"]) for r in seen["alice"]] == [(1, "active", tpm.ak)]
    check(rig, {"alice": tpm.ak})
    # Removal is published, and republish tells all of it again without confusing anybody.
    rig.start()
    rig.proc.wait_output("tls=true", 20)
    assert rig.enrol("bob", SoftTpm()) == 200
    assert rig.request("DELETE", "/v2.6/agents/alice", admin=True)[0] == 200
    wait_for(lambda: rig.outbox() == 0, 60, "the removal to be published", rig.proc)
    status, answer = rig.request("POST", "/avow/v1/republish", admin=True)
    assert (status, answer["results"]) == (200, {"queued": 2})
    wait_for(lambda: rig.outbox() == 0, 60, "everything to be published again", rig.proc)
    assert rig.proc.stop() == 0
    seen = rig.identities()
    assert [(r["generation"], r["status"]) for r in seen["alice"]] == [(1, "active"), (2, "removed"), (2, "removed")]
    assert [(r["generation"], r["status"]) for r in seen["bob"]] == [(1, "active"), (1, "active")]
    check(rig, {"alice": None})
