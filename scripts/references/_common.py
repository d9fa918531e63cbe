"""What the scripts of this folder share: where files go and how numbers are written."""

import argparse
import json
import os
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"  # everything is local
os.environ["TRANSFORMERS_VERBOSITY"] = "error"
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
os.environ["TQDM_DISABLE"] = "1"

FIXTURES = Path(__file__).resolve().parents[2] / "tests" / "fixtures"


def arguments(description: str) -> argparse.Namespace:
    """Every script takes --shared, whether it needs the folder or not."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=FIXTURES.parents[2] / "shared",
                        help="real models and data (default: ../shared)")
    return parser.parse_args()


def rounded(values, digits: int = 9):
    """A number, tensor or nested list with `digits` significant digits: 9 keep a float32."""
    if hasattr(values, "tolist"):
        values = values.tolist()
    if isinstance(values, (list, tuple)):
        return [rounded(v, digits) for v in values]
    return float(f"{values:.{digits}g}")


def write_json(path: Path, value) -> None:
    """Compact, but one line for each item of a list or object at the top two levels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_layout(value, 2) + "\n", encoding="utf-8")


def write_jsonl(path: Path, rows) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(_compact(row) + "\n" for row in rows), encoding="utf-8")


def read_jsonl(path: Path, limit: int = -1) -> list:
    lines = path.read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines[: limit if limit >= 0 else None]]


def _compact(value) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _layout(value, depth: int) -> str:
    if depth > 0 and isinstance(value, dict) and value:
        items = [f"{_compact(k)}:{_layout(v, depth - 1)}" for k, v in value.items()]
        return "{" + ",\n".join(items) + "}"
    if depth > 0 and isinstance(value, list) and any(isinstance(v, (dict, list)) for v in value):
        return "[" + ",\n".join(_layout(v, depth - 1) for v in value) + "]"
    return _compact(value)
