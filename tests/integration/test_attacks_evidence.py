"""Evidence that is forged, replayed, held back or malformed, on a real Kafka (docs/ATTACKS.md, Q, F, R, M, D, X).

The attacker has an agent's rights, or all of them, and hosts of its own with keys that sign whatever it likes.
"""

import time

import pytest
from avowtest import records
from avowtest.field import as_of
from avowtest.forge import Signer, ToolsTpm, order_of, seal, sha256
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

BAD = sha256(b"something that no policy allows")


def expect_drop(field, host, reason, value):
    """The record is dropped for this reason, changes no state, is counted, and the host proves itself all the same."""
    before, counted = field.states(host.name)[-1], host.dropped()
    field.expect_drop(reason, host.name, value)
    after = host.expect_trusted()
    assert after["appraised"] == before["appraised"] + 1, "the dropped record was appraised"
    assert host.dropped() - counted == {reason: 1}
    assert field.events(host.name) == []


# --- Freshness


def test_af1_self_made_nonce__drop_marker(field):
    host = field.host("af1")
    marker = {**field.marker(host.partition), "nonce": sha256(b"chosen by the attacker")}
    expect_drop(field, host, "marker", host.evidence(marker))


def test_af2_marker_by_a_stranger_or_the_tenant__ignored_by_worker_and_agent(field):
    host = field.host("af2")
    for signer in (Signer.generate(), field.tenant):
        marker = field.forge_marker(host.partition, signer)
        expect_drop(field, host, "marker", host.evidence(marker))
        assert not field.agent_answers("bob", field.forge_marker(field.partition("bob"), signer))
    assert "marker.refused" in field.site.hosts["bob"].agent.output()


def test_af3_marker_by_an_old_worker_key__ignored(field):
    host = field.host("af3")
    marker = field.forge_marker(host.partition, field.old_worker)
    expect_drop(field, host, "marker", host.evidence(marker))
    assert not field.agent_answers("bob", field.forge_marker(field.partition("bob"), field.old_worker))


def test_af5_marker_prepared_with_a_stolen_key_and_never_published__drop_marker(field):
    host = field.host("af5")
    marker = field.marker(host.partition)
    future = {**marker, "epoch": marker["epoch"] + 1000, "nonce": sha256(b"of the future")}
    expect_drop(field, host, "marker", host.evidence(future))


def test_af9_many_prepared_in_one_epoch_then_modified__all_as_of_that_epoch(field):
    host = field.host("af9")
    marker = field.marker(host.partition)
    prepared = [host.evidence(marker) for _ in range(20)]
    host.measure("/usr/bin/evil", BAD)
    for value in prepared:
        offset = host.send(value)
        time.sleep(0.1)
    last = field.judged(host.name, offset)
    assert (last["status"], as_of(last)) == ("trusted", marker["epoch"])
    verdict = field.view.wait_verdict(host.name, lambda v: v["status"] == "trusted", 10, "verdict")[0]
    assert verdict["trusted_until_ms"] == verdict["as_of_ms"] + field.site.intervals.validity
    assert host.attest(after=marker["epoch"])["status"] == "untrusted", "the next epoch reveals it"
    field.expect_events(host.name, "revocation")


def test_af10_older_epoch_with_a_newer_clock__drop_replay(field):
    host = field.host("af10")
    old = field.marker(host.partition)
    host.expect_trusted(after=old["epoch"])
    expect_drop(field, host, "replay", host.evidence(old))


def test_af12_marker_of_another_partition__ignored_by_worker_and_agent(field):
    host = field.host("af12")
    other = (host.partition + 1) % field.partitions
    marker, record = field.marker_record(other)
    field.put("epochs", "marker", record.value, host.partition)
    time.sleep(0.5)
    expect_drop(field, host, "marker", host.evidence(marker))
    mine = field.partition("bob")
    marker, record = field.marker_record((mine + 1) % field.partitions)
    field.put("epochs", "marker", record.value, mine)
    assert not field.agent_answers("bob", marker)


