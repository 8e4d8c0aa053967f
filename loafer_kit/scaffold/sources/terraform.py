"""The source Terraform: the output of `terraform show -json` for a state or a plan. HCL is not read."""

import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Collection
from pathlib import Path

from loafer_kit.exceptions import ConfigurationError
from loafer_kit.scaffold.escaping import quoted
from loafer_kit.scaffold.sources import documents
from loafer_kit.scaffold.sources.cloudformation import MESSAGE_SIZES, REDRIVE_POLICY_KEYS
from loafer_kit.scaffold.sources.documents import Node
from loafer_kit.scaffold.sources.import_results import (
    ImportResult,
    Keys,
    Subscription,
    batch_size,
    dead_letter_targets,
    draft_of,
    fifo,
    keys,
    last_part,
    listed,
    queue_keys,
    queue_of,
    subscription,
    whole_number,
)
from loafer_kit.scaffold.sources.senders import TERRAFORM, Target, target_of
from loafer_kit.scaffold.sources.terraform_resources import Resource, Resources, references
from loafer_kit.scaffold.spec.fields import DEFAULT_MAX_RECEIVE_COUNT
from loafer_kit.scaffold.spec.specs import Draft

# Values that the provider computes or repeats.
_COMPUTED = "arn id name_prefix owner region tags_all timeouts"

_QUEUE_KEYS, _DEAD_LETTER_QUEUE_KEYS = queue_keys(
    f"{_COMPUTED} fifo_queue name url",
    "receive_wait_time_seconds redrive_policy visibility_timeout_seconds",
    lambda row: row.name,
    delay_seconds="0",
    kms_data_key_reuse_period_seconds="300",
    max_message_size=MESSAGE_SIZES,
    message_retention_seconds="345600",
    receive_wait_time_seconds="0",
    sqs_managed_sse_enabled="true",
    visibility_timeout_seconds="30",
)
_REDRIVE_POLICY_KEYS = keys(f"{_COMPUTED} queue_url redrive_policy")
_SAMPLE_RATES = [
    f"{protocol}_success_feedback_sample_rate"
    for protocol in ("application", "firehose", "http", "lambda", "sqs")
]
_TOPIC_KEYS = keys(
    f"{_COMPUTED} beginning_archive_time display_name fifo_topic name",
    content_based_deduplication="false",
    fifo_throughput_scope="messagegroup",
    signature_version="0 1",
    tracing_config="passthrough",
    **dict.fromkeys(_SAMPLE_RATES, "0"),
)
# Only other protocols need a confirmation.
_SUBSCRIPTION_KEYS = keys(f"""
    {_COMPUTED} confirmation_timeout_in_minutes confirmation_was_authenticated endpoint
    endpoint_auto_confirms filter_policy filter_policy_scope owner_id pending_confirmation protocol
    raw_message_delivery topic_arn
    """)
# `ReportBatchItemFailures` is the only function response type; a service always settles each message
# alone.
_MAPPING_KEYS = keys(
    f"""
    {_COMPUTED} batch_size event_source_arn function_arn function_name function_response_types
    last_modified last_processing_result state state_transition_reason uuid
    """,
    bisect_batch_on_function_error="false",
    enabled="true",
    maximum_batching_window_in_seconds="0",
    maximum_record_age_in_seconds="0 -1",
    maximum_retry_attempts="0 -1",
    parallelization_factor="0 1",
    tumbling_window_in_seconds="0",
)

_LARGEST = 64 * 1024 * 1024
_QUEUE, _TOPIC, _SUBSCRIPTION = "aws_sqs_queue", "aws_sns_topic", "aws_sns_topic_subscription"
_REDRIVE_POLICY, _MAPPING = "aws_sqs_queue_redrive_policy", "aws_lambda_event_source_mapping"
_READ_BY = "loafer-kit new service NAME --from-terraform -`"
_RUN_FOR_A_PLAN = f"run `terraform plan -out plan && terraform show -json plan | {_READ_BY}"
#: What to run for the files of Terraform itself.
_COMMANDS = {
    ".tf": f"HCL is not read; {_RUN_FOR_A_PLAN}",
    ".tfstate": f"a state file is not read; run `terraform show -json | {_READ_BY}",
}
# The provider writes every value; AWS's defaults are left out of the spec.
_SETTINGS = {
    "receive_wait_time_seconds": ("wait_time", 0),
    "visibility_timeout_seconds": ("visibility_timeout", 30),
}
_WHEN_APPLIED = "is known only when the plan is applied"


