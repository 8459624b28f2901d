"""A whole installation on this machine: broker, software TPMs, registrar, workers, agents, and the CLI to drive them."""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from .proc import Proc, free_port

ROOT = Path(__file__).resolve().parents[3]
SUPPORT = ROOT / "tests" / "support"


class CliError(Exception):
    def __init__(self, args, code, stdout, stderr):
        super().__init__(f"avow {' '.join(args)}: exit {code}: {stderr.strip() or stdout.strip()}")
        self.code, self.stdout, self.stderr = code, stdout, stderr


@dataclass
class Intervals:
    """Milliseconds; short ones for tests, all within PROTOCOL R29."""

    epoch: int = 1000
    heartbeat: int = 2000
    silent_after: int = 8000
    validity: int = 9000
    verdict_refresh: int = 3000
    min_interval: int = 100

    def options(self) -> list[str]:
        out = []
        for name in ("epoch", "heartbeat", "silent_after", "validity", "verdict_refresh", "min_interval"):
            out += [f"--{name.replace('_', '-')}-ms", str(getattr(self, name))]
        return out


class Broker:
    bootstrap: str
    guarantee = "exactly_once"

    def stop(self) -> None: ...


class KafkaBroker(Broker):
    """A real Apache Kafka, one node or three, in a folder of its own."""

    def __init__(self, folder: Path, nodes: int = 1, port: int | None = None):
        self.script = SUPPORT / "kafka" / "kafka.sh"
        self.env = {
            **os.environ,
            "KAFKA_ROOT": str(folder),
            "KAFKA_LIB": str(ROOT / "build" / "kafka" / "lib"),
            "KAFKA_WATCH": str(os.getpid()),
        }
        self.call("fetch", timeout=600)
        at = [str(port)] if port else []
        self.bootstrap = self.call("start", str(nodes), *at).strip().splitlines()[-1]

    def call(self, *args: str, timeout: float = 120) -> str:
        done = subprocess.run(
            [self.script, *args], env=self.env, capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL
        )
        if done.returncode:
            raise RuntimeError(f"kafka.sh {' '.join(args)}: {done.stderr.strip()}")
        return done.stdout

    def stop(self) -> None:
        self.call("stop")


class DevBroker(Broker):
    """The embedded broker: volatile, and its transactions do nothing."""

    guarantee = "at_least_once"

    def __init__(self, folder: Path, bin_dir: Path, partitions: int):
        port = free_port()
        self.bootstrap = f"127.0.0.1:{port}"
        ready = folder / "devbroker.ready"
        self.proc = Proc(
            "devbroker",
            [bin_dir / "avow-devbroker", "--port", port, "--partitions", partitions, "--ready-file", ready],
            folder / "devbroker.log",
        )
        wait_for(ready.exists, 10, "the embedded broker", self.proc)

    def stop(self) -> None:
        self.proc.stop()


def wait_for(condition, timeout: float, what: str, proc: Proc | None = None):
    deadline = time.monotonic() + timeout
    while True:
        got = condition()
        if got:
            return got
        if proc and not proc.running():
            raise RuntimeError(f"{proc.name} ended: {proc.output()[-2000:]}")
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {timeout:g} s" + (f": {proc.output()[-1500:]}" if proc else ""))
        time.sleep(0.05)


