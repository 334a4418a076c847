"""Meta's sample payloads and variants of them: read or counted, never an error, and nothing personal is kept."""

import copy
import hashlib
import hmac
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secretaria.core.errors import Malformed
from secretaria.core.event import Direction
from secretaria.core.whatsapp import Pricing, Status
from secretaria.inbound.whatsapp import Report, is_signed, load, read
from secretaria.inbound.whatsapp_scrub import phone_hmac, scrub

SAMPLES: dict[str, Any] = json.loads(
    (Path(__file__).parent.parent / "golden" / "whatsapp" / "payloads.json").read_text("utf-8")
)
ODD: tuple[Any, ...] = (None, 7, "x", [], {}, [{}], {"id": {}}, True, 1.5)
KEY = b"a key of thirty-two bytes or so.."
NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
PERSONAL = (
    "16505551234", "16505550000", "Sheena", "sheena", "color", "my face", "1479537139650973", "fb.me", "Summer",
    "Aff-n8Z", "13491208655302741918", "the info", "User changed",
)  # fmt: skip


def report_of(payload: Any) -> Report:
    return read(scrub(payload, KEY).body, NOW)


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_nothing_personal_is_left_of_metas_samples(name: str) -> None:
    written = json.dumps(scrub(SAMPLES[name], KEY).body, ensure_ascii=False)
    assert [text for text in PERSONAL if text in written] == []


def test_a_sent_status_with_pricing_is_read() -> None:
    (update,) = report_of(SAMPLES["status_sent_with_pricing"]).updates
    assert (update.direction, update.status, update.phone_number_id) == (
        Direction.OUTBOUND, Status.SENT, "106540352242922",
    )  # fmt: skip
    assert update.at == datetime.fromtimestamp(1750030073, UTC)
    assert (update.pricing, update.category, update.country) == (Pricing("marketing", "regular"), "marketing", "US")
    assert update.contact is not None
    assert (update.contact.phone_hmac, update.contact.phone_last4) == (phone_hmac("16505551234", KEY), "1234")


def test_a_later_status_without_pricing_and_a_failure_are_read() -> None:
    assert report_of(SAMPLES["status_read_without_pricing"]).updates[0].pricing is None
    assert report_of(SAMPLES["status_failed"]).updates[0].status is Status.FAILED


def test_inbound_messages_are_read_also_of_a_customer_who_hides_the_phone() -> None:
    (update,) = report_of(SAMPLES["inbound_text"]).updates
    assert (update.direction, update.status) == (Direction.INBOUND, Status.RECEIVED)
    (hidden,) = report_of(SAMPLES["inbound_from_ad"]).updates
    assert hidden.contact is not None
    assert (hidden.contact.phone_last4, hidden.country) == ("", "US")


def test_a_recategorisation_counts_from_its_time_and_its_notice_changes_nothing() -> None:
    (changed,) = report_of(SAMPLES["template_category_changed"]).templates
    assert (changed.category, changed.is_notice, changed.at) == (
        "MARKETING", False, datetime.fromtimestamp(1746169200, UTC),
    )  # fmt: skip
    (notice,) = report_of(SAMPLES["template_category_notice"]).templates
    assert notice.is_notice


def test_a_quality_change_is_told_by_its_keys_although_the_field_says_otherwise() -> None:
    (change,) = report_of(SAMPLES["template_quality"]).templates
    assert (change.quality, change.category, change.meta_template_id) == ("YELLOW", None, "806312974732579")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("phone_number_quality", "phone_number_quality_update"),
        ("business_capability", "business_capability_update"),
        ("volume_tier", "account_update"),
    ],
)
def test_other_events_are_kept_and_counted(name: str, kind: str) -> None:
    found = report_of(SAMPLES[name])
    assert [event.kind for event in found.events] == [kind]
    assert found.unknown[f"field:{kind}"] == 1


def test_system_notes_and_messages_typed_on_the_phone_are_no_messages_of_ours() -> None:
    assert report_of(SAMPLES["user_changed_number"]).updates == []
    echo = report_of(SAMPLES["message_echo"])
    assert (echo.updates, echo.unknown["message_echoes"]) == ([], 1)


@pytest.mark.parametrize(
    ("pricing", "expected"),
    [
        (
            {"billable": False, "pricing_model": "PMP", "type": "free_customer_service", "category": "service"},
            Pricing("service", "free_customer_service"),
        ),
        ({"billable": True, "type": "regular", "category": "utility"}, Pricing("utility", "regular")),
        (
            {"billable": False, "type": "free_entry_point", "category": "referral_conversion"},
            Pricing("referral_conversion", "free_entry_point"),
        ),
        ({"billable": True, "pricing_model": "CBP", "category": "service"}, Pricing("service", None)),
        ({"billable": False, "pricing_model": "CBP", "category": "service"}, Pricing("service", "free_customer_service")),
        ({"category": "authentication-international"}, Pricing("authentication_international", None)),
        ({"category": 7, "type": ["regular"]}, None),
        ({}, None),
        ("regular", None),
        (None, None),
    ],
)
def test_pricing_is_read_in_every_variant(pricing: Any, expected: Pricing | None) -> None:
    payload = copy.deepcopy(SAMPLES["status_sent_with_pricing"])
    payload["entry"][0]["changes"][0]["value"]["statuses"][0]["pricing"] = pricing
    (update,) = report_of(payload).updates
    assert update.pricing == expected


