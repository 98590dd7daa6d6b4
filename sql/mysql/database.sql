-- The database, case-sensitive and for every text. Variables: database.
CREATE DATABASE IF NOT EXISTS :"database" CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
