"""Virtual machines with a measured boot as hosts of an installation: vm.sh in Python, and policies from what IMA
measured."""

import os
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

from avowtest.site import ROOT, Intervals, Site, runtime_policy, wait_for
from avowtest.topics import View

HERE = Path(__file__).resolve().parent
IMAGE = Path(os.environ.get("VM_DIR", ROOT / "build" / "vm"))
SCRIPT = HERE / "vm.sh"
IMA_LIST = "/sys/kernel/security/ima/binary_runtime_measurements"
BOOT_LOG = "/sys/kernel/security/tpm0/binary_bios_measurements"

# A boot takes ten seconds without acceleration, and minutes on a host that is busy: these tests are not about silence.
INTERVALS = Intervals(epoch=1000, heartbeat=3000, silent_after=600_000, validity=20_000, verdict_refresh=3000)


def vm(*args, machines: Path | None = None, timeout: float = 360, env: dict[str, str] | None = None) -> str:
    env = {**os.environ, "VM_DIR": str(IMAGE), "VM_WATCH": str(os.getpid()), **(env or {})}
    if machines:
        env["VM_MACHINES"] = str(machines)
    done = subprocess.run(
        [SCRIPT, *map(str, args)], env=env, capture_output=True, timeout=timeout, stdin=subprocess.DEVNULL
    )
    if done.returncode:
        raise RuntimeError(f"vm.sh {' '.join(map(str, args))}: {done.stderr.decode(errors='replace').strip()[-2000:]}")
    return done.stdout.decode(errors="replace")


# --- Measurement lists


@dataclass(frozen=True)
class Measured:
    path: str
    digest: str  # hex, as a Keylime policy has it


def _field(data: bytes, at: int) -> tuple[bytes, int]:
    (length,) = struct.unpack_from("<I", data, at)
    return data[at + 4 : at + 4 + length], at + 4 + length


def measured(log: bytes) -> list[Measured]:
    """Entries of a binary_runtime_measurements with template ima-ng (kernel documentation, security/IMA-templates)."""
    out, at = [], 0
    while at < len(log):
        name, at = _field(log, at + 4 + 20)  # PCR, SHA-1 of the data
        data, at = _field(log, at)
        if name != b"ima-ng":
            raise ValueError(f"template {name!r}")
        digest, end = _field(data, 0)
        path, end = _field(data, end)
        algorithm, _, value = digest.partition(b":\0")
        if algorithm != b"sha256" or len(value) != 32 or end != len(data):
            raise ValueError(f"digest {digest!r}")
        out.append(Measured(path.rstrip(b"\0").decode(), value.hex()))
    return out


def manifest() -> dict[str, str]:
    """Every file of the image as it was built: path -> SHA-256."""
    out = {}
    for line in (IMAGE / "manifest").read_text().splitlines():
        digest, path = line.split("  ", 1)
        out[path.removeprefix(".")] = digest
    return out


def policy_of(lists: list[list[Measured]]) -> dict:
    """What an operator makes of a golden image and a first run: the image's files, and what was measured beside them.

    The agent rewrites its state as it runs; its digests mean nothing. boot_aggregate is judged from the quoted PCRs.
    """
    digests = {path: {digest} for path, digest in manifest().items()}
    for entries in lists:
        for m in entries:
            if m.path != "boot_aggregate":
                digests.setdefault(m.path, set()).add(m.digest)
    return runtime_policy({path: sorted(values) for path, values in digests.items()}, [r"/var/lib/avow/.*"])


# --- Machines


class Machine:
    def __init__(self, machines: Path, name: str):
        self.machines, self.name = machines, name
        self.folder = machines / name

    def call(self, command: str, *args, **kw) -> str:
        return vm(command, self.name, *args, machines=self.machines, **kw)

    def run(self, command: str) -> str:
        return self.call("exec", command)

    def read(self, path: str) -> bytes:
        local = self.folder / "got"
        self.call("get", path, local)
        return local.read_bytes()

    def boot_id(self) -> bytes:
        return bytes.fromhex(self.run("cat /proc/sys/kernel/random/boot_id").strip().replace("-", ""))

    def ima_count(self) -> int:
        return int(self.run("cat /sys/kernel/security/ima/runtime_measurements_count"))

    def service_log(self) -> str:
        path = self.folder / "service.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def boot_by(self, *commands: str) -> None:
        """Commands of vm.sh, after which the machine takes commands again."""
        for command in commands:
            self.call(command)

    def install_agent(self, site: Site) -> None:
        """As a package and an operator would: program, root key, configuration. The service waits for the last."""
        host = site.folder / f"host-{self.name}.conf"
        host.write_text(f"[agent]\nid = {self.name}\nroot = /etc/avow/root.pem\n")
        self.call("put", site.bin / "avow-agent", "/usr/bin/avow-agent")
        self.call("put", site.bin / "avow-agent-register", "/usr/bin/avow-agent-register")
        self.call("put", site.dir / "root" / "root.pem", "/etc/avow/root.pem")
        self.call("put", host, "/etc/avow/agent.conf.d/host.conf")
        self.call("put", site.dir / "conf" / "agent.conf", "/etc/avow/agent.conf")
        self.run("sync")


