"""Evidence of many parts, busy hosts and long lists on a real Kafka (docs/ATTACKS.md, M and AP1; PROTOCOL R2, R3, B4)."""

import os
import signal
import time

import pytest
from avowtest import records
from avowtest.field import Field, SoftHost, as_of, entries
from avowtest.forge import SoftTpm, sha256
from avowtest.site import Intervals, Site, runtime_policy, wait_for

from conftest import GOOD, started

ONE = sha256(b"one")
BAD = sha256(b"something that no policy allows")
FOLD_IDLE_S = 60  # PROTOCOL B4


@pytest.fixture(scope="module")
def field(tmp_path_factory, bin_dir):
    """An installation whose agents may be away for a while, with one partition, so that folds interleave."""
    intervals = Intervals(heartbeat=10000, silent_after=40000, validity=20000)
    site = Site(tmp_path_factory.mktemp("multipart"), bin_dir, partitions=1, intervals=intervals)
    field = None
    try:
        t = started(site, strict=False)
        site.push_policy("large", runtime_policy(GOOD, ["/large/.*"]))
        field = Field(site, t.view)
        field.thread = t
        yield field
    finally:
        if field:
            field.close()
            field.view.close()
        site.close()


def grow(host: SoftHost, n: int) -> None:
    for _ in range(n):
        host.measure("/usr/bin/one", ONE)


def in_parts(field: Field, host: SoftHost, n: int, **changes) -> list[bytes]:
    host.obey()
    marker = field.marker(host.partition)
    return host.evidence_in_parts(marker, host.parts(n), **changes)


def complete(field: Field, host: SoftHost, offset: int, timeout: float = 15) -> dict:
    """The state after the last part of the evidence whose head is at `offset`."""
    return field.wait_state(
        host.name,
        lambda s: s["evidence"] and s["evidence"]["offset"] == offset and not s["open"],
        timeout,
        f"of the whole evidence {offset}",
    )


def open_at(field: Field, host: SoftHost, index: int) -> dict:
    return field.wait_state(host.name, lambda s: s["open"] and s["open"]["index"] == index, 15, f"open at part {index}")


@pytest.fixture(scope="module")
def stalled(field):
    """A host whose last part never comes; its minute passes while the other tests run."""
    host = SoftHost(field, "stalled", SoftTpm(), "good")
    host.enrol(silent_after_ms=600000)
    field.wait_state(host.name, lambda s: True, 15, "of an enrolled host")
    host.expect_trusted()
    grow(host, 20)
    values = in_parts(field, host, 4)
    for value in values[:-1]:
        host.send(value)
    open_at(field, host, 3)
    return host, values[-1], len(field.directives(host.name)), time.monotonic()


def test_am1_mallory_injects_parts_under_bobs_key__dropped_and_bobs_fold_completes(field, stalled):
    bob = field.host("am1-bob")
    grow(bob, 30)
    values = in_parts(field, bob, 6)
    head = bob.send(values[0])
    for value in values[1:]:
        name, fields = records.decode(value)
        assert name == "evidence_part"
        forged = {**fields, "part": fields["part"][:-1] + bytes([fields["part"][-1] ^ 1])}
        field.expect_drop("part_hash", bob.name, records.encode("evidence_part", forged))
        bob.send(value)
    state = complete(field, bob, head)
    assert (state["status"], as_of(state), entries(state)) == ("trusted", state["epoch"], len(bob.entries))
    assert field.events(bob.name) == []
    bob.expect_trusted()
    assert bob.dropped() == {"part_hash": 5}
    field.retire()


def test_am3_parts_swapped_and_repeated__dropped_and_no_fail(field, stalled):
    host = field.host("am3")
    grow(host, 30)
    values = in_parts(field, host, 5)
    head = host.send(values[0])
    field.expect_drop("part_order", host.name, values[2])
    host.send(values[1])
    field.expect_drop("part_order", host.name, values[1])
    for value in values[2:]:
        host.send(value)
    state = complete(field, host, head)
    assert (state["status"], entries(state)) == ("trusted", len(host.entries))
    assert field.events(host.name) == []
    field.retire()


