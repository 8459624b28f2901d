"""Holes of Keylime that one quote and the files beside it can show, by the numbers of docs/KEYLIME.md: closed in `avow appraise`."""

import json
from dataclasses import dataclass, field

import imalog
import imasig
import machines
import pytest
import tpmbytes
import uefilog
from cryptography.hazmat.primitives import serialization

CAPTURES = {c.name: c for c in machines.captures(machines.HOME)}
NONCE = "5a" * 32
ZEROS = bytes(32)


@dataclass
class Host:
    """A TPM that signs what it is told, and a list."""

    signer: tpmbytes.Signer = field(default_factory=lambda: tpmbytes.Signer("p256"))
    entries: list[imalog.Entry] = field(default_factory=list)
    values: dict[int, bytes] = field(default_factory=lambda: {i: ZEROS for i in range(24)})
    clock: int = 1000
    reset: int = 1

    def __post_init__(self):
        if not self.entries:
            aggregate = tpmbytes.digest("sha256", *(self.values[i] for i in range(10)))
            self.measure(imalog.new_entry("ima-ng", b"boot_aggregate", aggregate))

    def measure(self, *entries: imalog.Entry) -> None:
        for e in entries:
            self.entries.append(e)
            self.values[e.pcr] = imalog.extend(self.values[e.pcr], "sha256", e)

    def quote(self, pcrs=range(24), file: bytes | None = None, **changes) -> machines.Case:
        """`file`: of values, instead of the honest one."""
        self.clock += 100
        values = [self.values[i] for i in pcrs]
        attest = tpmbytes.Attest(
            self.signer.qualified_name(), bytes.fromhex(NONCE), self.clock, self.reset, 0, 1, 0,
            [(tpmbytes.BANKS["sha256"], tpmbytes.bitmap(pcrs))], tpmbytes.digest("sha256", *values),
        ).change(**changes).encode()  # fmt: skip
        return machines.Case(
            attest, self.signer.sign(attest), self.signer.public(), NONCE,
            b"".join(values) if file is None else file, imalog.encode(self.entries), None,
        )  # fmt: skip


@pytest.fixture
def judge(avow, tmp_path):
    def run(case: machines.Case, *options, policy: dict | None = None) -> list[str]:
        """Ids of the findings; none is a pass."""
        args = case.arguments(tmp_path)
        if policy is not None:
            (tmp_path / "policy.json").write_text(json.dumps(policy))
            args += ["--runtime-policy", tmp_path / "policy.json"]
        code, got = avow.json(*args, *options)
        assert (code, got["verdict"]) == ((4, "fail") if got["findings"] else (0, "pass"))
        return [f["id"] for f in got["findings"]]

    return run


def test_s1_a_pcr_has_the_number_that_was_signed(judge):
    """PCR 16, which anybody can reset, holds what PCR 10 should; the file of values calls it 10."""
    host = Host()
    host.values[16] = host.values[10]
    assert judge(host.quote([10])) == [], "the control"
    relabelled = tpmbytes.tools_pcr_file([("sha256", [10])], [host.values[16]])
    assert judge(host.quote([16], file=relabelled)) == ["quote.selection"]
    assert "quote.selection" in judge(host.quote([16], file=relabelled), policy=imalog.policy_of(host.entries))


def test_s2_a_policy_without_its_pcr_in_the_quote_is_not_skipped(judge, tmp_path):
    host = Host()
    policy = imalog.policy_of(host.entries)
    host.measure(imalog.new_entry("ima-ng", b"/tmp/implant", bytes(range(32))))
    assert "quote.selection" in judge(host.quote([16]), policy=policy)
    assert "quote.selection" in judge(host.quote([16]).change(ima=None), policy=policy)
    assert "ima.missing" in judge(host.quote().change(ima=None), policy=policy)
    assert judge(host.quote(), policy=policy) == ["ima.digest_unknown"]
    assert "quote.selection" in judge(host.quote([10]), "--tpm-policy", json.dumps({"7": ZEROS.hex()}))


