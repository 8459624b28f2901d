"""A running installation and an attacker in it, who may read and write every topic."""

import time
from collections import Counter

from confluent_kafka import Consumer, Producer, TopicPartition

from . import records, topics
from .forge import Machine, Signer, SoftTpm, bundle_key, partition_of, seal, sha256

GROUP = "avow-workers"
FLAGS = (
    "allow_padded",
    "allow_kexec",
    "allow_log_trimmed",
    "allow_violations",
    "allow_tomtou",
    "allow_hibernate",
    "check_signatures",
    "strict_excludes",
)


def as_of(state: dict) -> int:
    """The epoch up to which a state is proven; -1: none."""
    return state["as_of"]["epoch"] if state["as_of"] else -1


def entries(state: dict) -> int:
    """How many IMA entries it has proven."""
    return state["ima"]["proven_count"] if state["ima"] else 0


class Bundle:
    """The trust bundle of an installation, to be changed and signed again with its root key."""

    def __init__(self, folder):
        self.path, self.root = folder / "root" / "bundle.avro", Signer.load(folder / "root" / "root.key")
        self.fields = records.decode(self.path.read_bytes())[1]

    def add(self, signer: Signer, *roles: str, status: str = "active") -> None:
        self.fields["keys"].append(bundle_key(signer, *roles, status=status))

    def set_status(self, signer: Signer, status: str) -> None:
        next(k for k in self.fields["keys"] if k["id"] == signer.id)["status"] = status

    def value(self, signer: Signer | None = None, **changes) -> bytes:
        return seal("bundle", {**self.fields, **changes}, signer or self.root)

    def save(self) -> None:
        """For `avow topics apply`, and for the programs that read the file."""
        self.path.write_bytes(self.value())


