"""Compressed batches that become far larger than anybody may be made to hold, on a real Kafka (docs/KAFKA.md)."""

import time

import pytest
from avowtest import topics
from avowtest.field import Field
from confluent_kafka import Producer

MIB = 1024 * 1024
ROOM = 48 * MIB  # more than a batch may become, much less than the bombs do


@pytest.fixture(scope="module")
def lean():
    """AddressSanitizer, if it is built in, does not keep hundreds of megabytes that were given back."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ASAN_OPTIONS", "quarantine_size_mb=8")
        yield


@pytest.fixture(scope="module")
def field(lean, module_site):
    t = module_site()
    field = Field(t.site, t.view)
    field.thread = t
    field.watch.close()  # no client of ours gets past a bomb of zstd: the tests do not read evidence
    field.watch = topics.Follower(t.site.broker.bootstrap, [field.prefix + name for name in ("epochs", "state")])
    yield field
    field.close()


def bomb(field, topic: str, partition: int, codec: str, records: int, size: int, key: str = "bomb") -> list[int]:
    """One compressed batch, within what the broker accepts; the offsets of its records."""
    producer = Producer(
        {
            "bootstrap.servers": field.site.broker.bootstrap,
            "compression.type": codec,
            "linger.ms": 2000,
            "batch.size": 512 * MIB,
            "message.max.bytes": 512 * MIB,
            "queue.buffering.max.kbytes": 1024 * 1024,
            "log_level": 2,
        }
    )
    done = []
    value = bytes(size)
    for _ in range(records):
        producer.produce(
            field.prefix + topic, key=key, value=value, partition=partition, on_delivery=lambda e, m: done.append((e, m))
        )
    producer.flush(60)
    assert len(done) == records and not any(e for e, _ in done), done[:1]
    offsets = sorted(m.offset() for _, m in done)
    assert offsets == list(range(offsets[0], offsets[0] + records))
    return offsets


def peak_bytes(pid: int) -> int:
    with open(f"/proc/{pid}/status") as f:
        return 1024 * int(next(line for line in f if line.startswith("VmHWM:")).split()[1])


def neighbours(field, name: str, count: int):
    """Hosts of one partition, each with good evidence at hand."""
    partition = 2
    hosts = [field.host(field.name_in(partition, f"{name}-{i}")) for i in range(count)]
    marker = field.marker(partition)
    return partition, hosts, [h.evidence(marker) for h in hosts]


def judged(field, hosts, offsets):
    for host, offset in zip(hosts, offsets):
        assert field.judged(host.name, offset, 60)["status"] == "trusted"
        assert field.events(host.name) == []


@pytest.mark.parametrize("codec", ["gzip", "lz4", "zstd"])
@pytest.mark.parametrize("records, size", [(1, 100 * MIB), (100, MIB)])
def test_bomb_in_evidence__passed_over_and_neighbours_are_judged(field, codec, records, size):
    partition, hosts, values = neighbours(field, f"{codec}-{records}", 2)
    worker = field.site.workers["w1"]
    before = peak_bytes(worker.pid)
    first = hosts[0].send(values[0])
    offsets = bomb(field, "evidence", partition, codec, records, size)
    second = hosts[1].send(values[1])
    judged(field, hosts, [first, second])
    letter = field.dead_letter(partition, offsets[0])
    assert (letter["reason"], letter["excerpt"]) == ("too_large", b"")
    alarm = field.wait_alarm(
        "evidence.unreadable", accept=lambda r: f"evidence {offsets[0]} to {offsets[-1]} " in r["findings"][0]["detail"]
    )
    assert alarm["key"] == "fleet"
    assert worker.running() and peak_bytes(worker.pid) - before < ROOM
    field.retire()


def test_bombs_one_after_another__good_evidence_between_them_is_judged(field):
    """Also when they lie there already when the worker comes."""
    partition, hosts, values = neighbours(field, "between", 3)
    field.stop_worker()
    offsets = []
    for host, value, codec in zip(hosts, values, ("gzip", "zstd", "lz4")):
        bomb(field, "evidence", partition, codec, 5, 20 * MIB)
        offsets.append(host.send(value))
    bomb(field, "evidence", partition, "gzip", 3, 20 * MIB)
    field.start_worker()
    judged(field, hosts, offsets)
    field.settled(partition)
    field.retire()


def test_snappy__grows_little__each_record_is_dropped(field):
    partition, hosts, values = neighbours(field, "snappy", 1)
    offsets = bomb(field, "evidence", partition, "snappy", 8, 2 * MIB)
    offset = hosts[0].send(values[0])
    judged(field, hosts, [offset])
    assert field.dead_letter(partition, offsets[0])["reason"] == "too_large"
    field.retire()


@pytest.mark.parametrize("topic, partition", [("enrollments", 2), ("policies", 0), ("trust", 0), ("epochs", 2), ("state", 2)])
def test_bomb_in_another_topic__workers_start_all_the_same(field, topic, partition):
    host = field.host(field.name_in(2, f"start-{topic}"))
    bomb(field, topic, partition, "gzip", 3, 20 * MIB, key="nobody")
    field.stop_worker()
    field.start_worker(timeout=60)
    deadline = time.monotonic() + 30
    while "records_unreadable" not in field.site.workers["w1"].output():
        assert time.monotonic() < deadline, "the batch was not met"
        time.sleep(0.1)
    host.expect_trusted()
    field.retire()
