"""Kinds of resources that know PostgreSQL as Debian and Ubuntu package it."""
