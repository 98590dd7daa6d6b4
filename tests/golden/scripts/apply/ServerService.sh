# start unit:mariadb.service: absent
systemctl daemon-reload
if [ "$(systemctl show -p LoadState --value mariadb.service)" = masked ]; then
  systemctl unmask -q mariadb.service; systemctl unmask -q --runtime mariadb.service; systemctl daemon-reload
fi
[ "$(systemctl is-enabled mariadb.service 2>/dev/null)" = enabled ] || systemctl enable -q mariadb.service || case $(systemctl is-enabled mariadb.service) in static|alias|generated|indirect|enabled-runtime) ;; *) exit 1 ;; esac
if systemctl -q is-active mariadb.service; then undo_unit mariadb.service /etc/mysql/mariadb.conf.d/90-provision.cnf /etc/systemd/system/mariadb.service.d/50-provision.conf /etc/systemd/system/mariadb.service.d/55-provision-limits.conf; fi
systemctl reset-failed mariadb.service 2>/dev/null || :
systemctl restart mariadb.service || { journalctl -u mariadb.service -n 20 --no-pager -o cat; exit 1; }
t=$(($(date +%s) + 60)); n0=$(systemctl show -p NRestarts --value mariadb.service)
until said=$( ( 
if [ -x /usr/bin/mariadb ]; then client=/usr/bin/mariadb; else client=/usr/bin/mysql; fi
administer() {
  ( cd / && exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/nonexistent LC_ALL=C.UTF-8 "$client" --no-defaults \
    --protocol=socket --socket=/run/mysqld/mysqld.sock --user=root --batch --raw --skip-column-names --skip-reconnect \
    --default-character-set=utf8mb4 --connect-timeout=10 )
}
as_mysql() {
  ( cd / && exec setpriv --reuid=mysql --regid=mysql --clear-groups env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    LC_ALL=C.UTF-8 "$@" )
}
accepted() {
  # MariaDB has no --validate-config; its --help reads the files and goes on after a bad value of a plugin.
  if [ -x /usr/sbin/mariadbd ]; then set -- mariadbd --help --verbose; else set -- mysqld --validate-config; fi
  as_mysql "$@" >/dev/null 2>"$T/accepted" && ! grep -q '\[ERROR\]' "$T/accepted" && return 0
  sed -n 's/^.*\[ERROR\] */why /p' "$T/accepted" | head -n 1 >&2
  return 1
}

echo 'SELECT 1' | administer
) 2>&1 ); do
  n=$(systemctl show -p NRestarts --value mariadb.service); [ $((${n:-0} - ${n0:-0})) -lt 3 ] || { echo 'it ends again and again while starting' >&2; { journalctl -u mariadb.service -n 20 --no-pager -o cat; exit 1; }; }
  if systemctl -q is-failed mariadb.service; then echo 'it ended while starting' >&2; { journalctl -u mariadb.service -n 20 --no-pager -o cat; exit 1; }; fi
  if [ "$(date +%s)" -ge $t ]; then echo "no healthy answer within 60 s${said:+: $(printf '%s' "$said" | tail -n 1 | tr -d '\000-\037' | cut -c1-200)}" >&2; { journalctl -u mariadb.service -n 20 --no-pager -o cat; exit 1; }; fi
  sleep 0.1
done
proven
