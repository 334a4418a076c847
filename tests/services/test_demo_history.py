"""The demo's figures: plausible, and the same whoever makes them."""

from collections import Counter
from datetime import UTC, date, datetime, timedelta

import pytest

from secretaria.core.admission import refuse_content, refuse_text
from secretaria.core.event import Direction
from secretaria.core.period import ZoneSchedule, local_hour
from secretaria.services.demo_history import COMPANIES, NAME_MARK, activity, history

MONDAY = date(2026, 11, 16)
LATER = datetime(2026, 12, 1, tzinfo=UTC)


@pytest.mark.parametrize("company", COMPANIES, ids=lambda company: company.name)
def test_a_day_is_the_same_whenever_it_is_made_and_lies_within_itself(company):
    events = list(history(company, 7, MONDAY, LATER))
    assert events == list(history(company, 7, MONDAY, LATER))
    assert len({event.id for event in events}) == len(events) > 20
    schedule = ZoneSchedule.single(company.timezone)
    assert {local_hour(schedule, event.time)[0] for event in events} == {MONDAY}
    assert {event.subject for event in events} == {"7"}
    assert all(refuse_content(event) is None and refuse_text(event) is None for event in events)


def test_a_day_that_is_not_over_holds_only_what_has_happened():
    company = COMPANIES[0]
    noon = datetime(2026, 11, 16, 15, tzinfo=UTC)
    so_far = list(history(company, 1, MONDAY, noon))
    whole = list(history(company, 1, MONDAY, LATER))
    assert so_far == [event for event in whole if event.time < noon]
    assert 0 < len(so_far) < len(whole)


def test_weekdays_are_busier_than_sundays_and_mornings_than_nights():
    def messages(day):
        return sum(event.data.messages for event in history(COMPANIES[0], 1, day, LATER))

    assert messages(MONDAY) > 4 * messages(MONDAY + timedelta(days=6))
    assert activity(COMPANIES[0], 9) > 5 * activity(COMPANIES[0], 3) > 0


def test_both_directions_occur_and_tokens_go_with_answers():
    events = list(history(COMPANIES[0], 1, MONDAY, LATER))
    assert set(Counter(event.data.direction for event in events)) == set(Direction)
    assert all(
        (event.data.tokens_input is not None) == (event.data.direction is Direction.OUTBOUND) for event in events
    )


def test_every_demo_company_says_so_in_its_name():
    assert all(company.name.endswith(NAME_MARK) for company in COMPANIES)
    assert len({company.timezone for company in COMPANIES}) >= 4
