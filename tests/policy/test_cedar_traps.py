"""Every known trap of Cedar, each shown open with the bare engine and closed through ours."""

import json
from decimal import Decimal

import cedarpy
import pytest

from remit.core.canonical import Json
from remit.core.errors import InvalidPolicy
from remit.core.grants import NamedTool
from remit.policy.encoding import Unencodable
from remit.policy.engine import check_grant
from remit.policy.operators import check
from remit.policy.terms import PolicySource
from tests.policy.made import ask, engine, facts, grant, raw, raw_allows

pytestmark = pytest.mark.claim("policy:cedar-traps")

PERMIT = "permit(principal, action, resource);"
HUGE = 2**63 - 1


def report(text: str) -> list[str]:
    return [error.message for error in check([PolicySource("own.cedar", text)], [facts()]).errors]


@pytest.mark.claim("policy:error-denies")
def test_a_forbid_that_errors_denies_although_cedar_skips_it() -> None:
    forbid = f'@id("no") forbid(principal, action, resource) when {{ context.args.count + {HUGE} > 5 }};'
    bare = raw(PERMIT + forbid, {"args": {"count": 1}})
    assert bare.decision is cedarpy.Decision.Allow  # the trap: the error is only told beside the Allow
    assert bare.diagnostics.errors

    guarded = forbid.replace("context.args.count +", "context.args has count && context.args.count +")
    answer = ask(engine(guarded), {"count": 1})
    assert not answer.allowed
    assert answer.errors == ("policy no could not be evaluated",)
    assert ask(engine(guarded), {}).allowed  # nothing to overflow: the permit stands


@pytest.mark.claim("policy:error-denies")
def test_an_operators_permit_that_errors_denies_too() -> None:
    permit = f'@id("p") permit(principal, action, resource) when {{ context.session.calls + {HUGE} > 5 }};'
    assert raw_allows(PERMIT + permit, {"session": {"calls": 1}})
    answer = ask(engine(permit), calls=1)
    assert (answer.allowed, answer.errors) == (False, ("policy p could not be evaluated",))


@pytest.mark.claim("policy:error-denies")
def test_one_grant_that_errors_is_not_covered_by_another_that_allows() -> None:
    odd = grant("grt_2", when=f"context.session.calls + {HUGE} > 5")
    answer = ask(engine(grants=[grant(), odd]), calls=1)
    assert (answer.allowed, answer.errors) == (False, ("policy grt_2 could not be evaluated",))
    assert ask(engine(grants=[grant()]), calls=1).allowed


def test_a_misspelt_argument_is_refused_when_written_and_not_silently_false() -> None:
    policy = '@id("cap") forbid(principal, action, resource) unless { context.args.amuont < 5 };'
    assert raw_allows(PERMIT + policy, {"args": {"count": 9000}})  # a forbid that only errors
    assert report(policy)


def test_a_misspelt_name_behind_has_is_told_although_the_validator_takes_it() -> None:
    policy = (
        '@id("cap") forbid(principal, action, resource) when { context.args has amuont && context.args.amuont > 5 };'
    )
    assert raw_allows(PERMIT + policy, {"args": {"amount": 9000}})  # a forbid that never holds
    assert report(policy) == []
    told = [lint.message for lint in check([PolicySource("own.cedar", policy)], [facts()]).lints]
    assert "no reviewed tool has context.args.amuont, so this is never there" in told
    spelt = policy.replace("amuont", "count")
    told = [lint.message for lint in check([PolicySource("own.cedar", spelt)], [facts()]).lints]
    assert not any("no reviewed tool" in message for message in told)


def test_a_request_that_does_not_fit_the_schema_is_not_evaluated() -> None:
    policy = '@id("many") forbid(principal, action, resource) when { context.session.calls > 5 };'
    loose = {"session": {"calls": "9000"}, "approval": {"present": True}}
    bare = raw(PERMIT + policy, loose)
    assert bare.decision is cedarpy.Decision.Allow  # compared with a string, the forbid only errors
    ours = engine(policy)
    answer = ask(ours, calls="9000")
    assert not answer.allowed
    assert answer.errors == ("the request does not fit the schema",)
    assert ask(ours, calls=5).allowed


ENTITY: dict[str, Json] = {"__entity": {"type": "Remit::Agent", "id": "agt_boss"}}


