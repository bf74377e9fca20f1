#compdef circusctl
# Completion of circusctl for zsh. Place it as `_circusctl` in a folder of $fpath.

_circusctl() {
    local -a found
    local word about
    while IFS=$'\t' read -r word about; do
        found+=("${word//:/\\:}:$about")
    done < <(AUTO_COMPLETE=lines COMP_LINE="${(j: :)words[1,CURRENT-1]} $PREFIX" ${(Q)words[1]} 2>/dev/null)
    _describe -t words 'circusctl' found
}

# Sourced instead of autoloaded, it registers itself.
if [[ $funcstack[1] == _circusctl ]]; then
    _circusctl "$@"
else
    compdef _circusctl circusctl
fi
