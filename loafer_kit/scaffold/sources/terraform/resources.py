"""The resources in the output of `terraform show -json`, and which of their values matter."""

from collections.abc import Iterator
from dataclasses import dataclass

from loafer_kit.scaffold.sources.aws import MESSAGE_SIZES
from loafer_kit.scaffold.sources.documents import Node
from loafer_kit.scaffold.sources.import_results import keys

# Values that the provider computes or repeats.
_COMPUTED = "arn id name_prefix owner region tags_all timeouts"

_QUEUE_DEFAULTS = {
    "content_based_deduplication": ("false",),
    "deduplication_scope": ("queue",),
    "delay_seconds": ("0",),
    "fifo_throughput_limit": ("perqueue",),
    "kms_data_key_reuse_period_seconds": ("300",),
    "max_message_size": MESSAGE_SIZES,
    "message_retention_seconds": ("345600",),
    "receive_wait_time_seconds": ("0",),
    "sqs_managed_sse_enabled": ("true",),
    "visibility_timeout_seconds": ("30",),
}
QUEUE = keys(
    "fifo_queue name receive_wait_time_seconds redrive_policy visibility_timeout_seconds",
    f"{_COMPUTED} url",
    _QUEUE_DEFAULTS,
)
# The spec has the name of a dead-letter queue only.
DEAD_LETTER_QUEUE = keys("fifo_queue name", f"{_COMPUTED} url", _QUEUE_DEFAULTS)
REDRIVE_POLICY = keys("queue_url redrive_policy", _COMPUTED)
_SAMPLE_RATES = [
    f"{protocol}_success_feedback_sample_rate"
    for protocol in ("application", "firehose", "http", "lambda", "sqs")
]
TOPIC = keys(
    "fifo_topic name",
    f"{_COMPUTED} beginning_archive_time display_name",
    {
        "content_based_deduplication": ("false",),
        "fifo_throughput_scope": ("messagegroup",),
        "signature_version": ("0", "1"),
        "tracing_config": ("passthrough",),
        **dict.fromkeys(_SAMPLE_RATES, ("0",)),
    },
)
# Only other protocols need a confirmation.
SUBSCRIPTION = keys(
    "endpoint protocol raw_message_delivery topic_arn",
    f"""
    {_COMPUTED} confirmation_timeout_in_minutes confirmation_was_authenticated
    endpoint_auto_confirms owner_id pending_confirmation
    """,
    {"filter_policy_scope": ("messageattributes",)},
)
# `ReportBatchItemFailures` is the only function response type; a service always settles each message
# alone.
MAPPING = keys(
    "batch_size event_source_arn",
    f"""
    {_COMPUTED} function_arn function_name function_response_types last_modified
    last_processing_result state state_transition_reason uuid
    """,
    {
        "bisect_batch_on_function_error": ("false",),
        "enabled": ("true",),
        "maximum_batching_window_in_seconds": ("0",),
        "maximum_record_age_in_seconds": ("0", "-1"),
        "maximum_retry_attempts": ("0", "-1"),
        "parallelization_factor": ("0", "1"),
        "tumbling_window_in_seconds": ("0",),
    },
)


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource: its module's address, its values, and a plan's expressions for them."""

    node: Node
    module: str
    expressions: Node

    @property
    def kind(self) -> str:
        """The resource's type."""
        return str(self.node["type"].value)

    @property
    def address(self) -> str:
        """Where the configuration has it, with the index of an instance."""
        return str(self.node["address"].value)

    def __getitem__(self, key: str) -> Node:
        return self.node.at("values", key)

    @property
    def settings(self) -> Node:
        """The resource with its values, and with those that only `terraform apply` decides."""
        values = {
            key: node["constant_value"].value if "constant_value" in node else _LATER
            for key, node in self.expressions.items()
        }
        for key, node in self.node["values"].items():
            values[key] = None if _OWN_POLICY in str(node.value) else node.value
        return self.node.with_value(values)


# Not a default of AWS: a note is due.
_LATER = "known when applied"
# The id of the policy that AWS gives to every topic.
_OWN_POLICY = "__default_policy_ID"


def resources(module: Node, configuration: Node, address: str) -> Iterator[Resource]:
    """The resources of a module and of those within it."""
    expressions = {
        str(item["address"].value): item["expressions"]
        for item in configuration["resources"].elements()
    }
    for resource in module["resources"].elements():
        local = str(resource["address"].value).removeprefix(f"{address}.").partition("[")[0]
        yield Resource(resource, address, expressions.get(local, Node(None)))
    for child in module["child_modules"].elements():
        inner = str(child["address"].value)
        call = inner.removeprefix(f"{address}.").removeprefix("module.").partition("[")[0]
        yield from resources(child, configuration.at("module_calls", call, "module"), inner)
