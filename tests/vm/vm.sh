#!/bin/bash
# Virtual machines with a measured boot, for tests: UEFI firmware and Debian's kernel measure into a software TPM, the
# kernel's own IMA keeps the list, and the host drives it all over ssh. README.md tells how it fits together.
set -euo pipefail

usage() {
    cat >&2 <<'TEXT'
usage: vm.sh COMMAND [ARGUMENT...]
  deps                 install what the host needs (the file `packages`)
  build                make the guest's kernel, initramfs, disk and manifest, unless they are there already
  create NAME          a TPM with an EK certificate, and a disk
  start NAME           switch it on; returns when it takes commands
  stop NAME            orderly power-off
  reboot NAME          orderly reboot
  reset NAME           the reset button: the kernel does not hear of it
  powercut NAME        the plug is pulled: what was not synced is lost
  kexec NAME           another kernel over the running one
  suspend NAME         to memory; returns when it sleeps
  wake NAME            out of that sleep
  hibernate NAME       to disk; returns when it is off, and start goes on with it
  flicker NAME         (off) power comes and goes: firmware has started the TPM, and that was all
  exec NAME COMMAND    run it in the guest's shell, as root
  put NAME FILE PATH   copy a file into the guest, with its mode
  get NAME PATH FILE   copy a file out of the guest
  forward NAME PORT... the guest's 127.0.0.1:PORT leads to the host's, from now on and after every boot
  destroy NAME         power cut, and nothing is left
  remove-disk NAME     power cut, and the logs are left: serial.log (kernel), service.log (the agent)
environment:
  VM_DIR       image, manifest and ssh key            (build/vm)
  VM_MACHINES  a folder per machine, and the TPMs' CA ($VM_DIR/machines)
  VM_ACCEL     auto, kvm or tcg                       (auto: kvm where it really works)
  VM_MEM       MiB a machine                          (384)
  VM_TIMEOUT   seconds that a boot may take           (300)
  VM_KERNEL_OPTIONS  words behind the command line      (none)
  VM_WATCH     a process id: machines that are started are killed when it has gone
TEXT
    exit 2
}

die() {
    echo "vm.sh: $*" >&2
    exit 1
}

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
project=$(cd "$here/../.." && pwd)
image=${VM_DIR:-$project/build/vm}
machines=${VM_MACHINES:-$image/machines}
accel=${VM_ACCEL:-auto}
memory=${VM_MEM:-384}
limit=${VM_TIMEOUT:-300}

# Code and variables in one read-only file, so that the firmware keeps its variables in memory: in emulated flash it
# tidies them up at some boots, which then take 30 s longer without acceleration. It measures the same events.
firmware=/usr/share/ovmf/OVMF.fd
kvm_cpu=host,arch-capabilities=off # QEMU aborts on hosts that refuse to set that register
cmdline='console=ttyS0 quiet net.ifnames=0 ima_policy=tcb ima_template=ima-ng ima_hash=sha256'

# What the guest consists of: a kernel, a shell's surroundings, ssh, the libraries of avow-agent, and tpm2-tools.
guest_packages() {
    local list=(
        linux-image-cloud-amd64 tiny-initramfs # the kernel's package wants some maker of initramfs; the smallest
        busybox-static dash libc-bin coreutils dropbear-bin socat kexec-tools tpm2-tools
        libtss2-esys-3.0.2-0 libtss2-mu0 libtss2-rc0 libtss2-tctildr0 libtss2-tcti-device0
        librdkafka1 libcurl4 libjansson4 libssl3 ca-certificates
    )
    local IFS=,
    echo "${list[*]}"
}

# --- The host ----------------------------------------------------------------------------------------

