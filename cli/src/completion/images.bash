
# Images are looked for where they are. Bash ends words at colons, so the word is taken from the line, and
# what bash takes for finished is taken off the answers.
_sealpack_images() {
    local line=${COMP_LINE:0:COMP_POINT} word before answer
    local -a typed
    word=${line##*[[:space:]]}
    [[ $word == --*=* ]] && word=${word#*=}
    if [[ -n $word && $word != -* ]]; then
        before=
        [[ $COMP_WORDBREAKS == *:* ]] && before=${word%"${word##*:}"}
        COMPREPLY=()
        read -ra typed <<<"$line"
        while IFS= read -r answer; do
            # Bash puts it in as it is, and names of files come from strangers.
            printf -v answer %q "${answer#"$before"}"
            COMPREPLY+=("$answer")
        done < <("$1" __complete "$word" "${typed[@]}" 2>/dev/null)
        [[ ${COMPREPLY[0]-} == *[:/] ]] && compopt -o nospace 2>/dev/null
        [[ ${#COMPREPLY[@]} -gt 0 ]] && return 0
    fi
    _sealpack "$@"
}
complete -F _sealpack_images -o bashdefault -o default sealpack
