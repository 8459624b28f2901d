"""The demo's story. It acts through the programs as an operator would, and believes only what it reads on the topics:
every step ends with a record that `avowtest.View` decoded and verified with code that is not Avow's."""

import argparse
import hashlib
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from avowtest.site import Intervals, Site, runtime_policy
from avowtest.topics import View

TTY = sys.stdout.isatty() and "NO_COLOR" not in os.environ


def paint(code: str, text: str) -> str:
    return f"\033[{code}m{text}\033[0m" if TTY else text


def bold(t):
    return paint("1", t)


def dim(t):
    return paint("2", t)


def green(t):
    return paint("1;32", t)


def red(t):
    return paint("1;31", t)


def yellow(t):
    return paint("1;33", t)


STATUS = {"trusted": green, "untrusted": red, "silent": yellow, "pending": dim}


class Timeline:
    """What the reader sees: a clock on the left, one happening a line."""

    def __init__(self):
        self.start = time.monotonic()

    def stamp(self) -> str:
        return dim(f"{time.monotonic() - self.start:6.1f} s")

    def chapter(self, title: str) -> None:
        print(f"\n{bold(title)}", flush=True)

    def tell(self, text: str) -> None:
        print(f"{self.stamp()}  {text}", flush=True)

    def more(self, text: str) -> None:
        print(f"          {text}", flush=True)


HOSTS = {
    "web-1": {"/usr/bin/nginx": b"the web server, release 1.27\n", "/usr/bin/curl": b"a client everybody has\n"},
    "db-1": {"/usr/bin/postgres": b"the data base, release 17\n", "/usr/bin/curl": b"a client everybody has\n"},
}
VICTIM, LOST = "web-1", "db-1"
TAMPERED = "/usr/bin/nginx"
POLICY = "base-os"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Story:
    def __init__(self, site: Site, t: Timeline):
        self.site, self.t = site, t
        self.digests: dict[str, list[str]] = {}
        self.view: View | None = None
        self.proofs = 0

    def seen(self, what: str) -> None:
        self.proofs += 1
        self.t.more(dim(f"checked on the topic: {what}"))

    # --- chapters

    def installation(self) -> None:
        site, t = self.site, self.t
        t.chapter("1. An installation")
        kind = "a real Apache Kafka" if site.kafka else "the embedded broker (in memory, for trying only)"
        site.start_broker()
        t.tell(f"{kind} listens on {site.broker.bootstrap}")
        site.init()
        t.tell("avow init: root key, signed trust bundle, a key for each role")
        site.apply_topics()
        t.tell("avow topics apply: topics are there, the bundle is published")
        self.view = View(site.broker.bootstrap, "avow.", site.dir / "root" / "root.pem")
        self.seen(f"trust bundle version {self.view.trust.bundle['version']}, signed by root")
        site.start_registrar()
        site.start_worker()
        t.tell("registrar and one verifier worker are up; the worker rings the epoch bell every second")

    def hosts(self) -> None:
        site, t = self.site, self.t
        t.chapter("2. Two hosts with a TPM register")
        for name, files in HOSTS.items():
            host = site.add_host(name)
            for path, content in files.items():
                host.ima("add", path, sha256(content))
                self.digests.setdefault(path, [])
                if sha256(content) not in self.digests[path]:
                    self.digests[path].append(sha256(content))
            host.start_agent()
            t.tell(f"{bold(name)}: software TPM with an EK certificate, IMA list of {1 + len(files)} entries, agent")
        for name in HOSTS:
            site.hosts[name].agent.wait_output("registered", 30)
            t.tell(f"{bold(name)} proved to the registrar that its attestation key lives in that TPM")

    def enrol(self) -> None:
        site, t = self.site, self.t
        t.chapter("3. The operator enrols them")
        site.push_policy(POLICY, runtime_policy(self.digests))
        t.tell(f"avow policy push {POLICY}: {len(self.digests)} files are allowed (Keylime's policy format)")
        for name in HOSTS:
            said = site.enrol(name, "--runtime-policy", POLICY)
            t.tell(f"avow agent add {name}: {green('trusted') if 'trusted' in said else said.strip()}")
            verdict, _ = self.view.wait_verdict(name, lambda v: v["status"] == "trusted", 30, f"{name} trusted")
            self.seen(
                f"verdict on {name}: {verdict['status']} as of epoch {verdict['as_of_epoch']}"
            )

    def tamper(self) -> None:
        t, host = self.t, self.site.hosts[VICTIM]
        t.chapter("4. Somebody replaces a program and runs it")
        self.evil = b"the web server, with a back door\n"
        digest = sha256(self.evil)
        before = time.monotonic()
        host.ima("add", TAMPERED, digest)
        appended = time.monotonic()
        t.tell(f"{bold(VICTIM)} executes a changed {bold(TAMPERED)}; the kernel measures it into PCR 10")
        rev, record = self.view.wait_revocation(
            VICTIM, lambda r: r["class"] == "revocation", 20, f"revocation of {VICTIM}"
        )
        finding = rev["findings"][0]
        took = record.seen - appended
        if record.seen < before:
            raise AssertionError("the revocation is older than its cause")
        t.tell(f"{red('REVOKED')} {bold(VICTIM)} {bold(f'{took * 1000:.0f} ms')} after the entry was appended")
        t.more(f"{finding['id']}: {finding['where']}")
        t.more(dim(finding["detail"]))
        if TAMPERED not in finding["where"] + finding["detail"] or digest[:16] not in finding["detail"]:
            raise AssertionError(f"the revocation does not name path and digest: {finding}")
        self.seen(f"revocation {rev['id'].hex()[:12]}, {rev['from']} to {rev['to']}, signed by the worker group")

    def silence(self) -> None:
        t, site = self.t, self.site
        t.chapter("5. A host falls silent")
        site.hosts[LOST].agent.stop()
        t.tell(f"the agent of {bold(LOST)} is stopped; nobody is told")
        limit = site.intervals.silent_after / 1000
        rev, _ = self.view.wait_revocation(LOST, lambda r: r["class"] == "silent", limit * 3 + 15, f"{LOST} silent")
        t.tell(f"{yellow('SILENT')} {bold(LOST)}: nothing heard for {limit:g} s of the service clock")
        self.seen(f"event {rev['event_id']}, {rev['from']} to {rev['to']}")
        site.hosts[LOST].start_agent()
        self.view.wait_revocation(LOST, lambda r: r["class"] == "recovery", 40, f"{LOST} back")
        t.tell(f"the agent is started again: {bold(LOST)} is {green('trusted')} again, without an operator")

    def repair(self) -> None:
        t, site = self.t, self.site
        t.chapter("6. The new program was a legitimate update after all")
        self.digests[TAMPERED].append(sha256(self.evil))
        site.push_policy(POLICY, runtime_policy(self.digests))
        t.tell(f"avow policy push {POLICY}: one signed record updates every host that uses it")
        rev, _ = self.view.wait_revocation(VICTIM, lambda r: r["class"] == "recovery", 60, f"recovery of {VICTIM}")
        t.tell(f"{green('RECOVERED')} {bold(VICTIM)}: its whole list was appraised again under the new policy")
        self.seen(f"recovery, {rev['from']} to {rev['to']}")

    def reckoning(self) -> None:
        """Everything on the topics once more, as a whole: each transition once, and none that nobody caused."""
        t = self.t
        t.chapter("What the topics say")
        events = [(r["key"], r["class"]) for r in self.view.revocations()]
        wanted = [(VICTIM, "revocation"), (LOST, "silent"), (LOST, "recovery"), (VICTIM, "recovery")]
        if sorted(set(events)) != sorted(set(wanted)):
            raise AssertionError(f"events on the topic: {events}, expected: {wanted}")
        ids = {r["id"] for r in self.view.revocations()}
        if len(ids) != len(wanted):
            raise AssertionError(f"{len(ids)} distinct events, expected {len(wanted)}: {events}")
        for name in HOSTS:
            # Another topic than that of the events: the verdict of the last one may come a moment later.
            transitions = max(r["transitions"] for r in self.view.revocations() if r["key"] == name)
            self.view.wait_verdict(
                name, lambda v, n=transitions: v["transitions"] >= n, 20, f"verdict of {name} after its last event"
            )
            last = self.view.verdicts(name)[-1]
            t.tell(f"{bold(name)}: {STATUS[last['status']](last['status'])}, {last['transitions']} transitions")
            if last["status"] != "trusted":
                raise AssertionError(f"{name} ends as {last['status']}")
        t.tell(f"{len(wanted)} events, each once; every record above was verified against root.pem by Python code")


