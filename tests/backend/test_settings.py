import pytest

from backend.errors import BadInput
from backend.settings import Settings


def test_defaults():
    settings = Settings.read({})
    assert settings.home.name == ".atelier"
    assert (settings.host, settings.port, settings.public) == ("127.0.0.1", 7860, False)


def test_the_usual_names_mean_the_usual_things(tmp_path):
    settings = Settings.read({"ATELIER_HOME": str(tmp_path), "GRADIO_SERVER_PORT": "8001", "PORT": "1"})
    assert (settings.home, settings.port) == (tmp_path, 8001)
    assert Settings.read({"PORT": "8002"}).port == 8002


@pytest.mark.parametrize("env", [{"SPACE_ID": "a/b"}, {"GRADIO_SERVER_NAME": "0.0.0.0"}, {"GRADIO_SHARE": "1"}])
def test_public_when_strangers_can_reach_it(env):
    assert Settings.read(env).public


@pytest.mark.parametrize("value", ["abc", "-1", "70x"])
def test_a_bad_number_names_variable_and_value(value):
    with pytest.raises(BadInput, match=f"GRADIO_SERVER_PORT is '{value}'"):
        Settings.read({"GRADIO_SERVER_PORT": value})


def test_secrets_are_not_in_the_repr():
    assert "hf_secret" not in repr(Settings.read({"HF_TOKEN": "hf_secret"}))
