"""Keylime's own clients, unmodified, against our registrar: its tenant program, and the client code of its package.

They live in a virtual environment of their own (tests/support/keylime-venv.sh). What they print and how they exit is
what an operator with an existing fleet sees.
"""

import base64
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import ROOT

sys.path.insert(0, str(ROOT / "tests" / "registrar"))

import world  # noqa: E402
from world import Pki, Registrar, Tpm  # noqa: E402

AGENT = "d432fbb3-d2f1-4a97-9ef7-75bd81c00000"  # the id of Keylime's documentation

LOGGING = """[logging]
version = 2.6
[loggers]
keys = root,keylime
[handlers]
keys = consoleHandler
[formatters]
keys = formatter
[formatter_formatter]
format = %(name)s - %(levelname)s - %(message)s
[logger_root]
level = INFO
handlers = consoleHandler
[handler_consoleHandler]
class = StreamHandler
level = INFO
formatter = formatter
args = (sys.stdout,)
[logger_keylime]
level = INFO
qualname = keylime
handlers =
"""


class Rig:
    def __init__(self, folder: Path, bin_dir: Path, venv: Path):
        self.dir, self.venv = folder, venv
        self.pki = Pki(folder / "pki")
        self.tpm = Tpm(folder / "tpm", folder / "ca")
        self.other = Tpm(folder / "other", folder / "ca")
        store = folder / "store"
        world.run(world.SWTPM, "store", folder / "ca", store)
        self.reg = Registrar(bin_dir / "avow-registrar", folder / "reg", self.pki, store).start()
        (folder / "logging.conf").write_text(LOGGING)

    def env(self, client: str = "client", ca: str = "ca") -> dict[str, str]:
        conf = self.dir / f"tenant-{client}-{ca}.conf"
        conf.write_text(f"""[tenant]
version = 2.6
verifier_ip = 127.0.0.1
verifier_port = 1
registrar_ip = 127.0.0.1
registrar_port = {self.reg.https_port}
tls_dir = {self.pki.dir}
enable_agent_mtls = True
client_cert = {self.pki.dir}/{client}.pem
client_key = {self.pki.dir}/{client}.key
client_key_password =
trusted_server_ca = ["{self.pki.dir}/{ca}.pem"]
request_timeout = 10.0
retry_interval = 1
exponential_backoff = True
max_retries = 1
tpm_cert_store = {self.dir}
""")
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("AVOW_", "KEYLIME_"))}
        return {
            **clean,
            "KEYLIME_DIR": str(self.dir),
            "KEYLIME_TEST": "True",
            "KEYLIME_TENANT_CONFIG": str(conf),
            "KEYLIME_LOGGING_CONFIG": str(self.dir / "logging.conf"),
        }

    def run(self, command: list, **env) -> subprocess.CompletedProcess:
        return subprocess.run(
            [str(c) for c in command], capture_output=True, text=True, timeout=60, cwd=self.dir, env=self.env(**env)
        )

    def tenant(self, *args, **env) -> subprocess.CompletedProcess:
        return self.run([self.venv / "bin" / "keylime_tenant", "-c", *args], **env)

    def python(self, code: str, *args, **env) -> dict:
        """Runs code with Keylime's modules; it prints one JSON value on its last line."""
        done = self.run([self.venv / "bin" / "python", "-c", code, *args], **env)
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    def close(self):
        for name in ("tpm", "other"):
            world.run(world.SWTPM, "stop", self.dir / name)
        if self.reg.proc.running():
            self.reg.kill()


@pytest.fixture(scope="module")
def rig(tmp_path_factory, bin_dir):
    script = ROOT / "tests" / "support" / "keylime-venv.sh"
    made_it = subprocess.run([script], check=True, stdout=subprocess.PIPE, text=True, timeout=600)
    venv = Path(made_it.stdout.strip())
    made = Rig(tmp_path_factory.mktemp("clients"), bin_dir, venv)
    assert made.reg.enrol(AGENT, made.tpm).status == 200
    assert made.reg.register("pending", made.other.body()).status == 200
    yield made
    running = made.reg.proc.running()
    output = made.reg.proc.output()
    made.close()
    assert running and "Sanitizer" not in output


def said(done: subprocess.CompletedProcess) -> str:
    return done.stdout + done.stderr


def test_reglist(rig):
    done = rig.tenant("reglist")
    assert done.returncode == 0, said(done)
    assert f'{{"uuids": ["{AGENT}", "pending"]}}' in said(done)  # pending ones too, as Keylime does


