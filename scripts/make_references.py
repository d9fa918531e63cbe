#!/usr/bin/env python3
"""Rewrites the reference files of tests/fixtures from the field's own tools.

    python3 scripts/make_references.py                      # with an environment of its own
    python3 scripts/make_references.py --python PATH        # with an existing one
    python3 scripts/make_references.py --only models training

Without --python, a virtual environment holding scripts/references/requirements.txt is made
once in the user's cache folder (LOWMEM_DEPS moves it) and used again while that file stays
the same. Every script in scripts/references then runs in alphabetical order; names that
begin with an underscore are helpers. The scripts are deterministic: on one machine a second
run leaves every file as it was.
"""

import argparse
import os
import subprocess
import sys
import venv
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parent / "references"
REQUIREMENTS = SCRIPTS / "requirements.txt"


def environment() -> Path:
    """The Python of the environment for REQUIREMENTS, made where it does not exist yet."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    folder = Path(os.environ.get("LOWMEM_DEPS", cache / "lowmem-train")) / "references"
    python = folder / "bin" / "python"
    installed = folder / "requirements.txt"
    if installed.exists() and installed.read_text() == REQUIREMENTS.read_text():
        return python
    print(f"making a virtual environment in {folder}", flush=True)
    venv.create(folder, with_pip=True, clear=True)
    subprocess.run([python, "-m", "pip", "install", "-q", "-r", REQUIREMENTS], check=True)
    installed.write_text(REQUIREMENTS.read_text())  # last: an interrupted run starts over
    return python


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", help="a Python that has the requirements already")
    parser.add_argument("--shared", type=Path, default=SCRIPTS.parents[1].parent / "shared",
                        help="real models and data (default: ../shared)")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these scripts alone")
    args = parser.parse_args()

    scripts = [s for s in sorted(SCRIPTS.glob("*.py")) if not s.name.startswith("_")]
    if args.only:
        unknown = set(args.only) - {s.stem for s in scripts}
        if unknown:
            parser.error(f"no such script: {', '.join(sorted(unknown))}; there are "
                         f"{', '.join(s.stem for s in scripts)}")
        scripts = [s for s in scripts if s.stem in args.only]
    python = args.python or environment()
    for script in scripts:
        print(f"{script.name}", flush=True)
        done = subprocess.run([python, script, "--shared", args.shared.resolve()])
        if done.returncode != 0:
            print(f"{script.name} failed", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
