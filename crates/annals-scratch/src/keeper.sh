# Runs a server and stops it when the process that wanted it is gone.
#
# That process holds the other end of this one's input. However it ends, even by SIGKILL, the
# input ends with it. Nothing else could be relied upon: a process that is killed runs no code.
#
# $1 is the server's folder, the rest is the command.
folder=$1
shift
# A group of processes that loses its parent while one of them is paused is sent HUP.
trap '' HUP INT TERM
exec 3<&0 </dev/null
"$@" >>"$folder/log" 2>&1 3<&- &
server=$!
echo "$server"
exec >/dev/null 2>&1
(
    while read -r _; do :; done <&3
    : >"$folder/orphaned"
    # More than once: in its first moments the server ignores the signal. It may also be paused.
    while kill -s QUIT "$server"; do
        kill -s CONT "$server"
        sleep 1
    done
) &
watcher=$!
exec 3<&-
wait "$server"
status=$?
kill -s KILL "$watcher"
if [ -e "$folder/orphaned" ]; then
    rm -rf "$folder"
fi
exit "$status"