deps() {
    local wanted missing
    wanted=$(cut -d' ' -f1 "$here/packages" | sort)
    # shellcheck disable=SC2086 # names are words
    missing=$(comm -23 <(echo "$wanted") \
        <(dpkg-query -W -f '${db:Status-Status} ${Package}\n' $wanted 2>/dev/null | sed -n 's/^installed //p' | sort))
    if [ -z "$missing" ]; then return; fi
    [ "$(id -u)" = 0 ] || die "run as root to install: ${missing//$'\n'/ }"
    apt_get update
    # shellcheck disable=SC2086
    apt_get install --no-install-recommends $missing
}

apt_get() {
    DEBIAN_FRONTEND=noninteractive apt-get -y -qq -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 \
        -o Acquire::Retries=3 "$@" </dev/null >&2
}

# --- The image ---------------------------------------------------------------------------------------

# Everything that the image depends on and that may change in this tree.
stamp_of_sources() {
    cat "$here/vm.sh" "$here"/guest/* | sha256sum | cut -d' ' -f1
}

build() {
    local work=$image/work started=$SECONDS
    mkdir -p "$image"
    exec 8>"$image/lock"
    flock 8
    if [ "$(cat "$image/stamp" 2>/dev/null)" = "$(stamp_of_sources)" ]; then return; fi
    [ "$(id -u)" = 0 ] || die "building the image needs root"
    rm -rf "$work" "$image/stamp"
    mkdir -p "$work"
    unpack_packages "$work/root"
    make_initramfs "$work/root/lib/modules" "$work/initramfs"
    furnish "$work/root"
    (cd "$work/root" && find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum) >"$image/manifest"
    rm -f "$image/root.img"
    truncate -s 700M "$image/root.img"
    # With a journal: without one, a power cut would leave a disk that does not come up again.
    mke2fs -q -t ext4 -L rig -d "$work/root" "$image/root.img"
    rm -rf "$work"
    stamp_of_sources >"$image/stamp"
    echo "image built in $((SECONDS - started)) s"
}

# Files only. The packages' scripts would take a minute, and make users and services that nothing here needs.
unpack_packages() { # ROOT
    if ! mmdebstrap --quiet --variant=extract --skip=cleanup/reproducible --include="$(guest_packages)" \
        --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr bookworm "$1" >"$image/mmdebstrap.log" 2>&1 </dev/null; then
        tail -n 20 "$image/mmdebstrap.log" >&2
        die "the guest's packages cannot be had"
    fi
}

# The kernel module of that name and, before it, those that it needs. Nothing if it is built in.
module_files() { # TREE NAME
    local file need
    file=$(find "$1" -name "${2//_/[-_]}.ko" -print -quit)
    if [ -z "$file" ]; then return; fi
    for need in $(tr '\0' '\n' <"$file" | sed -n 's/^depends=//p' | tr ',-' ' _'); do module_files "$1" "$need"; done
    echo "$file"
}

make_initramfs() { # MODULES FOLDER
    local name file number=100
    mkdir -p "$2"/{bin,modules,dev,sys,disk}
    cp /bin/busybox "$2/bin/busybox"
    cp "$here/guest/initramfs-init" "$2/init"
    while read -r file; do
        cp "$file" "$2/modules/$number-$(basename "$file")" # loaded in the order of their names
        number=$((number + 1))
    done < <(for name in virtio_pci virtio_blk virtio_net crc32c_generic ext4; do
        module_files "$1" "$name"
    done | awk '!seen[$0]++')
    (cd "$2" && find . | LC_ALL=C sort | cpio --quiet -o -H newc -R 0:0) >"$image/initrd.img"
}

# What packages' scripts and an administrator would have done.
furnish() { # ROOT
    local root=$1 applet
    cp "$root"/boot/vmlinuz-* "$image/vmlinuz"
    rm -rf "${root:?}"/boot/* "$root/lib/modules" "$root"/usr/share/{doc,man,locale,info} \
        "$root"/var/{lib/apt/lists,cache/apt}/*
    cp "$image/vmlinuz" "$image/initrd.img" "$root/boot/" # for kexec
    mkdir -p "$root"/{proc,sys,run,root/.ssh,etc/rig,etc/dropbear,var/lib,var/log}
    cp "$here"/guest/{start,stop,forward,kexec,sleep,service} "$root/etc/rig/"
    cp "$here/guest/inittab" "$root/etc/inittab"
    printf '%s\n' 'root:x:0:0:root:/root:/bin/sh' 'avow:x:990:990::/var/lib/avow:/usr/sbin/nologin' \
        'nobody:x:65534:65534::/:/usr/sbin/nologin' >"$root/etc/passwd"
    printf '%s\n' 'root:x:0:' 'tss:x:101:' 'avow:x:990:' 'nogroup:x:65534:' >"$root/etc/group"
    echo 'root:*:19000:0:99999:7:::' >"$root/etc/shadow"
    printf '%s: files\n' passwd group shadow hosts >"$root/etc/nsswitch.conf"
    echo '127.0.0.1 localhost' >"$root/etc/hosts"
    echo guest >"$root/etc/hostname"
    echo /bin/sh >"$root/etc/shells"
    : >"$root/etc/resolv.conf"
    # Login records change all the time: not on a file system that is measured.
    rm -rf "$root/var/run" "$root/var/lock"
    ln -s /run "$root/var/run"
    ln -s /run/lock "$root/var/lock"
    # Busybox stands in for every program that is not there, and is init.
    for applet in $(chroot "$root" /bin/busybox --list); do
        [ -e "$root/usr/bin/$applet" ] || [ -e "$root/usr/sbin/$applet" ] || ln -s /bin/busybox "$root/usr/bin/$applet"
    done
    ln -sf /bin/busybox "$root/sbin/init"
    [ -e "$root/bin/sh" ] || ln -s dash "$root/bin/sh"
    chroot "$root" /sbin/ldconfig
    [ -e "$image/id" ] || ssh-keygen -q -t ed25519 -N '' -C rig -f "$image/id"
    cp "$image/id.pub" "$root/root/.ssh/authorized_keys"
    chmod 700 "$root/root" "$root/root/.ssh"
    chmod 600 "$root/root/.ssh/authorized_keys" "$root/etc/shadow"
    chroot "$root" /usr/bin/dropbearkey -t ed25519 -f /etc/dropbear/dropbear_ed25519_host_key >/dev/null 2>&1
    chown -R 0:0 "$root/root" "$root/etc"
}

# --- Processes ---------------------------------------------------------------------------------------

# Only the recorded process counts, and only while its command line names this machine: process ids are reused. The
# dead that nobody buried have no command line.
pid_of() { # NAME qemu|swtpm: prints the pid, fails if it does not run
    local pid
    pid=$(cat "$machines/$1/$2.pid" 2>/dev/null) || return 1
    { tr '\0' '\n' <"/proc/$pid/cmdline"; } 2>/dev/null | grep -qF "$machines/$1/$2.pid" || return 1
    echo "$pid"
}

runs() { pid_of "$@" >/dev/null; }

wait_end() { # NAME qemu|swtpm SECONDS
    local end=$((SECONDS + $3))
    while runs "$1" "$2"; do
        if [ $SECONDS -ge "$end" ]; then return 1; fi
        sleep 0.05
    done
}

kill_machine() { # NAME
    local program pid
    for program in qemu swtpm; do
        if pid=$(pid_of "$1" $program); then kill -KILL "$pid" 2>/dev/null || true; fi
        wait_end "$1" $program 20 || die "$1: $program does not end"
        rm -f "$machines/$1/$program.pid"
    done
}

# Inherited descriptors would keep a test runner's pipes open for as long as the machine lives.
close_descriptors() {
    local fd
    for fd in /proc/self/fd/*; do
        fd=${fd##*/}
        if [ "$fd" -gt 2 ]; then eval "exec $fd>&-"; fi
    done
}

