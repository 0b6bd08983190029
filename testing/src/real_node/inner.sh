# The first process of a real node's PID namespace: makes the node's own /run, /var, /etc and network,
# and then starts and ends programs as it is told. When it ends, the kernel ends everything else in
# the namespace; bash, and not sh, because it reaps the orphans that container runtimes leave to it.
# Must not know what the programs are.
#
# $1: the node's directory, which holds NAME.run for each program and gets NAME.log. $2: the node's name.
# In:  start NAME | stop NAME | signal NAME SIGNAL | alive NAME
# Out: ready | started NAME PID | stopped NAME | signalled NAME | alive NAME | ended NAME STATUS
# (PID as it is in the namespace) or: failed TEXT

directory=$1 node=$2

fail() {
    echo "failed $*: $(tail -n 3 "$directory/inner.log" | tr '\n' ' ')"
    exit 1
}
exec 2>>"$directory/inner.log"
cd / || fail "entering /"
exec 7<"$directory"

# Nothing that the node writes outside its directory reaches the machine: /run is its own (and with it
# /run/netns, which otherwise any `ip netns` of the machine would make busy), /etc and /var are copies.
mount -t tmpfs -o mode=755 tmpfs /run || fail "mounting /run"
mkdir -p /run/netns /run/node || fail "making directories in /run"
for top in etc var; do
    mkdir -p "/run/node/overlay/$top/upper" "/run/node/overlay/$top/work" &&
        chmod 755 "/run/node/overlay/$top/upper" &&
        mount -t overlay overlay \
            -o "lowerdir=/$top,upperdir=/run/node/overlay/$top/upper,workdir=/run/node/overlay/$top/work" \
            "/$top" || fail "mounting an overlay on /$top"
done

# All else of the machine's is not to be written to, but for its /tmp and the node's directory, wherever
# that is.
mkdir -p "$directory" && mount --no-canonicalize --rbind /proc/self/fd/7 "$directory" ||
    fail "binding $directory"
exec 7<&- 2>>"$directory/inner.log" # the old one would be a file on / that is open for writing
mount --rbind /tmp /tmp && mount --options remount,bind,ro / || fail "making / read-only"

# The kubelet sets these for the whole machine when they differ from what it likes. Here it finds them
# as it likes them, and the machine's stay as they are.
for setting in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 \
    kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
    name=${setting%=*}
    mkdir -p "/run/node/sysctl/${name%/*}" && echo "${setting#*=}" >"/run/node/sysctl/$name" &&
        mount --bind "/run/node/sysctl/$name" "/proc/sys/$name" || fail "hiding /proc/sys/$name"
done

# As systemd leaves it on a host: a pod may ask to see later mounts of the node. Nobody outside is a peer.
mount --make-rshared / || fail "sharing the mounts among the node's own namespaces"

# The node's interface is one end of a cable; the other has no address, and nobody listens there.
hostname "$node" &&
    printf '127.0.0.1 localhost\n10.254.0.1 %s\n' "$node" >/etc/hosts &&
    ip link set lo up &&
    ip link add node0 type veth peer name outside &&
    ip address add 10.254.0.1/24 dev node0 &&
    ip link set outside up &&
    ip link set node0 up &&
    ip route add default via 10.254.0.2 dev node0 &&
    echo 1 >/proc/sys/net/ipv4/ip_forward || fail "making the network"

declare -A pids
echo ready
while read -r verb name argument; do
    pid=${pids[$name]:-}
    case $verb in
        start)
            # Each of these replaces itself by the next: the process id stays. A shell's background
            # processes would ignore some signals, and so would the containers that they start.
            env --default-signal setsid sh "$directory/$name.run" </dev/null >>"$directory/$name.log" 2>&1 &
            pids[$name]=$!
            echo "started $name $!"
            ;;
        stop)
            if [ -n "$pid" ]; then
                kill -KILL "$pid"
                wait "$pid"
                unset "pids[$name]"
            fi
            echo "stopped $name"
            ;;
        signal)
            [ -n "$pid" ] && kill "-$argument" "$pid"
            echo "signalled $name"
            ;;
        alive)
            if [ -z "$pid" ]; then
                echo "ended $name unknown"
            elif kill -0 "$pid"; then
                echo "alive $name"
            else
                wait "$pid"
                echo "ended $name $?"
            fi
            ;;
    esac
done
