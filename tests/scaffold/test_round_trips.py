"""Any project, fresh from its template: checked, updated, taken back."""

from hypothesis import given
from scaffold.test_render import few, specs, valid

from loafer_kit.scaffold import (
    checks,
    commits,
    contexts,
    locks,
    projects,
    records,
    reversals,
    updates,
)


@given(specs)
@few
def test_a_project_of_any_spec_is_clean_and_up_to_date(tmp_path_factory, values):
    """Nothing to remark, nothing to update, and everything can be taken back."""
    service = valid(values)
    if service is None:
        return
    project = tmp_path_factory.mktemp("any") / service.package
    rendering = projects.ours("service").render(contexts.service(service))
    found = updates.candidates({}, rendering.plan.files, project)
    changed = [candidate.merged() for candidate in found]
    lock = rendering.locked((records.record("new service", changed, None),))
    commits.apply([*changed, projects.lock_change(project, lock)], project)

    assert locks.find(project) == lock
    assert checks.drifts(project, lock) == []
    maker = projects.maker_of(project, lock)
    again = maker.again(projects.draft(project, lock))
    assert again == rendering
    assert not any(item.merged().writes for item in projects.candidates(project, lock, again))
    assert not projects.lock_change(project, again.locked(lock.records)).writes

    commits.apply(reversals.last(project, lock, lambda: maker), project)
    assert list(project.iterdir()) == []
