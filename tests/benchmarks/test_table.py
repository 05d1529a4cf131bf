"""Tables of the pages are those of the committed results; what a row says is what the table says."""

import runpy
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"
RESULTS = {
    "backbone": {
        "machine": {"date": "2026-01-31", "cpu": "Some CPU", "torch": "2.11.0", "threads": 1},
        "command": "python benchmarks/run.py backbone --json",
        "rows": [
            {
                "case": "Net forward",
                "precision": precision,
                "goal": {"fast": 2.0},
                "share_of": {"float32": 0.5},
                "forms": {
                    "plain": {"seconds": 1.0, "range_s": [0.9, 1.1]},
                    "fast": {"seconds": 0.1, "ratio": ratio, "ratio_range": [9.0, 11.0], "difference": 1e-6},
                    "slow": {"seconds": 0.5, "ratio": 2.0, "ratio_range": [2.0, 2.0], "difference": 0.0},
                },
            }
            for precision, ratio in (("float32", 10.4), ("bfloat16", 21.26))
        ],
    }
}


@pytest.fixture(scope="module")
def table():
    return runpy.run_path(str(FOLDER / "table.py"))


def test_pages_are_current(table, monkeypatch):
    monkeypatch.setattr("sys.argv", ["table.py", "--check"])
    assert table["main"]() == 0


def test_a_changed_page_is_reported(table):
    page = "before\n<!-- speed: backbone -->\nold\n<!-- end of speed -->\nafter\n"
    new = table["fill"](page, RESULTS)
    assert new != page
    assert new.startswith(
        "before\n<!-- speed: backbone -->\n`python benchmarks/run.py backbone --json`, 2026-01-31, Some CPU"
    )
    assert new.endswith("<!-- end of speed -->\nafter\n")
    assert table["fill"](new, RESULTS) == new


def test_every_form_has_a_line(table):
    lines = table["write_table"](RESULTS, "backbone").splitlines()
    assert "| Net forward | float32 | 1 s | fast | 0.1 s | 10 | 9 to 11 | 2 | 1e-06 | float32 0.50 |" in lines
    assert "| Net forward | float32 | 1 s | slow | 0.5 s | 2 | 2 to 2 |  | 0e+00 | float32 0.50 |" in lines


def test_memory_is_a_share(table):
    forms = {"plain": {"bytes": 2.5e9}, "library, bfloat16": {"bytes": 1e9, "share": 0.4}}
    results = {"backbone": {**RESULTS["backbone"], "rows": [{"case": "Peak", "goal": 0.6, "forms": forms}]}}
    assert "| Peak |  | 2.5 GB | library, bfloat16 | 1 GB | 0.4 |  | 0.6 |  |  |" in table["write_table"](
        results, "backbone"
    )
    assert "| Peak | 0.40 of the memory (bfloat16) |  | `backbone` |" in table["write_table"](results, "goals")


def test_one_line_a_case_with_a_goal(table):
    *_, only = table["write_table"](RESULTS, "goals").splitlines()
    assert only == "| Net forward | 10 (fast) | 21 (fast) | `backbone` |"


def test_the_summary_has_the_chosen_cases_and_no_other(table):
    *_, row = table["goals_table"](RESULTS, only=["Net forward"]).splitlines()
    assert row.startswith("| Net forward | 10 (fast)")
    assert "Net forward" not in table["goals_table"](RESULTS, only=["Net backward"])


def test_every_case_of_the_summary_was_measured(table):
    shown = table["write_table"](table["read_results"](), "summary")
    assert len(shown.splitlines()) - 2 == len(table["SUMMARY"]) <= 8


@pytest.mark.parametrize(("recorded", "said"), [
    ({"freed_memory": "kept by all"}, "freed memory: kept by all"),
    ({}, "freed memory: kept by the library alone"),
])  # fmt: skip
def test_the_table_says_who_keeps_freed_memory(table, recorded, said):
    older = RESULTS["backbone"]["machine"]
    results = {"backbone": {**RESULTS["backbone"], "machine": older | recorded}}
    assert table["write_table"](results, "backbone").splitlines()[0].endswith(f", threads: 1, {said}")


def test_results_of_an_older_script_say_how_to_measure_now(table):
    older = {"dino_model": {**RESULTS["backbone"], "command": "python benchmarks/dino_model.py --json --rounds 2"}}
    first = table["write_table"](older, "dino_model").splitlines()[0]
    now = "python benchmarks/run.py dino --json --rounds 2"
    assert first.startswith(f"`python benchmarks/dino_model.py --json --rounds 2` (now `{now}`), 2026")


def test_unknown_results(table):
    with pytest.raises(KeyError, match="engine"):
        table["write_table"](RESULTS, "engine")
