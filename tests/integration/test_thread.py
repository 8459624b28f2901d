"""Quote -> Kafka -> worker -> verdict -> revocation, on a real Kafka, exactly once."""

import signal
import time

import pytest
from avowtest import records, topics
from avowtest.site import runtime_policy, wait_for
from confluent_kafka import TopicPartition

from conftest import GOOD, sha256

BAD = sha256(b"one, tampered")


def revocation(t, name, cls="revocation", timeout=30):
    return t.view.wait_revocation(name, lambda r: r["class"] == cls, timeout, f"{cls} of {name}")[0]


def gapless(t, name):
    """`transitions` on the revocation topic, without a twin and without a gap."""
    ids = [r["id"] for r in t.view.revocations(name)]
    assert len(ids) == len(set(ids)), f"twins: {ids}"
    seen = sorted(r["transitions"] for r in t.view.revocations(name))
    assert seen == list(range(seen[0], seen[0] + len(seen))), seen


def test_two_agents_trusted__tampered_file__exactly_one_signed_revocation(thread):
    a, b = thread.host("pair-a"), thread.host("pair-b")
    thread.trusted("pair-a"), thread.trusted("pair-b")
    a.ima("add", "/usr/bin/one", BAD)
    rev = revocation(thread, "pair-a")
    assert rev["from"] == "trusted" and rev["to"] == "untrusted"
    finding = rev["findings"][0]
    assert finding["id"] == "ima.digest_unknown"
    assert "/usr/bin/one" in finding["where"] + finding["detail"]
    assert BAD[:16] in finding["detail"]
    # More entries, good and bad: the host stays untrusted, and nobody is told again.
    a.ima("add", "/usr/bin/two", GOOD["/usr/bin/two"][0])
    a.ima("add", "/usr/bin/one", BAD)
    time.sleep(4)
    everything = topics.read(thread.site.broker.bootstrap, "avow.revocations")
    assert [r.key for r in everything if r.key in (b"pair-a", b"pair-b")] == [b"pair-a"]
    assert thread.trusted("pair-b", thread.last_epoch("pair-b"))
    b.agent.stop()


def test_heartbeat__trust_keeps_moving(thread):
    thread.host("beat")
    first = thread.trusted("beat")
    later = thread.trusted("beat", first["as_of_epoch"] + 2)
    assert later["trusted_until_ms"] > first["trusted_until_ms"]
    assert later["transitions"] == first["transitions"], "a refresh is no transition"


def test_agent_killed_and_restarted__no_gap(thread):
    host = thread.host("phoenix")
    thread.trusted("phoenix")
    host.ima("add", "/usr/bin/two", GOOD["/usr/bin/two"][0])
    host.agent.kill()
    host.ima("add", "/usr/bin/two", GOOD["/usr/bin/two"][0])
    epoch = thread.last_epoch("phoenix")
    host.start_agent()
    verdict = thread.trusted("phoenix", epoch)
    assert verdict["boot"]["ima_entries"] == 4
    assert thread.events("phoenix") == []
    # Before the enrolment its evidence had to be dropped; after it nothing may be.
    reasons = {d["reason"] for d in thread.view.dead_letters() if d["key"] == b"phoenix"}
    assert reasons <= {"unenrolled"}


def test_silent_agent__is_found_and_recovers_once(thread):
    host = thread.host("mute")
    thread.trusted("mute")
    host.agent.stop()
    event = revocation(thread, "mute", "silent", 40)
    assert event["to"] == "silent" and event["event_id"] == "agent.silent"
    host.start_agent()
    back = revocation(thread, "mute", "recovery", 40)
    assert back["from"] == "silent" and back["to"] == "trusted"
    time.sleep(3)
    assert thread.events("mute") == ["silent", "recovery"]
    gapless(thread, "mute")


def test_unenrolled_agent__is_dropped_and_dead_lettered(thread):
    thread.host("stranger", enrol=False)
    letter = thread.view.follower.wait(
        "avow.deadletter",
        lambda r: (d := records.decode(r.value)[1])["key"] == b"stranger" and d,
        30,
        "dead letter",
    )
    assert letter["reason"] == "unenrolled"
    assert thread.view.verdicts("stranger") == []
    assert thread.events("stranger") == []


def test_policy_update__untrusted_to_trusted_and_back(thread):
    thread.site.push_policy("moving", runtime_policy(GOOD))
    host = thread.host("mover", policy="moving")
    thread.trusted("mover")
    host.ima("add", "/usr/bin/one", BAD)
    revocation(thread, "mover")
    wider = {**GOOD, "/usr/bin/one": [*GOOD["/usr/bin/one"], BAD]}
    thread.site.push_policy("moving", runtime_policy(wider))
    assert revocation(thread, "mover", "recovery", 60)["to"] == "trusted"
    # And the other way: a policy that forbids what has run already. The worker asks one agent for its whole list at most
    # once a minute (PROTOCOL R19), and has just done so.
    thread.site.push_policy("moving", runtime_policy(GOOD))
    thread.view.wait_revocation(
        "mover", lambda r: r["class"] == "revocation" and r["transitions"] > 2, 150, "second revocation"
    )
    assert thread.events("mover") == ["revocation", "recovery", "revocation"]
    gapless(thread, "mover")


