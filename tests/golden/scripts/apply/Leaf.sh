# create certificate:door: absent
keep /etc/provision/tls/door.pem
if [ -L /etc/provision/tls/door.pem ] || ! [ -f /etc/provision/tls/door.pem ]; then rm -f -- /etc/provision/tls/door.pem; fi
/usr/local/lib/provision/tls-renew 36500 /etc/provision/tls/door.pem