def test_s3_data_that_no_digest_covers_is_not_believed(judge):
    """The digest of SecureBoot stays, and its data says the opposite."""
    capture = CAPTURES["m2-grub-sb-r0-fallback-c1"]
    quote = next(q for q in capture.quotes if q.is_whole and list(q.selected) == ["sha256"])
    case, log = machines.case_of(capture, quote), capture.events
    at = log.find("SecureBoot")
    data = log.events[at].data
    turned = log.events[at].change(data=data[:-1] + bytes([data[-1] ^ 1]))
    assert judge(case) == []
    assert judge(case.change(boot=log.change([*log.events[:at], turned, *log.events[at + 1 :]]).encode())) == ["boot.data_unbound"]


@pytest.mark.parametrize("name", ["SecureBoot", "PK", "KEK", "db", "dbx"])
def test_s4_an_event_of_pcr_7_cannot_be_left_out(judge, name):
    """Nothing else in Keylime's example policy asks for it; here the log must lead to the quoted value."""
    capture = CAPTURES["m2-grub-sb-r0-fallback-c1"]
    quote = next(q for q in capture.quotes if q.is_whole and list(q.selected) == ["sha256"])
    log = capture.events
    at = log.find(name)
    assert at >= 0 and log.events[at].pcr == 7
    case = machines.case_of(capture, quote, boot=log.change(log.events[:at] + log.events[at + 1 :]).encode())
    assert "boot.pcr_mismatch" in judge(case)
    without_7 = log.change([e for e in log.events if e.pcr != 7 or e.type == uefilog.NO_ACTION])
    assert "boot.pcr_mismatch" in judge(case.change(boot=without_7.encode()))


def test_s9_a_reboot_begins_the_list_anew(avow, judge, tmp_path):
    """By the signed counter of resets, and not by a clock of the host: the new list is judged from its beginning."""
    state = tmp_path / "state"
    host = Host()
    host.measure(*(imalog.new_entry("ima-ng", b"/bin/%d" % i, bytes([i]) * 32) for i in range(9)))
    assert judge(host.quote(), "--state-out", state) == []
    rebooted = Host(signer=host.signer, reset=2)
    rebooted.measure(imalog.new_entry("ima-ng", b"/bin/1", b"\1" * 32))
    assert judge(rebooted.quote(), "--state-in", state, "--state-out", state) == []
    rebooted.measure(imalog.new_entry("ima-ng", b"/bin/2", b"\2" * 32))
    tail = rebooted.quote().change(ima=rebooted.entries[-1].encode())
    assert judge(tail, "--state-in", state) == [], "and goes on from there"


def signed(key, path: bytes, digest: bytes) -> imalog.Entry:
    return imalog.new_entry("ima-sig", path, digest, last=[imasig.signature(key, digest)])


def test_s10_a_learned_key_counts_in_the_evidence_after(judge, tmp_path):
    """And only because the policy lists it for its keyring."""
    key, state, host = imasig.new_key(), tmp_path / "state", Host()
    data = imasig.certificate(key)
    policy = imalog.policy_of(host.entries, keyrings={".ima": [tpmbytes.digest("sha256", data).hex()]})
    host.measure(imalog.new_entry("ima-buf", b".ima", tpmbytes.digest("sha256", data), last=[data]))
    assert judge(host.quote(), "--state-out", state, policy=policy) == []
    for n in range(2):
        host.measure(signed(key, b"/usr/bin/%d" % n, bytes([n + 1]) * 32))
        tail = host.quote().change(ima=host.entries[-1].encode())
        assert judge(tail, "--state-in", state, "--state-out", state, policy=policy) == []
    assert "ima.key_unknown" in judge(host.quote(), policy=policy | {"keyrings": {}})
    host.measure(signed(imasig.new_key(), b"/tmp/x", bytes(range(32))))
    assert judge(host.quote(), policy=policy) == ["ima.digest_unknown"]


