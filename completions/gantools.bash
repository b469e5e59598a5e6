_gantools_completion() {
    local IFS=$'
'
    COMPREPLY=( $( env COMP_WORDS="${COMP_WORDS[*]}" \
                   COMP_CWORD=$COMP_CWORD \
                   _GANTOOLS_COMPLETE=complete_bash $1 ) )
    return 0
}

complete -o default -F _gantools_completion gantools
