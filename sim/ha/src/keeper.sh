# Ends what runs in a folder when the process that wanted it is gone.
#
# That process holds the other end of this one's input. However it ends, even by SIGKILL, the
# input ends with it. Nothing else could be relied upon: a process that is killed runs no code.
#
# $1 is the folder. A file `keep` in it says that the logs are to stay.
folder=$1
trap '' HUP INT TERM
while read -r _; do :; done
while true; do
    found=$(find /proc -maxdepth 2 -name cwd \( -lname "$folder" -o -lname "$folder/*" \) 2>/dev/null)
    [ "$found" ] || break
    for process in $found; do
        process=${process%/cwd}
        kill -s KILL "${process#/proc/}"
    done
done
if [ -e "$folder/keep" ]; then
    rm -rf "$folder"/node[0-9] "$folder/etcd" "$folder/keep"
else
    rm -rf "$folder"
fi
