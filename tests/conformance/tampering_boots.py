"""Operators on firmware logs, beside quotes that cover the PCRs of the boot. See tampering.py."""

import struct

import machines
import tpmbytes
import uefilog
from tampering import DoesNotApply, Subject, first, flip, harmless, operator

MISMATCH = "boot.pcr_mismatch"
UNBOUND = "boot.data_unbound"


def at(s: Subject, wanted) -> int:
    """An event of a quoted PCR that is extended."""
    for i, e in enumerate(s.capture.events.events):
        if e.type != uefilog.NO_ACTION and e.pcr in s.boot_pcrs and wanted(e):
            return i
    raise DoesNotApply("no such event")


def events(s: Subject) -> list[uefilog.Event]:
    return s.capture.events.events


def replaced(s: Subject, i: int, *made: uefilog.Event) -> machines.Case:
    return s.with_events(events(s)[:i] + list(made) + events(s)[i + 1 :])


def is_bound(e: uefilog.Event) -> bool:
    return e.type in uefilog.BOUND and len(e.data) > 4


@operator("boot", MISMATCH)
def event_dropped(s):
    i = at(s, lambda e: e.pcr == 4)
    return replaced(s, i)


@operator("boot", MISMATCH)
def event_of_secure_boot_dropped(s):
    return replaced(s, s.capture.events.find("SecureBoot"))


@operator("boot", MISMATCH)
def events_of_pcr_7_dropped(s):
    return s.with_events([e for e in events(s) if e.pcr != 7])


@operator("boot", MISMATCH)
def last_event_dropped(s):
    return s.with_events(events(s)[:-1])


@operator("boot", MISMATCH)
def event_doubled(s):
    i = at(s, is_bound)
    return replaced(s, i, events(s)[i], events(s)[i])


@operator("boot", MISMATCH)
def events_of_one_pcr_swapped(s):
    i = at(s, lambda e: e.pcr == 7)
    made = list(events(s))
    later = (j for j in range(i + 1, len(made)) if made[j].pcr == 7 and made[j].digests != made[i].digests)
    j = first(later, "one event")
    made[i], made[j] = made[j], made[i]
    return s.with_events(made)


@harmless("boot")
def events_of_two_pcrs_swapped(s):
    """No PCR tells the order of events of different PCRs."""
    made = list(events(s))
    for i in range(len(made) - 1):
        if made[i].pcr != made[i + 1].pcr and uefilog.NO_ACTION not in (made[i].type, made[i + 1].type):
            made[i], made[i + 1] = made[i + 1], made[i]
            return s.with_events(made)
    raise DoesNotApply("one PCR only")


@operator("boot", MISMATCH)
def event_of_an_implant(s):
    made = uefilog.Event(4, uefilog.EFI_ACTION, {b: b"" for b in s.capture.events.banks}, b"").with_data(b"implant")
    return s.with_events(events(s) + [made])


@operator("boot", UNBOUND)
def data_changed(s):
    i = at(s, is_bound)
    return replaced(s, i, events(s)[i].change(data=flip(events(s)[i].data, -1)))


@operator("boot", MISMATCH)
def data_and_digests_changed(s):
    i = at(s, is_bound)
    return replaced(s, i, events(s)[i].with_data(flip(events(s)[i].data, -1)))


@operator("boot", UNBOUND)
def secure_boot_turned_round(s):
    i = s.capture.events.find("SecureBoot")
    return replaced(s, i, events(s)[i].change(data=flip(events(s)[i].data, -1)))


@operator("boot", MISMATCH)
def secure_boot_turned_round_and_digests(s):
    i = s.capture.events.find("SecureBoot")
    return replaced(s, i, events(s)[i].with_data(flip(events(s)[i].data, -1)))


@operator("boot", UNBOUND)
def command_line_changed(s):
    i = at(s, lambda e: e.data.startswith(b"kernel_cmdline: "))
    return replaced(s, i, events(s)[i].change(data=events(s)[i].data.replace(b"ro", b"rw")))


def quoted_banks(s: Subject) -> set[str]:
    return set(s.quote.selected)


@operator("boot", MISMATCH)
def digest_of_a_quoted_bank(s):
    i = at(s, lambda e: e.type == uefilog.BOOT_APPLICATION)
    made = dict(events(s)[i].digests)
    for bank in quoted_banks(s):
        made[bank] = flip(made[bank], 7)
    return replaced(s, i, events(s)[i].change(digests=made))


@operator("boot", UNBOUND, MISMATCH)
def digest_of_another_bank(s):
    """Nobody quoted that bank, but the data says what it has to be."""
    i = at(s, is_bound)
    made = dict(events(s)[i].digests)
    for bank in set(made) - quoted_banks(s):
        made[bank] = flip(made[bank], 7)
    if made == events(s)[i].digests:
        raise DoesNotApply("all banks were quoted")
    return replaced(s, i, events(s)[i].change(digests=made))


@operator("boot", "boot.digest_missing", MISMATCH)
def digest_missing(s):
    i = at(s, is_bound)
    bank = next(iter(quoted_banks(s)))
    made = {b: d for b, d in events(s)[i].digests.items() if b != bank}
    return replaced(s, i, events(s)[i].change(digests=made))


