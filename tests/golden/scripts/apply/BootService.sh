# start unit:postgresql.service: absent
systemctl daemon-reload
[ "$(systemctl is-enabled postgresql.service)" = enabled ] || systemctl enable -q postgresql.service
systemctl start postgresql.service
