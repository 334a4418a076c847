"""Banco Central's PTAX: the selling rate of the dollar, as its open data service (OData) publishes it.

https://dadosabertos.bcb.gov.br, service PTAX, resource CotacaoDolarPeriodo: dates are MM-DD-YYYY, times are Brasília's
without an offset, days without a closing (weekends, holidays, before about 13:10) are simply missing.
"""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Final
from urllib.parse import quote
from zoneinfo import ZoneInfo

import httpx2
import msgspec

from secretaria.core.errors import Unavailable
from secretaria.core.exchange_rate import PTAX, PublishedRate

TIMEOUT_S: Final = 10.0
RATES_MAX: Final = 200
ANSWER_BYTES_MAX: Final = 1_000_000
_BRASILIA: Final = ZoneInfo("America/Sao_Paulo")
_SAFE: Final = "',"


class _Quotation(msgspec.Struct):
    sell: Decimal = msgspec.field(name="cotacaoVenda")
    at: str = msgspec.field(name="dataHoraCotacao")


class _Answer(msgspec.Struct):
    value: list[_Quotation]


_decoder: Final = msgspec.json.Decoder(_Answer)


async def fetch_ptax(url: str, *, start: date, end: date) -> list[PublishedRate]:
    """Return the rates published on the days from start to end (both among them), oldest first; possibly none.

    Raises Unavailable when the service cannot be reached or says something else.
    """
    query = {
        "@dataInicial": f"'{start:%m-%d-%Y}'",
        "@dataFinalCotacao": f"'{end:%m-%d-%Y}'",
        "$top": str(RATES_MAX),
        "$orderby": "dataHoraCotacao desc",
        "$format": "json",
        "$select": "cotacaoVenda,dataHoraCotacao",
    }
    # The service reads @, $ and quotes as they are, and knows no + for a space.
    asked = "&".join(f"{name}={quote(value, safe=_SAFE)}" for name, value in query.items())
    resource = "CotacaoDolarPeriodo(dataInicial=@dataInicial,dataFinalCotacao=@dataFinalCotacao)"
    content = await _get(f"{url.rstrip('/')}/{resource}?{asked}")
    try:
        return sorted(map(_published, _decoder.decode(content).value), key=lambda rate: rate.published_at)
    except (msgspec.DecodeError, ValueError, ArithmeticError) as error:
        raise Unavailable(f"Banco Central's answer is not understood: {error}") from error


async def _get(url: str) -> bytes:
    content = bytearray()
    try:
        async with httpx2.AsyncClient(timeout=TIMEOUT_S) as client, client.stream("GET", url) as answer:
            if answer.status_code != httpx2.codes.OK:
                raise Unavailable(f"Banco Central answered {answer.status_code}")
            async for part in answer.aiter_bytes():
                content += part
                if len(content) > ANSWER_BYTES_MAX:
                    raise Unavailable(f"Banco Central's answer is longer than {ANSWER_BYTES_MAX} bytes")
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise Unavailable(f"Banco Central cannot be reached: {type(error).__name__} {error}".strip()) from error
    return bytes(content)


def _published(row: _Quotation) -> PublishedRate:
    at = datetime.fromisoformat(row.at)
    if at.tzinfo is None:
        at = at.replace(tzinfo=_BRASILIA)
    return PublishedRate(PTAX, "USD", "BRL", row.sell, at.astimezone(UTC))
