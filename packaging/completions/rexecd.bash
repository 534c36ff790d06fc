# Completion of rexecd for bash.

_rexecd() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} verb='' option='' word
	COMPREPLY=()
	for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
		if [[ -n $option ]]; then
			option=''
		elif [[ $word == --@(config|state-dir|listen|address|run-as|command|argv|charset|from|limit|not-before|not-after|keep) ]]; then
			option=$word
		elif [[ $word != -* ]]; then
			verb+=${verb:+ }$word
		fi
	done
	case $prev in
	--config)
		compopt -o default
		return
		;;
	--state-dir)
		compopt -o dirnames
		return
		;;
	--run-as)
		mapfile -t COMPREPLY < <(compgen -u -- "$cur")
		return
		;;
	--charset)
		mapfile -t COMPREPLY < <(compgen -W 'auto raw utf-8 gbk gb18030' -- "$cur")
		return
		;;
	esac
	[[ -n $option ]] && return
	local all='--config --state-dir --listen'
	case $verb in
	'') word="serve check status id key reset-identity $all --version -h --help" ;;
	key) word='add list show rotate expire revoke' ;;
	'key add'*) word="$all --address --run-as --command --argv --charset --no-pty --from --limit --not-before --not-after" ;;
	'key rotate'*) word="$all --keep --address" ;;
	reset-identity) word="$all --yes" ;;
	check) word="$all -q --quiet" ;;
	status) word="$all --json" ;;
	*) word=$all ;;
	esac
	mapfile -t COMPREPLY < <(compgen -W "$word" -- "$cur")
}

complete -F _rexecd rexecd