@operator("boot", MISMATCH, "boot.digest_missing", "boot.log_malformed")
def digests_of_a_bank_under_another_name(s):
    i = at(s, is_bound)
    raw = events(s)[i]
    data = s.capture.events.change(events(s)[:i]).encode()
    data += struct.pack("<III", raw.pcr, raw.type, len(raw.digests))
    for bank, value in raw.digests.items():
        data += struct.pack("<H", 0x0012 if bank in quoted_banks(s) else tpmbytes.BANKS[bank]) + value
    data += struct.pack("<I", len(raw.data)) + raw.data
    rest = s.capture.events.change(events(s)[i + 1 :])
    return s.case.change(boot=data + rest.encode()[len(rest.header) :])


@operator("boot", MISMATCH)
def pcr_relabelled_event(s):
    i = at(s, lambda e: e.pcr == 7)
    return replaced(s, i, events(s)[i].change(pcr=6))


@operator("boot", MISMATCH)
def pcr_of_an_event_that_is_not_quoted(s):
    i = at(s, lambda e: e.pcr == 4)
    return replaced(s, i, events(s)[i].change(pcr=23))


@operator("boot", MISMATCH, "boot.log_malformed")
def pcr_of_an_event_out_of_range(s):
    i = at(s, lambda e: e.pcr == 4)
    return replaced(s, i, events(s)[i].change(pcr=24))


@operator("boot", MISMATCH)
def event_as_no_action(s):
    i = at(s, lambda e: e.pcr == 4)
    return replaced(s, i, events(s)[i].change(type=uefilog.NO_ACTION))


@operator("boot", MISMATCH)
def locality_put_in_front(s):
    data = b"StartupLocality\0\x03"
    made = uefilog.Event(0, uefilog.NO_ACTION, {b: bytes(tpmbytes.SIZES[b]) for b in s.capture.events.banks}, data)
    return s.with_events([made] + events(s))


@harmless("boot")
def locality_at_the_end(s):
    """Behind an event of PCR 0 it is not believed, and extends nothing."""
    data = b"StartupLocality\0\x03"
    made = uefilog.Event(0, uefilog.NO_ACTION, {b: bytes(tpmbytes.SIZES[b]) for b in s.capture.events.banks}, data)
    return s.with_events(events(s) + [made])


@harmless("boot")
def no_action_put_in(s):
    """EV_NO_ACTION is not measured; whoever reads it knows that nothing covers it."""
    made = uefilog.Event(6, uefilog.NO_ACTION, {b: bytes(tpmbytes.SIZES[b]) for b in s.capture.events.banks}, b"hello")
    return s.with_events(events(s) + [made])


@harmless("boot")
def type_of_an_unbound_event(s):
    """Types are in no digest (AB3): without a policy that asks for data, only digests are judged, and they are the same."""
    i = at(s, lambda e: e.type == uefilog.BOOT_APPLICATION)
    return replaced(s, i, events(s)[i].change(type=0x80000004))


@operator("boot", MISMATCH)
def log_of_another_machine(s):
    logs = (c.boot for c in s.strangers if set(s.quote.selected) <= set(c.events.banks))
    return s.case.change(boot=first(logs, "no other machine has these banks"))


@operator("boot", MISMATCH)
def log_without_events(s):
    return s.with_events([])


@operator("boot", "boot.log_malformed")
def log_one_byte_less(s):
    return s.case.change(boot=s.case.boot[:-1])


@operator("boot", "boot.log_malformed")
def log_one_byte_more(s):
    return s.case.change(boot=s.case.boot + b"\0")


@operator("boot", "boot.log_malformed")
def log_of_0_bytes(s):
    return s.case.change(boot=b"")


@operator("boot", "boot.log_malformed")
def log_without_its_header(s):
    return s.case.change(boot=s.case.boot[len(s.capture.events.header) :])


@operator("boot", "boot.log_malformed")
def count_of_digests(s):
    at_ = len(s.capture.events.header) + 8
    return s.case.change(boot=s.case.boot[:at_] + b"\xff\xff\xff\xff" + s.case.boot[at_ + 4 :])


@operator("boot", "boot.log_malformed")
def size_of_the_last_event(s):
    at_ = len(s.case.boot) - 4 - len(events(s)[-1].data)
    return s.case.change(boot=s.case.boot[:at_] + b"\xff\xff\xff\xff" + s.case.boot[at_ + 4 :])


@operator("boot", "boot.log_malformed", MISMATCH)
def header_with_a_bank_less(s):
    """The sizes of digests in the header: events then have one that it does not know."""
    header = bytearray(s.capture.events.header)
    (count,) = struct.unpack_from("<I", header, 32 + 24)
    header[32 + 24 : 32 + 28] = struct.pack("<I", count - 1)
    del header[32 + 28 + 4 * (count - 1) : 32 + 28 + 4 * count]
    (size,) = struct.unpack_from("<I", header, 28)
    header[28:32] = struct.pack("<I", size - 4)
    return s.case.change(boot=bytes(header) + s.case.boot[len(s.capture.events.header) :])


@operator("boot", "boot.log_malformed", MISMATCH)
def header_with_another_size(s):
    header = bytearray(s.capture.events.header)
    header[32 + 30 : 32 + 32] = struct.pack("<H", 16)
    return s.case.change(boot=bytes(header) + s.case.boot[len(header) :])
