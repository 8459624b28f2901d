"""Keylime's reference states out of firmware logs, made without our code and without Keylime's."""

import re
import struct

import uefilog

X509 = bytes.fromhex("a159c0a5e494a74a87b5ab155c2bf072")
CRTM_VERSION, BLOBS = 0x8, (0x80000008, 0x8000000A)


def guid(b: bytes) -> str:
    a, c, d = struct.unpack_from("<IHH", b)
    return f"{a:08x}-{c:04x}-{d:04x}-{b[8:10].hex()}-{b[10:16].hex()}"


def signature(data: bytes) -> dict:
    return {"SignatureOwner": guid(data), "SignatureData": "0x" + data[16:].hex()}


def signatures(lists: bytes) -> list[dict]:
    """Of EFI_SIGNATURE_LISTs, one behind the other."""
    out = []
    while lists:
        size, header, each = struct.unpack_from("<III", lists, 16)
        out += [signature(lists[i : i + each]) for i in range(28 + header, size, each)]
        lists = lists[size:]
    return out


def value(e: uefilog.Event) -> bytes:
    name, size = struct.unpack_from("<QQ", e.data, 16)
    return e.data[32 + 2 * name :][:size]


def sha256(e: uefilog.Event) -> str:
    return "0x" + e.digests["sha256"].hex()


def text(e: uefilog.Event) -> str:
    return e.data.rstrip(b"\0").decode("latin-1")


def make(log: uefilog.Log) -> dict:
    """For a boot of shim, GRUB and a kernel, with Secure Boot."""
    keys = {k: [] for k in ("pk", "kek", "db", "dbx", "vendor_db")}
    for e in log.events:
        if e.type == uefilog.VARIABLE_DRIVER_CONFIG and e.variable.lower() in keys:
            keys[e.variable.lower()] = signatures(value(e))
        elif e.type == uefilog.VARIABLE_AUTHORITY and e.variable == "vendor_db":
            keys["vendor_db"] = [signature(value(e))]
    images = [e for e in log.events if e.type == uefilog.BOOT_APPLICATION]
    ipl = {pcr: [e for e in log.events if e.pcr == pcr and e.type == uefilog.IPL] for pcr in (8, 9, 14)}
    line = next(text(e) for e in ipl[8] if text(e).startswith("kernel_cmdline: "))
    initrd = next(e for e in ipl[9] if "/initr" in text(e))
    return keys | {
        "has_secureboot": True,
        "scrtm_and_bios": [{
            "scrtm": next({"sha256": sha256(e)} for e in log.events if e.type == CRTM_VERSION),
            "platform_firmware": [{"sha256": sha256(e)} for e in log.events if e.type in BLOBS],
        }],
        "mokdig": [{"sha256": sha256(e)} for e in ipl[14] if text(e) == "MokList"],
        "mokxdig": [{"sha256": sha256(e)} for e in ipl[14] if text(e) == "MokListX"],
        "kernels": [{
            "shim_authcode_sha256": sha256(images[0]),
            "grub_authcode_sha256": sha256(images[1]),
            "kernel_authcode_sha256": sha256(images[2]),
            "initrd_plain_sha256": sha256(initrd),
            "kernel_cmdline": re.escape(line[len("kernel_cmdline: ") :]),
        }],
    }  # fmt: skip
