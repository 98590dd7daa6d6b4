"""End-to-end verification of an MLflow tracking platform, exactly as a client would use it.

`run.verify` logs a test run and reads everything back, `quick.quick` is the read-only check of a run
that changed nothing; both take a `target.Target`.
"""
