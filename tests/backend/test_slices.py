from backend.quota import Quota
from backend.slices import Plan, deadline, granted, plan, words

ANN = Quota(300, 300, None, True, True)


def test_a_plan_in_words():
    cut = plan(130, 55)
    assert cut == Plan(55, 3)
    assert words(cut, ANN)[0] == "3 slices of 55 s, 2 min 45 s of your 5 min today."


def test_a_short_run_asks_for_no_more_than_it_needs():
    assert plan(10, 55) == Plan(18, 1)


def test_what_is_not_known_is_not_told():
    assert plan(None, 55) == Plan(55, None)
    assert words(plan(None, 55), ANN)[0] == "Slices of 55 s each; the first shows how many it takes."


def test_it_says_when_the_time_does_not_reach():
    assert any("does not reach" in line for line in words(plan(500, 55), ANN))
    assert not any("does not reach" in line for line in words(plan(130, 55), ANN))


def test_a_slice_is_no_longer_than_what_is_left_and_no_shorter_than_useful():
    assert [granted(55, left) for left in (None, 300, 55, 40, 15, 14)] == [55, 55, 55, 40, 15, 0]


def test_time_is_left_for_saving():
    assert deadline(1000, 55, None) == 1051
    assert deadline(1000, 55, 10) == 1039
    assert deadline(1000, 55, 0.1) == 1053.5
