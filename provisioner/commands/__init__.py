"""What each command does: look at hosts, decide, act, and give the result to a report."""
