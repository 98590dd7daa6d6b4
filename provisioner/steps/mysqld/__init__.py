"""What the step `mysql` is made of, apart from it: a stack with another database does not import it."""
