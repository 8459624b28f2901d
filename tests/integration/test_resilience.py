"""Brokers and workers that die, hang and come back, on a real Kafka, under load.

The load tells a loss, a twin and disorder apart (avowtest.load); two real agents with software TPMs run beside it.
"""

import os
import shutil
import signal
import threading
import time

import pytest
from avowtest import records, topics
from avowtest.field import Bundle, Field, as_of, entries
from avowtest.forge import Signer
from avowtest.load import Load
from confluent_kafka import TopicPartition

from conftest import GOOD

TWO = GOOD["/usr/bin/two"][0]
AGENTS = ("alice", "albert")


def rss_kib(pid: int) -> int:
    with open(f"/proc/{pid}/status") as f:
        return int(next(line for line in f if line.startswith("VmRSS:")).split()[1])


def make_field(new_site, **kw) -> Field:
    t = new_site(**kw)
    field = Field(t.site, t.view)
    field.thread = t
    for name in AGENTS:
        t.host(name)
    for name in AGENTS:
        t.trusted(name)
    return field


def agents_unharmed(field):
    for name in AGENTS:
        field.unharmed(name)


def nobody_is_silent(field):
    assert [r["key"] for r in field.view.revocations() if r["class"] == "silent"] == []
    assert field.alarms("fleet.mass_silence") == []


def nothing_was_dropped(field, load):
    letters = field.dead_letters([h.name for h in load.hosts] + list(AGENTS))
    assert {d["reason"] for d in letters} <= {"unenrolled"}, "evidence was dropped"  # agents start before they are enrolled


@pytest.fixture(scope="module")
def calm(module_site):
    """One installation with one broker for most tests; each leaves exactly one worker behind."""
    field = make_field(module_site)
    yield field
    field.close()


@pytest.fixture
def field(calm):
    yield calm
    agents_unharmed(calm)


class Supervisor:
    """Restarts workers that end, as `Restart=always` of avow-worker.service does: a worker that does not know the outcome
    of a transaction ends, and its successor finds out."""

    def __init__(self, field, *names):
        self.field, self.names, self.restarts = field, names, 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self):
        while not self._stop.wait(0.2):
            for name in self.names:
                if not self.field.site.workers[name].running() and not self._stop.wait(2):
                    self.restarts += 1
                    self.field.site.start_worker(name)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exc):
        self._stop.set()
        self._thread.join(10)


def start_worker(field, name, **settings):
    worker = field.site.start_worker(name, **settings)
    worker.wait_output("ready", 40)
    return worker


def last_worker(field, name):
    """Only this one stays; it serves every partition."""
    for other, worker in field.site.workers.items():
        if other != name and worker.running():
            assert worker.stop() == 0
    for p in range(field.partitions):
        marker = field.marker(p)
        field.marker(p, marker["epoch"], 20)


# --- Brokers


def test_ax4_ad10_broker_killed_for_ten_epochs_under_load__no_twin_no_loss_agents_small_and_fresh(field):
    agent = field.site.hosts["alice"].agent
    with Supervisor(field, "w1") as supervisor, Load(field, 8, "down") as load:
        load.run(3)
        rss, marker = rss_kib(agent.pid), field.marker(field.partition("alice"))
        sent = len(field.evidence_of("alice"))
        field.site.broker.call("kill9", "1")
        for _ in range(20):  # ten epochs, in which the list grows
            field.grow("alice")
            time.sleep(0.5)
        grown = rss_kib(agent.pid) - rss
        field.site.broker.call("restart", "1")
        field.site.broker.call("wait-ready")
        back = time.monotonic()
        state = field.wait_state(
            "alice", lambda s: entries(s) >= 22 and as_of(s) > marker["epoch"], 60, "of all entries, and of a later epoch"
        )
        print(f"trusted again {time.monotonic() - back:.1f} s after the broker; RSS grew by {grown} KiB meanwhile")
        assert grown < 2048, "the agent keeps evidence for later"
        assert state["status"] == "trusted"
        carried = [b["ima_count"] for _, _, b in field.evidence_of("alice")[sent:] if b["ima_count"]]
        assert carried == [20], "one evidence carries what happened meanwhile"
        load.run(3)
        print(load.verify(), f"{supervisor.restarts} restarts of the worker")
    nobody_is_silent(field)