# --- Replay and counters


def test_ar1_same_evidence_twice__drop_replay_and_one_verdict(field):
    record, _, _ = field.evidence_of("bob")[-1]
    field.expect_drop("replay", "bob", record.value)
    verdicts = [v["seq"] for v in field.view.verdicts("bob")]
    assert verdicts == sorted(set(verdicts))


def test_ar2_clock_equal_other_body__drop_replay(field):
    host = field.host("ar2")
    marker = field.marker(host.partition)
    host.send(host.evidence(marker))
    field.settled(host.partition)
    host.tpm.clock -= 10  # the next quote says the same clock
    expect_drop(field, host, "replay", host.evidence(marker, agent_version="other"))


@pytest.fixture
def tools_tpm(field, tmp_path):
    """A software TPM for tpm2-tools."""
    folder = tmp_path / "tpm"
    yield ToolsTpm(field.site.swtpm("start", folder, field.site.folder / "tpm-ca"), tmp_path / "work")
    field.site.swtpm("stop", folder)


def test_ar6_tpm2_clear_with_a_primary_ak__counters_regressed_until_enrolled_anew(field, tools_tpm):
    host = field.host("ar6", tpm=tools_tpm)
    before = order_of(field.evidence_of("ar6")[-1][1]["attest"])
    tools_tpm.tool("clear", "-c", "l")
    assert tools_tpm.make_ak() == tools_tpm.ak_public, "the primary AK comes from the same seed"
    state = host.attest(after=field.states("ar6")[-1]["epoch"])
    assert [f["id"] for f in state["findings"]] == ["tpm.counters_regressed"]
    after = order_of(field.evidence_of("ar6")[-1][1]["attest"])
    assert after < before, (before, after)
    field.expect_events("ar6", "revocation")
    host.renew()
    host.resync()
    host.expect_trusted(after=state["epoch"])
    assert field.view.wait_revocation("ar6", lambda r: r["class"] == "recovery", 10, "recovery")


def test_ar7_tpm2_clockset_plus_a_day__accepted_and_nothing_else_changes(field, tools_tpm):
    host = field.host("ar7", tpm=tools_tpm)
    before = field.states("ar7")[-1]
    clock = int(next(s for s in tools_tpm.tool("readclock").split("\n") if "clock:" in s).split()[1])
    tools_tpm.tool("setclock", "-c", "o", str(clock + 24 * 3600 * 1000))
    after = host.expect_trusted()
    assert after["order"]["clock"] >= clock + 24 * 3600 * 1000
    assert after["order"]["reset_count"] == before["order"]["reset_count"]
    changed = {k for k in before if before[k] != after[k]}
    assert changed <= {"seq", "order", "epoch", "credit_ms", "as_of", "appraised", "last_verdict", "evidence", "mac"}


def test_ar12_quote_of_the_process_before_delivered_after_the_next__drop_replay(field):
    host = field.host("ar12")
    late = host.evidence(field.marker(host.partition))
    host.resync()  # as an agent does after its start
    host.expect_trusted()
    expect_drop(field, host, "replay", late)


# --- Floods


