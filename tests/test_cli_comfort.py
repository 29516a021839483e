"""What makes the command line pleasant: completion, help, suggestions, the man page, doctor."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import storing
import typer
from storing import StoringCodec, call, lines, one_line

import vitcodec
from vitcodec.cli import COMMANDS, app, completion, man, values
from vitcodec.cli.environment import ENVIRONMENT, EXIT_STATUS
from vitcodec.evaluation import measures
from vitcodec.pretrained import registry

ROOT = Path(__file__).parent.parent
HEAVY = ("torch", "numpy", "PIL", "timm", "scipy", "tqdm", "rich", "huggingface_hub", "onnxruntime")
MODELS = ("list", "show", "init", "download", "verify", "push")


@pytest.fixture(autouse=True)
def plain(monkeypatch):
    storing.install(monkeypatch)
    monkeypatch.delenv("VITCODEC_MODELS", raising=False)
    monkeypatch.setenv("COLUMNS", "80")


def run(*command, **environment):
    """A command in a process of its own, with this checkout's vitcodec."""
    variables = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"} | environment
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=variables)


def asked(*words, shell="zsh"):
    """The lines that a shell's script gets for the words up to the cursor."""
    return call("__complete", shell, *words).stdout.splitlines()


def completed(*words, shell="zsh"):
    """The words that fit."""
    answer = asked(*words, shell=shell)
    assert not answer or answer[0] == "words"
    return [line.partition("\t")[0] for line in answer[1:]]


# help


@pytest.mark.parametrize("words", [(), ("encode",), ("models",), ("models", "push"), ("help",)])
def test_help_of_a_command_is_what_its_option_prints(words):
    result = call("help", *words)
    assert result.exit_code == 0 and result.stdout.startswith("Usage: ")
    assert result.stdout == call(*words, "--help").stdout == call(*words, "-h").stdout


def test_version_and_no_command():
    assert call("-V").stdout == call("--version").stdout == f"vitcodec {vitcodec.__version__}\n"
    result = call()
    assert result.exit_code == 2 and result.stdout == call("--help").stdout


@pytest.mark.parametrize("command", [*((name,) for name in COMMANDS), *(("models", name) for name in MODELS)])
def test_help_fits_into_80_columns(command):
    text = call(*command, "--help").stdout
    # examples are to be copied in one piece
    assert not [line for line in text.splitlines() if len(line) > 80 and not line.startswith("  vitcodec ")]
    assert "{" not in text.splitlines()[0]
    for word in re.findall(r"\S+", text):
        assert not word.endswith("hf-"), "hf-hub: is broken at its hyphen"


def test_many_options_are_in_sections():
    text = call("encode", "--help").stdout
    headings = [line for line in text.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert headings == ["Arguments:", "Coding:", "Regions of interest:", "Files:", "Model and device:", "Messages:"]
    coding = text.partition("Coding:")[2].partition("Files:")[0]
    assert "--quality 1..100" in coding and "--overwrite" not in coding
    assert "[default: 3]" in text and "<=x<=" not in text and "[env: VITCODEC_DEVICE]" in " ".join(text.split())


# did you mean


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["enocde"], ["no command 'enocde'; did you mean encode? See vitcodec --help"]),
        (["help", "enocde"], ["did you mean encode?"]),
        (["models", "lsit"], ["no command 'lsit'; did you mean list? See vitcodec models --help"]),
        (["models", "conjure"], ["no command 'conjure'; there are list, show"]),
        (["--verison"], ["no option --verison; did you mean --version?"]),
        (["encode", "a.png", "--efort", "3"], ["did you mean --effort? See vitcodec encode --help"]),
        (["models", "show", "--jsno"], ["did you mean --json? See vitcodec models show --help"]),
        (["encode", "a.png", "--device", "cdua"], ["unknown device 'cdua'; did you mean cuda?"]),
        (["encode", "a.png", "--device", "tpu:0"], ["unknown device 'tpu:0'; give auto, cpu, cuda, cuda:N or mps"]),
        (["encode", "a.png", "--tune", "msssim"], ["unknown tuning 'msssim'; did you mean ms-ssim?"]),
        (["encode", "a.png", "--tune", "vmaf"], ["unknown tuning 'vmaf'; give psnr or ms-ssim"]),
        (["decode", "a.vitc", "--format", "jpgg"], ["unknown format 'jpgg'; did you mean jpg?"]),
        (["completion", "bsh"], ["no completion for 'bsh'; did you mean bash?"]),
        (["completion", "tcsh"], ["no completion for 'tcsh'; give bash, zsh or fish"]),
        (["encode", "a.png", "-q"], ["see vitcodec encode --help"]),
        (["help", "--all"], ["no option --all"]),
    ],
)
def test_usage_errors_say_what_may_have_been_meant(words, parts):
    one_line(call(*words), 2, *parts)


