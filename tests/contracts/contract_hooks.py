"""What schemathesis is told beside the contract: the model that is served.

It makes names up, so that nearly every request would end at 404. A name that is a string is
replaced, whatever else is wrong with the request: by the contract any string is a good one.
"""

import os

import schemathesis

MODEL = os.environ["TOLLGATE_CONTRACT_MODEL"]


@schemathesis.hook
def before_call(context, case, kwargs):
    if isinstance(case.body, dict) and isinstance(case.body.get("model"), str):
        case.body["model"] = MODEL