def test_am2_ten_thousand_forged_heads__dropped_bounded_and_one_alarm(field):
    count, partition = 10_000, field.partition("bob")
    record, fields, _ = field.evidence_of("bob")[-1]
    rss = rss_kib(field.site.workers["w1"].pid)
    before = len(field.evidence_of("bob"))
    start = time.monotonic()
    for i in range(count):
        signature = bytearray(fields["signature"])
        signature[-4:] = i.to_bytes(4, "big")
        value = records.encode("evidence", {**fields, "signature": bytes(signature)})
        field.producer.produce("avow.evidence", value, b"bob", partition)
        if i % 1000 == 0:
            field.producer.poll(0)
    field.producer.flush(30)
    sent = time.monotonic()
    field.settled(partition, 60)
    lag = time.monotonic() - sent
    alarm = field.wait_alarm("evidence.flood", key="bob")
    assert alarm["key"] == "bob"
    # Bob's own come through, and say how many were dropped.
    state = field.wait_state(
        "bob", lambda s: sum(d["count"] for d in s["dropped"] if d["reason"] == "signature") >= count, 15, "that counts"
    )
    assert state["status"] == "trusted"
    assert len(field.alarms("evidence.flood")) == 1, "one alarm, not ten thousand"
    letters = [d for d in field.view.dead_letters() if d["reason"] == "signature" and d["key"] == b"bob"]
    assert 1 <= len(letters) <= 10 * (time.monotonic() - start + 2), "dead letters are limited, too"
    grown = rss_kib(field.site.workers["w1"].pid) - rss
    print(f"{count} forged heads: sent in {sent - start:.1f} s, done {lag:.1f} s later, RSS grew by {grown} KiB")
    assert lag < 20 and grown < 32 * 1024
    assert len(field.evidence_of("bob")) > before + count, "bob did not attest meanwhile"


def rss_kib(pid: int) -> int:
    with open(f"/proc/{pid}/status") as f:
        return int(next(line for line in f if line.startswith("VmRSS:")).split()[1])


# --- Records that are nothing


def test_ad6_evidence_in_the_wrong_partition__drop_partition(field):
    record, _, _ = field.evidence_of("bob")[-1]
    field.expect_drop("partition", "bob", record.value, (record.partition + 1) % field.partitions)


def avro_long(n: int) -> bytes:
    n = (n << 1) ^ (n >> 63)
    out = bytearray()
    while n > 0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    return bytes([*out, n])


FRAME = slice(0, records.FRAME_LEN)


def hostile_records(genuine: bytes) -> dict[str, bytes]:
    """Evidence that no decoder may accept, and that must cost it nothing."""
    frame, body = genuine[FRAME], genuine[records.FRAME_LEN :]
    return {
        "string of 10^9 bytes": frame + body[:1] + avro_long(10**9) + b"x",
        "negative length": frame + body[:1] + avro_long(-5) + b"x",
        "number without an end": frame + body[:1] + b"\xff" * 20,
        "enum symbol 7": frame + avro_long(7) + body[1:],
        "trailing byte": genuine + b"\0",
        "truncated": genuine[:-1],
        "frame only": frame,
    }


def test_ad7_hostile_records__drop_parse_and_flat_memory(field):
    record, _, _ = field.evidence_of("bob")[-1]
    rss = rss_kib(field.site.workers["w1"].pid)
    for name, value in hostile_records(record.value).items():
        with pytest.raises(Exception):  # the other decoder agrees that it is nothing
            records.decode(value)
        field.expect_drop("parse", "bob", value)
        print(name)
    assert rss_kib(field.site.workers["w1"].pid) - rss < 8 * 1024


def test_ad7_genuine_quote_over_a_body_with_absurd_block_counts__drop_parse(field):
    host = field.host("ad7")
    marker = field.marker(host.partition)
    fields = host.body(marker, b"")
    body = records.encode("body", fields)
    until_pcrs = avro_long(1) + avro_long(fields["epoch"]) + bytes(8) + avro_long(6) + b"forged" + bytes(16)
    until_pcrs += avro_long(1) + avro_long(1) + avro_long(fields["ima_start"]) + avro_long(fields["ima_count"]) + b"\0"
    at = records.FRAME_LEN + len(until_pcrs)
    assert body[at] == 0 and not fields["pcrs"], "the array of PCR values begins elsewhere"
    rss = rss_kib(field.site.workers["w1"].pid)
    for count in (avro_long(-(2**61)) + avro_long(1), avro_long(2**61)):
        absurd = body[:at] + count + body[at:]
        extra = records.qualifying_data(host.fleet, host.name, marker["nonce"], absurd)
        attest, signature = host.tpm.quote(extra)
        head = {"kind": "avow", "attest": attest, "signature": signature, "body": absurd, "part": b"", "next": None}
        expect_drop(field, host, "parse", records.encode("evidence", head))
    assert rss_kib(field.site.workers["w1"].pid) - rss < 8 * 1024


