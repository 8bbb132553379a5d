"""The page that lists the benchmarks."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference" / "benchmarks.md"


def test_every_benchmark_is_on_the_page() -> None:
    """Each script in benchmarks/ has a row on the page that says what it measures."""
    scripts = {path.name for path in (ROOT / "benchmarks").glob("bench_*.py")}
    listed = {line.split("`")[1] for line in PAGE.read_text().splitlines() if line.startswith("| `bench_")}
    assert scripts <= listed, f"add to {PAGE.name}: {sorted(scripts - listed)}"
