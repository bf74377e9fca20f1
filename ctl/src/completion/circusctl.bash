# Completion of circusctl for bash. Source it, or place it as `circusctl` in ~/.local/share/bash-completion/completions.

_circusctl() {
    local line=${COMP_LINE:0:COMP_POINT} program=${1/#\~/$HOME} word about
    COMPREPLY=()
    while IFS=$'\t' read -r word about; do
        COMPREPLY+=("$(printf '%q' "$word")")
    done < <(AUTO_COMPLETE=lines COMP_LINE=$line "$program" 2>/dev/null)
    # bash ends words at ':' and '=', too, and wants only what follows the last of them.
    local typed=${line##*[[:space:]]}
    local kept=${typed%"${typed##*[:=]}"}
    COMPREPLY=("${COMPREPLY[@]#"$kept"}")
    # After `watcher.` there is more to come.
    [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *. ]] && compopt -o nospace
    return 0
}

complete -F _circusctl circusctl
