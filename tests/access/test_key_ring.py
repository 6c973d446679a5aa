"""Which key a request comes with, and what that key may use."""

from __future__ import annotations

import pytest

from headgate.access.keys import MISSING, UNKNOWN, Key, KeyRing, credential, digest
from headgate.errors import Problem, Reason

GOOD = Key("key_good", "good")
REVOKED = Key("key_revoked", "revoked", expires_at_s=50, revoked_at_s=10)
EXPIRING = Key("key_expiring", "expiring", expires_at_s=100)
RING = KeyRing([(digest("hg-good"), GOOD), (digest("hg-revoked"), REVOKED), (digest("hg-expiring"), EXPIRING)])


def _refusal(secret: str, now_wall_s: float) -> str:
    found = RING.find(secret, now_wall_s)
    assert isinstance(found, Problem)
    assert found.reason is Reason.UNAUTHORIZED
    assert found.status == 401
    return found.message


def test_the_secret_finds_its_key() -> None:
    assert RING.find("hg-good", 0.0) is GOOD


@pytest.mark.parametrize(
    "secret", ["", "hg-", "hg-goo", "hg-good ", "HG-GOOD", "hg-good\0", "é", "\udcff", "x" * 100_000]
)
def test_any_other_secret_is_unknown(secret: str) -> None:
    assert RING.find(secret, 0.0) is UNKNOWN


def test_the_digest_of_a_secret_does_not_pass_for_it() -> None:
    assert RING.find(digest("hg-good").hex(), 0.0) is UNKNOWN


def test_a_stranger_learns_nothing_about_the_keys_there_are() -> None:
    for word in ("revoked", "expired", "key_"):
        assert word not in UNKNOWN.message


def test_the_holder_of_a_revoked_key_is_told_so_and_when() -> None:
    assert "(key_revoked) was revoked at 1970-01-01T00:00:10Z" in _refusal("hg-revoked", 0.0)


def test_a_revoked_key_that_is_also_expired_counts_as_revoked() -> None:
    assert "revoked" in _refusal("hg-revoked", 1000.0)


def test_a_key_is_good_until_the_second_it_expires_in() -> None:
    assert RING.find("hg-expiring", 99.999) is EXPIRING
    assert "(key_expiring) expired at 1970-01-01T00:01:40Z" in _refusal("hg-expiring", 100.0)


def test_no_refusal_repeats_the_secret() -> None:
    for secret in ("hg-revoked", "hg-nobody"):
        assert secret not in _refusal(secret, 0.0)


def test_an_empty_ring_knows_nobody() -> None:
    assert KeyRing().find("hg-good", 0.0) is UNKNOWN


# --- models


@pytest.mark.parametrize(
    ("models", "names", "allowed"),
    [
        ((), ("gpt-4o", "openai/gpt-4o"), True),
        (("gpt-4o",), ("gpt-4o", "openai/gpt-4o"), True),
        (("openai/*",), ("gpt-4o", "openai/gpt-4o"), True),
        (("openai/*",), ("gpt-4o", "azure/gpt-4o"), False),
        (("local/*", "gpt-4o-*"), ("gpt-4o-mini", "openai/gpt-4o-mini"), True),
        (("local/*", "gpt-4o-*"), ("gpt-4o", "openai/gpt-4o"), False),
        (("cheap",), ("cheap", "openai/gpt-4o"), True),
        (("gpt-4o",), ("GPT-4o",), False),
        (("gpt-4",), ("gpt-4o",), False),
        (("gpt-?o",), ("gpt-4o",), True),
        (("[gc]*",), ("claude",), True),
        (("*",), ("anything/at/all",), True),
        (("gpt.4o",), ("gpt-4o",), False),
    ],
)
def test_a_key_may_use_a_model_when_a_glob_matches_one_of_its_names(
    models: tuple[str, ...], names: tuple[str, ...], allowed: bool
) -> None:
    assert Key("key_1", "n", models=models).may_use(*names) is allowed


# --- the headers


BEARER = (b"authorization", b"Bearer hg-a")
API_KEY = (b"x-api-key", b"hg-b")


@pytest.mark.parametrize(
    ("headers", "secret"),
    [
        ([], None),
        ([(b"host", b"localhost")], None),
        ([BEARER], "hg-a"),
        ([API_KEY], "hg-b"),
        ([API_KEY, BEARER], "hg-a"),
        ([BEARER, API_KEY], "hg-a"),
        ([(b"authorization", b"bearer hg-a")], "hg-a"),
        ([(b"authorization", b"BEARER   hg-a  ")], "hg-a"),
        ([(b"authorization", b"Basic hg-a")], None),
        ([(b"authorization", b"Basic hg-a"), API_KEY], "hg-b"),
        ([(b"authorization", b"Bearer "), API_KEY], "hg-b"),
        ([(b"authorization", b"Bearer"), API_KEY], "hg-b"),
        ([(b"authorization", b""), API_KEY], "hg-b"),
        ([(b"authorization", b"hg-a")], None),
        ([(b"authorization", b"Bearer sk-proj"), API_KEY], "sk-proj"),
        ([BEARER, (b"authorization", b"Bearer hg-c")], "hg-a"),
        ([(b"authorization", b"Basic x"), BEARER], None),
        ([API_KEY, (b"x-api-key", b"hg-c")], "hg-b"),
        ([(b"x-api-key", b"  "), (b"x-api-key", b"hg-c")], "hg-c"),
        ([(b"x-api-key", b"h\xffg")], "h\xffg"),
    ],
)
def test_a_bearer_token_counts_and_an_api_key_stands_in_for_it(
    headers: list[tuple[bytes, bytes]], secret: str | None
) -> None:
    assert credential(headers) == secret


def test_who_shows_no_key_is_told_how() -> None:
    assert (MISSING.reason, MISSING.status) == (Reason.UNAUTHORIZED, 401)
    assert "Authorization: Bearer hg-" in MISSING.message
    assert "headgate keys create" in MISSING.message
