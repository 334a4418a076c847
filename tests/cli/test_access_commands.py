"""Companies, users, keys and tokens from the shell: one value on stdout, the rest on stderr."""

import asyncio
from datetime import UTC, datetime

import pytest

from secretaria.bootstrap import application
from secretaria.core.errors import NotAuthenticated

PASSWORD = "correct horse"


def authenticate(settings, endpoints, token):
    async def ask():
        async with application(settings, endpoints) as built:
            return await built.access.authenticate(token, datetime.now(UTC))

    return asyncio.run(ask())


def test_a_company_is_made_and_listed(run):
    made = run("company", "create", "Escola Alfa", "--timezone", "America/Manaus", "--currency", "USD")
    assert made.value == "1"
    assert "America/Manaus" in made.err
    (listed,) = run("company", "list", "--json").json
    assert (listed["id"], listed["name"], listed["currency"], listed["demo"]) == (1, "Escola Alfa", "USD", False)
    assert "Escola Alfa" in run("company", "list").out
    assert run("company", "create", "Another", "--json").json["timezone"] == "America/Sao_Paulo"


@pytest.mark.parametrize(
    "words",
    [
        ["company", "create", "X", "--timezone", "Mars/Phobos"],
        ["company", "create", "X", "--timezone", "EST5EDT"],
        ["company", "create", "X", "--currency", "EUR"],
        ["company", "create", "   "],
        ["company", "create", "a\x1b[2Jb"],
        ["user", "create", "nobody", "--role", "operator", "--password-stdin"],
        ["user", "create", "a@example.com", "--role", "owner", "--password-stdin"],
        ["user", "create", "a@example.com", "--role", "member", "--password-stdin"],
        ["user", "create", "a@example.com", "--role", "operator", "--company", "1", "--password-stdin"],
        ["user", "create", "a@example.com", "--role", "member", "--company", "99", "--password-stdin"],
        ["user", "create", "a@example.com", "--role", "member", "--company", "-1", "--password-stdin"],
        ["user", "disable", "nobody@example.com"],
        ["user", "password", "nobody@example.com", "--password-stdin"],
        ["api-key", "create", "--company", "99"],
        ["api-key", "create", "--company", "99999999999999999999"],
        ["api-key", "create", "--scope", "everything"],
        ["api-key", "list", "--company", "99"],
        ["api-key", "revoke", "0000000000000000"],
        ["panel-token", "create", "nobody@example.com"],
        ["panel-token", "create", "nobody@example.com", "--days", "0"],
        ["report", "--company", "99"],
        ["close", "--company", "99"],
        ["doctor", "--recompute", "--company", "99"],
        ["doctor", "--company", "1"],
        ["demo", "stop"],
        ["demo", "start"],
    ],
    ids=" ".join,
)
def test_what_cannot_be_done_prints_nothing_on_stdout_and_says_why(run, words):
    outcome = run(*words, stdin=f"{PASSWORD}\n")
    assert (outcome.code, outcome.out) == (2, "")
    assert "Error: " in outcome.err
    assert "\x1b" not in outcome.err


@pytest.mark.parametrize("stdin", ["", "\n", "short\n", "x" * 1_025 + "\n", "nul\0character\n", None])
def test_a_password_that_is_none_makes_no_user(run, stdin):
    outcome = run("user", "create", "ana@example.com", "--role", "operator", "--password-stdin", stdin=stdin)
    assert outcome.code == 2
    assert "password" in outcome.err
    assert run("user", "list").out == ""


def test_without_a_terminal_it_says_how_to_give_the_password(run):
    outcome = run("user", "create", "ana@example.com", "--role", "operator")
    assert outcome.code == 2
    assert "--password-stdin" in outcome.err


def test_a_user_comes_gets_another_password_and_goes(run, settings, endpoints):
    created = run(
        "user", "create", "ana@example.com", "--role", "operator", "--password-stdin", stdin=PASSWORD + "\r\n"
    )
    assert created.value.isdigit()
    for email in ("ana@example.com", "ANA@example.com"):
        again = run("user", "create", email, "--role", "operator", "--password-stdin", stdin=PASSWORD)
        assert (again.code, again.err) == (2, "Error: a user with this e-mail address exists\n")
    token = run("panel-token", "create", "ana@example.com").value
    assert authenticate(settings, endpoints, token).is_operator
    assert run("user", "password", "ana@example.com", "--password-stdin", stdin="another one\n").code == 0
    with pytest.raises(NotAuthenticated):
        authenticate(settings, endpoints, token)
    assert run("user", "disable", "ana@example.com").code == 0
    assert run("user", "list", "--json").json[0]["disabled_at"] is not None
    assert "disabled" in run("panel-token", "create", "ana@example.com").err


def test_a_key_is_printed_alone_listed_without_its_secret_and_revoked(run, settings, endpoints):
    run("company", "create", "Escola Alfa")
    made = run("api-key", "create", "--company", "1", "--name", "bot", "--scope", "usage:write")
    caller = authenticate(settings, endpoints, made.value)
    assert (caller.company_id, sorted(caller.scopes)) == (1, ["usage:write"])
    listed = run("api-key", "list", "--company", "1")
    assert "bot" in listed.out
    assert made.value not in listed.out
    assert run("api-key", "revoke", made.value).code == 0
    with pytest.raises(NotAuthenticated):
        authenticate(settings, endpoints, made.value)
    assert run("api-key", "list", "--json").json[0]["revoked_at"] is not None
    operator = run("api-key", "create", "--json").json
    assert (operator["company_id"], operator["key"][:3]) == (None, "sk_")
