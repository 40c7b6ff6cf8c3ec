"""The forms of a word in the full cidx's full text: what each counts, and that the engine is asked
for it once."""

from __future__ import annotations

from collections import Counter

import pytest

from cidx_ref.index.cidx.forms import Forms

pytestmark = [pytest.mark.once, pytest.mark.promise("QRY-2")]

OFTEN = {"retry": 8, "retries": 4, "retried": 2, "socket": 5, "retrieve": 3}


class Engine:
    def __init__(self) -> None:
        self.asked: Counter[tuple[str, str]] = Counter()

    def frequency(self, field: str, token: str) -> int:
        self.asked[field, token] += 1
        return OFTEN.get(token, 0) if field == "content" else token == "net"

    def begun(self, start: str, limit: int) -> list[str]:
        self.asked["begun", start] += 1
        return [token for token in OFTEN if token.startswith(start)][:limit]


def test_a_word_has_the_forms_of_its_stem_and_each_is_asked_for_once() -> None:
    engine = Engine()
    forms = Forms(engine.frequency, engine.begun, 100)
    for _ in range(3):
        assert set(forms.of("retri")) == {"retry", "retries", "retried"}
        assert forms.count("retri") == 14
        assert forms.of("nowher") == ()
        assert (forms.in_paths("net"), forms.in_paths("socket")) == (True, False)
        list(forms.shares(forms.of("retri"), {"retry"}))
    assert set(engine.asked.values()) == {1}


def test_what_was_typed_counts_in_full_and_all_forms_as_one_token() -> None:
    forms = Forms(Engine().frequency, Engine().begun, 100)
    found = forms.of("retri")
    share = dict(forms.shares(found, {"retries"}))
    assert share["retry"] == pytest.approx(dict(forms.shares(found, {"retry"}))["retry"] / 2)
    # A rarer token would count for more by itself: all of them are as rare as the word is.
    assert share["retried"] < share["retry"] < share["retries"] < 1
    assert list(forms.shares(("socket",), set())) == [("socket", 1.0)]
    assert list(forms.shares((), {"retry"})) == []
    assert dict(forms.shares(found, {"socket"}))["retry"] > dict(share)["retry"], (
        "the most frequent"
    )
