# Completion of rexec for bash. Hosts are those for which a key is enrolled or that config.toml names; no
# key is read and nothing connected to for that.

# Prints the names of all keys.
_rexec_keys() {
	local file
	for file in "${XDG_CONFIG_HOME:-$HOME/.config}"/rexec/keys/*/*; do
		[[ -f $file ]] && printf '%s\n' "${file##*/}"
	done
}

# Puts the lines of $1 that begin with the current word into COMPREPLY.
_rexec_reply() {
	local candidate
	while IFS= read -r candidate; do
		if [[ -n $candidate && $candidate == "$cur"* ]]; then
			COMPREPLY+=("$candidate")
		fi
	done <<<"$1"
}

# Completes the value of the option $1; fails if it takes none.
_rexec_value() {
	case $1 in
	-i | --identity | --name) _rexec_reply "$(_rexec_keys)" ;;
	--charset | --from) _rexec_reply $'auto\nraw\nutf-8\ngbk\ngb18030' ;;
	--local-charset | --cmd-charset | --to) _rexec_reply $'utf-8\ngbk\ngb18030' ;;
	--on-disconnect) _rexec_reply $'grace\nkill\nkeep' ;;
	-l | --login) _rexec_reply "$(compgen -u)" ;;
	--env) _rexec_reply "$(compgen -e)" ;;
	-F | --config) compopt -o default ;;
	-c | --command | -p | --port | -o | --option | -e | --escape | --timeout | --persist | --id | --dir | --status-fd) ;;
	-O | --control) _rexec_reply $'check\nstop\nexit' ;;
	--count | --interval) ;;
	*) return 1 ;;
	esac
}

_rexec() {
	local cur line verb='' host='' option='' word
	local -a words
	COMPREPLY=()
	# bash splits words at colons, among others; hosts have some.
	line=${COMP_LINE:0:COMP_POINT}
	read -ra words <<<"$line"
	cur=''
	if [[ $line != *[[:space:]] ]]; then
		cur=${words[-1]}
		unset 'words[-1]'
	fi
	for word in "${words[@]:1}"; do
		if [[ -n $option ]]; then
			option=''
		elif [[ $verb == ping && $word == -i ]]; then
			option=--interval
		elif [[ $verb == ping && $word == -c ]]; then
			option=--count
		elif [[ $word == -* ]]; then
			if [[ $word != *=* ]] && (cur='' && _rexec_value "$word"); then
				option=$word
			fi
		elif [[ $word == @(enroll|ping|charset) && $word == "${words[1]}" && -z $verb$host ]]; then
			verb=$word
		elif [[ -z $host ]]; then
			host=$word
		else
			compopt -o default # the command: files, as a guess
			return
		fi
	done
	local prefix=''
	if [[ -z $option && $cur == --*=* ]]; then
		option=${cur%%=*}
		prefix=$option=
		cur=${cur#*=}
	fi
	if [[ -n $option ]]; then
		_rexec_value "$option"
	elif [[ $cur == -* ]]; then
		case $verb in
		enroll) _rexec_reply $'--name\n--replace\n-h\n--help' ;;
		ping)
			_rexec_reply $'-c\n--count\n-i\n--interval\n-p\n--port\n--tcp\n--udp\n--identity
-q\n--quiet\n-v\n--verbose\n-h\n--help'
			;;
		charset) _rexec_reply $'--from\n--to\n-v\n--verbose\n-h\n--help' ;;
		*)
			_rexec_reply $'-c\n--command\n-p\n--port\n-l\n--login\n-i\n--identity\n-F\n--config\n-s\n--subsystem\n-G\n--show-config
-o\n--option\n-O\n--control\n-4\n-6\n-t\n--tty\n-T\n--no-tty\n-e\n--escape\n-n\n--no-stdin
-N\n--hold\n-q\n--quiet\n-v\n--verbose\n--tcp\n--udp\n--argv\n--timeout\n--id\n--env\n--dir
--charset\n--local-charset\n--cmd-charset\n--cmd-charset-unsafe\n--on-disconnect\n--persist\n--json
--status-fd\n--list-hosts\n-V\n--version\n-h\n--help'
			;;
		esac
	elif [[ -n $host || $verb == @(enroll|charset) ]]; then
		compopt -o default
	else
		[[ $cur == *@* ]] && prefix=${cur%"${cur##*@}"} && cur=${cur##*@}
		_rexec_reply "$("${words[0]/#\~/$HOME}" --list-hosts 2>/dev/null)"
		((${#words[@]} == 1)) && [[ -z $prefix ]] && _rexec_reply $'enroll\nping\ncharset'
	fi
	# What stands before the last character that splits words must not be repeated.
	local full=$prefix$cur cut='' i
	for ((i = ${#full}; i > 0; i--)); do
		if [[ ${full:i-1:1} == [@:=] && $COMP_WORDBREAKS == *"${full:i-1:1}"* ]]; then
			cut=${full:0:i}
			break
		fi
	done
	for i in "${!COMPREPLY[@]}"; do
		word=$prefix${COMPREPLY[i]}
		COMPREPLY[i]=${word#"$cut"}
	done
}

complete -F _rexec rexec
