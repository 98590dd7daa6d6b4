# create package:postgresql: absent
export DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=l NEEDRESTART_SUSPEND=1
export LC_ALL=C.UTF-8 APT_LISTCHANGES_FRONTEND=none
apt_get() {
  { { apt-get -q -y -o DPkg::Lock::Timeout=600 -o APT::Status-Fd=4 -o Dpkg::Use-Pty=0 \
      -o Acquire::Retries=2 -o Acquire::Languages=none -o APT::Install-Recommends=false \
      -o Dpkg::Options::=--force-confold -o Dpkg::Options::=--force-confdef "$@" 4>&1 >&5 9>&-
    echo "rc:$?"; } 5>>"$T/apt.log" 2>&1 | while IFS=: read -r kind name percent text; do
      case $kind in
        rc) echo "$name" >"$T/apt.rc" ;;
        dlstatus) say "apt: ${percent%%.*} % downloaded" ;;
        pmstatus) say "apt: $name" ;;
        E\ *|E) echo "$kind:$name:$percent:$text" >>"$T/apt.log" ;;
      esac
    done; }
  r=$(cat "$T/apt.rc"); rm -f "$T/apt.rc"
  [ "$r" -eq 0 ]
}
: >"$T/apt.log"
[ -z "$(dpkg --audit 2>/dev/null | head -c 1)" ] || dpkg --configure -a --force-confold >>"$T/apt.log" 2>&1 9>&- || :
fresh() { [ -n "$(find /var/lib/apt/lists -maxdepth 1 -name '*Packages*' -mmin -1440 2>/dev/null | head -n 1)" ]; }

mkdir -p -m 0755 /etc/provision/owned
touch -- /etc/provision/owned/postgresql

if ! fresh; then say 'apt: reading package lists'; apt_get update || :; fi
if ! apt_get install postgresql; then
  say 'apt: reading package lists again'; apt_get update || :
  apt_get install postgresql || { tail -n 25 "$T/apt.log" >&2; exit 1; }
fi
