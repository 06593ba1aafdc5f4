# Images are looked for where they are.
_sealpack_images() {
    local -a found
    # What stands in `words` begins at the innermost command.
    found=("${(@f)$(sealpack __complete "$PREFIX" "${(@z)BUFFER}" 2>/dev/null)}")
    found=(${found:#})
    compadd -S '' -- ${(M)found:#*[:/]}
    compadd -- ${found:#*[:/]}
    (( $#found )) || _default
}
