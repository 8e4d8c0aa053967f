"""Any project, fresh from its template: checked, updated, tested, taken back."""

import pytest
from generated_projects import run_tests
from hypothesis import Phase, given, settings
from scaffold.any_specs import few, runnable, specs, valid

from loafer_kit.scaffold.project import drift, locks, projects, updates, writing
from loafer_kit.scaffold.rendering import contexts

pytestmark = pytest.mark.slow


@given(specs)
@few
def test_a_project_of_any_spec_is_clean_and_up_to_date(tmp_path_factory, values):
    """Nothing to remark, nothing to update, and everything can be taken back."""
    service = valid(values)
    project = tmp_path_factory.mktemp("any") / service.package
    rendering = projects.builtin("service").render(contexts.service(service))
    found = updates.candidates(None, rendering.plan, project)
    changed = [candidate.merged() for candidate in found]
    lock = rendering.locked(project, None, (updates.record("new service", changed, None),))
    writing.apply([*changed, projects.lock_change(project, lock)], project)

    assert locks.find(project) == lock
    assert drift.find(project, lock) == []
    generator = projects.generator_of(project, lock, load=pytest.fail)
    again = generator.again(projects.draft(project, lock))
    assert again == rendering
    assert not any(change.writes for change in updates.update(project, lock, again))

    writing.apply(updates.undo(project, lock, lambda: generator), project)
    assert list(project.iterdir()) == []


@pytest.mark.timeout(300)
def test_projects_of_any_spec_pass_their_own_tests(tmp_path):
    """Drawn as above, always the same ones: they share one run, which takes most of the time."""
    packages = []

    @given(runnable)
    @settings(few, max_examples=8, derandomize=True, database=None, phases=[Phase.generate])
    def write(values):
        package = f"drawn_{len(packages)}"
        rendering = projects.builtin("service").render(
            contexts.service(valid(values | {"package": package}))
        )
        for path, content in rendering.plan.files.items():
            file = tmp_path / package / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        packages.append(package)

    write()
    shown = run_tests(*(tmp_path / package for package in packages))

    written = (file.read_text() for file in tmp_path.glob("*/tests/test_*.py"))
    tests = sum(text.count("\ndef test_") for text in written)
    assert f"{tests} passed" in shown
    assert len(packages) == 8
