"""An embedded server that denies what a policy on AWS would."""

import json

import pytest
from moto.sns.responses import SNSResponse
from moto.sqs.responses import SQSResponse

_ERROR = "<Error><Code>AuthorizationError</Code><Message>not yours</Message></Error>"
_SERVICES = {
    "sns": (SNSResponse, f"<ErrorResponse>{_ERROR}</ErrorResponse>"),
    "sqs": (SQSResponse, json.dumps({"__type": "com.amazonaws.sqs#AccessDeniedException"})),
}


@pytest.fixture
def deny(monkeypatch):
    """Denies an operation of `sns` or `sqs`, under its name in Python."""

    def by(service, operation):
        responses, error = _SERVICES[service]
        monkeypatch.setattr(responses, operation, lambda self: (403, {"status": 403}, error))

    return by
