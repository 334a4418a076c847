"""Rate cards in the panel: a preview stores nothing, a card is published once, and no file breaks the form."""

import html
import re
from datetime import date
from pathlib import Path
from typing import Any

import httpx2
import pytest

from secretaria.bootstrap import Application
from secretaria.core.access import PROCESS
from secretaria.core.errors import InvalidInput
from secretaria.web.panel.card_import import CARD_FILE_BYTES_MAX, packed, unpacked
from tests.web.conftest import SAME_ORIGIN, Shop

pytestmark = pytest.mark.anyio

GOLDEN = (Path(__file__).parent.parent / "golden" / "rate_card_brl.csv").read_bytes()
PREVIEW, PUBLISH, USE = "/configuracoes/tabelas/previa", "/configuracoes/tabelas", "/configuracoes/tabelas/usar"
HIDDEN = re.compile(r'<input type="hidden" name="(\w+)" value="([^"]*)">')
SHEET = "Market,Currency,Marketing\nBrazil,BRL,{}\n"


async def preview(
    client: httpx2.AsyncClient, shop: Shop, content: bytes = GOLDEN, *, cookies: str = "", **fields: str
) -> httpx2.Response:
    who = {"Cookie": shop.cookie("operator")["Cookie"] + cookies} | SAME_ORIGIN
    data = {"empresa": str(shop.ours), "tabela": "nova", "desde": "2030-01-01"} | fields
    return await client.post(PREVIEW, data=data, files={"arquivo": ("card.csv", content)}, headers=who)


async def publish(client: httpx2.AsyncClient, shop: Shop, **fields: str) -> httpx2.Response:
    """Send what the preview of a file carries, the box ticked."""
    who = shop.cookie("operator") | SAME_ORIGIN
    shown = await preview(client, shop)
    form = {name: html.unescape(value) for name, value in HIDDEN.findall(shown.text.partition(f'"{PUBLISH}"')[2])}
    return await client.post(PUBLISH, data=form | {"conferi": "sim"} | fields, headers=who)


async def stored(application: Application) -> list[Any]:
    versions = await application.rate_cards.versions(PROCESS, application.clock())
    return [version for version in versions if version.card == "nova"]


async def test_a_preview_shows_old_and_new_and_from_when_in_both_languages_and_stores_nothing(
    client: httpx2.AsyncClient, shop: Shop, application: Application
) -> None:
    await application.rate_cards.sync_shipped(application.clock())
    before = await application.rate_cards.versions(PROCESS, application.clock())
    portuguese = await preview(client, shop)
    english = await preview(client, shop, cookies="; panel_locale=en")
    assert (portuguese.status_code, english.status_code) == (200, 200)
    for sentence in ("01/01/2030", "R$\u00a00,3217", "não oferecido", "Ficou de fora", "sem preços em", "desde 01/07/2026"):
        assert sentence in portuguese.text
    for sentence in ("1 Jan 2030", "R$0.3217", "not offered", "Left out", "no prices in", "12 prices change"):
        assert sentence in english.text
    for word in ("Publicar", "Antes", "Conferi", "sem preços", "desde"):
        assert word not in english.text.partition("<h1>")[2].partition("<form")[0]
    assert await application.rate_cards.versions(PROCESS, application.clock()) == before


async def test_a_preview_of_a_card_that_is_there_names_its_prices_and_the_tiers_that_end(
    client: httpx2.AsyncClient, shop: Shop
) -> None:
    shown = await preview(client, shop, tabela="meta-brl")
    assert shown.status_code == 200
    assert "acima de" in shown.text
    assert "o arquivo só tem" in shown.text


async def test_a_card_is_published_once_however_often_the_form_is_sent(
    client: httpx2.AsyncClient, shop: Shop, application: Application
) -> None:
    first = await publish(client, shop)
    target = f"/configuracoes?empresa={shop.ours}&publicada=nova"
    assert (first.status_code, first.headers["location"]) == (303, f"{target}#tabelas")
    again = await publish(client, shop)
    assert again.status_code == 422
    assert "Estes preços já estavam publicados. Nada foi alterado." in again.text
    (version,) = await stored(application)
    assert (version.effective_from, version.prices) == (date(2030, 1, 1), 12)
    page = await client.get(target, headers=shop.cookie("operator"))
    assert "Tabela nova publicada." in page.text
    invented = await client.get(target.replace("nova", "other"), headers=shop.cookie("operator"))
    assert "publicada." not in invented.text


