# create directory:etc-provision: absent
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
