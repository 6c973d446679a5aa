"""Which target a name goes to: the rules of routing, one by one."""

from __future__ import annotations

import pytest

from headgate.access.keys import Key
from headgate.errors import Problem, Reason
from headgate.routing.plan import Catalog, Plan, Router
from headgate.routing.target import Provider, Target
from headgate.wire.dialect import Dialect

OPENAI = frozenset({Dialect.CHAT, Dialect.COMPLETIONS, Dialect.EMBEDDINGS})
ANTHROPIC = frozenset({Dialect.MESSAGES})


def provider(name: str, models: tuple[str, ...] | None = None, dialects: frozenset[Dialect] = OPENAI) -> Provider:
    return Provider(name, "openai", f"http://{name}/v1", dialects, models=models)


OPEN = provider("open")  # its word for what it lists
SHOP = provider("shop", ("small", "open/large", "dear/x"))
CLAUDE = provider("claude", ("opus", "small"), ANTHROPIC)
BOTH = provider("both", ("small",), OPENAI | ANTHROPIC)
ROUTER = Router(Catalog((OPEN, SHOP, CLAUDE, BOTH), {"open": ("small", "tuned", "org/base"), "shop": ("not asked",)}))


SMALL = "open>small, shop>small, both>small"
SMALL_CHAT = "open>small, shop>small, claude>small, both>small"


def anything(_: Target) -> bool:
    return True


def way(model: str, dialect: Dialect = Dialect.CHAT, allowed=anything) -> str:
    """The names of the targets, or the reason there are none."""
    plan = ROUTER.plan(model, dialect, allowed)
    if isinstance(plan, Plan):
        return ", ".join(f"{t.provider.name}>{t.model}" for t in plan.candidates)
    assert plan.param == "model"
    return plan.reason.value


@pytest.mark.parametrize(
    ("rule", "model", "dialect", "expected"),
    [
        ("a provider's name before the model's is that provider", "shop/small", Dialect.CHAT, "shop>small"),
        ("also where another lists it first", "both/small", Dialect.CHAT, "both>small"),
        ("a provider without models may be asked for what it lists", "open/tuned", Dialect.CHAT, "open>tuned"),
        ("and for what it does not list", "open/brand-new", Dialect.CHAT, "open>brand-new"),
        ("also under a name with slashes", "open/org/base", Dialect.CHAT, "open>org/base"),
        ("a provider with models may be asked for those alone", "shop/brand-new", Dialect.CHAT, "model_not_found"),
        ("what it lists itself does not count then", "shop/not asked", Dialect.CHAT, "model_not_found"),
        ("a model's own slash is kept", "shop/dear/x", Dialect.CHAT, "shop>dear/x"),
        ("a name whose head is no provider is looked up whole", "dear/x", Dialect.CHAT, "shop>dear/x"),
        ("a name whose head is a provider goes there", "open/large", Dialect.CHAT, "open>large"),
        ("a listed model goes to all that list it, in the file's order", "small", Dialect.COMPLETIONS, SMALL),
        ("also to those that are translated to", "small", Dialect.CHAT, SMALL_CHAT),
        ("whichever dialect the client speaks", "small", Dialect.MESSAGES, SMALL_CHAT),
        ("and none of them needs to speak it", "small", Dialect.RESPONSES, SMALL_CHAT),
        ("a model that one provider lists goes there", "opus", Dialect.MESSAGES, "claude>opus"),
        ("a dialect that is not translated must be spoken", "opus", Dialect.COMPLETIONS, "dialect_not_spoken"),
        ("also by a provider's own name", "claude/small", Dialect.EMBEDDINGS, "dialect_not_spoken"),
        ("an unknown model is not found", "nothing", Dialect.CHAT, "model_not_found"),
        ("an unknown provider is not found", "nowhere/small", Dialect.CHAT, "model_not_found"),
        ("a provider alone is no model", "open", Dialect.CHAT, "model_not_found"),
        ("a provider and a slash is no model", "open/", Dialect.CHAT, "model_not_found"),
        ("a slash alone is no model", "/", Dialect.CHAT, "model_not_found"),
        ("a leading slash is no provider", "/small", Dialect.CHAT, "model_not_found"),
        ("names are told apart by case", "OPEN/small", Dialect.CHAT, "model_not_found"),
    ],
)
def test_the_way_of_a_name(rule, model, dialect, expected):
    assert way(model, dialect) == expected, rule


# --- keys --------------------------------------------------------------------------------------------------------


