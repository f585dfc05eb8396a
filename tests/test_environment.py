import pytest

from counterpoint.core import environment
from counterpoint.core.errors import InputError
from counterpoint.model.hidden_states import limit_gb
from counterpoint.training.checkpoint import days_kept


@pytest.mark.parametrize("text", [None, "", "7", "0", "1e3", "0.5"])
def test_a_number_is_of_the_type_of_its_default(monkeypatch, text):
    monkeypatch.delenv("LIMIT", raising=False)
    if text is not None:
        monkeypatch.setenv("LIMIT", text)
    number = environment.number("LIMIT", 10.0)
    assert (number, type(number)) == (float(text or 10), float)
    if text in (None, "", "7", "0"):
        number = environment.number("LIMIT", 3)
        assert (number, type(number)) == (int(text or 3), int)


@pytest.mark.parametrize("text", ["-1", "many", "nan", "inf", "1e999", "-0.5", "1,5"])
@pytest.mark.parametrize(("default", "kind"), [(10.0, "a number"), (3, "an integer")])
def test_any_other_text_is_refused_in_one_line(monkeypatch, text, default, kind):
    monkeypatch.setenv("LIMIT", text)
    with pytest.raises(InputError) as refused:
        environment.number("LIMIT", default)
    assert str(refused.value) == f"LIMIT must be {kind} of at least 0; got {text!r}"


@pytest.mark.parametrize(
    ("name", "read", "default", "kind"),
    [("CHECKPOINT_DAYS", days_kept, 30, "a number"), ("STATES_LIMIT_GB", limit_gb, 10, "a number")],
)
def test_the_settings_of_a_machine(monkeypatch, name, read, default, kind):
    monkeypatch.delenv(name, raising=False)
    assert read() == default
    monkeypatch.setenv(name, "5")
    assert read() == 5
    monkeypatch.setenv(name, "-5")
    with pytest.raises(InputError, match=f"^{name} must be {kind} of at least 0; got '-5'$"):
        read()
