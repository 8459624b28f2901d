"""Real machines: they are trusted, caught, booted in every way and believed again; and what is no boot is found.

The tests go through the lives of two machines, in the order in which they stand.
"""

import hashlib

import pytest
from avowtest.site import wait_for
from vmrig import BOOT_LOG, IMA_LIST, manifest, measured

TOOL = "/usr/local/bin/tool"


def finding_ids(record) -> list[str]:
    return [f["id"] for f in record["findings"]]


def trusted_throughout(fleet, name: str, before: dict) -> None:
    """Nobody was told anything, and no verdict since `before` said anything else than trusted."""
    since = [v for v in fleet.view.verdicts(name) if v["seq"] > before["seq"]]
    assert {v["status"] for v in since} == {"trusted"}
    assert [f for v in since for f in finding_ids(v)] == []
    assert fleet.events(name) == []
    assert fleet.drop_reasons(name) <= {"unenrolled"}, "dropped although it was enrolled"


def test_both_machines_are_trusted(fleet):
    for name in fleet.names:
        verdict = fleet.trusted_now(name)
        assert verdict["boot"]["ima_entries"] > 20
        assert verdict["boot"]["outcome"] == "pass"
        assert fleet.events(name) == []
        assert fleet.drop_reasons(name) <= {"unenrolled"}


def test_agent_has_given_up_root(fleet):
    """The lists are readable by root alone, and it reads them all the same: they were opened before."""
    for machine in fleet.machines.values():
        status = dict(
            line.split(":", 1) for line in machine.run("cat /proc/$(busybox pidof avow-agent)/status").splitlines()
        )
        assert status["Uid"].split() == ["990"] * 4 and status["Gid"].split() == ["990"] * 4
        assert [int(status[f"Cap{which}"], 16) for which in ("Inh", "Prm", "Eff", "Bnd", "Amb")] == [0] * 5
        assert status["Groups"].split() == [] and status["NoNewPrivs"].strip() == "1"


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
    assert finding_ids(revocation) == ["ima.digest_unknown"]
    assert f"{TOOL} sha256:{digest}" in revocation["findings"][0]["detail"]
    fleet.trusted_now("good")
    assert fleet.events("good") == []


def test_reboot_after_tampering__recovers_once(fleet):
    """What ran is of a boot that is over, and nothing runs it again."""
    fleet.machines["prey"].boot_by("reboot")
    fleet.trusted_now("prey")
    assert fleet.events("prey") == ["revocation", "recovery"]


def test_another_command_line__refused_by_the_boot_policy_until_the_next_boot(fleet):
    """The kernel's own loader measures the command line, and a boot loader's configuration is all that it takes."""
    prey = fleet.machines["prey"]
    before = fleet.trusted_now("prey")
    prey.boot_by("powercut")
    prey.call("start", env={"VM_KERNEL_OPTIONS": "ima_appraise=off"})
    verdict = distrust(fleet, "prey", before)
    assert verdict["boot"]["outcome"] == "fail"
    assert {i.split(".")[0] for i in finding_ids(verdict)} == {"boot"}, verdict["findings"]
    prey.boot_by("powercut", "start")
    assert fleet.trusted_now("prey")["boot"]["outcome"] == "pass"
    wait_for(lambda: len(fleet.events("prey")) > 3, 20, "the second recovery")
    assert fleet.events("prey") == ["revocation", "recovery"] * 2


@pytest.mark.parametrize("how", [["reboot"], ["reset"], ["powercut", "start"]], ids=lambda how: how[0])
def test_ar3_another_boot__appraised_as_new_and_no_false_alarm(fleet, how):
    good = fleet.machines["good"]
    before = fleet.trusted_now("good")
    good.boot_by(*how)
    after = fleet.trusted_now("good")
    assert after["boot"]["boot_id"] != before["boot"]["boot_id"]
    assert after["order"]["reset_count"] == before["order"]["reset_count"] + 1
    assert after["boot"]["log_sha256"] == hashlib.sha256(good.read(BOOT_LOG)).digest()
    trusted_throughout(fleet, "good", before)
    # The same key, from the disk: a host that has to make a new one is another host.
    assert good.service_log().count("new_ak=true") == 1


