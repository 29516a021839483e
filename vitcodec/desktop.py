"""What tells a freedesktop system of .vitc files: their type, what makes thumbnails of them, and what shows them.

By the Shared MIME Info, Desktop Entry and Thumbnail Managing specifications, for one user. Every file says who wrote
it, and no other is replaced or removed.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from .bitstream.container import MAGIC
from .errors import OutputError, UsageError
from .filesystem.atomic import write_atomic
from .filesystem.suffixes import SUFFIX

MIME = "image/x-vitcodec"
_MARK = "Written by vitcodec desktop install; vitcodec desktop uninstall removes it."


@dataclass(frozen=True)
class Entry:
    """A file to install."""

    path: Path
    text: str

    @property
    def state(self) -> str:
        """Of what lies at its path: "absent", "installed", "outdated" (of another vitcodec) or "foreign"."""
        try:
            there = self.path.read_text("utf-8")
        except FileNotFoundError:
            return "absent"
        except (OSError, UnicodeDecodeError):
            return "foreign"
        return "installed" if there == self.text else "outdated" if _MARK in there else "foreign"


def check_system() -> None:
    """Raises UsageError where there is no freedesktop."""
    if sys.platform in ("win32", "cygwin", "darwin"):
        raise UsageError("desktop is for Linux and other freedesktop systems; vitcodec view shows files here too")


def data_home() -> Path:
    """$XDG_DATA_HOME, or ~/.local/share."""
    stated = os.environ.get("XDG_DATA_HOME", "")
    return Path(stated) if os.path.isabs(stated) else Path.home() / ".local" / "share"


def program() -> list[str]:
    """The words, the first with its full path, by which other programs start this vitcodec."""
    called, scripts = Path(sys.argv[0]), Path(sysconfig.get_path("scripts"), "vitcodec")
    for path in (called, scripts):
        if path.name == "vitcodec" and path.is_file() and os.access(path, os.X_OK):
            return [os.path.abspath(path)]
    return [sys.executable, "-m", "vitcodec"]


def sandboxed_out(words: Sequence[str]) -> bool:
    """Whether GNOME cannot start a program for thumbnails: there they see nothing but /usr."""
    return not all(Path(place).is_relative_to("/usr") for place in (words[0], sys.prefix, sys.base_prefix))


def entries(folder: Path, words: Sequence[str]) -> list[Entry]:
    """All files to install. folder: data_home(); words: program()."""
    start = " ".join(map(_quoted, words))
    thumbnail = f"{start} decode --fit %sx%s --format png --strip --overwrite --quiet -o %o %i"
    return [
        Entry(folder / "mime" / "packages" / "vitcodec.xml", _mime()),
        Entry(
            folder / "thumbnailers" / "vitcodec.thumbnailer",
            _keys("Thumbnailer Entry", TryExec=_string(words[0]), Exec=_string(thumbnail), MimeType=f"{MIME};"),
        ),
        Entry(
            folder / "applications" / "vitcodec-view.desktop",
            _keys(
                "Desktop Entry",
                Type="Application",
                Name="vitcodec view",
                Comment="Show .vitc images",
                Icon="image-x-generic",
                TryExec=_string(words[0]),
                Exec=_string(f"{start} view %F"),
                MimeType=f"{MIME};",
                Categories="Graphics;Viewer;",
                NoDisplay="true",
                Terminal="false",
            ),
        ),
    ]


def install(wanted: Sequence[Entry]) -> None:
    """Write files, those of another vitcodec anew. Raises OutputError, before any is written where one is foreign."""
    for entry in wanted:
        if entry.state == "foreign":
            raise OutputError(f"{entry.path}: exists, and vitcodec did not write it; move it away")
    for entry in wanted:
        if entry.state != "installed":
            write_atomic(entry.path, entry.text.encode(), overwrite=True)


def uninstall(entry: Entry) -> bool:
    """Remove a file if install wrote it. Returns whether it did. Raises OutputError."""
    if entry.state not in ("installed", "outdated"):
        return False
    try:
        entry.path.unlink()
    except OSError as error:
        raise OutputError(f"{entry.path}: cannot be removed ({error.strerror})") from error
    return True


def update_caches(folder: Path) -> list[tuple[str, str]]:
    """Let the system read its folders anew. Returns each program that does so, and what went wrong: "" for nothing."""
    outcomes = []
    for name, part in (("update-mime-database", "mime"), ("update-desktop-database", "applications")):
        if not (folder / part).is_dir():
            continue
        path = shutil.which(name)
        if path is None:
            outcomes.append((name, "is not installed; the change may show after the next login"))
            continue
        done = subprocess.run([path, str(folder / part)], capture_output=True, text=True)
        said = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        outcomes.append((name, said if done.returncode else ""))
    return outcomes


def _mime() -> str:
    magic = "".join(chr(byte) if 32 < byte < 127 else f"\\x{byte:02x}" for byte in MAGIC)
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<!-- {_MARK} -->
<mime-info xmlns="http://www.freedesktop.org/standards/shared-mime-info">
  <mime-type type={quoteattr(MIME)}>
    <comment>{escape("vitcodec image")}</comment>
    <comment xml:lang="es">imagen vitcodec</comment>
    <generic-icon name="image-x-generic"/>
    <glob pattern={quoteattr("*" + SUFFIX)}/>
    <magic priority="60">
      <match type="string" offset="0" value={quoteattr(magic)}/>
    </magic>
  </mime-type>
</mime-info>
"""


def _keys(group: str, **values: str) -> str:
    return "\n".join([f"# {_MARK}", f"[{group}]", *(f"{key}={value}" for key, value in values.items()), ""])


def _quoted(word: str) -> str:
    """A word of an Exec line, in which % stands for an argument."""
    word = word.replace("%", "%%")
    return word if re.fullmatch(r"[\w@%+=:,./-]+", word) else '"' + re.sub(r'(["`$\\])', r"\\\1", word) + '"'


def _string(text: str) -> str:
    """A value of a desktop entry."""
    return text.replace("\\", "\\\\")
