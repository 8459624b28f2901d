"""Real machines: they are trusted, caught, booted in every way and believed again; and a kernel over a kernel is found.

The tests go through the machines' lives in the order in which they stand.
"""

import hashlib

import pytest
from vmrig import BOOT_LOG, IMA_LIST, manifest, measured

TOOL = "/usr/local/bin/tool"


def test_both_machines_are_trusted(fleet):
    for name, machine in fleet.machines.items():
        verdict = fleet.trusted_now(name)
        assert verdict["boot"]["boot_id"] == machine.boot_id()
        assert verdict["findings"] == []
        assert fleet.events(name) == []
        assert fleet.drop_reasons(name) <= {"unenrolled"}, "dropped although it was enrolled"


def test_kernel_and_image_agree_on_digests(fleet):
    """The policy was made from the image and from what was measured: they must say the same of the same file."""
    image = manifest()
    for name, machine in fleet.machines.items():
        entries = [m for m in measured(machine.read(IMA_LIST)) if m.path in image]
        assert len(entries) > 20, f"{name}: hardly anything was measured"
        assert [m for m in entries if image[m.path] != m.digest] == []


def test_firmware_log_is_the_one_in_the_verdict(fleet):
    for name, machine in fleet.machines.items():
        log = machine.read(BOOT_LOG)
        assert len(log) > 1000
        assert fleet.trusted_now(name)["boot"]["log_sha256"] == hashlib.sha256(log).digest()


def test_tampered_program__revocation_with_path_and_digest(fleet):
    prey = fleet.machines["prey"]
    prey.run(f"printf x >>{TOOL} && {TOOL}")
    revocation, _ = fleet.view.wait_revocation("prey", lambda r: True, 60, "revocation")
    digest = hashlib.sha256(prey.read(TOOL)).hexdigest()
    assert revocation["class"] == "revocation"
    assert (revocation["from"], revocation["to"]) == ("trusted", "untrusted")
    assert [f["id"] for f in revocation["findings"]] == ["ima.digest_unknown"]
    assert f"{TOOL} sha256:{digest}" in revocation["findings"][0]["detail"]
    assert fleet.trusted_now("good")
    assert fleet.events("good") == []


def test_reboot_after_tampering__recovers_once(fleet):
    """What ran is of a boot that is over, and nothing runs it again."""
    prey = fleet.machines["prey"]
    prey.power_cycle("reboot")
    fleet.trusted_now("prey")
    assert fleet.events("prey") == ["revocation", "recovery"]


@pytest.mark.parametrize("how", ["reboot", "reset", "powercut"])
def test_AR3__another_boot__appraised_as_new_and_no_false_alarm(fleet, how):
    good = fleet.machines["good"]
    before = fleet.trusted_now("good")
    good.power_cycle(how)
    after = fleet.trusted_now("good")
    assert after["boot"]["boot_id"] != before["boot"]["boot_id"]
    assert after["order"]["reset_count"] == before["order"]["reset_count"] + 1
    assert after["boot"]["log_sha256"] == hashlib.sha256(good.read(BOOT_LOG)).digest()
    between = [v for v in fleet.view.verdicts("good") if v["seq"] > before["seq"]]
    assert {v["status"] for v in between} == {"trusted"}
    assert [f for v in between for f in v["findings"]] == []
    assert fleet.events("good") == []
    assert fleet.drop_reasons("good") <= {"unenrolled"}
    # The same key, from the disk: whoever has to make a new one is another host.
    assert good.service_log().count("new_ak=true") == 1


def test_AP16__kexec__boot_kexec_and_untrusted(fleet):
    """Debian's kernel hands no list over, so the new one begins anew over a PCR 10 that was not reset."""
    good = fleet.machines["good"]
    good.run("/etc/rig/kexec load")
    before = fleet.trusted_now("good")  # nothing is left that only the old kernel could explain
    good.power_cycle("kexec")
    verdict, _ = fleet.view.wait_verdict(
        "good", lambda v: v["boot"]["boot_id"] == good.boot_id(), 90, "a verdict on the new kernel"
    )
    assert verdict["status"] == "untrusted"
    assert [f["id"] for f in verdict["findings"]] == ["boot.kexec"]
    assert verdict["order"]["reset_count"] == before["order"]["reset_count"]
    revocation, _ = fleet.view.wait_revocation("good", lambda r: True, 30, "revocation")
    assert (revocation["class"], revocation["event_id"]) == ("revocation", "boot.kexec")
    assert fleet.events("good") == ["revocation"]


def test_firmware_reset_after_kexec__recovers(fleet):
    good = fleet.machines["good"]
    good.power_cycle("reset")
    fleet.trusted_now("good")
    assert fleet.events("good") == ["revocation", "recovery"]
