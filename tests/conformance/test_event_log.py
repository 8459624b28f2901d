"""`avow eventlog` beside tpm2-tools, the machines' own PCRs, and logs that were changed.

AVOW_CAPTURES names a folder of more, one machine a folder, with the files of tests/vectors/captures.
"""

import base64
import json
import os
import re
import subprocess
from pathlib import Path

import pytest
import tpmbytes
import uefilog

HOME = Path(__file__).resolve().parents[1] / "vectors" / "captures"
FOLDERS = [HOME] + [Path(p) for p in [os.environ.get("AVOW_CAPTURES")] if p]
LOGS = sorted(p for folder in FOLDERS for p in folder.glob("*/binary_bios_measurements"))
KEYLIME = {
    "binary_bios_measurements": "keylime/test/data/create-mb-policy/binary_bios_measurements",
    "binary_bios_measurements-secureboot": "keylime/test/data/create-mb-policy/binary_bios_measurements-secureboot",
    "uefi_log.bin": "rust-keylime/keylime/test-data/uefi_log.bin",
    "mb_log.b64": "keylime/test/data/mb_log.b64 (base64-decoded)",
}
GOOD, UNTRUSTED = 0, 4


@pytest.fixture(params=LOGS, ids=lambda path: path.parent.name)
def path(request) -> Path:
    return request.param


def tpm2_eventlog(path: Path) -> tuple[list[dict], dict]:
    """Events and PCRs of its YAML, by its lines: what is nested deeper is not looked at."""
    done = subprocess.run(["tpm2_eventlog", path], capture_output=True, text=True, timeout=30, check=True)
    body, _, values = done.stdout.partition("\npcrs:\n")
    events: list[dict] = []
    pcrs: dict = {}
    bank = ""
    for line in body.splitlines():
        if found := re.fullmatch(r"- EventNum: (\d+)", line):
            events.append({"index": int(found[1]), "digests": {}})
        elif found := re.fullmatch(r"  (PCRIndex|EventType|EventSize): (\S.*)", line):
            events[-1][found[1]] = found[2]
        elif found := re.fullmatch(r"  - AlgorithmId: (\w+)", line):
            bank = found[1]
        elif found := re.fullmatch(r'    Digest: "([0-9a-f]+)"', line):
            events[-1]["digests"][bank] = found[1]
        elif found := re.fullmatch(r'  Digest: "([0-9a-f]+)"', line):
            events[-1]["digests"]["sha1"] = found[1]
    for line in values.splitlines():
        if found := re.fullmatch(r"  (\w+):", line):
            bank = found[1]
            pcrs[bank] = {}
        elif found := re.fullmatch(r"    (\d+) *: 0x([0-9a-f]+)", line):
            pcrs[bank][found[1]] = found[2]
    return events, pcrs


def same_events(ours: list[dict], theirs: list[dict]) -> None:
    assert len(ours) == len(theirs) > 20
    for a, b in zip(ours, theirs):
        assert a["index"] == b["index"]
        assert str(a["pcr"]) == b["PCRIndex"]
        assert a["type"] == b["EventType"] or b["EventType"] == "Unknown event type"
        assert len(a["data"]) == 2 * int(b["EventSize"])
        assert a["digests"] == b["digests"]


def test_events_and_values_are_those_of_tpm2_tools(avow, path):
    code, ours = avow.json("eventlog", path)
    events, pcrs = tpm2_eventlog(path)
    assert code == GOOD
    same_events(ours["log"], events)
    assert ours["boot"]["events"] == len(events)
    assert ours["boot"]["replayed"] == pcrs


def test_values_and_aggregates_are_those_of_the_machine(avow, path):
    _, ours = avow.json("eventlog", path)
    compared = 0
    for bank, values in ours["boot"]["replayed"].items():
        file, size = path.parent / f"pcrs_{bank}.bin", tpmbytes.SIZES[bank]
        if not file.exists():
            continue
        data = file.read_bytes()
        pcrs = [data[i : i + size] for i in range(0, len(data), size)]
        assert values == {p: pcrs[int(p)].hex() for p in values} and len(values) >= 8
        lengths = [8] if bank == "sha1" else [8, 10]
        assert ours["boot"]["boot_aggregate"][bank] == [tpmbytes.digest(bank, *pcrs[:n]).hex() for n in lengths]
        compared += 1
    assert compared > 0


