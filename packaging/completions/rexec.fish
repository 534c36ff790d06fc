# Completion of rexec for fish. Hosts are those for which a key is enrolled or that config.toml names; no
# key is read and nothing connected to for that.

function __rexec_config
    if set -q XDG_CONFIG_HOME; and test -n "$XDG_CONFIG_HOME"
        echo $XDG_CONFIG_HOME/rexec
    else
        echo $HOME/.config/rexec
    end
end

function __rexec_hosts
    command rexec --list-hosts 2>/dev/null
end

function __rexec_keys
    for file in (__rexec_config)/keys/*/*
        basename $file
    end
end

# Whether the first word is one of the arguments; without arguments, whether it is no verb.
function __rexec_verb
    set -l words (commandline -opc)
    if test (count $argv) -gt 0
        contains -- "$words[2]" $argv
    else
        not contains -- "$words[2]" enroll ping charset
    end
end

function __rexec_first
    test (count (commandline -opc)) -eq 1
end

# Whether no host has been given yet.
function __rexec_no_host
    set -l words (commandline -opc)[2..-1]
    set -l values -c --command -p --port -l --login -i --identity -F --config -o --option -O --control -e --escape --timeout --persist --id --env --dir --charset \
        --local-charset --cmd-charset --on-disconnect --status-fd --count --interval
    if contains -- "$words[1]" enroll charset
        return 1
    end
    test "$words[1]" = ping; and set -e words[1]
    while set -q words[1]
        if contains -- $words[1] $values
            set -e words[1]
        else if not string match -q -- '-*' $words[1]
            return 1
        end
        set -q words[1]; and set -e words[1]
    end
end

complete -c rexec -n __rexec_no_host -f -a '(__rexec_hosts)' -d host
complete -c rexec -n __rexec_first -f -a enroll -d 'store the key of a token'
complete -c rexec -n __rexec_first -f -a ping -d 'measure round trips'
complete -c rexec -n __rexec_first -f -a charset -d 'convert text here'

complete -c rexec -n __rexec_verb -s c -l command -x -d 'the command'
complete -c rexec -n __rexec_verb -s p -l port -x -d port
complete -c rexec -n __rexec_verb -s l -l login -x -a '(__fish_complete_users)' -d 'the account you expect'
complete -c rexec -n __rexec_verb -s i -l identity -x -a '(__rexec_keys)' -d 'use this key'
complete -c rexec -n __rexec_verb -s F -l config -r -d 'settings from this file'
complete -c rexec -n __rexec_verb -s s -l subsystem -d 'the word after the host is a subsystem'
complete -c rexec -n __rexec_verb -s G -l show-config -d 'print the settings for the host'
complete -c rexec -n __rexec_verb -s o -l option -x -d 'a setting in ssh\'s words'
complete -c rexec -n __rexec_verb -s O -l control -x -a 'check stop exit' -d 'ask for the process that keeps a connection'
complete -c rexec -n __rexec_verb -s 4 -d 'connect over IPv4 only'
complete -c rexec -n __rexec_verb -s 6 -d 'connect over IPv6 only'
complete -c rexec -n __rexec_verb -s t -l tty -d 'run on a terminal there'
complete -c rexec -n __rexec_verb -s T -l no-tty -d 'run on no terminal'
complete -c rexec -n __rexec_verb -s e -l escape -x -a 'none' -d 'the escape character'
complete -c rexec -n __rexec_verb -s n -l no-stdin -d 'stdin is empty'
complete -c rexec -n __rexec_verb -s N -l hold -d 'hold the connection and run nothing'
complete -c rexec -n __rexec_verb -s q -l quiet -d 'no messages but errors'
complete -c rexec -n __rexec_verb -s v -l verbose -d 'tell what happens on the way'
complete -c rexec -n __rexec_verb -l tcp -d 'connect over TCP only'
complete -c rexec -n __rexec_verb -l udp -d 'connect over UDP (QUIC) only'
complete -c rexec -n __rexec_verb -l argv -d 'run the words as they are, without a shell'
complete -c rexec -n __rexec_verb -l timeout -x -d 'end the command after this time'
complete -c rexec -n __rexec_verb -l id -x -d 'name the execution: it runs at most once'
complete -c rexec -n __rexec_verb -l env -x -a '(set -xn)' -d 'set a variable there'
complete -c rexec -n __rexec_verb -l dir -x -d 'working directory there'
complete -c rexec -n __rexec_verb -l charset -x -a 'auto raw utf-8 gbk gb18030' -d 'what the command prints'
complete -c rexec -n __rexec_verb -l local-charset -x -a 'utf-8 gbk gb18030' -d 'what this terminal takes'
complete -c rexec -n __rexec_verb -l cmd-charset -x -a 'utf-8 gbk gb18030' -d 'what the host wants commands in'
complete -c rexec -n __rexec_verb -l cmd-charset-unsafe -d 'send a shell what it could act on'
complete -c rexec -n __rexec_verb -l on-disconnect -x -a 'grace kill keep' -d 'when this side vanishes'
complete -c rexec -n __rexec_verb -l persist -x -a no -d 'keep the connection in the background for this time'
complete -c rexec -n __rexec_verb -l json -d 'write the outcome to stderr as JSON'
complete -c rexec -n __rexec_verb -l status-fd -x -d 'write it to this descriptor'
complete -c rexec -n __rexec_verb -l list-hosts -d 'print the hosts that are known here'
complete -c rexec -n __rexec_verb -s V -l version -d 'print the version'
complete -c rexec -n __rexec_verb -s h -l help -d 'print a short help'

complete -c rexec -n '__rexec_verb enroll' -l name -x -d 'the name of the key here'
complete -c rexec -n '__rexec_verb enroll' -l replace -d 'replace a key of another server'
complete -c rexec -n '__rexec_verb enroll' -s h -l help -d 'print a short help'

complete -c rexec -n '__rexec_verb ping' -s c -l count -x -d 'end after so many questions'
complete -c rexec -n '__rexec_verb ping' -s i -l interval -x -d 'ask every so often'
complete -c rexec -n '__rexec_verb ping' -s p -l port -x -d port
complete -c rexec -n '__rexec_verb ping' -l tcp -d 'connect over TCP only'
complete -c rexec -n '__rexec_verb ping' -l udp -d 'connect over UDP (QUIC) only'
complete -c rexec -n '__rexec_verb ping' -l identity -x -a '(__rexec_keys)' -d 'use this key'
complete -c rexec -n '__rexec_verb ping' -s q -l quiet -d 'only the summary'
complete -c rexec -n '__rexec_verb ping' -s v -l verbose -d 'tell what happens on the way'
complete -c rexec -n '__rexec_verb ping' -s h -l help -d 'print a short help'

complete -c rexec -n '__rexec_verb charset' -l from -x -a 'auto raw utf-8 gbk gb18030' -d 'what the text is in'
complete -c rexec -n '__rexec_verb charset' -l to -x -a 'utf-8 gbk gb18030' -d 'what it shall be in'
complete -c rexec -n '__rexec_verb charset' -s v -l verbose -d 'tell what was converted'
complete -c rexec -n '__rexec_verb charset' -s h -l help -d 'print a short help'
