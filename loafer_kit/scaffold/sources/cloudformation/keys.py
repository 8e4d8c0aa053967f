"""What the spec says of a template's resources, beside the properties that are AWS's attributes."""

from loafer_kit.scaffold.sources.keys import keys

TEMPLATE = keys(
    "Conditions Globals Mappings Parameters Resources",
    "AWSTemplateFormatVersion Description Metadata Outputs Rules Transform",
)
# How a stack is deployed is no affair of who consumes.
RESOURCE = keys(
    "Condition Properties Type",
    """
    Connectors CreationPolicy DeletionPolicy DependsOn IgnoreGlobals Metadata UpdatePolicy
    UpdateReplacePolicy
    """,
)
EVENT = keys("Properties Type")
SNS_EVENT = keys("SqsSubscription Topic", defaults={"FilterPolicyScope": ("messageattributes",)})
SQS_SUBSCRIPTION = keys(
    "BatchSize QueueArn QueueUrl", "QueuePolicyLogicalId", {"Enabled": ("true",)}
)
# How a function is built, packed and published: the service takes its place.
FUNCTION = keys(
    "Events",
    """
    Architectures AutoPublishAlias AutoPublishAliasAllProperties AutoPublishCodeSha256
    CodeSigningConfigArn CodeUri DeploymentPreference Description EphemeralStorage FunctionName
    Handler ImageConfig ImageUri InlineCode Layers MemorySize PackageType PropagateTags
    PublishToLatestPublished Runtime RuntimeManagementConfig SnapStart SourceKMSKeyArn
    VersionDeletionPolicy VersionDescription
    """,
)
