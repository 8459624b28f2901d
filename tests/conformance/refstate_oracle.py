"""Runs within Keylime's own environment: judges firmware logs by its policy `example`. One JSON request a line, one answer."""

import base64
import json
import sys
import types

sys.modules["gpg"] = types.ModuleType("gpg")  # only PGP signatures of old allowlists use it

from keylime.mba.elchecking import example, policies  # noqa: E402,F401
from keylime.mba.elparsing import tpm2_tools_elparser as parser  # noqa: E402


def judge(request: dict) -> str:
    """Why the log is rejected; "" if it is accepted."""
    try:
        _, _, log, failure = parser.bootlog_parse(request["log"], "sha256")
        if failure:
            return "the log cannot be parsed"
        return policies.get_policy("example").evaluate(request["refstate"], log)
    except Exception as e:  # the verifier reports it as a failed evaluation
        return "EXC " + repr(e)


for line in sys.stdin:
    print(json.dumps({"reason": judge(json.loads(line))}), flush=True)