def test_am6_counts_and_chain_contradict__evidence_malformed(field, stalled):
    for n, name, changes in (
        (65, "am6-65", {}),
        (2, "am6-fewer", {"parts": 3}),
        (3, "am6-more", {"parts": 2, "ima_count": 20}),
    ):
        host = field.host(name)
        grow(host, 30)
        values = in_parts(field, host, n, **changes)
        for value in values[:2]:
            host.send(value)
        state = field.wait_state(host.name, lambda s: s["findings"], 15, "with a finding")
        assert [f["id"] for f in state["findings"]] == ["evidence.malformed"]
        assert not state["open"]
        field.view.wait_revocation(host.name, lambda r: r["event_id"] == "evidence.malformed", 15, "revocation")
        assert field.events(host.name) == ["revocation"]
    field.retire()


def test_am7_folds_of_two_agents_interleaved__both_verdicts_right(field, stalled):
    a, b = field.host("am7-a"), field.host("am7-b")
    grow(a, 30), grow(b, 12)
    b.measure("/usr/bin/evil", BAD)
    grow(b, 12)
    mine, theirs = in_parts(field, a, 6), in_parts(field, b, 6)
    offsets = [a.send(mine[0]), b.send(theirs[0])]
    for x, y in zip(mine[1:], theirs[1:]):
        b.send(y), a.send(x)
    first, second = complete(field, a, offsets[0]), complete(field, b, offsets[1])
    assert (first["status"], entries(first)) == ("trusted", len(a.entries))
    assert (second["status"], entries(second)) == ("untrusted", len(b.entries))
    assert [f["id"] for f in second["findings"]] == ["ima.digest_unknown"]
    field.view.wait_revocation(b.name, lambda r: r["event_id"] == "ima.digest_unknown", 15, "revocation")
    assert (field.events(a.name), field.events(b.name)) == ([], ["revocation"])
    field.retire()


def test_am8_ima_count_is_not_what_the_parts_hold__evidence_malformed(field, stalled):
    for wrong in (-1, 1):
        host = field.host(f"am8-{'fewer' if wrong > 0 else 'more'}")
        grow(host, 10)
        values = in_parts(field, host, 3, ima_count=10 + wrong)
        for value in values:
            host.send(value)
        state = field.wait_state(host.name, lambda s: s["findings"], 15, "with a finding")
        assert [f["id"] for f in state["findings"]] == ["evidence.malformed"]
    field.retire()


def test_am9_entry_straddles_two_parts__evidence_malformed(field, stalled):
    host = field.host("am9")
    grow(host, 10)
    frame = b"".join(host.entries[host.next :])
    cut = len(frame) // 2 + 7
    parts = [b"\1" + len(p).to_bytes(4, "big") + p for p in (frame[:cut], frame[cut:])]
    for value in host.evidence_in_parts(field.marker(host.partition), parts):
        host.send(value)
    state = field.wait_state(host.name, lambda s: s["findings"], 15, "with a finding")
    assert [f["id"] for f in state["findings"]] == ["evidence.malformed"]
    field.retire()


def test_am11_newer_head_mid_fold__the_old_is_given_up_and_the_new_judged(field, stalled):
    host = field.host("am11")
    start = host.next
    grow(host, 20)
    old = in_parts(field, host, 5)
    for value in old[:3]:
        host.send(value)
    open_at(field, host, 3)
    host.next = start  # nothing of it was acknowledged to the agent
    grow(host, 5)
    new = in_parts(field, host, 3)
    head = host.send(new[0])
    field.expect_drop("part_order", host.name, old[3])
    for value in new[1:]:
        host.send(value)
    state = complete(field, host, head)
    assert (state["status"], as_of(state), entries(state)) == ("trusted", state["epoch"], len(host.entries))
    assert host.dropped()["fold_abandoned"] == 1
    assert field.events(host.name) == []
    field.retire()


def test_am4_worker_killed_after_part_3_of_7__the_next_completes_with_one_verdict(field, stalled):
    host = SoftHost(field, "am4", SoftTpm(), "good")
    field.soft.append(host)
    host.enrol()
    field.wait_state(host.name, lambda s: True, 15, "of an enrolled host")
    time.sleep(1)  # the policy is known
    grow(host, 50)
    values = in_parts(field, host, 7)
    head = host.send(values[0])
    for value in values[1:3]:
        host.send(value)
    before = open_at(field, host, 3)
    field.site.workers["w1"].kill()
    for value in values[3:]:
        host.send(value)
    field.site.start_worker("w2")
    state = complete(field, host, head, 40)
    assert (state["status"], entries(state)) == ("trusted", len(host.entries))
    assert state["appraised"] == before["appraised"]
    time.sleep(3)  # for a twin, if there were one
    tag = sha256(records.decode(values[0])[1]["attest"])[:16]
    mine = [v for v in field.view.verdicts(host.name) if v["evidence"] and v["evidence"]["tag"] == tag]
    assert [v["status"] for v in mine if v["status"] == "trusted"] == ["trusted"]
    assert field.events(host.name) == []
    assert host.dropped() == {}
    field.retire()