def test_removed_agent__evidence_is_dropped(thread):
    host = thread.host("leaver")
    thread.trusted("leaver")
    thread.site.avow("agent", "rm", "leaver")
    thread.view.follower.wait(
        "avow.deadletter", lambda r: records.decode(r.value)[1]["key"] == b"leaver", 30, "dead letter"
    )
    host.agent.stop()


def open_transaction(watch, partitions: int, deadline: float):
    """Polls until some partition of `state` has records that read_committed readers may not see yet."""
    committed, uncommitted = watch
    while time.monotonic() < deadline:
        for p in range(partitions):
            tp = TopicPartition("avow.state", p)
            stable = committed.get_watermark_offsets(tp, timeout=5)[1]
            high = uncommitted.get_watermark_offsets(tp, timeout=5)[1]
            if stable < high:
                return p, stable, high
    pytest.fail("no transaction was ever seen open")


def test_worker_killed_inside_a_transaction__no_loss_no_twin(new_site):
    t = new_site(partitions=1)
    names = [f"host-{i}" for i in range(3)]
    hosts = [t.host(n) for n in names]
    for n in names:
        t.trusted(n)
    watch = tuple(topics.consumer(t.site.broker.bootstrap, i) for i in ("read_committed", "read_uncommitted"))
    worker = t.site.workers["w1"]
    deadline = time.monotonic() + 60
    while True:
        for h in hosts:  # work for the worker, so that transactions are frequent
            h.ima("add", "/usr/bin/two", GOOD["/usr/bin/two"][0])
        partition, _, _ = open_transaction(watch, 1, deadline)
        worker.signal(signal.SIGSTOP)
        time.sleep(0.4)
        tp = TopicPartition("avow.state", partition)
        stable = watch[0].get_watermark_offsets(tp, timeout=5)[1]
        high = watch[1].get_watermark_offsets(tp, timeout=5)[1]
        if stable < high:
            break
        worker.signal(signal.SIGCONT)  # it was committed a moment before it stopped: try again
    # Proven open and nobody left to end it. A tampered file arrives in the meantime.
    hosts[0].ima("add", "/usr/bin/one", BAD)
    worker.kill()
    killed = time.monotonic()
    t.site.start_worker("w2")
    rev = revocation(t, names[0], timeout=40)
    took = time.monotonic() - killed
    assert rev["findings"][0]["id"] == "ima.digest_unknown"
    for n in names[1:]:
        t.trusted(n, t.last_epoch(n), 40)
    time.sleep(3)
    assert [t.events(n) for n in names] == [["revocation"], [], []]
    for n in names:
        seqs = [v["seq"] for v in t.view.verdicts(n)]
        assert seqs == sorted(set(seqs)), f"{n}: a verdict came twice or out of order: {seqs}"
    print(f"from SIGKILL to the revocation by the next worker: {took:.1f} s")
    for w in watch:
        w.close()


def test_worker_sigterm__leaves_cleanly_and_the_next_goes_on(new_site):
    t = new_site(partitions=2)
    t.host("steady")
    t.trusted("steady")
    assert t.site.workers["w1"].stop() == 0
    epoch = t.last_epoch("steady")
    t.site.start_worker("w2")
    t.trusted("steady", epoch, 40)
    assert t.events("steady") == []


def test_all_workers_down_longer_than_silent_after__nobody_is_silent(new_site):
    t = new_site(partitions=1)
    t.host("patient")
    t.trusted("patient")
    t.site.workers["w1"].kill()
    time.sleep(t.site.intervals.silent_after / 1000 * 1.5)
    epoch = t.last_epoch("patient")
    t.site.start_worker("w2")
    t.trusted("patient", epoch, 40)
    time.sleep(3)
    assert t.events("patient") == []


def test_registrar_killed_and_restarted__identities_are_complete(thread):
    thread.site.registrar.kill()
    thread.site.start_registrar()
    host = thread.host("late")
    thread.trusted("late")
    host.agent.stop()
    identities = [r for r in topics.read(thread.site.broker.bootstrap, "avow.identities") if r.key == b"late"]
    assert len(identities) == 1
    thread.view.trust.open("registrar", b"late", identities[0].value)


def test_site_starts__worker_reports_ready(thread):
    assert wait_for(lambda: "ready" in thread.site.workers["w1"].output(), 10, "ready")
