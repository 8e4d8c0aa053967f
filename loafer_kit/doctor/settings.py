"""Lists the parameters and the settings of a service, and what the environment sets of them."""

import os
import re
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from pathlib import Path

from loafer_kit.config import PROCESS_VARIABLES, route_variable
from loafer_kit.config import SETTABLE_OPTIONS as ROUTE_OPTIONS
from loafer_kit.doctor.findings import Finding
from loafer_kit.exceptions import MissingExtraError
from loafer_kit.ext.aws.options import SETTABLE_OPTIONS as SQS_OPTIONS
from loafer_kit.scaffold.additions import extensions
from loafer_kit.scaffold.spec.specs import Parameter, ServiceSpec

_CREDENTIALS = re.compile("//[^/]*@")


def findings(spec: ServiceSpec, project: Path) -> Iterator[Finding]:
    """Yield the parameters, the variables of the service and its routes, and those of extensions."""
    for parameter in spec.parameters:
        yield _parameter(parameter)
    yield from _variables([queue.route_name for queue in spec.queues], _options(spec))
    yield from _extensions(project / spec.package / "__init__.py", spec.package)


def _parameter(parameter: Parameter) -> Finding:
    subject, value = f"parameter {parameter.name}", os.environ.get(parameter.name)
    if value:
        return Finding("ok", subject, f"{value}, from the environment")
    if parameter.default is not None:
        return Finding("ok", subject, f"{parameter.default}, its default")
    remedy = f"set {parameter.name} in the environment"
    return Finding("problem", subject, "is not set and has no default", remedy)


def _options(spec: ServiceSpec) -> list[str]:
    """Return the options of the service's routes that variables set."""
    if not spec.on_rabbitmq:
        return sorted({*ROUTE_OPTIONS, *SQS_OPTIONS})
    try:
        from loafer_kit.ext.amqp.options import SETTABLE_OPTIONS as AMQP_OPTIONS
    except MissingExtraError:  # the check of the broker says so
        return sorted(ROUTE_OPTIONS)
    return sorted({*ROUTE_OPTIONS, *AMQP_OPTIONS})


def _variables(routes: Iterable[str], options: Iterable[str]) -> Iterator[Finding]:
    subjects = {"settings of the service": list(PROCESS_VARIABLES)}
    for route in routes:
        subjects[f"settings of route {route}"] = [route_variable(route, o) for o in options]
    for subject, variables in subjects.items():
        given = {name: value for name in variables if (value := os.environ.get(name))}
        listed = [f"{name}={_CREDENTIALS.sub('//', value)}" for name, value in given.items()]
        unset = [name for name in variables if name not in given]
        message = f"{', '.join(listed) or 'nothing'} is set; not set: {', '.join(unset)}"
        yield Finding("ok", subject, message)
    known = {name for variables in subjects.values() for name in variables}
    for name in sorted(os.environ):
        if name.startswith("LOAFER_") and name not in known:
            near = get_close_matches(name, known, n=1)
            remedy = f"did you mean {near[0]}?" if near else "remove it, or correct its name"
            yield Finding("note", "settings", f"{name} sets nothing", remedy)


def _extensions(file: Path, package: str) -> Iterator[Finding]:
    try:
        used = list(extensions.used_by(file.read_bytes()))
    except (OSError, SyntaxError, ValueError):
        return
    for module, name in used:
        if module.partition(".")[0] == package:  # reading its settings would run the service
            continue
        defaults, required = extensions.settings_of(module, name)
        subject = f"settings of {name}"
        for setting in required:
            if os.environ.get(setting):
                yield Finding("ok", subject, f"{setting} is set in the environment")
            else:
                message = f"{setting} is required, and not in the environment"
                yield Finding("note", subject, message, f"set {setting}, unless the code does")
        for setting, default in defaults.items():
            where = (
                "set in the environment" if os.environ.get(setting) else f"by default {default!r}"
            )
            yield Finding("ok", subject, f"{setting}, {where}")
