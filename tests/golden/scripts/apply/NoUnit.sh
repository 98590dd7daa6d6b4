# remove unit:provision-tls.timer: this host makes no certificates any more
systemctl disable -q --now provision-tls.timer 2>/dev/null || systemctl stop provision-tls.timer 2>/dev/null || :
rm -f -- /etc/systemd/system/provision-tls.timer /etc/systemd/system/provision-tls.service
systemctl daemon-reload