def key(*globs: str):
    """What a key with these globs allows, as the server asks it for a request of that model."""
    one = Key("k", "k", models=globs)
    return lambda model: lambda target: one.may_use(model, target.name, target.model)


@pytest.mark.parametrize(
    ("globs", "model", "expected"),
    [
        ((), "small", SMALL_CHAT),
        (("*",), "small", SMALL_CHAT),
        (("shop/*",), "small", "shop>small"),
        (("shop/*",), "shop/small", "shop>small"),
        (("shop/*",), "open/small", "forbidden"),
        (("shop/*",), "tuned", "forbidden"),
        (("small",), "small", SMALL_CHAT),
        (("small",), "both/small", "both>small"),
        (("sma*", "tuned"), "tuned", "open>tuned"),
        (("opus",), "opus", "claude>opus"),
        (("shop/*",), "nothing", "model_not_found"),
    ],
)
def test_a_key_sees_only_what_its_globs_match(globs, model, expected):
    assert way(model, allowed=key(*globs)(model)) == expected


def test_what_a_key_may_not_use_is_not_named_to_it():
    problem = ROUTER.plan("smal", Dialect.CHAT, lambda target: target.provider is SHOP)
    assert isinstance(problem, Problem)
    assert problem.message == (
        "nothing here serves the model 'smal'. Did you mean 'shop/small'? "
        "There is: shop/small, shop/open/large, shop/dear/x."
    )


def test_a_refusal_for_a_key_names_the_model():
    problem = ROUTER.plan("small", Dialect.CHAT, lambda target: False)
    assert isinstance(problem, Problem)
    assert (problem.reason, problem.message) == (Reason.FORBIDDEN, "this key may not use the model 'small'")


# --- what is said, and what is listed ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "meant"),
    [("shop/smal", "shop/small"), ("smal", "open/small"), ("opsu", "claude/opus"), ("both/smal", "both/small")],
)
def test_the_nearest_name_is_offered_with_its_provider(asked, meant):
    problem = ROUTER.plan(asked, Dialect.CHAT, anything)
    assert isinstance(problem, Problem) and f"Did you mean {meant!r}?" in problem.message


def test_nothing_near_is_no_offer():
    problem = ROUTER.plan("zzzzzz", Dialect.CHAT, anything)
    assert isinstance(problem, Problem) and "Did you mean" not in problem.message


def test_the_names_that_there_are_are_told():
    problem = ROUTER.plan("zzzzzz", Dialect.CHAT, anything)
    assert isinstance(problem, Problem)
    assert problem.message.endswith(f"There is: {', '.join(ROUTER.visible(anything))}.")


def test_many_names_are_told_in_part():
    many = Router(Catalog((provider("p", tuple(f"model-{i}" for i in range(50))),), {}))
    problem = many.plan("x" * 5000, Dialect.CHAT, anything)
    assert isinstance(problem, Problem)
    assert problem.message.endswith("p/model-19 and 30 more (GET /v1/models).")
    assert len(problem.message) < 1000


def test_an_empty_catalog_says_that_there_is_nothing():
    problem = Router(Catalog((), {})).plan("small", Dialect.CHAT, anything)
    assert isinstance(problem, Problem)
    assert problem.message == "nothing here serves the model 'small'. There is: none."


def test_a_dialect_that_is_neither_spoken_nor_translated_is_told_with_those_that_are_spoken():
    problem = ROUTER.plan("opus", Dialect.COMPLETIONS, anything)
    assert isinstance(problem, Problem)
    assert (problem.reason, problem.status) == (Reason.DIALECT_NOT_SPOKEN, 400)
    assert problem.message == (
        "the provider 'claude' of the model 'opus' does not speak openai.completions, which is not translated; "
        "it speaks anthropic.messages"
    )


def test_the_list_has_every_target_once_in_the_order_of_the_file():
    assert ROUTER.visible(anything) == [
        "open/small",
        "open/tuned",
        "open/org/base",
        "shop/small",
        "shop/open/large",
        "shop/dear/x",
        "claude/opus",
        "claude/small",
        "both/small",
    ]
    assert ROUTER.visible(lambda target: target.provider is CLAUDE) == ["claude/opus", "claude/small"]


def test_every_listed_name_is_a_way_to_its_own_target():
    for target in ROUTER.catalog.targets():
        assert ROUTER.named(target.name) == [target]


def test_an_empty_list_of_models_is_not_a_missing_one():
    router = Router(Catalog((provider("p", ()),), {"p": ("listed",)}))
    assert router.visible(anything) == []
    assert isinstance(router.plan("p/listed", Dialect.CHAT, anything), Problem)
