"""Scripts that complete the program's commands, options and values in bash, zsh and fish.

Click's own scripts for zsh and fish call the program by its bare name, so that nothing is completed for `./kazashi` in
a clone. These call the program as it was typed. The program's part, which the scripts call, is click's.
"""

from __future__ import annotations

import click
from click.shell_completion import BashComplete, FishComplete, ShellComplete, ZshComplete


class BashScript(BashComplete):
    """The script for bash 4.4 or newer."""

    source_template = r"""%(complete_func)s() {
    local IFS=$'\n' program=${1//\\/} response kind value
    program=${program/#\~\//$HOME/}
    COMPREPLY=()
    response=$(env COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD="$COMP_CWORD" %(complete_var)s=bash_complete \
        "$program" 2>/dev/null)
    while IFS=, read -r kind value; do
        case $kind in
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
            plain) COMPREPLY+=("$(printf %%q "$value")") ;;
        esac
    done <<< "$response"
}

complete -o nosort -F %(complete_func)s %(prog_name)s
"""


class ZshScript(ZshComplete):
    """The script for zsh, which also works as a file `_kazashi` in a folder of `fpath`.

    From the second Tab on, zsh calls such a file as a function (shfunc). Click's script then completes nothing once.
    """

    source_template = r"""#compdef %(prog_name)s

%(complete_func)s() {
    local program=${(Q)words[1]} kind value description
    local -a response plain described
    program=${program/#\~\//$HOME/}
    response=("${(@f)$(env COMP_WORDS="${words[*]}" COMP_CWORD=$((CURRENT-1)) %(complete_var)s=zsh_complete \
        "$program" 2>/dev/null)}")
    for kind value description in "${response[@]}"; do
        case $kind in
            dir) _files -/ ;;
            file) _files ;;
            plain)
                if [[ $description == _ ]]; then
                    plain+=("$value")
                else
                    described+=("$value:$description")
                fi ;;
        esac
    done
    (( $#described )) && _describe -V unsorted described -U
    (( $#plain )) && compadd -U -V unsorted -a plain
}

if [[ $zsh_eval_context[-1] == (loadautofunc|shfunc) ]]; then
    %(complete_func)s "$@"
else
    compdef %(complete_func)s %(prog_name)s
fi
"""


class FishScript(FishComplete):
    """The script for fish 3 or newer."""

    source_template = r"""function %(complete_func)s
    set -l program (commandline -opc)[1]
    set program (string replace -r '^~/' "$HOME/" -- $program)
    set -l response (env COMP_WORDS=(commandline -cp | string collect) COMP_CWORD=(commandline -ct | string collect) \
        %(complete_var)s=fish_complete $program 2>/dev/null)
    for line in $response
        set -l item (string split -m 1 , -- $line)
        switch $item[1]
            case dir
                __fish_complete_directories (commandline -ct)
            case file
                __fish_complete_path (commandline -ct)
            case plain
                echo $item[2]
        end
    end
end

complete --no-files --command %(prog_name)s --arguments '(%(complete_func)s)'
"""


SCRIPTS: dict[str, type[ShellComplete]] = {"bash": BashScript, "zsh": ZshScript, "fish": FishScript}
"""The script of each shell."""


def completion_script(command: click.Command, name: str, shell: str) -> str:
    """Return the script that completes the program `name` in a shell. Raises KeyError for a shell without a script."""
    return SCRIPTS[shell](command, {}, name, f"_{name.upper()}_COMPLETE").source()
