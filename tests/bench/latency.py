"""P6: from an entry in a measurement list to its signed verdict and revocation, as a verifying consumer sees them.

200 hosts without TPMs (avow-loadgen) with the timing of real agents: lists are looked at every 100 ms, changes wait 50 ms
for company. A bare Kafka client sends records through the same broker at the same time: what is slow for everybody shows
in its numbers too. At the end a reader that shares no code with Avow verifies every revocation once more.
"""

import hashlib
import json
import signal
import subprocess

from avowtest import topics
from avowtest.proc import Proc
from avowtest.site import Intervals, Site, runtime_policy
from results import Run, result

NAMES = ["", ".p50", ".verdict", ".verdict.p50", ".agent.p50"]
KAFKA = ["P6" + n for n in NAMES]
EMBEDDED = ["P6.embedded" + n for n in NAMES]
GOAL_MS = 250
PATH = "/usr/bin/avow-load"  # tools/loadgen/host.h

# Defaults of `avow init`.
DEFAULTS = Intervals(
    epoch=10000, heartbeat=20000, silent_after=70000, validity=90000, verdict_refresh=30000, min_interval=200
)


def load(r: Run, site: Site, agents: int, rounds: int) -> dict:
    done = subprocess.run(
        [
            *(r.bin / "avow-loadgen", "--bootstrap", site.broker.bootstrap),
            *("--root", site.dir / "root" / "root.pem", "--tenant-key", site.dir / "tenant" / "sign.pem"),
            *("--agents", str(agents), "--rounds", str(rounds), "--spread-ms", str(100 * agents)),
        ],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=600,
    )
    if done.returncode:
        raise RuntimeError(f"avow-loadgen: exit {done.returncode}: {done.stderr[-800:]} {done.stdout[-400:]}")
    return json.loads(done.stdout)


def bare(r: Run, site: Site) -> Proc:
    if site.kafka:
        site.broker.call("topic", "bench", "1")
    return Proc(
        "bench_clients",
        [
            *(r.build / "bench" / "bench_clients", "--conf", f"bootstrap.servers={site.broker.bootstrap}"),
            *("--produce", "bench", "--consume", "bench", "--interval-ms", "100"),
            *("--fetch-wait-ms", "100" if site.kafka else "10", "latency"),
        ],
        r.folder / "bare.log",
    )


def bare_result(proc: Proc) -> dict:
    proc.signal(signal.SIGTERM)
    proc.wait(20)
    lines = [line for line in proc.output().splitlines() if line.startswith("{")]
    if not lines:
        raise RuntimeError(f"bench_clients: {proc.output()[-500:]}")
    return json.loads(lines[-1])


def check_outside(site: Site, expected: int) -> None:
    view = topics.View(site.broker.bootstrap, "avow.", site.dir / "root" / "root.pem")
    view.close()
    seen = set()
    for rec in topics.read(site.broker.bootstrap, "avow.revocations"):
        fields = view.trust.open("worker", rec.key, rec.value)
        if fields["class"] == "revocation":
            seen.add(fields["id"])
    if len(seen) != expected:
        raise RuntimeError(f"{len(seen)} different revocations on the topic, expected {expected}")


def measure(r: Run, kafka: bool) -> list[dict]:
    agents, rounds = (4, 1) if r.quick else (200, 3)
    with Site(r.folder / "site", r.bin, kafka=kafka, partitions=4, intervals=Intervals() if r.quick else DEFAULTS) as site:
        site.start_broker()
        site.init()
        site.apply_topics()
        site.start_worker()
        site.push_policy("load", runtime_policy({PATH: [hashlib.sha256(PATH.encode()).hexdigest()]}))
        client = bare(r, site)
        try:
            got = load(r, site, agents, rounds)
            base = bare_result(client)
        finally:
            client.kill()
        check_outside(site, agents * rounds)
    return results(r, kafka, got, base, rounds)


def results(r: Run, kafka: bool, got: dict, base: dict, rounds: int) -> list[dict]:
    prefix = "P6" if kafka else "P6.embedded"
    where = "one real Kafka broker" if kafka else "the embedded broker"
    fleet = f"{got['agents']} agents, {rounds} tampered files each, on {where}"
    r.note(f"{prefix}: {json.dumps(got)}; bare client: {json.dumps(base)}")
    out = []
    for name, kind, quantile, what in (
        ("", "revocation_ms", "p99", "IMA append to the verified revocation, p99"),
        (".p50", "revocation_ms", "p50", "the same, p50"),
        (".verdict", "verdict_ms", "p99", "IMA append to the verified verdict, p99"),
        (".verdict.p50", "verdict_ms", "p50", "the same, p50"),
        (".agent.p50", "sent_ms", "p50", "of which until the evidence is handed to Kafka (100 ms polls, 50 ms wait), p50"),
    ):
        goal = GOAL_MS if kafka and quantile == "p99" else None
        baseline_what = f"bare librdkafka through the same broker meanwhile, send to receipt, {quantile}"
        out.append(result(prefix + name, f"{what}; {fleet}", got[kind][quantile], "ms", base[quantile], baseline_what, goal))
    return out


def on_kafka(r: Run) -> list[dict]:
    return measure(r, True)


def on_embedded(r: Run) -> list[dict]:
    return measure(r, False)
