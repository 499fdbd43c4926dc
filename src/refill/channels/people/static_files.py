"""Static files under names that carry their content, so that browsers keep them for ever and never see an old one."""

import re
from functools import lru_cache
from hashlib import sha256
from pathlib import Path, PurePosixPath

from django.contrib.staticfiles import finders
from django.contrib.staticfiles.storage import StaticFilesStorage
from whitenoise.middleware import WhiteNoiseMiddleware

_NAMED = re.compile(r"(?P<before>.+)\.(?P<mark>[0-9a-f]{12})(?P<after>\.[a-z0-9]+)")


@lru_cache(maxsize=1024)
def content_mark(name: str) -> str | None:
    """Twelve hexadecimal digits of the file's content, or None for a file that we do not have."""
    found = finders.find(name)
    return sha256(Path(found).read_bytes()).hexdigest()[:12] if found else None


class NamedByContent(StaticFilesStorage):
    """Writes app.css as app.<mark>.css; nothing is copied, so the first start waits for no collecting."""

    def url(self, name: str) -> str:
        mark = content_mark(name)
        path = PurePosixPath(name)
        return super().url(str(path.with_name(f"{path.stem}.{mark}{path.suffix}")) if mark else name)


class StaticFiles(WhiteNoiseMiddleware):
    """Serves the installed files under their plain name for a minute, under their marked name for ever."""

    def __call__(self, request):
        path = request.path_info
        if path not in self.files and path.startswith(self.static_prefix):
            self._remember(path)
        return super().__call__(request)

    def _remember(self, path: str) -> None:
        named = _NAMED.fullmatch(path)
        if named is None:
            return
        plain = named["before"] + named["after"]
        name = plain.removeprefix(self.static_prefix)
        if plain in self.files and content_mark(name) == named["mark"]:
            self.files[path] = self.get_static_file(str(finders.find(name)), path)

    def immutable_file_test(self, path: str, url: str) -> bool:
        return _NAMED.fullmatch(url) is not None
