
# Images are looked for where they are.
complete -c sealpack -n 'string match -q -- "*:*" (commandline -ct)' -f -a '(sealpack __complete (commandline -ct) (commandline -opc) 2>/dev/null)'
complete -c sealpack -n 'string match -q -r -- "^[^-:][^:]*$" (commandline -ct)' -a '(sealpack __complete (commandline -ct) (commandline -opc) 2>/dev/null)'
