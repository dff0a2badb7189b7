"""What Remit promises a security team, each promise with an id, the compromises it holds against, and where it comes from.

``tests/test_claims.py`` ties this table to the tests both ways: a promise without a test that attacks it fails, and so
does a test that attacks a promise nobody made. ``docs/claims.md`` is printed from here: ``python -m tests.claims``.

Rows (INTERFACES section 1): M the model's output, P the agent's process with its token, U an upstream server, O whoever
holds database and keys.
"""

from typing import NamedTuple


class Claim(NamedTuple):
    """One promise: its sentence, the rows it holds for, its source."""

    text: str
    rows: str
    source: str


CLAIMS: dict[str, Claim] = {
    "policy:default-deny": Claim(
        "With nothing loaded, nothing known or nothing reachable, the answer is no.", "MP", "DESIGN 3"
    ),
    "policy:error-denies": Claim("Any error while policy is evaluated is a Deny.", "MPU", "DESIGN 6, Cedar traps"),
    "policy:condition-cannot-escape": Claim(
        "A grant's condition can't become anything but one condition of that grant.", "M", "ATTACKS D6"
    ),
    "policy:bad-set-refused": Claim(
        "A policy set with an error is refused whole, and the one in force stays.", "M", "DESIGN 6"
    ),
    "policy:cedar-traps": Claim(
        "Every known trap of Cedar is closed, each shown with the trap open.", "MP", "DESIGN 6"
    ),
    "policy:operator-permit-grants-nothing": Claim(
        "An operator's permit alone gives nobody a tool: authority comes from grants.", "MP", "ATTACKS E9"
    ),
    "tool:pinned": Claim(
        "A tool is the bytes that were reviewed: whole definition, and a second one never replaces it.",
        "MPU",
        "ATTACKS F1, F2",
    ),
    "tool:quarantined-until-reviewed": Claim(
        "New, changed and renamed tools reach nobody until a reviewer approves that very fingerprint.",
        "MPU",
        "DESIGN 1",
    ),
    "tool:no-effect-ungranted": Claim(
        "A tool that is hidden, not granted or not there answers the same, and is never called.", "MP", "INTERFACES 5"
    ),
    "grant:never-widens": Claim(
        "Approving something else, a new definition, or another effect never widens a grant.", "MP", "ATTACKS D5"
    ),
    "registry:not-live-refused": Claim(
        "What is suspended, expired, retired or revoked is refused on the very next call.", "MP", "DESIGN 3"
    ),
    "registry:names-never-reused": Claim("A name once used is never given to another.", "MP", "INTERFACES 2"),
    "registry:activation-needs-owner-purpose-expiry-grant": Claim(
        "No agent becomes active without owner, purpose, expiry and a grant.", "MP", "DESIGN 1"
    ),
    "identity:two-credentials": Claim(
        "What calls tools can't start, name or renew sessions, state a task or answer for a person.", "MP", "ATTACKS A2"
    ),
    "identity:forged-token-refused": Claim(
        "A token that Remit did not sign, as it signed it, is refused.", "MP", "ATTACKS A10"
    ),
    "identity:key-three-answers": Claim(
        "A damaged or revoked key is refused as what it is and never read as another credential.", "MP", "EXAMPLES 4"
    ),
    "input:strict-json": Claim(
        "What is decided on is what is forwarded: JSON that two readers could read differently is refused.",
        "MP",
        "ATTACKS F4, F5",
    ),
    "input:pinned-shape": Claim(
        "Arguments that the pinned schema does not list do not pass.", "MP", "DESIGN 2, step 3"
    ),
    "approval:single-use": Claim("A yes is used once, also by two processes at once.", "MP", "ATTACKS E5"),
    "approval:never-by-an-agent": Claim(
        "Only a signed-in person answers, never an agent's credential.", "MP", "ATTACKS E1, E2"
    ),
    "approval:bound-to-the-call": Claim(
        "A yes counts for exactly the call that was shown: session, tool, definition, arguments, records.",
        "MP",
        "ATTACKS E3, E4",
    ),
    "approval:shown-is-hashed": Claim(
        "What a person is shown is all that is hashed, hidden characters visible; too large is a Deny.",
        "MP",
        "ATTACKS E8",
    ),
    "budget:exact-under-concurrency": Claim("No number of calls at once passes a limit.", "MP", "ATTACKS A11, D3"),
    "session:labels-only-join": Claim("Nothing an agent does lowers what its session has seen.", "MP", "DESIGN 3"),
    "call:one-intent-per-call-id": Claim(
        "One call id is one call: asked again it gets the same answer and no second intent.", "MP", "ATTACKS G6"
    ),
    "log:no-effect-without-intent": Claim("Nothing is forwarded before its intent is on disk.", "MP", "DESIGN 3"),
    "log:no-lost-record": Claim(
        "No acknowledged record is lost by kill -9, a full disk or two processes.", "MP", "DESIGN 3"
    ),
    "log:tamper-evident": Claim("Every changed bit of a record or checkpoint is found.", "MPU", "DESIGN 3"),
    "log:append-only": Claim("The log only grows: every earlier tree is a prefix of the later one.", "MPU", "DESIGN 3"),
    "log:verifier-shares-no-code": Claim("The verifier is one file that shares no code with Remit.", "MPU", "DESIGN 3"),
    "log:commitments-hide": Claim("No argument, text or address stands in the log itself.", "MPU", "ATTACKS G5"),
    "log:erasure-keeps-proof": Claim(
        "A person's values can be erased for good, and the log still verifies.", "MPU", "ATTACKS G5"
    ),
    "credential:never-returned": Claim(
        "A credential that Remit injects is never handed to an agent or shown.", "MPU", "ATTACKS F10"
    ),
    "upstream:never-shared": Claim(
        "No upstream connection or child process serves two users' sessions.", "MPU", "ATTACKS F9"
    ),
    "upstream:child-environment": Claim(
        "A stdio child gets the environment that is listed, and nothing else.", "MPU", "ATTACKS F10"
    ),
    "upstream:no-redirects": Claim("A credential never follows a redirect.", "U", "ATTACKS F10"),
    "upstream:unknown-not-retried": Claim(
        "A call that may have been acted on is never sent again by us.", "MPU", "DESIGN 2"
    ),
    "cli:text-cannot-act": Claim(
        "Text from tools, agents and files can't act on a terminal or hide in it.", "MU", "DESIGN 3"
    ),
    "cli:files-are-inert": Claim(
        "A file can't run, refer to or multiply anything while it is read.", "M", "INTERFACES 7"
    ),
    "cli:no-credential-stands-in-for-another": Claim(
        "A person's key is never used where a host key or session token is missing.", "MP", "INTERFACES 1"
    ),
    "cli:key-goes-to-one-address": Claim(
        "A key for a Remit elsewhere goes to the address that was given: over TLS that is checked, past no redirect or "
        "proxy.",
        "U",
        "INTERFACES 6",
    ),
    "cli:person-key-is-private": Claim("A person key that others may read is refused.", "P", "INTERFACES 6"),
    "sdk:fails-closed": Claim("Silence, or anything that is no decision, is never read as a yes.", "MU", "DESIGN 3"),
    "gateway:closed-method-table": Claim(
        "A method that is not in the table is refused and never forwarded.", "MP", "ATTACKS F7"
    ),
    "denial:final": Claim(
        "A refused call that is repeated gets the same no, as long as nothing changed that it was decided on.",
        "MP",
        "DESIGN 6",
    ),
    "denial:storm-suspends": Claim(
        "A storm of refused calls closes a session and all under its root for a while.", "MP", "DESIGN 6"
    ),
    "gateway:headers-agree": Claim(
        "What headers say of a request and what its body says is the same, or nothing is done.", "MP", "ATTACKS F"
    ),
}


def page() -> str:
    """The promises as a page of the documentation."""
    lines = [
        "# Promises",
        "",
        "Printed from `tests/claims.py` by `python -m tests.claims`; do not edit. Each is attacked by at least one test that",
        "carries its id. Rows: M the model's output, P the agent's process with its token, U an upstream server.",
        "",
        "| id | promise | holds against | source |",
        "|---|---|---|---|",
    ]
    lines += [f"| `{name}` | {one.text} | {' '.join(one.rows)} | {one.source} |" for name, one in CLAIMS.items()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(page(), end="")  # noqa: T201 - it prints a page