def test_ax4_three_brokers_and_one_killed_under_load__service_goes_on(new_site):
    field = make_field(new_site, nodes=3, partitions=6)
    try:
        with Supervisor(field, "w1") as supervisor, Load(field, 8, "three") as load:
            load.run(2)
            partition = field.partition("alice")
            leader = field.leader("evidence", partition)
            field.site.broker.call("kill9", str(leader))
            killed, epoch = time.monotonic(), field.marker(partition)["epoch"]
            field.wait_state("alice", lambda s: as_of(s) > epoch + 1, 60, "without one broker")
            proven = time.monotonic() - killed
            while not field.marker(partition)["ticking"]:
                assert time.monotonic() - killed < 90, "the service clock stands still, so nobody would be missed"
                time.sleep(0.2)
            ticking = time.monotonic() - killed
            load.run(2)
            field.site.broker.call("restart", str(leader))
            field.site.broker.call("wait-ready")
            load.run(2)
            print(f"node {leader} killed; alice proven anew after {proven:.1f} s, silence measured after {ticking:.1f} s")
            print(load.verify(), f"{supervisor.restarts} restarts of the worker")
        nobody_is_silent(field)
        agents_unharmed(field)
    finally:
        field.close()


# --- Workers


def test_worker_frozen_for_ten_epochs_and_nobody_else__nobody_is_silent(field):
    worker = field.site.workers["w1"]
    worker.signal(signal.SIGSTOP)
    time.sleep(10 * field.site.intervals.epoch / 1000)
    worker.signal(signal.SIGCONT)
    epoch = field.marker(field.partition("alice"))["epoch"]
    state = field.wait_state("alice", lambda s: as_of(s) > epoch, 40, "after the freeze")
    assert state["status"] == "trusted"
    nobody_is_silent(field)


def open_transaction(field, timeout):
    """Polls until some partition of `state` has records that read_committed readers may not see yet."""
    readers = [topics.consumer(field.site.broker.bootstrap, i) for i in ("read_committed", "read_uncommitted")]
    deadline = time.monotonic() + timeout

    def is_open(p):
        stable, high = (r.get_watermark_offsets(TopicPartition("avow.state", p), timeout=5)[1] for r in readers)
        return stable < high

    try:
        worker = field.site.workers["w1"]
        while time.monotonic() < deadline:
            p = next((p for p in range(field.partitions) if is_open(p)), None)
            if p is None:
                continue
            worker.signal(signal.SIGSTOP)
            time.sleep(0.4)
            if is_open(p):
                return
            worker.signal(signal.SIGCONT)  # it was committed a moment before it stopped: try again
        pytest.fail("no transaction was ever seen open")
    finally:
        for r in readers:
            r.close()


def test_ax2_worker_frozen_inside_a_transaction__fenced_when_another_took_over(field):
    zombie = field.site.workers["w1"]
    dead = field.host("dead")
    with Load(field, 8, "frozen") as load:
        load.run(1)
        open_transaction(field, 30)
        frozen = time.monotonic()
        start_worker(field, "w2")
        print(f"taken over {time.monotonic() - frozen:.1f} s after the freeze")
        # The dead host falls silent meanwhile, by the clock of the new owner; the old one would say it, too.
        field.view.wait_revocation("dead", lambda r: r["class"] == "silent", 60, "silence")
        time.sleep(max(0.0, 10 * field.site.intervals.epoch / 1000 - (time.monotonic() - frozen)))
        zombie.signal(signal.SIGCONT)
        load.run(5)
        print(load.verify())
    output = zombie.output()
    assert "transaction" in output.split("ready")[-1] or "lost" in output.split("ready")[-1], output[-1500:]
    print("the zombie:", *[line for line in output.splitlines() if "transaction" in line or "lost" in line][-3:], sep="\n  ")
    field.expect_events("dead", "silent")
    assert [r["key"] for r in field.view.revocations() if r["class"] == "silent"] == ["dead"]
    field.retire()
    if zombie.running():
        zombie.stop()
    start_worker(field, "w1")
    last_worker(field, "w1")


