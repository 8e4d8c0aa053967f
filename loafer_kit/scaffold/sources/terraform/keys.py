"""What the spec says of the values of Terraform's resources; the provider writes every value."""

from loafer_kit.scaffold.sources.aws_keys import MESSAGE_SIZES
from loafer_kit.scaffold.sources.keys import keys

# What the provider computes, or repeats from `name`, `tags` and its own configuration.
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
# Of a dead-letter queue the spec says the name, which tells FIFO too.
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
# Confirmations are those of other protocols.
SUBSCRIPTION = keys(
    "endpoint protocol raw_message_delivery topic_arn",
    f"""
    {_COMPUTED} confirmation_timeout_in_minutes confirmation_was_authenticated
    endpoint_auto_confirms owner_id pending_confirmation
    """,
    {"filter_policy_scope": ("messageattributes",)},
)
# `ReportBatchItemFailures`, the one function response type, is what a service does anyhow: each
# message is settled alone.
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
