"""What is installed from the Python index on a host, and the programs and fragments that install it."""