def test_covered_data_is_what_was_measured(avow, path):
    """Hashed here: all of it in every bank, except where the text of UTF-16 was measured in ASCII."""
    _, ours = avow.json("eventlog", path)
    bound = [e for e in ours["log"] if e["binding"] == "bound"]
    assert len(bound) > 15 and not ours["findings"] and ours["verdict"] == "pass"
    assert all("covered" not in e for e in ours["log"] if e["binding"] != "bound")
    for e in bound:
        begin, length = e["covered"]["offset"], e["covered"]["length"]
        part = bytes.fromhex(e["data"])[begin : begin + length]
        section = e["pcr"] == 11 and part.decode("utf-16-le").encode("ascii")
        for bank, value in e["digests"].items():
            assert tpmbytes.digest(bank, section or part).hex() == value, e["index"]
    for e in ours["log"]:
        if int(e["type_value"]) in uefilog.BOUND:
            assert e["binding"] == "bound" and e["covered"] == {"offset": 0, "length": len(e["data"]) // 2}


def test_variables_are_named(avow, path):
    _, ours = avow.json("eventlog", path)
    log = uefilog.parse(path.read_bytes())
    named = [e["variable"]["name"] for e in ours["log"] if "variable" in e]
    assert named == [e.variable for e in log.events if e.variable]
    assert {"SecureBoot", "PK", "KEK", "db", "dbx", "BootOrder"} <= set(named)
    secure_boot = next(e["variable"] for e in ours["log"] if "variable" in e and e["variable"]["name"] == "SecureBoot")
    assert secure_boot["guid"] == "8be4df61-93ca-11d2-aa0d-00e098032b8c"
    assert secure_boot["value"] == ("01" if path.parent.name == "m2-grub-sb" else secure_boot["value"])


# --- logs that were changed


def change_data(log: uefilog.Log, i: int, data: bytes) -> uefilog.Log:
    """Other data, and the digests as they were."""
    return log.change(log.events[:i] + [log.events[i].change(data=data)] + log.events[i + 1 :])


def with_secure_boot(log: uefilog.Log) -> tuple[uefilog.Log, int]:
    i = log.find("SecureBoot")
    return change_data(log, i, log.events[i].data[:-1] + bytes([log.events[i].data[-1] ^ 1])), i


def with_command_line(log: uefilog.Log) -> tuple[uefilog.Log, int]:
    i = next(i for i, e in enumerate(log.events) if e.data.startswith(b"kernel_cmdline: "))
    return change_data(log, i, log.events[i].data.replace(b" ro ", b" rw ")), i


def with_action(log: uefilog.Log) -> tuple[uefilog.Log, int]:
    i = next(i for i, e in enumerate(log.events) if e.type == uefilog.EFI_ACTION)
    return change_data(log, i, b"Something else"), i


@pytest.mark.parametrize("change", [with_secure_boot, with_command_line, with_action])
def test_s3_data_that_was_not_measured_is_found(avow, tmp_path, change):
    log = uefilog.parse((HOME / "m2-grub-sb" / "binary_bios_measurements").read_bytes())
    changed, at = change(log)
    file = tmp_path / "log"
    file.write_bytes(changed.encode())
    code, got = avow.json("eventlog", file)
    assert (code, got["verdict"], got["findings_total"]) == (UNTRUSTED, "fail", 1)
    finding = got["findings"][0]
    # Ours counts the header, the rig does not.
    assert (finding["id"], finding["context"]) == ("boot.data_unbound", {"event": at + 1, "pcr": log.events[at].pcr})
    assert got["log"][at + 1]["binding"] == "mismatch"
    file.write_bytes(log.encode())
    _, control = avow.json("eventlog", file)
    assert control["boot"] == got["boot"], "replay alone does not see it"


def test_an_event_without_a_digest_of_a_bank_is_found(avow, tmp_path):
    log = uefilog.parse((HOME / "m2-grub-sb" / "binary_bios_measurements").read_bytes())
    made = uefilog.Event(7, uefilog.EFI_ACTION, {"sha1": tpmbytes.digest("sha1", b"x")}, b"x")
    (tmp_path / "log").write_bytes(log.change(log.events + [made]).encode())
    code, got = avow.json("eventlog", tmp_path / "log")
    assert (code, [f["id"] for f in got["findings"]]) == (UNTRUSTED, ["boot.digest_missing"])
    assert got["log"][-1]["binding"] == "unbound"


def test_sha1_alone_is_read(avow, tmp_path):
    """What the older tables of the ACPI hold: no header, one digest an event."""
    log = uefilog.parse((HOME / "m1-direct" / "binary_bios_measurements").read_bytes())
    data = b"".join(
        e.pcr.to_bytes(4, "little")
        + e.type.to_bytes(4, "little")
        + e.digests["sha1"]
        + len(e.data).to_bytes(4, "little")
        + e.data
        for e in log.events
    )
    (tmp_path / "log").write_bytes(data)
    code, got = avow.json("eventlog", tmp_path / "log")
    assert (code, got["form"], got["boot"]["events"]) == (GOOD, "sha1", len(log.events))
    assert got["boot"]["replayed"] == {"sha1": {str(p): v.hex() for p, v in sorted(log.replay("sha1").items())}}
    pcrs = (HOME / "m1-direct" / "pcrs_sha1.bin").read_bytes()
    for pcr, value in got["boot"]["replayed"]["sha1"].items():
        assert value == pcrs[20 * int(pcr) :][:20].hex()


def bombs() -> dict[str, tuple[bytes, str]]:
    good = (HOME / "m1-direct" / "binary_bios_measurements").read_bytes()
    header, rest, last = good[:69], good[69:], uefilog.parse(good).events[-1].data
    big = b"\xff" * 4
    return {
        "empty": (b"", "boot.log_malformed"),
        "34 bytes": (b"bogus" * 7, "boot.log_malformed"),
        "digests": (header + rest[:8] + big + rest[12:], "boot.log_malformed"),
        "size": (good[: -len(last) - 4] + big + last, "boot.log_malformed"),
        "no header": (rest, "boot.log_malformed"),
        "no algorithm": (good[:56] + bytes(4) + good[60:], "boot.log_malformed"),
        "cut": (good[:-1], "boot.log_malformed"),
        "more": (good + b"\0", "boot.log_malformed"),
        "large": (bytes(16 * 1024 * 1024 + 1), "boot.log_too_large"),
        "events": (bytes(32 * 65537), "boot.log_too_large"),
    }


@pytest.mark.parametrize("name", bombs())
def test_ab15_bombs_are_findings_of_bounded_cost(avow, tmp_path, name):
    data, finding = bombs()[name]
    (tmp_path / "log").write_bytes(data)
    code, got = avow.json("eventlog", tmp_path / "log")
    assert (code, [f["id"] for f in got["findings"]], got["log"]) == (UNTRUSTED, [finding], [])
    done = avow.run("eventlog", tmp_path / "log")
    assert (done.returncode, done.stdout) == (UNTRUSTED, "") and finding in done.stderr


def test_standard_input_and_files_that_are_not_there(avow, tmp_path):
    log = LOGS[0]
    with log.open("rb") as stream:
        done = subprocess.run([avow.program, "eventlog", "-", "--json"], stdin=stream, capture_output=True, timeout=30)
    assert (done.returncode, json.loads(done.stdout)) == avow.json("eventlog", log)
    assert avow.run("eventlog", tmp_path / "nothing").returncode == 1
    assert avow.run("eventlog").returncode == 2


def test_a_table_shows_every_event_and_steers_no_terminal(avow, tmp_path):
    log = uefilog.parse((HOME / "m2-grub-sb" / "binary_bios_measurements").read_bytes())
    i, name = log.find("BootOrder"), "Boot\x1b[2J\u202e\x9b".encode("utf-16-le")
    data = log.events[i].data[:16] + (len(name) // 2).to_bytes(8, "little") + log.events[i].data[24:32] + name
    evil = log.events[i].change(data=data + log.events[i].data[32 + 2 * len("BootOrder") :])
    command = log.events[-1].with_data(b"\x1b[31mExit")
    (tmp_path / "log").write_bytes(log.change(log.events[:i] + [evil] + log.events[i + 1 :] + [command]).encode())
    for output in ("table", "wide"):
        done = avow.run("eventlog", tmp_path / "log", "-o", output)
        lines = done.stdout.split("\n\n")[0].splitlines()
        assert (done.returncode, done.stderr, len(lines)) == (GOOD, "", len(log.events) + 3)
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", done.stdout)
        assert [line.split()[0] for line in lines[1:]] == [str(n) for n in range(len(lines) - 1)]
        digest = log.events[i].digests["sha512"].hex()
        assert (digest in done.stdout) == (output == "wide")
    _, got = avow.json("eventlog", tmp_path / "log")
    assert got["log"][i + 1]["variable"]["name"].encode("utf-16-le") == name
    assert got["log"][i + 1]["binding"] == "bound", "the digest is of the value alone"
    assert got["log"][i + 1]["covered"]["offset"] == 32 + len(name)


# --- Keylime's logs


@pytest.mark.parametrize("name", KEYLIME)
def test_logs_of_keylime_are_what_it_says(avow, keylime_data, tmp_path, name):
    """But for the locality: tpm2-tools 5.4, which its values come from, extends PCR 0 by EV_NO_ACTION and begins with zeros.
    No TPM does: a machine that starts in locality 3 has our values, which the rig's are, too."""
    data = (keylime_data / "vectors" / name).read_bytes()
    data = base64.b64decode(data) if name.endswith(".b64") else data
    log = uefilog.parse(data)
    golden = json.loads((keylime_data / "golden.json").read_text())["eventlogs"][KEYLIME[name]]
    file = tmp_path / "log"
    file.write_bytes(data)
    code, ours = avow.json("eventlog", file)
    assert (code, ours["boot"]["events"]) == (GOOD, golden["event_count"])
    assert ours["boot"]["replayed"] == {b: {str(p): v.hex() for p, v in sorted(log.replay(b).items())} for b in log.banks}
    same_events(ours["log"], tpm2_eventlog(file)[0])
    assert (ours["startup_locality"] is not None) == (name == "binary_bios_measurements")
    file.write_bytes(log.change([e.change(type=1) if e.type == uefilog.NO_ACTION else e for e in log.events]).encode())
    _, ours = avow.json("eventlog", file)
    assert ours["boot"]["replayed"] == golden["pcrs"]
    for bank, values in golden["boot_aggregates"].items():
        assert ours["boot"]["boot_aggregate"][bank] == values[: 1 if bank == "sha1" else 2]