def test_names_of_models_that_are_nearly_right():
    one_line(call("models", "show", "swim"), 1, "unknown model 'swim'; did you mean swin? shipped: swin")
    one_line(call("models", "show", "conjured"), 1, "unknown model 'conjured'; shipped: swin")


def test_names_that_are_right_are_taken():
    for name in (*values.DEVICES, "cuda:3"):
        assert values.check_device(name) == name
    for name in (None, "png", ".PNG", "jpeg", "tiff", "jpeg2000"):
        assert values.check_format(name) == name


# completion


def test_commands_and_options_are_completed_with_what_they_do():
    assert completed("") == list(COMMANDS)
    assert asked("enc") == ["words", f"encode\t{COMMANDS['encode'][2]}"]
    assert completed("models", "") == list(MODELS)
    assert completed("help", "models", "p") == ["push"] and completed("help", "en") == ["encode"]
    assert completed("encode", "--target") == ["--target-bpp", "--target-size", "--target-psnr"]
    assert completed("--vers") == ["--version"]
    assert call("__complete", "bash", "--version", "en").stdout.startswith("words\nencode")


def test_values_are_completed():
    assert completed("encode", "a.png", "--device", "") == ["auto", "cpu", "cuda", "mps"]
    assert completed("encode", "--effort", "") == [str(effort) for effort in range(1, 10)]
    assert completed("encode", "--tile", "1") == ["128", "1024"]
    assert completed("decode", "--format", "j") == ["jpg", "jp2"]
    assert completed("encode", "--tune", "m") == ["ms-ssim"]
    assert completed("completion", "") == ["bash", "zsh", "fish"]
    assert completed("eval", "--baselines", "jpeg,we") == ["jpeg,webp"]
    assert completed("compare", "--metrics", "ssim,ss") == ["ssim,ssimulacra2"]
    assert measures.NAMES == values.METRICS
    assert "vit-b16" in completed("train", "-m", "") and "wavelet" in completed("train", "--init", "")


def test_models_are_completed(tmp_path, monkeypatch):
    shipped = [config.name for config in registry.available()]
    assert completed("encode", "-m", "") == shipped == completed("decode", "--model", "")
    folder = tmp_path / "models" / "own"
    folder.mkdir(parents=True)
    config = json.loads((ROOT / "weights" / "cnn" / "config.json").read_text("utf-8")) | {"name": "own-model"}
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    (folder / "model.safetensors").touch()
    monkeypatch.setenv("VITCODEC_MODELS", str(tmp_path / "models"))
    assert asked("encode", "-m", "own") == ["words", "own-model\tcnn"]
    assert set(completed("models", "show", "")) > {*shipped, "own-model", "vit-b16"}


def test_paths_are_the_shells_and_other_values_are_nobodys():
    for words in (["encode", ""], ["encode", "ph"], ["decode", "-o", ""], ["eval", "a.png", "--html", "x"]):
        assert asked(*words) == ["files"]
    assert asked("export", "") == ["files"] and asked("encode", "-m", "./x") == ["files"]
    for words in (
        ["encode", "--target-size", ""],
        ["encode", "--device", "x"],
        ["conjure", ""],
        ["help", "encode", ""],
    ):
        result = call("__complete", "zsh", *words)
        assert (result.exit_code, result.stdout, result.stderr) == (1, "", ""), words


