"""Asking the champion by Q(s, a): told plainly when it has none."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.policy.heads import QHead, write_q
from flows.ask import NoQ, check_q


def test_a_champion_without_q_is_told_with_what_to_do_until_it_has_one(tmp_path: Path) -> None:
    with pytest.raises(NoQ, match="form: q_learning"):
        check_q(tmp_path)
    write_q(tmp_path, QHead(64, 8, low=-0.5, high=1.0))
    check_q(tmp_path)
