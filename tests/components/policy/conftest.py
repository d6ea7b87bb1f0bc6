"""Both forms of the inner loops: tests that ask for `loops` run once with the compiled ones and once with torch's."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from components.policy import kernels


@pytest.fixture(params=["compiled", "torch"], scope="module")
def loops(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "compiled":
        if not kernels.usable(torch.zeros(1)):
            pytest.skip("the compiled loops are not built here: no C++ compiler was at hand at installation")
        yield "compiled"
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernels, "usable", lambda like: False)
        yield "torch"
