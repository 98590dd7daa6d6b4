# create cluster:main: absent
[ -e /etc/postgresql/15/main/postgresql.conf ] || pg_createcluster 15 main --start
