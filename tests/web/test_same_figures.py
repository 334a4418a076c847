"""Whatever was used, one period's figures are equal on the page and in API, CSV, XLSX, PDF and explanation."""

import html
import io
import re
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final

import httpx2
import openpyxl
import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from secretaria.bootstrap import Application
from secretaria.core.period import month_of
from secretaria.embedded.servers import Endpoints
from secretaria.reports.format import Format
from secretaria.settings import Settings
from tests.services.test_exports import lines_of, text_of
from tests.services.test_period_figures import NOW, TODAY
from tests.services.test_rate_cards import MADE, SMALL, add_version, new_account
from tests.shop import OPERATOR
from tests.usage_rows import CARD_USD, Use, slow_cost, write
from tests.web.conftest import Shop

pytestmark = pytest.mark.anyio

MONTH: Final = month_of(TODAY)
BEFORE: Final = timedelta(days=7)  # last month's end is generated too: none of it may enter
PT: Final = Format("pt-BR")
USES_MAX: Final = 25
EXAMPLES_MAX: Final = 5  # of each way to price
UNSET: Final = {
    "flat prices": (),
    "no price of messages": ("billing_cost_per_message",),
    "no price of tokens": ("billing_cost_per_thousand_tokens",),
    "shared card": (),
}


@dataclass(frozen=True)
class Said:
    """What one place says of the period; a cost that is unknown is nothing here, what it lacks is counted beside."""

    messages_in: int
    messages_out: int
    tokens_in: int
    tokens_out: int
    cost: Decimal
    messages_not_priced: int
    tokens_not_priced: int


COUNTS: Final = st.one_of(st.just(0), st.integers(1, 40), st.integers(0, 3_000_000))


@st.composite
def one_use(draw: st.DrawFn) -> Use:
    whatsapp = draw(st.booleans())
    answers = draw(st.integers(0, 3))
    return Use(
        draw(st.dates(MONTH.start - BEFORE, TODAY)),
        direction=draw(st.sampled_from(["inbound", "outbound"])),
        channel="whatsapp" if whatsapp else "usage",
        category=draw(st.sampled_from([*CARD_USD, "OTHER"])) if whatsapp else None,
        model=draw(st.sampled_from([None, "gpt-4o", "claude"])),
        messages=draw(COUNTS),
        tokens_input=draw(COUNTS),
        tokens_output=draw(COUNTS),
        response_ms=answers * draw(st.integers(0, 90_000)),
        response_count=answers,
        account_id=draw(st.sampled_from([None, 0, 1])) if whatsapp else None,
        cost_center=draw(st.sampled_from([None, "vendas", "suporte"])),
        hour=draw(st.integers(0, 13)),  # also today these hours are over
    )


@pytest.fixture(params=UNSET)
def prices(request: pytest.FixtureRequest) -> str:
    """How the companies of a test are priced."""
    return str(request.param)


@pytest.fixture
def settings(settings: Settings, prices: str) -> Settings:
    return settings.model_copy(update=dict.fromkeys(UNSET[prices]))


@pytest.fixture
def app(app: FastAPI, application: Application) -> FastAPI:
    """The application on an afternoon within the month."""
    app.state.application = replace(application, clock=lambda: NOW)
    return app


@pytest.fixture
async def card(application: Application, prices: str) -> str | None:
    if prices != "shared card":
        return None
    await add_version(application, SMALL)
    return SMALL.card


