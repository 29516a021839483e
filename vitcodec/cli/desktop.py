"""`vitcodec desktop`: make .vitc files known to a Linux desktop, and forget them again."""

from __future__ import annotations

from .. import desktop
from . import new_app, options
from .output import DONE, FAILED, Output

app = new_app(help="Make .vitc files known to a Linux desktop: type, thumbnails, viewer.")


@app.command("install", short_help="For this user: file type, thumbnails, and a viewer.")
def install_command(dry_run: options.DryRun = False, json: options.Json = False, quiet: options.Quiet = False) -> int:
    """Make .vitc files known to this user's desktop, by three small files below $XDG_DATA_HOME (~/.local/share).

    They hold the type of .vitc files, what makes thumbnails of them, and what shows them.

    \b
    vitcodec desktop install --dry-run
    vitcodec desktop install
    """
    out = Output(json, quiet)
    desktop.check_system()
    folder, words = desktop.data_home(), desktop.program()
    wanted = desktop.entries(folder, words)
    before = {entry.path: entry.state for entry in wanted}
    if not dry_run:
        desktop.install(wanted)
    for entry in wanted:
        status = {"absent": "written", "outdated": "written", "installed": "unchanged"}.get(
            before[entry.path], "foreign"
        )
        status = "planned" if dry_run and status == "written" else status
        _tell(out, entry, status)
    if not dry_run:
        _update(out, folder)
    if desktop.sandboxed_out(words):
        out.warn(
            f"GNOME Files makes no thumbnails with programs outside /usr, as {words[0]} is; other file managers do"
        )
    out.summary({"command": "desktop install", "dry_run": dry_run, "files": len(wanted)})
    return FAILED if "foreign" in before.values() else DONE


@app.command("uninstall", short_help="Remove what install has written.")
def uninstall_command(dry_run: options.DryRun = False, json: options.Json = False, quiet: options.Quiet = False) -> int:
    """Remove the files that install has written, and nothing else.

    \b
    vitcodec desktop uninstall --dry-run
    vitcodec desktop uninstall
    """
    out = Output(json, quiet)
    desktop.check_system()
    folder, removed = desktop.data_home(), 0
    for entry in desktop.entries(folder, desktop.program()):
        state = entry.state
        ours = state in ("installed", "outdated")
        removed += ours and (dry_run or desktop.uninstall(entry))
        _tell(out, entry, ("planned" if dry_run else "removed") if ours else state)
    if removed and not dry_run:
        _update(out, folder)
    if not removed:
        out.say("nothing to do: nothing is installed")
    out.summary({"command": "desktop uninstall", "dry_run": dry_run, "files": removed})
    return DONE


def _tell(out: Output, entry: desktop.Entry, status: str) -> None:
    words = {"foreign": "not written by vitcodec, and left alone"}
    if status != "absent" and not out.quiet:
        out.result(f"{entry.path}: {words.get(status, status)}")
    out.record({"file": str(entry.path), "status": status})


def _update(out: Output, folder: desktop.Path) -> None:
    for name, problem in desktop.update_caches(folder):
        if problem:
            out.warn(f"{name}: {problem}")
