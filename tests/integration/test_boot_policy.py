"""Boot policies on a real Kafka: firmware logs of a real machine, a software TPM that was extended as they say, and the
worker that replays and judges them (PROTOCOL R7; docs/BOOT-POLICY.md)."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import GOOD, ROOT

sys.path.insert(0, str(ROOT / "tests" / "conformance"))
import uefilog  # noqa: E402

LOG = ROOT / "tests" / "vectors" / "captures" / "m1-direct" / "binary_bios_measurements"
BANKS = ("sha1", "sha256")


def boot(host, log: uefilog.Log) -> None:
    """The firmware's measurements, as its log says; then the kernel begins its list."""
    for e in log.events:
        if e.type == uefilog.NO_ACTION:
            continue
        values = ",".join(f"{bank}={e.digests[bank].hex()}" for bank in BANKS)
        subprocess.run(["tpm2_pcrextend", "-T", host.tcti, f"{e.pcr}:{values}"], check=True, capture_output=True, timeout=20)
    host.ima("init")
    host.ima("add", "/usr/bin/one", GOOD["/usr/bin/one"][0])


def reset(host) -> None:
    """The machine is reset: PCRs as a TPM starts with them, no list, another boot id."""
    host.site.swtpm("reboot", host.folder / "tpm")
    host.ima_log.unlink()
    (host.folder / "boot_id").write_text(Path("/proc/sys/kernel/random/uuid").read_text())


def start(thread, name: str, policy: str, log: Path = LOG, measured: Path = LOG):
    """A host whose agent sends `log`, and whose TPM has measured what `measured` says."""
    host = thread.site.add_host(name, booted=False)
    boot(host, uefilog.parse(measured.read_bytes()))
    host.start_agent(agent__uefi_log=log)
    host.agent.wait_output("registered", 30)
    thread.site.enrol(name, "--runtime-policy", "good", "--boot-policy", policy, "--no-wait")
    return host


def untrusted(thread, name: str, finding: str) -> dict:
    return thread.view.wait_verdict(
        name,
        lambda v: v["status"] == "untrusted" and any(f["id"] == finding for f in v["findings"]),
        40,
        f"{name} untrusted with {finding}",
    )[0]


@pytest.fixture(scope="module")
def own(thread) -> str:
    """A policy made from the machine's own log."""
    path = thread.site.folder / "boot-own.json"
    thread.site.avow("policy", "create", "boot", "--uefi-log", LOG, "--out", path, config=False)
    thread.site.avow("policy", "push", "boot-own", path, "--kind", "boot")
    return "boot-own"


@pytest.fixture(scope="module")
def secure(thread, own) -> str:
    """The same, and it demands Secure Boot, which the machine has not."""
    policy = json.loads((thread.site.folder / "boot-own.json").read_text())
    policy["secure_boot"] = True
    path = thread.site.folder / "boot-secure.json"
    path.write_text(json.dumps(policy))
    thread.site.avow("policy", "push", "boot-secure", path, "--kind", "boot")
    return "boot-secure"


def test_log_as_the_policy_demands__trusted_and_the_verdict_says_so(thread, own):
    start(thread, "boot-good", own)
    verdict = thread.trusted("boot-good", timeout=40)
    assert verdict["boot"]["outcome"] == "pass" and verdict["boot"]["log_sha256"]
    later = thread.trusted("boot-good", verdict["as_of_epoch"] + 1)
    assert later["boot"]["outcome"] == "pass", "kept without another log"


def test_policy_is_not_satisfied__untrusted_then_trusted_by_a_policy_that_fits(thread, own, secure):
    start(thread, "boot-insecure", secure)
    assert untrusted(thread, "boot-insecure", "boot.secure_boot")["boot"]["outcome"] == "fail"
    thread.site.avow("agent", "update", "boot-insecure", "--boot-policy", own, "--no-wait")
    assert thread.trusted("boot-insecure", timeout=90)["boot"]["outcome"] == "pass"


def test_s3_log_with_other_data_under_the_same_digests__untrusted(thread, own, tmp_path):
    """The log says that Secure Boot is on; its digest, and the PCR, say that it is off."""
    log = uefilog.parse(LOG.read_bytes())
    i = log.find("SecureBoot")
    changed = log.events[i].change(data=log.events[i].data[:-1] + b"\x01")
    lie = tmp_path / "lie"
    lie.write_bytes(log.change([*log.events[:i], changed, *log.events[i + 1 :]]).encode())
    start(thread, "boot-liar", own, log=lie)
    untrusted(thread, "boot-liar", "boot.data_unbound")


def test_machine_has_measured_something_else__untrusted(thread, own, tmp_path):
    log = uefilog.parse(LOG.read_bytes())
    other = tmp_path / "other"
    i = next(i for i, e in enumerate(log.events) if e.pcr == 4)
    other.write_bytes(log.change([*log.events[:i], *log.events[i + 1 :]]).encode())
    start(thread, "boot-other", own, measured=other)
    untrusted(thread, "boot-other", "boot.pcr_mismatch")


def test_ab7_judged_again_at_each_boot__another_boot_chain_is_found(thread, own, tmp_path):
    log = uefilog.parse(LOG.read_bytes())
    copy = tmp_path / "log"
    shutil.copy(LOG, copy)
    host = start(thread, "boot-again", own, log=copy)
    thread.trusted("boot-again", timeout=40)
    host.agent.stop()
    i = log.find("SecureBoot")
    on = log.events[i].with_data(log.events[i].data[:-1] + b"\x01")
    next_boot = log.change([*log.events[:i], on, *log.events[i + 1 :]])
    copy.write_bytes(next_boot.encode())
    reset(host)
    boot(host, next_boot)
    host.start_agent()
    assert untrusted(thread, "boot-again", "boot.secure_boot")["boot"]["outcome"] == "fail"


def test_host_without_a_log__untrusted_until_it_has_one(thread, own):
    host = start(thread, "boot-none", own, log=Path("/nonexistent"))
    untrusted(thread, "boot-none", "boot.log_missing")
    host.agent.stop()
    host.start_agent(agent__uefi_log=LOG)
    thread.trusted("boot-none", timeout=60)
