"""The panel's formatter is the reports' own: pages, PDFs and mails print the same strings."""

from secretaria.reports.format import BOUND as BOUND  # noqa: PLC0414
from secretaria.reports.format import HOME_TIMEZONE as HOME_TIMEZONE  # noqa: PLC0414
from secretaria.reports.format import NBSP as NBSP  # noqa: PLC0414
from secretaria.reports.format import UNKNOWN as UNKNOWN  # noqa: PLC0414
from secretaria.reports.format import Format as Format  # noqa: PLC0414
from secretaria.reports.format import Number as Number  # noqa: PLC0414
from secretaria.reports.format import rounded as rounded  # noqa: PLC0414