@dataclass
class Host:
    """One attested host: a software TPM, an IMA list that really extends PCR 10, and an agent."""

    site: "Site"
    name: str
    tcti: str
    folder: Path
    agent: Proc | None = None
    settings: dict[str, str] = field(default_factory=dict)
    proxy: Proc | None = None

    @property
    def ima_log(self) -> Path:
        return self.folder / "ima" / "binary_runtime_measurements"

    def ima(self, *args: str) -> str:
        return self.site.run("avow-ima-emulator", "--tcti", self.tcti, "--list", str(self.ima_log), *args)

    def slow_tpm(self, quote_delay_ms: int) -> None:
        """From now on quotes take that much longer, and several clients may hold a connection to the TPM."""
        upstream = self.tcti.removeprefix("swtpm:path=")
        listen = str(Path(upstream).with_name("slow.sock"))
        self.proxy = Proc(
            f"tpm proxy {self.name}",
            [sys.executable, "-m", "avowtest.tpmproxy", upstream, listen, quote_delay_ms],
            self.folder / "proxy.log",
            env={"PYTHONPATH": str(SUPPORT)},
        )
        self.proxy.wait_output("ready", 10)
        self.tcti = f"swtpm:path={listen}"

    def ima_stream(self) -> subprocess.Popen:
        """The emulator, measuring what is written to its standard input: lines of DIGEST PATH."""
        return subprocess.Popen(
            [self.site.bin / "avow-ima-emulator", "--tcti", self.tcti, "--list", self.ima_log, "stream"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
        )

    def file(self, name: str, content: bytes) -> Path:
        path = self.folder / "root" / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def agent_command(self, **settings: str) -> list[str]:
        """settings: section__key=value; kept for later starts."""
        self.settings.update(settings)
        values = {
            "agent.id": self.name,
            "agent.state_dir": self.folder / "state",
            "agent.run_dir": self.folder / "run",
            "agent.ima_log": self.ima_log,
            "agent.uefi_log": self.folder / "none",
            "agent.boot_id_file": self.folder / "boot_id",
            "tpm.tcti": self.tcti,
            **{k.replace("__", "."): v for k, v in self.settings.items()},
        }
        sets = [word for k, v in values.items() for word in ("--set", f"{k}={v}")]
        return [str(w) for w in (self.site.bin / "avow-agent", "--config", self.site.dir / "conf" / "agent.conf", *sets)]

    def start_agent(self, env: dict[str, str] | None = None, **settings: str) -> Proc:
        command = self.agent_command(**settings)
        self.agent = Proc(f"agent {self.name}", command, self.folder / "agent.log", env)
        return self.agent


class Site:
    """`with Site(...) as site:` ends everything that it started, in any case."""

    def __init__(
        self,
        folder: Path,
        bin_dir: Path,
        kafka: bool = True,
        nodes: int = 1,
        partitions: int = 4,
        intervals: Intervals | None = None,
    ):
        self.folder, self.bin = Path(folder), Path(bin_dir)
        self.kafka, self.nodes, self.partitions = kafka, nodes, partitions
        self.intervals = intervals or Intervals()
        self.dir = self.folder / "site"
        self.hosts: dict[str, Host] = {}
        self.workers: dict[str, Proc] = {}
        self.registrar: Proc | None = None
        self.broker: Broker | None = None
        self.registrar_port = self.registrar_https_port = 0

    # --- life

    def __enter__(self) -> "Site":
        self.folder.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, *exc) -> None:
        self.close()

    def close(self) -> None:
        procs = [h.agent for h in self.hosts.values()] + list(self.workers.values()) + [self.registrar]
        procs += [h.proxy for h in self.hosts.values()]
        for proc in procs:
            if proc:
                proc.kill()
        for host in self.hosts.values():
            self.swtpm("stop", host.folder / "tpm")
        if self.broker:
            self.broker.stop()

    # --- tools

    def run(self, program: str, *args: str, timeout: float = 60) -> str:
        done = subprocess.run(
            [self.bin / program, *args], capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL
        )
        if done.returncode:
            raise RuntimeError(f"{program} {' '.join(args)}: exit {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def cli(self, *args: str, timeout: float = 150, config: bool = True) -> subprocess.CompletedProcess:
        """Runs avow; a failure is the caller's to judge."""
        head = [self.bin / "avow"] + (["--config", self.dir / "conf" / "avow.conf"] if config else [])
        return subprocess.run(
            [str(a) for a in [*head, *args]], capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL
        )

    def avow(self, *args: str, **kw) -> str:
        done = self.cli(*args, **kw)
        if done.returncode:
            raise CliError([str(a) for a in args], done.returncode, done.stdout, done.stderr)
        return done.stdout

    def swtpm(self, *args) -> str:
        done = subprocess.run(
            [SUPPORT / "swtpm.sh", *[str(a) for a in args]],
            capture_output=True,
            text=True,
            timeout=60,
            stdin=subprocess.DEVNULL,
        )
        if done.returncode:
            raise RuntimeError(f"swtpm.sh {' '.join(map(str, args))}: {done.stderr.strip()}")
        return done.stdout.strip()

    # --- parts

    def start_broker(self) -> None:
        if self.kafka:
            self.broker = KafkaBroker(self.folder / "kafka", self.nodes)
        else:
            self.broker = DevBroker(self.folder, self.bin, self.partitions)

    def init(self) -> None:
        self.registrar_port, self.registrar_https_port = free_port(), free_port()
        self.avow(
            "init",
            str(self.dir),
            "--partitions",
            str(self.partitions),
            "--bootstrap",
            self.broker.bootstrap,
            "--registrar-url",
            f"http://127.0.0.1:{self.registrar_port}",
            *self.intervals.options(),
            config=False,
        )
        self.store_vendor_ca()

    def store_vendor_ca(self) -> None:
        """What an operator does once per TPM vendor: its CA goes into the store that EK chains are checked against.

        The vendor's CA comes into being with its first TPM.
        """
        self.swtpm("start", self.folder / "tpm-ca" / "first", self.folder / "tpm-ca")
        self.swtpm("kill", self.folder / "tpm-ca" / "first")
        self.swtpm("store", self.folder / "tpm-ca", self.dir / "ek-ca")

    def apply_topics(self) -> str:
        return self.avow("topics", "apply", "--replication", str(self.nodes))

    def start_registrar(self) -> Proc:
        self.registrar = Proc(
            "registrar",
            [
                self.bin / "avow-registrar",
                "--config",
                self.dir / "conf" / "registrar.conf",
                "--set",
                f"registrar.http_listen=127.0.0.1:{self.registrar_port}",
                "--set",
                f"registrar.https_listen=127.0.0.1:{self.registrar_https_port}",
            ],
            self.folder / "registrar.log",
        )
        return self.registrar

    def start_worker(self, name: str = "w1", env: dict[str, str] | None = None, **settings: str) -> Proc:
        values = {
            "worker.instance": name,
            "processing.guarantee": self.broker.guarantee,
            **{k.replace("__", "."): v for k, v in settings.items()},
        }
        sets = [word for k, v in values.items() for word in ("--set", f"{k}={v}")]
        self.workers[name] = Proc(
            f"worker {name}",
            [self.bin / "avow-worker", "--config", self.dir / "conf" / "worker.conf", *sets],
            self.folder / f"worker-{name}.log",
            env,
        )
        return self.workers[name]

    def add_host(self, name: str, booted: bool = True) -> Host:
        """booted: the list begins at once; else the caller extends PCR 0-9 first."""
        folder = self.folder / "hosts" / name
        (folder / "ima").mkdir(parents=True)
        (folder / "run").mkdir()
        tcti = self.swtpm("start", folder / "tpm", self.folder / "tpm-ca")
        host = Host(self, name, tcti, folder)
        self.hosts[name] = host
        (folder / "boot_id").write_text(Path("/proc/sys/kernel/random/uuid").read_text())
        if booted:
            host.ima("init")
        return host

    def enrol(self, name: str, *options: str, timeout: float = 15) -> str:
        """`agent add`, once the registrar's outbox has reached the topic: exit 5 means not yet."""
        deadline = time.monotonic() + timeout
        while True:
            done = self.cli("agent", "add", name, *options)
            if done.returncode != 5 or time.monotonic() > deadline:
                break
            time.sleep(0.2)
        if done.returncode:
            raise CliError(["agent", "add", name], done.returncode, done.stdout, done.stderr)
        return done.stdout

    def push_policy(self, name: str, policy: dict) -> str:
        path = self.folder / f"policy-{name}.json"
        path.write_text(json.dumps(policy))
        return self.avow("policy", "push", name, str(path))


def runtime_policy(digests: dict[str, list[str]], excludes: list[str] | None = None) -> dict:
    """A Keylime runtime policy. boot_aggregate is judged from the quoted PCRs, so it need not be listed."""
    return {
        "meta": {"version": 1, "generator": 0},
        "release": 0,
        "digests": digests,
        "excludes": excludes or [],
        "keyrings": {},
        "ima": {"ignored_keyrings": [], "log_hash_alg": "sha256", "dm_policy": None},
        "ima-buf": {},
        "verification-keys": "",
    }
