"""MySQL and MariaDB of the distribution: their server, its settings, one login and its databases."""