def try_it(site: Site) -> None:
    conf = site.dir / "conf" / "avow.conf"
    print(f"\n{bold('Everything is still running.')} In another terminal:\n")
    print(f"  alias avow='{site.bin.resolve()}/avow --config {conf}'")
    for line in (
        "avow agent list",
        f"avow agent status {VICTIM}",
        "avow revocation tail --from-start",
        "avow verdict tail --json",
        "avow policy list",
    ):
        print(f"  {line}")
    host = site.hosts[VICTIM]
    print("\nRun a program that no policy knows, and watch the revocation come:\n")
    print(
        f"  {site.bin.resolve()}/avow-ima-emulator --tcti {host.tcti} --list {host.ima_log} "
        f"add /usr/bin/evil {sha256(b'evil')}"
    )
    print("\nCtrl-C ends it all.", flush=True)
    signal.sigwait({signal.SIGINT, signal.SIGTERM})


def main() -> int:
    p = argparse.ArgumentParser()
    p.add_argument("--bin", required=True, type=Path)
    p.add_argument("--kafka", action="store_true")
    p.add_argument("--keep", action="store_true")
    args = p.parse_args()
    # A supervisor's SIGTERM must end what was started, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))

    folder = Path(tempfile.mkdtemp(prefix="avow-demo-"))
    t = Timeline()
    print(f"{bold('Avow')}: remote attestation over Kafka. Two hosts, one tampered file, one revocation.")
    ok = False
    try:
        with Site(folder, args.bin, kafka=args.kafka, partitions=4, intervals=Intervals()) as site:
            story = Story(site, t)
            try:
                for chapter in (
                    story.installation,
                    story.hosts,
                    story.enrol,
                    story.tamper,
                    story.silence,
                    story.repair,
                    story.reckoning,
                ):
                    chapter()
                ok = True
                print(f"\n{green('All of it happened.')}", flush=True)
                if args.keep:
                    try_it(site)
            finally:
                if story.view:
                    story.view.close()
    except KeyboardInterrupt:
        print("\ninterrupted")
        return 130
    except Exception as e:
        print(f"\n{red('The story broke off:')} {e}")
        print(f"logs and configuration: {folder}")
        return 1
    finally:
        if ok:
            shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
