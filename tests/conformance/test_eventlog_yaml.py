"""`avow eventlog --format tpm2-tools` beside tpm2_eventlog itself: byte for byte."""

import base64
import re
import struct
import subprocess
from pathlib import Path

import pytest
import uefilog
from test_event_log import KEYLIME, LOGS

CAPTURE = next(path for path in LOGS if path.parent.name == "m1-direct")


def both(avow, path: Path) -> tuple[str, str]:
    theirs = subprocess.run(["tpm2_eventlog", path], capture_output=True, timeout=30, check=True).stdout
    ours = subprocess.run([avow.program, "eventlog", "--format", "tpm2-tools", path], capture_output=True, timeout=30)
    assert ours.returncode in (0, 4), ours.stderr
    return ours.stdout.decode("latin-1"), theirs.decode("latin-1")


@pytest.mark.parametrize("path", LOGS, ids=lambda path: path.parent.name)
def test_captures(avow, path):
    ours, theirs = both(avow, path)
    assert ours == theirs and len(ours) > 5000


@pytest.mark.parametrize("name", KEYLIME)
def test_keylimes_vectors(avow, keylime_data, tmp_path, name):
    raw = (keylime_data / "vectors" / name).read_bytes()
    path = tmp_path / "log"
    path.write_bytes(base64.b64decode(raw) if name.endswith(".b64") else raw)
    ours, theirs = both(avow, path)
    if name == "binary_bios_measurements":  # it began in locality 3, which tpm2-tools 5.4 does not know
        pcr_0 = r"(?m)^    0  : 0x[0-9a-f]+$"
        assert re.findall(pcr_0, ours) != re.findall(pcr_0, theirs)
        ours, theirs = re.sub(pcr_0, "", ours), re.sub(pcr_0, "", theirs)
    assert ours == theirs


IMAGE = struct.pack("<QQQQ", 1 << 40, 4096, 7, 4)
SYNTHETIC = {
    "every character": [(0x0D, 8, bytes([c]) + b"z") for c in range(128)],
    "lines": [(0x0D, 8, data) for data in (b"", b"\n", b"a\n", b"a\n\nb\0\n\n", b"\0", b"\"'\\")],
    "texts": [(kind, 4, data) for kind in (0x1, 0x5, 0x80000007) for data in (b"a\nb\0c", b"x" * 16, b"\1", b"\xff")],
    "data": [(kind, 1, b"0123456789abcdef") for kind in [*range(0, 3), *range(4, 0x15), 0x80000009, 0x8000000B, 0x99, 0xFFFF]],
    "newer kinds": [(kind, 1, b"x") for kind in (0x13, 0x80000000, 0x8000000D, 0x80000010, 0x800000E1, 0x800000E4)],
    "firmware": [(kind, 0, bytes(range(20))) for kind in (0x7, 0x80000008)] + [(0x8000000A, 0, b"\3abc" + bytes(range(16)))],
    "images": [(kind, 4, IMAGE + path) for kind in (0x80000003, 0x80000004, 0x80000005) for path in (b"", b"path")],
    "variables": [(kind, 7, bytes(range(16)) + struct.pack("<QQ", 2, len(v)) + b"a\0b\0" + v)
                  for kind in (0x80000001, 0x80000002, 0x800000E0) for v in (b"", b"value")],
}  # fmt: skip


@pytest.mark.parametrize("name", SYNTHETIC)
def test_made_logs(avow, tmp_path, name):
    log = uefilog.parse(CAPTURE.read_bytes())
    event = log.events[0]
    path = tmp_path / "log"
    path.write_bytes(log.change([event.change(type=t, pcr=p, data=d) for t, p, d in SYNTHETIC[name]]).encode())
    ours, theirs = both(avow, path)
    assert ours == theirs


def test_vendors_part_of_the_header(avow, tmp_path):
    log = uefilog.parse(CAPTURE.read_bytes())
    head = log.header[:28] + struct.pack("<I", len(log.header) - 32 + 5) + log.header[32:-1] + b"\5vendo"
    path = tmp_path / "log"
    path.write_bytes(uefilog.replace(log, header=head).encode())
    ours, theirs = both(avow, path)
    assert ours == theirs and '"76656e646f"' in ours


def test_no_log_is_no_yaml(avow, tmp_path):
    path = tmp_path / "log"
    path.write_bytes(b"no log")
    done = avow.run("eventlog", "--format", "tpm2-tools", path)
    assert done.returncode == 4 and not done.stdout and "boot.log_malformed" in done.stderr
    assert avow.run("eventlog", "--format", "yaml", path).returncode == 2
    assert avow.run("eventlog", "--format", "tpm2-tools", "--json", path).returncode == 2