def test_regstatus_of_an_active_agent(rig):
    done = rig.tenant("regstatus", "-u", AGENT)
    assert done.returncode == 0, said(done)
    line = next(x for x in said(done).splitlines() if x.startswith(f'{{"{AGENT}"'))
    info = json.loads(line)[AGENT]
    assert info["operational_state"] == "Registered" and info["regcount"] == 1
    assert (info["ip"], info["port"], info["mtls_cert"]) == ("127.0.0.1", 9002, "disabled")
    assert base64.b64decode(info["aik_tpm"]) == rig.tpm.ak and base64.b64decode(info["ek_tpm"]) == rig.tpm.ek
    assert base64.b64decode(info["ekcert"]) == rig.tpm.cert


@pytest.mark.parametrize("agent", ["pending", "nobody"])
def test_regstatus_of_others_says_that_they_do_not_exist(rig, agent):
    done = rig.tenant("regstatus", "-u", agent)
    assert done.returncode != 0 and "does not exist" in said(done)


def test_regdelete(rig):
    assert rig.reg.enrol("to-delete", rig.other).status == 200
    done = rig.tenant("regdelete", "-u", "to-delete")
    assert done.returncode == 0, said(done)
    assert rig.reg.get("to-delete").status == 404
    done = rig.tenant("regdelete", "-u", "to-delete")
    assert "404" in said(done), said(done)  # known no more
    assert rig.reg.get(AGENT).status == 200


@pytest.mark.parametrize("client", ["server", "stranger"])
def test_wrong_client_certificates_change_nothing(rig, client):
    for command in (("reglist",), ("regstatus", "-u", AGENT), ("regdelete", "-u", AGENT)):
        done = rig.tenant(*command, client=client)
        # Keylime's tenant cannot read the answer 403, or says so: either way it shows nothing and fails or warns.
        assert "aik_tpm" not in said(done) and '"uuids"' not in said(done), said(done)
    assert rig.reg.get(AGENT).status == 200


def test_a_wrong_server_is_not_believed(rig):
    done = rig.tenant("reglist", ca="other-ca")
    assert '"uuids"' not in said(done) and ("CERTIFICATE_VERIFY_FAILED" in said(done) or done.returncode != 0)


VERSIONS = """
import json, sys
from keylime import registrar_client, web_util
(cert, key, ca, password), verify = web_util.get_tls_options("tenant", is_client=True)
tls = web_util.generate_tls_context(cert, key, ca, password, verify_peer_cert=verify, is_client=True)
port, agent = sys.argv[1:3]
out = {"versions": registrar_client.getVersions("127.0.0.1", port, tls)}
for v in ("2.0", "2.1", "2.5", "2.6", "3.0"):
    data = registrar_client.getData("127.0.0.1", port, agent, tls, api_version=v)
    out[v] = [sorted(data) if data else None,
              registrar_client.doRegistrarList("127.0.0.1", port, tls, api_version=v)["results"]["uuids"],
              registrar_client.getData("127.0.0.1", port, "nobody", tls, api_version=v)]
out["delete"] = registrar_client.doRegistrarDelete("127.0.0.1", port, "nobody", tls, api_version="2.6")
print(json.dumps(out))
"""


def test_registrar_client_in_every_version(rig):
    got = rig.python(VERSIONS, rig.reg.https_port, AGENT)
    assert got["versions"]["current_version"] == "2.6"
    assert got["versions"]["supported_versions"] == [*(f"2.{i}" for i in range(7)), "3.0"]
    fields = ["agent_id", "aik_tpm", "ek_tpm", "ekcert", "ip", "mtls_cert", "port", "regcount"]
    for version in ("2.0", "2.1", "2.5", "2.6", "3.0"):
        data, uuids, nobody = got[version]
        assert set(fields) - {"agent_id"} <= set(data), version
        assert AGENT in uuids and nobody is None, version
    assert got["delete"]["code"] == 404


REGISTER = """
import json, sys, requests
from keylime import crypto
from keylime.tpm.tpm_main import Tpm
base, agent, body = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
got = requests.post(f"{base}/v2.6/agents/{agent}", json=body, timeout=10)
blob = got.json()["results"]["blob"]
print(json.dumps({"status": got.status_code, "blob": blob, "hmac": crypto.do_hmac(b"key", agent)}))
"""


def test_registration_with_keylimes_own_crypto(rig):
    """What Keylime's code says about key and HMAC is what the TPM's answer needs: tag = do_hmac(base64(secret), id)."""
    got = rig.python(REGISTER, f"http://127.0.0.1:{rig.reg.http_port}", "by-keylime", json.dumps(rig.other.body()))
    assert got["status"] == 200
    secret = rig.other.open_credential(base64.b64decode(got["blob"]))
    code = "import json, sys; from keylime import crypto; print(json.dumps(crypto.do_hmac(sys.argv[1].encode(), sys.argv[2])))"
    tag = rig.python(code, base64.b64encode(secret).decode(), "by-keylime")
    assert tag == world.auth_tag(secret, "by-keylime")
    assert rig.reg.activate("by-keylime", tag).status == 200
    assert rig.tenant("regstatus", "-u", "by-keylime").returncode == 0
