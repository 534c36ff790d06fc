#compdef rexec
# Completion of rexec for zsh. Hosts are those for which a key is enrolled or that config.toml names; no
# key is read and nothing connected to for that.

_rexec_hosts() {
	local -a hosts
	hosts=(${(f)"$(_call_program hosts rexec --list-hosts 2>/dev/null)"})
	compset -P '*@'
	_wanted hosts expl 'host that is known here' compadd -a hosts
}

_rexec_keys() {
	local -a keys
	keys=(${XDG_CONFIG_HOME:-$HOME/.config}/rexec/keys/*/*(N.:t))
	_wanted keys expl 'enrolled key' compadd -a keys
}

_rexec_first() {
	if ((CURRENT > 2)); then # a verb is the first word, or a host
		_rexec_hosts
		return
	fi
	_alternative 'hosts:host:_rexec_hosts' \
		'verbs:verb:((enroll\:"store the key of a token" ping\:"measure round trips" charset\:"convert text here"))'
}

_rexec() {
	local -a charsets=(auto raw utf-8 gbk gb18030) texts=(utf-8 gbk gb18030)
	local curcontext=$curcontext state line
	typeset -A opt_args
	if ((CURRENT > 2)); then
		case $words[2] in
		enroll)
			_arguments '--name[the name of the key here]:name:' '--replace[replace a key of another server]' \
				'(-h --help)'{-h,--help}'[print a short help]' '2:token:'
			return
			;;
		ping)
			_arguments -s \
				'(-c --count)'{-c,--count}'[end after so many questions]:number:' \
				'(-i --interval)'{-i,--interval}'[ask every so often]:time:' \
				'(-p --port)'{-p,--port}'[port]:port:' \
				'(--udp)--tcp[connect over TCP only]' \
				'(--tcp)--udp[connect over UDP (QUIC) only]' \
				'--identity[use this key]:key:_rexec_keys' \
				'(-q --quiet)'{-q,--quiet}'[only the summary]' \
				'*'{-v,--verbose}'[tell what happens on the way]' \
				'(-h --help)'{-h,--help}'[print a short help]' \
				'2:host:_rexec_hosts'
			return
			;;
		charset)
			_arguments -s \
				"--from[what the text is in]:charset:($charsets)" \
				"--to[what it shall be in]:charset:($texts)" \
				'(-v --verbose)'{-v,--verbose}'[tell what was converted]' \
				'(-h --help)'{-h,--help}'[print a short help]' \
				'1: :'
			return
			;;
		esac
	fi
	_arguments -s \
		'(-c --command)'{-c,--command}'[the command]:command:' \
		'(-p --port)'{-p,--port}'[port]:port:' \
		'(-l --login)'{-l,--login}'[the account you expect]:account:_users' \
		'(-i --identity)'{-i,--identity}'[use this key]:key:_rexec_keys' \
		'(-F --config)'{-F,--config}'[settings from this file]:file:_files' \
		'(-s --subsystem)'{-s,--subsystem}'[the word after the host is a subsystem]' \
		'(-G --show-config)'{-G,--show-config}'[print the settings for the host]' \
		'*'{-o,--option}"[a setting in ssh's words]:setting:" \
		'(-O --control)'{-O,--control}'[ask for the process that keeps a connection]:order:(check stop exit)' \
		'(-6)-4[connect over IPv4 only]' \
		'(-4)-6[connect over IPv6 only]' \
		'*'{-t,--tty}'[run on a terminal there]' \
		'(-T --no-tty)'{-T,--no-tty}'[run on no terminal]' \
		'(-e --escape)'{-e,--escape}'[the escape character]:character or none:' \
		'(-n --no-stdin)'{-n,--no-stdin}'[stdin is empty]' \
		'(-N --hold)'{-N,--hold}'[hold the connection and run nothing]' \
		'(-q --quiet)'{-q,--quiet}'[no messages but errors]' \
		'*'{-v,--verbose}'[tell what happens on the way]' \
		'(--udp)--tcp[connect over TCP only]' \
		'(--tcp)--udp[connect over UDP (QUIC) only]' \
		'--argv[run the words as they are, without a shell]' \
		'--timeout[end the command after this time]:time:' \
		'--id[name the execution: it runs at most once]:name:' \
		'*--env[set a variable there]:variable:_parameters -g "*export*"' \
		'--dir[working directory there]:directory:' \
		"--charset[what the command prints]:charset:($charsets)" \
		"--local-charset[what this terminal takes]:charset:($texts)" \
		"--cmd-charset[what the host wants commands in]:charset:($texts)" \
		'--cmd-charset-unsafe[send a shell what it could act on]' \
		'--on-disconnect[when this side vanishes]:choice:(grace kill keep)' \
		'--persist[keep the connection in the background for this time]:time or no:' \
		'--json[write the outcome to stderr as JSON]' \
		'--status-fd[write it to this descriptor]:number:' \
		'--list-hosts[print the hosts that are known here]' \
		'(-V --version)'{-V,--version}'[print the version]' \
		'(-h --help)'{-h,--help}'[print a short help]' \
		'1:host:_rexec_first' \
		'(-)*: :_files'
}

_rexec "$@"
