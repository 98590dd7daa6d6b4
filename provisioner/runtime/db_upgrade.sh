# Makes or migrates MLflow's tables, once, before the server starts. Run as root.
#   VENV      the environment      ENV_FILE  the service's environment file (root 0600)
#   WAIT      seconds to wait for the database, counted after the imports
#   LIMIT     seconds for everything   MIGRATE   `migrate`, or empty
#   ACCOUNTS  the database of MLflow's own accounts, whose tables are meant; or empty
# Uses the function db_upgrade.
#
# systemd reads the environment file exactly as it does for the service, runs the work as the service's
# user and bounds its time; the unit's fixed name keeps two runs from migrating at once.
set -eu
unit=provision-db-upgrade
# An earlier run's work may still go on after its connection died: it is waited for, never doubled.
waited=0
while systemctl is-active --quiet "$unit"; do
	if [ "$waited" -ge "$LIMIT" ]; then
		echo "what an earlier run still works on MLflow's tables" >&2
		echo "why $unit is active for more than $LIMIT s" >&2
		echo "next wait for it: journalctl -fu $unit" >&2
		exit 34
	fi
	sleep 1
	waited=$((waited + 1))
done
systemctl reset-failed "$unit" 2>/dev/null || true
db_upgrade systemd-run --quiet --wait --pipe --collect --unit="$unit" \
	-p User=mlflow -p EnvironmentFile="$ENV_FILE" -p RuntimeMaxSec="$LIMIT" -p PrivateTmp=yes \
	-p NoNewPrivileges=yes -p ProtectSystem=strict -p ProtectHome=yes -p WorkingDirectory=/ \
	-- "$VENV/bin/python" -I - "$WAIT" "$MIGRATE" ${ACCOUNTS:+"accounts=$ACCOUNTS"}
