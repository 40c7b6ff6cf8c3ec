"""A pytest plugin for mutation testing, where only the first failure counts, and that it is one.

Tests against a model come first, because they find most and hang least; those that need an index
come last, because building it takes longer than most tests do.
"""

from __future__ import annotations

import pytest
from hypothesis import Phase, is_hypothesis_test, settings

# Nobody looks at the example, so it need not be made small.
settings.register_profile("mutation", phases=[Phase.explicit, Phase.generate])
settings.load_profile("mutation")

# What comes at all, comes in milliseconds; many a mutant is one for which nothing comes.
_PATIENCE_S = 5.0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=_cost)
    for item in items:
        module = getattr(item, "module", None)
        if module is not None and hasattr(module, "_PATIENCE_S"):
            module._PATIENCE_S = _PATIENCE_S


def _cost(item: pytest.Item) -> int:
    if is_hypothesis_test(getattr(item, "obj", None)):
        return 0
    return 2 if {"project", "service"} & {*getattr(item, "fixturenames", ())} else 1
