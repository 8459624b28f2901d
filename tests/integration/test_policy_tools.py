"""`avow policy` without a broker: policies created, converted, compared, tested, signed, verified."""

import base64
import hashlib
import json
import os
import subprocess

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

OK, FAILED, USAGE, UNREACHABLE, UNTRUSTED, NOTFOUND = range(6)
PLAIN, PEM = serialization.NoEncryption(), serialization.Encoding.PEM
TYPE = "application/vnd.keylime+json"


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def log_line(path: str) -> str:
    return f"10 {'11' * 20} ima-ng sha256:{digest(path)} {path}\n"


@pytest.fixture
def policy(bin_dir, tmp_path):
    """policy(*words): exit code and standard output of `avow policy`, run in a folder of its own."""

    def run(*words, code=OK):
        clean = {k: v for k, v in os.environ.items() if not k.startswith("AVOW_")}
        done = subprocess.run(
            [str(bin_dir / "avow"), "policy", *map(str, words)],
            cwd=tmp_path, env=clean, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert done.returncode == code, f"{words}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        run.stderr = done.stderr
        return done.stdout

    run.dir = tmp_path
    return run


@pytest.fixture
def author(policy):
    key = ec.generate_private_key(ec.SECP256R1())
    (policy.dir / "key.pem").write_bytes(key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, PLAIN))
    public = key.public_key().public_bytes(PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (policy.dir / "pub.pem").write_bytes(public)
    return key


def pae(payload: bytes) -> bytes:
    return b"DSSEv1 %d %s %d %s" % (len(TYPE), TYPE.encode(), len(payload), payload)


def test_create__from_a_log__allows_it_and_nothing_else(policy):
    (policy.dir / "log").write_text(log_line("boot_aggregate") + log_line("/bin/a") + log_line("/bin/b"))
    (policy.dir / "more").write_text(log_line("/bin/a") + log_line("/tmp/x") + log_line("/bin/evil"))
    policy("create", "runtime", "--ima-log", "log", "--exclude", "/tmp/.*", "--out", "p.json")
    doc = json.loads((policy.dir / "p.json").read_text())
    assert doc["digests"] == {"/bin/a": [digest("/bin/a")], "/bin/b": [digest("/bin/b")]}  # no boot_aggregate
    assert doc["excludes"] == ["/tmp/.*"] and doc["meta"]["generator"] > 1
    first = (policy.dir / "p.json").read_bytes()
    policy("create", "runtime", "--digests", "p.json", "--ima-log", "log", "--out", "p.json")
    assert (policy.dir / "p.json").read_bytes() == first  # the same facts are the same bytes
    policy("test", "p.json", "--ima-log", "log")
    found = json.loads(policy("test", "p.json", "--ima-log", "more", "--json", code=UNTRUSTED))
    assert (found["entries"], found["allowed"], found["excluded"], found["refused_total"]) == (3, 1, 1, 1)
    assert found["refused"][0]["path"] == "/bin/evil"
    policy("test", "p.json", "--path", "/bin/a", "--digest", digest("/bin/a"))
    policy("test", "p.json", "--path", "/bin/a", "--digest", digest("/bin/b"), code=UNTRUSTED)
    pinned = json.loads(policy("create", "runtime", "--ima-log", "log", "--pin-boot-aggregate"))
    assert "boot_aggregate" in pinned["digests"]


def test_convert__older_forms__the_same_meaning(policy):
    (policy.dir / "flat").write_text(f"# files\n{digest('a')}  /bin/a\n{digest('b')} */bin/a\n")
    (policy.dir / "old.json").write_text(
        json.dumps({"meta": {"version": 5}, "hashes": {"/bin/a": [digest("a"), digest("b")]}})
    )
    for old in ("flat", "old.json"):
        policy("convert", old, "--out", "new.json")
        assert json.loads((policy.dir / "new.json").read_text())["digests"]["/bin/a"] == sorted([digest("a"), digest("b")])
        policy("diff", old, "new.json")
    assert policy("diff", "flat", "old.json") == ""


def test_diff__added_and_removed__and_whether_trust_is_carried(policy):
    (policy.dir / "a").write_text(f"{digest('a')} /a\n")
    (policy.dir / "ab").write_text(f"{digest('a')} /a\n{digest('b')} /b\n")
    grown = json.loads(policy("diff", "a", "ab", "--json", code=FAILED))
    assert grown["superset"] and not grown["removed"] and grown["added"][0]["name"] == "/b"
    shrunk = json.loads(policy("diff", "ab", "a", "--json", code=FAILED))
    assert not shrunk["superset"] and shrunk["removed"] == grown["added"]


def test_bad_policies__file_path_and_reason(policy):
    (policy.dir / "bad.json").write_text('{"digests": {"/a": ["zz"]}}')
    policy("test", "bad.json", code=FAILED)
    assert 'bad.json: $.digests["/a"][0]' in policy.stderr
    (policy.dir / "odd.json").write_text('{"digests": {}, "exclude": []}')
    policy("test", "odd.json")
    assert '$["exclude"]: unknown key' in policy.stderr
    policy("create", "runtime", code=USAGE)
    policy("create", "nothing", "--digests", "odd.json", code=USAGE)


def test_sign__another_program_verifies_it(policy, author):
    text = b'{"digests": {}}\n'
    (policy.dir / "p.json").write_bytes(text)
    envelope = json.loads(policy("sign", "p.json", "--key", "key.pem"))
    assert envelope["payloadType"] == TYPE and base64.b64decode(envelope["payload"]) == text
    signature = base64.b64decode(envelope["signatures"][0]["sig"])
    author.public_key().verify(signature, pae(text), ec.ECDSA(hashes.SHA256()))
    with pytest.raises(InvalidSignature):
        author.public_key().verify(signature, text, ec.ECDSA(hashes.SHA256()))
    assert envelope["signatures"][0]["keyid"] == hashlib.sha256((policy.dir / "pub.pem").read_bytes()).hexdigest()


@pytest.mark.parametrize("curve", [ec.SECP256R1, ec.SECP384R1, ec.SECP521R1])
def test_verify__envelopes_of_another_program__only_by_its_key(policy, author, curve):
    key, text = ec.generate_private_key(curve()), b'{"digests": {}}'
    (policy.dir / "its.pem").write_bytes(
        key.public_key().public_bytes(PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    envelope = {
        "payload": base64.b64encode(text).decode(),
        "payloadType": TYPE,
        "signatures": [{"keyid": "", "sig": base64.b64encode(key.sign(pae(text), ec.ECDSA(hashes.SHA256()))).decode()}],
    }
    (policy.dir / "e.json").write_text(json.dumps(envelope))
    policy("verify", "e.json", "--key", "pub.pem", "--key", "its.pem", "--out", "inside.json")
    assert (policy.dir / "inside.json").read_bytes() == text
    policy("verify", "e.json", "--key", "pub.pem", code=UNTRUSTED)
    policy("verify", "inside.json", "--key", "its.pem", code=UNTRUSTED)
    policy("convert", "e.json", code=FAILED)  # its signature would be lost
    envelope["payload"] = base64.b64encode(b'{"digests": {} }').decode()
    (policy.dir / "e.json").write_text(json.dumps(envelope))
    policy("verify", "e.json", "--key", "its.pem", code=UNTRUSTED)
