"""`vitcodec view`: decode to PNG, and let the system's viewer or browser show it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import webbrowser
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from .. import files
from ..bitstream import container
from ..bitstream.glance import glance
from ..errors import OutputError, UsageError
from ..options import DecodeOptions
from . import codecs, decode, described, options, outputs, view_page
from .output import DONE, FAILED, Output, explain, one_line

Browser = Annotated[bool, typer.Option("--browser", help="Show a page with the pictures and what is known of them.")]
Web = Annotated[bool, typer.Option("--web", help="Let the browser decode them, on a page with a zoom. Until Ctrl-C.")]
NoOpen = Annotated[bool, typer.Option("--no-open", help="Write only, and print what was written.")]
_PATIENCE = 2  # seconds in which a viewer that cannot be started says so


@dataclass(frozen=True)
class Shown:
    """A decoded file. record: as `info` has it."""

    source: str
    png: Path
    record: dict[str, Any]


def view_command(
    inputs: options.Inputs,
    browser: Browser = False,
    web: Web = False,
    no_open: NoOpen = False,
    fit: decode.Fit = None,
    recursive: options.Recursive = False,
    device: options.Device = "auto",
    threads: options.Threads = None,
    max_pixels: options.MaxPixels = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> int:
    """Show .vitc files: each as a PNG in the system's viewer, or all on one page in the browser.

    What is shown is written to a new folder among the temporary files. With --web nothing is written: a server on this
    machine gives the files to a page that decodes them itself.

    \b
    vitcodec view photo.vitc
    vitcodec view photo.vitc --fit 1600x1200
    vitcodec view small/ --browser
    vitcodec view photo.vitc --web
    """
    out = Output(json, quiet, verbose)
    box = decode.box_of(fit, 0)
    if web and (browser or box):
        raise UsageError(f"--web and {'--browser' if browser else '--fit'} do not go together; leave one of them out")
    found = outputs.without_wrong_kinds(files.find_inputs(inputs, {files.SUFFIX}, recursive), vitc=True)
    failed = [_fail(out, problem.name, problem.error) for problem in found.problems]
    if web and found.sources:
        return _on_web(out, found.sources, no_open, failed)
    shown: list[Shown] = []
    folder = Path()
    if found.sources:
        folder = Path(tempfile.mkdtemp(prefix="vitcodec-view-"))
        decoders = codecs.Decoders(None, device, threads, lambda codec: options.say_device(out, codec, device))
        with out.progress(len(found.sources)) as bar:
            for source in found.sources:
                try:
                    with bar.within(one_line(source.name)):
                        shown.append(_decoded(source, decoders, box, max_pixels, _free(folder, source)))
                except Exception as error:  # one bad file does not stop the others
                    failed.append(_fail(out, source.name, error))
                bar.advance()
        if not shown:
            shutil.rmtree(folder, ignore_errors=True)
    elif not found.problems:
        out.say("nothing to do: no .vitc file was found")
    opened = _present(out, shown, folder, browser, no_open) if shown else None
    total = len(found.sources) + len(found.problems)
    out.summary({"command": "view", "done": len(shown), "failed": len(failed), "opened": opened})
    out.failures(failed, total)
    return FAILED if failed or opened is False else DONE


def _on_web(out: Output, sources: Sequence[files.Source], no_open: bool, failed: list[str]) -> int:
    from . import view_web

    opened = view_web.show(out, view_web.start(sources), None if no_open else open_address)
    out.summary({"command": "view", "done": len(sources), "failed": len(failed), "opened": opened})
    out.failures(failed, len(sources) + len(failed))
    return FAILED if failed else DONE


def _fail(out: Output, name: str, error: Exception) -> str:
    line = explain(error, name).line
    out.record({"file": name, "output": None, "status": "failed", "error": line})
    return line


def _free(folder: Path, source: files.Source) -> Path:
    """A name for a source's PNG that no other has."""
    stem = "stdin" if source.path is None else source.path.stem or "picture"
    names = (f"{stem}{'' if number == 1 else f'-{number}'}.png" for number in range(1, sys.maxsize))
    return next(folder / name for name in names if not (folder / name).exists())