@pytest.mark.parametrize("timestamp", [1750030073, "1750030073", "1750030073000", 1750030073000])
def test_times_are_read_as_text_or_number_in_seconds_or_milliseconds(timestamp: Any) -> None:
    payload = copy.deepcopy(SAMPLES["status_read_without_pricing"])
    payload["entry"][0]["changes"][0]["value"]["statuses"][0]["timestamp"] = timestamp
    assert report_of(payload).updates[0].at == datetime.fromtimestamp(1750030073, UTC)


@pytest.mark.parametrize("timestamp", [None, "", "soon", -1, True, "9" * 40, 10**30, [], {}])
def test_without_a_time_the_moment_of_receipt_stands_in(timestamp: Any) -> None:
    payload = copy.deepcopy(SAMPLES["status_read_without_pricing"])
    payload["entry"][0]["changes"][0]["value"]["statuses"][0]["timestamp"] = timestamp
    assert report_of(payload).updates[0].at == NOW


def test_unknown_statuses_and_fields_are_counted_by_name_and_their_values_are_not_kept() -> None:
    payload = copy.deepcopy(SAMPLES["status_sent_with_pricing"])
    status = payload["entry"][0]["changes"][0]["value"]["statuses"][0]
    status |= {"status": "warning", "brand_new": "5511987654321", "5511987654321": "x"}
    scrubbed = scrub(payload, KEY)
    assert dict(scrubbed.unknown) == {"brand_new": 1, "(other)": 1}
    assert "5511987654321" not in json.dumps(scrubbed.body)
    found = read(scrubbed.body, NOW)
    assert (found.updates, found.unknown["status:warning"]) == ([], 1)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(
        st.sampled_from(["entry", "changes", "value", "statuses", "messages", "metadata", "id", "status", "timestamp",
                         "pricing", "phone_number_id", "field", "type", "from", "recipient_id", "origin", "conversation",
                         "message_template_id", "new_category", "x"]),
        inner,
        max_size=6,
    ),
    max_leaves=25,
)  # fmt: skip


@given(JSON)
def test_whatever_is_signed_is_read_without_an_error(value: Any) -> None:
    payload = {"entry": [{"id": "1", "changes": [{"field": "messages", "value": value}, value]}, value]}
    scrubbed = scrub(payload, KEY)
    json.dumps(scrubbed.body)
    again = read(scrubbed.body, NOW)
    assert all(update.wamid for update in again.updates)


def deepened(sample: Any, path: tuple[Any, ...], value: Any) -> Any:
    changed = copy.deepcopy(sample)
    place = changed
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return changed


def paths_of(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for step, item in steps for found in [(*path, step), *paths_of(item, (*path, step))]]


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_samples_with_any_field_missing_or_oddly_typed_are_read_without_an_error(name: str) -> None:
    for path in paths_of(SAMPLES[name]):
        for odd in ODD:
            report_of(deepened(SAMPLES[name], path, odd))


def test_a_brazilian_mobile_is_one_customer_with_and_without_the_ninth_digit() -> None:
    assert phone_hmac("5511987654321", KEY) == phone_hmac("551187654321", KEY)
    assert phone_hmac("551133334444", KEY) != phone_hmac("5511933334444", KEY)
    assert phone_hmac("5511987654321", KEY) != phone_hmac("5511987654321", b"another")


@pytest.mark.parametrize(
    ("signature", "expected"),
    [(b"right", True), (None, False), (b"", False), (b"sha256=", False), (b"sha1=00", False), ("sha256=é".encode(), False),
     (b"upper", False)],
)  # fmt: skip
def test_only_the_signature_of_the_raw_bytes_is_right(signature: bytes | None, expected: bool) -> None:
    body = json.dumps(SAMPLES["inbound_text"]).encode()
    digest = hmac.new(b"app secret", body, hashlib.sha256).hexdigest()
    signature = {b"right": f"sha256={digest}".encode(), b"upper": f"SHA256={digest}".encode()}.get(
        signature or b"-", signature
    )
    assert is_signed(body, signature, "app secret") is expected
    assert not is_signed(body + b" ", signature, "app secret")


@pytest.mark.parametrize("body", [b"", b"[]", b"1", b"{", b"\xff", b"null", b"[" * 100_000, b'{"a": ' + b"9" * 5000 + b"}"])
def test_what_is_no_object_is_malformed(body: bytes) -> None:
    with pytest.raises(Malformed):
        load(body)
