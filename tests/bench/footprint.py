"""P7 and P8: what an agent costs its host, and its evidence the network.

A real agent with a software TPM, over TLS, beside a bare librdkafka producer and consumer that send and read as often. An
hour's work (180 evidences, 360 markers, some hundred IMA entries) in three minutes of short intervals; then the bundle gets
the default intervals, and the same processes are watched at rest.
"""

import hashlib
import os
import signal
import statistics
import time
from contextlib import contextmanager

import kafkalog
from avowtest import records
from avowtest.field import Bundle
from avowtest.proc import Proc
from avowtest.site import Intervals, Site, runtime_policy, wait_for
from results import Run, cpu_seconds, memory, result

IDS = ["P7", "P7.pss", "P7.private_dirty", "P7.idle", "P7.busy", "P8", "P8.marker"]
NAME = "host-" + "x" * 59  # 64 characters, like the hash of an EK
WORK = Intervals(epoch=1000, heartbeat=1000, silent_after=8000, validity=9000, verdict_refresh=3000, min_interval=100)
REST = {
    "epoch_ms": 10000,
    "heartbeat_ms": 20000,
    "silent_after_ms": 70000,
    "validity_ms": 90000,
    "verdict_refresh_ms": 30000,
    "min_interval_ms": 200,
}
PATH = "/usr/bin/one"
DIGEST = hashlib.sha256(b"one").hexdigest()
RSS_MB, PSS_MB, IDLE_PERCENT, EVIDENCE_BYTES = 12, 9, 0.3, 700