def _decoded(
    source: files.Source, decoders: codecs.Decoders, box: tuple[int, int] | None, max_pixels: int | None, png: Path
) -> Shown:
    from ..images import MAX_PIXELS, resized, write_image

    with decode.stream_of(source) as stream:
        found = glance(stream, source.name, container.METADATA.keys() - {"ALPH"})
        decode.check_size(found.header, max_pixels or MAX_PIXELS, source.name)
        how, size = decode.fitting(found.header, DecodeOptions(), box) if box else (DecodeOptions(), None)
        stream.seek(0)
        contents = container.unpack(stream, how.reduce + 1, source.name)
        length = stream.seek(0, os.SEEK_END)
    picture = decoders.of(found.header).decode(contents, how)
    write_image(resized(picture, *size) if size else picture, png)
    return Shown(source.name, png, described.record_of(source.name, length, found))


def _present(out: Output, shown: Sequence[Shown], folder: Path, browser: bool, no_open: bool) -> bool | None:
    """Show what was decoded, and say where it is. Returns whether it is shown, None where that was not asked for."""
    viewer = None if browser or no_open else system_viewer()
    page = None if viewer or (no_open and not browser) else _page(shown, folder)
    opened = None if no_open else open_page(page) if page else open_pictures(viewer or [], [one.png for one in shown])
    if opened is False and page is None:
        page = _page(shown, folder)
        opened = open_page(page)
    for one in shown:
        place = page or one.png
        status = {"status": "done", "width": one.record["width"], "height": one.record["height"]}
        out.record({"file": one.source, "output": str(place), "png": str(one.png), **status})
        if page is None:
            (out.result if no_open else out.say)(str(one.png) if no_open else f"{one_line(one.source)}: {one.png}")
    if opened is False:
        out.error(f"no viewer and no browser can be started here; what they would show is {page}")
    elif page is not None:
        (out.result if no_open else out.say)(str(page) if no_open else f"page: {page}")
    return opened


def _page(shown: Sequence[Shown], folder: Path) -> Path:
    page = folder / "page.html"
    files.write_atomic(page, view_page.page([(one.record, one.png.read_bytes()) for one in shown]).encode())
    return page


def system_viewer() -> list[str] | None:
    """The command that opens a picture in the program that the user likes; None where there is none."""
    if sys.platform == "win32":
        return ["explorer"]
    name = "open" if sys.platform == "darwin" else "xdg-open"
    path = shutil.which(name) if sys.platform == "darwin" or _has_display() else None
    return [path] if path else None


def _has_display() -> bool:
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def open_pictures(viewer: list[str], pictures: Sequence[Path]) -> bool:
    """Start the viewer for each picture. Returns whether all could be, as far as that shows at once."""
    quiet: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
    for picture in pictures:
        try:
            process = subprocess.Popen([*viewer, str(picture)], start_new_session=True, **quiet)
            # explorer ends with 1 whatever happens
            if process.wait(_PATIENCE) and sys.platform != "win32":
                return False
        except subprocess.TimeoutExpired:  # it is the viewer itself, and shows the picture
            continue
        except OSError:
            return False
    return True


def open_page(page: Path) -> bool:
    """Show a page in the default browser. Returns whether there is one."""
    return open_address(page.as_uri())


def open_address(address: str) -> bool:
    """The same by its address. Raises OutputError."""
    if not (sys.platform in ("win32", "darwin") or _has_display() or os.environ.get("BROWSER")):
        return False
    try:
        return webbrowser.open(address)
    except (OSError, webbrowser.Error) as error:
        raise OutputError(f"{address}: the browser cannot be started ({error})") from error