def test_ab10_power_cut_in_sleep__tpm_restart_is_a_new_boot(fleet):
    """The kernel had sent TPM2_Shutdown(STATE), the firmware sends TPM2_Startup(CLEAR)."""
    good = fleet.machines["good"]
    before = fleet.trusted_now("good")
    good.boot_by("suspend", "powercut", "start")
    after = fleet.trusted_now("good")
    assert after["boot"]["boot_id"] != before["boot"]["boot_id"]
    assert after["order"]["reset_count"] == before["order"]["reset_count"]
    assert after["order"]["restart_count"] == before["order"]["restart_count"] + 1
    trusted_throughout(fleet, "good", before)


def test_ab11_sleep_and_wake__tpm_resume_continues_without_a_log(fleet):
    good = fleet.machines["good"]
    before = fleet.trusted_now("good")
    said = len(good.service_log())
    good.boot_by("suspend", "wake")
    after, _ = fleet.view.wait_verdict(
        "good",
        lambda v: v["seq"] > before["seq"] and v["order"]["restart_count"] > before["order"]["restart_count"],
        60,
        "a verdict after the sleep",
    )
    assert after["boot"]["boot_id"] == before["boot"]["boot_id"]
    assert after["order"]["restart_count"] == before["order"]["restart_count"] + 1
    fleet.trusted_now("good")
    trusted_throughout(fleet, "good", before)
    assert "boot_log=true" not in good.service_log()[said:], "a log was asked for that cannot have changed"


def test_ap16_kexec__boot_kexec_and_untrusted(fleet):
    """Debian's kernel hands no list over, so the new one begins anew over a PCR 10 that was not reset."""
    good = fleet.machines["good"]
    good.run("/etc/rig/kexec load")
    before = fleet.trusted_now("good")  # nothing is left that only the old kernel could explain
    good.boot_by("kexec")
    boot_id, entries = good.boot_id(), good.ima_count()
    revocation, _ = fleet.view.wait_revocation("good", lambda r: True, 60, "revocation")
    assert (revocation["class"], revocation["event_id"]) == ("revocation", "boot.kexec")
    # The new list is proven over the old PCR, and does not help.
    verdict, _ = fleet.view.wait_verdict(
        "good",
        lambda v: v["boot"]["boot_id"] == boot_id and v["boot"]["ima_entries"] >= entries,
        60,
        "a verdict on the new list",
    )
    assert verdict["status"] == "untrusted"
    assert finding_ids(verdict) == ["boot.kexec"]
    assert verdict["order"]["reset_count"] == before["order"]["reset_count"]
    assert fleet.events("good") == ["revocation"]


def test_reset_after_kexec__recovers_once(fleet):
    fleet.machines["good"].boot_by("reset")
    fleet.trusted_now("good")
    assert fleet.events("good") == ["revocation", "recovery"]


def distrust(fleet, name: str, before: dict) -> dict:
    return fleet.view.wait_verdict(
        name, lambda v: v["seq"] > before["seq"] and v["status"] == "untrusted", 90, f"distrust of {name}"
    )[0]


def test_ab12_hibernation_over_a_reset__boot_hibernated(fleet):
    """Between the sleep and the awakening the TPM was reset: another boot by its counters, the same by its kernel."""
    good = fleet.machines["good"]
    before = fleet.trusted_now("good")
    good.boot_by("hibernate", "flicker", "start")
    verdict = distrust(fleet, "good", before)
    assert good.boot_id() == before["boot"]["boot_id"]
    assert verdict["order"]["reset_count"] == before["order"]["reset_count"] + 1
    assert finding_ids(verdict)[0] == "boot.hibernated"
    assert set(finding_ids(verdict)) <= {"boot.hibernated", "ima.pcr_mismatch"}
    assert fleet.events("good") == ["revocation", "recovery", "revocation"]


def test_hibernation__tpm_restart_under_a_running_kernel__ima_pcr_mismatch(fleet):
    """Linux hibernates with TPM2_Shutdown(STATE), so no reset is counted: the list goes on over the PCRs of a boot that
    was only there to load it, and does not explain them."""
    prey = fleet.machines["prey"]
    before = fleet.trusted_now("prey")
    prey.boot_by("hibernate", "start")
    verdict = distrust(fleet, "prey", before)
    assert prey.boot_id() == before["boot"]["boot_id"]
    assert verdict["order"]["reset_count"] == before["order"]["reset_count"]
    assert verdict["order"]["restart_count"] == before["order"]["restart_count"] + 1
    assert finding_ids(verdict) == ["ima.pcr_mismatch"]
    assert fleet.events("prey") == ["revocation", "recovery"] * 2 + ["revocation"]