def test_words_that_bash_has_split_are_joined():
    assert completion.joined(["encode", "--device", "=", "cu"]) == (["encode", "--device=cu"], "")
    assert completion.joined(["encode", "--device", "="]) == (["encode", "--device="], "")
    assert completion.joined(["-m", "hf-hub", ":", "org/na"]) == (["-m", "hf-hub:org/na"], "hf-hub:")
    assert completion.joined(["-m", "a", ":", "b", "c"]) == (["-m", "a:b", "c"], "")
    assert completion.joined(["--model", "=", "a", ":"]) == (["--model=a:"], "a:")
    assert completed("encode", "--device", "=", "cu", shell="bash") == ["cuda"]
    assert completed("encode", "--device=cu", shell="zsh") == ["cuda"]
    assert completed("encode", "--device=cu", shell="fish") == ["--device=cuda"]


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_completes(tmp_path):
    """The script, sourced by a real bash, with what bash gives it when TAB is pressed."""
    script = r"""
vitcodec() { "$PYTHON" -m vitcodec "$@"; }
compopt() { echo "compopt $*"; }
source <(vitcodec completion bash)
complete -p vitcodec
press() {
    COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
    _vitcodec vitcodec
    printf '%s|' "${COMPREPLY[@]}"; echo
}
press vitcodec enc
press vitcodec encode 'my photo.png' --device = cu
press vitcodec models ''
press vitcodec encode -
press vitcodec encode ph
press vitcodec conjure ''
"""
    result = run("bash", "--norc", "-c", script, PYTHON=sys.executable)
    found = result.stdout.splitlines()
    assert result.stderr == "" and found[0] == "complete -F _vitcodec vitcodec"
    assert found[1:4] == ["encode|", "cuda|", "".join(f"{name}|" for name in MODELS)]
    assert "|--quality|" in found[4]
    assert found[5:] == ["compopt -o default", "|", "|"]


@pytest.mark.parametrize("shell", completion.SCRIPTS)
def test_scripts(shell):
    result = call("completion", shell)
    assert result.exit_code == 0 and f"__complete {shell}" in result.stdout and "_vitcodec" in result.stdout
    marks = {"bash": "complete -F _vitcodec", "zsh": "#compdef vitcodec\n", "fish": "complete -c vitcodec -f"}
    assert marks[shell] in result.stdout
    assert f"vitcodec completion {shell} > ~/" in call("completion", "--help").stdout
    if shutil.which(shell):
        checked = subprocess.run([shell, "-n"], input=result.stdout, capture_output=True, text=True)
        assert checked.returncode == 0 and checked.stderr == ""


def test_nothing_heavy_is_imported():
    script = f"""
import sys
from vitcodec.cli import main
for words in (["help", "encode"], ["-V"], ["completion", "zsh"], ["__complete", "zsh", "encode", "-m", ""],
              ["__complete", "fish", "train", "--"], ["models", "lsit"]):
    sys.argv = ["vitcodec", *words]
    try:
        main()
    except SystemExit:
        pass
from vitcodec.cli import man
man.page()
print("heavy:", *sorted({{m.split(".")[0] for m in sys.modules}} & set({HEAVY})))
"""
    result = run(sys.executable, "-c", script)
    assert result.returncode == 0 and result.stdout.splitlines()[-1] == "heavy:", result.stdout[-300:]


# the man page


def test_man_page_is_what_the_commands_say():
    kept = (ROOT / "docs" / "vitcodec.1").read_text("utf-8")
    assert kept == man.page(), "run make docs"