# So that a killed test leaves no machine behind.
watch() { # NAME
    if [ -z "${VM_WATCH:-}" ]; then return; fi
    (
        close_descriptors
        while kill -0 "$VM_WATCH" 2>/dev/null; do
            sleep 0.5
            runs "$1" qemu || exit 0
        done
        kill_machine "$1"
    ) </dev/null >/dev/null 2>&1 &
    disown
}

# --- One machine -------------------------------------------------------------------------------------
# QEMU and ssh run in the machine's folder and name their sockets relatively: a socket's path may have 107 bytes.

monitor() { # NAME COMMAND
    (cd "$machines/$1" && printf '%s\n' "$2" | socat -t 1 - UNIX-CONNECT:monitor.sock | tr -d '\r')
}

# A device file proves little: on hosts that are virtual themselves, KVM may start and then stop at the firmware's
# first floating-point instruction. So the firmware is tried, once.
probe_kvm() {
    local folder pid try works=tcg
    if [ ! -w /dev/kvm ]; then
        echo tcg
        return
    fi
    folder=$(mktemp -d "$image/probe.XXXXXX")
    cd "$folder"
    : >serial
    qemu-system-x86_64 -accel kvm -cpu $kvm_cpu -machine q35,smm=off -m 128 -nodefaults -display none -net none \
        -bios $firmware -serial file:serial \
        -monitor unix:monitor.sock,server=on,wait=off >qemu.log 2>&1 </dev/null &
    pid=$!
    for ((try = 0; try < 50; try++)); do
        sleep 0.2
        if [ -s serial ]; then works=kvm; fi # the firmware has spoken
        if [ $works = kvm ] || ! kill -0 $pid 2>/dev/null; then break; fi
        echo 'info status' | socat -t 1 - UNIX-CONNECT:monitor.sock >status 2>/dev/null || true
        if grep -q internal-error status; then break; fi
    done
    kill -KILL $pid 2>/dev/null || true
    wait $pid 2>/dev/null || true
    cd /
    rm -rf "$folder"
    echo $works
}