async def test_an_unchecked_box_shows_the_preview_again_and_publishes_nothing(
    client: httpx2.AsyncClient, shop: Shop, application: Application
) -> None:
    answer = await publish(client, shop, conferi="")
    assert answer.status_code == 422
    assert "Marque que conferiu os preços com a fonte." in answer.text
    assert "R$\u00a00,3217" in answer.text
    assert await stored(application) == []


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "Escolha o arquivo CSV"), (b"PK\x03\x04" + b"\x00" * 99, "não é um CSV em UTF-8"),
        ("Market;Currency\nBrasília".encode("latin-1"), "não é um CSV em UTF-8"),
        (GOLDEN.decode("utf-8-sig").encode("utf-16"), "não é um CSV em UTF-8"), (b"%PDF-1.7", "não é um CSV"),
        (b"\x00" * 500, "não é um CSV"), (b'"' + b"x" * 200_000, "não é um CSV"), (b"a,b\n1,2\n", "Não há uma tabela"),
        (b"Volume tier,x\n", "faixas de volume"), (SHEET.format("<b>1</b>").encode(), "&lt;b&gt;1&lt;/b&gt;"),
        (SHEET.format("-1").encode(), "não é um número"), (SHEET.format("1e9").encode(), "não é um número"),
        (SHEET.format("1\nBrazil,BRL,2").encode(), "aparece duas vezes"),
        (SHEET.format("1\nChile,USD,2").encode(), "mistura moedas"), (b"Market,Currency,Utility\nX,reais,1\n", "moeda"),
        (f"Market,Currency,Utility\n{'x' * 9_000},BRL,1\n".encode(), "grande demais"),
        (b"x" * (CARD_FILE_BYTES_MAX + 1), "grande demais"),
    ],
)  # fmt: skip
async def test_a_file_that_is_no_rate_card_is_refused_in_one_sentence(
    client: httpx2.AsyncClient, shop: Shop, application: Application, content: bytes, sentence: str
) -> None:
    answer = await preview(client, shop, content)
    assert answer.status_code == 422
    assert sentence in answer.text
    assert "<b>1</b>" not in answer.text
    assert answer.text.count('id="problema"') == 1
    assert await stored(application) == []


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"desde": "31/12/2026"}, "Informe uma data válida."), ({"tabela": "product"}, "O nome da tabela tem só letras"),
        ({"tabela": "tabela é"}, "O nome da tabela tem só letras"), ({"tabela": "meta-usd"}, "em outra moeda"),
    ],
)  # fmt: skip
async def test_a_wrong_name_or_date_is_told_and_what_was_entered_stays(
    client: httpx2.AsyncClient, shop: Shop, fields: dict[str, str], sentence: str
) -> None:
    answer = await preview(client, shop, GOLDEN, **fields)
    assert answer.status_code == 422
    assert sentence in answer.text
    assert f'value="{next(iter(fields.values()))}"' in answer.text


async def test_a_file_without_a_date_asks_for_one(client: httpx2.AsyncClient, shop: Shop) -> None:
    answer = await preview(client, shop, SHEET.format("1").encode(), desde="")
    assert answer.status_code == 422
    assert "informe a data" in answer.text


@pytest.mark.parametrize("text", ["", "&&&", "é", "AAA", "x" * 1_000])
async def test_a_preview_that_was_tampered_with_publishes_nothing(
    client: httpx2.AsyncClient, shop: Shop, application: Application, text: str
) -> None:
    answer = await publish(client, shop, conteudo=text)
    assert answer.status_code == 422
    assert await stored(application) == []


async def test_a_card_is_used_from_tomorrow_and_days_begun_are_closed_to_its_imports(
    client: httpx2.AsyncClient, shop: Shop, application: Application
) -> None:
    who = shop.cookie("operator") | SAME_ORIGIN
    for _ in range(2):
        answer = await client.post(USE, data={"empresa": shop.ours, "escolhida": "meta-brl"}, headers=who)
        assert (answer.status_code, answer.headers["location"]) == (303, f"/configuracoes?empresa={shop.ours}#tabelas")
    (choice,) = await application.rate_cards.choices(PROCESS, shop.ours)
    assert choice.card == "meta-brl"
    page = await client.get(f"/configuracoes?empresa={shop.ours}", headers=who)
    assert f"meta-brl vale para esta empresa a partir de {choice.effective_from:%d/%m/%Y}." in page.text
    begun = await preview(client, shop, tabela="meta-brl", desde="2026-01-01")
    assert begun.status_code == 422
    assert "dias já iniciados mantêm seus preços" in begun.text
    unknown = await client.post(USE, data={"empresa": shop.ours, "escolhida": "none"}, headers=who)
    assert (unknown.status_code, "Esta tabela não existe." in unknown.text) == (422, True)


async def test_members_strangers_keys_and_other_sites_neither_see_nor_change_cards(
    client: httpx2.AsyncClient, shop: Shop, application: Application
) -> None:
    data = {
        "empresa": str(shop.ours), "tabela": "nova", "desde": "2030-01-01", "conteudo": packed(GOLDEN),
        "conferi": "sim", "escolhida": "meta-brl",
    }  # fmt: skip
    for path in (PREVIEW, PUBLISH, USE):
        files = {"arquivo": ("card.csv", GOLDEN)} if path == PREVIEW else None
        for headers, status in (
            (shop.cookie("ours") | SAME_ORIGIN, 403),
            (SAME_ORIGIN, 303),
            (shop.bearer("key_operator") | SAME_ORIGIN, 303),
            (shop.cookie("operator") | {"Sec-Fetch-Site": "cross-site"}, 403),
            (shop.cookie("operator") | {"Origin": "https://evil.example"}, 403),
        ):
            answer = await client.post(path, data=data, files=files, headers=headers)
            assert answer.status_code == status, (path, headers)
        who = shop.cookie("operator") | SAME_ORIGIN
        nowhere = await client.post(path, data=data | {"empresa": "987654321"}, files=files, headers=who)
        assert nowhere.status_code == 404, path
    assert await stored(application) == []
    assert await application.rate_cards.choices(PROCESS, shop.ours) == []
    page = await client.get(f"/configuracoes?empresa={shop.ours}", headers=shop.cookie("ours"))
    assert PUBLISH not in page.text


@pytest.mark.parametrize("length", [1, 2, 3, CARD_FILE_BYTES_MAX])
def test_a_carried_file_comes_back_as_it_was(length: int) -> None:
    content = (b"\xff\xfe\xfb" * length)[:length]
    assert unpacked(packed(content)) == content


def test_a_carried_file_past_the_limit_is_refused() -> None:
    with pytest.raises(InvalidInput):
        unpacked(packed(b"x" * (CARD_FILE_BYTES_MAX + 1)))
