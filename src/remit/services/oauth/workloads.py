"""Workload assertions: a cluster or a build service says which workload this is; an administrator said which counts.

Issuer, audience, subject pattern and every listed claim must agree (RFC 7523; SPIFFE JWT-SVID, Kubernetes service
account tokens, GitHub Actions). Such a token is used until it ends, so it is no mark against replay: what bounds it is
its audience, which is to be this issuer and nothing else's.
"""

import re
from typing import Final

from remit.core.clients import Workload
from remit.core.errors import Unauthenticated
from remit.core.times import DAY
from remit.services.deps import Deps
from remit.tokens.assertions import key_set, read_assertion

LONGEST_LIFE: Final = DAY


async def stands_for(deps: Deps, workload: Workload, assertion: str) -> bool:
    """Whether the assertion is of this workload, now."""
    if not workload.keys:
        return False
    try:
        said = read_assertion(assertion, key_set(workload.keys), deps.clock.now(), LONGEST_LIFE)
    except Unauthenticated:
        return False
    claimed = {name: said.claims.get(name) for name, _ in workload.claims}
    return (
        said.issuer == workload.issuer
        and said.audience == (workload.audience,)
        and fits(workload.subject, said.subject)
        and all(claimed[name] == value for name, value in workload.claims)
    )


def fits(pattern: str, subject: str) -> bool:
    """Whether a subject is of a pattern in which ``*`` stands for any characters but ``:`` and ``/``."""
    parts = (re.escape(part) for part in pattern.split("*"))
    return bool(subject) and re.fullmatch("[^:/]*".join(parts), subject) is not None