def test_ad7_record_of_two_megabytes__refused_by_the_broker_or_dropped_unread(field):
    big = records.encode("evidence", {**field.evidence_of("bob")[-1][1], "part": bytes(2_000_000)})
    with pytest.raises((RuntimeError, KafkaException)):
        field.put("evidence", "bob", big)
    # An attacker with the broker's rights lifts its limit.
    admin = AdminClient({"bootstrap.servers": field.site.broker.bootstrap})
    limit = ConfigEntry("max.message.bytes", "4000000", incremental_operation=AlterConfigOpType.SET)
    topic = ConfigResource(ResourceType.TOPIC, "avow.evidence", incremental_configs=[limit])
    for done in admin.incremental_alter_configs([topic]).values():
        done.result(10)
    rss = rss_kib(field.site.workers["w1"].pid)
    lifted = Producer({"bootstrap.servers": field.site.broker.bootstrap, "message.max.bytes": 4_000_000, "log_level": 2})
    offsets = []
    lifted.produce("avow.evidence", big, b"bob", field.partition("bob"), on_delivery=lambda e, m: offsets.append((e, m)))
    lifted.flush(20)
    assert offsets and not offsets[0][0], offsets
    letter = field.dead_letter(field.partition("bob"), offsets[0][1].offset())
    assert letter["reason"] == "too_large"
    assert len(letter["excerpt"]) <= 256
    assert rss_kib(field.site.workers["w1"].pid) - rss < 16 * 1024


def test_ad8_unknown_schema__drop_schema_and_dead_letter(field):
    host = field.host("ad8")
    genuine = host.evidence(field.marker(host.partition))
    expect_drop(field, host, "schema", genuine[:2] + bytes(8) + genuine[10:])
    # Another record of ours is not an evidence either.
    marker = field.marker_record(host.partition)[1].value
    expect_drop(field, host, "schema", marker)


def test_ax6_poison_at_every_position_of_a_batch__once_and_the_neighbours_are_judged(field):
    host = field.host("ax6")
    for position in range(4):
        marker = field.marker(host.partition)
        batch = [host.evidence(marker) for _ in range(3)]
        batch.insert(position, batch[0][:-1])
        before = field.states(host.name)[-1]
        offsets = []
        for value in batch:  # without waiting for each other, so that the worker reads them together
            field.producer.produce(
                "avow.evidence", value, host.name.encode(), host.partition, on_delivery=lambda e, m: offsets.append(m.offset())
            )
        field.producer.flush(10)
        assert field.dead_letter(host.partition, offsets[position])["reason"] == "parse"
        field.settled(host.partition)
        state = field.wait_state(host.name, lambda s: s["appraised"] == before["appraised"] + 3, 10, "of the neighbours")
        assert state["status"] == "trusted" and state["seq"] > before["seq"]
    mine = [d["offset"] for d in field.view.dead_letters() if d["partition"] == host.partition and d["key"] == b"ax6"]
    assert len(mine) == len(set(mine)) == 4, "dead-lettered once"


# --- A stolen key that is still good; last, because it needs a worker that has served for a while


def test_af4_twin_by_a_stolen_live_key__evidence_accepted_and_alarm(field):
    host = field.host("af4")
    deadline = time.monotonic() + 30  # a worker that is new takes it for a marker of its predecessor
    while not field.alarms("epoch.twin"):
        assert time.monotonic() < deadline, "no alarm"
        marker = field.forge_marker(host.partition, field.worker, issued_ms=int(time.time() * 1000))
        state = field.judged(host.name, host.send(host.evidence(marker)))
        assert state["status"] == "trusted" and as_of(state) == marker["epoch"]
    assert field.alarms("epoch.twin")[0]["key"] == "fleet"