def test_man_page_has_everything():
    text = man.page().replace("\\-", "-")
    for section in ("NAME", "SYNOPSIS", "DESCRIPTION", "COMMANDS", "EXIT STATUS", "ENVIRONMENT", "FILES", "EXAMPLES"):
        assert f"\n.SH {section}\n" in text
    root = typer.main.get_command(app)
    for name in COMMANDS:
        command = root.get_command(typer.Context(root), name)
        if name == "models":
            assert all(f'\n.SS "vitcodec models {inner}"\n' in text for inner in MODELS)
            continue
        part = text.partition(f'\n.SS "vitcodec {name}"\n')[2].partition("\n.S")[0]
        for parameter in command.params:
            assert all(option in part for option in parameter.opts if option.startswith("--")), parameter.opts
    assert all(f"\n\\fB{name}\\fR\n" in text for name in (*ENVIRONMENT, *map(str, EXIT_STATUS)))
    assert not [line for line in text.splitlines() if re.match(r"\.(?!\\\"|TH|SH|SS|TP|PP|RS|RE|nf|fi|br)", line)]


@pytest.mark.skipif(shutil.which("groff") is None, reason="there is no groff")
def test_man_page_has_no_warnings():
    result = subprocess.run(["groff", "-man", "-Tascii", "-ww", ROOT / "docs" / "vitcodec.1"], capture_output=True)
    assert result.returncode == 0 and result.stderr == b"" and b"there and back" in result.stdout


def test_environment_variables_are_described():
    read = {
        name for path in (ROOT / "vitcodec").rglob("*.py") for name in re.findall(r"VITCODEC_[A-Z]+", path.read_text())
    }
    page = (ROOT / "docs" / "cli.md").read_text("utf-8")
    assert read and read <= ENVIRONMENT.keys()
    assert all(f"`{name}`" in page for name in (*ENVIRONMENT, *map(str, EXIT_STATUS), *COMMANDS))


# doctor


def test_doctor():
    result = call("doctor")
    assert result.exit_code == 0 and result.stderr.startswith("checking libraries") and "all is well" in result.stderr
    assert {line[:2] for line in result.stdout.splitlines()} == {"ok"} and "by stored in" in result.stdout
    assert StoringCodec.loads == 1
    *rows, summary = lines(call("doctor", "--json"))
    assert all(row["status"] == "ok" and row["detail"] for row in rows)
    assert summary["done"] == len(rows) and summary["failed"] == 0 and summary["schema_version"] == 1
    assert {"vitcodec", "torch", "settings", "model swin", "there and back"} <= {row["check"] for row in rows}


def test_doctor_names_remedies(monkeypatch, tmp_path):
    def broken(*_, **changes):
        raise ImportError("no such symbol")

    monkeypatch.setenv("VITCODEC_MODEL", "swim")
    monkeypatch.setattr("vitcodec.cli.doctor._entropy_coder", broken)
    monkeypatch.setattr("vitcodec.cli.doctor.importlib.metadata.requires", lambda name: ["numpy>=99", "nonsense>=1"])
    result = call("doctor")
    assert result.exit_code == 1 and "3 of " in result.stderr
    assert "VITCODEC_MODEL: unknown model 'swim'; did you mean swin?" in result.stderr
    assert "pip install --force-reinstall constriction" in result.stderr
    assert "nonsense is missing; pip install 'numpy>=99' 'nonsense>=1'" in result.stderr
    monkeypatch.setenv("VITCODEC_MODEL", "")
    monkeypatch.setenv("VITCODEC_MODELS", str(tmp_path / "absent"))
    assert "absent: no such folder; correct it or unset VITCODEC_MODELS" in call("doctor").stderr


def test_doctor_of_this_installation_needs_no_torch():
    script = """
import sys
from vitcodec.cli import main
sys.argv = ["vitcodec", "doctor", "--device", "cpu", "--json"]
try:
    main()
except SystemExit as end:
    print(end.code, "torch" in sys.modules)
"""
    result = run(sys.executable, "-c", script)
    *rows, code = result.stdout.splitlines()
    assert code == "0 False", result.stdout
    assert "96x64 by swin" in json.loads(rows[-2])["detail"]
