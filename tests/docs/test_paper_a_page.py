"""The page of paper A: every row is there, every link and every test that it names exists."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "paper_a.md").read_text()
ROWS = [line for line in PAGE.splitlines() if re.match(r"\| \d+ \|", line)]
MADE = "../paper_figures/paper_a/"  # by the command that the page names


def test_every_row_is_there_once():
    assert [int(line.split("|")[1]) for line in ROWS] == list(range(1, 54))


def test_links_exist():
    links = re.findall(r"\]\(([^)#]+)\)", PAGE)
    assert len(links) > 60
    missing = [link for link in links if not link.startswith(MADE) and not (DOCS / link).exists()]
    assert not missing


def test_figures_are_made_by_a_module_of_the_experiments():
    """Whether or not they were drawn here: a module of the room writes a file of that name."""
    sources = "".join(path.read_text() for path in (DOCS.parent / "offjax/paper_a").glob("*.py"))
    names = {Path(link).stem for link in re.findall(r"\]\(([^)]+)\)", PAGE) if link.startswith(MADE)}
    assert not [name for name in names if f'"{name}"' not in sources]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("|")[1].strip())
def test_the_tests_that_a_row_names_exist(row):
    for path, names in re.findall(r"\]\(\.\./(tests/[^)]+)\)((?:,? `test_\w+`)*)", row):
        text = (DOCS.parent / path).read_text()
        assert names, f"{path} without a test"
        for name in re.findall(r"`(test_\w+)`", names):
            assert f"def {name}(" in text, f"{path} has no {name}"
