"""Rendered artefacts, read back: what they declare, and the ARNs that their expressions mean."""

import functools
import json
import re

import hcl2

PATHS = {
    "cloudformation": "deploy/cloudformation.yaml",
    "sam": "deploy/sam.yaml",
    "ecs": "deploy/ecs.yaml",
    "terraform": "deploy/terraform/main.tf",
}
REGION, ACCOUNT = "eu-south-1", "999999999999"
_PSEUDO_PARAMETERS = {"Partition": "aws", "Region": REGION, "AccountId": ACCOUNT}
_DATA = {
    "aws_partition.current.partition": "aws",
    "aws_region.current.region": REGION,
    "aws_caller_identity.current.account_id": ACCOUNT,
}


def arn(service, name, region=None, account=None):
    """The ARN of a queue or topic; where nothing else is said, that of the deployment's place."""
    return f"arn:aws:{service}:{region or REGION}:{account or ACCOUNT}:{name}"


@functools.cache  # many tests read the same artefacts, and a parser takes half a second for one
def decoded(text):
    """What cfn-lint reads in a template."""
    from cfnlint import decode  # imports sympy, which takes seconds

    template, problems = decode.decode_str(text)
    assert problems == []
    return template


_loaded = functools.cache(hcl2.loads)


class CloudFormation:
    """A template: SAM's and that of ECS too."""

    def __init__(self, text):
        self.template = decoded(text)

    def resources(self, kind):
        """The properties of each resource of a kind, by its name, their functions carried out."""
        return {
            name: self._resolved(resource["Properties"])
            for name, resource in self.template["Resources"].items()
            if resource["Type"] == kind
        }

    def _resolved(self, value):
        if isinstance(value, list):
            return [self._resolved(item) for item in value]
        if not isinstance(value, dict):
            return value
        if "Fn::GetAtt" in value:
            return self._attribute(*value["Fn::GetAtt"])
        if "Fn::Sub" in value:
            pattern = r"\$\{AWS::(\w+)\}"
            return re.sub(pattern, lambda found: _PSEUDO_PARAMETERS[found[1]], value["Fn::Sub"])
        if "Ref" in value:
            return self._reference(value["Ref"])
        return {str(key): self._resolved(item) for key, item in value.items()}

    def _attribute(self, name, attribute):
        properties = self.template["Resources"][name]["Properties"]
        if attribute == "QueueName":
            return properties["QueueName"]
        if attribute == "Arn" and "QueueName" in properties:
            return arn("sqs", properties["QueueName"])
        return f"{name}.{attribute}"

    def _reference(self, name):
        resource = self.template["Resources"].get(name, {"Type": None})
        if resource["Type"] == "AWS::SNS::Topic":
            return arn("sns", resource["Properties"]["TopicName"])
        return name


class Terraform:
    """A module of one file."""

    def __init__(self, text):
        self._module = _loaded(text)
        self.resources = self._blocks("resource")
        self.data = self._blocks("data")

    def _blocks(self, kind):
        """The blocks of one kind: (type, label) → its arguments."""
        found = {}
        for block in self._module.get(kind, []):
            ((type_, labelled),) = block.items()
            ((label, body),) = labelled.items()
            arguments = {name: value for name, value in body.items() if not name.startswith("__")}
            found[type_.strip('"'), label.strip('"')] = arguments
        return found

    def of_type(self, kind):
        """The arguments of each resource of a type, by its label."""
        return {label: body for (type_, label), body in self.resources.items() if type_ == kind}

    def meaning(self, value):
        """A string or a list of strings, with what its expressions refer to."""
        if isinstance(value, list):
            return [self.meaning(item) for item in value]
        if not isinstance(value, str):
            return value
        return re.sub(r"\$\{([^}]*)\}", lambda found: self._reference(found[1]), value.strip('"'))

    def state(self):
        """The queues and topics as `terraform show -json` has them once they are applied."""
        kinds = (
            "aws_sqs_queue",
            "aws_sqs_queue_redrive_policy",
            "aws_sns_topic",
            "aws_sns_topic_subscription",
        )
        blocks = [
            (mode, kind, label, body)
            for mode, found in (("managed", self.resources), ("data", self.data))
            for (kind, label), body in found.items()
            if kind in kinds
        ]
        resources = []
        for mode, kind, label, body in blocks:
            values = {name: self._planned(value) for name, value in body.items()}
            if "name" in values:
                values["arn"] = arn(kind.split("_")[1], values["name"])
            address = f"{'data.' if mode == 'data' else ''}{kind}.{label}"
            named = {"address": address, "mode": mode, "type": kind, "name": label}
            resources.append({**named, "values": values})
        return {"values": {"root_module": {"resources": resources}}}

    def _planned(self, value):
        """A value as Terraform computes it."""
        if not isinstance(value, str):
            return value
        if value.startswith("${jsonencode("):
            text = value.removeprefix("${jsonencode(").removesuffix(")}")
            (parsed,) = [
                item
                for key, item in hcl2.loads(f"x = {text}\n").items()
                if not key.startswith("__")
            ]
            return json.dumps(self._json(parsed))
        if value.startswith('"') and "${" not in value:
            return self._unquoted(value)
        return self.meaning(value)

    def _json(self, value):
        if isinstance(value, dict):
            return {
                self._unquoted(key): self._json(item)
                for key, item in value.items()
                if not key.startswith("__")
            }
        if isinstance(value, list):
            return [self._json(item) for item in value]
        if not isinstance(value, str) or value.startswith('"'):
            return self._unquoted(value) if isinstance(value, str) else value
        bare = value.removeprefix("${").removesuffix("}")
        if bare in ("null", "true", "false") or re.fullmatch(r"[-+.eE0-9]+", bare):
            return json.loads(bare)
        return self._reference(bare)

    def _unquoted(self, value):
        if not value.startswith('"'):
            return value
        text = re.sub(
            r"\\U([0-9A-F]{8})",
            lambda found: json.dumps(chr(int(found[1], 16)))[1:-1],
            value,
        )
        return json.loads(text)

    def _reference(self, expression):
        if expression.startswith("data.aws_sns_topic."):
            body = self.data["aws_sns_topic", expression.split(".")[2]]
            return arn("sns", self.meaning(body["name"]))
        if expression.startswith("data."):
            return _DATA[expression.removeprefix("data.")]
        if expression.startswith("local."):
            (local,) = self._module["locals"]
            return self.meaning(local[expression.removeprefix("local.")])
        kind, label, attribute = expression.split(".")
        body = self.resources[kind, label]
        if attribute in body:
            return self.meaning(body[attribute])
        if attribute in ("id", "url"):
            return f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/{self.meaning(body['name'])}"
        assert attribute == "arn"
        service = {"aws_sqs_queue": "sqs", "aws_sns_topic": "sns"}[kind]
        return arn(service, self.meaning(body["name"]))
