"""What is shipped but not written by hand is what its sources say: the style sheet, and Chinese for every sentence."""

import ast
import re
from pathlib import Path

import hatch_build
from babel.messages.pofile import read_po

CHANNELS = Path(hatch_build.ROOT) / "src" / "refill" / "channels"
CHINESE = CHANNELS / "people" / "locale" / "zh_Hans" / "LC_MESSAGES" / "django.po"


def test_the_style_sheet_is_built_from_its_source(tmp_path: Path) -> None:
    hatch_build.build_style_sheet(tmp_path / "app.css")
    assert (tmp_path / "app.css").read_bytes() == hatch_build.STYLE_SHEET.read_bytes(), "run: make assets"


def test_every_sentence_has_its_chinese() -> None:
    with CHINESE.open("rb") as file:
        chinese = {message.id: message.string for message in read_po(file, locale="zh_Hans") if message.id}
    assert [said for said, translated in chinese.items() if not translated] == []
    assert sorted(sentences() - set(chinese)) == []
    assert sorted(set(chinese) - sentences()) == [], "nobody says this any more"


def test_chinese_keeps_the_places_of_values() -> None:
    with CHINESE.open("rb") as file:
        for message in read_po(file, locale="zh_Hans"):
            if message.id:
                assert places(message.id) == places(message.string), message.id


def places(text: str) -> set[str]:
    return set(re.findall(r"%\([a-z]+\)s", text))


def sentences() -> set[str]:
    """All that templates and modules of people's pages mark for translation."""
    found: set[str] = set()
    for page in CHANNELS.rglob("templates/**/*.html"):
        text = page.read_text()
        found |= {match[2] for match in re.finditer(r"{% translate (['\"])(.+?)\1", text)}
        blocks = re.findall(r"{% blocktranslate[^%]*%}(.*?){% endblocktranslate %}", text, re.S)
        found |= {re.sub(r"{{ ([a-z]+) }}", r"%(\1)s", block) for block in blocks}
    for module in CHANNELS.rglob("*.py"):
        for node in ast.walk(ast.parse(module.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("_", "gettext", "gettext_lazy"):
                found |= {word.value for word in node.args[:1] if isinstance(word, ast.Constant)}
    return found
