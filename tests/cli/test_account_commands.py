"""Accounts, templates and erasure, as a person at the terminal meets them."""

import psycopg
import pytest

from secretaria.embedded.servers import Endpoints
from tests.cli.conftest import Run
from tests.shop import rows

NUMBER = "106540352242922"


@pytest.fixture
def company(run: Run) -> str:
    return run("company", "create", "Escola Alfa").value


@pytest.fixture
def account(run: Run, company: str) -> str:
    return run("account", "create", "--company", company, "--phone-number-id", NUMBER, "--name", "Recepção").value


def test_an_account_and_a_template_print_their_ids(run: Run, company: str, account: str) -> None:
    listed = run("account", "list", "--company", company, "--json").json
    assert [(str(row["id"]), row["phone_number_id"], row["currency"], row["rate_card"]) for row in listed] == [
        (account, NUMBER, "BRL", "product")
    ]
    template = run("template", "create", "--account", account, "--name", "lembrete", "--category", "UTILITY")
    assert template.value.isdigit()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--phone-number-id", NUMBER], "has an account already"),
        (["--phone-number-id", "a b"], "printable characters"),
        (["--phone-number-id", "2", "--rate-card", "none"], "no such rate card"),
    ],
)
def test_an_account_that_cannot_be_made_is_refused_in_one_line(
    run: Run, company: str, account: str, words: list[str], message: str
) -> None:
    refused = run("account", "create", "--company", company, "--name", "Outra", *words)
    assert (refused.code, refused.out) == (2, "")
    assert message in refused.err


def test_templates_of_one_name_and_of_no_account_are_refused(run: Run, account: str) -> None:
    words = ("--name", "lembrete", "--category", "UTILITY")
    assert run("template", "create", "--account", account, *words).code == 0
    assert run("template", "create", "--account", account, *words).code == 2
    assert "no such WhatsApp account" in run("template", "create", "--account", "987654", *words).err


def test_erasing_asks_first_and_says_how_many_rows_went(run: Run, company: str, endpoints: Endpoints) -> None:
    assert endpoints.admin_url is not None
    with psycopg.connect(endpoints.admin_url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO messages (company_id, wamid, identity, day, hour, series_id, counted, tokens, response) "
            "VALUES (%s, 'A', gen_random_uuid(), '2026-11-20', 1, 1, true, false, false)",
            (company,),
        )
    assert run("erase", "--company", company).code == 2
    assert run("erase", "--company", company, "--phone", "none", "--yes").code == 2
    assert run("erase", "--company", company, "--phone", "+5511987654321", "--yes").value == "0"
    assert run("erase", "--company", company, "--yes").value == "1"
    assert rows(endpoints.admin_url, "SELECT count(*) FROM messages") == [(0,)]
    assert run("erase", "--company", "987654", "--yes").code == 2
