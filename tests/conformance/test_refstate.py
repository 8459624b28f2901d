"""Keylime's reference states for measured boot: its own vectors, and its own code beside ours.

Every case that Keylime rejects is refused here, but where its rejection protects nothing (S29); every case that is refused
here alone has a reason that docs/KEYLIME.md names.
"""

import base64
import copy
import json
import random
import re
import struct
import subprocess
from collections import Counter
from pathlib import Path

import pytest
import refstates
import uefilog

ROOT = Path(__file__).resolve().parents[2]
CAPTURE = ROOT / "tests" / "vectors" / "captures" / "m2-grub-sb" / "binary_bios_measurements"
SECURE = "binary_bios_measurements-secureboot"
GOOD, UNTRUSTED = 0, 4
ROUNDS = 150


class Keylime:
    """Its policy `example`, in a process of its own environment."""

    def __init__(self, python: Path):
        self.python = python
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            [self.python, Path(__file__).with_name("refstate_oracle.py")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip

    def stop(self) -> None:
        self.process.stdin.close()
        self.process.wait(30)

    def judge(self, log: bytes, refstate: dict) -> str:
        """Why it rejects the log; "" if it accepts it. libefivar may crash on device paths, and takes it along."""
        request = {"log": base64.b64encode(log).decode(), "refstate": refstate}
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            self.process.wait(30)
            self.start()
            return "crashed"
        return json.loads(answer)["reason"]


@pytest.fixture(scope="module")
def keylime():
    done = subprocess.run([ROOT / "tests" / "support" / "keylime-venv.sh"], capture_output=True, text=True, timeout=300)
    if done.returncode:
        pytest.fail(f"Keylime cannot be installed:\n{done.stderr[-2000:]}")
    process = Keylime(Path(done.stdout.strip()) / "bin" / "python")
    yield process
    process.stop()


def log_of(data: Path, name: str) -> bytes:
    raw = (data / "vectors" / name).read_bytes()
    return base64.b64decode(raw) if name.endswith(".b64") else raw


def judged(avow, tmp_path, refstate, log: bytes) -> list[dict] | str:
    """The findings, or why the reference state is not loaded."""
    document, file = tmp_path / "refstate.json", tmp_path / "log"
    document.write_text(refstate if isinstance(refstate, str) else json.dumps(refstate))
    file.write_bytes(log)
    done = avow.run("eventlog", "--refstate", document, file, "--json")
    if done.returncode not in (GOOD, UNTRUSTED):
        return done.stderr
    findings = json.loads(done.stdout)["findings"]
    assert bool(findings) == (done.returncode == UNTRUSTED)
    return findings


def kernel(**changes):
    def change(r):
        r["kernels"][0] |= changes
    return change  # fmt: skip


def sets(**changes):
    return lambda r: r.update(changes)


ZEROS = "0x" + "00" * 32
OWNER = "77fa9abd-0359-4d32-bd60-28f4e78f784b"
MUTATIONS = {
    "unmodified": lambda r: None,
    "pk=[]": sets(pk=[]),
    "kek minus 1": lambda r: r["kek"].pop(),
    "db minus 1": lambda r: r["db"].pop(),
    "db plus 1": lambda r: r["db"].append({"SignatureOwner": OWNER, "SignatureData": "0x" + "11" * 40}),
    "dbx minus 1": lambda r: r["dbx"].pop(),
    "dbx plus 1 (refstate demands entry not in log)":
        lambda r: r["dbx"].append({"SignatureOwner": OWNER, "SignatureData": ZEROS}),
    "vendor_db removed": lambda r: r.pop("vendor_db"),
    "vendor_db=[]": sets(vendor_db=[]),
    "mokdig=[]": sets(mokdig=[]),
    "mokxdig=[]": sets(mokxdig=[]),
    "has_secureboot=False": sets(has_secureboot=False),
    "shim hash changed": kernel(shim_authcode_sha256=ZEROS),
    "kernel authcode changed": kernel(kernel_authcode_sha256=ZEROS),
    "initrd changed": kernel(initrd_plain_sha256=ZEROS),
    "cmdline regex mismatch": kernel(kernel_cmdline="nomatch"),
    "cmdline .*": kernel(kernel_cmdline=".*"),
    "kernels=[]": sets(kernels=[]),
    "scrtm_and_bios=[]": sets(scrtm_and_bios=[]),
    "scrtm changed": lambda r: r["scrtm_and_bios"][0].update(scrtm={"sha256": ZEROS}),
    "platform_firmware reversed": lambda r: r["scrtm_and_bios"][0]["platform_firmware"].reverse(),
    "missing key dbx": lambda r: r.pop("dbx"),
    "{}": lambda r: r.clear(),
}  # fmt: skip
# What our finding or error says of those that are rejected.
SAYS = {
    "pk=[]": "PK", "kek minus 1": "KEK", "db minus 1": "db", "vendor_db removed": "vendor_db", "vendor_db=[]": "vendor_db",
    "dbx plus 1 (refstate demands entry not in log)": "dbx", "mokdig=[]": "MokList", "mokxdig=[]": "MokListX",
    "has_secureboot=False": "vmlinuz_plain_sha256", "shim hash changed": "shim", "kernel authcode changed": "kernel",
    "initrd changed": "initrd", "cmdline regex mismatch": "kernel_cmdline", "kernels=[]": "kernels",
    "scrtm_and_bios=[]": "scrtm_and_bios", "scrtm changed": "scrtm_and_bios", "platform_firmware reversed": "scrtm_and_bios",
    "missing key dbx": "dbx", "{}": "{}",
}  # fmt: skip


def test_every_mutation_of_the_vectors_is_here(keylime_data):
    assert list(MUTATIONS) == list(json.loads((keylime_data / "example-policy-mutations.json").read_text()))


@pytest.mark.parametrize("name", MUTATIONS)
def test_mutations_have_keylimes_verdict(avow, keylime_data, tmp_path, name):
    expected = json.loads((keylime_data / "example-policy-mutations.json").read_text())[name]
    refstate = json.loads((keylime_data / f"{SECURE}.refstate.json").read_text())
    MUTATIONS[name](refstate)
    got = judged(avow, tmp_path, refstate, log_of(keylime_data, SECURE))
    assert (got == []) == (expected == "ACCEPT"), got
    assert (got == []) == (name not in SAYS)
    if name in SAYS:
        assert SAYS[name] in json.dumps(got)


@pytest.mark.parametrize(
    "refstate, log, good",
    [
        (f"{SECURE}.refstate", SECURE, True),
        (f"{SECURE}.refstate-nosb", SECURE, True),
        ("mb_log.b64.refstate", "mb_log.b64", True),
        ("mb_log.b64.refstate-nosb", "mb_log.b64", True),
        ("binary_bios_measurements.refstate-nosb", "binary_bios_measurements", False),
        ("uefi_log.bin.refstate-nosb", "uefi_log.bin", False),
    ],
)
def test_reference_states_of_the_vectors(avow, keylime, keylime_data, tmp_path, refstate, log, good):
    document = json.loads((keylime_data / f"{refstate}.json").read_text())
    raw = log_of(keylime_data, log)
    assert (judged(avow, tmp_path, document, raw) == []) == good
    assert (keylime.judge(raw, document) == "") == good


# --- Holes of Keylime, by their numbers in docs/KEYLIME.md ---


@pytest.fixture
def capture() -> tuple[uefilog.Log, dict]:
    log = uefilog.parse(CAPTURE.read_bytes())
    return log, refstates.make(log)


def ids(findings: list[dict] | str) -> set[str]:
    assert not isinstance(findings, str), findings
    return {f["id"] for f in findings}


def text_event(log: uefilog.Log, start: bytes) -> int:
    return next(i for i, e in enumerate(log.events) if e.data.startswith(start))


def flip_state(e: uefilog.Event) -> bytes:
    return e.data[:-1] + bytes([1 - e.data[-1]])


def test_s3_secure_boot_off_under_the_data_of_on(avow, keylime, tmp_path, capture):
    """Off was measured; the log shows the data of on. Keylime accepts it."""
    log, refstate = capture
    i = log.find("SecureBoot")
    off = log.events[i].with_data(flip_state(log.events[i]))
    log.events[i] = off.change(data=log.events[i].data)
    assert keylime.judge(log.encode(), refstate) == ""
    assert ids(judged(avow, tmp_path, refstate, log.encode())) >= {"boot.data_unbound", "boot.data_untrusted"}
    log.events[i] = off  # told as it was, both reject it
    assert keylime.judge(log.encode(), refstate)
    assert "boot.secure_boot" in ids(judged(avow, tmp_path, refstate, log.encode()))


def test_s3_another_command_line_under_the_good_text(avow, keylime, tmp_path, capture):
    log, refstate = capture
    i = text_event(log, b"kernel_cmdline: ")
    e = log.events[i]
    log.events[i] = e.with_data(b"/boot/vmlinuz init=/bin/sh").change(data=e.data)
    assert keylime.judge(log.encode(), refstate) == ""
    assert "boot.data_untrusted" in ids(judged(avow, tmp_path, refstate, log.encode()))


def test_s3_another_command_line_as_a_command_of_grub(avow, keylime, tmp_path, capture):
    """The prefix is not hashed: whoever owns the machine extends the good line, and relabels the bad one."""
    log, refstate = capture
    i = text_event(log, b"kernel_cmdline: ")
    good, bad = log.events[i], b"/boot/vmlinuz init=/bin/sh"
    log.events[i] = good.with_data(bad).change(data=b"grub_cmd: " + bad + b"\0")
    log.events.append(good)
    assert keylime.judge(log.encode(), refstate) == ""
    assert "boot.command_line" in ids(judged(avow, tmp_path, refstate, log.encode()))


def test_s3_another_db_as_what_signed_shim(avow, keylime, tmp_path, capture):
    """Keylime accepts any authority of this name, once, and needs no db."""
    log, refstate = capture
    i = log.find("db")
    bad = log.events[i].data[:-1] + b"!"
    log.events[i] = log.events[i].with_data(bad).change(type=uefilog.VARIABLE_AUTHORITY)
    log.events = [e for n, e in enumerate(log.events) if n == i or (e.type, e.variable) != (uefilog.VARIABLE_AUTHORITY, "db")]
    assert keylime.judge(log.encode(), refstate) == ""
    assert "boot.variable" in ids(judged(avow, tmp_path, refstate, log.encode()))


def test_s3_other_keys_of_the_owner_as_a_flag(avow, keylime, tmp_path, capture):
    log, refstate = capture
    i = text_event(log, b"MokList\0")
    good = log.events[i]
    log.events = [e for e in log.events if not e.data.startswith(b"MokListTrusted")]
    log.events[i] = good.with_data(b"bad").change(data=b"MokListTrusted\0")
    log.events.append(good)
    assert keylime.judge(log.encode(), refstate) == ""
    assert "boot.mok" in ids(judged(avow, tmp_path, refstate, log.encode()))


@pytest.mark.parametrize("extended, found", [("before", {"boot.file"}), ("after", {"boot.file"})])
def test_s3_another_initial_ramdisk_as_a_file_of_grub(avow, keylime, tmp_path, capture, extended, found):
    """Its name is not hashed. With grub_files there is none that it could pass as; without, only at its place."""
    log, refstate = capture
    i = text_event(log, b"/boot/initrd")
    good, files = log.events[i], [e for e in log.events if e.pcr == 9 and not e.data.startswith(b"/boot/initrd")]
    bad = good.with_data(b"bad").change(data=b"/boot/grub/fonts\0")
    log.events[i : i + 1] = [bad, good] if extended == "before" else [good, bad]
    assert keylime.judge(log.encode(), refstate) == ""
    whole = refstate | {"grub_files": [{"sha256": refstates.sha256(e)} for e in files]}
    assert keylime.judge(log.encode(), whole) == ""  # it ignores the member
    assert ids(judged(avow, tmp_path, whole, log.encode())) == found
    if extended == "after":
        assert ids(judged(avow, tmp_path, refstate, log.encode())) == found
    log.events[i : i + 2] = [good]
    assert judged(avow, tmp_path, whole, log.encode()) == []


@pytest.mark.parametrize("names", [["SecureBoot"], ["PK", "KEK"], ["db"], ["dbx"]])
def test_s4_a_variable_that_was_not_measured(avow, keylime, tmp_path, capture, names):
    log, refstate = capture
    log.events = [e for e in log.events if e.variable not in names]
    assert keylime.judge(log.encode(), refstate) == ""
    assert ids(judged(avow, tmp_path, refstate, log.encode())) <= {"boot.secure_boot", "boot.variable"}
    assert judged(avow, tmp_path, refstate, log.encode())


def test_s5_every_boot_is_judged(avow, tmp_path, capture):
    """Nothing is remembered of a boot that was accepted: that of another kernel, and again the first one."""
    log, refstate = capture
    good = log.encode()
    i = next(n for n, e in enumerate(log.events) if e.type == uefilog.BOOT_APPLICATION)
    log.events[i] = log.events[i].with_data(b"another")
    assert [ids(judged(avow, tmp_path, refstate, x)) for x in (good, log.encode(), good)] == [set(), {"boot.image"}, set()]


def test_s5_a_policy_that_accepts_everything_is_none(avow, tmp_path, capture):
    for text in ("{}", " {\n} "):
        assert "accepts every boot" in judged(avow, tmp_path, text, capture[0].encode())


def extra(pcr: int, kind: int, data: bytes, measured: bytes | None = None):
    def change(log: uefilog.Log) -> None:
        e = log.events[0].with_data(data if measured is None else measured)
        log.events.append(e.change(pcr=pcr, type=kind, data=data))
    return change  # fmt: skip


def second_list_of_dbx(log: uefilog.Log) -> None:
    i = log.find("dbx")
    lists = refstates.value(log.events[i]) + refstates.X509 + struct.pack("<III", 46, 0, 18) + bytes(16) + b"DE"
    head = log.events[i].data[: -len(refstates.value(log.events[i]))]
    head = head[:24] + struct.pack("<Q", len(lists)) + head[32:]
    log.events[i] = log.events[i].with_data(head + lists)


ORDINARY = {
    "StartupLocality": extra(0, uefilog.NO_ACTION, b"StartupLocality\0\3"),
    "another EV_NO_ACTION": extra(0, uefilog.NO_ACTION, b"x"),
    "dbx of several lists": second_list_of_dbx,
    "runtime driver": extra(2, 0x80000005, bytes(32), b"code"),
    "bound data of a card": extra(2, 0x11, b"card"),
    "boot option of the newer kind": extra(1, uefilog.VARIABLE_BOOT2, bytes(16) + struct.pack("<QQ", 1, 1) + b"B\0v"),
    "configuration of the vendor": extra(1, uefilog.VARIABLE_DRIVER_CONFIG, bytes(16) + struct.pack("<QQ", 1, 1) + b"V\0v"),
    "unified kernel": extra(11, uefilog.IPL, b".linux\0", b"code"),
    "its command line": extra(12, uefilog.IPL, b"quiet"),
}


@pytest.mark.parametrize("name", ORDINARY)
def test_s29_ordinary_logs_are_accepted(avow, keylime, tmp_path, capture, name):
    log, refstate = capture
    assert judged(avow, tmp_path, refstate, log.encode()) == [] and keylime.judge(log.encode(), refstate) == ""
    ORDINARY[name](log)
    assert judged(avow, tmp_path, refstate, log.encode()) == []
    assert keylime.judge(log.encode(), refstate)


def test_s29_code_under_another_label_is_accepted_by_its_digest_alone(avow, tmp_path, capture):
    log, refstate = capture
    extra(0, 0x1, b"ACPI DATA", b"tables")(log)
    assert ids(judged(avow, tmp_path, refstate, log.encode())) == {"boot.firmware"}
    refstate["scrtm_and_bios"][0]["platform_firmware"].append({"sha256": refstates.sha256(log.events[-1])})
    assert judged(avow, tmp_path, refstate, log.encode()) == []


def test_s29_the_vectors_log_with_several_lists_in_dbx(avow, keylime_data, tmp_path):
    """With the code of PCR 0 named: nothing else of a laptop's log stands in the way."""
    log = uefilog.parse(log_of(keylime_data, "uefi_log.bin"))
    refstate = json.loads((keylime_data / "uefi_log.bin.refstate-nosb.json").read_text())
    code = [{"sha256": refstates.sha256(e)} for e in log.events if e.pcr == 0 and e.type == 0x1]
    refstate["scrtm_and_bios"][0]["platform_firmware"] += code
    assert len(code) == 2 and judged(avow, tmp_path, refstate, log.encode()) == []
    refstate["dbx"].append({"SignatureOwner": OWNER, "SignatureData": ZEROS})
    assert ids(judged(avow, tmp_path, refstate, log.encode())) == {"boot.variable"}


# --- Keylime's own code, on documents and logs that are changed at random ---


def mutate_refstate(rng: random.Random, refstate: dict) -> str:
    kind = rng.choice(["digest", "drop key", "drop item", "drop member", "swap", "cmdline", "secureboot", "double", "owner"])
    k = rng.choice(refstate["kernels"])
    lists = [name for name in ("pk", "kek", "db", "dbx", "vendor_db", "mokdig", "mokxdig") if refstate.get(name)]
    if kind == "digest":
        name = rng.choice([m for m in k if m.endswith("sha256")])
        k[name] = "0x" + rng.randbytes(32).hex()
    elif kind == "drop key":
        del k[rng.choice(list(k))]
    elif kind == "drop item":
        name = rng.choice(lists)
        del refstate[name][rng.randrange(len(refstate[name]))]
    elif kind == "drop member":
        del refstate[rng.choice(list(refstate))]
    elif kind == "swap":
        rng.shuffle(refstate["scrtm_and_bios"][0]["platform_firmware"])
    elif kind == "cmdline":
        k["kernel_cmdline"] = rng.choice([k["kernel_cmdline"] + ".*", ".*quiet.*", "x|.*", ".+ ro .+"])
    elif kind == "secureboot":
        refstate["has_secureboot"] = rng.choice([True, False])
    elif kind == "double":
        bad = copy.deepcopy(k) | {"initrd_plain_sha256": "0x" + rng.randbytes(32).hex()}
        refstate["kernels"].insert(rng.randrange(2), bad)
    else:
        name = rng.choice([n for n in lists if n[:3] != "mok"])
        rng.choice(refstate[name])["SignatureOwner"] = OWNER
    return kind


def mutate_log(rng: random.Random, log: uefilog.Log) -> tuple[uefilog.Log, str]:
    events = list(log.events)
    i = rng.randrange(len(events))
    e = events[i]
    kind = rng.choice(["digest", "type", "data", "drop", "double", "swap", "pcr", "rename", "extend"])
    if kind == "digest":
        events[i] = e.change(digests={bank: rng.randbytes(len(d)) for bank, d in e.digests.items()})
    elif kind == "type":
        events[i] = e.change(type=rng.choice([x.type for x in events] + [0x1, 0x11, 0x80000005, 0x8000000C]))
    elif kind == "data" and e.data:
        at = rng.randrange(len(e.data))
        data = e.data[:at] + bytes([e.data[at] ^ 1]) + e.data[at + 1 :]
        events[i] = e.with_data(data) if rng.random() < 0.5 else e.change(data=data)
    elif kind == "drop":
        del events[i]
    elif kind == "double":
        events.insert(i, e)
    elif kind == "swap":
        j = rng.randrange(len(events))
        events[i], events[j] = events[j], events[i]
    elif kind == "pcr":
        events[i] = e.change(pcr=rng.choice([0, 1, 2, 3, 4, 5, 7, 8, 9, 11, 14]))
    elif kind == "rename":
        i = rng.choice([n for n, x in enumerate(events) if x.type == uefilog.IPL])
        name = rng.choice([b"MokList\0", b"/grub/x\0", b"/vmlinuz\0", b"/initrd.img\0", b"kernel_cmdline: /x\0", b"grub_cmd: x\0"])
        events[i] = events[i].change(data=name)
    else:
        e = rng.choice([x for x in events if x.type == uefilog.IPL])
        events.append(e.change(digests={bank: rng.randbytes(len(d)) for bank, d in e.digests.items()}))
    return log.change(events), kind


# Rejections of Keylime that protect nothing, and the hole of docs/KEYLIME.md.
HARMLESS = [
    ("data that tpm2-tools cannot print", r"^(the log cannot be parsed$|EXC UnicodeDecodeError|crashed)"),
    ("S29 EV_NO_ACTION", r"'EventType': 'EV_NO_ACTION'.*(was already run once|has unexpected)"),
    ("S29 configuration and drivers", r"has unexpected \('PCRIndex', 'EventType'\) combination \([12], "),
    ("S29 configuration and drivers", r"'PCRIndex': 1, .*(Event\.|rather than|EV_EFI_ACTION|is not a dict|has no)"),
    ("S29 PCRs that are not covered", r"has unexpected \('PCRIndex', 'EventType'\) combination \((1[0-35]|[12]\d), "),
    ("S29 dbx of several lists", r"'UnicodeName': 'dbx'.*(than the applicable tests)"),
    ("S29 code that is named by its digest", r"combination \(0, '(EV_POST_CODE2?|EV_S_CRTM_CONTENTS|EV_NONHOST_(INFO|CODE)|"
     r"EV_\w+|Unknown event type)'\)"),
    ("S29 partition table of the newer kind", r"combination \(5, 'EV_EFI_GPT_EVENT2'\)"),
]  # fmt: skip
# What is refused here alone, by our finding.
HOLES = {
    "boot.data_untrusted": "S3", "boot.data_unbound": "S3", "boot.digest_missing": "S3", "boot.mok": "S3", "boot.file": "S3",
    "boot.command_line": "S3", "boot.event_missing": "S4", "boot.secure_boot": "S4", "boot.variable": "S4",
}  # fmt: skip


def harmless(reason: str) -> str | None:
    return next((hole for hole, pattern in HARMLESS if re.search(pattern, reason, re.S)), None)


def compare(avow, keylime, tmp_path, refstate: dict, log: bytes, counts: Counter, what: str) -> None:
    ours = judged(avow, tmp_path, refstate, log)
    theirs = keylime.judge(log, refstate)
    if (ours == []) == (theirs == ""):
        counts["both accept" if ours == [] else "both refuse"] += 1
    elif ours == []:
        hole = harmless(theirs)
        assert hole, f"{what}: Keylime alone rejects: ...{theirs[-400:]}"
        counts[f"only Keylime rejects, {hole}"] += 1
    else:
        assert not isinstance(ours, str), f"{what}: not loaded here: {ours}"
        holes = {HOLES.get(f["id"]) for f in ours}
        assert None not in holes, f"{what}: only we refuse: {ours}"
        counts[f"only we refuse, {min(holes)}"] += 1


def cases(data: Path | None):
    if not data:
        log = CAPTURE.read_bytes()
        return [("m2-grub-sb", log, refstates.make(uefilog.parse(log)))]
    return [
        (name, log_of(data, name), json.loads((data / f"{name}.refstate.json").read_text())) for name in (SECURE, "mb_log.b64")
    ]


def differ(avow, keylime, tmp_path, data: Path | None) -> None:
    for name, log, refstate in cases(data):
        counts = Counter()
        for seed in range(ROUNDS):
            rng = random.Random(f"{name} {seed}")
            document, made, what = copy.deepcopy(refstate), log, "unchanged"
            if seed and rng.random() < 0.4:
                what = mutate_refstate(rng, document)
            elif seed:
                changed, what = mutate_log(rng, uefilog.parse(log))
                made = changed.encode()
            compare(avow, keylime, tmp_path, document, made, counts, f"{name}, seed {seed}, {what}")
        print(f"{name}: {dict(counts)}")
        assert counts["both accept"] > 5 and counts["both refuse"] > 20


def test_capture_changed_at_random_is_judged_as_by_keylime(avow, keylime, tmp_path):
    differ(avow, keylime, tmp_path, None)


def test_vectors_changed_at_random_are_judged_as_by_keylime(avow, keylime, keylime_data, tmp_path):
    differ(avow, keylime, tmp_path, keylime_data)