class MachineSite(Site):
    """The vendor of the hosts' TPMs is the one that vm.sh plays."""

    machines: Path

    def store_vendor_ca(self) -> None:
        self.swtpm("store", self.machines / "ca", self.dir / "ek-ca")


class Fleet:
    """Two machines whose installed agents attest to workers on this host over a real Kafka."""

    names = ("good", "prey")

    def __init__(self, folder: Path, bin_dir: Path):
        self.site = MachineSite(folder, bin_dir, intervals=INTERVALS)
        self.site.machines = folder / "machines"
        self.machines = {name: Machine(self.site.machines, name) for name in self.names}
        self.view: View | None = None

    def start(self) -> None:
        vm("deps", timeout=900)
        vm("build", timeout=600)
        self.site.folder.mkdir(parents=True, exist_ok=True)
        for m in self.machines.values():
            m.call("create")
        booting = [self._start_in_background(m) for m in self.machines.values()]
        self.site.start_broker()
        self.site.init()
        self.site.apply_topics()
        self.site.start_registrar()
        self.site.start_worker()
        for name, process in zip(self.names, booting):
            output, _ = process.communicate(timeout=360)
            if process.returncode:
                raise RuntimeError(f"{name} does not start: {output}")
        self.view = View(self.site.broker.bootstrap, "avow.", self.site.dir / "root" / "root.pem")
        self._install()

    def _start_in_background(self, m: Machine) -> subprocess.Popen:
        env = {**os.environ, "VM_DIR": str(IMAGE), "VM_WATCH": str(os.getpid()), "VM_MACHINES": str(m.machines)}
        return subprocess.Popen(
            [SCRIPT, "start", m.name],
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def _install(self) -> None:
        broker_port = self.site.broker.bootstrap.rsplit(":", 1)[1]
        for m in self.machines.values():
            m.call("forward", broker_port, self.site.registrar_port)
            # A program of the operator's own, good for now.
            m.run("mkdir -p /usr/local/bin && cp /usr/bin/true /usr/local/bin/tool && /usr/local/bin/tool && sync")
            m.install_agent(self.site)
        for m in self.machines.values():
            wait_for(lambda m=m: " registered " in m.service_log(), 60, f"{m.name} registers: {m.service_log()}")
        self.lists = {m.name: measured(m.read(IMA_LIST)) for m in self.machines.values()}
        self.site.push_policy("image", policy_of(list(self.lists.values())))
        self._push_boot_policy()
        for name in self.names:
            self.site.enrol(name, "--runtime-policy", "image", "--boot-policy", "firmware")

    def _push_boot_policy(self) -> None:
        """One policy for both machines, made of the logs that their firmware wrote."""
        logs = []
        for m in self.machines.values():
            log = m.folder / "firmware.log"
            log.write_bytes(m.read(BOOT_LOG))
            logs += ["--uefi-log", log]
        policy = self.site.folder / "firmware.json"
        self.site.avow("policy", "create", "boot", *logs, "--out", policy, config=False)
        self.site.avow("policy", "push", "firmware", policy, "--kind", "boot")

    def trusted(self, name: str, boot_id: bytes, entries: int = 0, timeout: float = 90) -> dict:
        """The first verdict that this boot, at least so much of its list, is trusted."""
        return self.view.wait_verdict(
            name,
            lambda v: v["status"] == "trusted"
            and not v["flags"]["stale"]
            and v["boot"]["boot_id"] == boot_id
            and v["boot"]["ima_entries"] >= entries,
            timeout,
            f"{name} trusted in boot {boot_id.hex()} with {entries} entries",
        )[0]

    def trusted_now(self, name: str) -> dict:
        m = self.machines[name]
        return self.trusted(name, m.boot_id(), m.ima_count())

    def events(self, name: str) -> list[str]:
        return [r["class"] for r in self.view.revocations(name)]

    def drop_reasons(self, name: str) -> set[str]:
        return {d["reason"] for d in self.view.dead_letters() if d["key"] == name.encode()}

    def logs(self) -> list[tuple[str, str]]:
        paths = [m.folder / n for m in self.machines.values() for n in ("serial.log", "service.log")]
        paths += [self.site.folder / "worker-w1.log", self.site.folder / "registrar.log"]
        return [(str(p), p.read_text(errors="replace")[-4000:]) for p in paths if p.exists()]

    def close(self) -> None:
        if self.view:
            self.view.close()
        for m in self.machines.values():
            if m.folder.exists():
                m.call("remove-disk")
        self.site.close()
