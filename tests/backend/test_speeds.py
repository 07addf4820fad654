from backend.speeds import LEAST, MOST, Speeds, answered


def test_a_measured_model_is_asked_less_for(tmp_path):
    speeds = Speeds(tmp_path / "speeds.json")
    guess = speeds.seconds("m", 256)
    speeds.learn("m", start=0.5, step=0.02)
    assert LEAST < speeds.seconds("m", 256) < guess
    assert speeds.seconds("m", 256) == 11  # 1.4 × (0.5 + 256 × 0.02) + 3, rounded up
    assert speeds.seconds("m", 100_000) == MOST
    assert Speeds(tmp_path / "speeds.json").of("m") == {"start": 0.5, "step": 0.02}, "it is kept"


def test_later_measurements_count_by_a_share(tmp_path):
    speeds = Speeds(tmp_path / "speeds.json")
    speeds.learn("m", step=0.1)
    speeds.learn("m", step=0.2)
    assert speeds.of("m")["step"] == 0.13


def test_a_short_answer_tells_nothing():
    assert answered({"tokens_per_second": 0.0, "seconds_to_first_token": 0.1}) == {}
    assert answered({"tokens_per_second": 20.0, "seconds_to_first_token": 0.1}) == {"start": 0.1, "step": 0.05}


def test_a_picture_tells_its_steps():
    assert answered({"seconds": 5.0, "drawing": 3.0, "steps": 30, "pictures": 1}) == {"start": 2.0, "step": 0.1}
    assert answered({"seconds": 5.0, "drawing": 3.0, "steps": 0}) == {}
