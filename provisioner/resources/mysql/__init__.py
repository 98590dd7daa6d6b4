"""MySQL and MariaDB of the distribution: their server, its settings, one login and its databases."""

PORT = 3306
DATA = "/var/lib/mysql"
"""Its data directory as packaged."""