@pytest.mark.parametrize("shape", ["free-form", "listed", "array"])
def test_model_json_never_becomes_an_entity(shape: str) -> None:
    policy = 'permit(principal, action, resource) when { context.args.who == Remit::Agent::"agt_boss" };'
    assert raw_allows(policy, {"args": {"who": ENTITY}})  # what the model typed is an identity

    members: Json = {"type": {"type": "string"}, "id": {"type": "string"}}
    listed: Json = {"type": "object", "properties": {"__entity": {"type": "object", "properties": members}}}
    who: dict[str, Json] = {
        "free-form": {"type": "object"},
        "listed": listed,
        "array": {"type": "array", "items": {"type": "object"}},
    }
    ours = engine(tools=[facts(properties={"who": who[shape]})])
    value: Json = [ENTITY] if shape == "array" else ENTITY
    encoded = ours.encode("office/pay", {"who": value})
    assert '"__entity"' not in json.dumps(encoded.value).replace('\\"__entity\\"', "")
    assert ask(ours, {"who": value}).allowed
    # The schema types it as text or as a record, so a policy that takes it for an entity can't even be written.
    with pytest.raises(InvalidPolicy):
        engine(
            '@id("x") ' + policy.replace("context.args.who", "context.args has who && context.args.who"),
            tools=[facts(properties={"who": who[shape]})],
        )


def test_model_json_never_becomes_an_extension_value() -> None:
    policy = 'permit(principal, action, resource) when { context.args.at < datetime("2030-01-01") };'
    forged: Json = {"__extn": {"fn": "datetime", "arg": "1970-01-01"}}
    assert raw_allows(policy, {"args": {"at": forged}})
    parts: Json = {"fn": {"type": "string"}, "arg": {"type": "string"}}
    inner: Json = {"type": "object", "properties": parts, "required": ["fn", "arg"]}
    at: Json = {"type": "object", "properties": {"__extn": inner}, "required": ["__extn"]}
    ours = engine(
        tools=[facts(properties={"at": at})],
        grants=[grant(when='context.args has at && context.args.at["\\\\__extn"].fn == "datetime"')],
    )
    assert ours.left_out == ()
    assert ask(ours, {"at": forged}).allowed  # it is a record with an odd member, and readable as that
    assert not ask(ours, {"at": {"__extn": {"fn": "decimal", "arg": "1"}}}).allowed


def test_a_reserved_key_of_the_model_is_no_member_of_an_open_record() -> None:
    with pytest.raises(Unencodable):
        engine().encode("office/pay", {"__entity": {"type": "Remit::Agent", "id": "agt_1"}})
    with pytest.raises(Unencodable):
        engine().encode("office/pay", {"__extn": {"fn": "decimal", "arg": "1.0"}})


@pytest.mark.parametrize("value", [1.5, None, 2**63, -(2**63) - 1])
def test_what_cedar_has_no_value_for_makes_the_bare_engine_lose_the_whole_request(value: float | None) -> None:
    bare = raw(PERMIT, {"args": {"amount": value}})
    assert bare.decision is cedarpy.Decision.NoDecision  # neither Allow nor Deny: callers must know


def test_numbers_and_nulls_have_one_defined_meaning() -> None:
    ours = engine(tools=[facts(properties={"amount": {"type": "number"}, "count": {"type": ["integer", "null"]}})])
    assert ours.encode("office/pay", {"amount": Decimal("1.50")}).value == {
        "amount": {"__extn": {"fn": "decimal", "arg": "1.5"}}
    }
    assert ours.encode("office/pay", {"count": None}).value == {}
    for bad in ({"amount": Decimal("0.00001")}, {"amount": None}, {"count": 2**63}, {"count": -(2**63) - 1}):
        with pytest.raises(Unencodable):
            ours.encode("office/pay", bad)


@pytest.mark.claim("policy:bad-set-refused")
def test_a_duplicate_id_is_refused_although_cedar_takes_it() -> None:
    twice = '@id("a") forbid(principal, action, resource);\n@id("a") permit(principal, action, resource);'
    assert len(json.loads(cedarpy.policies_to_json_str(twice))["staticPolicies"]) == 2  # taken without a word
    assert report(twice) == ["the @id a is used more than once"] * 2