class Field:
    def __init__(self, site, view: topics.View, prefix: str = "avow."):
        self.site, self.view, self.prefix = site, view, prefix
        self.partitions = site.partitions
        self.fleet = view.trust.bundle["fleet"]
        self.tenant = Signer.load(site.dir / "tenant" / "sign.pem")
        self.worker = Signer.load(site.dir / "worker" / "sign.pem")
        self.registrar = Signer.load(site.dir / "registrar" / "sign.pem")
        self.macs = [(site.dir / "worker" / "mac.key").read_bytes()]
        bootstrap = site.broker.bootstrap
        self.bundle = Bundle(site.dir)
        self.producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 0, "log_level": 2})
        self.group = Consumer({"bootstrap.servers": bootstrap, "group.id": GROUP, "log_level": 2})
        self.watch = topics.Follower(bootstrap, [prefix + t for t in ("epochs", "evidence", "state")])
        self.soft: list[SoftHost] = []

    def close(self) -> None:
        self.watch.close()
        self.group.close()
        self.producer.flush(5)

    # --- Writing

    def partition(self, key: str) -> int:
        return partition_of(key.encode(), self.partitions)

    def name_in(self, partition: int, prefix: str) -> str:
        """A name that lies in this partition."""
        return next(n for i in range(1000) if self.partition(n := f"{prefix}-{i}") == partition)

    def newest_enrolment(self, agent: str) -> bytes:
        """The record as it was written."""
        found = topics.read(self.site.broker.bootstrap, self.prefix + "enrollments")
        return [r.value for r in found if r.key == agent.encode() and r.value is not None][-1]

    def put(self, topic: str, key: str | bytes, value: bytes | None, partition: int | None = None) -> int:
        """Produces one record and returns its offset."""
        key = key.encode() if isinstance(key, str) else key
        done = []
        self.producer.produce(
            self.prefix + topic,
            key=key,
            value=value,
            partition=partition_of(key, self.partitions) if partition is None else partition,
            on_delivery=lambda err, msg: done.append((err, msg)),
        )
        self.producer.flush(20)
        if not done or done[0][0]:
            raise RuntimeError(f"{topic}: {done[0][0] if done else 'no answer'}")
        return done[0][1].offset()

    # --- Reading

    def leader(self, topic: str, partition: int) -> int:
        """The number of the broker that leads a partition."""
        meta = self.group.list_topics(self.prefix + topic, timeout=10).topics[self.prefix + topic]
        return meta.partitions[partition].leader

    def newest(self, topic: str, key: str) -> topics.Record:
        return [r for r in self.watch.all(self.prefix + topic) if r.key == key.encode() and r.value is not None][-1]

    def forge_marker(self, partition: int, signer: Signer, **changes) -> dict:
        """A marker for the present epoch, put on the topic as workers do it; workers have had the time to read it."""
        nonce = sha256(signer.id, str(time.monotonic_ns()).encode())
        marker = {**self.marker(partition), "nonce": nonce, "owner": "avow.x.mallory.0", **changes}
        self.put("epochs", "marker", seal("marker", marker, signer), partition)
        time.sleep(0.5)  # they read markers and evidence side by side
        return marker

    def forge_resync(self, agent: str, signer: Signer | None, **changes) -> bytes:
        """A directive to send everything; returns the record."""
        partition = self.partition(agent)
        directive = {
            "fleet": self.fleet,
            "key": agent,
            "partition": partition,
            "epoch": self.marker(partition)["epoch"],
            "id": sha256(agent.encode(), str(time.monotonic_ns()).encode())[:16],
            "kind": ("avow.Resync", {"ima_from": 0, "boot_log": False, "pcrs": True}),
            **changes,
        }
        value = seal("directive", directive, signer)
        self.put("epochs", agent, value, partition)
        return value

    def agent_answers(self, agent: str, marker: dict) -> bool:
        """Whether a running agent uses this marker, now that it has to attest at once, because its list grows."""
        tag, before = sha256(marker["nonce"])[:8], len(self.evidence_of(agent))
        self.grow(agent)
        self.wait_evidence(agent, lambda r, b: len(self.evidence_of(agent)) > before, 10, "of a grown list")
        return any(b["marker_tag"] == tag for _, _, b in self.evidence_of(agent))

    def grow(self, agent: str) -> None:
        """The list of a real host grows by an entry that the policy allows."""
        self.site.hosts[agent].ima("add", "/usr/bin/two", sha256(b"two").hex())

    def genuine_marker(self, r: topics.Record) -> dict | None:
        """Fields of a marker that a worker signed for this partition."""
        if r.key != b"marker" or r.value is None:
            return None
        try:
            marker = self.view.trust.open("worker", r.key, r.value)
        except records.Refused:
            return None
        return marker if marker["partition"] == r.partition else None

    def marker(self, partition: int, after: int = -1, timeout: float = 15) -> dict:
        """The newest one with a higher epoch than `after`."""
        return self.marker_record(partition, after, timeout)[0]

    def marker_record(self, partition: int, after: int = -1, timeout: float = 15) -> tuple[dict, topics.Record]:
        deadline = time.monotonic() + timeout
        while True:
            for r in reversed(self.watch.all(self.prefix + "epochs")):
                marker = self.genuine_marker(r) if r.partition == partition else None
                if marker:
                    if marker["epoch"] > after:
                        return marker, r
                    break
            if time.monotonic() > deadline:
                raise TimeoutError(f"partition {partition}: no marker after epoch {after}")
            time.sleep(0.02)

    def evidence_of(self, agent: str) -> list[tuple[topics.Record, dict, dict]]:
        """(record, evidence, body) of what lies under the agent's key and decodes."""
        out = []
        for r in self.watch.all(self.prefix + "evidence"):
            if r.key != agent.encode() or r.value is None:
                continue
            try:
                name, fields = records.decode(r.value)
                out.append((r, fields, records.decode(fields["body"])[1]))
            except Exception:  # whatever an attacker wrote
                continue
        return out

    def wait_evidence(self, agent: str, accept, timeout: float, what: str) -> dict:
        """The body of an evidence of this agent that accept(body) takes."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            for r, _, body in self.evidence_of(agent):
                if accept(r, body):
                    return body
            time.sleep(0.05)
        raise TimeoutError(f"{agent}: no evidence {what} within {timeout:g} s")

    def directives(self, agent: str) -> list[dict]:
        found = []
        for r in self.watch.all(self.prefix + "epochs"):
            if r.key == agent.encode() and r.value is not None:
                try:
                    found.append(self.view.trust.open("worker", r.key, r.value))
                except records.Refused:
                    continue
        return found

    def states(self, agent: str) -> list[dict]:
        """Those that workers wrote."""
        out = []
        for r in self.watch.all(self.prefix + "state"):
            if r.key == agent.encode() and r.value is not None:
                if any(records.is_mac_by(r.value, key) for key in self.macs):
                    out.append(records.decode(r.value)[1])
        return out

    def wait_state(self, agent: str, accept, timeout: float, what: str) -> dict:
        deadline = time.monotonic() + timeout
        while True:
            states = self.states(agent)
            for s in reversed(states):
                if accept(s):
                    return s
            if time.monotonic() > deadline:
                last = {k: states[-1][k] for k in ("status", "epoch", "findings", "dropped")} if states else None
                raise TimeoutError(f"{agent}: no state {what} within {timeout:g} s; the last one: {last}")
            time.sleep(0.02)

    def judged(self, agent: str, offset: int, timeout: float = 15) -> dict:
        """The state that this evidence led to."""
        return self.wait_state(
            agent, lambda s: s["evidence"] and s["evidence"]["offset"] == offset, timeout, f"of evidence {offset}"
        )

    def unharmed(self, agent: str) -> None:
        """It is trusted as of now, give or take a heartbeat, and never was anything else."""
        assert self.events(agent) == [], f"{agent} was harmed"
        now = self.marker(self.partition(agent))["epoch"]
        beats = -(-self.site.intervals.heartbeat * 12 // (10 * self.site.intervals.epoch)) + 1
        self.wait_state(agent, lambda s: as_of(s) >= now - beats, 8, f"as of epoch {now - beats} or later")
        assert self.states(agent)[-1]["status"] == "trusted"

    def settled(self, partition: int, timeout: float = 30) -> int:
        """Waits until workers have committed everything that lies in this partition of evidence; its end."""
        topic, deadline = self.prefix + "evidence", time.monotonic() + timeout
        end = self.group.get_watermark_offsets(TopicPartition(topic, partition), timeout=10)[1]
        while True:
            done = self.group.committed([TopicPartition(topic, partition)], timeout=10)[0].offset
            if done >= end:
                return end
            if time.monotonic() > deadline:
                raise TimeoutError(f"evidence[{partition}]: {done} of {end} after {timeout:g} s")
            time.sleep(0.05)

    def dead_letter(self, partition: int, offset: int, timeout: float = 15) -> dict:
        def match(r):
            d = records.decode(r.value)[1]
            at = (d["topic"], d["partition"], d["offset"])
            return d if at == (self.prefix + "evidence", partition, offset) else None

        what = f"dead letter of evidence {partition}:{offset}"
        return self.view.follower.wait(self.prefix + "deadletter", match, timeout, what)

    def expect_drop(self, reason: str, key: str, value: bytes | None, partition: int | None = None) -> None:
        """Produces evidence that must be dropped for this reason: dead-lettered, and the offset advances."""
        partition = self.partition(key) if partition is None else partition
        offset = self.put("evidence", key, value, partition)
        letter = self.dead_letter(partition, offset)
        assert letter["reason"] == reason, f"dropped for {letter['reason']}, not for {reason}"
        assert letter["sha256"] == sha256(value or b"")
        self.settled(partition)

    def alarms(self, event: str) -> list[dict]:
        return [r for r in self.view.revocations() if r["class"] == "alarm" and r["event_id"] == event]

    def wait_alarm(self, event: str, timeout: float = 20, accept=lambda r: True, key: str | None = None) -> dict:
        return self.view.wait_revocation(
            key, lambda r: r["class"] == "alarm" and r["event_id"] == event and accept(r), timeout, f"alarm {event}"
        )[0]

    def events(self, agent: str) -> list[str]:
        return [r["class"] for r in self.view.revocations(agent) if r["class"] != "alarm"]

    def expect_events(self, agent: str, *classes: str) -> None:
        """Exactly these, in this order; what was committed may reach this reader a moment later."""
        deadline = time.monotonic() + 10
        while (events := self.events(agent)) != list(classes):
            if len(events) >= len(classes) or time.monotonic() > deadline:
                raise AssertionError(f"{agent}: {events}, not {list(classes)}")
            time.sleep(0.05)

    def dead_letters(self, agents) -> list[dict]:
        keys = {a.encode() for a in agents}
        return [d for d in self.view.dead_letters() if d["key"] in keys]

    # --- Workers

    def stop_worker(self, name: str = "w1") -> None:
        assert self.site.workers[name].stop() == 0

    def start_worker(self, name: str = "w1", timeout: float = 30) -> None:
        self.site.start_worker(name).wait_output("ready", timeout)

    # --- Hosts of the attacker's own

    def host(self, name: str, policy: str | None = "good", tpm=None, **enrolment) -> "SoftHost":
        """A host with a key of the attacker's choice, enrolled, and trusted."""
        host = SoftHost(self, name, tpm or SoftTpm(), policy)
        self.join(host, **enrolment)
        return host

    def join(self, host: "SoftHost", **enrolment) -> None:
        self.soft.append(host)
        host.enrol(**enrolment)
        self.wait_state(host.name, lambda s: True, 15, "of an enrolled host")
        host.expect_trusted()

    def retire(self) -> None:
        """Ends the enrolments of all hosts made so far, so that nobody misses them."""
        for host in self.soft:
            host.enrol(status="removed")
        self.soft.clear()


