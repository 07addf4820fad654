from backend.redaction import redactor


def test_values_of_secrets_and_token_shapes_go():
    redact = redactor({"HF_TOKEN": "my-private-value", "MY_API_KEY": "12345678ab", "HOME": "/home/x", "S_TOKEN": "abc"})
    text = redact("my-private-value 12345678ab /home/x abc hf_abcdefghijklmnopqrstuv")
    assert text == "••• ••• /home/x abc •••"


def test_ordinary_text_stays():
    text = "hf_hub_download loss 0.5 task_id"
    assert redactor({})(text) == text
