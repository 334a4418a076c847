"""What every section of a document is written with: the report, its imprint, a language and its figures."""

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

from secretaria.reports.format import UNKNOWN, Format
from secretaria.reports.labels import Labels
from secretaria.reports.report import Imprint, Sums, UsageReport

Section = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Page:
    """One document in the making."""

    report: UsageReport
    imprint: Imprint
    show: Format
    say: Labels

    @property
    def currency(self) -> str:
        """The company's."""
        return self.report.owner.currency

    def cost(self, sums: Sums, shown: Decimal | None = None) -> str:
        """Return a cost in full; shown is its share of a rounded total."""
        amount = sums.cost if shown is None else shown
        return self.show.cost(amount, self.currency, lower_bound=sums.lower_bound, full=True)

    def lacking(self, sums: Sums) -> str:
        """Return "312 mensagens e 4 tokens", or a dash."""
        parts = []
        if sums.not_priced_messages:
            parts.append(self._counted("message", "messages n", sums.not_priced_messages))
        if sums.not_priced_tokens:
            parts.append(self._counted("token", "tokens n", sums.not_priced_tokens))
        return self.say("and").join(parts) or UNKNOWN

    def _counted(self, one: str, many: str, number: int) -> str:
        return self.say(one if number == 1 else many, n=self.show.number(number))


def mean_response_ms(sums: Sums) -> Fraction | None:
    """Return the exact mean, None when nothing was answered."""
    return Fraction(sums.response_ms, sums.response_count) if sums.response_count > 0 else None


def amount_text(page: Page, metric: str, amount: Decimal) -> str:
    """Return an amount of a metric: money in full, or a count."""
    return page.show.money_full(amount, page.currency) if metric == "cost" else page.show.number(amount)


