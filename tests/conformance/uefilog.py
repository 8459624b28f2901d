"""The firmware's event log, read and written without our code (TCG PC Client PFP 1.05, clauses 10.2 and 10.4)."""

import struct
from dataclasses import dataclass, replace

from tpmbytes import BANKS, NAMES, SIZES, digest

NO_ACTION, SEPARATOR, ACTION, IPL = 0x3, 0x4, 0x5, 0xD
VARIABLE_DRIVER_CONFIG, VARIABLE_BOOT, BOOT_APPLICATION = 0x80000001, 0x80000002, 0x80000003
GPT, EFI_ACTION, VARIABLE_AUTHORITY, VARIABLE_BOOT2 = 0x80000006, 0x80000007, 0x800000E0, 0x8000000C
# Event types whose digests are over the event's whole data.
BOUND = (VARIABLE_DRIVER_CONFIG, VARIABLE_AUTHORITY, SEPARATOR, EFI_ACTION, GPT)


@dataclass
class Event:
    pcr: int
    type: int
    digests: dict[str, bytes]
    data: bytes

    def change(self, **changes) -> "Event":
        return replace(self, **changes)

    def with_data(self, data: bytes) -> "Event":
        """Other data, and digests that are true of it."""
        return replace(self, data=data, digests={bank: digest(bank, data) for bank in self.digests})

    @property
    def variable(self) -> str:
        """The name of the variable, of events that are about one; else empty."""
        if self.type not in (VARIABLE_DRIVER_CONFIG, VARIABLE_BOOT, VARIABLE_AUTHORITY, VARIABLE_BOOT2) or len(self.data) < 32:
            return ""
        (n,) = struct.unpack_from("<Q", self.data, 16)
        return self.data[32 : 32 + 2 * min(n, 512)].decode("utf-16-le", errors="replace")


@dataclass
class Log:
    header: bytes  # the first event, as it is
    banks: list[str]
    events: list[Event]

    def encode(self) -> bytes:
        out = self.header
        for e in self.events:
            out += struct.pack("<III", e.pcr, e.type, len(e.digests))
            for bank, value in e.digests.items():
                out += struct.pack("<H", BANKS[bank]) + value
            out += struct.pack("<I", len(e.data)) + e.data
        return out

    def change(self, events: list[Event]) -> "Log":
        return replace(self, events=events)

    def replay(self, bank: str) -> dict[int, bytes]:
        out: dict[int, bytes] = {}
        for e in self.events:
            if e.type == NO_ACTION:
                if e.data.startswith(b"StartupLocality\0"):
                    out[0] = bytes(SIZES[bank] - 1) + e.data[16:17]
                continue
            if bank in e.digests:
                out[e.pcr] = digest(bank, out.get(e.pcr, bytes(SIZES[bank])), e.digests[bank])
        return out

    def find(self, name: str) -> int:
        return next(i for i, e in enumerate(self.events) if e.variable == name)


def parse(data: bytes) -> Log:
    (size,) = struct.unpack_from("<I", data, 28)
    spec = data[32 : 32 + size]
    assert spec.startswith(b"Spec ID Event03"), "not a crypto-agile log"
    (count,) = struct.unpack_from("<I", spec, 24)
    sizes = dict(struct.unpack_from("<HH", spec, 28 + 4 * i) for i in range(count))
    at, events = 32 + size, []
    while at < len(data):
        pcr, kind, n = struct.unpack_from("<III", data, at)
        at += 12
        digests = {}
        for _ in range(n):
            (bank,) = struct.unpack_from("<H", data, at)
            digests[NAMES[bank]] = data[at + 2 : at + 2 + sizes[bank]]
            at += 2 + sizes[bank]
        (n,) = struct.unpack_from("<I", data, at)
        events.append(Event(pcr, kind, digests, data[at + 4 : at + 4 + n]))
        at += 4 + n
    return Log(data[: 32 + size], [NAMES[a] for a in sizes], events)