def read(path: Path, include: Collection[str] = ()) -> Draft:
    """The draft of a service for the queues of a state or a plan.

    The dead-letter queues of `include` get routes too.
    """
    if path.suffix in _COMMANDS:
        raise ConfigurationError(f"{path}: {_COMMANDS[path.suffix]}")
    document = documents.load(
        path, {".json": _parsed}, what="the output of `terraform show -json`", largest=_LARGEST
    )
    if "lineage" in document.values:
        raise ConfigurationError(f"{path}: {_COMMANDS['.tfstate']}")
    if "resource" in document.values:  # a configuration in JSON, such as CDKTF writes
        raise ConfigurationError(f"{path}: a configuration is not read; {_RUN_FOR_A_PLAN}")
    return draft_of(document, lambda root: _Reader(root, include).read())


def _parsed(text: str) -> documents.Parsed:
    """The values of a text; ValueError for the log that `terraform plan -json` prints."""
    if '"@level":' in text.partition("\n")[0]:
        raise ValueError(f"the log of `terraform plan -json` is not read; {_RUN_FOR_A_PLAN}")
    return documents.JSON[".json"](text)


class _Reader:
    """Walks over the resources of one document."""

    def __init__(self, root: Node, include: Collection[str]) -> None:
        planned = root["planned_values"]
        self._top = planned if planned.is_there else root["values"]
        configuration = root.at("configuration", "root_module")
        self._resources = Resources(self._top["root_module"], configuration)
        self._result = ImportResult(included=include)
        #: The names of queues and topics by the addresses of resources.
        self._names: dict[str, str] = {}
        #: The topics that are managed, each with its ARN if that is known.
        self._made_topics: dict[str, str | None] = {}
        #: The ARNs of the topics that are looked up by their names.
        self._found_topics: set[str] = set()

    def read(self) -> ImportResult:
        for kind in (_QUEUE, _TOPIC):
            self._name_all(kind)
        for item in self._of(_TOPIC):
            if item.node["mode"].value == "data":
                self._found_topics.add(str(item["arn"].value))
            else:
                self._made_topics[self._names[item.address]] = item["arn"].text
        for resource in self._of(_QUEUE):
            self._queue(resource)
        for resource in self._of(_QUEUE, _REDRIVE_POLICY):
            self._redrive(resource)
        for resource in self._of(_SUBSCRIPTION):
            self._subscription(resource)
        for resource in self._of(_MAPPING):
            self._mapping(resource)
        self._dead_letters()
        sending = {item.kind for item in self._of(*TERRAFORM) if self._senders(item)}
        known = {_QUEUE, _TOPIC, _SUBSCRIPTION, _REDRIVE_POLICY, _MAPPING} | sending
        if others := {item.kind for item in self._resources.listed} - known:
            self._result.note(self._top, f"not looked at: {listed(sorted(others))}")
        if not self._result.queues:
            self._result.problem(self._top, f"describes no queue ({_QUEUE})")
        self._note_queues_and_topics()
        return self._result

    def _note_queues_and_topics(self) -> None:
        """Note the keys of queues and topics, once it is known which of them are used, and how."""
        others = self._result.dead_letter_queues()
        for resource in self._of(_QUEUE):
            is_dead = self._names[resource.address] in others
            self._note_unsupported(resource, _DEAD_LETTER_QUEUE_KEYS if is_dead else _QUEUE_KEYS)
        subscribed = {item.topic for item in self._result.subscriptions}
        for resource in self._of(_TOPIC):
            if self._names[resource.address] in subscribed:
                self._note_unsupported(resource, _TOPIC_KEYS)
            else:
                self._note(resource, "is left out: no queue is subscribed to it")

    def _note_unsupported(self, resource: Resource, known: Keys) -> None:
        self._result.note_unsupported(resource.settings, known, quoted(resource.address))

    def _note(self, resource: Resource, message: str) -> None:
        self._result.note(resource.node, f"{quoted(resource.address)}: {message}")

    def _of(self, *kinds: str) -> list[Resource]:
        return [resource for resource in self._resources.listed if resource.kind in kinds]

    def _name_all(self, kind: str) -> None:
        """Name the queues or topics; those whose name is not known yet are told apart."""
        given = {item.address: item["name"].text for item in self._of(kind)}
        short = {
            item.address: _short_name(item) for item in self._of(kind) if not given[item.address]
        }
        counts = Counter([*filter(None, given.values()), *short.values()])
        taken = set(given.values())
        numbers: defaultdict[str, itertools.count[int]] = defaultdict(lambda: itertools.count(2))
        for resource in self._of(kind):
            name = given[resource.address]
            if name is None:
                stem, suffix = short[resource.address], _suffix(resource)
                if counts[stem] > 1:
                    stem = _full_name(resource)
                name = stem + suffix
                while name in taken:
                    name = f"{stem}-{next(numbers[stem])}{suffix}"
                taken.add(name)
                self._note(resource, f"its name {_WHEN_APPLIED}: the spec calls it {name}")
            self._names[resource.address] = name

    def _queue(self, resource: Resource) -> None:
        name = self._names[resource.address]
        settings = {
            key: whole_number(resource[word])
            for word, (key, default) in _SETTINGS.items()
            if resource[word].value not in (None, default)
        }
        settings |= fifo(name, resource["fifo_queue"], lambda row: resource[row.name], self._result)
        if name in self._result.queues:
            self._note(resource, f"is left out: another queue is called {quoted(name)}")
        else:
            self._result.queue(name, resource.node, settings)

    def _redrive(self, resource: Resource) -> None:
        """A queue's redrive policy, a value of the queue or a resource of its own."""
        where = resource["redrive_policy"]
        target = self._target(resource, "redrive_policy", "deadLetterTargetArn")
        is_own = resource.kind == _QUEUE
        name = self._names[resource.address] if is_own else self._target(resource, "queue_url")
        if where.text and target is None:
            self._result.note(where, "is not a redrive policy: left out")
        if not is_own:
            self._note_unsupported(resource, _REDRIVE_POLICY_KEYS)
        if target is None:
            return
        if name not in self._result.queues:
            self._note(resource, "is left out: its queue is not described")
            return
        self._result.note_unsupported(where.parsed, REDRIVE_POLICY_KEYS, quoted(resource.address))
        settings = self._result.queues[name].settings
        settings["dead_letter_queue"] = where.with_value(target)
        if where.is_there:
            count = where.parsed["maxReceiveCount"].value
            settings["max_receive_count"] = whole_number(where.with_value(count))
        else:
            assumed = f"the spec says {DEFAULT_MAX_RECEIVE_COUNT}"
            self._note(resource, f"its maxReceiveCount {_WHEN_APPLIED}: {assumed}")

    def _subscription(self, resource: Resource) -> None:
        protocol = str(resource["protocol"].value)
        if protocol != "sqs":
            self._note(resource, f"delivers by {quoted(protocol)}, not to a queue")
            return
        queue = self._target(resource, "endpoint")
        topic = self._target(resource, "topic_arn", otherwise=queue)
        if topic is None or queue is None:
            return
        self._result.queue(queue, resource.node)
        arn = resource["topic_arn"].text
        exists = topic not in self._made_topics if arn is None else self._exists(arn)
        expression = resource.expressions["topic_arn"].value
        is_found = arn in self._found_topics or any(
            text.startswith("data.") for text in references(expression)
        )
        self._result.subscriptions.append(
            Subscription(
                topic,
                queue,
                resource.node,
                subscription(lambda row: resource[row.name], self._result),
                arn=arn if exists and not is_found else None,
                exists=exists,
            )
        )
        self._note_unsupported(resource, _SUBSCRIPTION_KEYS)

    def _exists(self, topic_arn: str) -> bool:
        """Whether a topic exists without the resources of the document."""
        name = last_part(topic_arn)
        return name not in self._made_topics or self._made_topics[name] not in (None, topic_arn)

    def _mapping(self, resource: Resource) -> None:
        """Read a queue that calls a function, perhaps in batches."""
        source = resource["event_source_arn"]
        name = self._target(resource, "event_source_arn")
        if name and ":sqs:" in str(source.value):
            self._result.queue(name, resource.node)
        if name is None or name not in self._result.queues:
            if source.is_there or not resource.expressions["event_source_arn"].is_there:
                self._note(resource, "is left out: it reads no queue")
            return
        size = batch_size(resource["batch_size"], self._result)
        self._result.queue(name, resource.node, size)
        self._result.readers.append((name, resource.node))
        self._note_unsupported(resource, _MAPPING_KEYS)

    def _senders(self, resource: Resource) -> bool:
        """Add what a resource sends to queues and topics; whether there is any."""
        sends = False
        for sender in TERRAFORM[resource.kind]:
            places = sender.places(resource.node["values"]), sender.places(resource.expressions)
            for value, expression in itertools.zip_longest(*places, fillvalue=Node(None)):
                target = self._sent_to(resource, value[sender.target], expression[sender.target])
                if target is not None:
                    sends = True
                    known = {key: node.value for key, node in value.items() if node.is_there}
                    given = {key: node.value for key, node in expression.items()}
                    kind = sender.kind_of(Node(given | known))
                    called = quoted(resource.address)
                    self._result.senders.add(target, kind, resource.node, called)
        return sends

    def _sent_to(self, resource: Resource, value: Node, expression: Node) -> Target | None:
        """The queue or topic of a value, or of a plan's expression for it."""
        if value.text:
            return target_of(value.text)
        addresses, _ = self._resources.referred(resource, expression.value)
        found = {
            ("sqs" if f"{_QUEUE}." in address else "sns", self._names[address])
            for address in addresses
            if address in self._names
        }
        return found.pop() if len(found) == 1 else None

    def _target(
        self,
        resource: Resource,
        key: str,
        within: str | None = None,
        *,
        otherwise: str | None = None,
    ) -> str | None:
        """The name of the queue or topic that a value, or a plan's expression for it, refers to.

        It is `otherwise` if only `terraform apply` knows it.
        """
        value = resource[key]
        if value.is_there:
            arn = value.parsed[within] if within else value
            return last_part(arn.text) if arn.text else None
        expression = resource.expressions[key]
        addresses, knows_all = self._resources.referred(resource, expression.value)
        found = {self._names[address] for address in addresses if address in self._names}
        if len(found) == 1:
            return found.pop()
        if found or not knows_all:
            result = "left out" if otherwise is None else f"the spec calls it {otherwise}"
            self._note(resource, f"its {key} {_WHEN_APPLIED}: {result}")
            return otherwise
        return None

    def _dead_letters(self) -> None:
        """Find the dead-letter queues of all resources, except those of the spec's queues."""
        for resource in self._resources.listed:
            if self._is_read(resource):
                continue
            owner = quoted(resource.address)
            self._result.dead_letters_of(owner, resource.node["values"].value, queue_of)
            for place in dead_letter_targets(resource.expressions.value):
                for address in self._resources.referred(resource, place)[0]:
                    if address in self._names and f"{_QUEUE}." in address:
                        self._result.dead_letter(self._names[address], owner)

    def _is_read(self, resource: Resource) -> bool:
        """Whether the spec has the resource's dead-letter queue."""
        if resource.kind == _QUEUE:
            name = self._names[resource.address]
        elif resource.kind == _REDRIVE_POLICY:
            name = self._target(resource, "queue_url") or ""
        else:
            return False
        queue = self._result.queues.get(name)
        return queue is not None and "dead_letter_queue" in queue.settings


def _short_name(resource: Resource) -> str:
    """A name from the prefix that the resource gives, or from the resource's own name."""
    prefix = (resource["name_prefix"].text or "").strip("-_")
    return _plain(prefix or str(resource.node["name"].value))


def _full_name(resource: Resource) -> str:
    """A name from the modules and the instance as well."""
    steps = re.sub(r"\bmodule\.", "", resource.module.address)
    return _plain(f"{steps}-{_short_name(resource)}-{resource.index}")


def _plain(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_]+", "-", text).strip("-")[:75]


def _suffix(resource: Resource) -> str:
    is_fifo = True in (resource["fifo_queue"].value, resource["fifo_topic"].value)
    return ".fifo" if is_fifo else ""
