main() {
LC_ALL=C; export LC_ALL
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin; export PATH
unset IFS ENV BASH_ENV CDPATH TMPDIR
umask 077
B=0123456789abcdef0123456789abcdef
exec 3>&1
T=$(mktemp -d /run/provision.XXXXXX 2>/dev/null || mktemp -d /tmp/provision.XXXXXX) || exit 97
trap 'rm -rf "$T"' EXIT
trap 'exit 129' HUP
trap 'exit 143' TERM
trap 'exit 141' PIPE
frame() { # kind key status file
  set -- "$1" "$2" "$3" "$4" "$(wc -c <"$4")"
  printf '\n%s %s %s %s %d\n' "$B" "$1" "$2" "$3" "$5" >&3
  cat "$4" >&3
}
# In a subshell with SIGPIPE ignored: a lost operator must not kill apt in the middle.
say() { ( trap '' PIPE; printf '\n%s say - 0 %d\n%s' "$B" "${#1}" "$1" >&3 ) 2>/dev/null || :; }

mkdir -p -m 0700 /run/provision && chmod 0700 /run/provision
exec 9>>/run/provision/work
: >"$T/none"
O=''
if ! flock -s -n 9 || { [ -n "$O" ] && [ "$(head -n 1 /run/provision/owner 2>/dev/null)" != "$O" ]; }; then
  frame locked - 0 "$T/none"; frame end - 0 "$T/none"; exit 1
fi
K=/var/backups/provision/2026-01-02T030405Z; J=/run/provision/journal/2026-01-02T030405Z
for d in /run/provision/journal/*; do [ "$d" = "$J" ] || rm -rf -- "$d"; done
mkdir -p "$J"
: >>"$J/kept"; : >>"$J/made"
: >"$T/kept"; : >"$T/made"; : >"$T/units"; : >"$T/undo"; : >"$T/back"
keep() {
  if grep -qxF -e "$1" "$J/made"; then
    printf '%s\n' "$1" >>"$T/made"
  elif [ -e "$1" ] || [ -L "$1" ]; then
    if ! [ -e "$K$1" ] && ! [ -L "$K$1" ]; then
      mkdir -p "$K$(dirname "$1")"
      if [ -d "$1" ] && ! [ -L "$1" ]; then
        # Never a copy, and never removed file by file: it may be large, or have a disk mounted in it.
        if [ "$(stat -c %d -- "$1")" != "$(stat -c %d -- "$K")" ]; then
          echo "$1 is a directory on a disk of its own: move it away yourself" >&2; exit 1
        fi
        mv -T -- "$1" "$K$1"
      else
        # Not at once under its name: a copy cut short must not pass for what was there.
        rm -rf -- "$K$1.part"
        cp -a -- "$1" "$K$1.part"
        mv -f -T -- "$K$1.part" "$K$1"
      fi
    fi
    printf '%s\n' "$1" >>"$J/kept"; printf '%s\n' "$1" >>"$T/kept"
  else
    printf '%s\n' "$1" >>"$J/made"; printf '%s\n' "$1" >>"$T/made"
  fi
}
put_back() { # PATH...: as they were before this run
  for p; do
    if grep -qxF -e "$p" "$J/made"; then
      [ -e "$p" ] || [ -L "$p" ] || continue
      if [ -d "$p" ] && ! [ -L "$p" ]; then continue; fi
      rm -f -- "$p"
    elif grep -qxF -e "$p" "$J/kept"; then
      rm -rf -- "$p.provision-undo"
      cp -a -- "$K$p" "$p.provision-undo" || continue
      if [ -d "$p.provision-undo" ] && ! [ -L "$p.provision-undo" ]; then rm -f -- "$p"; fi
      mv -f -T -- "$p.provision-undo" "$p" || continue
    else
      continue
    fi
    printf '%s\n' "$p" >>"$T/back"
  done
}
undo_unit() {
  printf '%s\n' "$1" >>"$T/units"; shift
  if [ $# -eq 0 ]; then : >"$T/all"; else printf '%s\n' "$@" >>"$T/undo"; fi
}
proven() { : >"$T/units"; : >"$T/undo"; rm -f "$T/all"; }
revert() { cat >/dev/null; }
undo() {
  [ -s "$T/units" ] || return 0
  [ ! -e "$T/all" ] || cat "$T/kept" "$T/made" >>"$T/undo"
  while IFS= read -r q; do put_back "$q"; done <"$T/undo"
  systemctl daemon-reload
  while IFS= read -r u; do systemctl reset-failed "$u"; timeout 45 systemctl restart "$u"; done <"$T/units"
}
kept() {
  sort -u "$T/kept" | sed "s|^|$K|" >"$T/kept.list"
  [ -s "$T/kept.list" ] && frame kept - 0 "$T/kept.list"
  return 0
}
ended() { # status: stop here when a fragment failed
  [ "$1" -eq 0 ] && return 0
  tail -c 8000 "$T/log" >"$T/tail"
  frame failed - "$1" "$T/tail"
  undo >/dev/null 2>&1 </dev/null
  sort -u "$T/back" >"$T/back.list"
  frame back - 0 "$T/back.list"
  look
  kept
  frame end - 0 "$T/none"
  exit 1
}


trap '' HUP PIPE
: >"$T/revert"
proven() { :; }
revert() { cat - "$T/revert" >"$T/revert.new"; mv -f "$T/revert.new" "$T/revert"; }
undo() {
  cat "$T/kept" "$T/made" >"$T/undo"
  while IFS= read -r q; do put_back "$q"; done <"$T/undo"
  ( . "$T/revert" )
  systemctl daemon-reload
  while IFS= read -r u; do systemctl reset-failed "$u"; timeout 90 systemctl restart "$u"; done <"$T/units"
}

look() {
(
date '+now %s'
stat -c 's|%f|%U|%G|%s|%Y|%d|%i|%n' -- /etc/provision 2>/dev/null || :
for p in /etc/provision; do
  if [ -L "$p" ]; then
    printf "l|%s|%s\n" "$(readlink -- "$p" | base64 | tr -d "\n")" "$p"
    stat -L -c "t|%d:%i:%s:%Y|%n" -- "$p" 2>/dev/null || :
  fi
done
:
) >"$T/p0" 2>"$T/p0.err" 3>&- & p0=$!
wait "$p0"; r=$?
[ $r -eq 0 ] || frame stderr paths $r "$T/p0.err"
frame probe paths $r "$T/p0"

}
frame begin g0 0 "$T/none"
( set -eu
if [ -e /etc/provision ] && ! [ -d /etc/provision ] || [ -L /etc/provision ]; then keep /etc/provision; rm -f -- /etc/provision; fi
[ -d /etc/provision ] || mkdir -p -m 0755 /etc/provision
(
  cd -P -- /etc/provision || exit 1
  if [ "$(stat -c %d:%i .)" != "$(stat -c %d:%i -- /etc/provision)" ]; then
    echo '/etc/provision is being replaced while it is worked on' >&2; exit 1
  fi
  chown root:root .
  chmod 0755 .
)
) >"$T/log" 2>&1
ended $?
frame applied g0 0 "$T/none"
look
kept
: >"$T/none"
frame end - 0 "$T/none"
}
main </dev/null
