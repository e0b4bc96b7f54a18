"""What a user can rely on: the page on own problems runs as it stands, one block after the other."""

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "own_problem.md"


@pytest.fixture(scope="module")
def names():
    """Everything that the blocks of the page define."""
    found: dict = {}
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 4
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), found)
    return found


def test_the_page_runs(names):
    assert names["summary"]["reference"] == "myopic"
    assert names["summary"]["policies"]["policy"]["score"]["mean"] <= 1.001
    assert names["observation"].shape == (4,)


def test_it_learns(names):
    assert -1.0 <= float(names["metrics"]["reward"][0]) <= 1.0
    assert int(names["state"].slots) == 3 * 50


def test_the_problem_is_about_40_lines():
    block = re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL).group(1)
    lines = [line for line in block.splitlines() if line.strip()]
    assert len(lines) <= 50
