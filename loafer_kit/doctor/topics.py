"""What a queue needs to be sent what is published to its topic."""

from collections.abc import Iterator

from loafer_kit.doctor import policies
from loafer_kit.doctor.findings import Finding, denied
from loafer_kit.doctor.sns import PENDING, MissingTopicError, Topics
from loafer_kit.doctor.sqs import Attributes, Queues
from loafer_kit.exceptions import ProviderError
from loafer_kit.ext.aws import errors
from loafer_kit.ext.aws.addresses import is_arn
from loafer_kit.scaffold.spec.specs import QueueSpec


class TopicDoctor:
    """Looks at topics and at what they may send to queues; nothing on AWS is changed.

    A service needs no permission for SNS: what SNS does not tell is noted. A `local` server has its
    topics beside its queues, also those of another account or region, as `loafer-kit dev` has them.
    """

    def __init__(self, queues: Queues, topics: Topics, *, local: bool) -> None:
        self._queues = queues
        self._topics = topics
        self._local = local

    def examine(self, queue: QueueSpec, url: str, attributes: Attributes) -> Iterator[Finding]:
        """What keeps from a queue, or from its handler, what is published to its topic."""
        if queue.topic is None:
            return
        queue_arn = attributes["QueueArn"]
        topic_arn = self._arn(queue.topic, queue_arn)
        try:
            yield from self._subscriptions(queue, queue_arn, topic_arn)
        except MissingTopicError:
            yield self._missing(queue_arn, topic_arn)
        except errors.AccessDeniedError as error:
            yield denied("note", f"topic {_name(topic_arn)}", error)
        except ProviderError as error:
            yield Finding("note", "SNS", str(error))
        yield from self._policy(queue, url, attributes, topic_arn)

    def _arn(self, topic: str, queue_arn: str) -> str:
        """A topic that is given by name is one beside the queue."""
        if is_arn(topic) and not self._local:
            return topic
        partition, _, region, account = queue_arn.split(":")[1:5]
        return f"arn:{partition}:sns:{region}:{account}:{_name(topic)}"

    def _missing(self, queue_arn: str, topic_arn: str) -> Finding:
        account = topic_arn.split(":")[4]
        if account == queue_arn.split(":")[4]:
            create = self._topics.creating(topic_arn)
            remedy = f"check region and account, or create it: {create}"
        else:
            remedy = f"check its ARN in loafer.toml, or ask the owner of account {account}"
        return Finding("problem", f"topic {_name(topic_arn)}", "does not exist", remedy)

    def _subscriptions(self, queue: QueueSpec, queue_arn: str, topic_arn: str) -> Iterator[Finding]:
        subscribe = self._topics.subscribing(topic_arn, queue_arn)
        found = self._topics.subscriptions(topic_arn, queue_arn)
        confirmed = [arn for arn in found if arn != PENDING]
        for arn in confirmed:
            yield from self._deliveries(queue, topic_arn, arn)
        if not found:
            message = f"is not subscribed to the topic {_name(topic_arn)}"
            yield Finding("problem", f"queue {queue.queue_name}", message, subscribe)
        elif not confirmed:
            message = f"its subscription to the topic {_name(topic_arn)} waits to be confirmed"
            remedy = (
                "open the SubscribeURL of the message that SNS sent to the queue, or let the "
                f"queue's owner subscribe it, which needs no confirmation: {subscribe}"
            )
            yield Finding("problem", f"queue {queue.queue_name}", message, remedy)

    def _deliveries(self, queue: QueueSpec, topic_arn: str, arn: str) -> Iterator[Finding]:
        attributes = self._topics.attributes(topic_arn, arn)
        subject = f"queue {queue.queue_name}"
        subscription = f"its subscription to the topic {_name(topic_arn)}"
        if attributes.get("RawMessageDelivery") == "true":
            message = f"{subscription} delivers raw messages; "
            if queue.translator is None:
                message += "its route expects SNS's envelope"
                remedy = self._topics.without_raw_delivery(topic_arn, arn)
                yield Finding("problem", subject, message, remedy)
            else:
                taker = queue.handler if queue.translator == "none" else queue.translator
                message += f"{taker} gets them without SNS's envelope"
                yield Finding("note", subject, message)
        if attributes.get("FilterPolicy", "{}") != "{}":
            scope = attributes.get("FilterPolicyScope", "MessageAttributes")
            message = f"{subscription} has a filter policy ({scope}): only what it matches is sent"
            yield Finding("note", subject, message)

    def _policy(
        self, queue: QueueSpec, url: str, attributes: Attributes, topic_arn: str
    ) -> Iterator[Finding]:
        subject, name = f"queue {queue.queue_name}", _name(topic_arn)
        policy, queue_arn = attributes.get("Policy"), attributes["QueueArn"]
        verdict = policies.judge(policy, queue_arn, topic_arn)
        if verdict.result == "missing":
            wanted = policies.allowing(policy, queue_arn, topic_arn)
            remedy = self._queues.setting(url, "Policy", wanted)
            message = f"its policy does not let the topic {name} send to it"
            yield Finding("problem", subject, message, remedy)
        elif verdict.result == "denied":
            message = f"its policy denies the topic {name} to send to it"
            remedy = f"spare {policies.PRINCIPAL} in the policy's statement {verdict.why}"
            yield Finding("problem", subject, message, remedy)
        elif verdict.result == "unknown":
            message = f"whether its policy lets the topic {name} send depends on {verdict.why}"
            yield Finding("note", subject, message)


def _name(topic: str) -> str:
    return topic.rpartition(":")[2]
