"""Runs within Keylime's own environment: judges lists by policies with its code. One JSON request a line, one answer."""

import json
import sys
import types

sys.modules["gpg"] = types.ModuleType("gpg")  # only PGP signatures of old allowlists use it

from keylime.common.algorithms import Hash  # noqa: E402
from keylime.ima import ima  # noqa: E402


def judge(request: dict) -> dict:
    try:
        _, failure = ima.process_measurement_list(
            None, request["lines"], runtime_policy=request["policy"], hash_alg=Hash.SHA256
        )
    except Exception as e:  # what it cannot read it does not allow
        return {"events": ["exception"], "text": repr(e)}
    return {"events": [event.event_id for event in failure.events]}


for line in sys.stdin:
    print(json.dumps(judge(json.loads(line))), flush=True)
