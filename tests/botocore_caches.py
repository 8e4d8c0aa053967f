"""What botocore computes anew for each session, and always alike: half of what a client costs."""

import functools

import botocore.hooks
import botocore.session


def share() -> None:
    """Have all sessions of this process share one loader and the names of events."""
    botocore.session.create_loader = functools.cache(botocore.session.create_loader)
    compute, names = botocore.hooks.EventAliaser._alias_event_name, {}  # noqa: SLF001

    def name_of_event(aliaser, event):
        if event not in names:
            names[event] = compute(aliaser, event)
        return names[event]

    botocore.hooks.EventAliaser._alias_event_name = name_of_event  # noqa: SLF001
