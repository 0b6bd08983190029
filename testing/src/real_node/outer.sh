# Holds a real node's namespaces, and takes away whatever of the node would outlive them.
#
# Runs in a session and a mount namespace of its own. Everything of the node is a process below the
# `unshare` here, the first of which (inner.sh) reads this script's standard input: a pipe of which
# the launcher alone holds the other end. When the launcher ends in any way, SIGKILL included, that
# pipe closes, inner.sh ends, the kernel ends all that is in its PID namespace, and this script
# removes the control groups and the directory. Should this script be killed itself, the
# parent-death signals take the namespace along, and the next start sweeps up the groups.
# Must not know what runs in the node.
#
# $1: the node's directory. $2: its control group's name. $3: what inner.sh is. $4: the node's name.
# $5: `hugetlb` to mount that hierarchy, which has no mount yet, or nothing; the others then are in one
# directory.
# The rest: where the hierarchies of control groups are mounted.

# A signal doesn't end it, and what it starts doesn't inherit that.
trap : PIPE HUP INT TERM
cd / || exit 1
directory=$1 group=$2 inner=$3 node=$4 hugetlb=$5
shift 5

top=${1%/*}
if [ -n "$hugetlb" ]; then
    # runc wants it for CRI-O. Only in this mount namespace and the node's is it beside the others; the
    # directory of the machine gets no entry. Where it can't be had, nothing else suffers.
    mount -t tmpfs tmpfs /run && mkdir /run/top && mount -t tmpfs -o mode=755 tmpfs /run/top &&
        mkdir /run/top/hugetlb && mount -t cgroup -o hugetlb cgroup /run/top/hugetlb &&
        for hierarchy; do
            mkdir "/run/top/${hierarchy##*/}" && mount --bind "$hierarchy" "/run/top/${hierarchy##*/}"
        done &&
        find "$top" -maxdepth 1 -type l -exec cp -a {} /run/top/ \; && # cpu -> cpu,cpuacct
        mount --move /run/top "$top" && set -- "$@" "$top/hugetlb"
    umount --recursive /run
fi

# A group that the kernel is still taking down is busy for a moment.
remove() {
    tries=0
    while [ -d "$1" ] && [ $tries -lt 200 ]; do
        find "$1" -depth -type d -exec rmdir {} + 2>/dev/null && break
        tries=$((tries + 1))
        sleep 0.05
    done
}

# The lock on the hierarchy is held for as long as groups appear or are judged; the lock on a node's
# own group for as long as its script lives: what is left and not locked belongs to nobody.
exec 9<"$1" && flock 9
for hierarchy; do
    for left in "$hierarchy"/realtime-node-*; do
        owner=$1/${left##*/}
        if [ -d "$left" ] && { [ ! -d "$owner" ] || flock --nonblock "$owner" true; }; then
            remove "$left"
        fi
    done
done
for hierarchy; do
    mkdir "$hierarchy/$group"
    if [ -f "$hierarchy/$group/cpuset.mems" ] && [ -f "$hierarchy/cpuset.cpus" ]; then
        # In the first version of control groups a new one has no CPUs, and takes no process.
        cat "$hierarchy/cpuset.cpus" >"$hierarchy/$group/cpuset.cpus"
        cat "$hierarchy/cpuset.mems" >"$hierarchy/$group/cpuset.mems"
    fi
done
exec 8<"$1/$group" && flock 8
exec 9<&-

setpriv --pdeathsig KILL \
    unshare --net --mount --pid --uts --fork --kill-child=KILL --mount-proc --propagation private \
    bash -c "$inner" realtime-node "$directory" "$node" 8<&-

for hierarchy; do
    remove "$hierarchy/$group"
done
if [ "${hierarchy##*/}" = hugetlb ] && [ -n "$hugetlb" ]; then
    # The hierarchy goes with its last mount, unless a removed group is still being taken down: then
    # another last mount has to come and go. Where another node uses it, it stays, and that is right.
    tries=0
    while umount "$hierarchy" && [ $tries -lt 20 ] &&
        ! grep -q '^hugetlb[[:space:]]0[[:space:]]' /proc/cgroups; do
        sleep 0.05
        tries=$((tries + 1))
        mount -t cgroup -o hugetlb cgroup "$hierarchy" || break
    done
fi
case $directory in
    */realtime-node-*) rm -rf --one-file-system -- "$directory" ;;
esac
