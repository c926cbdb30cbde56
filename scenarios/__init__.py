"""Studies one can run, as TOML; a comment at each head says what it shows."""
