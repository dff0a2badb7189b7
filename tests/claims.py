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
    "flow:third-party-values-ask": Claim(
        "Once a session was shown text of strangers, a value that only they gave reaches no sink without a person.",
        "MP",
        "DESIGN 5, FLOW_RULES C",
    ),
    "flow:tool-of-the-task": Claim(
        "Once a session was shown text of strangers, a tool of which the task says no word asks a person first.",
        "MP",
        "FLOW_RULES C8, C9",
    ),
    "flow:only-the-principal-endorses": Claim(
        "Only the principal's own words of a task endorse a value.", "MP", "FLOW_RULES H1"
    ),
    "flow:values-are-whole": Claim(
        "A value is endorsed whole and under its type: no part, look-alike or neighbour of it is.", "MP", "FLOW_RULES A"
    ),
    "flow:a-yes-has-bounds": Claim(
        "A person's yes to a value is for its root session, its server and effects no higher.", "MP", "FLOW_RULES H1"
    ),
    "flow:a-no-is-a-veto": Claim("A person's no to a value holds for the session.", "MP", "FLOW_RULES H1"),
    "flow:named-author": Claim(
        "Words of members name no person, no account and nothing that is destroyed; and only those of an author whom the "
        "task names, in a container that only members write to, name a link to read or a thing to work on.",
        "MP",
        "FLOW_RULES B8",
    ),
    "flow:plan-only-narrows": Claim(
        "A plan that an agent seals itself takes tools away and gives none: it states no task and vouches for nothing.",
        "MP",
        "issue 4, FLOW_RULES H1",
    ),
    "flow:own-identifiers": Claim(
        "A value is the principal's own only where an administrator said so, and only under its type.",
        "MP",
        "FLOW_RULES B1",
    ),
    "flow:posted-links": Claim(
        "Only an address that a member posted whole where the task says is read unasked, six times at most.",
        "MP",
        "FLOW_RULES B9",
    ),
    "flow:counts": Claim(
        "The most and the fewest are endorsed only where reads cover a whole listing of the system.",
        "MP",
        "FLOW_RULES B6, B10",
    ),
    "flow:laundered-records": Claim(
        "What an untrusted session wrote is nobody's own in a later session, and no name of it endorses its values.",
        "MP",
        "FLOW_RULES H2, ATTACKS B9",
    ),
    "flow:laws": Claim(
        "Strangers' text endorses nothing, one more record raises no other, types never cross, replay judges alike.",
        "MP",
        "FLOW_RULES F",
    ),
    "flow:adaptive-attacks-ask": Claim(
        "Three attacks or more on each rule that grants strength ask a person, and land with their defence off.",
        "MP",
        "FLOW_RULES B",
    ),
    "flow:secrets-ask": Claim(
        "Once a session was shown a secret, a tool that others than its operator read asks a person first.",
        "MP",
        "FLOW_RULES D1, D3",
    ),
    "flow:operators-are-cleared": Claim(
        "A server is shown nothing of a session, by reads either, that others showed it and it is not cleared for.",
        "MP",
        "FLOW_RULES H3, ATTACKS C1",
    ),
    "flow:strayed-reads-ask": Claim(
        "After a read of what the task does not name, words that it does not hold ask before they go elsewhere.",
        "MP",
        "FLOW_RULES D2",
    ),
    "flow:same-on-every-replica": Claim(
        "What one process was shown, every process decides on, before the result is returned.", "MP", "INTERFACES 3"
    ),
    "explain:as-it-was": Claim(
        "A decision of the log is explained as things were when it was made, with the verdict that it had.",
        "MP",
        "FLOW_RULES F6",
    ),
    "explain:leaves-nothing": Claim(
        "Explaining a call that nobody made leaves nothing in store or log.", "MP", "DESIGN 3"
    ),
    "explain:for-readers": Claim("A call is explained to nobody who may not read its values.", "MP", "INTERFACES 4"),
    "grant:advice-only-narrows": Claim(
        "Advice on a grant allows no call that the grant does not, and loses none that was made.",
        "MP",
        "DESIGN 3",
    ),
    "server:program-pinned": Claim(
        "A stdio server's executable, what a launcher starts, its script and what is loaded before it are pinned.",
        "U",
        "INTERFACES 2",
    ),
    "rule:two-persons": Claim(
        "Where a rule wants two persons, no call passes that two different approvers have not both said yes to.",
        "MP",
        "DESIGN 5",
    ),
    "lab:wrong-labels-found": Claim(
        "A field that a review calls the system's and that carries what was written into a tool is named.",
        "U",
        "FLOW_RULES E",
    ),
    "lab:replayed-alike": Claim(
        "A session replayed from the trace that the log gives has the verdicts that it had.", "MP", "FLOW_RULES F6"
    ),
    "reach:witnessed": Claim(
        "What a reach calls reachable has calls that the real decision allows when they are made again.",
        "MP",
        "INTERFACES 7",
    ),
    "reach:proved": Claim(
        "What a reach says is proved unreachable, no call that the engine allows contradicts.", "MP", "INTERFACES 7"
    ),
    "reach:leaves-nothing": Claim("Asking what an agent could do leaves nothing in store or log.", "MP", "DESIGN 3"),
    "reach:flows": Claim(
        "A reach shows which text of strangers steers what, and which secret leaves by what, and whether a person asks.",
        "MP",
        "DESIGN 5",
    ),
    "reach:shrinks": Claim("Taking a grant away never raises an agent's score.", "MP", "DESIGN 3"),
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
    "oauth:code-once": Claim(
        "An authorization code is redeemed once, and a second try ends what came of the first.",
        "P",
        "RFC 9700, issue 5",
    ),
    "oauth:pkce": Claim(
        "A code is worth nothing without the verifier of its S256 challenge, which can't be left out.", "P", "RFC 7636"
    ),
    "oauth:code-bound": Claim("A code is for its own client, its own redirect and its own minute.", "P", "OAuth 2.1"),
    "oauth:redirect-exact": Claim(
        "A person is only ever sent to a registered address, with the name of who answers.", "P", "RFC 9700, RFC 9207"
    ),
    "oauth:refresh-once": Claim(
        "A refresh token is used once; whoever uses it again ends its session, their own included.", "P", "OAuth 2.1"
    ),
    "oauth:exchange-shrinks": Claim(
        "An exchanged token reaches no tool, no endpoint and no time that its subject token does not.", "MP", "RFC 8693"
    ),
    "oauth:exchange-lives": Claim(
        "A token is exchanged only within a live session, and never begins another root.", "MP", "ATTACKS D4"
    ),
    "oauth:audience": Claim("A token for one endpoint opens no other door.", "P", "RFC 8707"),
    "oauth:client-proof": Claim(
        "A client without its proof learns nothing, not even which half of it was wrong.", "P", "RFC 6749 5.2"
    ),
    "oauth:assertions": Claim(
        "An assertion counts once, in its time, for this server alone, under a key that was known before.",
        "P",
        "RFC 7523, RFC 8725",
    ),
    "oauth:consent-is-the-person-s": Claim(
        "Only a person's own browser, on our own page, consents, and to nothing that the page did not show.",
        "MP",
        "RFC 9700, issue 5",
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
    "rule:once-per-key": Claim(
        "What a rule allows once happens once, under any spelling, agent or session, whatever became of it.",
        "MP",
        "issue 4",
    ),
    "token:keys-rotate": Claim(
        "Keys of tokens change without a refused token; an old one verifies nothing after its last token's end.",
        "PO",
        "issue 5",
    ),
    "passkey:proves-its-person": Claim(
        "A passkey signs in its own active person, verified by its own device, at our own address; nothing else does.",
        "P",
        "issue 5",
    ),
    "passkey:challenges-are-used-once": Claim(
        "What a device answered is good once, within minutes, and in the browser that was asked.", "P", "issue 5"
    ),
    "passkey:a-copy-is-noticed": Claim(
        "A copied device whose count falls behind is refused, with an event.", "P", "issue 5"
    ),
    "passkey:added-by-who-just-signed-in": Claim(
        "No other site, and nobody at a browser that was left open, adds a passkey.", "P", "ATTACKS G"
    ),
    "dpop:a-token-needs-its-key": Claim(
        "A token that is bound to a key is worth nothing to who has not that key, by any scheme or grant.",
        "P",
        "ATTACKS D",
    ),
    "dpop:a-proof-is-good-once": Claim(
        "A DPoP proof is good once, at whichever process it comes a second time.", "P", "ATTACKS D"
    ),
    "dpop:a-proof-is-for-one-request": Claim(
        "A DPoP proof is good for its own method, address, token and minute, and with no header of a stranger's choosing.",
        "P",
        "ATTACKS D",
    ),
    "dpop:proofs-are-made-now": Claim(
        "At the token endpoint nobody uses a proof that was made beforehand.", "P", "ATTACKS D"
    ),
    "flow:one-state-for-a-tree": Claim(
        "A session and all below it have one flow state and one set of counters; what a child says endorses nothing.",
        "MP",
        "DESIGN 5",
    ),
    "flow:an-adopted-text-has-bounds": Claim(
        "A text that a person adopted vouches for its own values, in its session, for the tools, types and ceilings shown.",
        "MPU",
        "FLOW_RULES B15",
    ),
    "rule:exact-under-concurrency": Claim(
        "No number of calls at once, in however many processes, passes a countable rule.", "MP", "issue 4"
    ),
    "rule:in-order": Claim(
        "What a rule wants done before is done, and known to be done, before the next call is allowed.", "MP", "issue 4"
    ),
    "rule:only-narrows": Claim("A rule, and a tighter one in its place, never allows more.", "MP", "issue 4"),
    "rule:draft-drops-nothing": Claim(
        "Every sentence of a policy document comes back, as a proposed rule or with why it is none.", "", "issue 4"
    ),
    "session:labels-only-join": Claim("Nothing an agent does lowers what its session has seen.", "MP", "DESIGN 3"),
    "call:one-intent-per-call-id": Claim(
        "One call id is one call: asked again it gets the same answer and no second intent.", "MP", "ATTACKS G6"
    ),
    "call:stopped-while-it-waits": Claim(
        "What is stopped between the yes to a call and its turn at the server is not sent.", "MPU", "DESIGN 2"
    ),
    "call:answered-within-its-intent": Claim(
        "No call is sent that could outlive its intent: its outcome is what is recorded.", "MPU", "DESIGN 2"
    ),
    "upstream:nothing-for-an-ended-session": Claim(
        "No connection or child is opened for a session that has ended, and what was opened is closed.",
        "MPU",
        "ATTACKS F9",
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
    "access:asking-grants-nothing": Claim(
        "An access request grants nothing and holds no word of an agent's: what it proposes, an administrator applies.",
        "MP",
        "DESIGN 6",
    ),
    "access:bounded": Claim(
        "However often an agent is refused, its requests are few and of a bounded size.", "MP", "DESIGN 6"
    ),
    "worker:one-owner": Claim(
        "Among several workers a session meets one child, one handshake and one bound on calls at a server.",
        "MP",
        "INTERFACES 6",
    ),
    "worker:sent-at-most-once": Claim(
        "A call that another worker forwards is sent at most once, and is unknown when that worker ends.",
        "U",
        "DESIGN 4",
    ),
    "worker:closed-to-others": Claim(
        "The sockets of workers are closed to other users, and what comes there does no harm.", "P", "INTERFACES 6"
    ),
    "surface:own-door-only": Claim(
        "Resources, prompts and completion are never reached as tools, nor a tool as one of them, whatever its name.",
        "MPU",
        "ATTACKS F7",
    ),
    "surface:hidden-alike": Claim(
        "A prompt, resource or template that is hidden, not granted or not there answers the same, completion too.",
        "MP",
        "INTERFACES 5",
    ),
    "surface:pinned": Claim(
        "A prompt is used, and resources are read, only while prompt and templates are what was reviewed.",
        "MPU",
        "ATTACKS F2",
    ),
    "surface:third-party": Claim(
        "Prompts, resources and completions are third-party text, whatever role or writer they claim.",
        "MU",
        "ATTACKS A6",
    ),
    "surface:result-shape": Claim(
        "What a resource, prompt or completion answers has the shape of its kind, or is withheld.", "U", "DESIGN 2"
    ),
    "surface:uri-as-it-is": Claim(
        "The URI that was decided on is the one that is read, at the server it names, and no spelling climbs out of it.",
        "MP",
        "ATTACKS B12",
    ),
    "surface:cursors-are-bound": Claim(
        "A cursor of the flat list of resources is good for the session it was given to, and can't be made.",
        "MP",
        "ATTACKS A10",
    ),
    "gateway:headers-agree": Claim(
        "What headers say of a request and what its body says is the same, or nothing is done.", "MP", "ATTACKS F"
    ),
    "relay:declared-and-granted": Claim(
        "A server asks the client for nothing that the client did not declare or the server's record does not grant.",
        "U",
        "ATTACKS E7",
    ),
    "relay:questions-strict": Claim(
        "A server's question is rebuilt from what is known of its kind, or refused whole.", "U", "ATTACKS E7"
    ),
    "relay:never-in-remits-name": Claim(
        "What a server asks is shown as its own, and never as a question of Remit's.", "U", "ATTACKS E7, G9"
    ),
    "relay:state-sealed": Claim(
        "A server's state comes back to it unchanged, from the agent, session and call that it was given to, in time.",
        "MP",
        "ATTACKS E6",
    ),
    "relay:answered-once": Claim("Answers to one question of a server are passed on once.", "MP", "ATTACKS E5, E6"),
    "relay:answers-are-arguments": Claim(
        "An answer to a server's question is decided, recorded and shown to a person like an argument.",
        "MP",
        "ATTACKS E7",
    ),
    "stream:checked-frames": Claim(
        "What a server says before its answer goes on only frame by frame, checked, rebuilt and bounded.",
        "MU",
        "ATTACKS F8",
    ),
    "stream:labelled-before-shown": Claim(
        "A session counts as having seen a frame before its client sees it.", "MU", "ATTACKS F7, F8"
    ),
    "stream:cancelled-by-its-own": Claim(
        "A call under way is given up by its own client alone, and has one end, whichever came first.",
        "MPU",
        "ATTACKS F7",
    ),
    "stream:listen-shows-what-is-seen": Claim(
        "A subscription tells of nothing but lists that its chain sees, and ends with its session or credential.",
        "MP",
        "ATTACKS F7",
    ),
    "upstream:one-server-starves-no-other": Claim(
        "One server that hangs, fails or is busy takes no connection, place or time from callers of another.",
        "MPU",
        "DESIGN 2",
    ),
    "upstream:circuit-is-no-weapon": Claim(
        "A server that can't be reached rests; nothing that an agent sends, and no unknown outcome, makes it rest.",
        "MPU",
        "DESIGN 2",
    ),
    "upstream:tls-checked": Claim(
        "A server's certificate, host and issuer are checked, and nothing is sent in the clear unless the record says so.",
        "U",
        "DESIGN 2",
    ),
    "observe:never-what-a-call-stands-on": Claim(
        "Observe mode never passes a dead credential, agent or session, a pin, a shape, a plan, an error or a person's no.",
        "MPU",
        "DESIGN 6",
    ),
    "observe:still-counted": Claim("Under observe mode limits are passed and still counted.", "MP", "DESIGN 6"),
    "observe:one-server": Claim(
        "Observe mode of one server lets nothing through at another one, nor for a chain without a grant.",
        "MPU",
        "DESIGN 6",
    ),
    "observe:administrator-only": Claim(
        "Only an administrator turns observe mode on; no agent, host or file does.", "MP", "DESIGN 6"
    ),
    "observe:ends-by-itself": Claim(
        "Observe mode always has an end, at most 30 days on, and nothing kept outlives it.", "MP", "DESIGN 6"
    ),
    "registry:review-overdue-refused": Claim(
        "An agent past its review date is refused everything, with all below it, until a person has looked at it.",
        "MP",
        "ISSUE 5, OWASP NHI1",
    ),
    "registry:review-by-who-answers-for-it": Claim(
        "Only an agent's owner, the owner's deputy or an administrator lets it go on past its review date.",
        "MP",
        "ISSUE 5",
    ),
    "registry:deputy-as-owner": Claim(
        "A deputy does for one agent what its owner may, for no other, and keeps nothing alive that the owner does not.",
        "MP",
        "ISSUE 5",
    ),
    "registry:orphans-found": Claim(
        "An agent that no active person owns is refused everything, and is listed.", "MP", "OWASP NHI1"
    ),
    "kill:down-the-tree": Claim(
        "A kill ends tokens, sessions, sub-agents and what waits for a person, all the way down, and nothing beside it.",
        "MP",
        "ISSUE 5",
    ),
    "kill:nothing-in-flight-is-shown": Claim(
        "What a call brings back whose session was killed meanwhile is shown to nobody, and the call is marked.",
        "MP",
        "ISSUE 5",
    ),
    "kill:no-intent-after": Claim(
        "Once a kill stands in the log, no intent of what it stopped follows, whichever process decides.",
        "MP",
        "DESIGN 3",
    ),
    "departure:nothing-lives-on": Claim(
        "When a person has left, no agent, session, key or answer of theirs works, and who takes over starts afresh.",
        "MP",
        "ISSUE 5, OWASP NHI1",
    ),
    "departure:two-administrators": Claim(
        "Where the settings ask for two administrators, one alone lets nobody depart.", "MP", "ISSUE 5"
    ),
    "blueprint:never-widens-an-instance": Claim(
        "Another version of a blueprint gives no instance anything, and takes at once what it no longer gives.",
        "MP",
        "ISSUE 5",
    ),
    "blueprint:bounds-its-instances": Claim(
        "An instance holds what its blueprint gives and nothing else, and stops with it.", "MP", "ISSUE 5"
    ),
    "key:narrows-and-never-widens": Claim(
        "A key for some tools narrows all that comes of it, under every other key too, and gives nothing.",
        "MP",
        "ISSUE 5",
    ),
    "key:only-from-its-networks": Claim(
        "A key with networks is good from no other address, whatever a header says that no trusted proxy wrote.",
        "MP",
        "ISSUE 5",
    ),
    "separation:no-key-of-an-agent-is-a-person": Claim(
        "No credential of an agent acts as a person, on any route; each try is an event.", "MP", "OWASP NHI10"
    ),
    "separation:no-person-is-an-agent": Claim(
        "No person's key starts a session or calls a tool, an administrator's neither.", "MP", "OWASP NHI10"
    ),
    "separation:autonomous-from-delegated": Claim(
        "An autonomous agent uses nothing of a delegated one's or a person's, and a delegated one never works alone.",
        "MP",
        "ISSUE 5",
    ),
    "observe:visible": Claim(
        "What only observe mode let through says so in its event, its decision and its result.", "MPU", "DESIGN 6"
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
