"""CloudFormation and SAM templates: intrinsics, resources. AWS's own keys are in `sources.aws`."""
