# Completion of circusctl for fish. Place it as ~/.config/fish/completions/circusctl.fish.

function __circusctl_words
    env AUTO_COMPLETE=lines COMP_LINE=(commandline --cut-at-cursor --current-process | string collect) circusctl 2>/dev/null
end

complete --command circusctl --no-files --arguments '(__circusctl_words)'
