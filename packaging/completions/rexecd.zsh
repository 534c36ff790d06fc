#compdef rexecd
# Completion of rexecd for zsh.

_rexecd() {
	local -a all=(
		'--config[the configuration]:file:_files'
		'--state-dir[identity and keys]:directory:_files -/'
		'--listen[host:port to listen on]:address:'
	)
	local -a verbs=("${(@)words[2,CURRENT-1]:#-*}")
	if ((${verbs[(I)key]} && ${verbs[(I)add]})); then
		_arguments $all \
			'--address[where clients reach this server]:address:' \
			'--run-as[account that commands run as]:account:_users' \
			'--command[run this, whatever the client asks for]:command:' \
			'*--argv[allow this exact command]:words:' \
			'--no-pty[give its commands no terminal]' \
			'--charset[what its commands print]:charset:(auto raw utf-8 gbk gb18030)' \
			'*--from[allow this source]:address or network:' \
			'*--limit[a resource limit of its commands]:name=value:' \
			'--not-before[when the key begins]:time:' \
			'--not-after[when the key ends]:time:' \
			'*:name:'
	elif ((${verbs[(I)key]} && ${verbs[(I)rotate]})); then
		_arguments $all '--keep[how long the old secret stays valid]:time:' \
			'--address[where clients reach this server]:address:' '*:name:'
	elif ((${verbs[(I)reset-identity]})); then
		_arguments $all '--yes[do not ask]'
	elif ((${verbs[(I)check]})); then
		_arguments $all '(-q --quiet)'{-q,--quiet}'[print nothing but mistakes]'
	elif ((${verbs[(I)status]})); then
		_arguments $all '--json[print one JSON object]'
	elif ((${verbs[(I)key]})); then
		_arguments $all '*:verb:((add\:"make a key" list\:"list the keys" show\:"everything about one key" rotate\:"give a key a new secret" expire\:"let a key end at a time" revoke\:"end a key"))'
	else
		_arguments $all '--version[print the version]' '(-h --help)'{-h,--help}'[print a short help]' \
			'1:verb:((serve\:"run the daemon in the foreground" check\:"check the configuration" status\:"tell how the running daemon is" id\:"print the ID of this server" key\:"administer keys" reset-identity\:"make this server another one"))'
	fi
}

_rexecd "$@"
