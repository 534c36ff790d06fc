# zsh complete.zsh DIRECTORY LINE prints what zsh completes LINE with, one a line, by the functions in DIRECTORY. A
# second zsh, on a terminal of its own, gets the line and the Tab key; what it would offer is printed instead.
zmodload zsh/zpty
zpty child zsh -f -i
init=$(mktemp)
{
	print -r -- "PROMPT= RPROMPT= PS2=; fpath=(${(q)1} \$fpath)"
	cat <<'END'
unset zle_bracketed_paste
autoload -Uz compinit
compinit -u -D
compadd() {
	local -a hits
	if [[ " ${(j: :)@} " == *\ -[OAD]\ * ]]; then builtin compadd "$@"; return; fi
	builtin compadd -O hits "$@"
	((${#hits})) && print -lr -- "HIT:"${^hits}
	builtin compadd "$@"
}
candidates() { _main_complete; print -r -- HITS-END; compstate[insert]=; compstate[list]=; }
zle -C hits complete-word candidates
bindkey '^I' hits
print READY
END
} >$init
zpty -w child "source ${(q)init}"
zpty -r -m child out '*READY*'
zpty -w -n child "$2"$'\t'
zpty -r -m child out '*HITS-END*'
print -r -- $out | tr -d '\r' | sed -n 's/.*HIT://p'
zpty -d child
rm -f $init
