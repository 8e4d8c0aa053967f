"""Runs doctor on a spec, against an embedded server that can deny what a policy on AWS would."""

import json

import pytest
from moto.sns.responses import SNSResponse
from moto.sqs.responses import SQSResponse
from typer.testing import CliRunner

from loafer_kit.cli import app

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


@pytest.fixture
def doctor(tmp_path):
    """Writes a loafer.toml and looks at it."""

    def run(*queues, options=(), more=""):
        tables = "".join(f"\n[[queues]]\n{queue}\n" for queue in queues)
        tables += more
        (tmp_path / "loafer.toml").write_text(f'name = "shop"\n{tables}')
        done = CliRunner().invoke(app, ["doctor", str(tmp_path), "--json", *options])
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        described = json.loads(done.stdout)
        assert done.exit_code == (1 if described["problems"] else 0)
        return described["findings"]

    return run
