-- What new tables of a database get; those that it has keep what they are. Variables: database.
ALTER DATABASE :"database" CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
