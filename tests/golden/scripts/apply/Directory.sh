# create directory:etc-provision: absent
if [ -e /etc/provision ] && ! [ -d /etc/provision ] || [ -L /etc/provision ]; then keep /etc/provision; rm -f -- /etc/provision; fi
[ -d /etc/provision ] || mkdir -p -m 0755 /etc/provision
chown -h root:root -- /etc/provision
chmod 0755 -- /etc/provision