choose_accel() {
    if [ "$accel" != auto ]; then
        echo "$accel"
        return
    fi
    (
        flock 8
        [ -s "$image/accel" ] || probe_kvm >"$image/accel"
    ) 8>"$image/accel.lock"
    cat "$image/accel"
}

tpm_ca() { # all TPMs have one vendor, as they would in a rack
    local ca=$machines/ca
    mkdir -p "$ca"
    printf '%s\n' "statedir = $ca" "signingkey = $ca/signkey.pem" "issuercert = $ca/issuercert.pem" \
        "certserial = $ca/certserial" >"$ca/localca.conf"
    printf '%s\n' '--platform-manufacturer Avow' '--platform-version 1.0' '--platform-model Rig' >"$ca/localca.options"
    printf '%s\n' "create_certs_tool = $(command -v swtpm_localca)" "create_certs_tool_config = $ca/localca.conf" \
        "create_certs_tool_options = $ca/localca.options" >"$ca/setup.conf"
}

create() { # NAME
    local machine=$machines/$1
    [ -e "$image/root.img" ] || die "there is no image: run vm.sh build"
    mkdir -p "$machine/tpm"
    if [ ! -e "$machine/tpm/tpm2-00.permall" ]; then
        (
            flock 8 # the CA is made by whoever comes first
            tpm_ca
            swtpm_setup --tpm2 --tpmstate "$machine/tpm" --config "$machines/ca/setup.conf" --create-ek-cert \
                --create-platform-cert --pcr-banks sha1,sha256 --lock-nvram --vmid "$1" --overwrite \
                >"$machine/swtpm_setup.log" 2>&1 </dev/null
        ) 8>"$machines/ca.lock" || {
            tail -n 20 "$machine/swtpm_setup.log" >&2
            die "$1: no TPM"
        }
    fi
    [ -e "$machine/disk.qcow2" ] || qemu-img create -q -f qcow2 -F raw -b "$image/root.img" "$machine/disk.qcow2"
    [ -e "$machine/swap.qcow2" ] || qemu-img create -q -f qcow2 "$machine/swap.qcow2" 512M
}

