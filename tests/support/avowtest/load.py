"""Hosts that turn bad and good again all the time, so that every loss, twin and disorder of results shows."""

import threading
import time

from confluent_kafka import Producer

from .field import Field, SoftHost
from .forge import sha256

BAD = sha256(b"something that no policy allows")


class Load:
    """`with Load(field, 8) as load: ...; load.verify()`

    Each host goes through cycles of four evidences: good, bad, still bad, rebooted and good. Whatever happens to brokers
    and workers, readers must see a revocation and a recovery for each cycle, once, in this order.
    """

    def __init__(self, field: Field, count: int, prefix: str = "load", period: float = 0.25):
        self.field, self.period = field, period
        self.hosts = [SoftHost.make(field, f"{prefix}-{i}") for i in range(count)]
        self.cycles = {h.name: 0 for h in self.hosts}
        self.offsets: dict[str, int] = {}
        self.error: Exception | None = None
        self.producer = Producer(
            {
                "bootstrap.servers": field.site.broker.bootstrap,
                "enable.idempotence": True,
                "message.timeout.ms": 120_000,
                "linger.ms": 0,
                "log_level": 2,
            }
        )
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Load":
        for host in self.hosts:
            host.enrol()
        for host in self.hosts:
            self.field.wait_state(host.name, lambda s: True, 20, "of an enrolled host")
        self._until_trusted()
        self._thread.start()
        return self

    def _until_trusted(self) -> None:
        """Side by side, so that none falls silent while another one is waited for."""
        deadline = time.monotonic() + 40
        while waiting := [h for h in self.hosts if self.field.states(h.name)[-1]["status"] != "trusted"]:
            if time.monotonic() > deadline:
                raise TimeoutError(f"not trusted: {[h.name for h in waiting]}")
            for host in self.hosts:
                if host in waiting:
                    host.resync()
                self._send(host)
            time.sleep(0.3)

    def __exit__(self, *exc) -> None:
        self.stop()
        for host in self.hosts:  # nobody is to miss them
            host.enrol(status="removed")

    def stop(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(60)

    def _send(self, host: SoftHost) -> None:
        def delivered(error, msg):
            if error:
                self.error = RuntimeError(f"{host.name}: {error}")
            else:
                self.offsets[host.name] = msg.offset()

        value = host.evidence(self.field.marker(host.partition))
        self.producer.produce(
            self.field.prefix + "evidence", value, host.name.encode(), host.partition, on_delivery=delivered
        )
        self.producer.poll(0)

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                for step in range(4):
                    for host in self.hosts:
                        if step == 1:
                            host.measure("/usr/bin/evil", BAD)
                        elif step == 3:
                            host.reboot()
                        self._send(host)
                    self._pause()
                for host in self.hosts:
                    self.cycles[host.name] += 1
        except Exception as e:  # shown by verify
            self.error = e

    def _pause(self) -> None:
        time.sleep(self.period)

    def run(self, seconds: float) -> None:
        time.sleep(seconds)
        if self.error:
            raise self.error

    def verify(self, timeout: float = 60) -> dict:
        """Ends the load and compares what readers see with what was done."""
        self.stop()
        if self.producer.flush(timeout) or self.error:
            raise self.error or RuntimeError("evidence was not delivered")
        for host in self.hosts:
            last = self.field.judged(host.name, self.offsets[host.name], timeout)
            assert last["status"] == "trusted", last["findings"]
        for host in self.hosts:
            self._verify(host.name)
        return {"cycles": sum(self.cycles.values()), "evidences": 4 * sum(self.cycles.values())}

    def _verify(self, name: str) -> None:
        want = ["revocation", "recovery"] * self.cycles[name]
        self.field.view.wait_revocation(name, lambda r: r["transitions"] == 1 + len(want), 15, f"the last event of {name}")
        events = [r for r in self.field.view.revocations(name) if r["class"] != "alarm"]
        assert [r["class"] for r in events] == want, f"{name}: {[r['class'] for r in events]}"
        assert len({r["id"] for r in events}) == len(events), f"{name}: twins"
        transitions = [r["transitions"] for r in events]
        assert transitions == list(range(2, 2 + len(want))), f"{name}: {transitions}"
        seqs = [v["seq"] for v in self.field.view.verdicts(name)]
        assert seqs == sorted(set(seqs)), f"{name}: a verdict came twice or out of order: {seqs}"
