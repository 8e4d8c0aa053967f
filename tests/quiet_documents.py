"""Documents of each source that are read without any note.

They have every kind of node that a source reads, with AWS's defaults, and keys that never matter to
a consumer.
"""

import json

QUEUE = {
    "ContentBasedDeduplication": False,
    "DeduplicationScope": "queue",
    "DelaySeconds": 0,
    "FifoThroughputLimit": "perQueue",
    "KmsDataKeyReusePeriodSeconds": 300,
    "KmsMasterKeyId": "",
    "MaximumMessageSize": 1048576,
    "MessageRetentionPeriod": "345600",
    "ReceiveMessageWaitTimeSeconds": 0,
    "SqsManagedSseEnabled": "true",
    "Tags": [],
    "VisibilityTimeout": 30,
}
RESOURCE = {"DeletionPolicy": "Retain", "DependsOn": [], "Metadata": {"x": 1}}
MAPPING = {"Enabled": True, "FunctionResponseTypes": ["ReportBatchItemFailures"]}
TEMPLATE = {
    "AWSTemplateFormatVersion": "2010-09-09",
    "Description": "x",
    "Outputs": {"x": {}},
    "Globals": {"Function": {"Runtime": "python3.13"}},
    "Resources": {
        "Orders": {
            "Type": "AWS::SQS::Queue",
            "Properties": {
                **QUEUE,
                "QueueName": "orders",
                "RedrivePolicy": {
                    "deadLetterTargetArn": {"Fn::GetAtt": "Dead.Arn"},
                    "maxReceiveCount": 3,
                },
            },
            **RESOURCE,
        },
        "Dead": {"Type": "AWS::SQS::Queue", "Properties": {**QUEUE, "QueueName": "dead"}},
        "News": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "news"}},
        "Topic": {
            "Type": "AWS::SNS::Topic",
            "Properties": {
                "TopicName": "topic",
                "DisplayName": "Topic",
                "TracingConfig": "PassThrough",
                "Subscription": [{"Protocol": "sqs", "Endpoint": {"Fn::GetAtt": "Orders.Arn"}}],
            },
            **RESOURCE,
        },
        "Subscription": {
            "Type": "AWS::SNS::Subscription",
            "Properties": {
                "TopicArn": {"Ref": "Topic"},
                "Protocol": "sqs",
                "Endpoint": {"Fn::GetAtt": "News.Arn"},
                "RawMessageDelivery": False,
                "FilterPolicyScope": "MessageAttributes",
            },
            **RESOURCE,
        },
        "Mapping": {
            "Type": "AWS::Lambda::EventSourceMapping",
            "Properties": {
                **MAPPING,
                "FunctionName": "f",
                "EventSourceArn": {"Fn::GetAtt": "Orders.Arn"},
                "BatchSize": 5,
            },
            **RESOURCE,
        },
        "Function": {
            "Type": "AWS::Serverless::Function",
            "Properties": {
                "Handler": "app.handle",
                "Events": {
                    "Orders": {
                        "Type": "SQS",
                        "Properties": {**MAPPING, "Queue": {"Fn::GetAtt": "Orders.Arn"}},
                    },
                    "Bills": {
                        "Type": "SNS",
                        "Properties": {
                            "Topic": {"Ref": "Topic"},
                            "SqsSubscription": {
                                "QueueArn": "arn:aws:sqs:eu-west-1:123456789012:bills",
                                "QueueUrl": "x",
                                "Enabled": True,
                            },
                        },
                    },
                },
            },
            **RESOURCE,
        },
    },
}

