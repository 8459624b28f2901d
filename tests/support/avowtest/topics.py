"""Reads topics with a client that is not ours (confluent-kafka), whole or as they grow."""

import threading
import time
from dataclasses import dataclass

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from . import records


@dataclass
class Record:
    topic: str
    partition: int
    offset: int
    key: bytes
    value: bytes
    seen: float  # time.monotonic() when it arrived here
    timestamp_ms: int


def consumer(bootstrap: str, isolation: str = "read_committed", fetch_ms: int = 20) -> Consumer:
    return Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "avowtest",  # demanded by the client; nothing is committed and no group is joined
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "isolation.level": isolation,
            "fetch.wait.max.ms": fetch_ms,
            "enable.partition.eof": False,
            "allow.auto.create.topics": False,
            "log_level": 2,
        }
    )


def partitions(c: Consumer, topic: str) -> list[int]:
    meta = c.list_topics(topic, timeout=10).topics.get(topic)
    if meta is None or meta.error:
        raise LookupError(f"no topic {topic}")
    return sorted(meta.partitions)


def _record(msg) -> Record:
    return Record(
        msg.topic(), msg.partition(), msg.offset(), msg.key() or b"", msg.value(), time.monotonic(), msg.timestamp()[1]
    )


def read(bootstrap: str, topic: str, isolation: str = "read_committed") -> list[Record]:
    """Every record from the start to the present end, in partition order."""
    c = consumer(bootstrap, isolation)
    out: list[Record] = []
    try:
        for p in partitions(c, topic):
            low, high = c.get_watermark_offsets(TopicPartition(topic, p), timeout=10)
            if low >= high:
                continue
            c.assign([TopicPartition(topic, p, low)])
            deadline = time.monotonic() + 20
            while c.position([TopicPartition(topic, p)])[0].offset < high:
                msg = c.poll(0.2)
                if msg is None:
                    # The position passes trailing control records only after a poll.
                    if time.monotonic() > deadline:
                        raise TimeoutError(f"{topic}[{p}]: the end {high} was not reached")
                    continue
                if msg.error():
                    raise KafkaException(msg.error())
                if msg.offset() >= high:
                    break
                out.append(_record(msg))
    finally:
        c.close()
    return out


class Follower:
    """Collects the records of some topics from the start on, in a thread of its own."""

    def __init__(self, bootstrap: str, names: list[str], isolation: str = "read_committed"):
        self._consumer = consumer(bootstrap, isolation)
        self._records: list[Record] = []
        self._changed = threading.Condition()
        self._stop = False
        self.error: Exception | None = None
        self._consumer.assign([TopicPartition(t, p, 0) for t in names for p in partitions(self._consumer, t)])
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            while not self._stop:
                msg = self._consumer.poll(0.1)
                if msg is None or (msg.error() and msg.error().code() == KafkaError._PARTITION_EOF):
                    continue
                if msg.error():
                    if msg.error().retriable() or msg.error().code() in (
                        KafkaError._TRANSPORT,
                        KafkaError._ALL_BROKERS_DOWN,
                    ):
                        continue
                    raise KafkaException(msg.error())
                with self._changed:
                    self._records.append(_record(msg))
                    self._changed.notify_all()
        except Exception as e:  # shown to whoever waits
            with self._changed:
                self.error = e
                self._changed.notify_all()
        finally:
            self._consumer.close()

    def all(self, topic: str) -> list[Record]:
        with self._changed:
            return [r for r in self._records if r.topic == topic]

    def wait(self, topic: str, match, timeout: float, what: str = "a record"):
        """The first truthy match(record) over the records of `topic`, old and new."""
        deadline = time.monotonic() + timeout
        seen = 0
        with self._changed:
            while True:
                if self.error:
                    raise self.error
                for r in self._records[seen:]:
                    seen += 1
                    if r.topic == topic and r.value is not None:
                        got = match(r)
                        if got:
                            return got
                left = deadline - time.monotonic()
                if left <= 0:
                    raise TimeoutError(f"{what}: not on {topic} within {timeout:g} s")
                self._changed.wait(left)

    def close(self) -> None:
        self._stop = True
        self._thread.join(10)


class View:
    """The signed records of an installation as a careful outsider sees them: verified, or an exception.

    With strict=False, for topics that an attacker writes to, what does not prove itself is skipped.
    """

    def __init__(self, bootstrap: str, prefix: str, root, strict: bool = True):
        self.bootstrap, self.prefix, self.root, self.strict = bootstrap, prefix, root, strict
        bundles = [r for r in read(bootstrap, prefix + "trust") if r.key == b"bundle" and r.value]
        self.trust = records.Trust(bundles[-1].value, root)
        self.follower = Follower(bootstrap, [prefix + t for t in ("verdicts", "revocations", "deadletter")])

    def open(self, r: Record) -> dict | None:
        try:
            return self.trust.open("worker", r.key, r.value)
        except records.Refused:
            if self.strict:
                raise
            return None

    def _all(self, topic: str, agent: str | None) -> list[dict]:
        mine = [
            r
            for r in self.follower.all(self.prefix + topic)
            if r.value is not None and (agent is None or r.key == agent.encode())
        ]
        return [fields for fields in map(self.open, mine) if fields]

    def _match(self, agent, accept):
        def match(r: Record):
            if agent is not None and r.key != agent.encode():
                return None
            fields = self.open(r)
            return (fields, r) if fields and accept(fields) else None

        return match

    def wait_verdict(self, agent: str, accept, timeout: float, what: str):
        return self.follower.wait(self.prefix + "verdicts", self._match(agent, accept), timeout, what)

    def wait_revocation(self, agent: str, accept, timeout: float, what: str):
        return self.follower.wait(self.prefix + "revocations", self._match(agent, accept), timeout, what)

    def revocations(self, agent: str | None = None) -> list[dict]:
        return self._all("revocations", agent)

    def verdicts(self, agent: str) -> list[dict]:
        return self._all("verdicts", agent)

    def dead_letters(self) -> list[dict]:
        return [records.decode(r.value)[1] for r in self.follower.all(self.prefix + "deadletter") if r.value]

    def close(self) -> None:
        self.follower.close()