@contextmanager
def environment(**values: str):
    old = {k: os.environ.get(k) for k in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for k, v in old.items():
            if v is None:
                del os.environ[k]
            else:
                os.environ[k] = v


def tls(site_folder) -> dict[str, str]:
    """librdkafka's names: the broker's administrator, because this is not about rights."""
    at = site_folder / "kafka" / "tls"
    return {
        "security.protocol": "ssl",
        "ssl.ca.location": str(at / "ca.pem"),
        "ssl.certificate.location": str(at / "admin.pem"),
        "ssl.key.location": str(at / "admin.pem"),
    }


class Session:
    def __init__(self, r: Run, site: Site, conf: dict[str, str]):
        self.r, self.site, self.conf = r, site, conf
        self.pairs: list[Proc] = []

    def bare_pair(self, interval_ms: int, epoch_ms: int) -> Proc:
        words = [w for k, v in {**self.conf, "bootstrap.servers": self.site.broker.bootstrap}.items() for w in ("--conf", f"{k}={v}")]
        pair = Proc(
            "bench_clients",
            [
                *(self.r.build / "bench" / "bench_clients", "--produce", "bench", "--consume", "avow.epochs"),
                *("--interval-ms", str(interval_ms), "--fetch-wait-ms", str(epoch_ms), *words, "pair"),
            ],
            self.r.folder / f"pair-{interval_ms}.log",
        )
        self.pairs.append(pair)
        return pair

    def start(self) -> None:
        site = self.site
        site.init()
        site.apply_topics()
        site.start_registrar()
        site.start_worker()
        site.broker.call("topic", "bench", "1")
        site.push_policy("one", runtime_policy({PATH: [DIGEST]}))
        self.host = site.add_host(NAME)
        self.host.ima("add", PATH, DIGEST)
        self.host.start_agent()
        self.host.agent.wait_output("registered", 60)
        site.enrol(NAME, "--runtime-policy", "one", timeout=30)
        self.pair = self.bare_pair(WORK.heartbeat, WORK.epoch)

    def cost(self, procs: list[Proc], seconds: float) -> list[float]:
        """Percent of a core for each, over this time."""
        before = [cpu_seconds(p.pid) for p in procs]
        start = time.monotonic()
        time.sleep(seconds)
        took = time.monotonic() - start
        return [100 * (cpu_seconds(p.pid) - b) / took for p, b in zip(procs, before)]

    def work(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for _ in range(2):
                self.host.ima("add", PATH, DIGEST)
            time.sleep(min(2.0, max(0.0, end - time.monotonic())))

    def rest(self) -> None:
        """The default intervals, as an operator would publish them."""
        bundle = Bundle(self.site.dir)
        bundle.fields.update(REST, version=bundle.fields["version"] + 1)
        bundle.save()
        self.site.apply_topics()
        version = bundle.fields["version"]
        wait_for(lambda: f"bundle version={version}" in self.host.agent.output(), 30, "the agent's new bundle", self.host.agent)


def steady_sizes(site: Site) -> tuple[list[kafkalog.Stored], list[int]]:
    data = site.folder / "kafka" / "node-1" / "data"
    steady = []
    for s in kafkalog.single_records(data, "avow.evidence"):
        name, evidence = records.decode(s.value)
        if name == "evidence" and s.key == NAME.encode() and not evidence["part"]:
            body = records.decode(evidence["body"])[1]
            if not body["pcrs"]:
                steady.append(s)
    markers = [s.size for s in kafkalog.single_records(data, "avow.epochs") if s.key == b"marker"]
    return steady, markers


def wire(site: Site) -> list[dict]:
    steady, markers = steady_sizes(site)
    if not steady or not markers:
        raise RuntimeError("no steady evidence or no marker was stored")
    middle = sorted(steady, key=lambda s: s.size)[len(steady) // 2]
    evidence = records.decode(middle.value)[1]
    quote = len(evidence["attest"]) + len(evidence["signature"])
    what = f"a steady evidence as Kafka stores it (RSA-2048): value {len(middle.value)}, key {len(middle.key)}, the rest is Kafka's"
    return [
        result("P8", what, middle.size, "bytes", quote, "quote and signature, as the TPM made them", EVIDENCE_BYTES),
        result("P8.marker", "one epoch's marker as an agent's partition stores it", statistics.median(markers), "bytes"),
    ]


def run(r: Run) -> list[dict]:
    with environment(KAFKA_SECURE="1"), Site(r.folder / "site", r.bin, partitions=1, intervals=WORK) as site:
        site.start_broker()
        conf = tls(site.folder)
        with environment(**{"AVOW_KAFKA_" + k.upper().replace(".", "_"): v for k, v in conf.items()}):
            session = Session(r, site, conf)
            try:
                return play(r, session)
            finally:
                for p in session.pairs:
                    p.kill()


def play(r: Run, s: Session) -> list[dict]:
    s.start()
    agent, pair = s.host.agent, s.pair
    s.work(6 if r.quick else 180)
    busy = s.cost([agent, pair], 2 if r.quick else 20)
    s.rest()
    idle_pair = s.bare_pair(REST["heartbeat_ms"], REST["epoch_ms"])
    time.sleep(1 if r.quick else 15)  # connections, the last of the short intervals
    mine, bare = memory(agent.pid), memory(pair.pid)
    idle = s.cost([agent, idle_pair], 3 if r.quick else 60)
    for p in (agent, pair, idle_pair):
        if not p.running():
            raise RuntimeError(f"{p.name} ended: {p.output()[-500:]}")
    pair.signal(signal.SIGTERM)
    base = "bare librdkafka producer and consumer over TLS, sending and reading as often"
    return [
        result("P7", "RSS of avow-agent over TLS after an hour's work in three minutes", mine.rss, "MB", bare.rss, base, RSS_MB),
        result("P7.pss", "PSS of it; libraries are shared with the other programs of the test", mine.pss, "MB", bare.pss, base, PSS_MB),
        result("P7.private_dirty", "memory of its own that no other process shares", mine.private_dirty, "MB", bare.private_dirty, base),
        result("P7.idle", "CPU at rest, default intervals, list looked at every 100 ms", idle[0], "% of a core", idle[1], base, IDLE_PERCENT),
        result("P7.busy", "CPU with a quote by a software TPM and a marker every second", busy[0], "% of a core", busy[1], base),
        *wire(s.site),
    ]