SQS_QUEUE = {
    "deduplicationScope": "queue",
    "deliveryDelay": 0,
    "fifoQueue": False,
    "fifoThroughputLimit": "perQueue",
    "messageRetentionPeriod": 345600,
    "receiveMessageWaitTime": 0,
    "visibilityTimeout": 30,
    "tags": {},
    "x-owner": "us",
}
WORDS = {"description": "x", "externalDocs": {"url": "x"}, "summary": "x", "tags": [{"name": "x"}]}
CHANNEL_BINDING = {
    "queue": {
        **SQS_QUEUE,
        "name": "orders",
        "redrivePolicy": {"deadLetterQueue": {"name": "dead"}, "maxReceiveCount": 3},
    },
    "deadLetterQueue": {**SQS_QUEUE, "name": "dead"},
    "bindingVersion": "latest",
}
MESSAGE = {
    **WORDS,
    "name": "Order",
    "messageId": "x",
    "examples": [{"payload": {}}],
    "bindings": {"sqs": {}, "sns": {}},
    "traits": [{"contentType": "application/json", "headers": {}}],
    "payload": {"type": "object", "properties": {"id": {"type": "string"}}},
}
NEWS_BINDINGS = {
    "sns": {
        "topic": {"name": "news"},
        "consumers": [
            {
                "protocol": "sqs",
                "endpoint": {"name": "news"},
                "rawMessageDelivery": False,
                "filterPolicyScope": "MessageAttributes",
                "displayName": "x",
            }
        ],
        "bindingVersion": "latest",
    },
    "sqs": {"queues": [{**SQS_QUEUE, "name": "news"}], "bindingVersion": "latest"},
}
VERSION_2 = {
    "asyncapi": "2.6.0",
    "id": "urn:x",
    "info": {"title": "shop", "version": "1", "license": {"name": "x"}},
    "servers": {"x": {"url": "x"}},
    "channels": {
        "orders": {
            "description": "x",
            "servers": ["x"],
            "bindings": {"sqs": CHANNEL_BINDING},
            "publish": {
                **WORDS,
                "operationId": "onOrder",
                "traits": [{"operationId": "x", "bindings": {"sqs": {}}}],
                "message": MESSAGE,
            },
        },
        "news": {
            "bindings": {"sns": {"name": "news", "policy": {}, "bindingVersion": "latest"}},
            "publish": {"bindings": NEWS_BINDINGS},
        },
    },
}
VERSION_3 = {
    "asyncapi": "3.0.0",
    "info": {"title": "shop", "version": "1"},
    "channels": {
        "orders": {
            **WORDS,
            "title": "x",
            "address": "orders",
            "messages": {"order": MESSAGE},
            "bindings": {"sqs": CHANNEL_BINDING},
        },
        "news": {"bindings": {"sns": {"name": "news"}}},
    },
    "operations": {
        "onOrder": {
            **WORDS,
            "title": "x",
            "action": "receive",
            "channel": {"$ref": "#/channels/orders"},
            "messages": [{"$ref": "#/channels/orders/messages/order"}],
            "traits": [{"title": "x"}],
        },
        "onNews": {
            "action": "receive",
            "channel": {"$ref": "#/channels/news"},
            "bindings": NEWS_BINDINGS,
        },
    },
}


def arn(service, name):
    return f"arn:aws:{service}:eu-west-1:123456789012:{name}"


def resource(kind, label, /, **values):
    values = {"arn": "x", "id": "x", "region": "eu-west-1", "tags": None, "tags_all": {}} | values
    return {
        "address": f"{kind}.{label}",
        "mode": "managed",
        "type": kind,
        "name": label,
        "provider_name": "aws",
        "schema_version": 0,
        "values": values,
        "sensitive_values": {},
        "depends_on": [],
    }


def terraform_queue(name, **values):
    own = {
        "content_based_deduplication": False,
        "deduplication_scope": "",
        "delay_seconds": 0,
        "fifo_queue": False,
        "fifo_throughput_limit": "",
        "kms_data_key_reuse_period_seconds": 300,
        "kms_master_key_id": "",
        "max_message_size": 262144,
        "message_retention_seconds": 345600,
        "name": name,
        "name_prefix": "",
        "policy": "",
        "receive_wait_time_seconds": 0,
        "redrive_allow_policy": "",
        "redrive_policy": "",
        "sqs_managed_sse_enabled": True,
        "url": "x",
        "visibility_timeout_seconds": 30,
    }
    return resource("aws_sqs_queue", name, **own | values)


def redrive_policy(name):
    return json.dumps({"deadLetterTargetArn": arn("sqs", name), "maxReceiveCount": 3})


STATE = {
    "values": {
        "root_module": {
            "resources": [
                terraform_queue("orders", redrive_policy=redrive_policy("dead")),
                terraform_queue("dead"),
                resource(
                    "aws_sns_topic",
                    "news",
                    name="news",
                    display_name="x",
                    fifo_topic=False,
                    content_based_deduplication=False,
                    owner="123456789012",
                    policy='{"Id": "__default_policy_ID"}',
                    signature_version=0,
                    sqs_success_feedback_sample_rate=0,
                    tracing_config="",
                ),
                resource(
                    "aws_sns_topic_subscription",
                    "news",
                    topic_arn=arn("sns", "news"),
                    protocol="sqs",
                    endpoint=arn("sqs", "orders"),
                    raw_message_delivery=False,
                    confirmation_timeout_in_minutes=1,
                    confirmation_was_authenticated=True,
                    delivery_policy="",
                    endpoint_auto_confirms=False,
                    filter_policy="",
                    filter_policy_scope="",
                    owner_id="123456789012",
                    pending_confirmation=False,
                ),
                terraform_queue("bills"),
                resource(
                    "aws_sqs_queue_redrive_policy",
                    "bills",
                    queue_url="https://sqs/123456789012/bills",
                    redrive_policy=redrive_policy("dead"),
                ),
                resource(
                    "aws_lambda_event_source_mapping",
                    "bills",
                    event_source_arn=arn("sqs", "bills"),
                    batch_size=10,
                    bisect_batch_on_function_error=False,
                    enabled=True,
                    filter_criteria=[],
                    function_arn="x",
                    function_name="x",
                    function_response_types=["ReportBatchItemFailures"],
                    last_modified="x",
                    maximum_batching_window_in_seconds=0,
                    maximum_retry_attempts=0,
                    parallelization_factor=0,
                    queues=None,
                    scaling_config=[],
                    state="Enabled",
                    state_transition_reason="x",
                    tumbling_window_in_seconds=0,
                    uuid="x",
                ),
            ]
        }
    }
}
