"""`secretaria plan` and what `secretaria company` does with plans: values on stdout, one line of why on stderr."""

from datetime import date, timedelta

import pytest

from tests.cli.conftest import Run


def test_a_plan_is_made_listed_shown_changed_and_given_to_a_company(run: Run) -> None:
    company = run("company", "create", "Clínica").value
    made = run("plan", "create", "Pro", "--messages", "50000", "--cost", "1500.5", "--thresholds", "100,80", "--hard")
    plan_id = made.value
    assert "messages 50000, tokens none, cost 1500.50 BRL, alerts at 80,100 %, hard" in made.err
    today = run("company", "plan", "--company", company, "--plan", "Pro").value
    listed = run("plan", "list", "--json").json
    assert [(row["id"], row["name"], row["companies"]) for row in listed] == [(int(plan_id), "Pro", 1)]
    assert listed[0]["limits"]["cost"] == "1500.50"
    later = (date.fromisoformat(today) + timedelta(days=40)).isoformat()
    changed = run("plan", "change", "Pro", "--messages", "80000", "--cost", "none", "--soft", "--from", later)
    assert changed.value == later
    assert "messages 80000, tokens none, cost none" in changed.err
    shown = run("plan", "show", plan_id)
    assert "companies that have it now: 1" in shown.err
    assert [line.split()[1] for line in shown.out.splitlines()] == ["MESSAGES", "50000", "80000"]
    versions = run("plan", "show", "Pro", "--json").json["versions"]
    assert [(row["messages"], row["cost"], row["hard"], row["effective_from"]) for row in versions] == [
        (50000, "1500.50", True, versions[0]["effective_from"]),
        (80000, None, False, later),
    ]
    table = run("plan", "list").out
    assert "50000" in table
    assert "80000" not in table
    ended = run("company", "plan", "--company", company, "--plan", "none", "--from", later, "--json").json
    assert ended == {"plan_id": None, "plan": None, "effective_from": later}


def test_no_plan_yet_is_said_with_how_to_make_one(run: Run) -> None:
    listed = run("plan", "list")
    assert (listed.code, listed.out) == (0, "")
    assert "secretaria plan create" in listed.err


def test_a_company_is_suspended_and_reactivated(run: Run) -> None:
    company = run("company", "create", "Clínica").value
    assert run("company", "suspend", company).value == "suspended"
    assert run("company", "suspend", company).value == "suspended"
    assert run("company", "list", "--json").json[0]["status"] == "suspended"
    assert run("company", "reactivate", company).value == "active"
    assert run("company", "suspend", "987654321").code == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("plan", "create", "42"), "not digits alone"),
        (("plan", "create", "none"), "is not none"),
        (("plan", "create", "Max", "--messages", "0"), "a limit of messages is 1 to"),
        (("plan", "create", "Max", "--messages", "1.000"), "in digits, such as 50000"),
        (("plan", "create", "Max", "--cost", "1,5"), "digits with a dot"),
        (("plan", "create", "Max", "--cost", "0"), "above 0"),
        (("plan", "create", "Max", "--thresholds", "80;100"), "such as 80,100"),
        (("plan", "create", "Max", "--thresholds", "80,80"), "different whole percentages"),
        (("plan", "create", "Pro"), "there is a plan of this name already"),
        (("plan", "show", "Max"), "no such plan: `secretaria plan list` shows what there is"),
        (("plan", "show", "987654321"), "no such plan"),
        (("plan", "change", "Pro"), "say which limit changes"),
        (("plan", "change", "Pro", "--messages", "5", "--from", "2020-01-01"), "days that have begun"),
        (("plan", "change", "Pro", "--messages", "5", "--from", "01/01/2027"), "does not match"),
        (("company", "plan", "--company", "1", "--plan", "Max"), "no such plan"),
        (("company", "plan", "--company", "987654321", "--plan", "Pro"), "no such company: `secretaria company list`"),
        (("company", "plan", "--company", "1", "--plan", "Dollars"), "limits the cost in USD"),
        (("company", "plan", "--company", "1", "--plan", "Pro", "--from", "2020-01-01"), "days that have begun"),
    ],
)
def test_what_cannot_be_done_is_one_line_of_why(run: Run, arguments: tuple[str, ...], said: str) -> None:
    assert run("company", "create", "Clínica").value == "1"
    run("plan", "create", "Pro", "--messages", "10")
    run("plan", "create", "Dollars", "--cost", "10", "--currency", "USD")
    refused = run(*arguments)
    assert (refused.code, refused.out) == (2, "")
    assert said in refused.err
    if "does not match" not in said:
        assert refused.err.count("\n") == 1


@pytest.mark.parametrize(
    "command",
    [
        ("plan", "create"), ("plan", "list"), ("plan", "show"), ("plan", "change"), ("company", "plan"),
        ("company", "suspend"), ("company", "reactivate"),
    ],
)  # fmt: skip
def test_the_help_of_each_command_teaches_by_example(run_anywhere: Run, command: tuple[str, ...]) -> None:
    told = run_anywhere(*command, "--help")
    assert told.code == 0
    assert f"Example: secretaria {' '.join(command)}" in told.out
