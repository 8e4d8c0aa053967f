"""What each copy of the process in `programs` has imported, and parsed, when it starts."""

import gc

import black  # noqa: F401
import botocore.session
import botocore_caches
import cookiecutter.main  # noqa: F401
import moto.moto_server.werkzeug_app
import moto.sns.responses
import moto.sqs.responses  # noqa: F401
import pytest  # noqa: F401
import watchfiles  # noqa: F401

import loafer_kit.cli.changes
import loafer_kit.cli.dead_letters
import loafer_kit.cli.dev
import loafer_kit.cli.dlq
import loafer_kit.cli.new
import loafer_kit.cli.send
import loafer_kit.ext.aws.routes
import loafer_kit.local.development
import loafer_kit.local.gates
import loafer_kit.managers
import loafer_kit.scaffold.rendering.builtin  # noqa: F401

botocore_caches.share()
for service in ("sqs", "sns"):
    botocore.session.Session().create_client(
        service, "eu-west-1", aws_access_key_id="x", aws_secret_access_key="x"
    )
gc.freeze()  # collections of the copies leave it out
