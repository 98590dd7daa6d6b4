"""Least privilege: what the role, the store's user and the server's own accounts may not do."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from minio import Minio
from minio.credentials import StaticProvider
from minio.error import MinioAdminException, S3Error
from minio.minioadmin import MinioAdmin

from .conftest import Stack
from .test_repairs import client, store_port

SQL = "cd / && runuser -u postgres -- psql -qXAt -v ON_ERROR_STOP=1"


def test_the_role_reads_nothing_but_its_own_database(stack: Stack) -> None:
    stack.on(f"{SQL} -c 'create database shop'")
    stack.on(f"{SQL} -d shop -c 'create table orders (id int)'")
    login = "PGPASSWORD=$(sed 1q) psql -qXAt -v ON_ERROR_STOP=1 -h 127.0.0.1 -U mlflow"
    password = stack.secret("database.password") + "\n"

    def asked(database: str, statement: str) -> str:
        done = stack.host.exec(f'{login} -d {database} -c "{statement}"', stdin=password)
        return "ok" if done.rc == 0 else done.stderr

    assert asked("mlflow", "select 1") == "ok"
    for database, statement in (
        ("shop", "select * from orders"),
        ("shop", "create table mine (id int)"),
        ("mlflow", "select rolpassword from pg_authid"),
        ("mlflow", "select pg_read_file('/etc/passwd')"),
        ("mlflow", "copy (select 1) to program 'true'"),
        ("mlflow", "create role other"),
        ("mlflow", "create database other"),
        ("mlflow", "alter system set work_mem = '1MB'"),
    ):
        assert "permission denied" in (said := asked(database, statement)) or "must be" in said, (statement, said)
    assert stack.on(
        f"{SQL} -c \"select datname from pg_database where pg_get_userbyid(datdba) = 'mlflow'\""
    ).split() == ["mlflow"]
    members = "select count(*) from pg_auth_members where member = 'mlflow'::regrole"
    assert stack.on(f'{SQL} -c "{members}"').strip() == "0"
    stack.on(f"{SQL} -c 'drop database shop'")


def visible(user: Minio) -> list[str]:
    """Buckets that it is told of; to be told of none is fine, too."""
    try:
        return [bucket.name for bucket in user.list_buckets()]
    except S3Error:
        return []


def test_the_stores_user_sees_no_other_bucket_and_administers_nothing(stack: Stack) -> None:
    key, secret = stack.secret("store.user.key"), stack.secret("store.user.secret")
    with store_port(stack) as port:
        root = client(stack, port)
        root.make_bucket(bucket_name="elsewhere")
        user = Minio(endpoint=f"127.0.0.1:{port}", access_key=key, secret_key=secret, secure=False, region="us-east-1")
        assert user.bucket_exists(bucket_name="mlflow")
        assert set(visible(user)) <= {"mlflow"}
        denied: tuple[Callable[[], Any], ...] = (
            lambda: list(user.list_objects(bucket_name="elsewhere")),
            lambda: user.get_object(bucket_name="elsewhere", object_name="x"),
            lambda: user.make_bucket(bucket_name="mine"),
            lambda: user.remove_bucket(bucket_name="elsewhere"),
            lambda: user.set_bucket_policy("mlflow", json.dumps({"Version": "2012-10-17", "Statement": []})),
        )
        for attempt in denied:
            with pytest.raises(S3Error, match="AccessDenied"):
                attempt()
        if stack.engine == "minio":
            with pytest.raises(MinioAdminException):
                MinioAdmin(
                    endpoint=f"127.0.0.1:{port}",
                    credentials=StaticProvider(key, secret),
                    secure=False,
                    region="us-east-1",
                ).user_list()
        root.remove_bucket(bucket_name="elsewhere")


def test_postgresql_is_set_up_as_a_baseline_asks(stack: Stack) -> None:
    """What applies of dev-sec's PostgreSQL baseline (postgres-01 to postgres-15)."""

    def value(statement: str) -> str:
        return stack.on(f'{SQL} -c "{statement}"').strip()

    assert value("show password_encryption") == "scram-sha-256"
    assert value("show listen_addresses") == "localhost"
    assert value("show logging_collector") in {"on", "off"}
    assert "%" in value("show log_line_prefix")
    weaker = "rolpassword is not null and rolpassword !~ '^SCRAM-SHA-256'"
    assert value(f"select count(*) from pg_authid where {weaker}") == "0"
    assert value("select string_agg(rolname, ',') from pg_roles where rolsuper") == "postgres"
    assert value("select count(*) from pg_hba_file_rules where auth_method in ('trust', 'password', 'md5')") == "0"
    other = "type <> 'local' and auth_method <> 'scram-sha-256'"
    assert value(f"select count(*) from pg_hba_file_rules where {other}") == "0"
    assert value("select count(*) from pg_hba_file_rules where address in ('0.0.0.0', '::', 'all')") == "0"
    number = stack.on("ls /etc/postgresql").strip()
    rights = {
        f"/var/lib/postgresql/{number}/main": "postgres postgres 700",
        f"/etc/postgresql/{number}/main/pg_hba.conf": "postgres postgres 640",
        f"/etc/postgresql/{number}/main/postgresql.conf": "postgres postgres 644",
        f"/etc/postgresql/{number}/main/conf.d/50-mlflow.conf": "root root 644",
    }
    for path, wanted in rights.items():
        assert stack.on(f"stat -c '%U %G %a' {path}").strip() == wanted, path
    servers = stack.on("pgrep -x -c postgres -u root || :").strip()
    assert servers == "0"
