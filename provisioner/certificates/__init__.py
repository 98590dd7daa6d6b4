"""Certificates of the address that clients use: keys and chains, a root of the stack's own, and one brought along.

Nothing here knows a host or a setting. `cryptography` is imported inside functions: paramiko needs it anyway,
its X.509 part 20 ms more, and only with TLS.
"""
