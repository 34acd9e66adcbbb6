import pytest

from components.base.errors import UserError
from pipeline.remote.cron import check_cron, check_timezone


@pytest.mark.parametrize(
    "cron", ["0 4 * * *", "*/15 0-6,20-23 1 jan,JUL mon-fri", "5/10 0 29 2 *", "0 0 31 2 1", "0 0 1-31/2 * 0"]
)
def test_what_comes_true_is_taken(cron: str) -> None:
    assert check_cron(f"  {cron.replace(' ', '   ')} ") == cron


@pytest.mark.parametrize(
    ("cron", "told"),
    [
        ("0 0 4 * * *", "6 fields, but it takes five"),
        ("@daily", "short forms"),
        ("", "0 fields"),
        ("60 4 * * *", "minute: '60' is not between 0 and 59"),
        ("0 24 * * *", "hour: '24' is not between 0 and 23"),
        ("0 4 0 * *", "day of the month: '0' is not between 1 and 31"),
        ("0 4 * 13 *", "month: '13'"),
        ("0 4 * * 7", "day of the week: '7' is not between 0 and 6. Sunday is 0"),
        ("0 4 * * someday", "day of the week: 'someday'"),
        ("0 4 * * ?", "none of *, 5, 1-5"),
        ("0 4-2 * * *", "there is nothing in '4-2'"),
        ("*/0 4 * * *", "there is nothing in '*/0'"),
        ("0 4,, * * *", "hour: ''"),
        ("0 4 30 feb *", "no such month has a day 30"),
        ("0 4 31 4,6 *", "no such month has a day 31"),
    ],
)
def test_what_does_not_is_told(cron: str, told: str) -> None:
    with pytest.raises(UserError) as refusal:
        check_cron(cron)
    assert told in str(refusal.value)


def test_time_zones() -> None:
    assert check_timezone("Europe/Berlin") == "Europe/Berlin"
    for wrong in ("Europe/Atlantis", "", "../etc/passwd", "+01:00"):
        with pytest.raises(UserError, match="no such time zone"):
            check_timezone(wrong)
