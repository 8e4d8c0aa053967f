"""What botocore and moto compute anew, and always alike: most of what a client costs."""

import functools
import inspect

import aiobotocore.httpsession
import botocore.hooks
import botocore.session
import moto.sqs.models


def share() -> None:
    """Have all sessions and requests of this process share what is the same for each.

    That is a loader, the names of events, whether a handler takes keywords, and the authorities
    that a connection trusts; at moto's server, the names of attributes.
    """
    models = moto.sqs.models
    models.camelcase_to_underscores = functools.cache(models.camelcase_to_underscores)
    botocore.session.create_loader = functools.cache(botocore.session.create_loader)
    botocore.hooks.accepts_kwargs = _accepts_keywords
    compute, names = botocore.hooks.EventAliaser._alias_event_name, {}  # noqa: SLF001

    def name_of_event(aliaser, event):
        if event not in names:
            names[event] = compute(aliaser, event)
        return names[event]

    botocore.hooks.EventAliaser._alias_event_name = name_of_event  # noqa: SLF001
    session = aiobotocore.httpsession.AIOHTTPSession
    build, contexts = session._build_ssl_contexts, {}  # noqa: SLF001

    def ssl_contexts(self, proxy):
        if proxy or self._cert_file:  # these change the context
            return build(self, proxy)
        if self._verify not in contexts:
            contexts[self._verify] = build(self, proxy)
        return contexts[self._verify]

    session._build_ssl_contexts = ssl_contexts  # noqa: SLF001


def _accepts_keywords(handler):
    """Read from the code what `inspect` finds out in a hundred times as long."""
    if hasattr(handler, "__code__"):
        return handler.__code__.co_flags & inspect.CO_VARKEYWORDS
    return inspect.getfullargspec(handler).varkw