def test_s11_a_signed_policy_is_the_policy_in_it(avow, judge, tmp_path):
    host, key = Host(), tmp_path / "key.pem"
    key.write_bytes(
        imasig.new_key().private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    key.chmod(0o600)
    host.measure(imalog.new_entry("ima-ng", b"/bin/a", bytes(range(32))))
    for entries, want in ((host.entries, []), (host.entries[:1], ["ima.digest_unknown"])):
        document, envelope = tmp_path / "document.json", tmp_path / "envelope.json"
        document.write_text(json.dumps(imalog.policy_of(entries)))
        done = avow.run("policy", "sign", document, "--key", key, "--out", envelope)
        assert done.returncode == 0 and "payload" in json.loads(envelope.read_text()), done.stderr
        assert judge(host.quote(), "--runtime-policy", envelope) == want


def test_s18_a_quote_alone_is_enough(judge):
    """Without any policy: it lives, its list is the quoted one, and its key is the enrolled one."""
    host = Host()
    assert judge(host.quote()) == [] == judge(host.quote().change(ima=None))
    assert judge(host.quote().change(ak=tpmbytes.Signer("p256").public())) == ["quote.signature"]


def test_s19_a_violation_is_a_finding_unless_it_is_allowed(judge):
    host = Host()
    violation = imalog.new_entry("ima-ng", b"/var/log/x", bytes(32)).change(template_hash=bytes(20))
    policy = imalog.policy_of(host.entries)
    host.measure(violation)
    assert judge(host.quote(), policy=policy) == ["ima.violation"]
    assert judge(host.quote(), "--allow-violations", policy=policy) == []


def test_s21_a_policy_of_the_device_mapper_loads_and_what_it_requires_is_asked(judge):
    rule = {
        "required": True, "device_resume_required": True, "device_rename": {"valid_name": None, "valid_uuid": None},
        "device_remove": {"allow_removal": False}, "allow_clear": False,
        "table_load": {
            "allow_multiple_loads": False, "name": "root", "uuid": None, "major": None, "minor": None,
            "minor_count": None, "num_targets": 1, "targets": [{}],
        },
    }  # fmt: skip
    host = Host()
    policy = imalog.policy_of(host.entries)
    policy["ima"]["dm_policy"] = {"version": 1, "match_on": "name", "rules": {"root": rule}}
    assert judge(host.quote(), policy=policy) == ["ima.dm_required"]
    policy["ima"]["dm_policy"] = None
    assert judge(host.quote(), policy=policy) == []


def test_s22_a_digest_is_one_of_its_algorithm(judge):
    """The listed hex digits under the name of another hash."""
    host, digest = Host(), bytes(range(32))
    policy = imalog.policy_of([*host.entries, imalog.new_entry("ima-ng", b"/bin/a", digest)])
    for algorithm, want in (("sha256", []), ("sha1", ["ima.digest_unknown"]), ("md5", ["ima.digest_unknown"])):
        other = Host(signer=host.signer)
        other.measure(imalog.new_entry("ima-ng", b"/bin/a", digest, algorithm))
        assert judge(other.quote(), policy=policy) == want, algorithm


def test_s24_every_scheme_verifies_and_banks_are_not_mixed(judge):
    capture = CAPTURES["m1-direct-r1-c1"]
    for name in ("q_ak_pss_sha256_0-15", "q_ak_ecc_sha256_0-15", "q_ak_p384_sha256_0-15", "q_ak_rsa_sha256_0-15"):
        quote = next(q for q in capture.quotes if q.name == name)
        assert judge(machines.case_of(capture, quote)) == []
    two = next(q for q in capture.quotes if q.name == "q_ak_rsa_sha1+sha256_0-15")
    case = machines.case_of(capture, two)
    assert judge(case) == []
    half = two.values[16:]
    for values in (two.values[:16] + [bytes(32), *half[1:]], [bytes(20), *two.values[1:16], *half], half + half):
        assert judge(case.change(pcrs=b"".join(values))) == ["quote.pcr_digest"]


def test_s28_findings_of_one_host_are_not_those_of_the_next(judge):
    good, bad = Host(), Host()
    policy = imalog.policy_of(good.entries)
    bad.measure(imalog.new_entry("ima-ng", b"/tmp/implant", bytes(range(32))))
    for _ in range(3):
        assert judge(bad.quote(), policy=policy) == ["ima.digest_unknown"]
        assert judge(good.quote(), policy=policy) == []
