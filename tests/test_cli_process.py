"""The command line in a process of its own: what it imports, exit codes, terminals, Ctrl-C; and names of the API."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import storing
from storing import call

import vitcodec

HEAVY = ("torch", "numpy", "PIL", "timm", "scipy", "tqdm", "rich", "huggingface_hub")


@pytest.fixture(autouse=True)
def storing_codec(monkeypatch):
    storing.install(monkeypatch)


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """photos/{a.png, b.jpg} and photos/sub/c.png; the working folder is above them."""
    monkeypatch.chdir(tmp_path)
    storing.make_photos(tmp_path)
    return tmp_path


# in a process of its own


def run_python(*args, **kwargs):
    """Python with this checkout's vitcodec, installed or not."""
    environment = os.environ | {"PYTHONPATH": str(Path(vitcodec.__file__).parent.parent)}
    # a shell's background jobs ignore Ctrl-C, and so would their children
    defaults = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
    return subprocess.run(
        [sys.executable, *args], **{"capture_output": True, "timeout": 60, "env": environment} | defaults | kwargs
    )


def test_help_version_and_info_import_nothing_heavy(photos):
    call("encode", "photos/a.png", "-o", "a.vitc")
    script = """
import sys
from vitcodec.cli import app
from vitcodec.cli import main
def run(*args):
    sys.argv = ["vitcodec", *args]
    try:
        main()
    except SystemExit as end:
        assert not end.code, (args, end.code)
run("--version"); run("--help"); run("info", "a.vitc"); run("models", "list"); run("encode", "-n", "photos")
for command in ("encode", "decode", "view", "desktop", "eval", "compare", "train", "export", "doctor"):
    run(command, "--help")
import vitcodec
assert vitcodec.errors.VitcodecError and "Codec" in dir(vitcodec)
print("heavy:", *sorted({m.split(".")[0] for m in sys.modules} & set(sys.argv_heavy)))
""".replace("sys.argv_heavy", repr(HEAVY))
    result = run_python("-c", script, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[0] == f"vitcodec {vitcodec.__version__}"
    assert result.stdout.splitlines()[-1] == "heavy:"


def test_exit_codes_of_the_process(photos):
    assert run_python("-m", "vitcodec", "--version", text=True).stdout == f"vitcodec {vitcodec.__version__}\n"
    result = run_python("-m", "vitcodec", "info", "absent.vitc", text=True)
    assert result.returncode == 1 and result.stderr == "error: absent.vitc: no such file or folder\n"
    result = run_python("-m", "vitcodec", "encode", "photos/a.png", "-q", "101", text=True)
    assert result.returncode == 2 and result.stderr.count("\n") == 1


def test_never_binary_to_a_terminal(photos):
    call("encode", "photos/a.png", "-o", "a.vitc")
    master, terminal = pty.openpty()
    try:
        streams = {"stdin": subprocess.DEVNULL, "stdout": terminal, "stderr": subprocess.PIPE}
        result = run_python("-m", "vitcodec", "decode", "a.vitc", "-o", "-", capture_output=False, **streams)
    finally:
        os.close(terminal)
    assert result.returncode == 2 and b"terminal" in result.stderr
    os.set_blocking(master, False)
    with pytest.raises(OSError):
        os.read(master, 1)
    os.close(master)


def test_ctrl_c(photos):
    script = """
import os, signal, sys, time
from vitcodec import files
from vitcodec.cli import main
files.find_inputs = lambda *_: os.kill(os.getpid(), signal.SIGINT) or time.sleep(10)
sys.argv = ["vitcodec", "info", "a.vitc"]
main()
"""
    result = run_python("-c", script, text=True)
    assert result.returncode == 130 and "Traceback" not in result.stderr


def test_api_names_are_there():
    for name in vitcodec.__all__:
        if name not in ("Codec", "encode", "decode"):  # these load torch
            assert getattr(vitcodec, name)
    with pytest.raises(AttributeError):
        vitcodec.nonsense  # noqa: B018