start() { # NAME
    local machine=$machines/$1 how boots cpu=max
    if runs "$1" qemu; then die "$1 runs already"; fi
    create "$1"
    boots=$(count_boots "$1")
    how=$(choose_accel)
    if [ "$how" = kvm ]; then cpu=$kvm_cpu; fi
    cd "$machine"
    rm -f monitor.sock ssh.sock ssh_port
    swtpm socket --tpm2 --tpmstate "dir=$machine/tpm" --ctrl type=unixio,path=swtpm.sock --terminate --daemon \
        --pid "file=$machine/swtpm.pid" --log "file=$machine/swtpm.log,level=1" 8>&-
    qemu-system-x86_64 -name "$1" -accel "$how" -cpu "$cpu" -machine q35,smm=off -m "$memory" -nodefaults \
        -no-user-config -display none -bios $firmware \
        -kernel "$image/vmlinuz" -initrd "$image/initrd.img" -append "$cmdline${VM_KERNEL_OPTIONS:+ $VM_KERNEL_OPTIONS}" \
        -chardev socket,id=tpm,path=swtpm.sock -tpmdev emulator,id=tpm0,chardev=tpm -device tpm-crb,tpmdev=tpm0 \
        -drive if=none,id=disk,format=qcow2,file=disk.qcow2,cache=writeback -device virtio-blk-pci,drive=disk \
        -drive if=none,id=swap,format=qcow2,file=swap.qcow2,cache=unsafe -device virtio-blk-pci,drive=swap \
        -netdev user,id=net,hostfwd=tcp:127.0.0.1:0-10.0.2.15:22 -device virtio-net-pci,netdev=net,romfile= \
        -chardev file,id=serial,path=serial.log,append=on -serial chardev:serial \
        -chardev file,id=service,path=service.log,append=on -serial chardev:service \
        -monitor unix:monitor.sock,server=on,wait=off -daemonize -pidfile "$machine/qemu.pid" \
        >qemu.log 2>&1 </dev/null || {
        cat qemu.log >&2
        kill_machine "$1"
        die "$1: QEMU does not start"
    }
    watch "$1"
    monitor "$1" 'info usernet' | awk '/HOST_FORWARD/ { print $4; exit }' >ssh_port
    wait_boot "$1" "$boots"
}

count_boots() { # NAME
    grep -ac 'RIG-READY ' "$machines/$1/serial.log" 2>/dev/null || true
}

# Until the guest has come up once more than OLD times, ever.
wait_boot() { # NAME OLD
    local machine=$machines/$1 started=$SECONDS
    while [ "$(count_boots "$1")" -le "${2:-0}" ]; do
        if ! runs "$1" qemu; then
            tail -n 5 "$machine/qemu.log" "$machine/serial.log" >&2
            die "$1: QEMU has ended"
        fi
        if [ $((SECONDS - started)) -ge "$limit" ]; then
            tail -n 20 "$machine/serial.log" >&2
            die "$1: not up after $limit s"
        fi
        sleep 0.05
    done
    # One connection for all commands: 0.1 s instead of 0.5 s each.
    (guest_ssh "$1" -f -N -M root@127.0.0.1 </dev/null >"$machine/ssh.log" 2>&1) || true
}

guest_ssh() { # NAME SSH-ARGUMENT...
    cd "$machines/$1"
    shift
    ssh -i "$image/id" -p "$(cat ssh_port)" -o LogLevel=ERROR -o BatchMode=yes -o StrictHostKeyChecking=no \
        -o UserKnownHostsFile=/dev/null -o ConnectTimeout="$limit" -o ServerAliveInterval=10 \
        -o ControlPath=ssh.sock "$@"
}

forget_ssh() { # NAME: the guest at the other end has gone
    (cd "$machines/$1" && [ -S ssh.sock ] && ssh -q -O exit -o ControlPath=ssh.sock guest) >/dev/null 2>&1 || true
    rm -f "$machines/$1/ssh.sock"
}

