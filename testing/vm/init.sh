#!/bin/busybox sh
# The first process of the test machine (testing/src/vm.rs): mounts what a program may want, runs it, tells its exit
# code, switches the machine off. Its standard output is the second serial line, its standard error the console.
/bin/busybox mkdir -p /proc /sys /dev /run /tmp /var/log
/bin/busybox --install -s /bin
export PATH=/bin:/sbin HOME=/
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/shm /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /tmp
mount -t cgroup2 cgroup2 /sys/fs/cgroup
ip link set lo up 2>/dev/null
if [ -f /vm/e1000.ko ]; then
    insmod /vm/e1000.ko && ip addr add 10.0.2.15/24 dev eth0 && ip link set eth0 up
fi
stty -F /dev/ttyS1 raw -echo
/vm/run </dev/null >/dev/ttyS1 2>/dev/console
code=$?
# Closing the line waits until all is sent.
echo "@exit $code" >/dev/ttyS1
poweroff -f
