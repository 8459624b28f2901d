"""Boot policies through the CLI: made of every captured log, which passes, and of logs that were changed, which do not.

AVOW_CAPTURES names a folder of more, as in test_event_log.py; AVOW_KEYLIME_VECTORS Keylime's logs of real machines.
"""

import base64
import json
import os
import re
from pathlib import Path

import pytest
import uefilog

ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / "tests" / "vectors" / "captures"
FOLDERS = [HOME] + [Path(p) for p in [os.environ.get("AVOW_CAPTURES")] if p]
LOGS = sorted(p for folder in FOLDERS for p in folder.glob("*/binary_bios_measurements"))
KEYLIME = ["binary_bios_measurements", "binary_bios_measurements-secureboot", "uefi_log.bin", "mb_log.b64"]
M2 = HOME / "m2-grub-sb" / "binary_bios_measurements"
GOOD, FAILED, USAGE, UNTRUSTED = 0, 1, 2, 4


@pytest.fixture(params=LOGS, ids=lambda path: path.parent.name)
def path(request) -> Path:
    return request.param


@pytest.fixture(params=KEYLIME)
def keylime_log(request, keylime_data, tmp_path) -> Path:
    source = keylime_data / "vectors" / request.param
    data = source.read_bytes()
    copy = tmp_path / "log"
    copy.write_bytes(base64.b64decode(data) if request.param.endswith(".b64") else data)
    return copy


def make(avow, out: Path, *args) -> Path:
    done = avow.run("policy", "create", "boot", *args, "--out", out)
    assert done.returncode == GOOD, done.stderr
    return out


def passes_its_own(avow, log: Path, tmp_path: Path) -> dict:
    policy = make(avow, tmp_path / "policy", "--uefi-log", log)
    again = make(avow, tmp_path / "again", "--uefi-log", log)
    assert policy.read_bytes() == again.read_bytes()
    code, found = avow.json("policy", "test", policy, "--uefi-log", log)
    assert (code, found["verdict"], found["findings"]) == (GOOD, "pass", [])
    code, found = avow.json("eventlog", log, "--boot-policy", policy)
    assert (code, found["verdict"]) == (GOOD, "pass")
    assert avow.run("policy", "test", policy, "--kind", "boot").returncode == GOOD
    return json.loads(policy.read_text())


def test_create__every_capture__passes_its_own(avow, path, tmp_path):
    policy = passes_its_own(avow, path, tmp_path)
    assert policy["avow_boot_policy"] == 1
    assert "boots" not in policy


def test_create__logs_that_keylime_has__pass_their_own(avow, keylime_log, tmp_path):
    policy = passes_its_own(avow, keylime_log, tmp_path)
    assert policy["images"] and policy["keys"]["dbx"]["contains"]


def test_create__all_captures_in_one_policy__all_pass(avow, tmp_path):
    logs = [arg for log in LOGS[:30] for arg in ("--uefi-log", log)]
    policy = make(avow, tmp_path / "policy", *logs)
    for log in LOGS[:30]:
        assert avow.run("policy", "test", policy, "--uefi-log", log).returncode == GOOD, log


@pytest.mark.parametrize("other", [p for p in LOGS if p != M2], ids=lambda p: p.parent.name)
def test_test__log_of_another_machine__findings(avow, other, tmp_path):
    policy = make(avow, tmp_path / "policy", "--uefi-log", M2)
    code, found = avow.json("policy", "test", policy, "--uefi-log", other)
    assert code == UNTRUSTED and found["findings_total"] >= len(found["findings"]) > 0
    ids = {f["id"] for f in found["findings"]}
    assert {"boot.image", "boot.secure_boot"} <= ids


def event(log: uefilog.Log, pcr: int, begin: bytes) -> int:
    return next(i for i, e in enumerate(log.events) if e.pcr == pcr and e.data.startswith(begin))


def judged(avow, tmp_path: Path, policy: Path, log: uefilog.Log) -> list[dict]:
    changed = tmp_path / "changed"
    changed.write_bytes(log.encode())
    code, found = avow.json("eventlog", changed, "--boot-policy", policy)
    assert (code, found["verdict"]) == (UNTRUSTED, "fail")
    return found["findings"]


