import pytest

from components.base.errors import UserError
from pipeline.remote.cron import check_cron, check_timezone


@pytest.mark.parametrize(
    "cron", ["0 4 * * *", "*/15 0-6,20-23 1 jan,JUL mon-fri", "5/10 0 29 2 *", "0 0 31 2 1", "0 0 1-31/2 * 0"]
)
def test_expressions_that_both_targets_understand(cron: str) -> None:
    assert check_cron(f"  {cron.replace(' ', '   ')} ") == cron


@pytest.mark.parametrize(
    ("cron", "message"),
    [
        ("0 0 4 * * *", "6 fields, but it takes five"),
        ("@daily", "short forms"),
        ("", "0 fields"),
        ("60 4 * * *", "minute '60' is not valid. It takes 0 to 59"),
        ("0 24 * * *", "hour '24' is not valid. It takes 0 to 23"),
        ("0 4 0 * *", "day-of-month '0' is not valid. It takes 1 to 31"),
        ("0 4 L * *", "day-of-month 'L'"),
        ("0 4 * 13 *", "month '13'"),
        ("0 4 * * 7", "day-of-week '7' is not valid. It takes 0 to 6, or sun to sat; Sunday is 0"),
        ("0 4 * * someday", "day-of-week 'someday'"),
        ("0 4 * * 5L", "day-of-week '5L'"),
        ("0 4 * * 1#2", "day-of-week '1#2'"),
        ("0 4 * * ?", "day-of-week '?'"),
        ("0 4-2 * * *", "hour '4-2'"),
        ("*/0 4 * * *", "minute '*/0'"),
        ("0 4,, * * *", "hour '4,,'"),
        ("0 4 30 feb *", "day-of-month '30'"),
        ("0 4 31 4,6 *", "day-of-month '31'"),
    ],
)
def test_wrong_expressions_are_refused_with_the_field(cron: str, message: str) -> None:
    with pytest.raises(UserError) as refusal:
        check_cron(cron)
    assert message in str(refusal.value)


def test_time_zones() -> None:
    assert check_timezone("Europe/Berlin") == "Europe/Berlin"
    for wrong in ("Europe/Atlantis", "", "../etc/passwd", "+01:00"):
        with pytest.raises(UserError, match="no such time zone"):
            check_timezone(wrong)