in_guest() { # NAME COMMAND...
    (guest_ssh "$1" root@127.0.0.1 "${*:2}")
}

# Whole or not at all, because the guest may be looking for it.
put() { # NAME FILE PATH
    local mode
    mode=$(stat -c %a "$2")
    in_guest "$1" "mkdir -p '$(dirname "$3")' && cat >'$3.new' && chmod $mode '$3.new' && mv '$3.new' '$3'" <"$2"
}

get() { # NAME PATH FILE
    in_guest "$1" "cat '$2'" >"$3" </dev/null
}

boot_by() { # NAME COMMAND...: a command of this script that ends in another boot
    local boots
    boots=$(count_boots "$1")
    "${@:2}" || true # the connection may break before the command's status comes back
    forget_ssh "$1"
    wait_boot "$1" "$boots"
}

kexec() { # NAME
    in_guest "$1" '/etc/rig/kexec load'
    boot_by "$1" in_guest "$1" '/etc/rig/kexec go'
}

suspend() { # NAME
    local end=$((SECONDS + limit))
    in_guest "$1" '/etc/rig/sleep mem'
    forget_ssh "$1"
    until monitor "$1" 'info status' | grep -q suspended; do
        [ $SECONDS -lt $end ] || die "$1 does not sleep"
        sleep 0.1
    done
}

hibernate() { # NAME
    in_guest "$1" '/etc/rig/sleep disk'
    wait_end "$1" qemu "$limit" || die "$1 does not power off"
    powercut "$1"
}

flicker() { # NAME
    local machine=$machines/$1
    if runs "$1" qemu; then die "$1 runs"; fi
    cd "$machine"
    swtpm socket --tpm2 --tpmstate "dir=$machine/tpm" --ctrl type=unixio,path=swtpm.sock \
        --server type=unixio,path=tpm.sock --flags not-need-init,startup-clear --daemon \
        --pid "file=$machine/swtpm.pid"
    swtpm_ioctl --unix swtpm.sock -c >/dev/null # an answer: it has started
    kill_machine "$1"
}

powercut() { # NAME: TPM and disk keep what they had stored by then
    kill_machine "$1"
    forget_ssh "$1"
}

stop() { # NAME
    if runs "$1" qemu; then in_guest "$1" poweroff || true; fi
    wait_end "$1" qemu "$limit" || echo "vm.sh: $1 does not power off: pulling the plug" >&2
    powercut "$1"
}

forward() { # NAME PORT...
    in_guest "$1" "printf '%s\\n' ${*:2} >/etc/rig/ports && busybox sync && /etc/rig/forward" </dev/null
}

# --- Commands ----------------------------------------------------------------------------------------

[ $# -ge 1 ] || usage
command=$1
shift
case $command in
deps | build)
    "$command"
    exit
    ;;
create | start) [ $# -eq 1 ] || usage ;;
stop | reboot | reset | powercut | kexec | suspend | wake | hibernate | flicker | destroy | remove-disk | exec | \
    put | get | forward)
    [ $# -ge 1 ] || usage
    [ -d "$machines/$1" ] || die "there is no machine $1"
    ;;
*) usage ;;
esac
mkdir -p "$machines"
machines=$(cd "$machines" && pwd)
case $command in
create | start | stop | powercut | kexec | suspend | hibernate | flicker | put | get | forward) "$command" "$@" ;;
exec) in_guest "$@" ;;
reboot) boot_by "$1" in_guest "$1" reboot ;;
reset) boot_by "$1" monitor "$1" system_reset >/dev/null ;;
wake) boot_by "$1" monitor "$1" system_wakeup >/dev/null ;;
destroy)
    powercut "$1"
    rm -rf "${machines:?}/$1"
    ;;
remove-disk)
    powercut "$1"
    rm -f "$machines/$1"/*.qcow2
    ;;
esac
