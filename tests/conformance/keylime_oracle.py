"""Runs within Keylime's own environment: judges lists by policies with its code. One JSON request a line, one answer."""

import json
import sys
import types

sys.modules["gpg"] = types.ModuleType("gpg")  # only PGP signatures of old allowlists use it

from keylime.agentstates import AgentAttestState  # noqa: E402
from keylime.common.algorithms import Hash  # noqa: E402
from keylime.ima import ima  # noqa: E402
from keylime.ima.file_signatures import ImaKeyring, ImaKeyrings  # noqa: E402


def keyrings_of(keyring: str | None) -> ImaKeyrings | None:
    if keyring is None:
        return None
    out = ImaKeyrings()
    if keyring:
        out.set_tenant_keyring(ImaKeyring.from_string(keyring))
    return out


def judge(request: dict) -> dict:
    keyrings = keyrings_of(request["keyring"])
    try:
        pcr10, failure = ima.process_measurement_list(
            AgentAttestState("agent"),
            request["lines"],
            runtime_policy=request["policy"],
            pcrval=request["pcr10"],
            ima_keyrings=keyrings,
            hash_alg=Hash.SHA256,
        )
    except Exception as e:  # what it cannot read it does not allow
        return {"events": ["exception"], "text": repr(e)}
    learned = sorted(keyrings.to_json()) if keyrings else []
    return {"events": [event.event_id for event in failure.events], "pcr10": pcr10, "learned": learned}


for line in sys.stdin:
    print(json.dumps(judge(json.loads(line))), flush=True)