@pytest.mark.parametrize(
    ("condition", "advised"),
    [
        ('context.args has amount && context.args.amount.lessThanOrEqual(decimal("100.0"))', True),
        ('context.args has amount && decimal("100.0").greaterThan(context.args.amount)', True),
        ("context.args has count && context.args.count <= 100", True),
        ("context.args has count && !(context.args.count > 100)", True),
        ("context.args has count && context.args.count <= 100 && context.args.count >= 0", False),
        ("context.args has count && context.args.count >= 0", False),
        ("context.args has count && context.args.count == 100", False),
    ],
)
def test_a_ceiling_without_a_floor_is_advised_against(condition: str, *, advised: bool) -> None:
    assert bool(check_grant(grant(when=condition), [facts()])) is advised
    text = f'@id("cap") forbid(principal, action, resource) unless {{ {condition} }};'
    lints = check([PolicySource("own.cedar", text)], [facts()]).lints
    assert bool(lints) is advised
    assert all("held from above only" in lint.message for lint in lints)


def test_a_ceiling_without_a_floor_does_permit_minus_five() -> None:
    below = engine(grants=[grant(when="context.args has count && context.args.count <= 100")])
    assert ask(below, {"count": -5}).allowed  # why there is a lint, and why countables are checked again in step 6
    both = engine(grants=[grant(when="context.args has count && context.args.count <= 100 && context.args.count >= 0")])
    assert not ask(both, {"count": -5}).allowed


GROUP = '@id("no-spend") forbid(principal, action in Remit::Action::"effect:spend", resource);'


def test_an_action_group_holds_because_the_schema_places_every_tool() -> None:
    assert raw_allows(PERMIT + GROUP)  # without a schema nothing is in the group, and the forbid is silently false
    spend = facts(effect="spend")
    whole = engine(GROUP, tools=[spend], grants=[grant("grt_1", NamedTool("office/pay", "spend"))])
    assert ask(whole).policies == ("no-spend",)
    assert not ask(whole).allowed
    read = engine(GROUP)
    assert ask(read).allowed


def test_a_group_of_a_server_holds_too() -> None:
    text = '@id("s") forbid(principal, action, resource) when { action in Remit::Action::"server:office" };'
    assert raw_allows(PERMIT + text)
    assert not ask(engine(text)).allowed


def test_a_group_that_does_not_exist_is_an_error_and_not_silently_empty() -> None:
    assert raw_allows(PERMIT + GROUP.replace("effect:spend", "effect:spemd"))
    assert report(GROUP.replace("effect:spend", "effect:spemd"))
    assert report(GROUP.replace("effect:spend", "server:office")) == []
    assert report(GROUP.replace("effect:spend", "server:elsewhere"))


MASTER_KEYS = [
    "permit(principal, action, resource) when { context.approval.present };",
    'permit(principal, action, resource) when { context["approval"]["present"] };',
    "permit(principal, action, resource) when { context.approval == {present: true} };",
    "permit(principal, action, resource) unless { !context.approval.present };",
    "permit(principal, action, resource) when { context has approval.present && context.approval.present };",
    "permit(principal, action, resource) when { context.approval has by };",
    "permit(principal, action, resource) when { {held: context}.held.approval.present };",
    "permit(principal, action, resource) when { (if true then context else context).approval.present };",
    "permit(principal, action, resource) when { [context.approval.present].contains(true) };",
    "permit(principal, action, resource) when { principal is Remit::Agent } unless { !context.approval.present };",
    'permit(principal, action in Remit::Action::"server:office", resource) when { context.approval.present };',
    'permit(principal, action in [Remit::Action::"effect:read", Remit::Action::"server:office"], resource) when { context.approval.present };',
    'permit(principal, action, resource) when { action in Remit::Action::"effect:read" && context.approval.present };',
]


@pytest.mark.parametrize("policy", MASTER_KEYS)
@pytest.mark.claim("policy:operator-permit-grants-nothing")
def test_an_approval_is_no_master_key(policy: str) -> None:
    held = {"approval": {"present": True, "by": "per_1"}}
    if "Action" not in policy and "== {present" not in policy:
        assert raw_allows(policy, held)  # one yes, and every tool of every server is open
    assert any("one yes would open everything" in message for message in report(f'@id("key") {policy}'))


@pytest.mark.parametrize(
    "scope",
    [
        'action == Remit::Action::"office/pay"',
        'action in Remit::Action::"effect:read"',
        'action in [Remit::Action::"effect:read", Remit::Action::"office/pay"]',
    ],
)
@pytest.mark.claim("policy:operator-permit-grants-nothing")
def test_a_scoped_permit_on_approval_is_taken_and_still_gives_nobody_a_tool(scope: str) -> None:
    text = f'@id("key") permit(principal, {scope}, resource) when {{ context.approval.present }};'
    assert report(text) == []
    nobody = engine(text, grants=[])
    assert not ask(nobody, approval_present=True, approval_by="per_1").allowed
