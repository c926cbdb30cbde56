"""Tables and figures from ledgers; needs no torch, flwr or ray."""