class SoftHost(Machine):
    def __init__(self, field: Field, name: str, tpm, policy: str | None):
        super().__init__(name, field.fleet, tpm)
        self.field, self.policy, self.generation, self.obeyed = field, policy, 0, 0
        self.partition = field.partition(name)

    @classmethod
    def make(cls, field: Field, name: str) -> "SoftHost":
        """One that is not enrolled yet."""
        return cls(field, name, SoftTpm(), "good")

    # --- Enrolment

    def enrolment(self, **changes) -> dict:
        return {
            "fleet": self.fleet,
            "key": self.name,
            "generation": self.generation,
            "status": "active",
            "issued_ms": int(time.time() * 1000),
            "ak_public": self.tpm.ak_public,
            "ek_name": None,
            "ek_cert_serial": None,
            "qualified_signers": [],
            "kinds": ["avow"],
            "sign_algs": ["ecdsa"],
            "sign_hashes": ["sha256"],
            "banks": ["sha256"],
            "ima_pcrs": [10],
            "runtime_policy": {"name": self.policy, "sha256": None} if self.policy else None,
            "boot_policy": None,
            "verify_keys": None,
            "severity": None,
            "pcrs": [],
            "flags": {f: False for f in FLAGS},
            "heartbeat_ms": 0,
            "silent_after_ms": 0,
            "validity_ms": 0,
            "recovery": "auto",
            "paused_until_ms": 0,
            "payload": None,
            "metadata": "",
            **changes,
        }

    def enrol(self, **changes) -> None:
        """A good enrolment of the next generation."""
        self.generation += 1
        self.field.put("enrollments", self.name, seal("enrollment", self.enrolment(**changes), self.field.tenant))

    def renew(self, **changes) -> None:
        """Another enrolment of a host that attests already: workers ask it to attest under it."""
        asked = len(self.field.directives(self.name))
        self.enrol(**changes)
        deadline = time.monotonic() + 15
        while len(self.field.directives(self.name)) == asked:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.name}: not asked to attest under generation {self.generation}")
            time.sleep(0.02)

    def forge_enrolment(self, signer: Signer | None, key: str | None = None, **changes) -> None:
        """One that is not acceptable, and would be noticed if it were accepted: it demands another bank."""
        value = seal("enrollment", self.enrolment(banks=["sha384"], **changes), signer)
        self.field.put("enrollments", key or self.name, value)

    # --- Attesting

    def obey(self) -> None:
        for d in self.field.directives(self.name)[self.obeyed :]:
            self.obeyed += 1
            if "ima_from" in d["kind"]:
                self.resync(d["kind"]["ima_from"])

    def send(self, value: bytes) -> int:
        return self.field.put("evidence", self.name, value)

    def attest(self, after: int = -1, timeout: float = 15, **changes) -> dict:
        """Answers the newest marker, of a later epoch than `after`, and returns the state that came of it."""
        self.obey()
        marker = self.field.marker(self.partition, after)
        return self.field.judged(self.name, self.send(self.evidence(marker, **changes)), timeout)

    def expect_trusted(self, after: int = -1) -> dict:
        """Attests, and is trusted as of the marker that it answered."""
        deadline = time.monotonic() + 15
        while True:
            state = self.attest(after)
            if state["status"] == "trusted" and as_of(state) == state["epoch"]:
                return state
            # Right after the enrolment the worker may not have read it, or the policy; then it asks again.
            assert state["status"] == "pending" and time.monotonic() < deadline, state["findings"] or state["status"]
            self.resync()

    def dropped(self) -> Counter:
        """How many were dropped for which reason, as the newest state says."""
        return Counter({d["reason"]: d["count"] for d in self.field.states(self.name)[-1]["dropped"]})

    def flip(self, value: bytes, name: str, at: int = -1) -> bytes:
        """The evidence with one bit of a field altered."""
        fields = records.decode(value)[1]
        data = bytearray(fields[name])
        data[at] ^= 1
        return records.encode("evidence", {**fields, name: bytes(data)})
