-- The role's password as it was before a change that failed.
-- Variables: role, verifier (as the catalogue had it).
ALTER ROLE :"role" PASSWORD :'verifier';
