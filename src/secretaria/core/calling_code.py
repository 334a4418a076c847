"""The country of a phone number, by its calling code: what a message's market is told by; pure.

ITU-T E.164 codes. Meta's "North America" is +1 without the islands of the Caribbean, which are told by area code.
"""

from typing import Final

PREFIX_DIGITS_MAX: Final = 4
PHONE_DIGITS_MAX: Final = 20

_BY_COUNTRY: Final = """
US 1|CA 1204 1226 1236 1249 1250 1289 1306 1343 1365 1403 1416 1418 1431 1437 1438 1450 1506 1514 1519 1548 1579 1581
1587 1604 1613 1639 1647 1672 1705 1709 1778 1780 1782 1807 1819 1825 1867 1873 1902 1905
DO 1809 1829 1849|PR 1787 1939|JM 1876 1658|BS 1242|BB 1246|TT 1868
RU 7|KZ 76 77|EG 20|ZA 27|GR 30|NL 31|BE 32|FR 33|ES 34|HU 36|IT 39|RO 40|CH 41|AT 43|GB 44|DK 45|SE 46|NO 47|PL 48
DE 49
PE 51|MX 52|CU 53|AR 54|BR 55|CL 56|CO 57|VE 58|MY 60|AU 61|ID 62|PH 63|NZ 64|SG 65|TH 66
JP 81|KR 82|VN 84|CN 86|TR 90|IN 91|PK 92|AF 93|LK 94|MM 95|IR 98
MA 212|DZ 213|TN 216|LY 218|GM 220|SN 221|MR 222|ML 223|GN 224|CI 225|BF 226|NE 227|TG 228|BJ 229|LR 231|SL 232|GH 233
NG 234|TD 235|CF 236|CM 237|CV 238|ST 239|GQ 240|GA 241|CG 242|CD 243|AO 244|GW 245|SD 249|RW 250|ET 251|SO 252|DJ 253
KE 254|TZ 255|UG 256|BI 257|MZ 258|ZM 260|MG 261|ZW 263|NA 264|MW 265|LS 266|BW 267|SZ 268|ER 291
PT 351|LU 352|IE 353|IS 354|AL 355|MT 356|CY 357|FI 358|BG 359|LT 370|LV 371|EE 372|MD 373|AM 374|BY 375|UA 380|RS 381
ME 382|HR 385|SI 386|BA 387|MK 389|CZ 420|SK 421
BZ 501|GT 502|SV 503|HN 504|NI 505|CR 506|PA 507|HT 509|BO 591|GY 592|EC 593|PY 595|SR 597|UY 598|PG 675
HK 852|KH 855|LA 856|BD 880|TW 886|LB 961|JO 962|SY 963|IQ 964|KW 965|SA 966|YE 967|OM 968|AE 971|IL 972|BH 973|QA 974
MN 976|NP 977|TJ 992|TM 993|AZ 994|GE 995|UZ 998
"""


def _prefixes() -> dict[str, str]:
    found: dict[str, str] = {}
    country = ""
    for word in _BY_COUNTRY.replace("|", " ").split():
        if word.isdigit():
            found[word] = country
        else:
            country = word
    return found


_PREFIXES: Final = _prefixes()


def country_of(digits: str) -> str | None:
    """Return the ISO 3166-1 alpha-2 country of a number in international digits, None for a code we do not know.

    5511987654321 is BR, 18095550000 is DO and 12125550000 is US.
    """
    for length in range(PREFIX_DIGITS_MAX, 0, -1):
        country = _PREFIXES.get(digits[:length])
        if country is not None:
            return country
    return None
