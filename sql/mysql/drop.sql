-- A database of which it was just seen that no table has a row. Variables: database.
DROP DATABASE :"database";