def test_ax10_one_worker_then_two_three_and_one_again__order_per_agent_is_kept(field):
    with Load(field, 8, "move") as load:
        load.run(1)
        for name in ("w2", "w3"):
            start_worker(field, name)
            load.run(2)
        assert len({m["owner"] for m in map(field.marker, range(field.partitions))}) > 1, "one does everything"
        for name in ("w2", "w3"):
            assert field.site.workers[name].stop() == 0
            load.run(2)
        print(load.verify())
        nothing_was_dropped(field, load)


def test_one_process_with_three_threads__as_three_processes_and_killed_as_one(field):
    with Load(field, 8, "threads") as load:
        load.run(1)
        start_worker(field, "t3", worker__threads="3")
        assert field.site.workers["w1"].stop() == 0
        load.run(3)
        owners = {m["owner"] for m in map(field.marker, range(field.partitions))}
        assert len(owners) == 3 and {o.rsplit(".", 1)[1] for o in owners} == {"0", "1", "2"}, owners
        field.site.workers["t3"].kill()
        start_worker(field, "t3", worker__threads="2")
        load.run(3)
        start_worker(field, "w1")
        assert field.site.workers["t3"].stop() == 0, "SIGTERM: every thread commits and leaves"
        load.run(2)
        print(load.verify())
        nothing_was_dropped(field, load)
    last_worker(field, "w1")


def test_worker_killed_with_the_brokers_default_clean_up__take_over_time(new_site, monkeypatch):
    monkeypatch.setenv("KAFKA_TXN_CLEANUP_MS", "10000")  # Kafka's own
    field = make_field(new_site, partitions=1)
    try:
        with Load(field, 8, "killed") as load:
            load.run(1)
            open_transaction(field, 30)
            last = field.states("alice")[-1]["seq"]
            field.site.workers["w1"].kill()
            killed = time.monotonic()
            successor = field.site.start_worker("w2")
            field.wait_state("alice", lambda s: s["seq"] > last, 40, "by the next worker")
            took = time.monotonic() - killed
            print(f"first result {took:.1f} s after SIGKILL inside a transaction (session time-out 6 s)")
            print(load.verify())
        # By name, or the broker's clean-up came first by chance; it may take 16 s.
        assert took < 20 and (" fenced " in successor.output() or took < 9)
        nobody_is_silent(field)
        agents_unharmed(field)
    finally:
        field.close()


# --- Keys


def worker_keys(field, name):
    """A folder with fresh keys; the MAC key in use becomes the previous one."""
    old, new = field.site.dir / "worker", field.site.folder / name
    new.mkdir()
    signer = Signer.generate()
    signer.save(new / "sign.pem")
    (new / "mac.key").write_bytes(os.urandom(32))
    shutil.copy(old / "mac.key", new / "mac.prev")
    shutil.copy(old / "kex.pem", new / "kex.pem")
    for file in new.iterdir():
        file.chmod(0o600)
    return signer, new


def publish(field, bundle, version):
    bundle.fields["version"] = version
    value = bundle.value()
    field.put("trust", "bundle", value, 0)
    return records.Trust(value, field.site.dir / "root" / "root.pem")


def test_aw2_worker_keys_rotated_under_load__zero_drops_and_zero_silences(field):
    signer, folder = worker_keys(field, "worker-2")
    bundle = Bundle(field.site.dir)
    with Load(field, 8, "keys") as load:
        load.run(1)
        bundle.add(signer, "worker")
        field.view.trust = publish(field, bundle, 2)  # both keys are good for those who read the past
        field.macs.append((folder / "mac.key").read_bytes())
        load.run(2)
        start_worker(field, "w2", worker__keys=folder)
        assert field.site.workers["w1"].stop() == 0
        last_worker(field, "w2")
        load.run(2)  # until nobody answers a marker of the old key any more
        bundle.set_status(field.worker, "verify_only")
        publish(field, bundle, 3)
        load.run(4)
        print(load.verify())
        nothing_was_dropped(field, load)
    for name in AGENTS:
        field.view.wait_verdict(name, lambda v: v["bundle_version"] == 3 and v["status"] == "trusted", 10, "under bundle 3")