# --- Real agents


def large_paths(n: int):
    return (f"/large/{i:06d}/" + "x" * 4000 for i in range(n))


def feed(host, paths) -> None:
    """Measures all of them, at full speed."""
    stream = host.ima_stream()
    for path in paths:
        stream.stdin.write(f"{ONE.hex()} {path}\n".encode())
    stream.stdin.close()
    assert stream.wait(60) == 0


def records_of(field: Field, agent: str) -> list[tuple[str, dict]]:
    """(schema, fields) of all evidence records of the agent, in order."""
    found = field.watch.all(field.prefix + "evidence")
    return [records.decode(r.value) for r in found if r.key == agent.encode()]


def rss_kib(pid: int, name: str) -> int:
    with open(f"/proc/{pid}/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith(name))


def test_am5_agent_killed_after_part_3__the_next_head_ends_the_fold(field, stalled):
    t = field.thread
    host = t.host("am5", policy="large")
    t.trusted("am5")
    assert host.agent.stop() == 0
    feed(host, large_paths(1000))  # 4 MB: 8 parts
    host.start_agent(**{"kafka.linger.ms": "400"})  # slow enough to be caught
    deadline = time.monotonic() + 20
    while not any(name == "evidence_part" and f["index"] >= 3 for name, f in records_of(field, "am5")):
        assert time.monotonic() < deadline, "no third part was sent"
        time.sleep(0.02)
    host.agent.signal(signal.SIGKILL)
    host.agent.kill()
    killed = records_of(field, "am5")
    assert killed[-1][0] == "evidence_part" and killed[-1][1]["next"], "the agent was faster than its killer"
    host.start_agent(**{"kafka.linger.ms": "5"})
    state = field.wait_state("am5", lambda s: entries(s) == 1002, 30, "with all entries proven")
    assert state["status"] == "trusted" and not state["findings"]
    assert {d["reason"]: d["count"] for d in state["dropped"]}["fold_abandoned"] == 1
    assert field.events("am5") == []
    host.agent.stop()


def test_am10_list_of_40_mib__two_evidences_and_trusted(field, stalled):
    t = field.thread
    host = field.site.add_host("am10")
    host.ima("add", "/usr/bin/one", GOOD["/usr/bin/one"][0])
    feed(host, large_paths(10400))
    size = host.ima_log.stat().st_size
    assert size > 40 << 20
    host.start_agent()
    host.agent.wait_output("registered", 30)
    before = rss_kib(host.agent.pid, "VmHWM")
    field.site.enrol("am10", "--runtime-policy", "large")
    state = field.wait_state("am10", lambda s: entries(s) == 10402, 60, "with all entries proven")
    assert state["status"] == "trusted" and not state["findings"]
    peak = rss_kib(host.agent.pid, "VmHWM")
    sent = records_of(field, "am10")
    # What came before the enrolment was dropped; what counts are the last two heads with entries.
    heads = [records.decode(f["body"])[1] for name, f in sent if name == "evidence"]
    lists = [b for b in heads if b["ima_count"]][-2:]
    assert [b["more"] for b in lists] == [True, False]
    assert lists[0]["ima_start"] == 0 and lists[1]["ima_start"] == lists[0]["ima_count"]
    assert lists[0]["parts"] > 60 and lists[1]["parts"] > 10
    assert sum(b["ima_count"] for b in lists) == 10402
    assert field.events("am10") == []
    print(f"{size >> 20} MiB in {lists[0]['parts']} + {lists[1]['parts']} parts; agent: {before} KiB, at most {peak} KiB")
    assert peak < 20 * 1024, "the agent holds more of the list than a few parts"
    host.agent.stop()


def test_ap1_200_entries_a_second_and_quotes_of_300_ms__never_fails_and_trails_by_one(field, stalled):
    t = field.thread
    seconds = 60 if os.environ.get("AVOW_LONG") == "1" else 20
    host = field.site.add_host("ap1")
    host.slow_tpm(300)
    host.ima("add", "/usr/bin/one", GOOD["/usr/bin/one"][0])
    host.start_agent()
    host.agent.wait_output("registered", 30)
    field.site.enrol("ap1", "--runtime-policy", "large")
    t.trusted("ap1")
    stream, start = host.ima_stream(), time.monotonic()
    for tick in range(20 * seconds):
        for i in range(10):
            stream.stdin.write(f"{ONE.hex()} /large/{tick}/{i}\n".encode())
        stream.stdin.flush()
        time.sleep(max(0.0, start + (tick + 1) * 0.05 - time.monotonic()))
    stream.stdin.close()
    assert stream.wait(20) == 0
    quiet = time.monotonic()
    total = 2 + 200 * seconds
    field.wait_state("ap1", lambda s: entries(s) == total and s["ima"]["claimed_count"] == total, 20, "with all proven")
    states = [r for r in field.watch.all("avow.state") if r.key == b"ap1"]
    proven = next(r.seen for r in states if entries(records.decode(r.value)[1]) == total)
    took = quiet - start
    assert took < seconds * 1.2, f"the emulator was too slow: {took:.1f} s"
    assert field.events("ap1") == []
    assert all(not s["findings"] and s["status"] != "untrusted" for s in field.states("ap1"))
    trails, pending, previous = 0, 0, -1
    by_offset = {s["evidence"]["offset"]: s for s in field.states("ap1") if s["evidence"]}
    heads = [(r.offset, b) for r, _, b in field.evidence_of("ap1") if r.offset in by_offset]
    for offset, body in heads[1:]:
        state = by_offset[offset]
        assert as_of(state) >= previous, f"evidence {offset} of epoch {body['epoch']}: proven as of {as_of(state)}"
        trails = max(trails, body["epoch"] - as_of(state))
        pending += state["pending"] is not None
        previous = body["epoch"]
    print(
        f"{len(heads)} evidences for {total} entries in {took:.1f} s, {pending} of them pending, at most {trails} epochs"
        f" behind; all proven {proven - quiet:.2f} s after the last entry"
    )
    assert pending > seconds // 4, "the TPM was not slow enough to matter"
    assert proven - quiet < 2.0
    host.agent.stop()


def test_am3_last_part_missing__given_up_after_60_s_and_asked_for_without_fail(field, stalled):
    host, last, asked, since = stalled
    time.sleep(max(0.0, since + FOLD_IDLE_S - 8 - time.monotonic()))
    state = field.wait_state(host.name, lambda s: not s["open"] and host.dropped()["fold_abandoned"], 60, "given up")
    assert time.monotonic() - since > FOLD_IDLE_S
    assert state["status"] == "trusted" and not state["findings"]
    assert wait_for(lambda: len(field.directives(host.name)) > asked, 10, "a directive")
    assert [d["kind"]["ima_from"] for d in field.directives(host.name)[asked:]] == [entries(state)]
    field.expect_drop("part_order", host.name, last)
    host.expect_trusted()
    assert entries(field.states(host.name)[-1]) == len(host.entries)
    assert field.events(host.name) == []


def test_r17_rebase__asked_for_in_time_and_the_whole_list_sent_again(field, stalled):
    field.bundle.fields["rebase_interval_ms"] = 6000
    field.bundle.fields["version"] += 1
    field.bundle.save()
    field.site.apply_topics()
    t = field.thread
    host = t.host("r17")
    t.trusted("r17")
    field.grow("r17")
    field.wait_state("r17", lambda s: entries(s) == 3 and s["rebase_due_ms"], 15, "proven, with a rebase to come")
    asked = len(field.directives("r17"))
    since = field.marker(0)["epoch"]
    body = field.wait_evidence(
        "r17", lambda r, b: b["epoch"] >= since and b["ima_start"] == 0 and b["ima_count"] == 3, 20, "from entry 0"
    )
    assert len(body["pcrs"]) == 23, "a rebase carries all values"
    field.wait_state("r17", lambda s: as_of(s) >= body["epoch"] and entries(s) == 3 and not s["rebase"], 15, "rebased")
    directives = field.directives("r17")
    assert len(directives) > asked and directives[-1]["kind"]["ima_from"] == 0 and directives[-1]["kind"]["boot_log"]
    assert field.events("r17") == []
    host.agent.stop()