@hypothesis_settings(
    max_examples=EXAMPLES_MAX,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(uses=st.lists(one_use(), max_size=USES_MAX))
async def test_a_period_says_the_same_everywhere_whatever_was_used(
    application: Application,
    endpoints: Endpoints,
    client: httpx2.AsyncClient,
    shop: Shop,
    prices: str,
    card: str | None,
    uses: list[Use],
) -> None:
    company_id = await used_company(application, endpoints, card, uses)
    door = Door(client, shop, company_id)
    api, cost = await door.summary()
    of_month = [use for use in uses if MONTH.start <= use.day]
    assert (api.messages_in, api.messages_out, api.tokens_in, api.tokens_out) == quantities(of_month)
    if card is None:
        unset = UNSET[prices]
        counted = slow_cost(
            of_month,
            per_message=None if "billing_cost_per_message" in unset else Decimal("0.05"),
            per_thousand=None if "billing_cost_per_thousand_tokens" in unset else Decimal("0.02"),
        )
        assert (api.cost, api.messages_not_priced, api.tokens_not_priced) == counted
    assert await door.csv() == api
    assert await door.explained() == (api.cost, api.messages_not_priced, api.tokens_not_priced)
    await door.check_workbook(api, cost)
    await door.check_page(api, cost)
    await door.check_pdf(api, cost)


async def used_company(application: Application, endpoints: Endpoints, card: str | None, uses: list[Use]) -> int:
    """Make a company of an example's own, with its first use long ago: before that a page shows no figures at all."""
    company_id = (await application.companies.create(OPERATOR, "Clínica", now=MADE)).company_id
    accounts = [new_account(endpoints, company_id) for _ in range(2)]
    if card is not None:
        await application.rate_cards.activate(OPERATOR, company_id, card=card, now=MADE)
    placed = [use if use.account_id is None else replace(use, account_id=accounts[use.account_id]) for use in uses]
    write(endpoints.admin_url, company_id, Use(MONTH.start - timedelta(days=40), messages=1), *placed)
    return company_id


def quantities(uses: list[Use]) -> tuple[int, int, int, int]:
    return (
        sum(use.messages for use in uses if use.direction == "inbound"),
        sum(use.messages for use in uses if use.direction == "outbound"),
        sum(use.tokens_input for use in uses),
        sum(use.tokens_output for use in uses),
    )


def lacking(said: Said) -> str:
    """Return "12 mensagens e 1 token" as page and PDF write what has no price."""
    counts = ((said.messages_not_priced, "mensagem", "mensagens"), (said.tokens_not_priced, "token", "tokens"))
    return " e ".join(f"{PT.number(count)} {one if count == 1 else many}" for count, one, many in counts if count)


def cost_text(said: Said, cost: Decimal | None, *, full: bool) -> str:
    lower_bound = bool(said.messages_not_priced or said.tokens_not_priced)
    return PT.cost(cost, "BRL", lower_bound=lower_bound, full=full).replace("\u00a0", " ")


class Door:
    """Asks for one company's month at every place that shows it."""

    def __init__(self, client: httpx2.AsyncClient, shop: Shop, company_id: int) -> None:
        self._client, self._shop, self._company_id = client, shop, company_id

    async def _get(self, path: str, headers: dict[str, str] | None = None) -> httpx2.Response:
        answer = await self._client.get(path, headers=headers or self._shop.bearer("key_operator"))
        assert answer.status_code == 200, answer.text
        return answer

    async def _export(self, file_format: str) -> bytes:
        query = f"company_id={self._company_id}&period=month&format={file_format}"
        return (await self._get(f"/api/analytics/export?{query}")).content

    async def summary(self) -> tuple[Said, Decimal | None]:
        """Return what the API says, and its cost as it says it: None where nothing used has a price."""
        found = (await self._get(f"/api/analytics/summary?company_id={self._company_id}")).json()["current"]
        cost = None if found["cost"] is None else Decimal(found["cost"])
        missing = found["not_priced"]
        assert found["lower_bound"] == bool(missing["messages"] or missing["tokens"])
        messages, tokens = found["messages"], found["tokens"]
        said = Said(
            messages["inbound"], messages["outbound"], tokens["input"], tokens["output"], cost or Decimal(0),
            missing["messages"], missing["tokens"],
        )  # fmt: skip
        assert (messages["total"], tokens["total"]) == (
            said.messages_in + said.messages_out, said.tokens_in + said.tokens_out,
        )  # fmt: skip
        return said, cost

    async def csv(self) -> Said:
        """Return the sums of the file's days."""
        lines = lines_of(await self._export("csv"))
        assert [line["date"] for line in lines] == [day.isoformat() for day in MONTH.days() if day <= TODAY]
        ins, outs, tokens_in, tokens_out = (
            sum(int(line[name]) for line in lines) for name in ("messages_in", "messages_out", "tokens_in", "tokens_out")
        )
        missing = " ".join(line["not_priced"] for line in lines)
        messages, tokens = (sum(map(int, re.findall(rf"(\d+) {what}", missing))) for what in ("message", "token"))
        cost = sum((Decimal(line["cost"] or 0) for line in lines), Decimal(0))
        return Said(ins, outs, tokens_in, tokens_out, cost, messages, tokens)

    async def explained(self) -> tuple[Decimal, int, int]:
        """Return cost and what it lacks, and see that the lines add up to that cost."""
        query = f"company_id={self._company_id}&from={MONTH.start}&to={TODAY}"
        found = (await self._get(f"/api/analytics/explain?{query}")).json()
        total = Decimal(found["total"] or 0)
        assert sum((Decimal(line["amount"]) for line in found["lines"]), Decimal(0)) == total
        lacks = [sum(of["quantity"] for of in found["not_priced"] if of["metric"] == metric) for metric in ("messages", "tokens")]
        return total, lacks[0], lacks[1]

    async def check_workbook(self, said: Said, cost: Decimal | None) -> None:
        """A cell holds a number as spreadsheets keep it: sixteen digits."""
        book = openpyxl.load_workbook(io.BytesIO(await self._export("xlsx")))
        top: dict[str, Any] = dict(book["Resumo"].iter_rows(values_only=True))
        counts = (said.messages_in, said.messages_out, said.tokens_in, said.tokens_out)
        lacks = (said.messages_not_priced, said.tokens_not_priced)
        assert tuple(top[name] for name in ("Recebidas", "Enviadas", "Tokens de entrada", "Tokens de saída")) == counts
        assert tuple(top[f"{name} sem preço"] for name in ("Mensagens", "Tokens")) == lacks
        assert top["Custo estimado"] == (None if cost is None else float(f"{cost:.16G}"))
        days = list(book["Diário"].iter_rows(min_row=2, values_only=True))
        assert tuple(sum(day[column] for day in days) for column in (1, 2, 3, 4, 7, 8)) == (*counts, *lacks)
        assert sum(Decimal(str(day[6] or 0)) for day in days) == pytest.approx(said.cost, rel=Decimal("1e-14"))

    async def check_page(self, said: Said, cost: Decimal | None) -> None:
        """Cards hold exact values in their titles; the rows behind the chart add up to them."""
        page = await self._page("mensagens")
        cards = [page.title(f"k-{name}") for name in ("recebidas", "enviadas", "tokens-entrada", "tokens-saida")]
        counts = (said.messages_in, said.messages_out, said.tokens_in, said.tokens_out)
        assert cards == [PT.number(count) for count in counts]
        assert page.title("k-custo") == f"Valor exato: {'—' if cost is None else f'{cost:f}'}"
        assert page.text("k-custo") == cost_text(said, cost, full=False)
        assert page.text("quebra-total") == cost_text(said, cost, full=True)
        messages = said.messages_in + said.messages_out
        tokens = said.tokens_in + said.tokens_out
        assert page.text("quebra-total-mensagens") == PT.number(messages)
        rows = page.text("quebra-ordem").split()
        assert sum(whole(page.text(f"{row}-mensagens")) for row in rows) == sum(page.points()) == messages
        assert sum(whole(page.title(f"{row}-tokens")) for row in rows) == tokens
        assert sum((await self._page("tokens")).points()) == tokens
        lacks = lacking(said)
        assert page.text("sem-preco-frase") == (f"Sem preço neste período: {lacks}. O total é parcial." if lacks else "")

    async def _page(self, metric: str) -> "Page":
        path = f"/empresas/{self._company_id}/analytics?periodo=mes&por=dia&metrica={metric}"
        return Page((await self._get(path, self._shop.cookie("operator"))).text)

    async def check_pdf(self, said: Said, cost: Decimal | None) -> None:
        """Its cards and the last row of its days show the same texts."""
        text = text_of(await self._export("pdf"))
        ins, outs, tokens_in, tokens_out = map(PT.number, (said.messages_in, said.messages_out, said.tokens_in, said.tokens_out))
        money = cost_text(said, cost, full=True)
        assert f"{ins} recebidas · {outs} enviadas" in text
        assert f"{tokens_in} de entrada · {tokens_out} de saída" in text
        total = rf"Total {ins} {outs} {tokens_in} {tokens_out} (?:—|[^—R]*?(?:s|min)) {re.escape(money)}(?: |$)"
        assert re.search(total, text), (total, text)
        lacks = lacking(said)
        assert (f"{lacks} sem preço. O custo é pelo menos o mostrado." in text) == bool(lacks)


class Page:
    """A page's texts and titles by element id."""

    def __init__(self, source: str) -> None:
        self._source = source

    def text(self, element_id: str) -> str:
        return self._found(rf'id="{element_id}"[^>]*>([^<]*)<')

    def title(self, element_id: str) -> str:
        return self._found(rf'id="{element_id}"[^>]* title="([^"]*)"')

    def points(self) -> list[int]:
        """Return the rows of the table behind the chart, one a day."""
        return [whole(text) for text in re.findall(r'id="b\d+-valor"[^>]*>([^<]*)<', self._source)]

    def _found(self, pattern: str) -> str:
        found = re.search(pattern, self._source)
        assert found is not None, pattern
        return html.unescape(found[1]).replace("\u00a0", " ")


def whole(text: str) -> int:
    return int(text.replace(".", ""))
