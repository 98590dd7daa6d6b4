"""Kinds of things a host holds, one small file each; no product's name in any of them."""
