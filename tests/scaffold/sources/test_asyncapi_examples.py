"""Small documents after the examples of the AsyncAPI specification: what each of them becomes."""

import textwrap

import pytest

from loafer_kit.scaffold.project import projects
from loafer_kit.scaffold.rendering import contexts
from loafer_kit.scaffold.sources import asyncapi, documents
from loafer_kit.scaffold.spec import validation

# Each: the document, its queues with their handlers and payloads, its models, and a note.
EXAMPLES = {
    "simple": (
        """
        asyncapi: 3.0.0
        info: {title: Account Service, version: 1.0.0}
        channels:
          userSignedup:
            address: user/signedup
            messages:
              UserSignedUp: {$ref: '#/components/messages/UserSignedUp'}
        operations:
          onUserSignedUp:
            action: receive
            channel: {$ref: '#/channels/userSignedup'}
            messages: [{$ref: '#/channels/userSignedup/messages/UserSignedUp'}]
        components:
          messages:
            UserSignedUp:
              payload:
                type: object
                properties:
                  displayName: {type: string, description: Name of the user}
                  email: {type: string, format: email, description: Email of the user}
        """,
        [("user-signedup", "on_user_signed_up", "UserSignedUp")],
        {"UserSignedUp": {"displayName": "str | None", "email": "str | None"}},
        "not checked: format 'email'",
    ),
    "oneof": (
        """
        asyncapi: 3.0.0
        info: {title: oneOf example, version: 1.0.0}
        channels:
          test:
            address: test
            messages:
              testMessages:
                payload:
                  oneOf:
                    - {$ref: '#/components/schemas/objectWithKey'}
                    - {$ref: '#/components/schemas/objectWithKey2'}
        operations:
          onTestMessages: {action: receive, channel: {$ref: '#/channels/test'}}
        components:
          schemas:
            objectWithKey:
              type: object
              properties: {key: {type: string, additionalProperties: false}}
            objectWithKey2:
              type: object
              properties: {key2: {type: string}}
        """,
        [("test", "on_test_messages", "TestMessages")],
        {
            "TestMessages": "ObjectWithKey | ObjectWithKey2",
            "ObjectWithKey": {"key": "str | None"},
            "ObjectWithKey2": {"key2": "str | None"},
        },
        None,
    ),
    "anyof and not": (
        """
        asyncapi: 3.0.0
        info: {title: AnyOf example, version: 1.0.0}
        channels:
          test:
            messages:
              testMessages:
                payload:
                  anyOf:
                    - {type: object, properties: {key: {not: {type: integer}}}}
                    - {type: string}
        operations:
          onTestMessages: {action: receive, channel: {$ref: '#/channels/test'}}
        """,
        [("test", "on_test_messages", None)],
        None,
        None,
    ),
    "application headers and correlation id": (
        """
        asyncapi: 3.0.0
        info: {title: Application Headers example, version: 1.0.0}
        servers:
          production:
            host: 'test.mosquitto.org:{port}'
            protocol: mqtt
            variables: {port: {default: '1883', enum: ['1883', '8883']}}
        defaultContentType: application/json
        channels:
          lightingMeasured:
            address: 'smartylighting/streetlights/1/0/event/{streetlightId}/lighting/measured'
            messages:
              lightMeasured:
                correlationId: {location: '$message.header#/MQMD/CorrelId'}
                headers: {type: object}
                payload:
                  type: object
                  properties:
                    lumens: {type: integer, minimum: 0}
                    sentAt: {type: string, format: date-time}
            parameters:
              streetlightId: {description: The ID of the streetlight.}
        operations:
          receiveLightMeasurement:
            action: receive
            channel: {$ref: '#/channels/lightingMeasured'}
        """,
        [
            (
                "smartylighting-streetlights-1-0-event-${STREETLIGHT_ID}-lighting-measured",
                "receive_light_measurement",
                "LightMeasured",
            )
        ],
        {"LightMeasured": {"lumens": "int | None", "sentAt": "datetime | None"}},
        "unsupported: correlationId, headers",
    ),
    "rpc server": (
        """
        asyncapi: 3.0.0
        info: {title: RPC Server Example, version: 1.0.0}
        channels:
          queue:
            address: '{queue}'
            parameters: {queue: {description: The name of the queue to send replies to}}
            messages: {sendSumResult: {payload: {type: object}}}
          rpcQueue:
            address: rpc_queue
            messages:
              receiveSum:
                payload:
                  type: object
                  properties: {numbers: {type: array, items: {type: number}}}
        operations:
          sendSumResult: {action: send, channel: {$ref: '#/channels/queue'}}
          sum:
            action: receive
            channel: {$ref: '#/channels/rpcQueue'}
            reply: {channel: {$ref: '#/channels/queue'}}
        """,
        [("rpc_queue", None, "ReceiveSum")],
        {"ReceiveSum": {"numbers": "list[float] | None"}},
        "unsupported: reply",
    ),
    "gitter": (
        """
        asyncapi: 3.0.0
        info: {title: Gitter Streaming API, version: 1.0.0}
        channels:
          rooms:
            address: /rooms/{roomId}/{resource}
            parameters:
              roomId: {description: Id of the Gitter room., examples: [53307860c3599d1de448e19d]}
              resource: {enum: [chatMessages, events], default: events}
            messages:
              chatMessage: {payload: {type: object, properties: {id: {type: string}}}}
              heartbeat: {payload: {type: string, enum: [beat, tick]}}
        operations:
          sendRoomInfo: {action: receive, channel: {$ref: '#/channels/rooms'}}
        """,
        [("rooms-${ROOM_ID}-${RESOURCE}", "send_room_info", None)],
        None,
        "unsupported: enum",
    ),
    "version 2, with several messages": (
        """
        asyncapi: 2.6.0
        info: {title: Slack Real Time Messaging API, version: 1.0.0}
        servers:
          main: {url: 'https://{stage}.slack.com', variables: {stage: {default: dev}}}
        channels:
          '{stage}/rtm':
            publish:
              operationId: onEvent
              message:
                oneOf:
                  - name: hello
                    payload: {type: object, required: [type], properties: {type: {const: hello}}}
                  - name: goodbye
                    payload: {type: object, required: [type], properties: {type: {const: goodbye}}}
        """,
        [("${STAGE}-rtm", None, None)],
        {
            "Hello": {"type": "Literal['hello']"},
            "Goodbye": {"type": "Literal['goodbye']"},
        },
        "has no binding for SQS: its queue is called ${STAGE}-rtm",
    ),
    "sns to sqs": (
        """
        asyncapi: 2.6.0
        info: {title: User Service, version: 1.0.0}
        channels:
          user-signedup:
            publish:
              operationId: receiveMessage
              bindings:
                sns:
                  consumers:
                    - protocol: sqs
                      endpoint: {arn: 'arn:aws:sqs:us-west-2:123456789012:UserSignedUpQueue'}
                      rawMessageDelivery: true
                      filterPolicy: {reason: {anything-but: password-reset}}
        """,
        [("UserSignedUpQueue", "receive_message", None)],
        None,
        "the filter policy is left out: 'reason' must be a list",
    ),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_becomes_a_service(tmp_path, name):
    """Its queues, handlers and models; a service is written of it, whose spec is the same."""
    text, queues, models, note = EXAMPLES[name]
    (tmp_path / "example.yaml").write_text(textwrap.dedent(text))

    draft = asyncapi.read(tmp_path / "example.yaml")

    found = [(q["name"], q.get("handler"), q.get("payload")) for q in draft.values["queues"]]
    assert found == queues
    assert draft.values.get("payloads") == models
    notes = [found.message for found in draft.notes]
    assert note is None or any(note in message for message in notes), notes
    service = validation.service(draft)
    files = projects.builtin("service").render(contexts.service(service)).plan.files
    (tmp_path / "loafer.toml").write_bytes(files["loafer.toml"])

    assert validation.service(documents.read(tmp_path / "loafer.toml")) == service