def test_ab2_command_line_altered__unbound_and_not_believed(avow, tmp_path):
    """The digest of a bad line, the text of the good one: neither the log nor the policy takes it."""
    policy = make(avow, tmp_path / "policy", "--uefi-log", M2)
    log = uefilog.parse(M2.read_bytes())
    at = event(log, 8, b"kernel_cmdline: ")  # without the header, which is event 0
    events = list(log.events)
    text = events[at].data.replace(b" ro ", b" rw ")
    assert text != events[at].data
    events[at] = events[at].change(data=text)
    found = judged(avow, tmp_path, policy, log.change(events))
    ids = [(f["id"], f["context"].get("event")) for f in found]
    assert ("boot.data_unbound", at + 1) in ids
    assert ("boot.data_untrusted", at + 1) in ids
    assert ("boot.command_line", None) in ids


def test_eventlog__policy_of_another_boot__findings_as_appraise_shows_them(avow, tmp_path):
    policy = make(avow, tmp_path / "policy", "--uefi-log", M2)
    text = policy.read_text()
    policy.write_text(text.replace('"secure_boot": true', '"secure_boot": false'))
    code, found = avow.json("eventlog", M2, "--boot-policy", policy)
    assert code == UNTRUSTED and found["findings_total"] == 1
    (finding,) = found["findings"]
    assert finding["id"] == "boot.secure_boot" and finding["severity"] == "critical"
    assert finding["keylime_event_id"] == "measured_boot.policy_example"
    assert finding["context"] == {"event": 4, "pcr": 7} and "it is on" in finding["message"]
    done = avow.run("eventlog", M2, "--boot-policy", policy)
    assert done.returncode == UNTRUSTED and "boot.secure_boot: " in done.stderr


def test_create__loosened__says_so_in_the_policy(avow, tmp_path):
    policy = json.loads(
        make(
            avow, tmp_path / "policy", "--uefi-log", M2, "--no-firmware", "--any-grub-command", "--any-file", "grub.cfg",
            "--command-line", "/boot/vmlinuz-.*", "--pcrs", "1,5",
        ).read_text()
    )
    assert "firmware" not in policy and "drivers" not in policy
    assert policy["grub_commands"] == "any" and policy["command_lines"] == ["/boot/vmlinuz-.*"]
    assert [step.get("any", False) for step in policy["files"]] == [True, True, False, False]
    assert set(policy["sequences"]) == {"1", "5"}


@pytest.mark.parametrize(
    "args, code, says",
    [
        (["boot"], USAGE, "--uefi-log"),
        (["boot", "--uefi-log", M2, "--ima-log", M2], USAGE, "runtime policies"),
        (["runtime", "--digests", M2, "--uefi-log", M2], USAGE, "boot policies"),
        (["boat", "--uefi-log", M2], USAGE, "neither runtime nor boot"),
        (["boot", "--uefi-log", ROOT / "README.md"], FAILED, "log 1"),
        (["boot", "--uefi-log", M2, "--command-line", "nothing"], FAILED, "boot.command_line"),
        (["boot", "--uefi-log", M2, "--command-line", "("], FAILED, "$.command_lines[0]"),
        (["boot", "--uefi-log", M2, "--pcrs", "x"], USAGE, "--pcrs"),
        (["boot", "--uefi-log", M2, "--pcrs", "10"], FAILED, "not a PCR of the boot"),
    ],
)
def test_create__bad_options__refused(avow, args, code, says):
    done = avow.run("policy", "create", *args)
    assert (done.returncode, says in done.stderr) == (code, True), done.stderr
    assert not done.stdout


def test_test__what_is_no_policy__says_where(avow, tmp_path):
    bad = tmp_path / "bad.json"
    bad.write_text('{"avow_boot_policy": 1, "images": [{"digest": []}]}')
    for args in (["policy", "test", bad, "--uefi-log", M2], ["eventlog", M2, "--boot-policy", bad]):
        done = avow.run(*args)
        assert done.returncode == FAILED and "bad.json: boot policy: $.images[0].digest: unknown key" in done.stderr
    done = avow.run("policy", "test", bad, "--kind", "boot")
    assert done.returncode == FAILED and "$.images[0].digest" in done.stderr
    done = avow.run("policy", "test", bad, "--kind", "runtime", "--uefi-log", M2)
    assert done.returncode == USAGE


def test_document__its_example__is_read(avow, tmp_path):
    page = (ROOT / "docs" / "BOOT-POLICY.md").read_text()
    (example,) = re.findall(r"```json\n(.*?)```", page, re.S)
    policy = tmp_path / "example.json"
    policy.write_text(example)
    done = avow.run("policy", "test", policy, "--kind", "boot")
    assert done.returncode == GOOD, done.stderr
