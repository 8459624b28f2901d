"""Operators on measurement lists. See tampering.py.

A list may have been read long after its quote, so news behind the covered entries is no sign of anything: what is appended here
is put in front of an entry that the quote covers.
"""

import struct
from dataclasses import replace

import imalog
import machines
import tpmbytes
from tampering import DoesNotApply, Subject, first, flip, harmless, operator, other

MISMATCH = "ima.pcr_mismatch"


def ascii_text(entries: list[imalog.Entry]) -> bytes:
    """As ascii_runtime_measurements."""
    lines = []
    for e in entries:
        if b" " in e.fields[1]:
            raise DoesNotApply("the kernel's text loses spaces of paths")
        path = e.fields[1].rstrip(b"\0")
        said = e.digest.hex() if e.template == "ima" else e.fields[0].split(b"\0", 1)[0].decode() + e.digest.hex()
        line = f"{e.pcr} {e.template_hash.hex()} {e.template} {said} ".encode() + path
        if e.template in ("ima-sig", "ima-buf"):
            line += b" " + e.fields[2].hex().encode()
        lines.append(line + b"\n")
    return b"".join(lines)


def stale(e: imalog.Entry, fields: list[bytes]) -> imalog.Entry:
    return e.with_fields(fields, rehash=False)


# --- one entry


def digest_changed(where: float):
    def change(s):
        i = s.file(where)
        return s.with_entry(i, s.entries[i].with_digest(other(s.entries[i].digest), rehash=False))

    return change


@operator("list", "ima.template_hash")
def digest_first(s):
    return digest_changed(0)(s)


@operator("list", "ima.template_hash")
def digest(s):
    return digest_changed(0.5)(s)


@operator("list", "ima.template_hash")
def digest_last(s):
    return digest_changed(1)(s)


@operator("list", MISMATCH)
def digest_and_template_hash(s):
    i = s.file()
    return s.with_entry(i, s.entries[i].with_digest(other(s.entries[i].digest)))


@operator("list", MISMATCH, only=True)
def digest_and_template_hash_and_policy(s):
    """All agree, but for the TPM."""
    i = s.file()
    e = s.entries[i].with_digest(other(s.entries[i].digest))
    return s.allowed(s.entries[:i] + [e] + s.entries[i + 1 :])


@operator("list", "ima.digest_unknown", only=True)
def digest_not_in_the_policy(s):
    """The list is genuine; the operator's policy has another digest for one file."""
    path = s.entries[s.file()].path
    policy = imalog.policy_of(s.entries)
    policy["digests"][path] = ["5a" * 32]
    return s.case.change(policy=s.policy_file(policy))


@operator("list", "ima.digest_unknown", only=True)
def file_not_in_the_policy(s):
    policy = imalog.policy_of(s.entries)
    del policy["digests"][s.entries[s.file()].path]
    return s.case.change(policy=s.policy_file(policy))


@operator("list", "ima.digest_unknown", only=True)
def file_beside_an_exclude(s):
    """An expression that matches a part of the path, and not its beginning."""
    path = s.entries[s.file()].path
    policy = imalog.policy_of(s.entries, excludes=[path[1:].replace("+", r"\+").replace(".", r"\."), path + "/.*"])
    del policy["digests"][path]
    return s.case.change(policy=s.policy_file(policy))


@operator("list", "ima.template_hash")
def path(s):
    i = s.file()
    return s.with_entry(i, s.entries[i].with_path(b"/usr/bin/other", rehash=False))


@operator("list", MISMATCH, only=True)
def path_and_template_hash_and_policy(s):
    i = s.file()
    return s.allowed(s.entries[:i] + [s.entries[i].with_path(b"/usr/bin/other")] + s.entries[i + 1 :])


