"""Builds what is shipped but not written by hand: the style sheet (committed) and the compiled translations (not)."""

import subprocess
import sys
from pathlib import Path
from typing import Any

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).resolve().parent
STYLE_SOURCE = ROOT / "assets" / "app.css"
STYLE_SHEET = ROOT / "src" / "refill" / "channels" / "people" / "static" / "refill" / "app.css"


class CompileTranslations(BuildHookInterface):
    """Runs for every wheel and for `pip install -e`; the style sheet is in the repository already."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        compile_translations()


def compile_translations() -> None:
    """Write the .mo beside each .po, so that nobody who installs needs gettext."""
    for source in sorted(ROOT.glob("src/refill/**/LC_MESSAGES/*.po")):
        with source.open("rb") as po:
            catalogue = read_po(po, locale=source.parts[-3])
        with source.with_suffix(".mo").open("wb") as mo:
            write_mo(mo, catalogue)


def build_style_sheet(target: Path = STYLE_SHEET) -> None:
    """Build the one style sheet with Tailwind's own program; no Node is needed."""
    target.parent.mkdir(parents=True, exist_ok=True)
    tailwind = Path(sys.executable).parent / "tailwindcss"
    subprocess.run([tailwind, "-i", STYLE_SOURCE, "-o", target, "--minify"], cwd=ROOT, check=True, capture_output=True)


if __name__ == "__main__":
    compile_translations()
    if STYLE_SOURCE.exists():
        build_style_sheet()
