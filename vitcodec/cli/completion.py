"""`vitcodec completion SHELL`, and the answers that its scripts ask for.

typer knows which word of a command line is an option, a value or an argument. Its own scripts are not used: bash loses
the value of `--device=cu`, zsh completes nothing the first time, and descriptions import rich, which takes longer than
the rest. Here a script runs `vitcodec __complete SHELL WORDS...`, WORDS being those up to the cursor, and gets lines:
first what the shell is to do, `words` or `files`, then each word with a tab and its description.
"""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from ..errors import UsageError
from ..suggestions import advice
from . import values
from .layout import Group
from .output import debugging

BASH = r"""# completion of vitcodec for bash
_vitcodec() {
    local answer line
    COMPREPLY=()
    answer=$("${1/#\~/$HOME}" __complete bash "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null) || return
    if [[ $answer == files* ]]; then
        compopt -o default
        return
    fi
    while IFS= read -r line; do
        [[ $line == words ]] || COMPREPLY+=("${line%%$'\t'*}")
    done <<<"$answer"
}
complete -F _vitcodec vitcodec
"""

ZSH = r"""#compdef vitcodec
# completion of vitcodec for zsh
_vitcodec() {
    local answer line word
    local -a described
    answer=$("${(Q)words[1]/#\~/$HOME}" __complete zsh "${(@Q)words[2,CURRENT]}" 2>/dev/null) || return
    [[ $PREFIX == -*=* ]] && compset -P '*='
    if [[ $answer == files* ]]; then
        _files
        return
    fi
    for line in "${(@f)answer}"; do
        [[ $line == words ]] && continue
        word=${${line%%$'\t'*}//:/\\:}
        [[ $line == *$'\t'* ]] && word+=":${line#*$'\t'}"
        described+=("$word")
    done
    _describe -V word described
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    _vitcodec "$@"
else
    compdef _vitcodec vitcodec
fi
"""

FISH = r"""# completion of vitcodec for fish
function __vitcodec_words
    set -l words (commandline -opc)
    set -l word (commandline -ct)
    test -n "$word"; or set word ""
    set -l program (string replace -r '^~' $HOME -- $words[1])
    set -l answer ($program __complete fish $words[2..-1] $word 2>/dev/null); or return
    if test "$answer[1]" = files
        set -l option (string match -r -- '^--[a-z-]+=' $word)
        __fish_complete_path (string replace -r -- '^--[a-z-]+=' '' $word) | string replace -r -- '^' "$option"
    else
        printf '%s\n' $answer[2..-1]
    end
end
complete -c vitcodec -f -a '(__vitcodec_words)'
"""

SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}
# what the value of a parameter can be a file of, by its metavar or its type
PATHS = frozenset(("PATH", "FILE", "FOLDER", "INPUT", "DATA", "IMAGE", "RUN", "DIRECTORY"))

Shell = Annotated[
    str,
    typer.Argument(
        metavar="bash|zsh|fish",
        show_default=False,
        help="The shell that the script is for.",
        autocompletion=values.one_of(*SCRIPTS),
    ),
]


def completion_command(shell: Shell) -> None:
    """Print a script that completes commands, options, their values, names of models, and files.

    To install it, write it to where the shell looks, and open a new shell. The folder has to be there: mkdir -p makes
    it. zsh looks in ~/.zfunc if ~/.zshrc has fpath+=~/.zfunc before compinit.

    \b
    vitcodec completion bash > ~/.local/share/bash-completion/completions/vitcodec
    vitcodec completion zsh > ~/.zfunc/_vitcodec
    vitcodec completion fish > ~/.config/fish/completions/vitcodec.fish
    source <(vitcodec completion bash)             for this shell alone
    """
    if shell not in SCRIPTS:
        raise UsageError(f"no completion for '{shell}'; {advice(shell, SCRIPTS)}")
    print(SCRIPTS[shell], end="")


def answer(commands: Group, asked: list[str]) -> int:
    """Print what can stand at the cursor. asked: the shell, and the words up to the cursor without the program's.

    Nothing is printed where nothing fits; returns the exit code, which is not 0 then.
    """
    shell, *words = asked or [""]
    words = words or [""]
    before = ""  # of the word, what the shell has already, or is to get again
    if shell == "bash":
        words, before = joined(words)
    *words, word = words
    try:
        kind, found = candidates(commands, words, word)
    except Exception:  # a command line that is wrong so far has no end
        if debugging():
            raise
        return 1
    if shell == "fish" and word.startswith("-") and "=" in word:
        before = word[: word.index("=") + 1]
    lines = []
    for text, description in found:
        text = text.removeprefix(before) if shell == "bash" else before + text
        lines.append(f"{text}\t{description}" if description else text)
    if not lines and kind != "files":
        return 1
    print("\n".join([kind, *lines]))
    return 0


def joined(words: list[str]) -> tuple[list[str], str]:
    """Words that bash has split at = and :, whole again, and what of the last one stands before its last colon."""
    whole: list[str] = []
    glue, before = False, ""
    for index, word in enumerate(words):
        if word == ":" or (word == "=" and whole and whole[-1].startswith("-")):
            whole[-1:] = [whole[-1] + word] if whole else [word]
            glue = True
        elif glue:
            whole[-1] += word
            glue = False
        else:
            whole.append(word)
        if index == len(words) - 1 and ":" in words:
            value = whole[-1].partition("=")[2] if whole[-1].startswith("-") else whole[-1]
            before = value[: value.rfind(":") + 1]
    return whole, before


def candidates(commands: Group, words: list[str], word: str) -> tuple[str, list[tuple[str, str]]]:
    """What the shell is to complete, `words` or `files`, and words with descriptions. Raises typer's usage errors."""
    from typer._completion_classes import BashComplete

    # the module of its base class is Click's, which typer brings or imports, by its version
    click: Any = sys.modules[BashComplete.__mro__[1].__module__]
    helping = words[:1] == ["help"]
    words = words[1:] if helping else words
    context = click._resolve_context(commands, {}, "vitcodec", list(words))
    thing, word = click._resolve_incomplete(context, list(words), word)
    if helping and not isinstance(thing, Group):
        return "words", []
    if isinstance(thing, Group) and not word.startswith("-"):
        return "words", [row for row in thing.summaries(context) if row[0].startswith(word)]
    found = [(item.value, _one_line(item.help)) for item in thing.shell_complete(context, word)]
    return ("files" if not found and _takes_files(thing) else "words"), found


def _takes_files(parameter: Any) -> bool:
    if not hasattr(parameter, "type"):  # a command
        return False
    name = (parameter.metavar or parameter.type.name).strip("[].").upper()
    return name in PATHS or parameter.type.name == "path" or "--model" in parameter.opts


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split())