@operator("list", "ima.template_hash", "ima.template_unknown")
def path_cut_by_nul(s):
    """What follows the NUL is still there for the hash."""
    i = s.file()
    e = s.entries[i]
    p = e.fields[1].rstrip(b"\0")
    return s.with_entry(i, stale(e, [e.fields[0], p[: len(p) // 2] + b"\0" + p[len(p) // 2 + 1 :] + b"\0", *e.fields[2:]]))


@operator("list", MISMATCH)
def path_with_more_behind_nul(s):
    i = s.file()
    e = s.entries[i]
    return s.with_entry(i, e.with_fields([e.fields[0], e.fields[1].rstrip(b"\0") + b"\0/tmp/evil\0", *e.fields[2:]]))


@operator("list", MISMATCH)
def path_without_its_nul(s):
    i = s.file()
    e = s.entries[i]
    if not e.fields[1].endswith(b"\0"):
        raise DoesNotApply("the template has none")
    return s.with_entry(i, e.with_fields([e.fields[0], e.fields[1][:-1], *e.fields[2:]]))


@operator("list", "ima.template_hash")
def algorithm_of_the_digest(s):
    i = s.file()
    e = s.entries[i]
    if e.template == "ima":
        raise DoesNotApply("the template has none")
    name = e.fields[0].split(b"\0", 1)[0]
    wrong = name.replace(e.algorithm.encode(), b"sm3-256" if e.algorithm == "sha256" else b"sha256")
    return s.with_entry(i, stale(e, [wrong + b"\0" + e.digest, *e.fields[1:]]))


@operator("list", MISMATCH)
def algorithm_of_the_digest_and_template_hash(s):
    i = s.file()
    e = s.entries[i]
    if e.template == "ima":
        raise DoesNotApply("the template has none")
    return s.with_entry(i, e.with_fields([b"sha512:\0" + e.digest, *e.fields[1:]]))


@operator("list", "ima.template_hash")
def template_hash_bit(s):
    i = s.file()
    e = s.entries[i]
    return s.with_entry(i, e.change(template_hash=flip(e.template_hash, 3)))


@operator("list", "ima.template_hash")
def template_hash_bit_of_the_first(s):
    e = s.entries[0]
    return s.with_entry(0, e.change(template_hash=flip(e.template_hash, -1)))


@operator("list", "ima.template_unknown")
def template_name_unknown(s):
    i = s.file()
    e = s.entries[i]
    if e.template == "ima":
        raise DoesNotApply("its name decides the form of the entry")
    return s.with_entry(i, e.change(template="jma-ng"))


@operator("list", "ima.template_unknown", "ima.buffer_digest", "ima.template_hash", "ima.log_malformed")
def template_name_of_a_buffer(s):
    """The names of templates are in no hash, so PCR 10 stays as it is."""
    i = s.file()
    return s.with_entry(i, s.entries[i].change(template="ima-buf"))


@operator("list", "ima.template_unknown", "ima.template_hash", "ima.log_malformed")
def template_name_of_the_oldest(s):
    i = s.file()
    e = s.entries[i]
    if e.template == "ima":
        raise DoesNotApply("it is")
    name = b"ima"
    raw = struct.pack("<I", e.pcr) + e.template_hash + struct.pack("<I", len(name)) + name + e.data
    return s.case.change(ima=imalog.encode(s.entries[:i]) + raw + imalog.encode(s.entries[i + 1 :]))


@operator("list", "ima.digest_unknown", "ima.template_unknown")
def buffer_as_a_file(s):
    for i, e in enumerate(s.entries[: s.covered]):
        if e.template == "ima-buf":
            return s.with_entry(i, e.change(template="ima-sig"))
    raise DoesNotApply("no buffers")


@operator("list", "ima.template_hash", MISMATCH)
def buffer_changed(s):
    for i, e in enumerate(s.entries[: s.covered]):
        if e.template == "ima-buf":
            return s.with_entry(i, stale(e, [*e.fields[:2], flip(e.fields[2], 0)]))
    raise DoesNotApply("no buffers")


@operator("list", MISMATCH, "ima.buffer_digest")
def buffer_and_hashes_changed(s):
    for i, e in enumerate(s.entries[: s.covered]):
        if e.template == "ima-buf":
            data = flip(e.fields[2], 0)
            made = e.with_fields([b"sha256:\0" + tpmbytes.digest("sha256", data), e.fields[1], data])
            return s.allowed(s.entries[:i] + [made] + s.entries[i + 1 :])
    raise DoesNotApply("no buffers")


@operator("list", "ima.buffer_unknown", "ima.key_unknown", only=True)
def buffers_not_in_the_policy(s):
    if not any(e.template == "ima-buf" for e in s.entries):
        raise DoesNotApply("no buffers")
    return s.case.change(policy=s.policy_file(imalog.policy_of(s.entries, **{"ima-buf": {}, "keyrings": {}})))


@operator("list", "ima.pcr_index")
def pcr_relabelled(s):
    i = s.file()
    return s.with_entry(i, s.entries[i].change(pcr=11))


@operator("list", "ima.pcr_index")
def pcr_of_all_relabelled(s):
    return s.with_list([e.change(pcr=11) for e in s.entries])


@operator("list", "ima.pcr_index", MISMATCH)
def pcr_field_of_a_swapped_machine(s):
    """Big endian."""
    i = s.file()
    return s.with_entry(i, s.entries[i].change(pcr=10 << 24))


@operator("list", MISMATCH)
def entry_of_another_pcr_moved_here(s):
    """What a multi-PCR policy of the kernel put into PCR 11, said to be of PCR 10."""
    i = s.file()
    made = imalog.new_entry(s.entries[i].template, s.entries[i].fields[1].rstrip(b"\0"), bytes(range(32)))
    return s.allowed(s.entries[:i] + [made] + s.entries[i:])


@operator("list", "ima.pcr_index")
def entry_of_another_pcr_put_in(s):
    i = s.file()
    return s.with_list(s.entries[:i] + [s.entries[i].change(pcr=11)] + s.entries[i:])


@operator("list", "ima.violation", MISMATCH)
def entry_as_a_violation(s):
    i = s.file()
    return s.with_entry(i, s.entries[i].as_violation())


@operator("list", MISMATCH, only=True)
def violation_as_an_entry(s):
    """The list hides that a file was written while it was measured."""
    for i, e in enumerate(s.entries[: s.covered]):
        if e.violation:
            made = e.with_digest(other(e.digest or bytes(32)))
            return s.allowed(s.entries[:i] + [made] + s.entries[i + 1 :])
    raise DoesNotApply("no violations")


@operator("list", MISMATCH, only=True)
def violation_dropped(s):
    for i, e in enumerate(s.entries[: s.covered]):
        if e.violation:
            return s.with_list(s.entries[:i] + s.entries[i + 1 :])
    raise DoesNotApply("no violations")


@operator("list", "ima.violation", MISMATCH)
def violation_put_in(s):
    i = s.file()
    return s.with_list(s.entries[:i] + [s.entries[i].as_violation()] + s.entries[i:])


@operator("list", "ima.violation", only=True)
def violations_not_allowed(s):
    if "--allow-violations" not in s.case.options:
        raise DoesNotApply("no violations")
    return s.case.change(options=tuple(o for o in s.case.options if o != "--allow-violations"))


@harmless("list")
def path_of_a_violation(s):
    """PCR 10 is extended by ones whatever a violation says, so its path is told as not covered by the TPM and allows nothing."""
    for i, e in enumerate(s.entries[: s.covered]):
        if e.violation:
            return s.with_entry(i, e.with_path(b"/usr/bin/other", rehash=False))
    raise DoesNotApply("no violations")


# --- which entries, and in which order


@operator("list", MISMATCH, only=True)
def entry_dropped(s):
    i = s.file()
    return s.with_list(s.entries[:i] + s.entries[i + 1 :])


@operator("list", MISMATCH, only=True)
def last_entry_dropped(s):
    return s.with_list(s.entries[: s.covered - 1])


@operator("list", MISMATCH, only=True)
def half_dropped(s):
    return s.with_list(s.entries[: s.covered // 2])


@operator("list", MISMATCH, only=True)
def entry_doubled(s):
    i = s.file()
    return s.with_list(s.entries[: i + 1] + s.entries[i:])


@operator("list", MISMATCH, only=True)
def entries_swapped(s):
    i = first((i for i in s.files if i + 1 in s.files and s.entries[i].data != s.entries[i + 1].data), "all the same")
    return s.with_list(s.entries[:i] + [s.entries[i + 1], s.entries[i]] + s.entries[i + 2 :])


@operator("list", MISMATCH, only=True)
def entries_in_reverse(s):
    return s.with_list(s.entries[:1] + s.entries[: s.covered][:0:-1])


@operator("list", MISMATCH)
def entry_of_an_implant(s):
    i = s.file()
    made = imalog.new_entry(s.entries[i].template, b"/tmp/implant", bytes(range(32)))
    return s.with_list(s.entries[:i] + [made] + s.entries[i:])


@operator("list", "ima.digest_unknown", only=True)
def news_of_an_implant(s):
    """Behind what was quoted, and claimed: it is judged at once (R2)."""
    made = imalog.new_entry(s.entries[s.file()].template, b"/tmp/implant", bytes(range(32)))
    return s.with_list(s.entries + [made])


@operator("list", "ima.boot_aggregate_missing")
def aggregate_dropped(s):
    return s.with_list(s.entries[1:])


@operator("list", "ima.boot_aggregate_repeated")
def aggregate_doubled(s):
    return s.with_list(s.entries[:1] + s.entries)


@operator("list", "ima.boot_aggregate_repeated")
def aggregate_repeated_later(s):
    """As of a kernel that was started by another one."""
    i = s.file()
    return s.with_list(s.entries[:i] + s.entries[:1] + s.entries[i:])


@operator("list", "ima.boot_aggregate")
def aggregate_of_another_machine(s):
    e = s.entries[0]
    found = (c.entries[0].digest for c in s.others if c.entries[0].digest != e.digest)
    wrong = first((d for d in found if len(d) == len(e.digest)), "no other one has its length")
    return s.with_entry(0, e.with_digest(wrong))


@operator("list", "ima.boot_aggregate")
def aggregate_zero(s):
    """A kernel that found no TPM."""
    return s.with_entry(0, s.entries[0].with_digest(bytes(len(s.entries[0].digest))))


@operator("list", "ima.boot_aggregate_missing")
def aggregate_renamed(s):
    return s.with_entry(0, s.entries[0].with_path(b"boot_aggregat"))


@operator("list", "ima.boot_aggregate_missing")
def aggregate_as_a_violation(s):
    return s.with_entry(0, s.entries[0].as_violation())


@operator("list", MISMATCH)
def list_of_another_machine(s):
    return s.case.change(ima=s.strangers[0].ima)


@operator("list", MISMATCH)
def list_of_another_boot(s):
    return s.case.change(ima=first(s.other_boots, "one boot").ima)


@operator("list", MISMATCH)
def list_of_a_moment_before(s):
    return s.case.change(ima=first((c for c in s.moments_before if len(c.entries) < s.covered), "nothing was before").ima)


@operator("list", MISMATCH)
def list_of_two_machines(s):
    return s.with_list(s.strangers[0].entries + s.entries)


@operator("list", "ima.missing")
def list_not_sent(s):
    return s.case.change(ima=None)


@operator("list", MISMATCH)
def list_of_0_bytes(s):
    return s.case.change(ima=b"")


# --- bytes


@operator("list", "ima.log_malformed")
def last_entry_one_byte_less(s):
    return s.case.change(ima=imalog.encode(s.entries[: s.covered])[:-1])


@operator("list", "ima.log_malformed")
def list_ends_within_a_head(s):
    return s.case.change(ima=imalog.encode(s.entries[: s.covered - 1]) + s.entries[s.covered - 1].encode()[:13])


@operator("list", "ima.log_malformed", only=True)
def list_one_byte_more(s):
    return s.case.change(ima=imalog.encode(s.entries) + b"\x0a")


def with_raw(s: Subject, change) -> machines.Case:
    i = s.file()
    return s.case.change(ima=imalog.encode(s.entries[:i]) + change(s.entries[i]) + imalog.encode(s.entries[i + 1 :]))


@operator("list", "ima.log_malformed", "ima.entry_too_large")
def size_of_the_template_name(s):
    return with_raw(s, lambda e: e.encode()[:24] + b"\xff\xff\xff\xff" + e.encode()[28:])


@operator("list", "ima.log_malformed", "ima.entry_too_large")
def size_of_the_template_data(s):
    at = 28 + len(s.entries[s.file()].template)
    at += 20 if s.entries[s.file()].template == "ima" else 0
    return with_raw(s, lambda e: e.encode()[:at] + b"\xff\xff\xff\x7f" + e.encode()[at + 4 :])


@operator("list", "ima.template_hash", "ima.template_unknown")
def size_of_a_field(s):
    i = s.file()
    e = s.entries[i]
    if e.template == "ima":
        raise DoesNotApply("it has no fields")
    return s.with_entry(i, replace(e, data=struct.pack("<I", len(e.fields[0]) + 1) + e.data[4:]))


@operator("list", "ima.template_hash", "ima.template_unknown")
def field_more(s):
    i = s.file()
    e = s.entries[i]
    if e.template == "ima":
        raise DoesNotApply("it has no fields")
    return s.with_entry(i, stale(e, [*e.fields, b"x"]))


# --- text


@harmless("list")
def text(s):
    """The kernel's other form of the same list."""
    return s.case.change(ima=ascii_text(s.entries))


@operator("list", "ima.template_hash", MISMATCH)
def text_digest(s):
    i = s.file()
    e = s.entries[i].with_digest(other(s.entries[i].digest), rehash=False)
    return s.case.change(ima=ascii_text(s.entries[:i] + [e] + s.entries[i + 1 :]))


@operator("list", MISMATCH, only=True)
def text_digest_and_template_hash_and_policy(s):
    i = s.file()
    made = s.entries[:i] + [s.entries[i].with_digest(other(s.entries[i].digest))] + s.entries[i + 1 :]
    return s.allowed(made).change(ima=ascii_text(made))


@operator("list", "ima.template_hash", MISMATCH)
def text_path(s):
    i = s.file()
    e = s.entries[i].with_path(b"/usr/bin/other", rehash=False)
    return s.case.change(ima=ascii_text(s.entries[:i] + [e] + s.entries[i + 1 :]))


@operator("list", MISMATCH, only=True)
def text_line_dropped(s):
    i = s.file()
    return s.case.change(ima=ascii_text(s.entries[:i] + s.entries[i + 1 :]))


@operator("list", "ima.pcr_index")
def text_pcr_relabelled(s):
    i = s.file()
    return s.case.change(ima=ascii_text(s.entries[:i] + [s.entries[i].change(pcr=12)] + s.entries[i + 1 :]))


@operator("list", "ima.log_malformed", MISMATCH)
def text_line_cut(s):
    return s.case.change(ima=ascii_text(s.entries[: s.covered])[:-90])


@operator("list", "ima.log_malformed")
def text_and_binary(s):
    i = s.covered // 2
    return s.case.change(ima=ascii_text(s.entries[:i]) + imalog.encode(s.entries[i:]))
