# Starts the programs of a control plane and ends them whatever becomes of its launcher.
#
# Reads commands from its standard input, a pipe of which the launcher alone holds the other end:
# when the launcher ends in any way, SIGKILL included, that pipe closes, and this script kills what
# it started and removes the directory. It is the parent of the programs, so that their process ids
# can't be reused before it has waited for them. Should it be killed itself, the parent-death signal
# takes the programs along. Must not decide anything else.
#
# $1: the control plane's own directory; it holds NAME.run for each program, and gets NAME.log.
# In:  start NAME | stop NAME
# Out: started NAME PID | stopped NAME

trap '' PIPE # an answer to a launcher that has just died must not end the clean-up
cd / || exit 1
directory=$1

stop() {
    eval "pid=\${pid_$1:-}"
    if [ -n "$pid" ]; then
        # There is nothing to save: no program here outlives its directory.
        kill -KILL "$pid" 2>/dev/null
        wait "$pid" 2>/dev/null
        eval "pid_$1="
    fi
}

names=
while read -r verb name; do
    case $verb in
        start)
            # Each of these replaces itself by the next: the process id stays.
            setsid setpriv --pdeathsig KILL sh "$directory/$name.run" \
                </dev/null >>"$directory/$name.log" 2>&1 &
            eval "pid_$name=$!"
            names="$name $names" # the last started ends first
            echo "started $name $!"
            ;;
        stop)
            stop "$name"
            echo "stopped $name"
            ;;
    esac
done

for name in $names; do
    stop "$name"
done
case $directory in
    */realtime-control-plane-*) rm -rf -- "$directory" ;;
esac
